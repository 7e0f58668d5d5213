//! Decodes the body of a response with a success status, in pieces of any size, to chunks.

use crate::error::{ErrorBody, Fault};
use crate::payload::{self, Payload};
use crate::reader::Reader;
use crate::sniff::{Sniffed, sniff, trimmed};
use crate::think::Splitter;
use crate::{Chunk, ProviderError, whole};
use domain::sse::{SseEvent, SseParser};
use serde_json::Value;
use std::collections::VecDeque;

/// Maximum size of one event, in bytes; a larger one fails the stream.
const EVENT_BYTES: usize = 1 << 20;
/// Maximum size of a whole JSON body, in bytes.
const BODY_BYTES: usize = 4 << 20;

/// The state of a body. Chunks in `ready` come before an error, which is the last item.
pub(crate) struct Decoder {
    body: Body,
    reader: Box<dyn Reader>,
    splitter: Splitter,
    ready: VecDeque<Result<Chunk, Fault>>,
    /// Whether each event is a chunk too.
    passes_events: bool,
    /// Whether anything of a response was read, so that it is one.
    has_begun: bool,
    is_over: bool,
}

/// The kind of the body, with the bytes that aren't decoded yet.
enum Body {
    Unknown(Vec<u8>),
    Events(SseParser),
    Json(Vec<u8>),
}

/// The part of a response that must arrive before its call counts as opened.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Awaited {
    /// The first bytes.
    Bytes,
    /// The first event. So far there were only keep-alives.
    Event,
    /// The end of a JSON body.
    End,
}

impl Decoder {
    /// Creates a decoder; `passes_events` adds a [`Chunk::Event`] before the chunks of each event.
    pub fn new(reader: Box<dyn Reader>, passes_events: bool) -> Self {
        Self {
            body: Body::Unknown(Vec::new()),
            reader,
            passes_events,
            splitter: Splitter::default(),
            ready: VecDeque::new(),
            has_begun: false,
            is_over: false,
        }
    }

