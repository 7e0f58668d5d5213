//! Bodies that are passed on or translated.

use super::*;

const PIXEL: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

/// A schema of an object with the optional number `a`, some of whose fields are replaced.
fn closed(replaced: &[(&str, Value)]) -> Value {
    let mut schema = json!({
        "type": "object", "properties": {"a": {"type": ["number", "null"]}}, "required": ["a"], "additionalProperties": false,
    });
    replaced.iter().for_each(|(field, value)| schema[*field] = value.clone());
    schema
}

/// A conversation of chat completions with everything that can be translated.
fn completion() -> Value {
    json!({
        "model": "m", "max_completion_tokens": 50, "reasoning_effort": "low", "stop": "END", "parallel_tool_calls": false,
        "messages": [
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{PIXEL}"), "detail": "low"}},
            ]},
            {"role": "assistant", "content": null, "tool_calls": [
                {"id": "call:1", "type": "function", "function": {"name": "look", "arguments": "{\"at\":1}"}},
                {"id": "call:2", "type": "function", "function": {"name": "look", "arguments": ""}},
            ]},
            {"role": "tool", "tool_call_id": "call:1", "content": "a dot"},
            {"role": "tool", "tool_call_id": "call:2", "content": "nothing"},
            {"role": "user", "content": "So?"},
        ],
        "tools": [{"type": "function", "function": {"name": "look", "description": "Looks.", "parameters": closed(&[]), "strict": true}}],
        "tool_choice": {"type": "function", "function": {"name": "look"}},
        "response_format": {"type": "json_schema", "json_schema": {"name": "dot", "strict": true, "schema": closed(&[])}},
    })
}

#[test]
fn completions_become_messages() {
    let body = parse(ApiFormat::ChatCompletions, &completion()).body(&model(WireFormat::Anthropic), Tokens(40));
    let result = |id: &str, text: &str| json!({"type": "tool_result", "tool_use_id": id, "content": text});
    let expected = json!({
        "model": "m", "max_tokens": 40, "stream": true, "system": "Be brief.", "stop_sequences": ["END"],
        "messages": [
            {"role": "user", "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
            ]},
            {"role": "assistant", "content": [
                {"type": "tool_use", "id": "call_1", "name": "look", "input": {"at": 1}},
                {"type": "tool_use", "id": "call_2", "name": "look", "input": {}},
            ]},
            {"role": "user", "content": [result("call_1", "a dot"), result("call_2", "nothing"), {"type": "text", "text": "So?"}]},
        ],
        "tools": [{"name": "look", "description": "Looks.", "input_schema": closed(&[]), "strict": true}],
        "tool_choice": {"type": "tool", "name": "look", "disable_parallel_tool_use": true},
        "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": closed(&[])}},
    });
    assert_eq!(body, expected);
}

/// The same format is passed on: only the role, the model, the limit and the stream differ.
#[test]
fn completions_are_passed_on() {
    let mut request = completion();
    request["metadata"] = json!({"a": "b"});
    request["store"] = false.into();
    let mut expected = completion();
    expected["messages"][0]["role"] = "system".into();
    expected["stream"] = true.into();
    expected["stream_options"] = json!({"include_usage": true});
    expected["max_completion_tokens"] = 40.into();
    expected["model"] = "other".into();
    let other = Model { name: domain::ModelName("other".into()), ..model(WireFormat::OpenAi) };
    assert_eq!(parse(ApiFormat::ChatCompletions, &request).body(&other, Tokens(40)), expected);
}

