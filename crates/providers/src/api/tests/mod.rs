//! Tests of requests, their bodies and responses in all formats.

mod bodies;
mod refusals;
mod round_trips;
mod streams;

use crate::api::{ApiFormat, ApiRequest, ApiResponse};
use crate::estimate::tests::model as model_of;
use crate::{Chunk, End, ReportedUsage};
use domain::{Model, Thinking, Tokens, Usage, WireFormat};
use serde_json::{Value, json};

const FORMATS: [ApiFormat; 3] = [ApiFormat::ChatCompletions, ApiFormat::Responses, ApiFormat::Messages];

fn model(wire_format: WireFormat) -> Model {
    Model { efforts: ["low", "medium", "high"].map(str::to_owned).to_vec(), ..model_of(wire_format, None) }
}

fn parse(format: ApiFormat, body: &Value) -> ApiRequest {
    ApiRequest::parse(format, body.to_string().as_bytes()).unwrap_or_else(|error| panic!("{error:?} in {body}"))
}

/// Returns the smallest request of a format.
fn hello(format: ApiFormat, streams: bool) -> ApiRequest {
    let messages = if format == ApiFormat::Responses { "input" } else { "messages" };
    let mut body = json!({"model": "m", "stream": streams});
    body[messages] = json!([{"role": "user", "content": "hi"}]);
    if format == ApiFormat::ChatCompletions && streams {
        body["stream_options"] = json!({"include_usage": true});
    }
    parse(format, &body)
}

fn usage() -> Usage {
    Usage {
        input: Tokens(20),
        cache_read: Tokens(7),
        cache_write: Tokens(3),
        output: Tokens(9),
        reasoning: Tokens(4),
        ..Usage::default()
    }
}

/// Returns the JSON of all frames, without `[DONE]`.
fn events(frames: &[String]) -> Vec<Value> {
    let data = frames.iter().filter_map(|frame| frame.split_once("data: ")).map(|(_, data)| data.trim());
    data.filter(|data| *data != "[DONE]").map(|data| serde_json::from_str(data).unwrap()).collect()
}

/// Writes chunks as a stream in a format.
fn stream(format: ApiFormat, wire_format: WireFormat, chunks: &[Chunk]) -> Vec<Value> {
    let mut response = ApiResponse::new(&hello(format, true), &model(wire_format), "1", 1_700_000_000);
    let mut frames: Vec<String> = chunks.iter().flat_map(|chunk| response.push(chunk)).collect();
    frames.extend(response.finish(&usage()));
    assert!(frames.iter().all(|frame| frame.ends_with("\n\n")));
    events(&frames)
}

/// Writes chunks as one body in a format.
fn whole(format: ApiFormat, wire_format: WireFormat, chunks: &[Chunk]) -> Value {
    let mut response = ApiResponse::new(&hello(format, false), &model(wire_format), "1", 1_700_000_000);
    assert!(chunks.iter().all(|chunk| response.push(chunk).is_empty()));
    response.whole(&usage())
}

fn call(index: u64, id: &str, name: &str) -> Chunk {
    Chunk::ToolCall { index, id: id.into(), name: name.into() }
}

fn arguments(index: u64, json: &str) -> Chunk {
    Chunk::ToolArguments { index, json: json.into() }
}

fn reported() -> Chunk {
    Chunk::Usage(ReportedUsage { usage: usage(), is_consistent: true })
}

/// Reasoning, text and two calls whose arguments are interleaved.
fn rich() -> Vec<Chunk> {
    vec![
        Chunk::Reasoning("Let me ".into()),
        Chunk::Reasoning("see.".into()),
        Chunk::Text("I'll ".into()),
        Chunk::Text("look.".into()),
        call(0, "a", "weather"),
        arguments(0, "{\"city\":"),
        call(1, "b", "time"),
        arguments(1, "{}"),
        arguments(0, "\"Rome\"}"),
        reported(),
        Chunk::End(End::ToolCall),
    ]
}
