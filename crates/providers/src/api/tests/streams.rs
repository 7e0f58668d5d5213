//! Streams and whole bodies in each format.

use super::*;
use proptest::prelude::*;

fn types(events: &[Value]) -> Vec<&str> {
    events.iter().filter_map(|event| event["type"].as_str()).collect()
}

/// The sequence that the official SDKs read.
#[test]
fn responses_have_all_events_of_their_items() {
    let events = stream(ApiFormat::Responses, WireFormat::OpenAi, &rich());
    let numbers: Vec<u64> = events.iter().map(|event| event["sequence_number"].as_u64().unwrap()).collect();
    assert!(numbers.iter().copied().eq(0..events.len() as u64), "{numbers:?}");
    let mut seen = types(&events);
    seen.dedup();
    assert_eq!(
        seen,
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.reasoning_summary_part.added",
            "response.reasoning_summary_text.delta",
            "response.reasoning_summary_text.done",
            "response.reasoning_summary_part.done",
            "response.output_item.done",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.output_item.added",
            "response.function_call_arguments.delta",
            "response.output_item.added",
            "response.function_call_arguments.delta",
            "response.function_call_arguments.done",
            "response.output_item.done",
            "response.function_call_arguments.done",
            "response.output_item.done",
            "response.completed",
        ]
    );
    let response = &events.last().unwrap()["response"];
    let output = response["output"].as_array().unwrap();
    let kinds: Vec<&str> = output.iter().map(|item| item["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["reasoning", "message", "function_call", "function_call"]);
    assert_eq!(
        (&output[1]["content"][0]["text"], &output[2]["arguments"]),
        (&json!("I'll look."), &json!("{\"city\":\"Rome\"}"))
    );
    assert_eq!(
        response["usage"],
        json!({
            "input_tokens": 30, "output_tokens": 9, "total_tokens": 39,
            "input_tokens_details": {"cached_tokens": 7, "cache_write_tokens": 3}, "output_tokens_details": {"reasoning_tokens": 4},
        })
    );
    assert_eq!(whole(ApiFormat::Responses, WireFormat::OpenAi, &rich()), *response);
}

/// Blocks are sent one after another, although the calls arrived interleaved.
#[test]
fn messages_have_one_block_at_a_time() {
    let events = stream(ApiFormat::Messages, WireFormat::OpenAi, &rich());
    let (mut open, mut count) = (None, 0);
    for event in &events {
        match event["type"].as_str().unwrap() {
            "content_block_start" => {
                assert_eq!((open, event["index"].as_u64()), (None, Some(count)));
                (open, count) = (Some(count), count + 1);
            }
            "content_block_delta" => assert_eq!(event["index"].as_u64(), open),
            "content_block_stop" => assert_eq!(event["index"].as_u64(), open.take()),
            _ => assert_eq!(open, None),
        }
    }
    assert_eq!((types(&events)[0], count), ("message_start", 4));
    let [.., delta, stop] = events.as_slice() else { panic!("no end") };
    assert_eq!((&delta["delta"]["stop_reason"], &stop["type"]), (&json!("tool_use"), &json!("message_stop")));
    assert_eq!((&delta["usage"]["input_tokens"], &delta["usage"]["cache_read_input_tokens"]), (&json!(20), &json!(7)));
    let whole = whole(ApiFormat::Messages, WireFormat::OpenAi, &rich());
    assert_eq!(
        whole["content"],
        json!([
            {"type": "thinking", "thinking": "Let me see.", "signature": ""},
            {"type": "text", "text": "I'll look."},
            {"type": "tool_use", "id": "a", "name": "weather", "input": {"city": "Rome"}},
            {"type": "tool_use", "id": "b", "name": "time", "input": {}},
        ])
    );
    assert_eq!((&whole["stop_reason"], &whole["id"]), (&json!("tool_use"), &json!("msg_1")));
}

#[test]
fn completions_end_with_their_reason_and_usage() {
    let events = stream(ApiFormat::ChatCompletions, WireFormat::Anthropic, &rich());
    assert_eq!(events[0]["choices"][0]["delta"]["role"], "assistant");
    let [.., reason, last] = events.as_slice() else { panic!("no end") };
    assert_eq!((&reason["choices"][0]["finish_reason"], &last["choices"]), (&json!("tool_calls"), &json!([])));
    assert_eq!((&last["usage"]["prompt_tokens"], &last["usage"]["total_tokens"]), (&json!(30), &json!(39)));
    let whole = whole(ApiFormat::ChatCompletions, WireFormat::Anthropic, &rich());
    let message = &whole["choices"][0]["message"];
    assert_eq!((&message["content"], &message["reasoning_content"]), (&json!("I'll look."), &json!("Let me see.")));
    assert_eq!(
        message["tool_calls"],
        json!([
            {"id": "a", "type": "function", "function": {"name": "weather", "arguments": "{\"city\":\"Rome\"}"}},
            {"id": "b", "type": "function", "function": {"name": "time", "arguments": "{}"}},
        ])
    );
}

/// Each end has its name in each format.
#[test]
fn ends_are_named_as_the_formats_do() {
    for (end, completions, responses, messages) in [
        (End::Complete, "stop", "completed", "end_turn"),
        (End::Length, "length", "max_output_tokens", "max_tokens"),
        (End::Filtered, "content_filter", "content_filter", "refusal"),
        (End::Refused, "content_filter", "content_filter", "refusal"),
    ] {
        let chunks = [Chunk::Text("a".into()), Chunk::End(end)];
        let body = |format| whole(format, WireFormat::Anthropic, &chunks);
        assert_eq!(body(ApiFormat::ChatCompletions)["choices"][0]["finish_reason"], completions);
        assert_eq!(body(ApiFormat::Messages)["stop_reason"], messages);
        let response = body(ApiFormat::Responses);
        let reason = response["incomplete_details"]["reason"].as_str().or(response["status"].as_str());
        assert_eq!(reason, Some(responses));
    }
}

/// Passed-through events of Anthropic keep signatures and stop sequences; what a server left out is added.
#[test]
fn same_format_events_are_passed_through_and_completed() {
    let event = |value: Value| Chunk::Event(value);
    let chunks = [
        event(json!({"type": "message_start", "message": {"id": "theirs", "usage": {"input_tokens": 5}}})),
        event(
            json!({"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}}),
        ),
        event(
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "Hm."}}),
        ),
        Chunk::Reasoning("Hm.".into()),
        event(
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "sig"}}),
        ),
        // No end of the first block and no beginning of the second one.
        event(json!({"type": "content_block_delta", "index": 4, "delta": {"type": "text_delta", "text": "Yes"}})),
        Chunk::Text("Yes".into()),
        event(
            json!({"type": "message_delta", "delta": {"stop_reason": "stop_sequence", "stop_sequence": "END"}, "usage": {"output_tokens": 3}}),
        ),
        event(json!({"type": "message_stop"})),
        Chunk::End(End::Complete),
    ];
    let events = stream(ApiFormat::Messages, WireFormat::Anthropic, &chunks);
    let expected = [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ];
    assert_eq!(types(&events), expected);
    assert_eq!((&events[0]["message"]["id"], &events[0]["message"]["model"]), (&json!("msg_1"), &json!("m")));
    let whole = whole(ApiFormat::Messages, WireFormat::Anthropic, &chunks);
    assert_eq!(
        whole["content"],
        json!([
            {"type": "thinking", "thinking": "Hm.", "signature": "sig"}, {"type": "text", "text": "Yes"},
        ])
    );
    assert_eq!((&whole["stop_reason"], &whole["stop_sequence"]), (&json!("stop_sequence"), &json!("END")));
    // The same events for callers of the other formats.
    let completion = super::whole(ApiFormat::ChatCompletions, WireFormat::Anthropic, &chunks);
    let block = json!([{"type": "thinking", "thinking": "Hm.", "signature": "sig"}]);
    assert_eq!(completion["choices"][0]["message"]["thinking_blocks"], block);
    let response = super::whole(ApiFormat::Responses, WireFormat::Anthropic, &chunks);
    assert_eq!(response["output"][0]["encrypted_content"], "thinking:sig");
}

