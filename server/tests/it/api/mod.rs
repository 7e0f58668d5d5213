//! The API for programs, by plain HTTP. What the official SDKs make of it is tested with them.

mod answers;
pub mod bills;
mod document;
mod errors;
mod idempotency;
mod limits;
mod stops;

use crate::app::{HTTP, TestApp};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::ApiKeyId;
use http::StatusCode;
use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::time::Duration;
use store::api_key::{Creation, KeyScope, NewApiKey};
use time::OffsetDateTime;
use uuid::Uuid;

/// A model of each wire format.
const HAIKU: &str = "claude-haiku-4-5";
const MINI: &str = "gpt-5-mini";
/// The paths of the three formats.
const CHAT: &str = "/v1/chat/completions";
const RESPONSES: &str = "/v1/responses";
const MESSAGES: &str = "/v1/messages";
const FORMATS: [&str; 3] = [CHAT, RESPONSES, MESSAGES];

/// Starts a deployment with limits that no test reaches.
async fn app() -> TestApp {
    app_with(&[]).await
}

async fn app_with(more: &[(&str, &str)]) -> TestApp {
    let app = TestApp::with(more).await;
    app.limits("free", 1_000_000, 1_000_000_000, 1_000).await;
    app.sql("update plan set api_keys = 20").await;
    app
}

/// A program with an API key.
#[derive(Clone)]
struct Program {
    url: String,
    secret: String,
    id: ApiKeyId,
}

impl Program {
    /// Creates a key of a user, without scopes and caps.
    async fn of(app: &TestApp, email: &str) -> Self {
        Self::with(app, email, KeyScope::default()).await
    }

    /// Creates a key of a user.
    async fn with(app: &TestApp, email: &str, scope: KeyScope) -> Self {
        let sql = "select user_id from account where email = $1";
        let user_id: Uuid = sqlx::query_scalar(sql).bind(email).fetch_one(&app.db).await.unwrap();
        let brand: String = domain::brand::NAME.chars().filter(char::is_ascii_alphanumeric).take(8).collect();
        let random = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
        let secret = format!("sk-{}-{random}", brand.to_ascii_lowercase());
        let now = OffsetDateTime::now_utc();
        let (id, secret_hash) = (ApiKeyId::at(now), Sha256::digest(&secret).into());
        let new = NewApiKey {
            id,
            user_id: user_id.into(),
            name: "Program",
            prefix: &secret[..12],
            secret_hash: &secret_hash,
            scope: &scope,
            expires_at: None,
            now,
        };
        let mut tx = store::begin(&app.store).await.unwrap();
        assert_eq!(store::api_key::create(&mut tx, &new).await.unwrap(), Creation::Created);
        tx.commit().await.unwrap();
        Self { url: app.url.clone(), secret, id }
    }

    /// Builds a request with the key, in the header that the path's clients send.
    fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let request = HTTP.request(method.parse().unwrap(), format!("{}{path}", self.url));
        match path.starts_with(MESSAGES) {
            true => request.header("x-api-key", &self.secret).header("anthropic-version", "2023-06-01"),
            false => request.bearer_auth(&self.secret),
        }
    }

    async fn post(&self, path: &str, body: &Value) -> Response {
        self.request("POST", path).json(body).send().await.unwrap()
    }

    /// Sends a text and returns the whole response, which must be one.
    async fn ask(&self, path: &str, model: &str, text: &str) -> Value {
        let response = self.post(path, &body(path, model, text, false)).await;
        let (status, body) = (response.status(), response.text().await.unwrap());
        assert_eq!(status, StatusCode::OK, "{path} {model}: {body}");
        serde_json::from_str(&body).unwrap()
    }
}

/// Returns the body of a request with one message.
fn body(path: &str, model: &str, text: &str, stream: bool) -> Value {
    match path {
        RESPONSES => json!({"model": model, "input": text, "stream": stream}),
        CHAT => json!({
            "model": model, "messages": [{"role": "user", "content": text}], "stream": stream,
            "stream_options": stream.then(|| json!({"include_usage": true})),
        }),
        _ => {
            json!({"model": model, "max_tokens": 500, "messages": [{"role": "user", "content": text}], "stream": stream})
        }
    }
}

/// Returns the text of a whole response.
fn text_of(path: &str, response: &Value) -> String {
    let text = match path {
        CHAT => &response["choices"][0]["message"]["content"],
        RESPONSES => {
            let outputs = response["output"].as_array().unwrap();
            let message = outputs.iter().find(|output| output["type"] == "message").unwrap();
            &message["content"][0]["text"]
        }
        _ => &response["content"][0]["text"],
    };
    text.as_str().unwrap_or_else(|| panic!("{response}")).to_owned()
}

/// Returns the input, cached input included, and the output that a whole response or the end of a stream reports.
fn usage_of(path: &str, usage: &Value) -> (i64, i64) {
    let n = |name: &str| usage[name].as_i64().unwrap_or(0);
    match path {
        CHAT => (n("prompt_tokens"), n("completion_tokens")),
        RESPONSES => (n("input_tokens"), n("output_tokens")),
        _ => (n("input_tokens") + n("cache_read_input_tokens") + n("cache_creation_input_tokens"), n("output_tokens")),
    }
}

/// Returns the data of a stream's events, without the `[DONE]` of chat completions.
fn events_of(stream: &str) -> Vec<Value> {
    let data = stream.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
    data.map(|data| serde_json::from_str(data).unwrap_or_else(|_| panic!("{data}"))).collect()
}

/// Concatenates the text of a stream.
fn streamed_text(path: &str, events: &[Value]) -> String {
    let piece = |event: &Value| match path {
        CHAT => event["choices"][0]["delta"]["content"].as_str().map(str::to_owned),
        RESPONSES if event["type"] == "response.output_text.delta" => event["delta"].as_str().map(str::to_owned),
        MESSAGES if event["type"] == "content_block_delta" => event["delta"]["text"].as_str().map(str::to_owned),
        _ => None,
    };
    events.iter().filter_map(piece).collect()
}

/// A ledger row.
#[derive(Debug, sqlx::FromRow)]
struct Row {
    status: String,
    usage_source: Option<String>,
    purpose: String,
    api_key_id: Option<Uuid>,
    model: String,
    input: i64,
    output: i64,
}

/// Waits until all rows of the ledger are final, and returns them in order.
async fn rows(app: &TestApp) -> Vec<Row> {
    app.until("select not exists (select from ai_usage where status = 'pending')").await;
    sqlx::query_as(
        "select status, usage_source, purpose, api_key_id, model, input_tokens + cache_read_tokens + cache_write_tokens as input,
                output_tokens as output
         from ai_usage order by created_at, call_no",
    )
    .fetch_all(&app.db)
    .await
    .unwrap()
}

/// Waits until the provider has received a message.
async fn until_called(app: &TestApp, text: &str) {
    let waiting = async {
        while app.provider.call_count(text) == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), waiting).await.expect("the provider is called");
}
