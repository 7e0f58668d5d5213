//! Reads a whole JSON body in place of a stream: some servers ignore `"stream": true`, and some report errors with a success status.

use crate::completions::Completions;
use crate::error::{ErrorBody, Fault};
use crate::messages::Messages;
use crate::reader::Reader;
use crate::{Chunk, lenient};
use serde_json::Value;

/// Converts a whole completion, of either format, to its chunks. Anything else is an error.
pub(crate) fn read(body: &[u8]) -> Result<Vec<Chunk>, Fault> {
    // serde's message may quote a value, so only the column is kept.
    let value: Value = serde_json::from_slice(body)
        .map_err(|error| Fault::Foreign(format!("unexpected JSON, at column {}", error.column())))?;
    let value = value.as_array().and_then(|items| items.first()).unwrap_or(&value);
    if let Some(error) = ErrorBody::in_event("", value) {
        return Err(Fault::Reported(error));
    }
    let mut out = Vec::new();
    if value["choices"].is_array() {
        let mut reader = Completions::default();
        reader.read("", value, &mut out)?;
        reader.done(&mut out)?;
    } else if value["content"].is_array() || value["type"] == "message" {
        let mut reader = Messages::default();
        reader.read("message", value, &mut out)?;
        reader.read("message_stop", &Value::Null, &mut out)?;
    } else if ["message", "msg", "detail", "code"].iter().any(|name| lenient::has_content(&value[*name])) {
        return Err(Fault::Reported(ErrorBody::from_json(value)));
    } else {
        return Err(Fault::Foreign("JSON that is no completion".into()));
    }
    Ok(out)
}
