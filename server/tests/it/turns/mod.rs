//! Turns under failure: disconnected, stopped, interrupted, repeated, followed by another server. The fake provider's count of what it
//! served is the expected result.

mod again;
mod hedge;
mod money;
mod providers;

use crate::app::TestApp;
use crate::visitor::{EventReader, TestClient, events, problem, words};
use domain::{Outcome, TurnEvent, UsageSource};
use http::StatusCode;
use rust_decimal::Decimal;
use serde_json::json;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// One model of each wire format.
const BOTH: [&str; 2] = ["claude-haiku-4-5", "gpt-5-mini"];

/// Starts a deployment with limits that no test reaches.
async fn app_with_high_limits(more: &[(&str, &str)]) -> TestApp {
    let app = TestApp::with(more).await;
    app.limits("free", 1_000_000, 1_000_000_000, 1_000).await;
    app
}

/// Starts a turn and reads its first event.
async fn begun(ann: &TestClient, model: &str, text: &str) -> (EventReader, Uuid) {
    let turn = Uuid::now_v7();
    let response = ann.post(&json!({"model": model, "text": text, "turn_id": turn})).await;
    assert_eq!(response.status(), StatusCode::OK, "{text}");
    let mut reading = EventReader::new(response);
    assert!(matches!(reading.next().await, Some((1, TurnEvent::Turn { .. }))), "{text}");
    (reading, turn)
}

