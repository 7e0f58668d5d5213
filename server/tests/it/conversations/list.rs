//! The sidebar's list, and the forms that rename, pin, archive, delete and restore a conversation.

use super::{conversation, title};
use crate::app::TestApp;
use crate::visitor::{TestClient, problem};
use http::StatusCode;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

/// Returns the conversations of a part of the page, in order.
fn entries(part: &str) -> Vec<Uuid> {
    let ids = part.split("data-entry=\"").skip(1).filter_map(|rest| rest.get(..36));
    // The template of new rows has no id.
    ids.filter_map(|id| id.parse().ok()).collect()
}

/// Returns an attribute's value, as a browser reads it.
fn attribute(part: &str, name: &str) -> Option<String> {
    let rest = part.split(&format!(" {name}=\"")).nth(1)?;
    Some(rest.split('"').next()?.replace("&amp;", "&"))
}

/// Sends a change as the page's script does.
async fn change(user: &TestClient, id: Uuid, what: &str, body: Value) -> reqwest::Response {
    user.request("POST", &format!("/chat/{id}/{what}")).json(&body).send().await.unwrap()
}

/// The list is loaded in pages of fifty, by the script and by links, until all conversations were shown once. Pinned ones come first.
#[tokio::test]
async fn the_list_has_pages_and_pinned_conversations_come_first() {
    let app = TestApp::new().await;
    let (ann, eve) = (app.user("ann@example.com").await, app.user("eve@example.com").await);
    app.sql(
        "insert into conversation (conversation_id, user_id, title, updated_at)
         select gen_random_uuid(), user_id, 'Subject ' || n, now() - n * interval '1 hour'
         from account, generate_series(1, 120) n where email = 'ann@example.com'",
    )
    .await;
    let oldest: Uuid = app.one("select conversation_id from conversation where title = 'Subject 120'").await;
    assert_eq!(change(&ann, oldest, "pin", json!({"on": true})).await.status(), StatusCode::NO_CONTENT);
    let page = ann.text("/chat").await;
    let first = entries(&page);
    assert_eq!((first.len(), first[0]), (51, oldest));
    assert!(page.contains("<h2>Pinned</h2>"), "{page}");
    let link = attribute(&page, "data-fragment").unwrap();
    assert!(page.contains("href=\"/chat?after="), "a link without JavaScript");
    assert_eq!(entries(&ann.text("/chat/list").await), first);
    let (mut all, mut next) = (first, Some(link.clone()));
    while let Some(path) = next {
        let part = ann.text(&path).await;
        assert!(!part.contains("id=\"today\"") && !part.contains("<html"), "{part}");
        all.extend(entries(&part));
        next = attribute(&part, "data-fragment");
    }
    assert_eq!((all.len(), all.iter().collect::<BTreeSet<_>>().len()), (120, 120));
    // Without JavaScript, the next page of the list is a page.
    let later = ann.text(&link.replace("/chat/list?", "/chat?")).await;
    assert_eq!(entries(&later), all[51..101]);
    assert!(later.contains("Newest conversations"));
    // An open conversation beyond the first page has a group of its own.
    let open = ann.text(&format!("/chat/{}", all[119])).await;
    assert!(open.contains("<h2>Open</h2>") && entries(&open)[0] == all[119]);
    assert!(entries(&eve.text(&link).await).is_empty());
    let bad = ann.get("/chat/list?after=x").await;
    assert_eq!((bad.status(), problem(bad).await["field"].as_str()), (StatusCode::UNPROCESSABLE_ENTITY, Some("after")));
    assert_eq!(app.visitor().get("/chat/list").await.status(), StatusCode::UNAUTHORIZED);
}