#[test]
fn messages_are_passed_on_within_the_limit() {
    let request = |budget: u64| {
        parse(
            ApiFormat::Messages,
            &json!({
                "model": "m", "max_tokens": 9_000, "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}],
                "thinking": {"type": "enabled", "budget_tokens": budget}, "metadata": {"user_id": "u"},
                "messages": [
                    {"role": "user", "content": "hi"},
                    {"role": "assistant", "content": [{"type": "thinking", "thinking": "x", "signature": ""}, {"type": "text", "text": "a"}]},
                    {"role": "user", "content": "b"},
                ],
            }),
        )
    };
    let body = |budget, max| request(budget).body(&model(WireFormat::Anthropic), Tokens(max));
    assert_eq!(body(4_000, 9_000)["thinking"]["budget_tokens"], 4_000);
    assert_eq!(body(4_000, 3_000)["thinking"]["budget_tokens"], 2_999);
    let short = body(4_000, 500);
    assert_eq!((&short["thinking"], &short["max_tokens"]), (&json!({"type": "disabled"}), &json!(500)));
    assert_eq!(short["messages"][1]["content"], json!([{"type": "text", "text": "a"}]));
    assert_eq!(
        (&short["system"][0]["cache_control"]["type"], &short["metadata"]["user_id"]),
        (&json!("ephemeral"), &json!("u"))
    );
    assert_eq!(request(4_000).cache_marks(&model(WireFormat::Anthropic)), domain::CacheMarks::Short);
    assert_eq!(request(4_000).body(&model(WireFormat::OpenAi), Tokens(9))["reasoning_effort"], "low");
}

/// Clients of chat completions send defaults, which Anthropic's models don't all accept. None of the newer ones accepts both settings.
#[test]
fn anthropic_gets_one_setting_of_sampling() {
    for (temperature, top_p, sent) in [
        (json!(0.5), json!(0.9), json!({"temperature": 0.5})),
        (json!(0), json!(1), json!({"temperature": 0})),
        (json!(1), json!(0.9), json!({"top_p": 0.9})),
        (json!(2), Value::Null, json!({})),
        (json!(1.0), json!(1.0), json!({})),
    ] {
        let request = json!({
            "model": "m", "messages": [{"role": "user", "content": "hi"}], "temperature": temperature, "top_p": top_p,
        });
        let mut body = parse(ApiFormat::ChatCompletions, &request).body(&model(WireFormat::Anthropic), Tokens(9));
        let fields = body.as_object_mut().unwrap();
        fields.retain(|name, _| ["temperature", "top_p"].contains(&name.as_str()));
        assert_eq!(body, sent, "{request}");
    }
}

/// An answer that was cut off while another provider's model reasoned is nothing but reasoning without a signature.
#[test]
fn messages_of_unsigned_reasoning_are_left_out() {
    let user = json!({"role": "user", "content": "hi"});
    let unsigned = json!({"role": "assistant", "content": [{"type": "thinking", "thinking": "x", "signature": ""}]});
    let request = parse(ApiFormat::Messages, &json!({"model": "m", "messages": [user, unsigned, user]}));
    let body = request.body(&model(WireFormat::Anthropic), Tokens(9));
    assert_eq!(body["messages"], json!([user, user]));
}

/// A schema that isn't strict is an instruction for Anthropic.
#[test]
fn loose_schemas_become_an_instruction() {
    let mut request = completion();
    request["response_format"] = json!({"type": "json_object"});
    let body = parse(ApiFormat::ChatCompletions, &request).body(&model(WireFormat::Anthropic), Tokens(40));
    let system = body["system"].as_str().unwrap();
    assert!(system.starts_with("Be brief.\n\n") && system.contains("JSON object"), "{system}");
    assert_eq!(body["output_config"], json!({"effort": "low"}));
}

