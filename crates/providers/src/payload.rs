//! Reads an event's data: JSON, the `[DONE]` marker, or a keep-alive.

use crate::error::{ErrorBody, Fault};
use domain::sse::SseEvent;
use serde_json::Value;

/// Events that only show that the server is alive, whatever their data.
const KEEP_ALIVES: [&str; 5] = ["ping", "heartbeat", "keepalive", "keep-alive", "keep_alive"];
const DONE: [&str; 3] = ["[DONE]", "\"[DONE]\"", "DONE"];

/// The content of an event.
pub(crate) enum Payload {
    /// The marker at the end of the OpenAI format.
    Done,
    /// An object with at least one field.
    Json(Value),
}

/// Reads an event. Keep-alives have no content: empty data, null, and every other JSON value that isn't an object. Data that isn't JSON is an
/// error, which follows the objects before it, unless the event's name is unknown.
pub(crate) fn read(event: &SseEvent) -> (Vec<Payload>, Option<Fault>) {
    let mut found = Vec::new();
    if KEEP_ALIVES.contains(&event.name.as_str()) {
        return (found, None);
    }
    let is_read = add(&event.data, &mut found).or_else(|_| {
        // Servers that omit the empty line between events have one value on each line.
        event.data.lines().try_for_each(|line| add(line, &mut found))
    });
    let fault = match is_read {
        _ if event.name == "error" && found.is_empty() => Some(Fault::Reported(ErrorBody::from_text(&event.data))),
        Err(column) if is_known(&event.name) => Some(Fault::Foreign(format!("unexpected JSON, at column {column}"))),
        _ => None,
    };
    (found, fault)
}

/// Whether events of this name must have JSON as data.
fn is_known(name: &str) -> bool {
    matches!(name, "" | "message" | "data" | "chunk" | "delta" | "completion" | "error")
        || name.starts_with("message_")
        || name.starts_with("content_block_")
}

/// Adds the JSON values of a text. If it isn't JSON, returns the column: serde's message may quote a value.
fn add(text: &str, found: &mut Vec<Payload>) -> Result<(), usize> {
    let mut text = text.trim();
    // Proxies that wrap a stream twice repeat the field's name.
    while let Some(rest) = text.strip_prefix("data:") {
        text = rest.trim_start();
    }
    if DONE.iter().any(|done| text.eq_ignore_ascii_case(done)) {
        found.push(Payload::Done);
    } else if !text.is_empty() {
        let value: Value = serde_json::from_str(text).map_err(|error| error.column())?;
        let values = if let Value::Array(values) = value { values } else { vec![value] };
        let says_something =
            |value: &Value| value.as_object().is_some_and(|fields| !fields.is_empty()) && value["type"] != "ping";
        found.extend(values.into_iter().filter(says_something).map(Payload::Json));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(name: &str, data: &str) -> (usize, bool) {
        let event = SseEvent { name: name.into(), data: data.into(), id: String::new() };
        let (found, fault) = read(&event);
        (found.len(), fault.is_some())
    }

    /// Field note 46: events without content are keep-alives.
    #[test]
    fn keep_alives_say_nothing() {
        for (name, data) in [
            ("", ""),
            ("", "null"),
            ("", " "),
            ("", "1"),
            ("", "{}"),
            ("", "[]"),
            ("", "{\"type\": \"ping\"}"),
            ("ping", "now"),
            ("heartbeat", ""),
            ("trace_id", "not-json"),
        ] {
            assert_eq!(count(name, data), (0, false), "{name:?} {data:?}");
        }
    }

    #[test]
    fn only_data_that_is_no_json_is_an_error() {
        for (name, data, expected) in [
            ("", "{nonsense", (0, true)),
            ("message_delta", "nonsense", (0, true)),
            ("error", "upstream timed out", (0, true)),
            ("error", "", (0, true)),
            ("", "{\"a\":1}\n{\"b\":2}\n[DONE]", (3, false)),
            ("", "{\"a\":1}\n{\"b\":", (1, true)),
            ("", "{\n\"a\":\n1\n}", (1, false)),
            ("", "data: {\"a\":1}", (1, false)),
            ("", "[{\"a\":1},null]", (1, false)),
        ] {
            assert_eq!(count(name, data), expected, "{name:?} {data:?}");
        }
    }
}