#[test]
fn completions_are_passed_through_with_what_we_do_not_know() {
    let event = |delta: Value, logprobs: Value| {
        Chunk::Event(
            json!({"id": "theirs", "model": "theirs", "choices": [{"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": "stop"}], "usage": {"prompt_tokens": 1}}),
        )
    };
    let chunks = [
        event(json!({"role": "assistant", "content": ""}), Value::Null),
        event(json!({"content": "a", "annotations": [{"n": 1}]}), json!({"content": [{"token": "a"}]})),
        Chunk::Text("a".into()),
        Chunk::Event(json!({"choices": null})),
        event(json!({"content": "b"}), json!({"content": [{"token": "b"}]})),
        Chunk::Text("b".into()),
        Chunk::Event(json!({"choices": [], "usage": {"prompt_tokens": 1}})),
        reported(),
        Chunk::End(End::Complete),
    ];
    let whole = whole(ApiFormat::ChatCompletions, WireFormat::OpenAi, &chunks);
    let choice = &whole["choices"][0];
    assert_eq!((&choice["message"]["content"], &choice["message"]["annotations"]), (&json!("ab"), &json!([{"n": 1}])));
    assert_eq!(choice["logprobs"]["content"], json!([{"token": "a"}, {"token": "b"}]));
    assert_eq!(
        (&whole["id"], &whole["model"], &whole["usage"]["prompt_tokens"]),
        (&json!("chatcmpl-1"), &json!("m"), &json!(30))
    );
    let events = stream(ApiFormat::ChatCompletions, WireFormat::OpenAi, &chunks);
    let reasons = events.iter().filter(|event| event["choices"][0]["finish_reason"].is_string()).count();
    assert_eq!((reasons, events.len()), (1, 5), "{events:?}");
}