/// Each provider rejects a request with a strict schema that it doesn't support. OpenAI's responses are strict unless they say otherwise.
#[test]
fn schemas_are_strict_where_the_provider_accepts_them() {
    let optional = closed(&[("required", json!([]))]);
    let bounded = closed(&[("properties", json!({"a": {"type": "number", "minimum": 0}}))]);
    let open = closed(&[("additionalProperties", json!(true))]);
    let nested = closed(&[("properties", json!({"a": open}))]);
    let recursive = closed(&[("$defs", json!({"d": closed(&[("properties", json!({"a": {"$ref": "#/$defs/d"}}))])}))]);
    let many: serde_json::Map<String, Value> = (0..17).map(|n| (format!("p{n}"), json!({"anyOf": []}))).collect();
    let unions = closed(&[("properties", Value::Object(many.clone())), ("required", many.keys().cloned().collect())]);
    for (schema, openai, anthropic) in [
        (closed(&[]), true, true),
        (optional, false, true),
        (bounded, true, false),
        (open, false, false),
        (nested, false, false),
        (recursive, true, false),
        (unions, true, false),
    ] {
        let messages = json!([{"role": "user", "content": "hi"}]);
        let strict = |request: &ApiRequest, wire_format, pointer: &str| {
            let body = request.body(&model(wire_format), Tokens(9));
            body.pointer(pointer).and_then(Value::as_bool).unwrap_or(false)
        };
        let format = json!({"type": "json_schema", "schema": schema});
        let request = parse(
            ApiFormat::Messages,
            &json!({
                "model": "m", "messages": messages, "output_config": {"format": format},
                "tools": [{"name": "f", "input_schema": schema, "strict": true}],
            }),
        );
        assert_eq!(strict(&request, WireFormat::OpenAi, "/tools/0/function/strict"), openai, "{schema}");
        assert_eq!(strict(&request, WireFormat::OpenAi, "/response_format/json_schema/strict"), openai, "{schema}");
        assert!(strict(&request, WireFormat::Anthropic, "/tools/0/strict"), "passed on as it is: {schema}");
        let function = json!({"name": "f", "parameters": schema, "strict": true});
        let format = json!({"type": "json_schema", "json_schema": {"name": "o", "schema": schema, "strict": true}});
        let request = parse(
            ApiFormat::ChatCompletions,
            &json!({
                "model": "m", "messages": messages, "tools": [{"type": "function", "function": function}], "response_format": format,
            }),
        );
        assert_eq!(strict(&request, WireFormat::Anthropic, "/tools/0/strict"), anthropic, "{schema}");
        let body = request.body(&model(WireFormat::Anthropic), Tokens(9));
        assert_eq!(body["output_config"]["format"].is_object(), anthropic, "{schema}");
        assert_eq!(body["system"].is_string(), !anthropic, "an instruction in its place: {schema}");
        for (sent, expected) in [(None, openai), (Some(true), true), (Some(false), false)] {
            let tool = json!({"type": "function", "name": "f", "parameters": schema, "strict": sent});
            let request = parse(ApiFormat::Responses, &json!({"model": "m", "input": "hi", "tools": [tool]}));
            assert_eq!(strict(&request, WireFormat::OpenAi, "/tools/0/function/strict"), expected, "{sent:?} {schema}");
        }
    }
}

