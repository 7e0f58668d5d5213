//! Reads conversations from JSON, one after the other: from an array of them, or one alone. The format of each is known by its fields.

use super::reader::{Counted, Reader, TOO_LARGE_CONVERSATION, TOO_LARGE_FILE};
use super::tree::finish;
use super::{ImportError, Read, chatgpt, claude, own};
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize as _, Deserializer};
use serde_json::value::RawValue;
use std::fmt;
use std::io::{self, BufRead as _, BufReader};

/// Reads the conversations of a JSON document.
pub(super) fn read_document(text: impl io::Read, reader: &mut Reader<'_>) -> Result<(), ImportError> {
    let budget = reader.budget.clone();
    budget.begin_conversation();
    let mut text = BufReader::new(Counted { inner: text, budget });
    let first = first_byte(&mut text).map_err(|error| refused(&serde_json::Error::io(error)))?;
    let mut json = serde_json::Deserializer::from_reader(text);
    let mut stopped = None;
    let read = match first {
        Some(b'[') => json.deserialize_seq(Conversations { reader, stopped: &mut stopped }),
        Some(b'{') => Box::<RawValue>::deserialize(&mut json).map(|alone| {
            stopped = read_alone(alone.get(), reader).err();
        }),
        _ => return Err(no_json()),
    };
    match (stopped, read.and_then(|()| json.end())) {
        (Some(error), _) => Err(error),
        (None, Ok(())) => Ok(()),
        (None, Err(error)) => Err(refused(&error)),
    }
}

/// Returns the first byte of a JSON text, after a byte order mark and whitespace.
fn first_byte<R: io::Read>(text: &mut BufReader<R>) -> io::Result<Option<u8>> {
    if text.fill_buf()?.starts_with(b"\xef\xbb\xbf") {
        text.consume(3);
    }
    loop {
        match text.fill_buf()?.first() {
            Some(byte) if byte.is_ascii_whitespace() => text.consume(1),
            first => return Ok(first.copied()),
        }
    }
}

fn no_json() -> ImportError {
    ImportError::refused("The file isn't JSON or a ZIP with JSON. Upload the export as you downloaded it.")
}

/// Describes an error in JSON. The error itself isn't shown, because it may quote the file.
fn refused(error: &serde_json::Error) -> ImportError {
    let text = error.to_string();
    ImportError::refused(if text.contains(TOO_LARGE_FILE) {
        "The file unpacks to more than 200 MB. What came before was imported.".to_owned()
    } else if text.contains(TOO_LARGE_CONVERSATION) {
        "The file has a conversation of more than 16 MB. What came before was imported.".to_owned()
    } else if error.is_eof() {
        "The file ends too early. What came before was imported.".to_owned()
    } else if error.is_io() {
        "The file can't be unpacked. Download the export again and upload it unchanged.".to_owned()
    } else {
        format!("The file isn't JSON as of line {}. What came before was imported.", error.line())
    })
}

/// An array of conversations.
struct Conversations<'a, 'b> {
    reader: &'a mut Reader<'b>,
    /// Why reading was stopped, if it wasn't because of the JSON.
    stopped: &'a mut Option<ImportError>,
}

impl<'de> Visitor<'de> for Conversations<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of conversations")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        loop {
            self.reader.budget.begin_conversation();
            let Some(item) = items.next_element::<Box<RawValue>>()? else { return Ok(()) };
            let read = conversation(item.get(), self.reader).unwrap_or(Read::Skipped);
            if let Err(error) = self.reader.pass(read) {
                *self.stopped = Some(error);
                return Err(A::Error::custom("stopped"));
            }
        }
    }
}

/// Reads a document that is one conversation.
fn read_alone(json: &str, reader: &mut Reader<'_>) -> Result<(), ImportError> {
    let read = conversation(json, reader).ok_or_else(|| {
        ImportError::refused(
            "This file isn't a supported export. Conversations of ChatGPT, Claude and this app can be imported.",
        )
    })?;
    reader.pass(read)
}

/// Parses a conversation of any format. Returns `None` if it has none that is known.
fn conversation(json: &str, reader: &Reader<'_>) -> Option<Read> {
    let draft = own::parse(json).or_else(|| chatgpt::parse(json)).or_else(|| claude::parse(json))?;
    let done = finish(draft, reader.now);
    Some(done.map_or(Read::Skipped, |conversation| Read::Conversation(Box::new(conversation))))
}
