//! What answers may contain.

use markdown::render;

/// Asserts that the HTML of a source has all of these parts.
#[track_caller]
fn has(source: &str, parts: &[&str]) {
    let html = render(source, "t");
    for part in parts {
        assert!(html.contains(part), "{part}\nis not in\n{html}");
    }
}

/// Asserts that the HTML of a source has none of these parts.
#[track_caller]
fn lacks(source: &str, parts: &[&str]) {
    let html = render(source, "t");
    for part in parts {
        assert!(!html.contains(part), "{part}\nis in\n{html}");
    }
}

#[test]
fn text_is_escaped() {
    assert_eq!(render("1 < 2 & <b>", "t"), "<p dir=\"auto\">1 &lt; 2 &amp; &lt;b&gt;</p>\n");
    has(
        "\\<b> and `<i>` and `\\<`",
        &["&lt;b&gt;", "<code dir=\"ltr\">&lt;i&gt;</code>", "<code dir=\"ltr\">\\&lt;</code>"],
    );
    has("<details>\n<summary>**More**</summary>\n\ntext\n\n</details>", &["&lt;details&gt;", "<strong>More</strong>"]);
    has("\u{fdd0}\u{fdd3}0\u{fdd4}", &["\u{fffd}\u{fffd}0\u{fffd}"]);
}

/// Field note 78.
#[test]
fn blocks_take_the_direction_of_their_text_and_code_is_left_to_right() {
    has(
        "# שלום\n\nمرحبا `a`\n\n- פריט\n\n> ציטוט\n\n| א |\n|---|\n| ב |\n\n```\nx\n```",
        &[
            "<h1 dir=\"auto\">",
            "<p dir=\"auto\">مرحبا",
            "<code dir=\"ltr\">a</code>",
            "<li dir=\"auto\">",
            "<blockquote dir=\"auto\">",
            "<th dir=\"auto\">א",
            "<td dir=\"auto\">ב",
            "<pre tabindex=\"0\"><code dir=\"ltr\">x",
        ],
    );
    // An item or a quote takes its direction from text that has none of its own.
    has(
        "> ציטוט\n>\n> ## כותרת\n\n1. פריט\n\n   עוד\n",
        &["<blockquote dir=\"auto\">\n<p>ציטוט</p>\n<h2>כותרת</h2>", "<li dir=\"auto\"><p>פריט</p>\n<p>עוד</p>"],
    );
}

/// Field note 79.
#[test]
fn emphasis_works_beside_chinese_japanese_and_korean_punctuation() {
    has("**注意：**正文", &["<strong>注意：</strong>正文"]);
    has("これは**「強調」**です", &["これは<strong>「強調」</strong>です"]);
    has("**중요(필수)**입니다", &["<strong>중요(필수)</strong>입니다"]);
    has("这是*“重点”*的", &["<em>“重点”</em>"]);
    has("~~旧（价）~~新", &["<del>旧（价）</del>新"]);
    has("`**注意：**正文`", &["<code dir=\"ltr\">**注意：**正文</code>"]);
    has("```\n**注意：**正文\n```", &["**注意：**正文\n"]);
    has("- ```\n  **注意：**正文\n  ```", &["**注意：**正文\n"]);
    has("\\**注意：\\**正文 2 * 3 * 4", &["2 * 3 * 4"]);
    has("[字](https://a.example/**「字」**x)", &["href=\"https://a.example/**「字」**x\""]);
}

/// Field note 80.
#[test]
fn formulas_are_drawn_and_dollars_stay() {
    let source = r"So \(a_1 * b_1 * c_1\) and \[ \frac{1}{2} \] cost $5 and $10.";
    has(source, &["<math display=\"inline\"", "<msub>", "<math display=\"block\"", "<mfrac>", "cost $5 and $10."]);
    lacks(source, &["<em>", "\\("]);
    has("$x$ and $$y$$", &["<math display=\"inline\"", "<math display=\"block\""]);
    for money in [
        "$5 and $10",
        "from $5-$10",
        "a $ b $ c",
        "US$5 and A$6",
        "$50/year, see `$HOME` and `$PATH`",
        "$5/month or $50/year",
        "`$a$`",
        "\\$a$",
        "```\n$a$\n```",
    ] {
        lacks(money, &["<math"]);
    }
    has("- a\n  \\[\n  x\n  =\n  y\n  \\]\n- b", &["<math display=\"block\"", "<li dir=\"auto\">b"]);
    has("\\[\nx\n=\ny\n+ z\n\\]\n", &["<math display=\"block\""]);
    lacks("\\[\nx\n=\ny\n+ z\n\\]\n", &["<h1", "<ul>"]);
    has("> $$\n> x\n> $$", &["<math display=\"block\""]);
    has("| $|x|$ |\n|---|\n| 1 |", &["<math"]);
    has("`- $a$`", &["- $a$"]);
    has("$a < b > c \\& d$", &["<math display=\"inline\"", "&lt;", "&amp;"]);
    has("- ```\n  $a$ \\(b\\)\n  ```", &["$a$ \\(b\\)"]);
}

