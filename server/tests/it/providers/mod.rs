//! Providers as they are in the wild: field notes 43 to 62, each over HTTP. Most tests serve a recorded response of
//! `crates/providers/fixtures/odd`, named after its field note, and compare all that the server made of it: the events, the page after a
//! reload, and every column of the ledger row.

mod bills;
mod caching;
mod commands;
mod endings;
mod errors;
mod failures;
mod long;
mod requests;
mod seed;
mod stops;
mod streams;
mod usage;

use crate::app::TestApp;
use crate::visitor::{EventReader, TestClient, problem, words};
use domain::{ModelName, PromptMessage, Role, Tokens, TurnEvent, Usage};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use server::Config;
use std::time::Duration;
use time::OffsetDateTime;
use uuid::Uuid;

/// A model of each wire format. Neither thinks.
const HAIKU: &str = "claude-haiku-4-5";
const MINI: &str = "gpt-5-mini";
/// Maximum output of a response on the free plan.
const MAX_OUTPUT: i64 = 4_096;

const REFUSED: &str =
    "The model declined to answer. Rephrase your message; this exchange isn't sent along with the next one.";
const FILTERED: &str = "The provider's content filter withheld this response. Rephrase your message; this exchange isn't sent along with the next one.";
const TOOL_CALL: &str = "The model tried to use a tool that isn't available here. Try again, or rephrase your message.";
const USED_UP: &str = "The model used up the output limit while reasoning. Ask for a shorter answer, or choose a model or plan with a higher limit.";

/// Starts a deployment with limits that no test reaches.
async fn app() -> TestApp {
    app_with(|_| {}).await
}

/// Like [`app`], with a changed configuration.
async fn app_with(change: impl FnOnce(&mut Config)) -> TestApp {
    let app = TestApp::with_config(&[], change).await;
    app.limits("free", 1_000_000, 1_000_000_000, 1_000).await;
    app
}

/// A response as its user saw it.
#[derive(Debug)]
struct Answer {
    question: String,
    turn: Uuid,
    conversation: Uuid,
    /// The first event.
    first: TurnEvent,
    text: String,
    reasoning: String,
    /// The last event.
    last: TurnEvent,
}

/// Sends a message in a new conversation and reads the response to its end.
async fn ask(ann: &TestClient, model: &str, text: &str) -> Answer {
    ask_in(ann, None, model, text).await
}

/// Sends a message in a conversation and reads the response to its end.
async fn ask_in(ann: &TestClient, conversation: Option<Uuid>, model: &str, text: &str) -> Answer {
    let turn = Uuid::now_v7();
    let body = json!({"conversation_id": conversation, "model": model, "text": text, "turn_id": turn});
    let response = ann.post(&body).await;
    assert_eq!(response.status(), StatusCode::OK, "{model} {text}");
    read(turn, text, EventReader::new(response)).await
}

/// Reads a response to its end.
async fn read(turn: Uuid, question: &str, mut reading: EventReader) -> Answer {
    let mut events = Vec::new();
    while let Some(event) = reading.next().await {
        events.push(event);
    }
    let thoughts = events.iter().filter_map(|(_, event)| match event {
        TurnEvent::Reasoning { text } => Some(text.as_str()),
        _ => None,
    });
    let (reasoning, text) = (thoughts.collect(), words(&events));
    let (first, last) = (events[0].1.clone(), events.pop().unwrap().1);
    let TurnEvent::Turn { conversation_id, .. } = &first else { panic!("{question}: {first:?}") };
    let conversation = (*conversation_id).into();
    Answer { question: question.to_owned(), turn, conversation, first, text, reasoning, last }
}

/// Sends a message that is refused, and returns the status and the problem.
async fn refused(ann: &TestClient, model: &str, text: &str) -> (StatusCode, Value) {
    let response = ann.post(&json!({"model": model, "text": text})).await;
    (response.status(), problem(response).await)
}

/// Loads the page of a response's conversation and returns its messages, without the templates for live responses.
async fn reload(ann: &TestClient, answer: &Answer) -> String {
    let page = ann.text(&format!("/chat/{}", answer.conversation)).await;
    let messages = page.split_once("id=\"messages\"").and_then(|(_, rest)| rest.split_once("id=\"turns\""));
    messages.expect("the page has messages").0.to_owned()
}

/// A row of `ai_usage` with all its columns. A column that isn't here fails every test.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    ai_usage_id: Uuid,
    turn_id: Uuid,
    call_no: i32,
    purpose: String,
    user_id: Option<Uuid>,
    subject: String,
    model: String,
    model_price_id: Uuid,
    status: String,
    usage_source: Option<String>,
    input_tokens: i64,
    cache_read_tokens: i64,
    cache_write_tokens: i64,
    cache_write_long_tokens: i64,
    output_tokens: i64,
    reasoning_tokens: i64,
    counted_tokens: Option<i64>,
    estimated_tokens: i64,
    reserved_tokens: i64,
    cost_usd: String,
    provider_request_id: Option<String>,
    provider_failed: bool,
    ttft_ms: Option<i32>,
    created_at: String,
    settled_at: Option<String>,
    corrects: Option<Uuid>,
    api_key_id: Option<Uuid>,
    cache_marks: Option<String>,
}

