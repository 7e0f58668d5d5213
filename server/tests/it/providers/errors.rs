//! Errors that help: what users are told, what it costs, which model answers instead, and when the owner is alerted.

use super::{HAIKU, MINI, Row, app, ask, finish, refused, rows};
use crate::app::TestApp;
use crate::turns::assert_all_settled;
use crate::visitor::TestClient;
use domain::{ModelName, TurnEvent};
use http::StatusCode;
use serde_json::json;
use std::time::{Duration, Instant};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

const FALLBACK: &str = "update model set fallback = 'claude-haiku-4-5' where model = 'gpt-5-mini'";
const OPEN_ALERTS: &str = "select coalesce(string_agg(kind, ' ' order by kind), '') from alert where ended_at is null";

/// Checks that messages were refused as if they had never been sent: no message, no conversation, no tokens, and a free row for each.
async fn assert_nothing_was_charged(app: &TestApp, ann: &TestClient, calls: i64, provider_failed: bool) {
    assert_eq!(app.one::<i64>("select count(*) from message").await, 0);
    assert_eq!(app.one::<i64>("select count(*) from conversation").await, 0);
    let free = "select count(*) from ai_usage where status = 'failed' and usage_source = 'exact' and cost_usd = 0 and provider_failed = $1
                  and input_tokens + cache_read_tokens + cache_write_tokens + cache_write_long_tokens + output_tokens + reasoning_tokens = 0
                  and provider_request_id is null and ttft_ms is null and settled_at is not null and corrects is null and purpose = 'chat'";
    let free: i64 = sqlx::query_scalar(free).bind(provider_failed).fetch_one(&app.db).await.unwrap();
    assert_eq!((free, app.one::<i64>("select count(*) from ai_usage").await), (calls, calls));
    assert_all_settled(app, ann).await;
    assert_eq!(ann.quota().await["tokens"]["used"], 0);
}

/// Asks a model whose provider fails, and checks that its fallback answers and that the first call is free.
async fn fallback_answers(app: &TestApp, ann: &TestClient, text: &str) {
    let answer = ask(ann, MINI, text).await;
    let TurnEvent::Turn { model, fallback_for, .. } = &answer.first else { panic!("{answer:?}") };
    assert_eq!((model.0.as_str(), fallback_for), (HAIKU, &Some(ModelName(MINI.to_owned()))), "{text}");
    assert_eq!((finish(&answer).0, answer.text.as_str()), ("finished", "word1 word2 word3 "), "{text}");
    let rows = rows(app, answer.turn).await;
    let [failed, answered] = &rows[..] else { panic!("{text}: {rows:?}") };
    assert_eq!((failed.call_no, failed.model.as_str(), failed.status.as_str()), (1, MINI, "failed"));
    let free = (failed.total(), failed.cost_usd.as_str(), failed.usage_source.as_deref(), failed.provider_failed);
    assert_eq!(free, (0, "0.000000000000", Some("exact"), true), "{text}");
    assert_eq!((answered.call_no, answered.model.as_str(), answered.status.as_str()), (2, HAIKU, "finished"));
    let served = app.provider.served_calls().pop().unwrap();
    assert_eq!((answered.total(), answered.usage_source.as_deref()), (served.total(), Some("exact")), "{text}");
}

/// Field note 52: an error, a web page or nothing with status 200 is found before anything is shown. Nothing is billed, and the fallback
/// answers.
#[tokio::test]
async fn no_response_despite_status_200_is_refused() {
    // File, whether the provider is merely busy, so that the call is retried.
    for (name, is_busy) in [
        ("52-cut-json", false),
        ("52-done-only", false),
        ("52-empty", false),
        ("52-error-event", false),
        ("52-error-event-with-choice", true),
        ("52-error-json", false),
        ("52-error-list", true),
        ("52-error-with-status", true),
        ("52-html", false),
        ("52-keepalives-only", false),
        ("52-other-json", false),
        ("52-text", false),
    ] {
        let app = app().await;
        let ann = app.user("ann@example.com").await;
        let text = format!("{{{{fixture:{name}}}}}");
        let (status, problem) = refused(&ann, MINI, &text).await;
        let (expected, kind, calls) = if is_busy {
            (StatusCode::SERVICE_UNAVAILABLE, "model_unavailable", 3)
        } else {
            (StatusCode::BAD_GATEWAY, "model_failed", 1)
        };
        assert_eq!((status, problem["kind"].as_str()), (expected, Some(kind)), "{name}: {problem}");
        assert_eq!(app.provider.call_count(&text), calls, "{name}");
        assert_nothing_was_charged(&app, &ann, 1, true).await;
        app.sql(FALLBACK).await;
        let text = format!("{{{{fixture:{name}}}}}{{{{only:gpt-5-mini}}}}{{{{words:3}}}}");
        fallback_answers(&app, &ann, &text).await;
    }
    // The same in Anthropic's format.
    let app = app().await;
    let ann = app.user("ann@example.com").await;
    let (status, _) = refused(&ann, HAIKU, "{{fixture:52-anthropic-error-event}}").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_nothing_was_charged(&app, &ann, 1, true).await;
}

