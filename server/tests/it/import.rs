//! Imports of conversations: from this app, ChatGPT and Claude.

use crate::app::TestApp;
use crate::share::conversation;
use crate::visitor::{TestClient, events};
use http::{StatusCode, header};
use reqwest::Response;
use serde_json::{Value, json};

/// Uploads a file with the form of the page.
async fn upload(client: &TestClient, bytes: &[u8]) -> Response {
    let head = "--boundary\r\ncontent-disposition: form-data; name=\"file\"; filename=\"export\"\r\n\r\n";
    let body = [head.as_bytes(), bytes, b"\r\n--boundary--\r\n"].concat();
    let request = client.request("POST", "/settings/import").body(body);
    request.header(header::CONTENT_TYPE, "multipart/form-data; boundary=boundary").send().await.unwrap()
}

/// Imports a file, and returns the page that lists the import.
async fn import(client: &TestClient, bytes: &[u8]) -> String {
    let response = upload(client, bytes).await;
    assert_eq!(
        (response.status(), &response.headers()[header::LOCATION]),
        (StatusCode::SEE_OTHER, &"/settings/import".parse().unwrap())
    );
    loop {
        let page = client.text("/settings/import").await;
        if !page.contains("In progress") {
            return page;
        }
    }
}

const CLAUDE: &str = r#"[{"uuid": "c", "name": "Leases", "created_at": "2026-03-29T07:06:35Z", "updated_at": "2026-03-29T08:00:00Z",
    "chat_messages": [
      {"uuid": "q", "sender": "human", "text": "How does it end?", "parent_message_uuid": "00000000-0000-4000-8000-000000000000"},
      {"uuid": "a", "sender": "assistant", "text": "By notice.", "parent_message_uuid": "q"},
      {"uuid": "b", "sender": "assistant", "text": "In writing.", "parent_message_uuid": "q"}]},
    {"uuid": "empty", "name": "", "chat_messages": []}]"#;

#[tokio::test]
async fn an_import_is_written_once_counts_nothing_and_can_be_continued() {
    let app = TestApp::new().await;
    let (ann, eve) = (app.user("ann@example.com").await, app.user("eve@example.com").await);
    let page = import(&ann, CLAUDE.as_bytes()).await;
    assert!(page.contains("Imported 1 conversation with 3 messages. 1 skipped"), "{page}");
    let page = import(&ann, CLAUDE.as_bytes()).await;
    assert!(page.contains("Imported 0 conversations with 0 messages. 1 already here."), "{page}");
    let eves = import(&eve, CLAUDE.as_bytes()).await;
    assert!(eves.contains("Imported 1 conversation") && !eves.contains("already here"), "of each user apart");
    assert_eq!(app.one::<i64>("select (select count(*) from ai_usage) + (select count(*) from turn)").await, 0);
    assert_eq!(ann.quota().await["tokens"]["used"], 0);
    // The days for which conversations are kept begin with the import.
    app.sql("update deployment set retention_days = 1").await;
    let erased = async |days| {
        let then = time::OffsetDateTime::now_utc() + time::Duration::days(days);
        store::retention::erase_expired(&app.store, then, 10).await.unwrap()
    };
    assert_eq!(erased(0).await, 0);
    app.sql("update deployment set retention_days = null").await;

    let id: uuid::Uuid = app
        .one("select conversation_id from conversation join account using (user_id) where email = 'ann@example.com'")
        .await;
    let page = ann.text(&format!("/chat/{id}")).await;
    assert!(page.contains("How does it end?") && page.contains("In writing.") && !page.contains("By notice."));
    assert_eq!(eve.get(&format!("/chat/{id}")).await.status(), StatusCode::NOT_FOUND);
    // A file may name any model, so its responses aren't rated.
    assert!(!ann.text(&format!("/chat/{id}/messages")).await.contains("data-good"));
    let imported: uuid::Uuid = app.one("select turn_id from message where role = 'assistant' limit 1").await;
    let rated = ann.request("POST", &format!("/api/turns/{imported}/feedback")).json(&json!({"good": true}));
    assert_eq!(rated.send().await.unwrap().status(), StatusCode::NOT_FOUND);
    events(ann.post(&json!({"conversation_id": id, "text": "{{words:2}}", "model": "claude-haiku-4-5"})).await).await;
    assert_eq!(app.provider.served_calls()[0].messages, 3);
    app.sql("update deployment set retention_days = 1").await;
    assert_eq!(erased(2).await, 2);
}

