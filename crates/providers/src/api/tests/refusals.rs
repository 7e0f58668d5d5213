//! What is refused, by name.

use super::*;
use domain::CacheMarks;

fn refused(format: ApiFormat, field: &str, value: Value) -> Option<String> {
    let messages = if format == ApiFormat::Responses { "input" } else { "messages" };
    let mut body = json!({"model": "m", messages: [{"role": "user", "content": "hi"}]});
    body[field] = value;
    let error = ApiRequest::parse(format, body.to_string().as_bytes()).err()?;
    Some(error.param.unwrap_or_default())
}

/// What costs more than tokens, or keeps state.
#[test]
fn fields_that_cost_more_or_keep_state_are_refused() {
    use ApiFormat::{ChatCompletions, Messages, Responses};
    for (format, field, value, param) in [
        (ChatCompletions, "model", json!("m\0"), "model"),
        (ChatCompletions, "n", json!(2), "n"),
        (ChatCompletions, "best_of", json!(3), "best_of"),
        (ChatCompletions, "service_tier", json!("priority"), "service_tier"),
        (ChatCompletions, "store", json!(true), "store"),
        (ChatCompletions, "web_search_options", json!({"a": 1}), "web_search_options"),
        (ChatCompletions, "prediction", json!({"type": "content"}), "prediction"),
        (ChatCompletions, "modalities", json!(["text", "audio"]), "modalities"),
        (ChatCompletions, "prompt_cache_retention", json!("24h"), "prompt_cache_retention"),
        (ChatCompletions, "max_tokens", json!(0), "max_tokens"),
        (ChatCompletions, "max_tokens", json!(-1), "max_tokens"),
        (ChatCompletions, "max_tokens", json!(1.5), "max_tokens"),
        (ChatCompletions, "max_tokens", json!("9"), "max_tokens"),
        (ChatCompletions, "temperature", json!(3), "temperature"),
        (ChatCompletions, "made_up", json!(1), "made_up"),
        (ChatCompletions, "tools", json!([{"type": "web_search"}]), "tools[0].type"),
        (ChatCompletions, "tool_choice", json!("required"), "tool_choice"),
        (
            ChatCompletions,
            "messages",
            json!([{"role": "user", "content": [{"type": "input_audio"}]}]),
            "messages[0].content[0].type",
        ),
        (ChatCompletions, "messages", json!([{"role": "robot", "content": "hi"}]), "messages[0].role"),
        (ChatCompletions, "messages", json!([]), "messages"),
        (Responses, "store", json!(true), "store"),
        (Responses, "background", json!(true), "background"),
        (Responses, "previous_response_id", json!("resp_1"), "previous_response_id"),
        (Responses, "tools", json!([{"type": "file_search"}]), "tools[0].type"),
        (Responses, "include", json!(["web_search_call.results"]), "include"),
        (Responses, "input", json!([{"type": "item_reference", "id": "msg_1"}]), "input[0].type"),
        (Responses, "truncation", json!("auto"), "truncation"),
        (Messages, "container", json!("c"), "container"),
        (Messages, "mcp_servers", json!([{"url": "https://example.com"}]), "mcp_servers"),
        (Messages, "tools", json!([{"type": "web_search_20250305", "name": "web_search"}]), "tools[0].type"),
        (Messages, "cache_control", json!({"type": "ephemeral", "ttl": "1h"}), "cache_control.ttl"),
        (
            Messages,
            "messages",
            json!([{"role": "user", "content": [{"type": "document"}]}]),
            "messages[0].content[0].type",
        ),
    ] {
        assert_eq!(refused(format, field, value.clone()).as_deref(), Some(param), "{format:?} {field} {value}");
    }
    for (format, field, value) in [
        (ChatCompletions, "n", json!(1)),
        (ChatCompletions, "store", json!(false)),
        (ChatCompletions, "service_tier", json!("auto")),
        (ChatCompletions, "tools", json!([])),
        (Responses, "store", Value::Null),
        (Responses, "background", json!(false)),
        (Responses, "input", json!("hi")),
        (Messages, "service_tier", json!("standard_only")),
    ] {
        assert_eq!(refused(format, field, value.clone()), None, "{format:?} {field} {value}");
    }
}

#[test]
fn bodies_that_are_no_requests_are_refused_without_quoting_them() {
    let deep = "[".repeat(200) + &"]".repeat(200);
    for body in ["", "null", "[]", "{", "\"secret\"", "{\"model\": secret}", deep.as_str()] {
        for format in FORMATS {
            let error = ApiRequest::parse(format, body.as_bytes()).unwrap_err();
            assert!(!error.message.contains("secret"), "{error:?}");
        }
    }
}

/// What depends on the model is checked apart, because the fallback is another model.
#[test]
fn models_refuse_what_they_do_not_support() {
    let image = json!({"type": "image_url", "image_url": {"url": "https://example.com/a.png"}});
    let with = |field: &str, value: Value| {
        let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
        body[field] = value;
        parse(ApiFormat::ChatCompletions, &body)
    };
    let marked = |count: usize| {
        json!(vec![json!({"role": "user", "content": "hi", "cache_control": {"type": "ephemeral"}}); count])
    };
    let images = with("messages", json!([{"role": "user", "content": [image]}]));
    let blind = Model { takes_images: false, ..model(WireFormat::OpenAi) };
    assert!(images.check(&model(WireFormat::OpenAi)).is_ok());
    assert_eq!(images.check(&blind).unwrap_err().param.as_deref(), Some("messages"));
    for (request, openai, anthropic) in [
        (with("reasoning_effort", json!("high")), true, true),
        (with("reasoning_effort", json!("extreme")), false, false),
        (with("reasoning_effort", json!("none")), true, true),
        (with("logprobs", json!(true)), true, false),
        (with("stop", json!(["a", "b", "c", "d", "e"])), false, true),
        (with("messages", marked(4)), true, true),
        (with("messages", marked(5)), true, false),
    ] {
        assert_eq!(request.check(&model(WireFormat::OpenAi)).is_ok(), openai, "{request:?}");
        assert_eq!(request.check(&model(WireFormat::Anthropic)).is_ok(), anthropic, "{request:?}");
    }
}

