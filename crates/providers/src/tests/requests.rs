//! Requests over HTTP: what is sent, and how a rejected field is replaced.

use crate::{Anthropic, Chunk, End, ModelRequest, OpenAi, Opened, Provider, ProviderError, Timeouts};
use domain::{ModelName, OutputLimit, PromptImage, PromptMessage, Role, Tokens};
use futures::StreamExt;
use secrecy::SecretString;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::{thread, time::Duration};

const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n\
    data: {\"choices\":[{\"delta\":{\"content\":\"42\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";

/// A request as it arrived: its head in lower case, and its body.
type Sent = (String, Value);

/// Serves one connection with each response. Returns the base URL and the requests that came.
fn serve(responses: Vec<String>) -> (String, thread::JoinHandle<Vec<Sent>>) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let requests = thread::spawn(move || {
        let answer = |response: String| {
            let (mut stream, _) = listener.accept().unwrap();
            let sent = read_request(&mut stream);
            stream.write_all(response.as_bytes()).unwrap();
            if !response.contains("connection: close") {
                // Silent until the client closes the connection.
                let _ = stream.read_to_end(&mut Vec::new());
            }
            sent
        };
        responses.into_iter().map(answer).collect()
    });
    (url, requests)
}

fn read_request(stream: &mut TcpStream) -> Sent {
    let (mut reader, mut head, mut length) = (BufReader::new(stream), String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let line = line.to_ascii_lowercase();
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    (head, serde_json::from_slice(&body).unwrap())
}

fn rejection(status: &str, body: &Value) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n{body}")
}

async fn call(
    provider: &dyn Provider,
    output_limit: Option<OutputLimit>,
    caches: bool,
) -> Result<Opened, ProviderError> {
    let message = |role, text: &str| PromptMessage::text(role, text);
    let messages = [message(Role::User, "6 × 7?"), message(Role::Assistant, "41"), message(Role::User, "Sure?")];
    provider
        .open(&ModelRequest {
            model: &ModelName("m".into()),
            system: "Be brief.",
            messages: &messages,
            max_output: Tokens(64),
            output_limit,
            effort: caches.then_some("low"),
            caches,
            timeouts: Timeouts::default(),
            raw: None,
        })
        .await
}

fn openai(url: &str) -> OpenAi {
    OpenAi::new(Some(url), Some(SecretString::from("key")), Duration::from_secs(5)).unwrap()
}

/// Field note 43: one name per request. The other one is tried once, and is learned from the refusal.
#[tokio::test]
async fn rejected_output_limit_is_replaced_once() {
    let unsupported = json!({"error": {"message": "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.", "type": "invalid_request_error", "param": "max_tokens", "code": "unsupported_parameter"}});
    let forbidden = json!({"detail": [{"type": "extra_forbidden", "loc": ["body", "max_completion_tokens"], "msg": "Extra inputs are not permitted", "input": 64}]});
    for (set, response, first, second) in [
        (None, rejection("400 Bad Request", &unsupported), OutputLimit::MaxTokens, OutputLimit::MaxCompletionTokens),
        (
            Some(OutputLimit::MaxCompletionTokens),
            rejection("422 Unprocessable Entity", &forbidden),
            OutputLimit::MaxCompletionTokens,
            OutputLimit::MaxTokens,
        ),
    ] {
        let (url, requests) = serve(vec![response, ANSWER.into()]);
        let opened = call(&openai(&url), set, false).await.unwrap();
        assert_eq!(opened.learned, Some(second));
        let chunks: Vec<Chunk> = opened.chunks.map(Result::unwrap).collect().await;
        assert_eq!(chunks, [Chunk::Text("42".into()), Chunk::End(End::Complete)]);
        let sent = requests.join().unwrap();
        for ((_, body), (has, has_not)) in sent.iter().zip([(first, second), (second, first)]) {
            assert_eq!((&body[has.as_str()], &body[has_not.as_str()]), (&json!(64), &Value::Null), "{body}");
        }
    }
}

