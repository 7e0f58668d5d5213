//! Sources that try to load, run, restyle or exhaust something. `fixtures/hostile.txt` is also rendered in Chromium by `end2end/`.

use super::{pieces, streamed};
use markdown::{render, render_message};

/// The cases of `fixtures/hostile.txt`. A line of `%%` separates them; `{n|text}` is the text n times.
fn cases() -> Vec<String> {
    let text = include_str!("../../fixtures/hostile.txt");
    text.split("\n%%\n").map(expand).collect()
}

fn expand(case: &str) -> String {
    let mut out = String::new();
    let mut rest = case;
    while let Some((before, after)) = rest.split_once("{repeat ") {
        let (count, after) = after.split_once('|').unwrap();
        let (text, after) = after.split_once("|}").unwrap();
        out.push_str(before);
        out.push_str(&text.replace("\\n", "\n").repeat(count.parse().unwrap()));
        rest = after;
    }
    out + rest
}

/// Returns the tags of HTML, without text.
fn tags(html: &str) -> Vec<&str> {
    html.split('<').skip(1).map(|piece| piece.split_once('>').expect("every tag ends").0).collect()
}

/// Elements that answers consist of.
const ELEMENTS: [&str; 50] = [
    "p",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "blockquote",
    "ul",
    "ol",
    "li",
    "em",
    "strong",
    "del",
    "code",
    "pre",
    "figure",
    "figcaption",
    "span",
    "button",
    "div",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "a",
    "sup",
    "br",
    "hr",
    "input",
    "math",
    "mrow",
    "mi",
    "mo",
    "mn",
    "mtext",
    "mfrac",
    "msqrt",
    "mroot",
    "msub",
    "msup",
    "msubsup",
    "munder",
    "mover",
    "munderover",
    "mtable",
    "mtr",
    "mtd",
];

#[track_caller]
fn assert_harmless(source: &str, html: &str) {
    for tag in tags(html) {
        let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap();
        assert!(
            ELEMENTS.contains(&name) || name == "mspace" || name == "mpadded" || name == "mphantom",
            "<{tag}> from {source:.300}"
        );
        let without_values: String = tag.split('"').step_by(2).collect();
        for word in without_values.split_whitespace() {
            assert!(
                !word.starts_with("on") && !word.starts_with("style") && !word.starts_with("src"),
                "<{tag}> from {source:.300}"
            );
        }
        if let Some((_, url)) = tag.split_once("href=\"") {
            let is_safe = ["https://", "http://", "mailto:", "#fn"]
                .iter()
                .any(|start| url.trim_start().to_ascii_lowercase().starts_with(start));
            assert!(is_safe, "<{tag}> from {source:.300}");
        }
    }
}

/// Field note 42.
#[test]
fn hostile_sources_load_run_and_restyle_nothing() {
    let cases = cases();
    assert!(cases.len() >= 150, "{} cases", cases.len());
    for case in cases {
        let html = render(&case, "t");
        assert_harmless(&case, &html);
        assert_harmless(&case, &render_message(&case));
        let len = (case.len() / 50).max(1);
        assert_eq!(streamed(pieces(&case, len), |index| index % 3 == 0), html, "{case:.300}");
    }
}

#[test]
fn the_html_of_an_answer_is_bounded() {
    let shapes = [
        "{repeat 400000|> |}x",
        "{repeat 333333|- |}x",
        "{repeat 500000|[a|}",
        "{repeat 250000|*a _b |}",
        "{repeat 500000|![|}",
        "{repeat 300000|<a |}",
        "{repeat 300000|`\\n|}",
        "{repeat 100000|$a |}",
        "{repeat 500000|\\\\(|}",
        "{repeat 100000|a**b|}",
        "{repeat 200000|[a](|}",
        "{repeat 200000|a\\n|}",
        "{repeat 100000|- a\\n |}",
        "{repeat 100000|[a]: b\\n|}",
        "{repeat 250000|&lt;|}",
        "{repeat 1000|[^a]: b\\n[^a]\\n|}",
        "{repeat 400000|[^|}]",
        "{repeat 200000|a[^b]|}\n\n[^b]: c",
        "{repeat 200000||a|}\n{repeat 200000||-|}",
        "{repeat 100000|https://a.|}",
        "{repeat 1000000|(|}",
        "https://a.example/{repeat 900000|)|}",
        "{repeat 100000|~~a~~b|}",
        "{repeat 40000|<https://a.example>|}",
    ];
    for shape in shapes {
        let source = expand(shape);
        let html = render(&source, "t");
        assert!(html.len() < 20_000_000, "{shape}: {} bytes", html.len());
        let depth = tags(&html).iter().fold((0_i32, 0), |(depth, deepest), tag| {
            let is_void =
                ["br", "hr", "input"].iter().any(|name| tag.split(' ').next() == Some(name)) || tag.ends_with('/');
            let depth = if is_void {
                depth
            } else if tag.starts_with('/') {
                depth - 1
            } else {
                depth + 1
            };
            (depth, deepest.max(depth))
        });
        assert!(depth.0 == 0 && depth.1 < 60, "{shape}: {depth:?}");
    }
}

#[test]
fn a_long_url_is_not_repeated_without_end() {
    let source = format!("[a]: https://a.example/{}\n\n{}", "x".repeat(2000), "[a]\n\n".repeat(50_000));
    assert!(render(&source, "t").len() < 10_000_000);
}
