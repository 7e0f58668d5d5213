//! Authentication by key and the loop breaker, over HTTP.

use super::create;
use crate::app::{HTTP, TestApp};
use http::StatusCode;
use reqwest::Response;
use serde_json::json;

async fn models(app: &TestApp, secret: &str) -> Response {
    HTTP.get(format!("{}/v1/models", app.url)).bearer_auth(secret).send().await.unwrap()
}

/// A key works in either header and in no URL. What ends it applies to the next request.
#[tokio::test]
async fn only_a_working_key_in_a_header_authenticates() {
    let app = TestApp::new().await;
    let mut ann = app.user("ann@example.com").await;
    let (id, secret) = create(&app, &mut ann, "Editor", &[]).await;
    assert_eq!(models(&app, &secret).await.status(), StatusCode::OK);
    let url = format!("{}/v1/models", app.url);
    let other_header = HTTP.get(&url).header("x-api-key", &secret).send().await.unwrap();
    assert_eq!(other_header.status(), StatusCode::OK);
    app.until("select last_used_at is not null from api_key").await;
    let other_end = if secret.ends_with('A') { 'E' } else { 'A' };
    for (what, response) in [
        ("none", HTTP.get(&url).send().await.unwrap()),
        ("another", models(&app, &format!("{}{other_end}", &secret[..secret.len() - 1])).await),
        ("a shorter one", models(&app, &secret[..20]).await),
        ("a cookie", ann.get("/v1/models").await),
    ] {
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{what}");
    }
    for query in [format!("key={secret}"), format!("q={secret}")] {
        let response = HTTP.get(format!("{url}?{query}")).bearer_auth(&secret).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "a key in the URL");
    }
    let path = format!("/settings/keys/{id}");
    for (form, status) in
        [("pause", StatusCode::FORBIDDEN), ("resume", StatusCode::OK), ("revoke", StatusCode::UNAUTHORIZED)]
    {
        ann.form(&format!("{path}/{form}"), &[]).await;
        assert_eq!(models(&app, &secret).await.status(), status, "{form}");
    }
    let (_, expired) = create(&app, &mut ann, "Short", &[]).await;
    app.sql("update api_key set expires_at = now() where name = 'Short'").await;
    assert_eq!(models(&app, &expired).await.status(), StatusCode::UNAUTHORIZED);
    // A key opens no page of the account.
    let page = HTTP.get(format!("{}/settings", app.url)).bearer_auth(&secret).send().await.unwrap();
    assert_eq!(page.status(), StatusCode::SEE_OTHER);
}

/// An address that guesses keys is refused, but not with a key that worked before.
#[tokio::test]
async fn many_unknown_keys_are_refused_before_they_cost_a_query() {
    let app = TestApp::new().await;
    let mut ann = app.user("ann@example.com").await;
    let (_, secret) = create(&app, &mut ann, "Editor", &[]).await;
    assert_eq!(models(&app, &secret).await.status(), StatusCode::OK);
    let mut statuses = Vec::new();
    for _ in 0..40 {
        statuses.push(models(&app, "sk-guess").await.status());
    }
    assert_eq!(statuses.iter().filter(|status| **status == StatusCode::UNAUTHORIZED).count(), 30);
    assert_eq!(statuses.last(), Some(&StatusCode::TOO_MANY_REQUESTS));
    assert_eq!(models(&app, &secret).await.status(), StatusCode::OK);
}

/// The same request many times in a minute is a loop on two servers together: it is refused, its user gets one mail, admins get an alert, and
/// the mail's link pauses the key.
#[tokio::test]
async fn a_loop_is_refused_and_reported_once() {
    let app = TestApp::with(&[("API_LOOP_REPEATS", "6")]).await;
    app.limits("free", 1_000, 1_000_000, 1_000).await;
    app.user("admin@example.com").await;
    let mut ann = app.user("ann@example.com").await;
    let (id, secret) = create(&app, &mut ann, "Editor", &[]).await;
    let (second, _stop) = app.start_second().await;
    let call = async |url: &str, text: &str| {
        let body =
            json!({"model": "claude-haiku-4-5", "max_tokens": 64, "messages": [{"role": "user", "content": text}]});
        let request = HTTP.post(format!("{url}/v1/chat/completions")).bearer_auth(&secret).json(&body);
        request.send().await.unwrap().status()
    };
    let mut statuses = Vec::new();
    for n in 0..12 {
        statuses.push(call([&app.url, &second][n % 2], "{{words:1}} again").await);
    }
    assert_eq!(statuses[..4], [StatusCode::OK; 4]);
    assert_eq!(statuses.last(), Some(&StatusCode::TOO_MANY_REQUESTS));
    assert_eq!(call(&app.url, "{{words:1}} another").await, StatusCode::TOO_MANY_REQUESTS, "the key is refused");
    let mails = "select count(*) from job where kind = 'mail' and payload->>'mail' = 'api_key_loop'";
    assert_eq!(app.one::<i64>(mails).await, 1);
    // A server checks alerts when it starts.
    let (_, _third) = app.start_second().await;
    app.until("select exists (select from alert where kind = 'api_key_loop')").await;
    let paused = ann.form(&format!("/settings/keys/{id}/pause"), &[]).await;
    assert_eq!(paused.status(), StatusCode::SEE_OTHER);
    app.sql("update api_key set tripped_until = now() - interval '1 second'").await;
    assert_eq!(call(&app.url, "{{words:1}} later").await, StatusCode::FORBIDDEN, "paused until it is resumed");
}
