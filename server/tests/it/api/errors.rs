//! Requests that are refused, in the shape of each format, and calls from web pages.

use super::{CHAT, FORMATS, HAIKU, MESSAGES, MINI, Program, RESPONSES, app, body, rows};
use crate::app::HTTP;
use domain::{ApiEndpoint, ModelName};
use http::StatusCode;
use reqwest::Response;
use serde_json::{Value, json};
use store::api_key::KeyScope;

/// Returns the status, type and code or param of an error, after checking its shape.
async fn error(path: &str, response: Response) -> (u16, String, Value) {
    let status = response.status().as_u16();
    let body: Value = response.json().await.unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{body}")).to_owned();
    assert!(!text(&body["error"]["message"]).contains("draft"), "{body}");
    if path.starts_with(MESSAGES) {
        assert!(body["type"] == "error" && body["request_id"].is_string(), "{body}");
    } else {
        assert!(body["error"].get("param").is_some() && body["error"].get("code").is_some(), "{body}");
    }
    (status, text(&body["error"]["type"]), body["error"]["code"].clone())
}

/// Each refusal has the status and the type that the format's clients know, and no provider is called.
#[tokio::test]
async fn refusals_have_the_shape_of_their_format() {
    let app = app().await;
    app.user("ann@example.com").await;
    let program = Program::of(&app, "ann@example.com").await;
    for path in FORMATS {
        let request = body(path, HAIKU, "hi", false);
        let none = HTTP.post(format!("{}{path}", app.url)).json(&request).send().await.unwrap();
        assert_eq!(error(path, none).await.0, 401);
        let wrong = Program { secret: "sk-wrong".to_owned(), ..program.clone() };
        let (status, kind, _) = error(path, wrong.post(path, &request).await).await;
        assert_eq!((status, kind.as_str()), (401, "authentication_error"));
        let (status, kind, _) = error(path, program.post(path, &body(path, "gpt-0", "hi", false)).await).await;
        let expected = if path == MESSAGES { "not_found_error" } else { "invalid_request_error" };
        assert_eq!((status, kind.as_str()), (404, expected), "{path}");
        let invalid = program.request("POST", path).body("{").send().await.unwrap();
        assert_eq!(error(path, invalid).await.1, "invalid_request_error");
        let (status, ..) = error(path, program.post(path, &body(path, "claude-opus-4-7", "hi", false)).await).await;
        assert_eq!(status, 402, "a model of a larger plan");
        let get = program.request("GET", path).send().await.unwrap();
        assert_eq!(error(path, get).await.0, 405);
        let query = HTTP.post(format!("{}{path}?api_key={}", app.url, program.secret)).json(&request).send();
        assert_eq!(error(path, query.await.unwrap()).await.0, 400, "a key in the URL");
        let mut many = request.clone();
        many["n"] = json!(3);
        let status = program.post(path, &many).await.status();
        assert!(path != CHAT || status == StatusCode::BAD_REQUEST, "fields that multiply the cost are refused");
    }
    let unknown = program.request("POST", "/v1/embeddings").json(&json!({})).send().await.unwrap();
    assert_eq!(error(CHAT, unknown).await.0, 404);
    assert!(rows(&app).await.iter().all(|row| row.model == HAIKU));
}

/// A model that its provider doesn't know is the format's error for a program, which named it, and no other model answers. The chat has its
/// fallback, and admins are alerted.
#[tokio::test]
async fn a_model_that_its_provider_does_not_know_is_not_replaced() {
    let app = app().await;
    app.sql("update model set fallback = 'claude-haiku-4-5' where model = 'gpt-5-mini'").await;
    let ann = app.user("ann@example.com").await;
    let program = Program::of(&app, "ann@example.com").await;
    for path in FORMATS {
        for refusal in ["{{unknown}}", "{{fixture:59-unknown-model-as-bad-request}}"] {
            let text = format!("{refusal}{{{{only:gpt-5-mini}}}}{{{{words:3}}}}");
            let (status, kind, code) = error(path, program.post(path, &body(path, MINI, &text, false)).await).await;
            let expected = match path {
                MESSAGES => ("not_found_error", Value::Null),
                _ => ("invalid_request_error", "model_not_found".into()),
            };
            assert_eq!((status, (kind.as_str(), code)), (404, expected), "{path} {refusal}");
        }
    }
    assert!(rows(&app).await.iter().all(|row| row.model == MINI && row.input + row.output == 0));
    // After other failures the fallback answers.
    program.ask(CHAT, MINI, "{{fixture:52-html}}{{only:gpt-5-mini}}{{words:3}}").await;
    let question = json!({"text": "{{unknown}}{{only:gpt-5-mini}}{{words:3}}", "model": MINI});
    ann.post(&question).await.text().await.unwrap();
    for purpose in ["api", "chat"] {
        let answered = "select exists (select from ai_usage where purpose = $1 and call_no = 2 and model = $2 and status = 'finished')";
        assert!(sqlx::query_scalar::<_, bool>(answered).bind(purpose).bind(HAIKU).fetch_one(&app.db).await.unwrap());
    }
    app.until("select exists (select from alert where kind = 'unknown_model' and about = 'gpt-5-mini')").await;
}

