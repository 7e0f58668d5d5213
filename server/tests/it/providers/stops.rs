//! A stopped call to a model that reasons is read until its usage arrives, or settled at its reservation.

use super::{
    Expected, HAIKU, MAX_OUTPUT, MINI, Row, app, app_with, ask, assert_row, finish, read, reload, rows, tokens,
};
use crate::app::TestApp;
use crate::turns::assert_all_settled;
use crate::visitor::{EventReader, TestClient, problem};
use domain::{Outcome, TurnEvent, UsageSource};
use http::StatusCode;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use std::time::Duration;
use uuid::Uuid;

const THINKING: &str = "update model set thinking = 'optional'";
/// A time for reading on that no test reaches.
const UNREACHED: Duration = Duration::from_secs(600);

async fn stop(ann: &TestClient, turn: Uuid) -> StatusCode {
    ann.request("POST", &format!("/api/turns/{turn}/stop")).send().await.unwrap().status()
}

/// Starts a turn and reads its first event.
async fn begin(ann: &TestClient, model: &str, text: &str) -> (Uuid, EventReader) {
    let turn = Uuid::now_v7();
    let response = ann.post(&json!({"model": model, "text": text, "turn_id": turn})).await;
    assert_eq!(response.status(), StatusCode::OK, "{text}");
    (turn, EventReader::new(response))
}

/// Field note 61: stopped before the first word, the call goes on to its usage event. The user is told at once, the message is kept at
/// once, and the exact usage is booked when it arrives.
#[tokio::test]
async fn a_stopped_thinking_call_is_read_on_to_its_usage() {
    for model in [HAIKU, MINI] {
        let app = app_with(|config| config.drain_timeout = UNREACHED).await;
        app.sql(THINKING).await;
        let ann = app.user("ann@example.com").await;
        let text = "{{think:30}}{{words:5}}{{hold:0}} a question";
        let (turn, reading) = begin(&ann, model, text).await;
        assert_eq!(stop(&ann, turn).await, StatusCode::NO_CONTENT);
        let answer = read(turn, text, reading).await;
        let (outcome, _, source) = finish(&answer);
        assert_eq!((outcome, source, answer.text.as_str()), ("stopped", UsageSource::Estimated, ""), "{model}");
        // The provider still waits, so nothing is booked yet, and the hold stays.
        assert_eq!(app.one::<String>("select status from ai_usage").await, "pending");
        let quota = ann.quota().await;
        assert!(quota["tokens"]["reserved"].as_i64().unwrap() > MAX_OUTPUT, "{quota}");
        assert_eq!(quota["in_flight"]["now"], 1);
        assert!(reload(&ann, &answer).await.contains("Stopped"), "{model}");
        // The page learns what was used once that is final.
        let used =
            async || ann.get(&format!("/api/turns/{turn}")).await.json::<Value>().await.unwrap()["tokens"].clone();
        assert_eq!(used().await, Value::Null);
        app.provider.release();
        assert_all_settled(&app, &ann).await;
        let served = app.provider.served_calls().remove(0);
        assert_eq!(used().await, json!(served.input + served.output), "{model}");
        assert_eq!((served.ended, served.output), (true, 40), "{model}");
        let (reasoning, id) = if model == MINI { (30, "chatcmpl-fake") } else { (0, "msg_fake") };
        let usage = tokens(served.input, 0, 0, 0, 40, reasoning);
        let expected = Expected { status: "stopped", has_words: false, ..Expected::exact(model, usage) };
        assert_row(&app, &answer, Expected { request_id: Some(id), ..expected }).await;
        let kept = "select body || status from message where role = 'assistant'";
        assert_eq!(app.one::<String>(kept).await, "stopped", "{model}: no word was shown");
    }
}