/// Postgres can't store a NUL, and would refuse the whole file.
#[tokio::test]
async fn a_file_with_nul_characters_is_imported_without_them() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    let file = r#"[{"uuid": "c\u0000", "name": "Title\u0000", "model": "m\u0000", "chat_messages": [
        {"uuid": "q\u0000", "sender": "human", "text": "Q\u0000"},
        {"uuid": "a", "sender": "assistant", "text": "A\u0000", "parent_message_uuid": "q\u0000"}]}]"#;
    let page = import(&ann, file.as_bytes()).await;
    assert!(page.contains("Imported 1 conversation with 2 messages"), "{page}");
    assert_eq!(app.one::<String>("select model || body from message where role = 'assistant'").await, "mA");
}

/// An imported conversation that begins with a response can be continued, although providers accept only a user's message there.
#[tokio::test]
async fn a_conversation_that_begins_with_a_response_can_be_continued() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    let greeting = r#"[{"uuid": "c", "name": "Greeting", "chat_messages": [
        {"uuid": "a", "sender": "assistant", "text": "Welcome to the course."},
        {"uuid": "q", "sender": "human", "text": "Thanks."},
        {"uuid": "b", "sender": "assistant", "text": "Shall we begin?"}]}]"#;
    assert!(import(&ann, greeting.as_bytes()).await.contains("with 3 messages"));
    let id: uuid::Uuid = app.one("select conversation_id from conversation").await;
    events(ann.post(&json!({"conversation_id": id, "text": "{{words:2}}", "model": "claude-haiku-4-5"})).await).await;
    assert!(app.provider.violations().is_empty(), "{:?}", app.provider.violations());
    let sent = app.provider.served_calls().remove(0).sent;
    assert!(
        sent[0].role == "user" && sent[0].text.contains("Welcome to the course.") && sent[0].text.contains("Thanks.")
    );
}

/// The second of two messages without a response between them can be edited.
#[tokio::test]
async fn a_message_after_one_without_a_response_can_be_edited() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    let two = r#"[{"uuid": "c", "name": "Two", "chat_messages": [
        {"uuid": "1", "sender": "human", "text": "First."}, {"uuid": "2", "sender": "human", "text": "Second."}]}]"#;
    assert!(import(&ann, two.as_bytes()).await.contains("with 2 messages"));
    let id: uuid::Uuid = app.one("select conversation_id from conversation").await;
    let first: uuid::Uuid = app.one("select message_id from message where body = 'First.'").await;
    let second: uuid::Uuid = app.one("select message_id from message where body = 'Second.'").await;
    let edit = json!({"conversation_id": id, "text": "{{words:1}} Third.", "model": "claude-haiku-4-5", "parent_id": first, "edit_of": second});
    events(ann.post(&edit).await).await;
    assert_eq!(app.provider.served_calls().remove(0).sent[0].text.trim(), "First.\n\n{{words:1}} Third.");
}

/// Returns each message of an exported conversation as its role, its text and that of its parent, whatever their ids.
fn tree(json: &Value) -> Vec<(Value, Value, Value)> {
    let messages = json["messages"].as_array().unwrap();
    let text_of = |id: &Value| {
        messages.iter().find(|one| one["message_id"] == *id).map_or(Value::Null, |one| one["text"].clone())
    };
    messages.iter().map(|one| (one["role"].clone(), one["text"].clone(), text_of(&one["parent_id"]))).collect()
}

