//! Shared links and exports of conversations.

use crate::app::TestApp;
use crate::visitor::{TestClient, problem};
use domain::TurnEvent;
use http::{StatusCode, header};
use serde_json::{Value, json};

/// Sends a message in a new conversation, and returns the conversation's id and the response's text.
pub async fn conversation(client: &TestClient, text: &str) -> (String, String) {
    let events = client.send_and_read(text).await;
    let Some((_, TurnEvent::Turn { conversation_id, .. })) = events.first() else { panic!("no turn") };
    (conversation_id.to_string(), crate::visitor::words(&events))
}

/// Creates a link as the browser does. Returns its path and its id.
async fn share(client: &TestClient, conversation: &str, expires: &str) -> (String, String) {
    let path = format!("/chat/{conversation}/share");
    let response = client.request("POST", &path).json(&json!({"expires": expires})).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let created: Value = response.json().await.unwrap();
    let url = created["url"].as_str().unwrap();
    let path = url.split_once("/share/").unwrap().1;
    (format!("/share/{path}"), created["share_id"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_link_shows_a_copy_and_nothing_of_any_account() {
    let app = TestApp::new().await;
    let (ann, eve) = (app.user("ann@example.com").await, app.user("eve@example.com").await);
    let (id, answer) = conversation(&ann, "A question of ours {{words:4}}").await;
    let (path, _) = share(&ann, &id, "never").await;
    ann.post(&json!({"conversation_id": id, "text": "Later {{words:2}}"})).await.text().await.unwrap();
    let secrets: Vec<String> = vec![
        id.clone(),
        "ann@example.com".to_owned(),
        "eve@example.com".to_owned(),
        "Later".to_owned(),
        app.one::<uuid::Uuid>("select user_id from account where email = 'ann@example.com'").await.to_string(),
        app.one::<uuid::Uuid>("select turn_id from message order by message_id limit 1").await.to_string(),
    ];
    for reader in [&app.visitor(), &eve, &ann] {
        let response = reader.get(&path).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["x-robots-tag"], "noindex, nofollow, noarchive");
        assert_eq!(response.headers()[header::CACHE_CONTROL], "private, no-store");
        assert!(!response.headers().contains_key(header::SET_COOKIE));
        let page = response.text().await.unwrap();
        assert!(
            page.contains("A question of ours") && page.contains(answer.trim()) && page.contains("Claude Haiku 4.5")
        );
        assert!(page.contains("name=\"robots\" content=\"noindex\"") && page.contains("Sign in"), "as for a visitor");
        for secret in &secrets {
            assert!(!page.contains(secret), "{secret}");
        }
    }
    let token = path.trim_start_matches("/share/");
    assert_eq!(token.len(), 43);
    let rows: String = app.one("select jsonb_agg(to_jsonb(s))::text from share s").await;
    assert!(!rows.contains(token), "only the hash is stored");
    // The link of a temporary chat would end with it.
    app.sql("update conversation set is_temporary = true").await;
    let refused = ann.request("POST", &format!("/chat/{id}/share")).json(&json!({"expires": "never"}));
    assert_eq!(refused.send().await.unwrap().status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert!(!ann.text(&format!("/chat/{id}")).await.contains("share-form"));
}

#[tokio::test]
async fn a_link_ends_when_it_is_revoked_expires_or_loses_its_conversation() {
    let app = TestApp::new().await;
    let mut ann = app.user("ann@example.com").await;
    let eve = app.user("eve@example.com").await;
    let (id, _) = conversation(&ann, "{{words:2}}").await;
    let status = async |path: &str| app.visitor().get(path).await.status();

    let (path, share_id) = share(&ann, &id, "1").await;
    let revoke = format!("/settings/shares/{share_id}/revoke");
    let refused = eve.request("POST", &revoke).send().await.unwrap();
    assert_eq!((refused.status(), status(&path).await), (StatusCode::NOT_FOUND, StatusCode::OK));
    assert!(!eve.text("/settings/shares").await.contains(&share_id));
    assert!(ann.text("/settings/shares").await.contains(&share_id));
    let done = ann.form(&revoke, &[]).await;
    assert_eq!(done.headers()[header::LOCATION], "/settings/shares?saved=revoked");
    assert_eq!(status(&path).await, StatusCode::NOT_FOUND);

    let (path, _) = share(&ann, &id, "30").await;
    app.sql("update account set paused_at = now() where email = 'ann@example.com'").await;
    assert_eq!(status(&path).await, StatusCode::NOT_FOUND, "of a paused account");
    app.sql("update account set paused_at = null; update share set expires_at = now() - interval '1 second'").await;
    assert_eq!(status(&path).await, StatusCode::GONE);
    app.sql(
        "update share set expires_at = null, html_version = 0, content = jsonb_set(content, '{0,html}', '\"old\"')",
    )
    .await;
    assert!(!app.visitor().text(&path).await.contains(">old<"), "rendered again");
    app.sql("delete from conversation").await;
    assert_eq!(status(&path).await, StatusCode::NOT_FOUND);
    for path in ["/share/x", "/share/AAAA", &format!("/share/{}", "A".repeat(43))] {
        assert_eq!(status(path).await, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn links_are_created_without_javascript_too() {
    let app = TestApp::new().await;
    let mut ann = app.user("ann@example.com").await;
    let (id, _) = conversation(&ann, "{{words:2}}").await;
    let path = format!("/chat/{id}/share");
    let page = ann.form(&path, &[("expires", "7")]).await;
    assert_eq!(page.status(), StatusCode::OK);
    let page = page.text().await.unwrap();
    let link = page.split("/share/").nth(1).unwrap().split('"').next().unwrap();
    assert_eq!(app.visitor().get(&format!("/share/{link}")).await.status(), StatusCode::OK);
    assert!(!ann.text("/settings/shares").await.contains(link), "shown once");
    let invalid = ann.form(&path, &[("expires", "365")]).await;
    assert_eq!(invalid.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert!(invalid.text().await.unwrap().contains("Choose when the link expires."));

    app.sql("update account set email_verified_at = null").await;
    let refused = ann.request("POST", &path).json(&json!({"expires": "7"})).send().await.unwrap();
    assert_eq!(problem(refused).await["kind"], "verify_email");
    app.sql("update account set email_verified_at = now(); insert into share (share_id, user_id, conversation_id, token_hash, title, content, html_version)
             select gen_random_uuid(), user_id, conversation_id, sha256(n::text::bytea), '', '[]', 1 from conversation, generate_series(1, 199) n")
        .await;
    let refused = ann.request("POST", &path).json(&json!({"expires": "7"})).send().await.unwrap();
    assert!(problem(refused).await["message"].as_str().unwrap().contains("200 shared links"));
}

#[tokio::test]
async fn a_conversation_is_exported_as_markdown_and_json() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    let (id, answer) = conversation(&ann, "First {{words:3}}").await;
    let response = ann.get(&format!("/chat/{id}/export?format=md")).await;
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/markdown; charset=utf-8");
    let name = response.headers()[header::CONTENT_DISPOSITION].to_str().unwrap();
    assert!(name.starts_with("attachment; filename=\"conversation-") && name.ends_with(".md\""), "{name}");
    let markdown = response.text().await.unwrap();
    assert!(markdown.starts_with("# ") && markdown.contains("First {{words:3}}") && markdown.contains(answer.trim()));
    let json: Value = ann.get(&format!("/chat/{id}/export?format=json")).await.json().await.unwrap();
    assert_eq!(
        (&json["format"], &json["version"], &json["conversation_id"]),
        (&json!("conversation"), &json!(1), &json!(id))
    );
    let messages = json["messages"].as_array().unwrap();
    assert_eq!((messages.len(), &messages[1]["message_id"]), (2, &json["leaf_id"]));
    assert_eq!((&messages[0]["parent_id"], &messages[1]["parent_id"]), (&Value::Null, &messages[0]["message_id"]));
    for format in ["pdf", ""] {
        let refused = ann.get(&format!("/chat/{id}/export?format={format}")).await;
        assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
    }
}
