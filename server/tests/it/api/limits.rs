//! The limits of a key and its user, and the headers that say what is left.

use super::{CHAT, HAIKU, MESSAGES, Program, app, app_with, body, rows};
use crate::turns::assert_all_settled;
use domain::{Picos, Tokens};
use futures::future::join_all;
use http::StatusCode;
use reqwest::Response;
use serde_json::Value;
use std::time::Duration;
use store::api_key::KeyScope;

/// Longer than an unconfirmed hold lasts.
const LAPSED: Duration = Duration::from_secs(11);

/// Sends 64 different requests at once, half of them to each server, and returns the responses. On a busy machine the meters may take longer
/// than a decision may. Such a request is sent again once a hold of it has lapsed.
async fn send_64(programs: [&Program; 2]) -> Vec<Response> {
    let requests = (0..64).map(|n| {
        let request = body(CHAT, HAIKU, &format!("{{{{words:4}}}}{{{{hold}}}} question {n} of some length"), true);
        async move {
            for _ in 0..9 {
                let response = programs[n % 2].post(CHAT, &request).await;
                if response.status() != StatusCode::SERVICE_UNAVAILABLE {
                    return response;
                }
                tokio::time::sleep(LAPSED).await;
            }
            panic!("the meters don't decide");
        }
    });
    join_all(requests).await
}

/// Field notes 1 and 2: 64 parallel calls of one key on two servers never exceed any of its caps, and leave the user's other calls alone.
#[tokio::test]
async fn parallel_calls_never_exceed_the_caps_of_a_key() {
    for (scope, check) in [
        (KeyScope { requests_per_minute: Some(5), ..KeyScope::default() }, "select count(*) = 5 from ai_usage"),
        (
            KeyScope { tokens_per_day: Some(Tokens(9_000)), ..KeyScope::default() },
            "select count(*) > 1 and sum(reserved_tokens) <= 9000 from ai_usage",
        ),
        (
            KeyScope { monthly: Some(Picos(40_000_000_000)), ..KeyScope::default() },
            "select count(*) > 1 and sum((estimated_tokens * p.input_micros_per_million
                + (reserved_tokens - estimated_tokens) * p.output_micros_per_million)::numeric / 1000000000000) <= 0.04
             from ai_usage join model_price p using (model_price_id)",
        ),
    ] {
        let app = app().await;
        app.sql("update plan set max_output = 1000").await;
        let ann = app.user("ann@example.com").await;
        let program = Program::with(&app, "ann@example.com", scope).await;
        let (url, stop) = app.start_second().await;
        let there = Program { url, ..program.clone() };
        let responses = send_64([&program, &there]).await;
        let (granted, refused): (Vec<_>, Vec<_>) =
            responses.into_iter().partition(|response| response.status() == StatusCode::OK);
        assert!(app.one::<bool>(check).await, "{} granted, {check}", granted.len());
        assert!(refused.iter().all(|response| response.status() == StatusCode::TOO_MANY_REQUESTS));
        ann.send_and_read("{{words:1}}").await;
        app.provider.release();
        for response in granted {
            response.text().await.unwrap();
        }
        assert_all_settled(&app, &ann).await;
        stop.cancel();
    }
}

/// Field note 14: a refusal says when to try again, in whole seconds and in milliseconds, and what is left of the smaller limit.
#[tokio::test]
async fn headers_say_what_is_left() {
    let app = app().await;
    app.limits("free", 7, 1_000_000, 100).await;
    app.user("ann@example.com").await;
    let scope = KeyScope { requests_per_minute: Some(3), ..KeyScope::default() };
    let program = Program::with(&app, "ann@example.com", scope).await;
    let value = |response: &Response, name: &str| response.headers()[name].to_str().unwrap().to_owned();
    let first = program.post(CHAT, &body(CHAT, HAIKU, "{{words:1}} a", false)).await;
    assert_eq!(
        (value(&first, "x-ratelimit-limit-requests"), value(&first, "x-ratelimit-remaining-requests")),
        ("3".into(), "2".into())
    );
    assert_eq!(value(&first, "x-ratelimit-limit-tokens"), "1000000");
    assert!(value(&first, "x-ratelimit-reset-requests").ends_with('s'));
    assert_eq!(value(&first, "request-id"), value(&first, "x-request-id"));
    let second = program.post(MESSAGES, &body(MESSAGES, HAIKU, "{{words:1}} b", false)).await;
    assert_eq!(value(&second, "anthropic-ratelimit-requests-remaining"), "1");
    assert!(value(&second, "anthropic-ratelimit-tokens-reset").ends_with('Z'));
    program.ask(CHAT, HAIKU, "{{words:1}} c").await;
    let refused = program.post(MESSAGES, &body(MESSAGES, HAIKU, "{{words:1}} d", false)).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    let (seconds, ms): (u64, u64) =
        (value(&refused, "retry-after").parse().unwrap(), value(&refused, "retry-after-ms").parse().unwrap());
    assert!(seconds == ms.div_ceil(1_000) && (1..=61).contains(&seconds), "{seconds} {ms}");
    assert_eq!(value(&refused, "anthropic-ratelimit-requests-remaining"), "0");
    let id = value(&refused, "request-id");
    let problem: Value = refused.json().await.unwrap();
    assert_eq!(
        (&problem["error"]["type"], &problem["request_id"]),
        (&Value::from("rate_limit_error"), &Value::from(id))
    );
    // Another key of the user has what the user has left.
    let other = Program::of(&app, "ann@example.com").await;
    let response = other.post(CHAT, &body(CHAT, HAIKU, "{{words:1}} e", false)).await;
    assert_eq!(value(&response, "x-ratelimit-remaining-requests"), "3");
    assert_eq!(rows(&app).await.len(), 4, "a refusal has no row");
}

/// The same request, sent again and again, is refused as a loop, and so is the key for a while.
#[tokio::test]
async fn a_loop_is_refused() {
    let app = app_with(&[("API_LOOP_REPEATS", "4")]).await;
    app.user("ann@example.com").await;
    let program = Program::of(&app, "ann@example.com").await;
    let request = body(CHAT, HAIKU, "{{words:1}} again", false);
    let mut statuses = Vec::new();
    for _ in 0..5 {
        statuses.push(program.post(CHAT, &request).await.status().as_u16());
    }
    assert_eq!(statuses, [200, 200, 200, 429, 429]);
    let other = program.post(CHAT, &body(CHAT, HAIKU, "{{words:1}} another", false)).await;
    assert_eq!((other.status().as_u16(), other.headers()["x-should-retry"].to_str().unwrap()), (429, "false"));
    assert_eq!(rows(&app).await.len(), 3);
}

/// A program that waits for a running answer, and gets it again later, sends the same request many times and is no loop.
#[tokio::test]
async fn waiting_for_an_answer_is_no_loop() {
    let app = app_with(&[("API_LOOP_REPEATS", "4")]).await;
    app.user("ann@example.com").await;
    let program = Program::of(&app, "ann@example.com").await;
    let request = body(CHAT, HAIKU, "{{words:1}} once", false);
    for _ in 0..9 {
        let again = program.request("POST", CHAT).header("idempotency-key", "once").json(&request).send();
        assert_eq!(again.await.unwrap().status(), StatusCode::OK);
    }
    assert_eq!(rows(&app).await.len(), 1);
}