/// Waits for the final ledger row of a turn: status, source, input including cache reads, output, cost.
async fn row(app: &TestApp, turn: Uuid) -> (String, String, i64, i64, Decimal) {
    let waiting = async {
        loop {
            let row = sqlx::query_as(
                "select status, usage_source, input_tokens + cache_read_tokens, output_tokens, cost_usd from ai_usage
                 where turn_id = $1 and status <> 'pending' order by call_no desc limit 1",
            )
            .bind(turn)
            .fetch_optional(&app.db)
            .await
            .unwrap();
            if let Some(row) = row {
                return row;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), waiting).await.expect("the row becomes final")
}

/// Checks that all turns are ended and settled, no row is pending, nothing is reserved, and the meter equals the ledger.
pub async fn assert_all_settled(app: &TestApp, ann: &TestClient) {
    app.until("select not exists (select from turn where meter_settled_at is null or ended_at is null)").await;
    assert_eq!(app.one::<i64>("select count(*) from ai_usage where status = 'pending'").await, 0);
    let quota = ann.quota().await;
    assert_eq!((&quota["tokens"]["reserved"], &quota["in_flight"]["now"]), (&json!(0), &json!(0)));
    let used: i64 = app
        .one("select coalesce(sum(input_tokens + cache_read_tokens + cache_write_tokens + output_tokens), 0)::bigint from ai_usage")
        .await;
    assert_eq!(quota["tokens"]["used"], json!(used), "the meter equals the ledger");
}

/// Field notes 19 and 23: after a disconnect at any point the turn continues and is recorded exactly, for both wire formats.
#[tokio::test]
async fn client_disconnect_after_any_chunk_does_not_stop_the_turn() {
    let app = app_with_high_limits(&[]).await;
    let ann = app.user("ann@example.com").await;
    for model in BOTH {
        for cut in 0..8 {
            let (mut reading, turn) = begun(&ann, model, "{{words:8}}{{pace:2}}").await;
            for _ in 0..cut {
                reading.next().await;
            }
            drop(reading);
            let (status, source, input, output, _) = row(&app, turn).await;
            let served = app.provider.served_calls().pop().unwrap();
            assert_eq!((status.as_str(), source.as_str()), ("finished", "exact"), "{model} cut after {cut}");
            assert_eq!((input as u64, output as u64), (served.input, served.output), "{model} cut after {cut}");
        }
    }
    assert_all_settled(&app, &ann).await;
}

/// Field notes 20 to 22: stopping at any word, from this server or another, ends the call within a second, keeps the partial text and
/// counts at least as much.
#[tokio::test]
async fn stop_after_any_word_keeps_it_and_counts_it() {
    let app = app_with_high_limits(&[]).await;
    let ann = app.user("ann@example.com").await;
    let (url, _stop) = app.start_second().await;
    let elsewhere = TestClient { url, ..ann.clone() };
    for model in BOTH {
        for at in 0..6 {
            let (mut reading, turn) = begun(&ann, model, &format!("{{{{words:12}}}}{{{{hold:{at}}}}}")).await;
            let mut received = String::new();
            while received.split_whitespace().count() < at {
                let Some((_, TurnEvent::Delta { text })) = reading.next().await else { panic!("{model} {at}") };
                received.push_str(&text);
            }
            let client = if at % 2 == 0 { &ann } else { &elsewhere };
            let stopped_at = Instant::now();
            let stop = client.request("POST", &format!("/api/turns/{turn}/stop")).send().await.unwrap();
            assert_eq!(stop.status(), StatusCode::NO_CONTENT);
            let Some((_, TurnEvent::Finish { outcome, usage, usage_source, .. })) = reading.next().await else {
                panic!("{model} stopped at {at}")
            };
            assert!(stopped_at.elapsed() < Duration::from_secs(45), "{:?}", stopped_at.elapsed());
            assert_eq!((outcome, usage_source), (Outcome::Stopped, UsageSource::Estimated));
            let (status, _, input, output, cost) = row(&app, turn).await;
            assert_eq!((status.as_str(), output), ("stopped", usage.output.0 as i64));
            // The output is at least what was streamed, and input is counted.
            assert!(output >= 2 * at as i64 && input > 0 && cost > Decimal::ZERO, "{model} {at}: {input} {output}");
            let kept: String = sqlx::query_scalar("select body from message where turn_id = $1 and role = 'assistant'")
                .bind(turn)
                .fetch_one(&app.db)
                .await
                .unwrap();
            assert_eq!(kept, received);
        }
    }
    assert_all_settled(&app, &ann).await;
}

/// Stopping works before the provider's first token: the call is canceled, and what it may cost is counted, writing its prompt to the provider's
/// cache included.
#[tokio::test]
async fn stop_works_before_the_first_token() {
    let app = app_with_high_limits(&[]).await;
    app.sql("update model set min_cacheable = 1").await;
    let ann = app.user("ann@example.com").await;
    let turn = Uuid::now_v7();
    let request = {
        let (ann, body) = (ann.clone(), json!({"model": "claude-haiku-4-5", "text": "{{mute}}", "turn_id": turn}));
        tokio::spawn(async move { ann.post(&body).await })
    };
    app.until("select exists (select from ai_usage where status = 'pending')").await;
    while app.provider.call_count("{{mute}}") == 0 {
        tokio::task::yield_now().await;
    }
    let stopped_at = Instant::now();
    ann.request("POST", &format!("/api/turns/{turn}/stop")).send().await.unwrap();
    let response = request.await.unwrap();
    assert!(stopped_at.elapsed() < Duration::from_secs(45));
    assert_eq!((response.status(), problem(response).await["kind"].as_str()), (StatusCode::CONFLICT, Some("conflict")));
    assert_eq!(app.one::<String>("select usage_source from ai_usage").await, "estimated");
    assert!(!app.one::<bool>("select provider_failed from ai_usage").await, "a stop isn't a provider failure");
    let charged = "select input_tokens = 0 and cache_write_tokens = estimated_tokens and cost_usd > 0
                     and cost_usd * 1000000000000 = estimated_tokens * p.cache_write_micros_per_million
                   from ai_usage join model_price p using (model_price_id)";
    assert!(app.one::<bool>(charged).await);
}

/// A client that reads slowly or not at all doesn't delay the turn, which ends while most of it is unread.
#[tokio::test]
async fn slow_reader_does_not_delay_the_turn() {
    let app = app_with_high_limits(&[]).await;
    sqlx::query("update plan set max_output = 100000").execute(&app.db).await.unwrap();
    sqlx::query("update model set max_output = 100000").execute(&app.db).await.unwrap();
    let ann = app.user("ann@example.com").await;
    let body = json!({"model": BOTH[0], "text": "{{words:20000}}", "turn_id": Uuid::now_v7()});
    let unread = ann.post(&body).await;
    app.until("select exists (select from ai_usage where status = 'finished' and usage_source = 'exact')").await;
    let text = words(&events(unread).await);
    assert_eq!(text.split_whitespace().count(), 20_000, "a late reader gets the full response");
}

/// Without `REDIS_URL` a single process keeps meters and running turns in memory, with the same rules.
#[tokio::test]
async fn a_single_process_needs_no_redis() {
    let app = TestApp::with(&[("REDIS_URL", "")]).await;
    app.limits("free", 3, 50_000, 2).await;
    let ann = app.user("ann@example.com").await;
    let first = ann.send_and_read("{{words:5}}").await;
    let TurnEvent::Turn { turn_id, .. } = &first[0].1 else { panic!() };
    assert_eq!(
        events(ann.get(&format!("/api/turns/{turn_id}/events?after=0")).await).await,
        first,
        "events are kept for ten minutes"
    );
    ann.send_and_read("{{words:5}}").await;
    ann.send_and_read("{{words:5}}").await;
    assert_eq!(ann.send_message("{{words:5}}").await.status(), StatusCode::TOO_MANY_REQUESTS);
    let (mut reading, turn) = {
        app.limits("free", 30, 50_000, 2).await;
        begun(&ann, BOTH[0], "{{words:9}}{{hold:1}}").await
    };
    ann.request("POST", &format!("/api/turns/{turn}/stop")).send().await.unwrap();
    let mut last = None;
    while let Some((_, event)) = reading.next().await {
        last = Some(event);
    }
    assert!(matches!(last, Some(TurnEvent::Finish { outcome: Outcome::Stopped, .. })), "{last:?}");
    assert_eq!(reqwest::get(format!("{}/readyz", app.url)).await.unwrap().status(), StatusCode::OK);
    assert_all_settled(&app, &ann).await;
}