    /// Decodes the next bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.is_over {
            return;
        }
        match &mut self.body {
            Body::Unknown(held) => {
                held.extend_from_slice(bytes);
                self.sniff(false);
            }
            Body::Json(held) => held.extend_from_slice(bytes),
            Body::Events(parser) => {
                for event in parser.feed(bytes) {
                    self.read_event(&event);
                }
            }
        }
        let (size, max) = match &self.body {
            Body::Unknown(held) => (held.len(), EVENT_BYTES),
            Body::Json(held) => (held.len(), BODY_BYTES),
            Body::Events(parser) => (parser.pending_bytes(), EVENT_BYTES),
        };
        if size > max {
            self.fail(Fault::Foreign("event too large".into()));
        }
    }

    /// Ends a body that ended cleanly.
    pub fn end(&mut self) {
        if self.is_over {
            return;
        }
        self.sniff(true);
        match std::mem::replace(&mut self.body, Body::Unknown(Vec::new())) {
            Body::Unknown(_) => {}
            Body::Events(mut parser) => {
                if let Some(event) = parser.finish() {
                    self.read_last_event(&event);
                }
                self.apply(|reader, out| reader.close(out));
            }
            Body::Json(bytes) => match whole::read(&bytes) {
                Ok(chunks) => {
                    self.has_begun = true;
                    chunks.into_iter().for_each(|chunk| self.push(chunk));
                }
                Err(fault) => self.fail(fault),
            },
        }
        self.finish_text();
        self.is_over = true;
    }

    /// Ends a body that broke off or went silent.
    pub fn break_off(&mut self, what: String) {
        match self.reader.end_if_broken() {
            Some(end) => self.push(Chunk::End(end)),
            None => self.fail(Fault::Broken(what)),
        }
    }

    /// Returns the next chunk or error that is ready.
    pub fn pop(&mut self) -> Option<Result<Chunk, ProviderError>> {
        Some(self.ready.pop_front()?.map_err(Fault::within_output))
    }

    /// Whether all input was decoded. What is ready remains.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// Returns whether the body is a response, or the error in place of one; `None` while that isn't known.
    pub fn opened(&mut self) -> Option<Result<(), ProviderError>> {
        if self.has_begun {
            return Some(Ok(()));
        }
        match self.ready.pop_front() {
            Some(Err(fault)) => Some(Err(fault.before_output())),
            Some(Ok(chunk)) => {
                self.ready.push_front(Ok(chunk));
                Some(Ok(()))
            }
            None => self.is_over.then(|| Err(Fault::Empty.before_output())),
        }
    }

    /// Returns the part that is awaited while `opened` returns `None`.
    pub fn awaited(&self) -> Awaited {
        match &self.body {
            Body::Unknown(_) => Awaited::Bytes,
            Body::Events(_) => Awaited::Event,
            Body::Json(_) => Awaited::End,
        }
    }

    fn sniff(&mut self, is_whole: bool) {
        let Body::Unknown(held) = &mut self.body else { return };
        let sniffed = sniff(held, is_whole);
        let held = std::mem::take(held);
        match sniffed {
            Sniffed::Undecided => self.body = Body::Unknown(held),
            Sniffed::Foreign(what) => self.fail(Fault::Foreign(what.into())),
            Sniffed::Json => self.body = Body::Json(held),
            Sniffed::Events => {
                self.body = Body::Events(SseParser::new());
                self.feed(trimmed(&held));
            }
        }
    }

    fn read_event(&mut self, event: &SseEvent) {
        let (payloads, fault) = payload::read(event);
        payloads.into_iter().for_each(|payload| self.read_payload(&event.name, payload));
        if let Some(fault) = fault {
            self.fail(fault);
        }
    }

    /// Reads an event that had no empty line after it. If it isn't JSON, it was cut off, and the response ends before it.
    fn read_last_event(&mut self, event: &SseEvent) {
        let (payloads, fault) = payload::read(event);
        payloads.into_iter().for_each(|payload| self.read_payload(&event.name, payload));
        if let Some(fault @ Fault::Reported(_)) = fault {
            self.fail(fault);
        }
    }

    fn read_payload(&mut self, name: &str, payload: Payload) {
        match payload {
            Payload::Done => self.apply(|reader, out| reader.done(out)),
            Payload::Json(value) => {
                let error = ErrorBody::in_event(name, &value);
                let is_error = error.is_some();
                let passed = self.passes_events.then(|| Chunk::Event(named(name, &value)));
                self.apply(|reader, out| {
                    out.extend(passed);
                    let read = reader.read(name, &value, out);
                    error.map_or(read, |error| Err(Fault::Reported(error)))
                });
                // An event without chunks, such as one that only names the author, is the beginning of a response too.
                self.has_begun |= !is_error && !self.is_over;
            }
        }
    }

    /// Applies one step of the reader. An error comes after the chunks of the same step; the id of a call that failed is no chunk of it.
    fn apply(&mut self, step: impl FnOnce(&mut dyn Reader, &mut Vec<Chunk>) -> Result<(), Fault>) {
        if self.is_over {
            return;
        }
        let mut chunks = Vec::new();
        let result = step(self.reader.as_mut(), &mut chunks);
        if result.is_err() {
            chunks.retain(|chunk| !matches!(chunk, Chunk::Id(_)));
            if chunks.iter().all(|chunk| matches!(chunk, Chunk::Event(_))) {
                chunks.clear();
            }
        }
        self.has_begun |= !chunks.is_empty();
        chunks.into_iter().for_each(|chunk| self.push(chunk));
        if let Err(fault) = result {
            self.fail(fault);
        }
    }

    fn push(&mut self, chunk: Chunk) {
        match chunk {
            _ if self.is_over => {}
            Chunk::Text(text) => self.ready.extend(self.splitter.push(&text).into_iter().map(Ok)),
            Chunk::End(_) => {
                self.finish_text();
                self.ready.push_back(Ok(chunk));
                self.is_over = true;
            }
            Chunk::ToolCall { .. } => {
                self.finish_text();
                self.ready.push_back(Ok(chunk));
            }
            Chunk::Id(_) | Chunk::Reasoning(_) | Chunk::Usage(_) | Chunk::ToolArguments { .. } | Chunk::Event(_) => {
                self.ready.push_back(Ok(chunk))
            }
        }
    }

    fn fail(&mut self, fault: Fault) {
        if !self.is_over {
            self.finish_text();
            self.ready.push_back(Err(fault));
            self.is_over = true;
        }
    }

    /// Releases text that was held back because a tag might have followed.
    fn finish_text(&mut self) {
        self.ready.extend(self.splitter.finish().map(Ok));
    }
}

/// Returns an event's JSON with the event's name as its type, unless it has one.
fn named(name: &str, value: &Value) -> Value {
    let mut value = value.clone();
    if let Some(fields) = value.as_object_mut().filter(|_| !name.is_empty()) {
        fields.entry("type").or_insert_with(|| name.into());
    }
    value
}
