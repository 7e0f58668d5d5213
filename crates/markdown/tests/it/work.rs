//! The work for an answer is bounded by its length.

use markdown::Stream;

/// Pushes an answer of 1 MB in pieces of a few words, and returns bytes of work per byte of the answer.
fn work_per_byte(unit: &str) -> u64 {
    let source = unit.repeat(1_000_000 / unit.len());
    let mut stream = Stream::new("t");
    let mut html = 0;
    for piece in super::pieces(&source, 256) {
        stream.push(piece);
        html += stream.updates().iter().map(|update| update.html.len()).sum::<usize>();
    }
    html += stream.finish().iter().map(|update| update.html.len()).sum::<usize>();
    assert!(html > 0, "{unit:?} is shown");
    stream.work() / 1_000_000
}

#[test]
fn long_answers_of_each_shape_are_parsed_a_bounded_number_of_times() {
    let shapes = [
        "A paragraph of a few words that ends here.\n\n",
        "A line of one long paragraph.\n",
        "words without any line break ",
        "- item\n",
        "- item\n\n  more\n\n",
        "1. item\n   - nested\n",
        "> quote\n",
        "| a | b |\n",
        "# heading\n",
        "    code\n",
        "[a] ",
        "[a]\n\n",
        "note[^1]\n\n",
        "*",
        "`a` ``b`` ",
        "$a$ ",
        "\\( x \\) ",
        "**注意：**正文",
    ];
    for shape in shapes {
        let work = work_per_byte(shape);
        assert!(work <= 60, "{shape:?}: {work} bytes per byte");
    }
}

#[test]
fn a_long_code_block_is_highlighted_once() {
    let mut stream = Stream::new("t");
    stream.push("```rust\n");
    let line = "let a = \"b\";\n";
    for _ in 0..20_000 {
        stream.push(line);
        stream.updates();
    }
    assert!(stream.work() <= 250_000, "{}", stream.work());
    let mut plain = Stream::new("t");
    plain.push("```\n");
    plain.push(&"x".repeat(1_000_000));
    plain.finish();
    assert!(plain.work() < 1_000, "{}", plain.work());
}