/// Field note 58: an account without credit is asked once. Users aren't told to retry, the circuit opens, the owner is alerted at once, and
/// a fallback answers.
#[tokio::test]
async fn an_exhausted_credit_is_asked_once_and_alerts() {
    for (model, refusal) in [
        (MINI, "{{credit}}"),
        (HAIKU, "{{credit}}"),
        (MINI, "{{fixture:58-insufficient-quota}}"),
        (HAIKU, "{{fixture:58-anthropic-low-balance}}"),
        (MINI, "{{fixture:58-payment-required}}"),
        (MINI, "{{fixture:52-error-out-of-credit}}"),
    ] {
        let app = app().await;
        app.user("admin@example.com").await;
        let ann = app.user("ann@example.com").await;
        let (status, problem) = refused(&ann, model, refusal).await;
        assert_eq!((status, problem["kind"].as_str()), (StatusCode::BAD_GATEWAY, Some("model_failed")), "{refusal}");
        assert_eq!(app.provider.call_count(refusal), 1, "{refusal}");
        let message = problem["message"].as_str().unwrap();
        assert!(message.contains("is out of service right now") && !message.to_lowercase().contains("try again"));
        assert!(problem["retry_after_ms"].is_null(), "{problem}");
        assert_nothing_was_charged(&app, &ann, 1, true).await;
        app.until("select exists (select from alert where kind = 'provider_account' and ended_at is null)").await;
        app.until("select count(*) = 1 from job where kind = 'mail' and payload->>'mail' = 'alert' and not (payload->>'is_over')::bool").await;
        // The circuit is open: the next question isn't sent.
        let again = format!("{refusal} again");
        assert_eq!(refused(&ann, model, &again).await.0, StatusCode::BAD_GATEWAY, "{refusal}");
        assert_eq!(app.provider.call_count(&again), 0, "{refusal}");
        if model == MINI {
            let other = app_with_fallback().await;
            let bob = other.user("bob@example.com").await;
            fallback_answers(&other, &bob, &format!("{refusal}{{{{only:gpt-5-mini}}}}{{{{words:3}}}}")).await;
        }
    }
}

async fn app_with_fallback() -> TestApp {
    let app = app().await;
    app.sql(FALLBACK).await;
    app
}

/// Field note 59: a prompt that is too long for the model is 413 with the provider's numbers.
#[tokio::test]
async fn a_prompt_that_is_too_long_is_413_with_numbers() {
    let app = app().await;
    let ann = app.user("ann@example.com").await;
    let mut calls = 0;
    let cases: [(&str, &str, Option<u64>, &[&str]); 6] = [
        (HAIKU, "{{toolong:200000}}", Some(200_000), &["200,001", "200,000"]),
        (MINI, "{{toolong:128000}}", Some(128_000), &["128,001", "128,000"]),
        (HAIKU, "{{fixture:59-anthropic-prompt-too-long}}", Some(200_000), &["205,351", "200,000"]),
        (MINI, "{{fixture:59-context-length}}", Some(8_192), &["9,000", "8,192"]),
        (MINI, "{{fixture:59-context-size}}", Some(4_096), &["5,000", "4,096"]),
        (MINI, "{{fixture:59-request-too-large}}", None, &[]),
    ];
    for (model, refusal, max, numbers) in cases {
        let (status, problem) = refused(&ann, model, refusal).await;
        calls += 1;
        assert_eq!((status, problem["kind"].as_str()), (StatusCode::PAYLOAD_TOO_LARGE, Some("too_large")), "{refusal}");
        assert_eq!((app.provider.call_count(refusal), problem["max"].as_u64()), (1, max), "{problem}");
        let message = problem["message"].as_str().unwrap();
        assert!(numbers.iter().all(|number| message.contains(number)), "{message}");
    }
    assert_nothing_was_charged(&app, &ann, calls, false).await;
    assert_eq!(app.one::<String>(OPEN_ALERTS).await, "", "no alert for a user's long text");
}