#[test]
fn errors_have_the_shape_of_the_format() {
    let openai = crate::api::error_body(ApiFormat::Responses, 429, "tokens_limit", "Too many tokens.", None);
    assert_eq!(
        openai,
        json!({"error": {"message": "Too many tokens.", "type": "rate_limit_error", "param": null, "code": "rate_limit_exceeded"}})
    );
    // SDKs raise exceptions with the message alone, so it names the field in each format.
    let list = crate::api::error_body(ApiFormat::ChatCompletions, 400, "invalid", "must be a list", Some("messages"));
    assert_eq!(list["error"]["message"], "messages: must be a list");
    for (message, param, expected) in [
        ("must be an integer", "n", "n: must be an integer"),
        ("`n` must be 1", "n", "`n` must be 1"),
        ("is stopped", "stop", "stop: is stopped"),
    ] {
        let body = crate::api::error_body(ApiFormat::Messages, 400, "invalid", message, Some(param));
        assert_eq!(body["error"]["message"], expected);
    }
    let anthropic = crate::api::error_body(ApiFormat::Messages, 400, "invalid", "is required", Some("model"));
    assert_eq!(
        anthropic,
        json!({"type": "error", "error": {"type": "invalid_request_error", "message": "model: is required"}, "request_id": null})
    );
}

/// A small body must not become a large tree in memory. Texts may be as long as the body.
#[test]
fn bodies_of_many_values_are_refused() {
    let request = |schema: &str, text: &str| {
        let tools = format!(r#"[{{"type":"function","function":{{"name":"f","parameters":{{"a":{schema}}}}}}}]"#);
        format!(r#"{{"model":"m","messages":[{{"role":"user","content":"{text}"}}],"tools":{tools}}}"#)
    };
    let parse = |body: &str| ApiRequest::parse(ApiFormat::ChatCompletions, body.as_bytes());
    let bomb = format!("[0{}]", ",0".repeat(300_000));
    assert!(parse(&request(&bomb, "hi")).unwrap_err().message.contains("200000"));
    assert!(parse(&request("[0,1]", &r#"\"[,]{:}\\"#.repeat(100_000))).is_ok());
}

/// What marks a prefix to be cached raises the price of the prompt, whatever format it is in.
#[test]
fn marks_of_a_cache_are_found_in_every_format() {
    let marks = |format, control: Value| {
        let parts = [
            json!({"type": "text", "text": "hi", "cache_control": control}),
            json!({"type": "text", "text": "ho", "cache_control": {"type": "ephemeral"}}),
        ];
        let request = parse(format, &json!({"model": "m", "messages": [{"role": "user", "content": parts}]}));
        [WireFormat::OpenAi, WireFormat::Anthropic].map(|wire_format| request.cache_marks(&model(wire_format)))
    };
    // OpenAI-compatible servers take the marks of chat completions, and those of Anthropic's format aren't sent to them.
    for (format, other) in [(ApiFormat::ChatCompletions, CacheMarks::Short), (ApiFormat::Messages, CacheMarks::None)] {
        assert_eq!(hello(format, false).cache_marks(&model(WireFormat::Anthropic)), CacheMarks::None);
        assert_eq!(marks(format, json!({"type": "ephemeral"})), [other, CacheMarks::Short]);
        assert_eq!(marks(format, json!({"type": "ephemeral", "ttl": "5m"})), [other, CacheMarks::Short]);
    }
    // Anthropic's format is read field by field, which refuses the longer lifetime.
    assert_eq!(marks(ApiFormat::ChatCompletions, json!({"type": "ephemeral", "ttl": "1h"})), [CacheMarks::Long; 2]);
}

/// Hidden reasoning of a model that is taken for one without would not be charged when a call is stopped.
#[test]
fn reasoning_is_refused_for_models_without_it() {
    let plain = Model { thinking: Thinking::None, ..model(WireFormat::Anthropic) };
    let thinking = Model { thinking: Thinking::Optional, ..plain.clone() };
    for (setting, is_refused) in [("enabled", true), ("adaptive", true), ("disabled", false)] {
        let thinks = json!({"type": setting, "budget_tokens": (setting == "enabled").then_some(2_000)});
        let body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}], "thinking": thinks});
        let request = parse(ApiFormat::Messages, &body);
        let refused = request.check(&plain).err().and_then(|error| error.param);
        assert_eq!(refused.as_deref(), is_refused.then_some("thinking"), "{setting}");
        assert!(request.check(&thinking).is_ok());
    }
    // Coding agents send an effort with each request. If the owner has listed none, Anthropic decides.
    let body =
        json!({"model": "m", "messages": [{"role": "user", "content": "hi"}], "output_config": {"effort": "max"}});
    let request = parse(ApiFormat::Messages, &body);
    let refused = |model: &Model| request.check(model).err().and_then(|error| error.param);
    let effort = Some("output_config.effort".to_owned());
    assert_eq!([refused(&thinking), refused(&plain)], [effort.clone(), effort.clone()], "not one of the listed ones");
    let [thinking, plain] = [thinking, plain].map(|model| Model { efforts: Vec::new(), ..model });
    assert_eq!([refused(&thinking), refused(&plain)], [None, effort]);
    assert_eq!(request.body(&thinking, Tokens(9))["output_config"]["effort"], "max");
}
