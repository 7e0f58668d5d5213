//! Tests of both formats over odd responses and recorded streams, and of requests over HTTP.

mod odd;
mod requests;
mod servers;
mod tools;

use crate::completions::Completions;
use crate::decode::Decoder;
use crate::messages::Messages;
use crate::reader::Reader;
use crate::{Chunk, ProviderError, ReportedUsage};
use std::path::PathBuf;

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Close {
    Clean,
    Broken,
}

fn fixtures(folder: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(folder)
}

/// The reader for a fixture, whose name contains the format.
fn reader(name: &str) -> Box<dyn Reader> {
    if name.contains("anthropic") { Box::new(Messages::default()) } else { Box::new(Completions::default()) }
}

/// Decodes the body of a successful response in pieces, as a call does. Errors within the stream are returned as text.
fn decode<'a>(
    name: &str,
    pieces: impl IntoIterator<Item = &'a [u8]>,
    close: Close,
) -> Result<Vec<Result<Chunk, String>>, ProviderError> {
    let (mut decoder, mut pieces) = (Decoder::new(reader(name), false), pieces.into_iter());
    let (mut out, mut is_open) = (Vec::new(), false);
    loop {
        if !is_open && let Some(opened) = decoder.opened() {
            opened?;
            is_open = true;
        }
        while is_open && let Some(item) = decoder.pop() {
            out.push(item.map_err(|error| format!("{error:?}")));
        }
        if decoder.is_over() {
            return Ok(out);
        }
        match (pieces.next(), close) {
            (Some(piece), _) => decoder.feed(piece),
            (None, Close::Clean) => decoder.end(),
            (None, Close::Broken) => decoder.break_off("broken".into()),
        }
    }
}

/// A summary of a stream.
#[derive(Debug, Default, PartialEq, Eq)]
struct Summary {
    reasoning: String,
    text: String,
    /// The last usage: input, cache reads, cache writes, the longer-lived part of them, output, reasoning; `~` if it is a lower bound.
    usage: String,
    /// The end, or the error.
    last: String,
}

impl Summary {
    fn new(chunks: Result<Vec<Result<Chunk, String>>, ProviderError>) -> Self {
        let mut summary = Self { last: "interrupted".into(), ..Self::default() };
        match chunks {
            Ok(chunks) => chunks.into_iter().for_each(|chunk| summary.add(chunk)),
            Err(error) => summary.last = format!("refused: {}", without_column(&format!("{error:?}"))),
        }
        summary
    }

    fn add(&mut self, chunk: Result<Chunk, String>) {
        assert_eq!(self.last, "interrupted", "{chunk:?} after the end");
        match chunk {
            Ok(Chunk::Id(_) | Chunk::Event(_) | Chunk::ToolCall { .. } | Chunk::ToolArguments { .. }) => {}
            Ok(Chunk::Text(text)) => self.text.push_str(&text),
            Ok(Chunk::Reasoning(text)) => self.reasoning.push_str(&text),
            Ok(Chunk::Usage(ReportedUsage { usage, is_consistent })) => {
                let counts = [usage.input, usage.cache_read, usage.cache_write, usage.cache_write_long, usage.output];
                let counts = counts.iter().chain([&usage.reasoning]).map(|tokens| tokens.0.to_string());
                self.usage = counts.collect::<Vec<_>>().join(" ") + if is_consistent { "" } else { " ~" };
            }
            Ok(Chunk::End(end)) => self.last = format!("{end:?}"),
            Err(error) => self.last = without_column(&error),
        }
    }
}

/// Removes the column of a JSON error, which doesn't matter for the rule.
fn without_column(error: &str) -> String {
    error.split_once(", at column").map_or_else(|| error.to_owned(), |(start, _)| format!("{start}\")"))
}
