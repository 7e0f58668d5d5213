//! Which path a message continues, and which one is visible after turns were undone.

use super::{MODEL, begin, choose, send, sent, shown, text_of, texts};
use crate::app::TestApp;
use http::StatusCode;
use serde_json::json;
use uuid::Uuid;

/// A link to a message of another path changes nothing, and a message continues the path that its page shows, whichever is visible.
#[tokio::test]
async fn a_message_continues_what_its_page_shows() {
    let app = TestApp::new().await;
    app.limits("free", 1_000, 10_000_000, 10).await;
    let mut ann = app.user("ann@example.com").await;
    let chat = begin(&ann, "{{words:3}} one").await;
    let old = shown(&ann, &chat).await;
    let message =
        |text: &str, parent: &str| json!({"conversation_id": chat, "model": MODEL, "text": text, "parent_id": parent});
    send(&ann, message("{{words:5}} other", "root")).await;
    let new = shown(&ann, &chat).await;
    assert_eq!(choose(&mut ann, &chat, &old[0].id).await, StatusCode::SEE_OTHER);
    let page = ann.text(&format!("/chat/{chat}?message={}", new[0].id)).await;
    assert!(page.contains(&format!("data-branch=\"{}\"", new[1].id)) && !page.contains(&old[1].id), "{page}");
    let part = ann.text(&format!("/chat/{chat}/messages?message={}", new[0].id)).await;
    assert!(part.contains(&new[1].id) && !part.contains(&old[1].id), "{part}");
    assert_eq!(texts(&shown(&ann, &chat).await), texts(&old), "the visible path is as before");
    // The page that the link has opened, and a tab that still shows the first version.
    send(&ann, message("{{words:2}} two", &new[1].id)).await;
    assert_eq!(sent(&app), ["{{words:5}} other", &text_of(5), "{{words:2}} two"]);
    let two = shown(&ann, &chat).await;
    send(&ann, message("{{words:4}} three", &old[1].id)).await;
    assert_eq!(sent(&app), ["{{words:3}} one", &text_of(3), "{{words:4}} three"]);
    // A question without a response in another branch can be continued, one that has got its response since can't.
    app.sql("delete from message where role = 'assistant' and turn_id = (select turn_id from message where body like '%two')")
        .await;
    send(&ann, message("{{words:1}} four", &two[2].id)).await;
    assert!(sent(&app).join(" ").contains("two"), "{:?}", sent(&app));
    let refused = ann.post(&message("{{words:1}} five", &new[0].id)).await;
    assert_eq!(refused.status(), StatusCode::CONFLICT);
}

/// Overlapping turns that are both undone, in either order, leave the path that was shown before: not that of the newest first message.
#[tokio::test]
async fn overlapping_turns_that_are_undone_restore_the_path() {
    let app = TestApp::new().await;
    app.limits("free", 1_000, 10_000_000, 10).await;
    let mut ann = app.user("ann@example.com").await;
    let chat = begin(&ann, "{{words:3}} one").await;
    let old = shown(&ann, &chat).await;
    send(&ann, json!({"conversation_id": chat, "model": MODEL, "text": "{{words:5}} other", "parent_id": "root"}))
        .await;
    assert_eq!(choose(&mut ann, &chat, &old[0].id).await, StatusCode::SEE_OTHER);
    let old = shown(&ann, &chat).await;
    for order in [[0, 1], [1, 0]] {
        let turns = [Uuid::now_v7(), Uuid::now_v7()];
        let mut running = Vec::new();
        for (turn, is_written) in turns.iter().zip([
            "select count(*) = 1 from message where body = '{{late}}'",
            "select count(*) = 2 from message where body = '{{late}}'",
        ]) {
            let body = json!({"conversation_id": chat, "model": MODEL, "text": "{{late}}", "turn_id": turn});
            running.push(tokio::spawn(ann.clone().post_owned(body)));
            app.until(is_written).await;
        }
        for n in order {
            let stop = ann.request("POST", &format!("/api/turns/{}/stop", turns[n])).send().await.unwrap();
            assert!(stop.status().is_success(), "{stop:?}");
            let response = (&mut running[n]).await.unwrap();
            assert!(!response.status().is_success(), "{response:?}");
        }
        assert_eq!(shown(&ann, &chat).await, old, "{order:?}");
    }
}