/// Field note 61: if the usage doesn't arrive in time, everything that was held for output is booked, marked as an estimate.
#[tokio::test]
async fn a_call_without_usage_in_time_is_settled_at_its_hold() {
    let app = app_with(|config| config.drain_timeout = Duration::from_millis(200)).await;
    app.sql(THINKING).await;
    let ann = app.user("ann@example.com").await;
    for (model, fault) in [(HAIKU, "{{hold:2}}"), (MINI, "{{hold:2}}"), (HAIKU, "{{break:2}}"), (MINI, "{{silent:2}}")]
    {
        let text = format!("{{{{think:3}}}}{{{{words:9}}}}{fault} {model}");
        let (turn, mut reading) = begin(&ann, model, &text).await;
        while !matches!(reading.next().await, Some((_, TurnEvent::Delta { .. }))) {}
        if !fault.contains("break") {
            assert_eq!(stop(&ann, turn).await, StatusCode::NO_CONTENT);
        }
        while reading.next().await.is_some() {}
        let rows = rows(&app, turn).await;
        let served = app.provider.served_calls().pop().unwrap();
        let [Row { usage_source: Some(source), output_tokens, status, .. }] = &rows[..] else { panic!("{rows:?}") };
        let expected = if fault.contains("break") { "failed" } else { "stopped" };
        assert_eq!((status.as_str(), source.as_str(), *output_tokens), (expected, "estimated", MAX_OUTPUT), "{text}");
        assert!(!served.ended && rows[0].total() >= served.total(), "{rows:?} {served:?}");
    }
    assert_all_settled(&app, &ann).await;
}

/// Field note 61: a call that was stopped before its response head is read on too.
#[tokio::test]
async fn a_stop_before_the_response_head_is_no_discount() {
    for model in [HAIKU, MINI] {
        let app = app_with(|config| config.drain_timeout = UNREACHED).await;
        app.sql(THINKING).await;
        let ann = app.user("ann@example.com").await;
        let (turn, text) = (Uuid::now_v7(), format!("{{{{late}}}}{{{{think:50}}}}{{{{words:2}}}} {model}"));
        let body = json!({"model": model, "text": text, "turn_id": turn});
        let request = tokio::spawn(ann.clone().post_owned(body));
        while app.provider.call_count(&text) == 0 {
            tokio::task::yield_now().await;
        }
        stop(&ann, turn).await;
        let response = request.await.unwrap();
        assert_eq!(
            (response.status(), problem(response).await["kind"].as_str()),
            (StatusCode::CONFLICT, Some("conflict"))
        );
        app.provider.release();
        let rows = rows(&app, turn).await;
        let served = app.provider.served_calls().pop().unwrap();
        assert!(rows.iter().map(Row::total).sum::<u64>() >= served.total(), "{model}: {rows:?} {served:?}");
        assert_all_settled(&app, &ann).await;
    }
}

/// Models that never think are stopped at once, and are charged at least one token per received chunk.
#[tokio::test]
async fn a_model_that_never_thinks_is_stopped_at_once() {
    let app = app().await;
    let ann = app.user("ann@example.com").await;
    for model in [HAIKU, MINI] {
        let (turn, mut reading) = begin(&ann, model, "{{words:9}}{{hold:4}}").await;
        let mut received = String::new();
        while received.split_whitespace().count() < 4 {
            if let Some((_, TurnEvent::Delta { text })) = reading.next().await {
                received.push_str(&text);
            }
        }
        stop(&ann, turn).await;
        while reading.next().await.is_some() {}
        let row = rows(&app, turn).await.remove(0);
        let served = app.provider.served_calls().pop().unwrap();
        assert_eq!((row.status.as_str(), row.usage_source.as_deref()), ("stopped", Some("estimated")));
        assert!(row.output_tokens < MAX_OUTPUT && row.total() >= served.total(), "{row:?} {served:?}");
    }
}

/// One turn of the property test: sends a message and stops it after some events, or after some time.
async fn stop_somewhere(ann: TestClient, turn: Uuid, body: Value, events: usize, pause: Duration) -> bool {
    let request = {
        let ann = ann.clone();
        tokio::spawn(async move { ann.post_until_decided(&body).await })
    };
    if events == 0 {
        tokio::time::sleep(pause).await;
        stop(&ann, turn).await;
    }
    let response = request.await.unwrap();
    if response.status() != StatusCode::OK {
        let status = response.status();
        assert!([StatusCode::TOO_MANY_REQUESTS, StatusCode::CONFLICT].contains(&status), "{status}");
        return status != StatusCode::TOO_MANY_REQUESTS;
    }
    let mut reading = EventReader::new(response);
    let mut seen = 0;
    while let Some((_, event)) = reading.next().await {
        seen += 1;
        if seen == events {
            stop(&ann, turn).await;
        }
        if let TurnEvent::Finish { outcome, .. } = event {
            assert!([Outcome::Finished, Outcome::Stopped, Outcome::Truncated].contains(&outcome), "{outcome:?}");
        }
    }
    true
}

