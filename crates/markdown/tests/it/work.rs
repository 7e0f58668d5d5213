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

/// Pushes a block of code in pieces of four bytes and returns the bytes that were highlighted.
fn highlighted(block: &str) -> u64 {
    let mut stream = Stream::new("t");
    for piece in super::pieces(block, 4) {
        stream.push(piece);
        stream.updates();
    }
    stream.finish();
    stream.work()
}

#[test]
fn a_block_of_code_is_highlighted_within_a_budget() {
    let long = format!("```js\n{}```\n", format!("{}\n", "_".repeat(990)).repeat(200));
    let mut stream = Stream::new("t");
    stream.push(&long);
    stream.finish();
    assert!((1..=10_000).contains(&stream.work()), "{} bytes of long lines", stream.work());

    // The expression that ends such a block is compiled again for each line.
    let fence = format!("```markdown\n{}js\n{}```\n", "~".repeat(500), "a\n".repeat(50_000));
    let heredoc = format!("```php\n<?php $a = <<<{}\n{}```\n", "A".repeat(900), "a\n".repeat(50_000));
    for source in [&fence, &heredoc] {
        let mut stream = Stream::new("t");
        stream.push(source);
        stream.finish();
        assert!((1..=12_000).contains(&stream.work()), "{} bytes of short lines", stream.work());
    }
    assert!(!markdown::render(&fence, "t").contains("<span class="), "a long fence isn't highlighted");

    let code = format!("```rust\n{}```\n", "let answer = compute(\"six\", 7);\n".repeat(5_000));
    let work = highlighted(&code);
    assert!(work <= 600_000, "{work} bytes of short lines");
    for source in [long, fence, heredoc, code] {
        let html = super::streamed(super::pieces(&source, 700), |_| true);
        assert!(html == markdown::render(&source, "t"), "a reload shows the same");
    }
}