#[tokio::test]
async fn second_rejection_is_final() {
    let too_large = json!({"error": {"message": "max_tokens is too large: 64", "type": "invalid_request_error", "param": "max_tokens"}});
    let (url, requests) = serve(vec![rejection("400 Bad Request", &too_large); 2]);
    let error = call(&openai(&url), None, false).await.err().unwrap();
    assert!(matches!(error, ProviderError::Refused { status: 400, .. }), "{error}");
    assert_eq!(requests.join().unwrap().len(), 2);
}

#[tokio::test]
async fn request_has_only_fields_that_servers_accept() {
    let (url, requests) = serve(vec![ANSWER.into()]);
    let opened = call(&openai(&url), None, false).await.unwrap();
    assert_eq!(opened.learned, None);
    let (head, body) = requests.join().unwrap().remove(0);
    assert!(head.starts_with("post /v1/chat/completions ") && head.contains("authorization: bearer key"), "{head}");
    let expected = json!({
        "model": "m", "stream": true, "stream_options": {"include_usage": true}, "max_tokens": 64,
        "messages": [
            {"role": "system", "content": "Be brief."}, {"role": "user", "content": "6 × 7?"},
            {"role": "assistant", "content": "41"}, {"role": "user", "content": "Sure?"},
        ],
    });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn anthropic_marks_what_is_cached() {
    let stream = "data: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"42\"}}\n\n\
        data: {\"type\":\"message_stop\"}\n\n";
    let answer = ANSWER.split_once("\r\n\r\n").unwrap().0.to_owned() + "\r\n\r\n" + stream;
    let (url, requests) = serve(vec![answer.clone(), answer]);
    let client = Anthropic::new(Some(&url), None, Duration::from_secs(5)).unwrap();
    for caches in [true, false] {
        let opened = call(&client, None, caches).await.unwrap();
        let chunks: Vec<Chunk> = opened.chunks.map(Result::unwrap).collect().await;
        assert_eq!(chunks, [Chunk::Text("42".into()), Chunk::End(End::Complete)]);
    }
    let sent = requests.join().unwrap();
    assert!(sent.iter().all(|(head, _)| head.starts_with("post /v1/messages ") && !head.contains("x-api-key")));
    let block = |text: &str| json!([{"type": "text", "text": text, "cache_control": {"type": "ephemeral"}}]);
    let first = json!([{"role": "user", "content": "6 × 7?"}, {"role": "assistant", "content": "41"}]);
    for ((_, body), (system, last)) in
        sent.iter().zip([(block("Be brief."), block("Sure?")), (json!("Be brief."), json!("Sure?"))])
    {
        assert_eq!((&body["system"], &body["messages"][2]["content"]), (&system, &last));
        assert_eq!(json!([body["messages"][0], body["messages"][1]]), first);
        assert_eq!((&body["max_tokens"], &body["temperature"]), (&json!(64), &Value::Null));
    }
    assert_eq!(sent[0].1["output_config"], json!({"effort": "low"}));
}

/// The latest models take no sampling, others not every combination. What is rejected is left out, each setting once.
#[tokio::test]
async fn rejected_sampling_is_left_out() {
    let rejected = |message: &str| {
        let body = json!({"type": "error", "error": {"type": "invalid_request_error", "message": message}});
        rejection("400 Bad Request", &body)
    };
    let both = "`temperature` and `top_p` cannot both be specified for this model. Please use only one.";
    let responses = vec![rejected(both), rejected("`temperature` is deprecated for this model."), rejected("No.")];
    let (url, requests) = serve(responses);
    let raw = json!({"model": "m", "messages": [], "temperature": 0.2, "top_p": 0.9});
    let request = ModelRequest {
        model: &ModelName("m".into()),
        system: "",
        messages: &[],
        max_output: Tokens(64),
        output_limit: None,
        effort: None,
        caches: false,
        timeouts: Timeouts::default(),
        raw: Some(&raw),
    };
    let client = Anthropic::new(Some(&url), None, Duration::from_secs(5)).unwrap();
    let error = client.open(&request).await.err().unwrap();
    assert!(matches!(error, ProviderError::Refused { status: 400, .. }), "{error}");
    let sent = requests.join().unwrap();
    let sampling: Vec<_> =
        sent.iter().map(|(_, body)| (body["temperature"].as_f64(), body["top_p"].as_f64())).collect();
    assert_eq!(sampling, [(Some(0.2), Some(0.9)), (Some(0.2), None), (None, None)]);
}

/// Each format has its own shape for images; a breakpoint is at the last block.
#[tokio::test]
async fn images_are_sent_in_the_shape_of_each_format() {
    let image = PromptImage { media_type: "image/png".into(), width: 1, height: 1, data: b"\x89PNG".as_slice().into() };
    let messages = [PromptMessage { images: vec![image], ..PromptMessage::text(Role::User, "What is this?") }];
    let request = ModelRequest {
        model: &ModelName("m".into()),
        system: "",
        messages: &messages,
        max_output: Tokens(1),
        output_limit: None,
        effort: None,
        caches: true,
        timeouts: Timeouts::default(),
        raw: None,
    };
    let (url, requests) = serve(vec![ANSWER.into()]);
    let _ = openai(&url).open(&request).await;
    let expected = json!([
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw==", "detail": "high"}},
    ]);
    assert_eq!(requests.join().unwrap()[0].1["messages"][0]["content"], expected);
    let (url, requests) = serve(vec![ANSWER.into()]);
    let _ = Anthropic::new(Some(&url), None, Duration::from_secs(5)).unwrap().open(&request).await;
    let expected = json!([
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw=="}},
        {"type": "text", "text": "What is this?", "cache_control": {"type": "ephemeral"}},
    ]);
    assert_eq!(requests.join().unwrap()[0].1["messages"][0]["content"], expected);
}

/// A head is no sign of a response. The connection is closed by another thread than the one that waits for the server.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn silence_after_the_head_times_out() {
    let (url, requests) =
        serve(vec!["HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 9\r\n\r\n".into()]);
    let request = ModelRequest {
        model: &ModelName("m".into()),
        system: "",
        messages: &[PromptMessage::text(Role::User, "Hi")],
        max_output: Tokens(1),
        output_limit: None,
        effort: None,
        caches: false,
        // The request must have been sent by then.
        timeouts: Timeouts { first_byte: Duration::from_secs(3), ..Timeouts::default() },
        raw: None,
    };
    let error = openai(&url).open(&request).await.err().unwrap();
    assert!(matches!(error, ProviderError::TimedOut), "{error}");
    assert_eq!(requests.join().unwrap()[0].1["messages"], json!([{"role": "user", "content": "Hi"}]));
}