#[test]
fn formulas_have_no_styles_and_broken_ones_are_shown_as_source() {
    lacks("$$\\color{red} a \\\\[2em] b \\!$$", &["style="]);
    has("$\\frac{$", &["$"]);
    has("$\\bigl( x \\bigr)$", &["<mo symmetric=\"true\" stretchy=\"true\" minsize="]);
    has("$$\\boxed{42}$$", &["<mn>42</mn>"]);
    has("\\(\\frac{1}\\)", &["<code class=\"math\" dir=\"ltr\">\\(\\frac{1}\\)</code>"]);
    has("\\(\\def\\a{\\a\\a}\\a\\)", &["<code class=\"math\""]);
    has(&format!("$${}$$", "x".repeat(5000)), &["<code class=\"math\""]);
    has(&format!("$${}x{}$$", "{".repeat(100), "}".repeat(100)), &["<code class=\"math\""]);
    has("$\\text{<script>}$", &["&lt;script&gt;"]);
}

/// Field note 81.
#[test]
fn bare_links_end_before_punctuation_and_task_boxes_are_named() {
    has("See https://example.com/a_b.", &["href=\"https://example.com/a_b\"", ">https://example.com/a_b</a>."]);
    has("(https://a.example/b_(c))", &["href=\"https://a.example/b_(c)\"", "</a>)"]);
    has("见https://a.example/b。后", &["href=\"https://a.example/b\"", "</a>。后"]);
    has("**https://a.example**", &["<strong><a href=\"https://a.example\""]);
    has("https://a.example/?a=1&b=2", &["href=\"https://a.example/?a=1&amp;b=2\""]);
    has("<https://a.example> <me@a.example>", &["href=\"https://a.example\"", "href=\"mailto:me@a.example\""]);
    for no_link in ["`https://a.example`", "http://", "xhttps://a.example", "```\nhttps://a.example\n```"] {
        lacks(no_link, &["<a "]);
    }
    assert_eq!(render("[https://a.example](https://b.example)", "t").matches("<a ").count(), 1);
    has(
        "- [x] a\n- [ ] b",
        &["<input type=\"checkbox\" disabled aria-label=\"Task\" checked> a", "aria-label=\"Task\"> b"],
    );
}

/// Field note 88.
#[test]
fn a_block_of_markdown_that_holds_code_is_one_block() {
    let source = "```markdown\n# Title\n\n```json\n{\"a\": 1}\n```\n\nText\n```\n\nAfter";
    let html = render(source, "t");
    assert_eq!(html.matches("data-copy").count(), 1, "{html}");
    assert!(html.ends_with("<p dir=\"auto\">After</p>\n"), "{html}");
    let html = render("````md\n```json\n{}\n````\nAfter", "t");
    assert!(html.ends_with("<p dir=\"auto\">After</p>\n"), "{html}");
}

#[test]
fn code_is_highlighted_by_classes_and_named() {
    has(
        "```rust\nfn main() { let a = \"x\"; } // c\n```",
        &[
            "<figure class=\"code\"><figcaption><span>rust</span>",
            "data-wrap>Wrap",
            "data-download>Download",
            "data-copy>Copy",
            "<span class=\"k\">fn</span>",
            "<span class=\"f\">main</span>",
            "<span class=\"s\">\"x\"</span>",
            "<span class=\"c\">// c</span>",
        ],
    );
    has("```diff\n+ a\n- b\n```", &["<span class=\"d\">", "<span class=\"x\">"]);
    for language in [
        "ts",
        "tsx",
        "js",
        "javascript",
        "py",
        "python",
        "sh",
        "bash",
        "c++",
        "cpp",
        "rs",
        "yml",
        "yaml",
        "dockerfile",
        "json",
        "sql",
        "go",
        "java",
        "html",
        "css",
        "toml",
        "kotlin",
        "swift",
        "csharp",
        "ruby",
        "php",
    ] {
        let html = render(
            &format!(
                "```{language}\nif (a == \"b\") {{ return 1; }} # x\nclass A: \"b\"\nFROM a\nkey: \"1\"\nselect 1\n<a b=\"c\">\n```"
            ),
            "t",
        );
        assert!(html.contains("<span class=\""), "{language}: {html}");
    }
    lacks("```nonsense\nfn main() {}\n```", &["<span class="]);
    has("```rust\n/* a\nb */\n```", &["<span class=\"c\">/* a</span>\n<span class=\"c\">b */</span>"]);
    has("- a\n\n  ```py\n  def f(): pass\n  ```", &["<span class=\"k\">def</span>"]);
}

