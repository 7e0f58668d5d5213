//! Reads the tool calls of the OpenAI format, whose deltas name a call by its index, by its id or by neither.

use crate::{Chunk, content, lenient};
use serde_json::{Value, json};

/// The calls of a response so far, each by its index and id on the wire.
#[derive(Debug, Default)]
pub(crate) struct ToolCalls(Vec<(u64, String)>);

impl ToolCalls {
    /// Appends the chunks of a delta's calls, also of the older `function_call`.
    pub fn read(&mut self, delta: &Value, out: &mut Vec<Chunk>) {
        match &delta["tool_calls"] {
            Value::Array(calls) => {
                calls.iter().zip(0..).for_each(|(call, position)| self.read_call(position, call, out))
            }
            call @ Value::Object(_) => self.read_call(0, call, out),
            _ => {}
        }
        if delta["function_call"].is_object() {
            self.read_call(0, &json!({"function": delta["function_call"]}), out);
        }
    }

    /// Returns the number of the call that a delta begins or continues, and whether it begins one. `position` is that of the delta in its list.
    /// Servers without indexes, or with the same one for all calls, send a call as a whole, so another id with a name is another call. Others send
    /// another id with each piece of a call, without a name.
    pub fn locate(&mut self, position: u64, call: &Value) -> (usize, bool) {
        let wire_index = lenient::count(call, &["/index"]).unwrap_or(position);
        let id = lenient::name(call, "/id").unwrap_or_default();
        let is_piece = id.is_empty() || content::plain(&call["function"]["name"]).is_empty();
        let is_same =
            |known: &(u64, String)| known.0 == wire_index && (is_piece || known.1.is_empty() || known.1 == id);
        if let Some(at) = self.0.iter().rposition(is_same) {
            return (at, false);
        }
        self.0.push((wire_index, id));
        (self.0.len() - 1, true)
    }

    /// Reads a call or a piece of one.
    fn read_call(&mut self, position: u64, call: &Value, out: &mut Vec<Chunk>) {
        let (at, begins) = self.locate(position, call);
        if begins {
            let (id, name) =
                (lenient::name(call, "/id").unwrap_or_default(), content::plain(&call["function"]["name"]));
            out.push(Chunk::ToolCall { index: at as u64, id, name });
        }
        let json = match &call["function"]["arguments"] {
            Value::String(json) => json.clone(),
            Value::Object(arguments) if !arguments.is_empty() => call["function"]["arguments"].to_string(),
            _ => return,
        };
        if !json.is_empty() {
            out.push(Chunk::ToolArguments { index: at as u64, json });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(deltas: &[Value]) -> Vec<(String, String, String)> {
        let (mut calls, mut out) = (ToolCalls::default(), Vec::new());
        deltas.iter().for_each(|delta| calls.read(delta, &mut out));
        let mut found: Vec<(String, String, String)> = Vec::new();
        for chunk in out {
            match chunk {
                Chunk::ToolCall { index, id, name } => {
                    assert_eq!(index as usize, found.len());
                    found.push((id, name, String::new()));
                }
                Chunk::ToolArguments { index, json } => found[index as usize].2.push_str(&json),
                other => panic!("{other:?}"),
            }
        }
        found
    }

    #[test]
    fn calls_are_distinguished_by_index_or_id() {
        let call = |index: Option<u64>, id: &str, name: &str, arguments: Value| {
            let mut call = json!({"function": {"name": name, "arguments": arguments}});
            if let Some(index) = index {
                call["index"] = index.into();
            }
            if !id.is_empty() {
                call["id"] = id.into();
            }
            json!({"tool_calls": [call]})
        };
        let expected = |calls: &[(&str, &str, &str)]| -> Vec<(String, String, String)> {
            calls.iter().map(|(id, name, json)| ((*id).into(), (*name).into(), (*json).into())).collect()
        };
        let streamed = [
            call(Some(0), "a", "f", json!("{\"x\"")),
            call(Some(0), "", "", json!(":1}")),
            call(Some(1), "b", "g", json!("{")),
            call(Some(0), "a", "f", json!(" ")),
            call(Some(1), "", "", json!("}")),
        ];
        assert_eq!(read(&streamed), expected(&[("a", "f", "{\"x\":1} "), ("b", "g", "{}")]));
        let whole = [call(None, "a", "f", json!({"x": 1})), call(None, "b", "g", json!("{}"))];
        assert_eq!(read(&whole), expected(&[("a", "f", "{\"x\":1}"), ("b", "g", "{}")]));
        let other_ids = [call(Some(0), "a", "f", json!("{")), call(Some(0), "b", "", json!("}"))];
        assert_eq!(read(&other_ids), expected(&[("a", "f", "{}")]));
        let older = [json!({"function_call": {"name": "f", "arguments": "{}"}, "tool_calls": null})];
        assert_eq!(read(&older), expected(&[("", "f", "{}")]));
    }
}