/// A body that is passed on gets the limit under this server's name, and its response has the events too.
#[tokio::test]
async fn raw_bodies_are_sent_and_events_returned() {
    let tools = json!([{"type": "function", "function": {"name": "f"}}]);
    let raw = json!({
        "model": "m", "messages": [], "max_completion_tokens": 9, "reasoning_effort": "low", "tools": tools,
    });
    let (url, requests) = serve(vec![ANSWER.into()]);
    let model = ModelName("m".into());
    let request = ModelRequest {
        model: &model,
        system: "unused",
        messages: &[],
        max_output: Tokens(64),
        output_limit: None,
        effort: None,
        caches: false,
        timeouts: Timeouts::default(),
        raw: Some(&raw),
    };
    let opened = openai(&url).open(&request).await.unwrap();
    let chunks: Vec<Chunk> = opened.chunks.map(Result::unwrap).collect().await;
    let event = json!({"choices": [{"delta": {"content": "42"}, "finish_reason": "stop"}]});
    assert_eq!(chunks, [Chunk::Event(event), Chunk::Text("42".into()), Chunk::End(End::Complete)]);
    let expected = json!({
        "model": "m", "messages": [], "max_tokens": 64, "reasoning_effort": "low", "tools": tools, "stream": true,
        "stream_options": {"include_usage": true},
    });
    assert_eq!(requests.join().unwrap()[0].1, expected);
}
