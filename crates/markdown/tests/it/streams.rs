//! Streaming shows what a reload shows.

use super::{answers, pieces, streamed};
use markdown::{Stream, Update, render};
use proptest::prelude::*;
use std::sync::mpsc::channel;

/// Lines from which answers are put together that no model would write.
const LINES: [&str; 44] = [
    "",
    "",
    "",
    "text",
    "more *text* here",
    "# heading",
    "---",
    "===",
    "- item",
    "- ",
    "* other",
    "1. one",
    "2. two",
    "10. ten",
    "  two",
    "    four",
    "      six",
    "> quote",
    ">",
    "> - item",
    "```",
    "```rust",
    "````markdown",
    "~~~",
    "let a = \"b\"; // c",
    "| a | b |",
    "|---|--:|",
    "| 1 | `2` |",
    "[a]",
    "[b][a] and [c]",
    "[a]: https://a.example",
    "[c]: <https://c.example>",
    "note[^1]",
    "[^1]: footnote",
    "\\[",
    "x = 1",
    "\\]",
    "$$",
    "$a_1$ costs $5",
    "<div>",
    "<!-- x",
    "-->",
    "- [ ] task",
    "**注意：**正文",
];

fn source() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(LINES.to_vec()), 0..24).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_stream_of_any_pieces_ends_as_the_whole(source in source(), len in 1_usize..30, shown in 1_usize..6) {
        prop_assert_eq!(streamed(pieces(&source, len), |index| index % shown == 0), render(&source, "t"));
    }

    #[test]
    fn answers_in_pieces_of_any_size_end_as_the_whole(index in 0_usize..1000, lens in prop::collection::vec(1_usize..200, 1..40), shown in 1_usize..6) {
        let answers = answers();
        let (name, source) = &answers[index % answers.len()];
        let (mut parts, mut rest) = (Vec::new(), source.as_str());
        for len in lens.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let piece = pieces(rest, *len)[0];
            parts.push(piece);
            rest = &rest[piece.len()..];
        }
        prop_assert_eq!(streamed(parts, |index| index % shown == 0), render(source, "t"), "{}", name);
    }

    #[test]
    fn any_text_is_rendered_without_a_style_or_a_script(source in "\\PC{0,200}") {
        let html = render(&source, "t");
        prop_assert!(!html.contains("<script") && !html.contains("<img") && !html.contains(" style="), "{}", html);
    }
}

/// Streams are kept by tasks that move between threads, also in the middle of a comment or a string.
#[test]
fn a_stream_can_move_between_threads() {
    let lines = [
        "```rust\n",
        "/* a\n",
        "b\n",
        "c */ fn d() {}\n",
        "let e = \"f\n",
        "g\n",
        "h\"; // i\n",
        "/* j\n",
        "k */\n",
        "```\n",
    ];
    let ((there, arriving), (back, returning)) = (channel::<(Stream, &str)>(), channel());
    let other = std::thread::spawn(move || {
        for (mut stream, line) in arriving {
            stream.push(line);
            let updates = stream.updates();
            back.send((stream, updates)).unwrap();
        }
    });
    let (mut stream, mut blocks) = (Stream::new("t"), Vec::new());
    for (index, line) in lines.into_iter().enumerate() {
        let updates = if index % 3 == 0 {
            stream.push(line);
            stream.updates()
        } else {
            there.send((stream, line)).unwrap();
            let (moved, updates) = returning.recv().unwrap();
            stream = moved;
            updates
        };
        updates.iter().for_each(|update| update.apply(&mut blocks));
    }
    drop(there);
    other.join().unwrap();
    stream.finish().iter().for_each(|update| update.apply(&mut blocks));
    assert_eq!(blocks.concat(), render(&lines.concat(), "t"));
}

#[test]
fn there_are_twenty_answers() {
    assert!(answers().len() >= 20);
}

#[test]
fn answers_character_by_character_end_as_the_whole() {
    for (name, source) in answers() {
        assert_eq!(streamed(pieces(&source, 3), |_| true), render(&source, "t"), "{name}");
    }
}

#[test]
fn finished_blocks_are_sent_once() {
    for (name, source) in answers().into_iter().filter(|(_, source)| !source.contains("]: ")) {
        let mut stream = Stream::new("t");
        let mut open = 0;
        let mut check = |updates: Vec<Update>| {
            for update in updates {
                assert!(update.block >= open, "{name}: block {} after {open}", update.block);
                open = update.block;
            }
        };
        for piece in pieces(&source, 7) {
            stream.push(piece);
            check(stream.updates());
        }
        check(stream.finish());
    }
}

#[test]
fn a_link_that_is_defined_later_is_sent_again_at_the_end() {
    let mut stream = Stream::new("t");
    stream.push("See [the book][b] and this[^1].\n\nOther.\n\n[b]: https://b.example\n[^1]: Footnote.\n\n");
    let first = stream.updates();
    assert!(!first[0].html.contains("href"), "{first:?}");
    let last = stream.finish();
    let again = last.iter().find(|update| update.block == 0).unwrap();
    assert_eq!(again.keep, 0);
    assert!(again.html.contains("href=\"https://b.example\"") && again.html.contains("id=\"fnref-t-1\""), "{again:?}");
    assert!(!last.iter().any(|update| update.block == 1));
}

#[test]
fn code_grows_at_its_end() {
    let mut stream = Stream::new("t");
    stream.push("```rust\nfn a() {}\n");
    let first = stream.updates();
    assert_eq!((first[0].block, first[0].keep), (0, 0));
    stream.push("fn b() {}\n");
    let second = stream.updates();
    assert!(second[0].keep > 100 && !second[0].html.contains(">a<") && second[0].html.contains('b'), "{second:?}");
}

#[test]
fn markup_that_may_still_change_is_not_shown() {
    let mut stream = Stream::new("t");
    stream.push("Here:\n-");
    assert!(stream.updates().iter().all(|update| !update.html.contains("<h2")));
    stream.push("\n```\ncode\n``");
    assert!(stream.updates().iter().all(|update| !update.html.contains("``")));
}

#[test]
fn updates_are_small_json() {
    let json = serde_json::to_string(&Update { block: 2, keep: 0, html: "<hr>".to_owned() }).unwrap();
    assert_eq!(json, r#"{"block":2,"html":"<hr>"}"#);
    assert_eq!(serde_json::from_str::<Update>(&json).unwrap().keep, 0);
}

#[test]
fn line_ends_are_the_same_on_every_system() {
    let source = "# a\n\nb\nc\n\n```\nd\n```\n";
    for other in [source.replace('\n', "\r\n"), source.replace('\n', "\r")] {
        assert_eq!(render(&other, "t"), render(source, "t"));
        assert_eq!(streamed(pieces(&other, 1), |_| true), render(source, "t"));
    }
}