impl Row {
    /// Returns all tokens that count towards the quota.
    fn total(&self) -> u64 {
        (self.input_tokens + self.cache_read_tokens + self.cache_write_tokens + self.output_tokens).cast_unsigned()
    }
}

/// Waits until all calls of a turn are final, and returns their rows in order.
async fn rows(app: &TestApp, turn: Uuid) -> Vec<Row> {
    let sql = "select (to_jsonb(u) || jsonb_build_object('cost_usd', cost_usd::text))::text from ai_usage u where turn_id = $1 order by call_no";
    let waiting = async {
        loop {
            let rows: Vec<String> = sqlx::query_scalar(sql).bind(turn).fetch_all(&app.db).await.unwrap();
            let rows: Vec<Row> = rows.iter().map(|row| serde_json::from_str(row).unwrap()).collect();
            if !rows.is_empty() && rows.iter().all(|row| row.status != "pending") {
                return rows;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), waiting).await.expect("the rows become final")
}

/// What the only ledger row of a turn must contain.
#[derive(Clone, Debug)]
struct Expected {
    model: &'static str,
    status: &'static str,
    source: &'static str,
    usage: Usage,
    /// The provider's id of the call.
    request_id: Option<&'static str>,
    provider_failed: bool,
    /// Whether any text or reasoning arrived.
    has_words: bool,
}

impl Expected {
    /// A complete response whose usage the provider reported.
    fn exact(model: &'static str, usage: Usage) -> Self {
        let (status, source) = ("finished", "exact");
        Self { model, status, source, usage, request_id: None, provider_failed: false, has_words: true }
    }

    /// A response that broke off because of its provider.
    fn broken(model: &'static str, usage: Usage) -> Self {
        Self { status: "failed", source: "estimated", provider_failed: true, ..Self::exact(model, usage) }
    }
}

/// Returns a usage: input, cache reads, cache writes, the long-lived part of these, output, the reasoning part of that.
fn tokens(input: u64, cache_read: u64, cache_write: u64, cache_write_long: u64, output: u64, reasoning: u64) -> Usage {
    Usage {
        input: Tokens(input),
        cache_read: Tokens(cache_read),
        cache_write: Tokens(cache_write),
        cache_write_long: Tokens(cache_write_long),
        output: Tokens(output),
        reasoning: Tokens(reasoning),
    }
}

/// Compares every column of the ledger row of a conversation's first turn.
async fn assert_row(app: &TestApp, answer: &Answer, expected: Expected) {
    let rows = rows(app, answer.turn).await;
    let [row] = &rows[..] else { panic!("{}: {rows:?}", answer.question) };
    let name = ModelName(expected.model.to_owned());
    let price = store::model::price(&app.store, &name, OffsetDateTime::now_utc()).await.unwrap().unwrap();
    let (price_id, cost) = price.price(&expected.usage);
    let model = store::model::list(&app.store).await.unwrap().into_iter().find(|model| model.name == name).unwrap();
    let messages = [PromptMessage::text(Role::User, answer.question.clone())];
    let estimate = providers::estimate::prompt(&model, domain::brand::SYSTEM_PROMPT, &messages);
    let (user_id, subject): (Option<Uuid>, String) =
        sqlx::query_as("select user_id, subject from turn where turn_id = $1")
            .bind(answer.turn)
            .fetch_one(&app.db)
            .await
            .unwrap();
    let full = Row {
        ai_usage_id: row.ai_usage_id,
        turn_id: answer.turn,
        call_no: 1,
        purpose: "chat".to_owned(),
        user_id,
        subject,
        model: expected.model.to_owned(),
        model_price_id: price_id.into(),
        status: expected.status.to_owned(),
        usage_source: Some(expected.source.to_owned()),
        input_tokens: expected.usage.input.to_db(),
        cache_read_tokens: expected.usage.cache_read.to_db(),
        cache_write_tokens: expected.usage.cache_write.to_db(),
        cache_write_long_tokens: expected.usage.cache_write_long.to_db(),
        output_tokens: expected.usage.output.to_db(),
        reasoning_tokens: expected.usage.reasoning.to_db(),
        counted_tokens: Some(estimate.counted.to_db()),
        estimated_tokens: estimate.estimated.to_db(),
        reserved_tokens: estimate.estimated.to_db() + MAX_OUTPUT,
        cost_usd: format!("{:.12}", cost.to_usd()),
        provider_request_id: expected.request_id.map(str::to_owned),
        provider_failed: expected.provider_failed,
        ttft_ms: row.ttft_ms,
        created_at: row.created_at.clone(),
        settled_at: row.settled_at.clone(),
        corrects: None,
        api_key_id: None,
        cache_marks: None,
    };
    assert_eq!(*row, full, "{}", answer.question);
    assert_eq!((row.ttft_ms.is_some(), row.settled_at.is_some()), (expected.has_words, true), "{}", answer.question);
}

/// Returns the usage and its source of a `finish` event, and its outcome's name.
fn finish(answer: &Answer) -> (&'static str, Usage, domain::UsageSource) {
    match &answer.last {
        TurnEvent::Finish { outcome, usage, usage_source, .. } => (outcome.as_str(), *usage, *usage_source),
        other => panic!("{}: {other:?}", answer.question),
    }
}