/// Gemini and others send each call as a whole, with the same index. The SDKs tell calls apart by their index alone.
#[test]
fn passed_calls_are_numbered_in_their_order() {
    let event = |call: Value| Chunk::Event(json!({"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]}));
    let called = |id: &str, arguments: &str| {
        event(json!({"index": 0, "id": id, "function": {"name": "weather", "arguments": arguments}}))
    };
    let chunks = [
        called("a", "{}"),
        called("b", "{"),
        event(json!({"index": 0, "function": {"arguments": "}"}})),
        Chunk::End(End::ToolCall),
    ];
    let events = stream(ApiFormat::ChatCompletions, WireFormat::OpenAi, &chunks);
    let calls = events.iter().filter_map(|event| event.pointer("/choices/0/delta/tool_calls/0"));
    let indexes: Vec<Option<u64>> = calls.map(|call| call["index"].as_u64()).collect();
    assert_eq!(indexes, [Some(0), Some(1), Some(1)]);
    let whole = whole(ApiFormat::ChatCompletions, WireFormat::OpenAi, &chunks);
    let call = |id: &str| json!({"id": id, "type": "function", "function": {"name": "weather", "arguments": "{}"}});
    assert_eq!(whole["choices"][0]["message"]["tool_calls"], json!([call("a"), call("b")]));
}

/// A stream that fails has an error that the SDKs throw.
#[test]
fn failures_within_a_stream_have_the_shape_of_the_format() {
    for format in FORMATS {
        let mut response = ApiResponse::new(&hello(format, true), &model(WireFormat::OpenAi), "1", 0);
        response.push(&Chunk::Text("a".into()));
        let events = events(&response.fail(502, "model_failed", "The response was interrupted."));
        let error = &events.last().unwrap()["error"];
        assert_eq!(error["message"], "The response was interrupted.", "{format:?}");
        assert_eq!(error["type"], if format == ApiFormat::Messages { "api_error" } else { "server_error" });
        assert_eq!(response.output_text(), "a");
    }
}

fn chunks() -> impl Strategy<Value = Vec<Chunk>> {
    let text = prop_oneof![
        "[a-z \u{e9}\u{1f980}]{1,6}".prop_map(Chunk::Text),
        "[a-z]{1,6}".prop_map(Chunk::Reasoning),
        (0_u64..3, "[a-z]{0,5}").prop_map(|(index, text)| arguments(index, &text)),
    ];
    prop::collection::vec(text, 0..12).prop_map(|chunks| {
        let (mut out, mut known) = (Vec::new(), 0);
        for chunk in chunks {
            if let Chunk::ToolArguments { index, .. } = &chunk {
                while known <= *index {
                    out.push(call(known, &format!("id{known}"), "f"));
                    known += 1;
                }
            }
            out.push(chunk);
        }
        out.push(Chunk::End(End::Complete));
        out
    })
}

proptest! {
    /// However text, reasoning and calls are mixed, nothing is lost in any format, and the whole body has the content of the stream.
    #[test]
    fn nothing_is_lost(chunks in chunks()) {
        let (mut text, mut reasoning, mut calls) = (String::new(), String::new(), Vec::<String>::new());
        for chunk in &chunks {
            match chunk {
                Chunk::Text(part) => text.push_str(part),
                Chunk::Reasoning(part) => reasoning.push_str(part),
                Chunk::ToolCall { .. } => calls.push(String::new()),
                Chunk::ToolArguments { index, json } => calls[*index as usize].push_str(json),
                _ => {}
            }
        }
        let message = whole(ApiFormat::ChatCompletions, WireFormat::Anthropic, &chunks)["choices"][0]["message"].clone();
        prop_assert_eq!(message["content"].as_str().unwrap_or_default(), &text);
        prop_assert_eq!(message["reasoning_content"].as_str().unwrap_or_default(), &reasoning);
        let of_completion: Vec<&str> = message["tool_calls"].as_array().into_iter().flatten().map(|call| call["function"]["arguments"].as_str().unwrap()).collect();
        prop_assert_eq!(&of_completion, &calls);

        let events = stream(ApiFormat::Messages, WireFormat::OpenAi, &chunks);
        let deltas = |kind: &str, field: &str| -> String {
            events.iter().filter(|event| event["delta"]["type"] == kind).map(|event| event["delta"][field].as_str().unwrap()).collect()
        };
        prop_assert_eq!(deltas("text_delta", "text"), text.clone());
        prop_assert_eq!(deltas("thinking_delta", "thinking"), reasoning.clone());
        prop_assert_eq!(deltas("input_json_delta", "partial_json"), calls.concat());

        let response = whole(ApiFormat::Responses, WireFormat::OpenAi, &chunks);
        let items = |kind: &str, pointer: &str| -> Vec<String> {
            let items = response["output"].as_array().unwrap().iter().filter(|item| item["type"] == kind);
            items.map(|item| item.pointer(pointer).unwrap().as_str().unwrap().to_owned()).collect()
        };
        prop_assert_eq!(items("message", "/content/0/text").concat(), text);
        prop_assert_eq!(items("reasoning", "/summary/0/text").concat(), reasoning);
        let filled: Vec<String> = calls.iter().map(|json| if json.is_empty() { "{}".to_owned() } else { json.clone() }).collect();
        prop_assert_eq!(items("function_call", "/arguments"), filled);
    }
}
