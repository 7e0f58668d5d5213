//! Assembles a whole message from the events of a stream.

use serde_json::Value;

/// The blocks of a message so far.
#[derive(Debug, Default)]
pub(super) struct WholeMessage {
    /// Each block, and the JSON of its input so far.
    blocks: Vec<(Value, String)>,
}

impl WholeMessage {
    /// Adds an event. Blocks are sent one after another, so a delta belongs to the last one.
    pub fn add(&mut self, event: &Value) {
        if event["type"] == "content_block_start" {
            self.blocks.push((event["content_block"].clone(), String::new()));
            return;
        }
        let Some((block, json)) = self.blocks.last_mut().filter(|_| event["type"] == "content_block_delta") else {
            return;
        };
        let delta = &event["delta"];
        match delta["type"].as_str() {
            Some("text_delta") => append(&mut block["text"], &delta["text"]),
            Some("thinking_delta") => append(&mut block["thinking"], &delta["thinking"]),
            Some("signature_delta") => append(&mut block["signature"], &delta["signature"]),
            Some("input_json_delta") => json.push_str(delta["partial_json"].as_str().unwrap_or_default()),
            Some("citations_delta") => match &mut block["citations"] {
                Value::Array(citations) => citations.push(delta["citation"].clone()),
                citations => *citations = Value::from(vec![delta["citation"].clone()]),
            },
            _ => {}
        }
    }

    /// Returns the content. Input that isn't JSON because it was cut off is kept as text.
    pub fn content(self) -> Value {
        let blocks = self.blocks.into_iter().map(|(mut block, json)| {
            if !json.is_empty() {
                block["input"] = serde_json::from_str(&json).unwrap_or_else(|_| serde_json::json!({"arguments": json}));
            }
            block
        });
        // Empty texts are rejected when they are sent back.
        blocks.filter(|block| block["type"] != "text" || block["text"] != "").collect()
    }
}

fn append(text: &mut Value, more: &Value) {
    let more = more.as_str().unwrap_or_default();
    match text {
        Value::String(text) => text.push_str(more),
        text => *text = more.into(),
    }
}
