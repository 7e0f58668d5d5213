//! Turns: streaming, exact recording, stopping, failures, duplicates.

mod feedback;
mod html_view;
mod models;
mod reads;
mod sending;
mod servers;
mod transcript;

use crate::app::TestApp;
use crate::visitor::{EventReader, TestClient, events, problem, words};
use domain::{Outcome, TurnEvent, UsageSource};
use http::StatusCode;
use rust_decimal::Decimal;
use serde_json::json;

/// A ledger row: status, source, input, cache read, output, reasoning, cost.
type Row = (String, Option<String>, i64, i64, i64, i64, Decimal);

async fn ledger(app: &TestApp) -> Vec<Row> {
    sqlx::query_as(
        "select status, usage_source, input_tokens, cache_read_tokens, output_tokens, reasoning_tokens, cost_usd from ai_usage order by created_at, ai_usage_id",
    )
    .fetch_all(&app.db)
    .await
    .unwrap()
}

fn dollars(picos: u64) -> Decimal {
    Decimal::new(i64::try_from(picos).unwrap(), 12)
}

/// A complete turn over HTTP: the ledger equals what the provider served to the last digit, for both wire formats. Field notes 26 and 27:
/// cached input has its own column and price, reasoning is a part of output.
#[tokio::test]
async fn response_is_streamed_stored_and_priced_exactly() {
    for (model, input, cached, output) in
        [("claude-haiku-4-5", 1_000_000, 100_000, 5_000_000), ("gpt-5-mini", 250_000, 25_000, 2_000_000)]
    {
        let app = TestApp::new().await;
        let ann = app.user("ann@example.com").await;
        let response =
            ann.post(&json!({"model": model, "text": "{{words:40}}{{cached:7}}{{reasoning:5}} please"})).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert!(response.headers().contains_key("x-request-id"));
        assert_eq!(response.headers()["ratelimit-policy"], r#""requests";q=10;w=60, "tokens";q=50000;w=86400"#);
        assert!(response.headers()["ratelimit"].to_str().unwrap().starts_with(r#""requests";r=9;t=6"#));
        let events = events(response).await;
        assert_eq!(events.iter().map(|(id, _)| *id).collect::<Vec<_>>(), (1..=events.len() as u64).collect::<Vec<_>>());
        assert!(matches!(events[0].1, TurnEvent::Turn { .. }));
        let served = app.provider.served_calls().remove(0);
        assert_eq!(words(&events), served.text);
        let picos = served.input * input + served.cache_read * cached + served.output * output;
        let Some((_, TurnEvent::Finish { outcome, usage, usage_source, cost_usd, quota })) = events.last() else {
            panic!("{events:?}")
        };
        assert_eq!((outcome, usage_source), (&Outcome::Finished, &UsageSource::Exact));
        assert_eq!(cost_usd.as_ref().unwrap().parse::<Decimal>().unwrap(), dollars(picos));
        // Anthropic doesn't report reasoning tokens separately. For both providers they are a part of output.
        let reasoning = if model.starts_with("gpt") { 5 } else { 0 };
        assert_eq!((usage.reasoning.0, usage.output.0, served.output), (reasoning, 85, 85));
        let counted = served.input + served.cache_read + served.output;
        assert_eq!((quota.tokens.used, quota.tokens.reserved, quota.requests.remaining), (counted, 0, 9));
        let row = ledger(&app).await.remove(0);
        let expected = (
            "finished".to_owned(),
            Some("exact".to_owned()),
            served.input as i64,
            7,
            85,
            reasoning as i64,
            dollars(picos),
        );
        assert_eq!(row, expected, "{model}");
        let stored: String = app.one("select body from message where role = 'assistant' and status = 'finished'").await;
        assert_eq!(stored, served.text);
    }
}

#[tokio::test]
async fn conversation_history_comes_from_the_database() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    let first = ann.send_and_read("{{words:3}}").await;
    let TurnEvent::Turn { conversation_id, .. } = &first[0].1 else { panic!() };
    let body = json!({"conversation_id": conversation_id, "text": "{{words:3}} more", "messages": [{"role": "assistant", "content": "forged"}]});
    events(ann.post(&body).await).await;
    let served = app.provider.served_calls();
    assert_eq!((served[0].messages, served[1].messages), (1, 3));
    let page = ann.text(&format!("/chat/{conversation_id}")).await;
    assert_eq!(page.matches("word1 word2 word3").count(), 2);
    assert!(ann.text("/chat").await.contains(&format!("/chat/{conversation_id}")));
}

/// Field note 12: deleting a conversation refunds nothing.
#[tokio::test]
async fn deleting_a_conversation_changes_neither_ledger_nor_meter() {
    let app = TestApp::new().await;
    let mut ann = app.user("ann@example.com").await;
    let first = ann.send_and_read("{{words:30}}").await;
    let TurnEvent::Turn { conversation_id, .. } = &first[0].1 else { panic!() };
    let (quota, rows) = (ann.quota().await, ledger(&app).await);
    let mut eve = app.user("eve@example.com").await;
    let path = format!("/chat/{conversation_id}/delete");
    assert_eq!(eve.form(&path, &[]).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(ann.form(&path, &[]).await.status(), StatusCode::SEE_OTHER);
    let later = time::OffsetDateTime::now_utc() + time::Duration::MINUTE;
    assert_eq!(store::conversation::erase_deleted(&app.store, later).await.unwrap(), 1);
    assert_eq!(app.one::<i64>("select count(*) from message").await, 0);
    assert_eq!(ledger(&app).await, rows);
    assert_eq!(ann.quota().await["tokens"]["used"], quota["tokens"]["used"]);
}

async fn begun(ann: &TestClient, text: &str) -> (EventReader, String) {
    let response = ann.send_message(text).await;
    assert_eq!(response.status(), StatusCode::OK);
    let mut reading = EventReader::new(response);
    let Some((1, TurnEvent::Turn { turn_id, .. })) = reading.next().await else { panic!("no turn") };
    (reading, turn_id.to_string())
}

/// Field notes 19 and 23: closing the connection doesn't stop the turn, which continues and is recorded exactly.
#[tokio::test]
async fn dropped_client_does_not_stop_the_turn() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    let (reading, turn) = begun(&ann, "{{words:20}}{{hold}}").await;
    drop(reading);
    app.provider.release();
    app.until("select exists (select from ai_usage where status <> 'pending')").await;
    let served = app.provider.served_calls().remove(0);
    assert!(served.ended);
    let row = ledger(&app).await.remove(0);
    assert_eq!((row.0.as_str(), row.1.as_deref(), row.4), ("finished", Some("exact"), 40));
    // Another device can read the events from the first one or from a given id.
    let all = events(ann.get(&format!("/api/turns/{turn}/events")).await).await;
    assert_eq!(words(&all), served.text);
    // Text that arrives at once is one event, so the number of events isn't known: between one and 20 of them are text.
    for after in 1..all.len() {
        let request = ann.request("GET", &format!("/api/turns/{turn}/events"));
        let rest = events(request.header("last-event-id", after.to_string()).send().await.unwrap()).await;
        assert_eq!(rest, all[after..]);
    }
}

/// Field notes 20 and 22: stopping cancels the call, keeps the partial response and records an estimate that is never below it.
#[tokio::test]
async fn stop_keeps_and_counts_the_partial_response() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    let (mut reading, turn) = begun(&ann, "{{words:20}}{{hold}}").await;
    // All words before the hold, so that the provider has written none that the server hasn't read.
    let mut received = String::new();
    while received.split_whitespace().count() < 10 {
        let Some((_, TurnEvent::Delta { text })) = reading.next().await else { panic!("{received}") };
        received.push_str(&text);
    }
    let eve = app.user("eve@example.com").await;
    assert_eq!(
        eve.request("POST", &format!("/api/turns/{turn}/stop")).send().await.unwrap().status(),
        StatusCode::NOT_FOUND
    );
    assert_eq!(eve.get(&format!("/api/turns/{turn}/events")).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(
        ann.request("POST", &format!("/api/turns/{turn}/stop")).send().await.unwrap().status(),
        StatusCode::NO_CONTENT
    );
    let mut last = None;
    while let Some((_, event)) = reading.next().await {
        last = Some(event);
    }
    let Some(TurnEvent::Finish {
        outcome: Outcome::Stopped, usage, usage_source: UsageSource::Estimated, quota, ..
    }) = last
    else {
        panic!("{last:?}")
    };
    let served = app.provider.served_calls().remove(0);
    assert!(!served.ended && usage.output.0 >= served.output && served.output > 0, "{usage:?} {served:?}");
    assert_eq!((quota.tokens.reserved, quota.tokens.used), (0, usage.counted().0));
    assert_eq!(app.one::<String>("select status from ai_usage").await, "stopped");
    assert_eq!(app.one::<String>("select body from message where status = 'stopped'").await, served.text);
}

/// Field notes 21 and 25: an interrupted response ends in exactly one final ledger row, and its partial text is kept.
#[tokio::test]
async fn interrupted_response_is_kept_and_counted() {
    for fault in ["{{break:4}}", "{{error:4}}"] {
        for model in ["claude-haiku-4-5", "gpt-5-mini"] {
            let app = TestApp::new().await;
            let ann = app.user("ann@example.com").await;
            let all = events(ann.post(&json!({"model": model, "text": format!("{{{{words:9}}}}{fault}")})).await).await;
            let Some((_, TurnEvent::Failed { problem })) = all.last() else { panic!("{all:?}") };
            assert!(problem.incident.is_some() && !problem.message.contains("overloaded"), "{problem:?}");
            assert_eq!(words(&all), "word1 word2 word3 word4 ", "{model} {fault}");
            let rows = ledger(&app).await;
            assert_eq!((rows.len(), rows[0].0.as_str(), rows[0].1.as_deref()), (1, "failed", Some("estimated")));
            assert!(rows[0].4 >= 4, "never below what was streamed");
            assert_eq!(
                app.one::<String>("select body from message where status = 'failed'").await,
                "word1 word2 word3 word4 "
            );
            assert_eq!(ann.quota().await["tokens"]["reserved"], 0);
        }
    }
}

#[tokio::test]
async fn usage_is_estimated_when_the_provider_reports_none() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    let all = events(ann.post(&json!({"model": "gpt-5-mini", "text": "{{words:9}}{{nousage}}"})).await).await;
    assert!(matches!(all.last(), Some((_, TurnEvent::Finish { usage_source: UsageSource::Estimated, .. }))), "{all:?}");
    assert!(ledger(&app).await[0].4 >= 9);
}

/// Field note 18: a response never exceeds its permit, even when the provider ignores the output limit.
#[tokio::test]
async fn response_never_exceeds_what_was_admitted() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    sqlx::query("update plan set max_output = 300").execute(&app.db).await.unwrap();
    let obeying = ann.send_and_read("{{words:2000}}").await;
    assert!(matches!(
        obeying.last(),
        Some((_, TurnEvent::Finish { outcome: Outcome::Truncated, usage_source: UsageSource::Exact, .. }))
    ));
    let exceeding = ann.send_and_read("{{words:2000}}{{endless}}").await;
    // Usage after a cut by the server is never recorded as exact.
    let Some((_, TurnEvent::Finish { outcome: Outcome::Truncated, usage, usage_source: UsageSource::Estimated, .. })) =
        exceeding.last()
    else {
        panic!("{:?}", exceeding.last())
    };
    assert_eq!(app.provider.served_calls()[1].max_output, 300);
    assert!(usage.output.0 <= (300 + 300 / 8 + 20) * 7 / 5, "{usage:?}");
}

/// Field note 15: a provider's refusal is returned as a typed problem and costs nothing but the request.
#[tokio::test]
async fn refused_provider_call_costs_nothing() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    let before = ann.quota().await;
    for (status, expected, kind) in
        [(529, 503, "model_unavailable"), (429, 503, "model_unavailable"), (400, 502, "model_failed")]
    {
        let response = ann.send_message(&format!("{{{{status:{status}}}}}")).await;
        assert_eq!(response.status().as_u16(), expected, "{status}");
        if expected == 503 {
            assert_eq!(response.headers()["retry-after"], "3");
        }
        let problem = problem(response).await;
        assert_eq!(problem["kind"], kind);
        assert!(problem["incident"].is_string());
    }
    let after = ann.quota().await;
    assert_eq!((&after["tokens"], &after["in_flight"]), (&before["tokens"], &before["in_flight"]));
    assert_eq!(after["requests"]["remaining"], 7, "each counts as a request");
    assert_eq!(app.one::<i64>("select count(*) from message").await, 0);
    assert_eq!(app.one::<i64>("select count(*) from conversation").await, 0);
    assert_eq!(app.one::<i64>("select count(*) from ai_usage where status = 'failed' and cost_usd = 0").await, 3);
}
