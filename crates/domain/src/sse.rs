//! Server-sent events, byte-exact: an incremental parser that accepts the stream split at any byte, and an encoder.
//! <https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation>

/// One dispatched event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SseEvent {
    /// The `event:` field; empty means "message".
    pub name: String,
    /// The `data:` lines, joined by newlines.
    pub data: String,
    /// The last `id:` seen on the stream so far.
    pub id: String,
}

/// Parses bytes into events. Buffers incomplete events until more bytes arrive; an event without its blank line is dispatched only by
/// [`Self::finish`].
#[derive(Debug, Default)]
pub struct SseParser {
    line: Vec<u8>,
    after_cr: bool,
    begun: bool,
    event: SseEvent,
    has_data: bool,
}

impl SseParser {
    /// Creates a parser at the start of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the number of buffered bytes, so that a reader can bound a stream that never ends a line or an event.
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.line.len() + self.event.data.len()
    }

    /// Parses bytes and returns the events that they complete.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<SseEvent> {
        let mut out = Vec::new();
        for &byte in bytes {
            // A line ends with LF, CR or CRLF; the LF of a CRLF may arrive in the next chunk.
            if std::mem::take(&mut self.after_cr) && byte == b'\n' {
                continue;
            }
            match byte {
                b'\n' | b'\r' => {
                    self.after_cr = byte == b'\r';
                    self.end_line(&mut out);
                }
                _ => self.line.push(byte),
            }
        }
        out
    }

    /// Returns the last event if the stream ended cleanly without its blank line, or within its last line. Browsers discard such an event,
    /// but some servers end their streams so.
    pub fn finish(&mut self) -> Option<SseEvent> {
        let mut out = Vec::new();
        if !self.line.is_empty() {
            self.end_line(&mut out);
        }
        // An empty line ends the event, if there is one.
        self.end_line(&mut out);
        out.pop()
    }

    fn end_line(&mut self, out: &mut Vec<SseEvent>) {
        let bytes = std::mem::take(&mut self.line);
        let bytes = match bytes.strip_prefix(b"\xEF\xBB\xBF") {
            Some(rest) if !self.begun => rest,
            _ => &bytes,
        };
        self.begun = true;
        if bytes.is_empty() {
            if std::mem::take(&mut self.has_data) {
                let next = SseEvent { id: self.event.id.clone(), ..SseEvent::default() };
                out.push(std::mem::replace(&mut self.event, next));
            } else {
                self.event.name.clear();
            }
            return;
        }
        // Only whole lines are decoded, so a multi-byte character that was split between chunks is complete here.
        let line = String::from_utf8_lossy(bytes);
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event.name),
            "data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
            }
            "id" if !value.contains('\0') => value.clone_into(&mut self.event.id),
            // Comments (an empty field), `retry`, and unknown fields.
            _ => {}
        }
    }
}

/// Encodes one event. The data may contain newlines of any kind; each begins a new `data:` line.
#[must_use]
pub fn encode(event: &SseEvent) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    for (field, value) in [("id", &event.id), ("event", &event.name)] {
        if !value.is_empty() {
            let _ = writeln!(out, "{field}: {value}");
        }
    }
    let data = event.data.replace("\r\n", "\n").replace('\r', "\n");
    for line in data.split('\n') {
        let _ = writeln!(out, "data: {line}");
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STREAM: &str = "\u{feff}: hello\r\nevent: delta\r\nid: 7\r\ndata: {\"text\":\"日本 🦀\"}\r\n\r\n\
        data: one\ndata:two\n\nretry: 10\nunknown: x\nnofield\n\nevent: ping\n\ndata\n\nevent: end\rdata:  padded\r\rdata: never dispatched\n";

    fn event(name: &str, data: &str) -> SseEvent {
        SseEvent { name: name.into(), data: data.into(), id: "7".into() }
    }

    fn expected() -> Vec<SseEvent> {
        vec![event("delta", "{\"text\":\"日本 🦀\"}"), event("", "one\ntwo"), event("", ""), event("end", " padded")]
    }

    #[test]
    fn stream_parses_the_same_split_at_every_byte() {
        let bytes = STREAM.as_bytes();
        for at in 0..=bytes.len() {
            let mut parser = SseParser::new();
            let mut got = parser.feed(&bytes[..at]);
            got.extend(parser.feed(&bytes[at..]));
            assert_eq!(got, expected(), "split at {at}");
        }
    }

    #[test]
    fn stream_parses_the_same_byte_by_byte() {
        let mut parser = SseParser::new();
        let got: Vec<_> = STREAM.bytes().flat_map(|byte| parser.feed(&[byte])).collect();
        assert_eq!(got, expected());
    }

    #[test]
    fn finish_returns_an_event_without_its_blank_line() {
        for (wire, last) in [
            ("id: 7\ndata: a\n\ndata: b", Some(event("", "b"))),
            ("id: 7\ndata: a\n\nevent: end\ndata: b\n", Some(event("end", "b"))),
            ("id: 7\ndata: a\n\n", None),
            ("id: 7\ndata: a\n\nevent: end", None),
        ] {
            let mut parser = SseParser::new();
            assert_eq!(parser.feed(wire.as_bytes()), [event("", "a")], "{wire:?}");
            assert_eq!(parser.finish(), last, "{wire:?}");
            assert_eq!(parser.finish(), None, "{wire:?}");
        }
    }

    proptest! {
        #[test]
        fn encoded_events_round_trip(
            events in prop::collection::vec(("[a-z]{0,6}", "[^\r\0]{0,40}"), 1..6),
            cuts in prop::collection::vec(1_usize..9, 0..60),
        ) {
            let events: Vec<_> = events.into_iter().map(|(name, data)| event(&name, &data)).collect();
            let wire: Vec<u8> = events.iter().map(encode).collect::<String>().into_bytes();
            let (mut parser, mut got, mut rest) = (SseParser::new(), Vec::new(), wire.as_slice());
            for cut in cuts {
                let (head, tail) = rest.split_at(cut.min(rest.len()));
                got.extend(parser.feed(head));
                rest = tail;
            }
            got.extend(parser.feed(rest));
            prop_assert_eq!(got, events);
        }

        #[test]
        fn arbitrary_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            SseParser::new().feed(&bytes);
        }
    }
}
