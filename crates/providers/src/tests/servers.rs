//! Streams in the shapes of twelve servers, from their public documentation.

use super::{Close, Summary, decode, fixtures};
use crate::Chunk;
use proptest::prelude::*;
use std::fs;

const TEXT: &str = "Grüße, 世界 🦀!";

/// File, reasoning, and usage.
const SERVERS: [(&str, &str, &str); 12] = [
    ("anthropic", "Short and kind.", "21 1000 300 0 15 0"),
    ("azure", "", "36 0 0 0 9 0"),
    ("deepseek", "Kurz und gut.", "16 64 0 0 31 20"),
    ("gemini", "", "11 0 0 0 64 0"),
    ("groq", "Kurz und gut.", "83 0 0 0 40 18"),
    ("llama-cpp", "Kurz und gut.", "14 0 0 0 11 0"),
    ("mistral", "Kurz und gut.", "14 0 0 0 27 0"),
    ("ollama", "Kurz und gut.\n", "9 0 0 0 24 0"),
    ("openai", "Kurz.", "12 1024 0 0 40 25"),
    ("openrouter", "Kurz und gut.", "20 0 0 0 31 12"),
    ("vllm", "Kurz und gut.", "17 0 0 0 31 0"),
    ("xai", "Kurz und gut.", "26 6 0 0 103 94"),
];
const KEEP_ALIVES: [&str; 5] = [
    ": keep-alive\n\n",
    "data:\n\n",
    "data: null\n\n",
    "event: ping\ndata: {}\n\n",
    "event: ping\ndata: {\"type\": \"ping\"}\n\n",
];

fn stream(name: &str) -> String {
    fs::read_to_string(fixtures("servers").join(format!("{name}.sse"))).unwrap()
}

fn whole(name: &str, stream: &str) -> Vec<Result<Chunk, String>> {
    decode(name, [stream.as_bytes()], Close::Clean).unwrap()
}

/// Field notes 26 and 27: each server's stream is read, with the kinds of tokens apart.
#[test]
fn each_server_is_read() {
    for (name, reasoning, usage) in SERVERS {
        let expected =
            Summary { reasoning: reasoning.into(), text: TEXT.into(), usage: usage.into(), last: "Complete".into() };
        assert_eq!(Summary::new(Ok(whole(name, &stream(name)))), expected, "{name}");
    }
    assert_eq!(fs::read_dir(fixtures("servers")).unwrap().count(), SERVERS.len());
}

/// A connection that breaks off after the last usage has lost nothing.
#[test]
fn break_after_the_last_usage_is_no_failure() {
    for (name, ..) in SERVERS {
        let stream = stream(name);
        let end = stream.find("data: [DONE]").or(stream.find("event: message_stop")).unwrap();
        let chunks = decode(name, [&stream.as_bytes()[..end]], Close::Broken).unwrap();
        assert_eq!(chunks, whole(name, &stream), "{name}");
    }
}

proptest! {
    /// Split anywhere, and with keep-alives between its events, a stream has the same chunks.
    #[test]
    fn splits_and_keep_alives_change_nothing(
        server in 0..SERVERS.len(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        pauses in prop::collection::vec(prop::option::of(0..KEEP_ALIVES.len()), 40),
    ) {
        let name = SERVERS[server].0;
        let stream = stream(name);
        let paused: String = stream
            .split_inclusive("\n\n")
            .zip(pauses.iter().chain(std::iter::repeat(&None)))
            .flat_map(|(event, pause)| [event, pause.map_or("", |index| KEEP_ALIVES[index])])
            .collect();
        let mut positions: Vec<usize> = cuts.iter().map(|cut| cut.index(paused.len() + 1)).collect();
        positions.extend([0, paused.len()]);
        positions.sort_unstable();
        let pieces = positions.windows(2).map(|pair| &paused.as_bytes()[pair[0]..pair[1]]);
        prop_assert_eq!(decode(name, pieces, Close::Clean).unwrap(), whole(name, &stream));
    }

    /// Truncated anywhere, a stream is a part of itself, and it ends only if its end was in it.
    #[test]
    fn truncated_streams_never_pretend_to_end(
        server in 0..SERVERS.len(), at in any::<prop::sample::Index>(), is_clean in any::<bool>(),
    ) {
        let name = SERVERS[server].0;
        let stream = stream(name);
        let part = &stream.as_bytes()[..at.index(stream.len() + 1)];
        let close = if is_clean { Close::Clean } else { Close::Broken };
        let summary = Summary::new(decode(name, [part], close));
        let expected = Summary::new(Ok(whole(name, &stream)));
        prop_assert!(expected.text.starts_with(&summary.text), "{:?}", summary.text);
        prop_assert!(expected.reasoning.starts_with(&summary.reasoning), "{:?}", summary.reasoning);
        let reason = if name == "anthropic" { "\"stop_reason\":\"end_turn\"" } else { "\"finish_reason\":\"stop\"" };
        prop_assert!(summary.last != "Complete" || String::from_utf8_lossy(part).contains(reason));
        prop_assert!(["Length", "Refused", "Filtered", "ToolCall"].iter().all(|end| summary.last != *end));
    }

    /// A body of any bytes, and a stream with any bytes replaced, never panics.
    #[test]
    fn damaged_streams_do_not_panic(
        server in 0..SERVERS.len(), at in any::<prop::sample::Index>(), junk in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let name = SERVERS[server].0;
        let mut damaged = stream(name).into_bytes();
        let at = at.index(damaged.len());
        let end = (at + junk.len()).min(damaged.len());
        drop(damaged.splice(at..end, junk.iter().copied()));
        let _ = decode(name, [damaged.as_slice()], Close::Clean);
        let _ = decode(name, [junk.as_slice()], Close::Broken);
    }
}
