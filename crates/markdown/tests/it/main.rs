//! Tests of the renderer as its callers use it.

#![allow(clippy::unwrap_used, reason = "tests panic on failure")]

mod commonmark;
mod content;
mod hostile;
mod message;
mod streams;
mod work;

use markdown::Stream;
use std::fs;
use std::path::Path;

/// The answers in `fixtures/answers`, by name.
fn answers() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/answers");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let read = |path: std::path::PathBuf| {
        (path.file_stem().unwrap().to_string_lossy().into_owned(), fs::read_to_string(path).unwrap())
    };
    files.into_iter().map(read).collect()
}

/// Renders pieces as they arrive and returns what a browser then shows. `updates` is called after each piece that `is_shown` selects.
fn streamed<'a>(pieces: impl IntoIterator<Item = &'a str>, mut is_shown: impl FnMut(usize) -> bool) -> String {
    let mut stream = Stream::new("t");
    let mut blocks = Vec::new();
    let mut latest = 0;
    for (index, piece) in pieces.into_iter().enumerate() {
        stream.push(piece);
        if is_shown(index) {
            for update in stream.updates() {
                assert!(update.block >= latest, "updates are in order");
                latest = update.block;
                update.apply(&mut blocks);
            }
        }
    }
    for update in stream.finish() {
        update.apply(&mut blocks);
    }
    assert!(stream.finish().is_empty() && stream.updates().is_empty(), "nothing follows the end");
    blocks.concat()
}

/// Splits text into pieces of at most `len` bytes, at character boundaries.
fn pieces(text: &str, len: usize) -> Vec<&str> {
    let (mut pieces, mut rest) = (Vec::new(), text);
    while !rest.is_empty() {
        let end = (len.min(rest.len())..=rest.len()).find(|at| rest.is_char_boundary(*at)).unwrap();
        let (piece, after) = rest.split_at(end);
        pieces.push(piece);
        rest = after;
    }
    pieces
}
