//! Tool calls of both formats, and the events of raw requests, in pieces of every size.

use super::*;

/// Decodes a recorded response with its events, in pieces of a size.
fn read(name: &str, size: usize) -> Vec<Chunk> {
    let text = std::fs::read_to_string(fixtures("odd").join(format!("{name}.http"))).unwrap();
    let (_, body) = text.split_once("\n\n").unwrap();
    let mut decoder = Decoder::new(reader(name), true);
    body.as_bytes().chunks(size).for_each(|piece| decoder.feed(piece));
    decoder.end();
    std::iter::from_fn(|| decoder.pop()).map(Result::unwrap).collect()
}

#[test]
fn calls_are_read_with_their_events() {
    for (name, id, events) in [("51-tool-calls", "call_1", 4), ("51-anthropic-tool-use", "toolu_1", 9)] {
        let whole = read(name, usize::MAX);
        let call = Chunk::ToolCall { index: 0, id: id.into(), name: "search".into() };
        let arguments = Chunk::ToolArguments { index: 0, json: "{}".into() };
        let at = whole.iter().position(|chunk| *chunk == call).unwrap_or_else(|| panic!("{whole:?}"));
        assert!(
            whole[at..].contains(&arguments) && whole.last() == Some(&Chunk::End(crate::End::ToolCall)),
            "{whole:?}"
        );
        assert_eq!(whole.iter().filter(|chunk| matches!(chunk, Chunk::Event(_))).count(), events, "{whole:?}");
        for size in 1..64 {
            assert_eq!(read(name, size), whole, "{name} in pieces of {size}");
        }
    }
}

/// An event that is an error, or that nothing could be read before, is no response.
#[test]
fn events_of_failed_responses_are_not_passed() {
    for name in ["52-error-event", "52-anthropic-error-event"] {
        let text = std::fs::read_to_string(fixtures("odd").join(format!("{name}.http"))).unwrap();
        let mut decoder = Decoder::new(reader(name), true);
        decoder.feed(text.split_once("\n\n").unwrap().1.as_bytes());
        assert!(matches!(decoder.opened(), Some(Err(_))), "{name}");
    }
}