/// Field note 61: no sequence of stops, before the first word, in reasoning or in text, makes the provider bill more than the ledger books,
/// or more than the user's limit.
#[tokio::test]
async fn no_sequence_of_stops_costs_more_than_is_booked() {
    const LIMIT: u64 = 9_000;
    let app = app_with(|config| config.drain_timeout = Duration::from_millis(250)).await;
    app.limits("free", 1_000_000, LIMIT.cast_signed(), 8).await;
    app.sql(THINKING).await;
    app.sql("update plan set max_output = 400").await;
    let ann = app.user("ann@example.com").await;
    let seed: u64 = rand::random();
    let mut rng = StdRng::seed_from_u64(seed);
    let mut turns: Vec<(Uuid, String)> = Vec::new();
    let mut admitted = 0;
    for round in 0..8 {
        let mut running = tokio::task::JoinSet::new();
        for n in 0..8 {
            let [thinks, thoughts, words, pace] = [60, 9, 60, 8].map(|max| rng.random_range(0..max));
            let text = format!(
                "{{{{think:{thinks}}}}}{{{{reasoning:{thoughts}}}}}{{{{words:{words}}}}}{{{{pace:{pace}}}}} {round} {n}"
            );
            let (turn, model) = (Uuid::now_v7(), [HAIKU, MINI][rng.random_range(0..2)]);
            let body = json!({"model": model, "text": text, "turn_id": turn});
            turns.push((turn, text));
            let pause = Duration::from_millis(rng.random_range(0..200));
            running.spawn(stop_somewhere(ann.clone(), turn, body, rng.random_range(0..7), pause));
        }
        while let Some(was_admitted) = running.join_next().await {
            admitted += u32::from(was_admitted.unwrap());
        }
    }
    assert_all_settled(&app, &ann).await;
    assert!(admitted > 8, "seed {seed}: {admitted} admitted");
    let mut billed = 0;
    for served in app.provider.served_calls() {
        let text = &served.sent.last().unwrap().text;
        let (turn, _) = turns.iter().find(|(_, question)| question == text).unwrap();
        let booked: u64 = rows(&app, *turn).await.iter().map(Row::total).sum();
        assert!(booked >= served.total(), "seed {seed}, {text}: {booked} booked, {served:?}");
        billed += served.total();
    }
    assert!(billed <= LIMIT, "seed {seed}: {billed} billed");
    assert!(booked_by(&app).await <= LIMIT, "seed {seed}");
}

/// Returns all tokens that were booked.
async fn booked_by(app: &TestApp) -> u64 {
    let sql = "select coalesce(sum(input_tokens + cache_read_tokens + cache_write_tokens + output_tokens), 0)::bigint from ai_usage";
    app.one::<i64>(sql).await.cast_unsigned()
}

/// Field note 57: the head and a role arrive, then nothing for longer than a model without its own setting may be silent. The model's own
/// idle timeout applies, and the browser gets the answer.
#[tokio::test]
async fn a_model_that_thinks_for_long_has_its_own_idle_timeout() {
    let app = app_with(|config| config.provider_timeouts.idle = Duration::from_millis(200)).await;
    let ann = app.user("ann@example.com").await;
    app.sql("update model set idle_timeout_ms = 60000 where model = 'claude-haiku-4-5'").await;
    let text = "{{head:900}}{{words:3}}";
    let answer = ask(&ann, HAIKU, text).await;
    assert_eq!((finish(&answer).0, answer.text.as_str()), ("finished", "word1 word2 word3 "));
    // Silent for good: however late the server begins to wait, the words don't arrive before its timeout.
    let answer = ask(&ann, MINI, "{{hold:0}}{{words:3}}").await;
    assert!(matches!(answer.last, TurnEvent::Failed { .. }), "{answer:?}");
    // A provider's setting applies to its models without their own.
    app.sql("update provider set idle_timeout_ms = 60000 where provider = 'openai'").await;
    assert_eq!(finish(&ask(&ann, MINI, text).await).0, "finished");
}