/// A conversation is renamed, pinned and archived by forms and by the script. Another user's id is 404, and a bad title is explained.
#[tokio::test]
async fn conversations_are_renamed_pinned_and_archived_by_their_owner() {
    let app = TestApp::new().await;
    let (mut ann, eve) = (app.user("ann@example.com").await, app.user("eve@example.com").await);
    let id = conversation(&ann, "{{words:2}} the first words").await;
    for (what, body) in [
        ("rename", json!({"title": "Mine"})),
        ("pin", json!({"on": true})),
        ("archive", json!({"on": true})),
        ("delete", json!({})),
        ("restore", json!({})),
    ] {
        assert_eq!(change(&eve, id, what, body).await.status(), StatusCode::NOT_FOUND, "{what}");
    }
    assert_eq!(eve.get(&format!("/chat/{id}/edit")).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(eve.get(&format!("/api/conversations/{id}/title")).await.status(), StatusCode::NOT_FOUND);
    // By forms.
    let path = |what: &str| format!("/chat/{id}/{what}");
    let renamed = ann.form(&path("rename"), &[("title", "  My <lease>\n ends ")]).await;
    assert_eq!(renamed.status(), StatusCode::SEE_OTHER);
    assert_eq!(renamed.headers()["location"], format!("/chat/{id}").as_str());
    assert_eq!(title(&app, id).await, ("My <lease> ends".to_owned(), "user".to_owned()));
    let shown: Value = ann.get(&format!("/api/conversations/{id}/title")).await.json().await.unwrap();
    assert_eq!(shown, json!({"title": "My <lease> ends", "is_written": true}));
    let long = "x".repeat(81);
    let refused = ann.form(&path("rename"), &[("title", &long)]).await;
    assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let page = refused.text().await.unwrap();
    assert!(page.contains("Use at most 80 characters.") && page.contains(&long), "{page}");
    let refused = change(&ann, id, "rename", json!({"title": " "})).await;
    assert_eq!(problem(refused).await["field"], "title");
    assert_eq!(ann.form(&path("pin"), &[("on", "true")]).await.status(), StatusCode::SEE_OTHER);
    assert!(ann.text("/chat").await.contains("<h2>Pinned</h2>"));
    assert!(ann.text(&path("edit")).await.contains(">Unpin<"));
    assert_eq!(ann.form(&path("archive"), &[("on", "true")]).await.headers()["location"], "/chat");
    assert!(entries(&ann.text("/chat").await).is_empty());
    let archived = ann.text("/chat/archived").await;
    assert!(archived.contains("My &lt;lease&gt; ends") && !archived.contains("<leptos-island"), "{archived}");
    assert!(!eve.text("/chat/archived").await.contains("lease"));
    let back = ann.form(&path("archive"), &[("on", "false"), ("next", "/chat/archived")]).await;
    assert_eq!(back.headers()["location"], "/chat/archived");
    assert_eq!(entries(&ann.text("/chat").await), [id]);
    // No more than a hundred are pinned.
    app.sql(
        "insert into conversation (conversation_id, user_id, title, pinned_at)
         select gen_random_uuid(), user_id, 'Pinned ' || n, now() from account, generate_series(1, 100) n where email = 'ann@example.com'",
    )
    .await;
    assert_eq!(change(&ann, id, "pin", json!({"on": false})).await.status(), StatusCode::NO_CONTENT);
    let refused = change(&ann, id, "pin", json!({"on": true})).await;
    assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert!(problem(refused).await["message"].as_str().unwrap().contains("Unpin one first"));
}

/// A deleted conversation is hidden everywhere at once, can be restored, and is erased a minute later.
#[tokio::test]
async fn a_deleted_conversation_is_hidden_restored_and_erased() {
    let app = TestApp::new().await;
    let mut ann = app.user("ann@example.com").await;
    let id = conversation(&ann, "{{words:2}} about platypuses").await;
    let found =
        async |ann: &TestClient| ann.text("/search?q=platypuses").await.contains(&format!("/chat/{id}?message="));
    assert!(found(&ann).await);
    let deleted = ann.form(&format!("/chat/{id}/delete"), &[]).await;
    assert_eq!(deleted.headers()["location"], format!("/chat?deleted={id}").as_str());
    let page = ann.text(&format!("/chat?deleted={id}")).await;
    assert!(page.contains(&format!("action=\"/chat/{id}/restore\"")) && entries(&page).is_empty(), "{page}");
    for path in ["", "/messages", "/edit"] {
        assert_eq!(ann.get(&format!("/chat/{id}{path}")).await.status(), StatusCode::NOT_FOUND, "{path}");
    }
    let body = json!({"model": "claude-haiku-4-5", "text": "{{words:1}}", "conversation_id": id});
    assert_eq!(ann.post(&body).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(change(&ann, id, "rename", json!({"title": "x"})).await.status(), StatusCode::NOT_FOUND);
    assert!(!found(&ann).await && !ann.text("/usage").await.contains("platypuses"));
    // Restored.
    assert_eq!(
        ann.form(&format!("/chat/{id}/restore"), &[]).await.headers()["location"],
        format!("/chat/{id}").as_str()
    );
    assert!(ann.text(&format!("/chat/{id}")).await.contains("platypuses") && found(&ann).await);
    // Erased.
    assert_eq!(change(&ann, id, "delete", json!({})).await.status(), StatusCode::NO_CONTENT);
    let now = OffsetDateTime::now_utc();
    assert_eq!(store::conversation::erase_deleted(&app.store, now - Duration::MINUTE).await.unwrap(), 0);
    assert_eq!(store::conversation::erase_deleted(&app.store, now + Duration::MINUTE).await.unwrap(), 1);
    assert_eq!(
        app.one::<i64>("select (select count(*) from message) + (select count(*) from message_search)").await,
        0
    );
    assert_eq!(change(&ann, id, "restore", json!({})).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(app.one::<i64>("select count(*) from ai_usage where cost_usd > 0").await, 1);
}

/// The sidebar stays hidden until its switch shows it again, without a script.
#[tokio::test]
async fn the_sidebar_can_be_hidden() {
    let app = TestApp::new().await;
    let mut ann = app.user("ann@example.com").await;
    let hidden = ann.form("/chat/sidebar", &[("hidden", "true"), ("next", "/chat")]).await;
    assert_eq!(hidden.status(), StatusCode::SEE_OTHER);
    assert_eq!(hidden.headers()["location"], "/chat");
    assert!(hidden.headers()["set-cookie"].to_str().unwrap().starts_with("sidebar=hidden; Path=/; Max-Age=31536000"));
    let is_hidden = |page: &str| page.contains("data-sidebar-hidden class=\"chat-frame\"");
    assert!(!is_hidden(&ann.text("/chat").await));
    let cookie = format!("{}; sidebar=hidden", ann.cookie.as_deref().unwrap());
    let page = ann.client.get(format!("{}/chat", app.url)).header("cookie", cookie).send().await.unwrap();
    assert!(is_hidden(&page.text().await.unwrap()));
    let shown = ann.form("/chat/sidebar", &[("hidden", "false"), ("next", "https://evil.example")]).await;
    assert_eq!(shown.headers()["location"], "/chat");
    assert!(shown.headers()["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
}