/// A key is limited to its models and endpoints, belongs to its user, and never works again once it is revoked, on any server.
#[tokio::test]
async fn keys_are_limited_to_their_scope() {
    let app = app().await;
    app.user("ann@example.com").await;
    let scope = KeyScope {
        models: Some(vec![ModelName(MINI.to_owned())]),
        endpoints: Some(vec![ApiEndpoint::ChatCompletions, ApiEndpoint::Models]),
        ..KeyScope::default()
    };
    let program = Program::with(&app, "ann@example.com", scope).await;
    program.ask(CHAT, MINI, "{{words:1}}").await;
    for (path, model) in [(CHAT, HAIKU), (RESPONSES, MINI), (MESSAGES, MINI)] {
        let (status, kind, _) = error(path, program.post(path, &body(path, model, "hi", false)).await).await;
        assert_eq!((status, kind.as_str()), (403, "permission_error"), "{path} {model}");
    }
    let list: Value = program.request("GET", "/v1/models").send().await.unwrap().json().await.unwrap();
    assert_eq!(list["data"].as_array().unwrap().iter().map(|model| &model["id"]).collect::<Vec<_>>(), [MINI]);
    // Another user doesn't find the call.
    let turn = app.one::<uuid::Uuid>("select turn_id from turn").await;
    let eve = app.user("eve@example.com").await;
    for path in [format!("/api/turns/{turn}"), format!("/api/turns/{turn}/events")] {
        assert_eq!(eve.get(&path).await.status(), StatusCode::NOT_FOUND);
    }
    let (url, stop) = app.start_second().await;
    let there = Program { url, ..program.clone() };
    there.ask(CHAT, MINI, "{{words:1}} there").await;
    app.sql("update api_key set revoked_at = now()").await;
    for program in [&program, &there] {
        let (status, ..) = error(CHAT, program.post(CHAT, &body(CHAT, MINI, "hi", false)).await).await;
        assert_eq!(status, 401);
    }
    stop.cancel();
}

/// The switches of the owner and the state of the account apply to API calls as to the chat.
#[tokio::test]
async fn switches_hold_for_programs() {
    let app = app().await;
    app.unverified_user("ann@example.com").await;
    let program = Program::of(&app, "ann@example.com").await;
    let refused = async |status: u16, part: &str| {
        let response = program.post(MESSAGES, &body(MESSAGES, HAIKU, "hi", false)).await;
        assert_eq!(response.status().as_u16(), status, "{part}");
        let problem: Value = response.json().await.unwrap();
        assert!(problem["error"]["message"].as_str().unwrap().contains(part), "{problem}");
    };
    refused(403, "Confirm your email address").await;
    app.verify("ann@example.com").await;
    app.sql("update account set paused_at = now()").await;
    refused(403, "paused").await;
    app.sql("update account set paused_at = null; update deployment set paused = true").await;
    refused(529, "switched off").await;
    app.sql("update deployment set paused = false; update plan set api_keys = 0").await;
    refused(402, "doesn't include the API").await;
    app.sql("update plan set api_keys = 1").await;
    program.ask(MESSAGES, HAIKU, "{{words:1}}").await;
    assert_eq!(rows(&app).await.len(), 1);
}

/// Web pages can't call, unless the key lists their origin.
#[tokio::test]
async fn web_pages_need_an_origin_that_the_key_lists() {
    let app = app().await;
    app.user("ann@example.com").await;
    let scope = KeyScope { allowed_origins: vec!["https://app.example.com".to_owned()], ..KeyScope::default() };
    let program = Program::with(&app, "ann@example.com", scope).await;
    let preflight = async |origin: &str| {
        let request = HTTP.request(http::Method::OPTIONS, format!("{}{CHAT}", app.url));
        let request = request.header("origin", origin).header("access-control-request-method", "POST");
        request.header("access-control-request-headers", "authorization, x-stainless-os").send().await.unwrap()
    };
    let allowed = preflight("https://app.example.com").await;
    assert_eq!(allowed.status(), StatusCode::NO_CONTENT);
    assert_eq!(allowed.headers()["access-control-allow-origin"], "https://app.example.com");
    assert_eq!(allowed.headers()["access-control-allow-headers"], "authorization, x-stainless-os");
    let other = preflight("https://evil.example.com").await;
    assert!(other.status() == StatusCode::FORBIDDEN && !other.headers().contains_key("access-control-allow-origin"));
    for (origin, is_allowed) in [("https://app.example.com", true), ("https://evil.example.com", false)] {
        let request = program.request("POST", CHAT).header("origin", origin);
        let response =
            request.json(&body(CHAT, HAIKU, &format!("{{{{words:1}}}} {origin}"), false)).send().await.unwrap();
        let found = response.headers().get("access-control-allow-origin").is_some_and(|found| found == origin);
        assert_eq!((found, response.status().is_success()), (is_allowed, is_allowed), "{origin}");
        assert!(!response.headers().contains_key("set-cookie"));
    }
    assert_eq!(rows(&app).await.len(), 1, "a call that its page can't read is not made");
}