#[tokio::test]
async fn an_export_is_imported_into_another_account_as_it_was() {
    let app = TestApp::new().await;
    let (ann, bob) = (app.user("ann@example.com").await, app.user("bob@example.com").await);
    let (id, _) = conversation(&ann, "First {{words:3}}").await;
    conversation(&ann, "Another {{words:2}}").await;
    let exported = ann.get(&format!("/chat/{id}/export?format=json")).await.text().await.unwrap();
    assert!(import(&ann, exported.as_bytes()).await.contains("1 already here"), "it is in the account");
    assert!(import(&bob, exported.as_bytes()).await.contains("Imported 1 conversation with 2 messages."));
    let copy: uuid::Uuid = app.one("select conversation_id from conversation where import_hash is not null").await;
    let copied: Value = bob.get(&format!("/chat/{copy}/export?format=json")).await.json().await.unwrap();
    let exported: Value = serde_json::from_str(&exported).unwrap();
    assert_eq!(tree(&copied), tree(&exported));
    assert_eq!((&copied["title"], &copied["updated_at"]), (&exported["title"], &exported["updated_at"]));

    let zip = ann.request("POST", "/settings/data/conversations.zip").send().await.unwrap();
    assert_eq!(zip.headers()[header::CONTENT_TYPE], "application/zip");
    let page = import(&bob, &zip.bytes().await.unwrap()).await;
    assert!(page.contains("Imported 1 conversation with 2 messages. 1 already here."), "{page}");
}

#[tokio::test]
async fn files_that_cannot_be_imported_are_refused_in_words() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    for (bytes, message) in [
        (b"<html>".as_slice(), "isn&#x27;t JSON"),
        (b"PK\x03\x04".as_slice(), "The ZIP is damaged."),
        (b"{\"a\": \"private\"}".as_slice(), "isn&#x27;t a supported export"),
    ] {
        let page = import(&ann, bytes).await;
        assert!(page.replace('\'', "&#x27;").replace("&#39;", "&#x27;").contains(message), "{message}: {page}");
    }
    for (bytes, message) in [(Vec::new(), "Choose a file."), (vec![b' '; 51 * 1024 * 1024], "larger than 50 MB")] {
        let response = upload(&ann, &bytes).await;
        assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
        assert!(response.text().await.unwrap().contains(message), "{message}");
    }
    app.sql("insert into import (import_id, user_id, alive_until) select gen_random_uuid(), user_id, now() + interval '1 minute' from account").await;
    let refused = upload(&ann, CLAUDE.as_bytes()).await;
    assert_eq!(refused.status(), StatusCode::CONFLICT);
    app.sql("update import set alive_until = now() - interval '1 second' where status = 'running'").await;
    assert!(import(&ann, CLAUDE.as_bytes()).await.contains("The import was interrupted."));
}

/// Imported text and shared copies count towards the storage of the plan. What doesn't fit is refused in words, and fits once there is room.
#[tokio::test]
async fn imported_text_and_shared_copies_count_towards_the_storage() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    // The file has 37 bytes of text.
    app.sql("update plan set storage_bytes = 36").await;
    let page = import(&ann, CLAUDE.as_bytes()).await;
    assert!(page.contains("Your storage is full") && page.contains("import the rest"), "{page}");
    assert_eq!(app.one::<i64>("select count(*) from conversation").await, 0);
    app.sql("update plan set storage_bytes = 37").await;
    let page = import(&ann, CLAUDE.as_bytes()).await;
    assert!(page.contains("Imported 1 conversation with 3 messages."), "{page}");
    assert_eq!(app.one::<i64>("select imported_bytes from conversation").await, 37);
    // What is in the account already needs no room.
    let page = import(&ann, CLAUDE.as_bytes()).await;
    assert!(page.contains("Imported 0 conversations with 0 messages. 1 already here."), "{page}");
    let id: uuid::Uuid = app.one("select conversation_id from conversation").await;
    let share = async || {
        let request = ann.request("POST", &format!("/chat/{id}/share"));
        request.json(&json!({"expires": "7"})).send().await.unwrap()
    };
    let refused = share().await;
    assert_eq!(refused.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let refused: Value = refused.json().await.unwrap();
    assert!(refused["problem"]["message"].as_str().unwrap().contains("storage is full"), "{refused}");
    app.sql("update plan set storage_bytes = 10000").await;
    assert_eq!(share().await.status(), StatusCode::OK);
    let used = "select (imported_bytes + bytes)::bigint from conversation join share using (conversation_id)";
    let (used, owner) = (app.one::<i64>(used).await, app.one::<uuid::Uuid>("select user_id from share").await);
    let storage = store::attachment::storage(&app.store, owner.into()).await.unwrap();
    assert!(used > 37 && storage.used == u64::try_from(used).unwrap(), "{storage:?}");
}