/// Field note 59: a wrong key and an unknown model are refused without a time to retry, the draft is kept, and both alert.
#[tokio::test]
async fn wrong_keys_and_unknown_models_alert_and_are_refused() {
    for (model, refusal, alert) in [
        (HAIKU, "{{key}}", "provider_account"),
        (MINI, "{{key}}", "provider_account"),
        (HAIKU, "{{fixture:59-anthropic-wrong-key}}", "provider_account"),
        (HAIKU, "{{fixture:59-no-permission}}", "provider_account"),
        (MINI, "{{fixture:59-wrong-key}}", "provider_account"),
        (MINI, "{{fixture:59-wrong-key-as-bad-request}}", "provider_account"),
        (HAIKU, "{{unknown}}", "unknown_model"),
        (MINI, "{{unknown}}", "unknown_model"),
        (MINI, "{{fixture:59-unknown-model}}", "unknown_model"),
        (MINI, "{{fixture:59-unknown-model-as-bad-request}}", "unknown_model"),
    ] {
        let app = app().await;
        let ann = app.user("ann@example.com").await;
        let (status, problem) = refused(&ann, model, refusal).await;
        assert_eq!((status, problem["kind"].as_str()), (StatusCode::BAD_GATEWAY, Some("model_failed")), "{refusal}");
        let message = problem["message"].as_str().unwrap();
        assert!(message.contains("Nothing was sent") && message.contains("choose another model"), "{message}");
        assert!(problem["retry_after_ms"].is_null() && app.provider.call_count(refusal) == 1, "{problem}");
        assert_nothing_was_charged(&app, &ann, 1, true).await;
        app.until("select exists (select from alert where ended_at is null)").await;
        assert_eq!(app.one::<String>(OPEN_ALERTS).await, alert, "{refusal}");
    }
}

/// Field note 59: any other refusal says that nothing was sent, and where the text is. A proxy's timeout is no refusal: it is charged.
#[tokio::test]
async fn other_refusals_say_that_nothing_was_sent() {
    let app = app().await;
    let ann = app.user("ann@example.com").await;
    let refusals = ["{{status:418}}", "{{fixture:59-other}}", "{{fixture:59-moderated}}"];
    for refusal in refusals {
        let (status, problem) = refused(&ann, MINI, refusal).await;
        let message = problem["message"].as_str().unwrap();
        assert_eq!((status, app.provider.call_count(refusal)), (StatusCode::BAD_GATEWAY, 1), "{problem}");
        assert!(message.contains("Nothing was sent") && message.contains("your text is back in the message box"));
        assert!(!message.contains("secret words") && !message.contains("flagged"), "{message}");
    }
    assert_nothing_was_charged(&app, &ann, 3, true).await;
    let (status, problem) = refused(&ann, MINI, "{{fixture:58-gateway-timeout}}").await;
    assert_eq!((status, problem["kind"].as_str()), (StatusCode::SERVICE_UNAVAILABLE, Some("model_unavailable")));
    let charged = "select count(*) from ai_usage where usage_source = 'estimated' and input_tokens = estimated_tokens and output_tokens = 0";
    assert_eq!((app.one::<i64>(charged).await, app.provider.call_count("{{fixture:58-gateway-timeout}}")), (1, 1));
}

/// `Retry-After` may be a fraction of a second or a date.
#[tokio::test]
async fn retry_after_is_read_in_every_form() {
    let app = app().await;
    let ann = app.user("ann@example.com").await;
    let text = "{{words:3}}{{status:429}}{{times:1}}{{after:0.8}}";
    let began = Instant::now();
    let answer = ask(&ann, HAIKU, text).await;
    assert!(finish(&answer).0 == "finished" && began.elapsed() >= Duration::from_millis(800), "{:?}", began.elapsed());
    assert_eq!(app.provider.call_count(text), 2);
    let row: Row = rows(&app, answer.turn).await.remove(0);
    assert_eq!((row.call_no, row.usage_source.as_deref(), row.provider_failed), (1, Some("exact"), false));
    let text = "{{words:3}}{{fixture:58-busy-for-a-fraction}}{{times:1}}";
    let began = Instant::now();
    assert_eq!(finish(&ask(&ann, MINI, text).await).0, "finished");
    assert!(began.elapsed() >= Duration::from_millis(1_500), "{:?}", began.elapsed());
    let date = (OffsetDateTime::now_utc() + Duration::from_secs(90)).format(&Rfc2822).unwrap().replace("+0000", "GMT");
    let far = format!("{{{{status:503}}}}{{{{after:{date}}}}}");
    for (text, seconds) in [(far.as_str(), 60..=91), ("{{fixture:58-busy-until-a-date}}", 7..=7)] {
        let response = ann.post(&json!({"model": MINI, "text": text})).await;
        assert_eq!((response.status(), app.provider.call_count(text)), (StatusCode::SERVICE_UNAVAILABLE, 1), "{text}");
        let after: u64 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
        assert!(seconds.contains(&after), "{text}: {after}");
    }
}
