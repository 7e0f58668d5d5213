//! The messages of a conversation on its page, and what became of its turns.

use super::begun;
use crate::app::TestApp;
use crate::visitor::{TestClient, problem};
use domain::TurnEvent;
use http::StatusCode;
use serde_json::{Value, json};

/// Adds messages to the only conversation, alternating between the user and the model, from "line 1" on.
async fn add_lines(app: &TestApp, lines: i32) {
    let sql = "insert into message (message_id, parent_id, conversation_id, turn_id, role, body, status, model, created_at)
               select ('01900000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid,
                      case when n > 0 then ('01900000-0000-7000-8000-' || lpad(to_hex(n - 1), 12, '0'))::uuid end, conversation_id,
                      ('01900000-0000-7000-9000-' || lpad(to_hex(n / 2), 12, '0'))::uuid,
                      case when n % 2 = 0 then 'user' else 'assistant' end, 'line ' || n || '.', 'finished',
                      case when n % 2 = 1 then 'claude-haiku-4-5' end, now()
               from conversation, generate_series(0, $1 - 1) n";
    sqlx::query(sql).bind(lines).execute(&app.db).await.unwrap();
    app.sql("update conversation set leaf_id = (select message_id from message order by message_id desc limit 1)")
        .await;
}

/// Returns the numbers of the lines in a part of the page, and the address of the part before it.
fn lines(part: &str) -> (Vec<i32>, Option<String>) {
    let after = |text: &str, end: char| text.split(end).next().unwrap_or_default().to_owned();
    // The text of the user's last message is also in an attribute.
    let numbers = part.split(">line ").skip(1).map(|rest| after(rest, '.').parse().unwrap()).collect();
    let link = part.split("data-fragment=\"").nth(1).map(|rest| after(rest, '"'));
    (numbers, link)
}

/// A conversation of 2,000 messages: its page has the latest 50, and earlier ones are loaded 50 at a time until all of them were.
#[tokio::test]
async fn long_conversations_are_loaded_in_parts() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    let first = ann.send_and_read("{{words:1}}").await;
    let TurnEvent::Turn { conversation_id, .. } = &first[0].1 else { panic!() };
    sqlx::query("delete from message").execute(&app.db).await.unwrap();
    add_lines(&app, 2_000).await;
    let page = ann.text(&format!("/chat/{conversation_id}")).await;
    let (shown, earlier) = lines(&page);
    assert_eq!(shown, (1_950..2_000).collect::<Vec<_>>());
    assert!(page.contains(&format!("href=\"/chat/{conversation_id}?before=")), "a link without JavaScript");
    let fragment = ann.text(&format!("/chat/{conversation_id}/messages")).await;
    assert_eq!(lines(&fragment), (shown.clone(), earlier.clone()));
    assert!(!fragment.contains("<html"), "only the messages: {fragment}");
    let (mut all, mut next, mut parts) = (shown, earlier, 1);
    while let Some(path) = next {
        let (shown, earlier) = lines(&ann.text(&path).await);
        all = shown.into_iter().chain(all).collect();
        (next, parts) = (earlier, parts + 1);
    }
    assert_eq!((all, parts), ((0..2_000).collect::<Vec<_>>(), 40));
    // The same part as a page of its own.
    let before = "select message_id from message order by message_id desc offset 49 limit 1";
    let before: uuid::Uuid = app.one(before).await;
    let (shown, _) = lines(&ann.text(&format!("/chat/{conversation_id}?before={before}")).await);
    assert_eq!(shown, (1_900..1_950).collect::<Vec<_>>());
}

#[tokio::test]
async fn messages_are_shown_to_their_owner_only() {
    let app = TestApp::new().await;
    let (ann, eve) = (app.user("ann@example.com").await, app.user("eve@example.com").await);
    let all = ann.send_and_read("{{words:2}}").await;
    let TurnEvent::Turn { conversation_id, .. } = &all[0].1 else { panic!() };
    let path = format!("/chat/{conversation_id}/messages");
    let response = ann.get(&path).await;
    assert_eq!(response.headers()["content-type"], "text/html; charset=utf-8");
    assert_eq!(response.headers()["cache-control"], "private, no-store");
    assert!(response.text().await.unwrap().contains("word1 word2"));
    for (reader, path, status, kind) in [
        (&eve, path.clone(), StatusCode::NOT_FOUND, "not_found"),
        (&app.visitor(), path.clone(), StatusCode::UNAUTHORIZED, "sign_in_required"),
        (&ann, format!("{path}?before=1"), StatusCode::UNPROCESSABLE_ENTITY, "invalid"),
        (&ann, "/chat/1/messages".to_owned(), StatusCode::NOT_FOUND, "not_found"),
    ] {
        let response = reader.get(&path).await;
        assert_eq!(response.status(), status, "{path}");
        assert_eq!(problem(response).await["kind"], kind, "{path}");
    }
}