/// `LiteLLM` and `OpenRouter` take Anthropic's marks in parts, messages and tools of chat completions.
#[test]
fn marks_of_completions_become_breakpoints() {
    let mark = json!({"type": "ephemeral"});
    let long = json!({"type": "ephemeral", "ttl": "1h"});
    let call = json!({"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}});
    let request = parse(
        ApiFormat::ChatCompletions,
        &json!({
            "model": "m", "tools": [{"type": "function", "function": {"name": "f"}, "cache_control": long}],
            "messages": [
                {"role": "system", "content": [{"type": "text", "text": "s", "cache_control": mark}]},
                {"role": "user", "content": [{"type": "text", "text": "u"}, {"type": "text", "text": "", "cache_control": mark}]},
                {"role": "assistant", "content": null, "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "a", "content": [{"type": "text", "text": "r", "cache_control": mark}]},
            ],
        }),
    );
    let body = request.body(&model(WireFormat::Anthropic), Tokens(9));
    let result = json!({"type": "tool_result", "tool_use_id": "a", "content": "r", "cache_control": mark});
    assert_eq!(
        (&body["tools"][0]["cache_control"], &body["system"], &body["messages"][2]["content"]),
        (&long, &json!([{"type": "text", "text": "s", "cache_control": mark}]), &json!([result]))
    );
    assert_eq!(body["messages"][0]["content"], "u", "a text without content isn't sent, and neither is its mark");
    assert_eq!(request.cache_marks(&model(WireFormat::Anthropic)), domain::CacheMarks::Long);
}

/// Messages of the model that follow each other are one message for OpenAI, whose texts are apart. Parts of one message belong together.
#[test]
fn texts_of_messages_in_a_row_are_kept_apart() {
    let message = |texts: [&str; 2]| {
        let parts = texts.map(|text| json!({"type": "output_text", "text": text}));
        json!({"type": "message", "role": "assistant", "content": parts})
    };
    let call = json!({"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"});
    let result = json!({"type": "function_call_output", "call_id": "a", "output": "r"});
    let input = json!([{"role": "user", "content": "hi"}, message(["a", "b"]), message(["c", "."]), call, result]);
    let request = parse(ApiFormat::Responses, &json!({"model": "m", "input": input}));
    let body = request.body(&model(WireFormat::OpenAi), Tokens(9));
    assert_eq!((&body["messages"][1]["content"], &body["messages"][2]["role"]), (&json!("ab\n\nc."), &json!("tool")));
    assert_eq!(body["messages"][1]["tool_calls"][0]["id"], "a");
    let blocks = request.body(&model(WireFormat::Anthropic), Tokens(9))["messages"][1]["content"].clone();
    assert_eq!(blocks.as_array().unwrap().len(), 5);
}

/// Reasoning with Anthropic's signature goes back to Anthropic from every format, and to no other provider.
#[test]
fn signed_reasoning_is_sent_back_to_anthropic_only() {
    let block = json!({"type": "thinking", "thinking": "Hm.", "signature": "sig"});
    let user = json!({"role": "user", "content": "hi"});
    let completions = json!({"model": "m", "messages": [user, {"role": "assistant", "content": "a", "thinking_blocks": [block]}, user]});
    let responses = json!({"model": "m", "input": [
        user, {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}], "encrypted_content": "thinking:sig"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "a", "annotations": []}]}, user,
    ]});
    let messages = json!({"model": "m", "messages": [user, {"role": "assistant", "content": [block, {"type": "text", "text": "a"}]}, user]});
    for (format, body) in FORMATS.into_iter().zip([completions, responses, messages]) {
        let request = parse(format, &body);
        let anthropic = request.body(&model(WireFormat::Anthropic), Tokens(9));
        assert_eq!(anthropic["messages"][1]["content"], json!([block, {"type": "text", "text": "a"}]), "{format:?}");
        let openai = request.body(&model(WireFormat::OpenAi), Tokens(9)).to_string();
        assert!(!openai.contains("sig\""), "{openai}");
    }
}

#[test]
fn estimates_have_text_tools_and_images() {
    let estimate =
        |body: &Value, wire_format| parse(ApiFormat::ChatCompletions, body).estimate(&model(wire_format)).estimated;
    let plain = json!({"model": "m", "messages": [{"role": "user", "content": "hello world"}]});
    let base = estimate(&plain, WireFormat::OpenAi);
    assert!(base >= Tokens(13) && base < Tokens(40), "{base}");
    let mut with_tools = plain.clone();
    with_tools["tools"] = completion()["tools"].clone();
    assert!(estimate(&with_tools, WireFormat::OpenAi) > base + Tokens(600));
    let image = |url: &str| {
        json!({"model": "m", "messages": [{"role": "user", "content": [
            {"type": "text", "text": "hello world"}, {"type": "image_url", "image_url": {"url": url}},
        ]}]})
    };
    let small = estimate(&image(&format!("data:image/png;base64,{PIXEL}")), WireFormat::Anthropic);
    let unknown = estimate(&image("https://example.com/a.png"), WireFormat::Anthropic);
    assert!(small < Tokens(100) && unknown > Tokens(1_000), "{small} {unknown}");
    // A field that is only passed on counts too.
    let mut noted = plain.clone();
    noted["messages"][0]["note"] = "word ".repeat(500).into();
    assert!(estimate(&noted, WireFormat::OpenAi) > base + Tokens(490));
}
