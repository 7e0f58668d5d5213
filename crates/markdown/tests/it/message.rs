//! Messages of users, and titles.

use markdown::{plain_text, plain_title, render_message};

#[test]
fn a_users_message_keeps_line_breaks_and_code_and_is_otherwise_literal() {
    let html = render_message("Fix **this**:\n  <b> & *that*\n\n```rust\nfn a() {}\n```\nand [x](https://a.example)");
    assert!(html.contains("<p dir=\"auto\">Fix **this**:<br>\n  &lt;b&gt; &amp; *that*</p>"), "{html}");
    assert!(html.contains("<span>rust</span>") && html.contains("<span class=\"k\">fn</span>"), "{html}");
    assert!(html.contains("<p dir=\"auto\">and [x](https://a.example)</p>"), "{html}");
    assert_eq!(render_message(""), "");
    assert!(render_message("```\nopen").contains("open\n</code>"));
}

#[test]
fn a_users_block_of_markdown_stays_one_block() {
    let html = render_message("```markdown\n# a\n```json\n{}\n```\nb\n```\nafter");
    assert_eq!(html.matches("data-copy").count(), 1, "{html}");
    assert!(html.ends_with("<p dir=\"auto\">after</p>\n"), "{html}");
}

#[test]
fn titles_are_the_first_words_without_markdown() {
    for (source, title) in [
        ("# Hello **world**\n\nMore", "Hello world More"),
        ("[a link](https://a.example) and `code`", "a link and code"),
        ("- one\n- two", "one two"),
        ("", ""),
        ("```rust\nfn a() {}\n```", "fn a() {}"),
        ("1 < 2 & <b>", "1 < 2 & <b>"),
        ("a\nb  \nc", "a b c"),
    ] {
        assert_eq!(plain_title(source), title);
    }
}

#[test]
fn titles_end_at_a_word_within_eighty_characters() {
    let title = plain_title(&"several words ".repeat(20));
    assert!(title.chars().count() <= 80 && title.ends_with("words…") || title.ends_with("several…"), "{title}");
    assert_eq!(plain_title(&"長".repeat(200)).chars().count(), 80);
    let exact = "x".repeat(80);
    assert_eq!(plain_title(&exact), exact);
}

#[test]
fn a_text_is_one_line_without_marks() {
    let source = "## Notice\n\n- Give **30 days**, see `clause 4`\n- [the form](https://example.com)\n\n```rust\nlet a = 1;\n```\n\n| Way | Days |\n|---|--:|\n| You | 30 |";
    assert_eq!(plain_text(source), "Notice Give 30 days, see clause 4 the form let a = 1; Way Days You 30");
    assert_eq!(plain_text(&"word ".repeat(100)).split(' ').count(), 100, "it isn't shortened as titles are");
}