async fn status(reader: &TestClient, turn: &str) -> Value {
    let response = reader.get(&format!("/api/turns/{turn}")).await;
    assert_eq!(response.status(), StatusCode::OK);
    response.json().await.unwrap()
}

/// Field notes 75 and 83: a page learns what became of its turn before it sends anything again, and which turn another tab has started.
#[tokio::test]
async fn a_turn_has_a_status() {
    let app = TestApp::new().await;
    let (ann, eve) = (app.user("ann@example.com").await, app.user("eve@example.com").await);
    let (mut reading, turn) = begun(&ann, "{{words:9}}{{hold:3}}").await;
    let running = status(&ann, &turn).await;
    assert_eq!((&running["state"], running.get("message_id")), (&json!("running"), None));
    let text = format!("/api/turns/{turn}/text");
    assert_eq!(ann.get(&text).await.status(), StatusCode::NOT_FOUND, "there is no response yet");
    assert_eq!(running["latest"], json!({"turn_id": turn, "running": true, "label": "Claude Haiku 4.5"}));
    app.provider.release();
    while reading.next().await.is_some() {}
    let ended = status(&ann, &turn).await;
    let message: uuid::Uuid = app.one("select message_id from message where role = 'assistant'").await;
    assert_eq!((&ended["state"], &ended["message_id"]), (&json!("ended"), &json!(message)));
    assert_eq!(ended["conversation_id"], running["conversation_id"]);
    // Its text is the Markdown that the model wrote, for its user only.
    let response = ann.get(&text).await;
    assert_eq!(response.headers()["content-type"], "text/plain; charset=utf-8");
    let body: String = app.one("select body from message where role = 'assistant'").await;
    assert_eq!(response.text().await.unwrap(), body);
    assert_eq!(eve.get(&text).await.status(), StatusCode::NOT_FOUND);
    // A second turn of the same conversation is its latest.
    let body = json!({"model": "gpt-5-mini", "text": "{{words:2}}", "conversation_id": ended["conversation_id"]});
    let second = crate::visitor::events(ann.post(&body).await).await;
    let TurnEvent::Turn { turn_id, .. } = &second[0].1 else { panic!() };
    let again = status(&ann, &turn).await;
    assert_eq!((&again["latest"]["turn_id"], &again["latest"]["running"]), (&json!(turn_id), &json!(false)));
    for (reader, turn) in [(&eve, turn), (&ann, uuid::Uuid::now_v7().to_string()), (&ann, "1".to_owned())] {
        let response = reader.get(&format!("/api/turns/{turn}")).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{turn}");
        assert_eq!(problem(response).await["kind"], "not_found");
    }
    assert_eq!(app.visitor().get("/api/turns/1").await.status(), StatusCode::UNAUTHORIZED);
}

/// A turn whose server is gone isn't reported as ended before its end is recorded, because sending it again would be paid twice.
#[tokio::test]
async fn a_turn_is_running_until_its_end_is_recorded() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    let all = ann.send_and_read("{{words:2}}").await;
    let TurnEvent::Turn { turn_id, .. } = &all[0].1 else { panic!() };
    app.sql("update turn set ended_at = null, alive_until = now() - interval '1 minute'").await;
    assert_eq!(status(&ann, &turn_id.to_string()).await["state"], "ended", "its response is stored");
    app.sql("delete from message where role = 'assistant'").await;
    assert_eq!(status(&ann, &turn_id.to_string()).await["state"], "running");
    app.sql("delete from conversation").await;
    assert_eq!(status(&ann, &turn_id.to_string()).await, json!({"state": "ended"}));
}