#[test]
fn long_lines_and_long_blocks_are_not_highlighted() {
    let line = "let a = 1; ".repeat(100);
    lacks(&format!("```rust\n{line}\n```"), &["<span class="]);
    let block = "let a = 1;\n".repeat(30_000);
    let html = render(&format!("```rust\n{block}```"), "t");
    assert!(html.rfind("<span class=").unwrap() < html.len() - 800_000 / 10, "the end is plain");
}

#[test]
fn tables_are_aligned_and_can_be_copied() {
    has(
        "|a|b|c|\n|---|--:|:-:|\n|1|2<br>3|4|",
        &[
            "<div class=\"table-scroll\" tabindex=\"0\"><button type=\"button\" class=\"quiet small\" data-csv>Copy as CSV</button><table><thead>",
            "<th dir=\"auto\" class=\"end\">b</th>",
            "<td dir=\"auto\" class=\"end\">2<br>3</td>",
            "<td dir=\"auto\" class=\"center\">4</td>",
        ],
    );
}

#[test]
fn links_open_apart_and_only_safe_ones_are_links() {
    has(
        "[x](https://a.example \"t\")",
        &["<a href=\"https://a.example\" target=\"_blank\" rel=\"noopener noreferrer nofollow\">x</a>"],
    );
    lacks("[a](/b) [c](#d) [e](javascript:f) [g](ftp://h)", &["<a "]);
    has("[a][b]\n\n[b]: https://b.example", &["href=\"https://b.example\""]);
    has("[b]: https://b.example\n\n- [a][B]", &["href=\"https://b.example\""]);
}

#[test]
fn footnotes_have_ids_with_the_scope() {
    has(
        "a[^1] b[^1]\n\n[^1]: Note *x*.\n\n    More.",
        &[
            "<sup class=\"footnote-reference\" id=\"fnref-t-1\"><a href=\"#fn-t-1\">1</a></sup>",
            "<div class=\"footnote\" dir=\"auto\" id=\"fn-t-1\">",
            "<em>x</em>",
            "<p>More.</p>",
            "href=\"#fnref-t-1\"",
        ],
    );
    let html = render("a[^n m] c\n\nb[^n m]\n\n[^n m]: x", "t");
    assert_eq!(html.matches("id=\"fnref-t-n_20m\"").count(), 1, "{html}");
    has("a[^none]", &["a[^none]"]);
}

#[test]
fn images_are_never_loaded() {
    has("![words](https://a.example/b.png)", &["[image: words]"]);
    lacks(
        "![words](https://a.example/b.png) [![x](https://c.example)](https://d.example)",
        &["<img", "a.example", "c.example"],
    );
}

#[test]
fn lists_keep_their_numbers_and_nest() {
    has("3. a\n4. b\n   - c", &["<ol start=\"3\">", "<ul>\n<li dir=\"auto\">c</li>"]);
    has("1. Do this:\n\n   ```sh\n   ls\n   ```\n\n2. Then that\n", &["<ol>", "data-copy", "Then that"]);
    assert_eq!(
        render("1. Do this:\n\n   ```sh\n   ls\n\n   cd\n   ```\n\n2. Then that\n", "t").matches("<ol>").count(),
        1
    );
}

/// Pages of the site link to each other, and their headings can be linked to. What is dangerous in an answer stays out of them too.
#[test]
fn pages_link_within_the_site_and_have_ids() {
    let page = markdown::render_page(
        "## What counts?\n\nSee [limits](/help/limits), [below](#what-counts) and [mail](mailto:a@example.com).\n\n\
         | a |\n|---|\n| b |\n\n<b>x</b> [y](javascript:alert(1)) [z](//evil.example)\n",
    );
    for part in [
        "<h2 dir=\"auto\" id=\"what-counts\">What counts?</h2>",
        "<a href=\"/help/limits\">limits</a>",
        "<a href=\"#what-counts\">below</a>",
        "<a href=\"mailto:a@example.com\">mail</a>",
        "<div class=\"table-scroll\" tabindex=\"0\"><table>",
        "&lt;b&gt;x&lt;/b&gt;",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
    assert!(!page.contains("javascript:") && !page.contains("evil.example"), "{page}");
    // An answer links only to other sites, in a new tab.
    let answer = render("## What counts?\n\n[limits](/help/limits) [x](https://example.com)", "t");
    assert!(answer.contains("<h2 dir=\"auto\">") && !answer.contains("/help/limits"), "{answer}");
    assert!(answer.contains("target=\"_blank\""), "{answer}");
}
