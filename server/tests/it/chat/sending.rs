//! Sending messages: duplicates, invalid requests, resends.

use crate::app::TestApp;
use crate::visitor::{events, problem, words};
use domain::{Outcome, TurnEvent};
use http::StatusCode;
use serde_json::json;

#[tokio::test]
async fn the_same_turn_runs_once() {
    let app = TestApp::new().await;
    app.limits("free", 100, 50_000, 10).await;
    let (ann, eve) = (app.user("ann@example.com").await, app.user("eve@example.com").await);
    let turn = uuid::Uuid::now_v7();
    let body = json!({"model": "claude-haiku-4-5", "text": "{{words:20}}", "turn_id": turn});
    let copies = (0..20).map(|_| async {
        let response = ann.post_until_decided(&body).await;
        assert_eq!(response.status(), StatusCode::OK);
        events(response).await
    });
    let all = futures::future::join_all(copies).await;
    assert!(all.iter().all(|copy| *copy == all[0]), "all copies get the same events");
    assert_eq!(words(&all[0]).split_whitespace().count(), 20);
    assert_eq!(app.provider.served_calls().len(), 1);
    assert_eq!(app.one::<i64>("select count(*) from ai_usage").await, 1);
    assert_eq!(ann.quota().await["requests"]["remaining"], 99);
    let other = json!({"model": "claude-haiku-4-5", "text": "other words", "turn_id": turn});
    assert_eq!(ann.post(&other).await.status(), StatusCode::CONFLICT);
    assert_eq!(eve.post(&body).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn invalid_requests_get_typed_problems() {
    let app = TestApp::new().await;
    let (ann, eve) = (app.user("ann@example.com").await, app.user("eve@example.com").await);
    let hers = ann.send_and_read("{{words:1}}").await;
    let TurnEvent::Turn { conversation_id, .. } = &hers[0].1 else { panic!() };
    for (body, status, kind, field) in [
        (json!({"text": "  "}), 422, "invalid", "text"),
        (json!({"text": "hi", "retry_of": turn_id()}), 422, "invalid", "retry_of"),
        (json!({"text": "hi", "model": "no-such-model"}), 422, "invalid", "model"),
        (json!({"text": "hi", "model": "claude-opus-4-7"}), 402, "plan_too_small", ""),
        (json!({"text": "hi", "conversation_id": conversation_id}), 404, "not_found", ""),
        (json!({"text": "hi", "conversation_id": turn_id()}), 404, "not_found", ""),
        (json!({"text": "hi", "conversation_id": 7}), 422, "invalid", ""),
    ] {
        let response = eve.post(&body).await;
        assert_eq!(response.status().as_u16(), status, "{body}");
        let problem = problem(response).await;
        assert_eq!(problem["kind"], kind, "{body}");
        if !field.is_empty() {
            assert_eq!(problem["field"], field);
        }
        if status == 402 {
            assert_eq!(problem["upgrade"], "max");
        }
    }
    let signed_out = app.visitor().send_message("hi").await;
    assert_eq!(
        (signed_out.status(), problem(signed_out).await["kind"].as_str().unwrap()),
        (StatusCode::UNAUTHORIZED, "sign_in_required")
    );
    assert_eq!(eve.get(&format!("/chat/{conversation_id}")).await.status(), StatusCode::NOT_FOUND);
}

fn turn_id() -> uuid::Uuid {
    uuid::Uuid::now_v7()
}

/// Postgres can't store NUL characters, and a model may produce them.
#[tokio::test]
async fn nul_characters_are_removed() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    let all = ann.send_and_read("{{words:5}}{{nul}}").await;
    assert!(matches!(all.last(), Some((_, TurnEvent::Finish { outcome: Outcome::Finished, .. }))), "{all:?}");
    assert_eq!(words(&all), "word1 word2 word3 word4 word5 ");
    let mut visitor = app.visitor();
    let response = visitor.form("/sign-in", &[("email", "a\0b@example.com"), ("password", "long enough here")]).await;
    assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
}

/// A call that the provider refused leaves no turn behind, so the same message can be sent again with the same id.
#[tokio::test]
async fn refused_message_can_be_resent_with_its_turn_id() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    let body = json!({"model": "claude-haiku-4-5", "text": "{{status:529}}", "turn_id": uuid::Uuid::now_v7()});
    for _ in 0..2 {
        assert_eq!(ann.post(&body).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
    assert_eq!(ann.quota().await["requests"]["remaining"], 8, "each attempt called the provider");
}
