//! What the process that reads a file writes: one line of JSON, then the bytes to store.

use crate::{Reading, Refused};
use domain::AttachmentKind;
use serde::{Deserialize, Serialize};
use std::io::{self, Write};

#[derive(Serialize, Deserialize)]
struct Head {
    kind: AttachmentKind,
    media_type: String,
    size: Option<(u32, u32)>,
    text: Option<String>,
    /// Whether bytes follow.
    has_data: bool,
}

/// Writes what was read from a file, or why it isn't accepted.
///
/// # Errors
/// Returns an error if `out` can't be written to.
pub fn write(result: Result<Reading, Refused>, mut out: impl Write) -> io::Result<()> {
    let data = match result {
        Ok(Reading { kind, media_type, size, text, data }) => {
            let head: Result<Head, Refused> = Ok(Head { kind, media_type, size, text, has_data: data.is_some() });
            serde_json::to_writer(&mut out, &head)?;
            data.unwrap_or_default()
        }
        Err(refused) => {
            serde_json::to_writer(&mut out, &Err::<Head, Refused>(refused))?;
            Vec::new()
        }
    };
    out.write_all(b"\n")?;
    out.write_all(&data)?;
    out.flush()
}

/// Parses what [`write`] wrote. Returns `None` if it is incomplete.
#[must_use]
pub fn parse(bytes: &[u8]) -> Option<Result<Reading, Refused>> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let head: Result<Head, Refused> = serde_json::from_slice(&bytes[..end]).ok()?;
    Some(head.map(|head| Reading {
        kind: head.kind,
        media_type: head.media_type,
        size: head.size,
        text: head.text,
        data: head.has_data.then(|| bytes[end + 1..].to_vec()),
    }))
}
