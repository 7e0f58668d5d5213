//! Requests with an `Idempotency-Key`.

use super::{CHAT, FORMATS, HAIKU, MESSAGES, MINI, Program, app, body, rows, until_called, usage_of};
use http::StatusCode;
use reqwest::Response;
use serde_json::{Value, json};

async fn send(program: &Program, key: &str, path: &str, body: &Value) -> Response {
    program.request("POST", path).header("idempotency-key", key).json(body).send().await.unwrap()
}

/// A finished answer is sent again, byte by byte, by every server, and its model is called once.
#[tokio::test]
async fn a_finished_answer_is_replayed() {
    let app = app().await;
    app.user("ann@example.com").await;
    let program = Program::of(&app, "ann@example.com").await;
    let (url, stop) = app.start_second().await;
    let there = Program { url, ..program.clone() };
    for path in FORMATS {
        for stream in [false, true] {
            let (key, request) = (format!("{path}-{stream}"), body(path, MINI, "{{words:5}}", stream));
            let first = send(&program, &key, path, &request).await;
            assert!(first.status() == StatusCode::OK && !first.headers().contains_key("idempotent-replayed"));
            let (content_type, first) = (first.headers()["content-type"].clone(), first.text().await.unwrap());
            let again = send(&there, &key, path, &request).await;
            assert_eq!(again.headers()["idempotent-replayed"], "true");
            assert_eq!(again.headers()["content-type"], content_type);
            assert_eq!(again.text().await.unwrap(), first, "{path} {stream}");
        }
    }
    assert_eq!(rows(&app).await.len(), 6);
    // Keys are per user: another user's program is answered by its own call.
    app.user("eve@example.com").await;
    let eve = Program::of(&app, "eve@example.com").await;
    let other = send(&eve, &format!("{CHAT}-false"), CHAT, &body(CHAT, MINI, "{{words:5}}", false)).await;
    assert!(other.status() == StatusCode::OK && !other.headers().contains_key("idempotent-replayed"));
    assert_eq!(rows(&app).await.len(), 7);
    // After a day the same key is a new request.
    app.sql("update api_call set created_at = created_at - interval '25 hours'").await;
    let late = send(&program, &format!("{CHAT}-false"), CHAT, &body(CHAT, MINI, "{{words:5}}", false)).await;
    assert!(late.status() == StatusCode::OK && !late.headers().contains_key("idempotent-replayed"));
    stop.cancel();
}

/// While the first request is answered, others with its key are refused, on every server. The program may go away meanwhile: the call goes on,
/// and its answer waits.
#[tokio::test]
async fn a_running_request_is_never_sent_twice() {
    let app = app().await;
    app.user("ann@example.com").await;
    let program = Program::of(&app, "ann@example.com").await;
    let (url, stop) = app.start_second().await;
    let text = "{{words:6}}{{hold}}";
    let request = body(MESSAGES, HAIKU, text, false);
    tokio::select! {
        response = send(&program, "one", MESSAGES, &request) => panic!("{response:?}"),
        () = until_called(&app, text) => {}
    }
    for url in [&app.url, &url] {
        let there = Program { url: url.clone(), ..program.clone() };
        let running = send(&there, "one", MESSAGES, &request).await;
        assert_eq!((running.status(), running.headers()["retry-after"].to_str().unwrap()), (StatusCode::CONFLICT, "2"));
        assert!(!running.headers().contains_key("x-should-retry"), "clients send it again by themselves");
        let other = send(&there, "one", MESSAGES, &body(MESSAGES, HAIKU, "another", false)).await;
        assert_eq!(
            (other.status(), other.headers()["x-should-retry"].to_str().unwrap()),
            (StatusCode::CONFLICT, "false")
        );
    }
    app.provider.release();
    app.until("select exists (select from api_call where body is not null)").await;
    let answer = send(&program, "one", MESSAGES, &request).await;
    assert_eq!(answer.headers()["idempotent-replayed"], "true");
    assert!(answer.text().await.unwrap().contains("word6"));
    let rows = rows(&app).await;
    assert_eq!((rows.len(), rows[0].status.as_str(), app.provider.call_count(text)), (1, "finished", 1));
    stop.cancel();
}

/// A request that wasn't answered can be sent again with its key.
#[tokio::test]
async fn a_request_without_an_answer_can_be_sent_again() {
    let app = app().await;
    app.user("ann@example.com").await;
    let program = Program::of(&app, "ann@example.com").await;
    for (text, status) in [("{{status:400}}", 400), ("{{words:9}}{{break:4}}", 502)] {
        for _ in 0..2 {
            let response = send(&program, "again", CHAT, &body(CHAT, HAIKU, text, false)).await;
            assert_eq!(response.status().as_u16(), status, "{text}");
        }
        assert_eq!(app.provider.call_count(text), 2);
    }
    let unknown = send(&program, "again", CHAT, &body(CHAT, "gpt-0", "hi", false)).await;
    assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
    let answered = send(&program, "again", CHAT, &body(CHAT, HAIKU, "{{words:1}}", false)).await;
    assert_eq!(answered.status(), StatusCode::OK);
    // A claim whose server died is taken over once its turn can't be running any more.
    app.sql("update api_call set body = null, status = null, content_type = null").await;
    let request = body(CHAT, HAIKU, "{{words:1}}", false);
    assert_eq!(send(&program, "again", CHAT, &request).await.status(), StatusCode::CONFLICT);
    app.sql("update api_call set created_at = created_at - interval '2 minutes'").await;
    assert_eq!(send(&program, "again", CHAT, &request).await.status(), StatusCode::OK);
}

/// A call that was cut off is read on, because its model may reason. The answer that is stored has the usage that the ledger gets then.
#[tokio::test]
async fn the_answer_of_a_cut_off_call_has_its_final_usage() {
    let app = app().await;
    app.user("ann@example.com").await;
    app.sql("update model set thinking = 'optional' where model = 'claude-haiku-4-5'").await;
    let program = Program::of(&app, "ann@example.com").await;
    let mut request = body(MESSAGES, HAIKU, "{{words:2000}}{{endless}}", false);
    request["max_tokens"] = json!(20);
    let first = send(&program, "cut", MESSAGES, &request).await.text().await.unwrap();
    let row = rows(&app).await.remove(0);
    assert_eq!((row.status.as_str(), row.usage_source.as_deref()), ("truncated", Some("exact")), "{row:?}");
    let again = send(&program, "cut", MESSAGES, &request).await.text().await.unwrap();
    assert_eq!(again, first);
    let answer: Value = serde_json::from_str(&again).unwrap();
    assert_eq!(usage_of(MESSAGES, &answer["usage"]), (row.input, row.output));
    assert_eq!(answer["stop_reason"], "max_tokens");
}
