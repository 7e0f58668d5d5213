//! Repeated requests: regenerated, retried concurrently, or sent in fifty copies.

use super::{BOTH, app_with_high_limits, assert_all_settled, begun};
use crate::visitor::{EventReader, TestClient, events, words};
use domain::{Outcome, TurnEvent};
use http::StatusCode;
use serde_json::json;
use uuid::Uuid;

/// When several tabs regenerate the same response at once, one runs and the others get 409.
#[tokio::test]
async fn concurrent_retries_run_once() {
    let app = app_with_high_limits(&[]).await;
    let ann = app.user("ann@example.com").await;
    let (mut reading, turn) = begun(&ann, BOTH[0], "{{words:3}}").await;
    while reading.next().await.is_some() {}
    // The regeneration is in progress when the others arrive.
    app.sql("update message set body = '{{words:3}}{{hold}}' where role = 'user'").await;
    let again = || ann.clone().post_owned(json!({"retry_of": turn, "turn_id": Uuid::now_v7()}));
    let answers = futures::future::join_all([again(), again(), again(), again()]).await;
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status().as_u16()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409, 409, 409]);
    app.provider.release();
    for answer in answers {
        answer.bytes().await.unwrap();
    }
    assert_eq!(app.one::<i64>("select count(*) from message").await, 3, "a question and two responses");
    assert_eq!(app.provider.served_calls().len(), 2);
    assert_all_settled(&app, &ann).await;
}

/// Regenerating sends the original message again, shows the new response instead of the old one, and keeps both calls in the ledger.
#[tokio::test]
async fn last_response_can_be_regenerated() {
    let app = app_with_high_limits(&[]).await;
    let ann = app.user("ann@example.com").await;
    let (mut reading, _) = begun(&ann, BOTH[0], "{{words:3}} first").await;
    while reading.next().await.is_some() {}
    let conversation: Uuid = app.one("select conversation_id from conversation").await;
    let second = Uuid::now_v7();
    let body = json!({"conversation_id": conversation, "model": BOTH[0], "text": "{{words:4}}{{hold}} second", "turn_id": second});
    let mut running = EventReader::new(ann.post(&body).await);
    running.next().await;
    let again = |turn: Uuid| json!({"retry_of": turn, "model": BOTH[1], "turn_id": Uuid::now_v7()});
    // Not while it runs, not another user's, and not an unknown one.
    let refusal = async |user: &TestClient, turn| user.post(&again(turn)).await.status();
    assert_eq!(refusal(&ann, second).await, StatusCode::CONFLICT);
    let eve = app.user("eve@example.com").await;
    assert_eq!(refusal(&eve, second).await, StatusCode::NOT_FOUND);
    assert_eq!(refusal(&ann, Uuid::now_v7()).await, StatusCode::NOT_FOUND);
    app.provider.release();
    while running.next().await.is_some() {}
    let events = events(ann.post(&again(second)).await).await;
    assert!(matches!(events.last(), Some((_, TurnEvent::Finish { outcome: Outcome::Finished, .. }))));
    let served = app.provider.served_calls();
    assert_eq!(
        (served.len(), served[1].messages, served[2].messages),
        (3, 3, 4),
        "the same messages; the other wire format has the system prompt as a message"
    );
    let page = ann.text(&format!("/chat/{conversation}")).await;
    assert_eq!((page.matches(">{{words:4}}{{hold}} second<").count(), page.matches("word4").count()), (1, 1), "{page}");
    assert_eq!(app.one::<i64>("select count(*) from message").await, 5, "the old response is kept");
    assert_eq!(app.one::<i64>("select count(*) from ai_usage").await, 3);
    // A retry that the provider refuses keeps the existing response.
    sqlx::query("update message set body = '{{status:400}}' where role = 'user'").execute(&app.db).await.unwrap();
    let last: Uuid = app.one("select turn_id from turn order by created_at desc limit 1").await;
    assert_eq!(refusal(&ann, last).await, StatusCode::BAD_GATEWAY);
    assert_eq!(app.one::<i64>("select count(*) from message").await, 5);
    let shown: Uuid = app.one("select m.turn_id from conversation c join message m on m.message_id = c.leaf_id").await;
    assert_eq!(shown, last);
}

/// A failed turn can be retried in the same way.
#[tokio::test]
async fn failed_response_can_be_retried() {
    let app = app_with_high_limits(&[]).await;
    let ann = app.user("ann@example.com").await;
    let (mut reading, turn) = begun(&ann, BOTH[0], "{{words:5}}{{break:2}}").await;
    while reading.next().await.is_some() {}
    sqlx::query("update message set body = '{{words:5}}' where role = 'user'").execute(&app.db).await.unwrap();
    let events = events(ann.post(&json!({"retry_of": turn})).await).await;
    assert_eq!(words(&events), "word1 word2 word3 word4 word5 ");
    assert_eq!(
        app.one::<i64>("select count(*) from message where role = 'assistant' and status = 'finished'").await,
        1
    );
}

/// A turn sent fifty times at once to two servers runs once. All fifty requests get the same events, and the duplicates hold nothing.
#[tokio::test]
async fn fifty_copies_run_once_and_get_the_same_events() {
    let app = app_with_high_limits(&[]).await;
    let ann = app.user("ann@example.com").await;
    let (url, _stop) = app.start_second().await;
    let elsewhere = TestClient { url, ..ann.clone() };
    let body = json!({"model": BOTH[0], "text": "{{words:9}}{{pace:3}}", "turn_id": Uuid::now_v7()});
    let copies = (0..50).map(|n| {
        let (client, body) = (if n % 2 == 0 { ann.clone() } else { elsewhere.clone() }, body.clone());
        tokio::spawn(async move {
            let response = client.post_until_decided(&body).await;
            assert_eq!(response.status(), StatusCode::OK);
            events(response).await
        })
    });
    let mut all = Vec::new();
    for copy in copies.collect::<Vec<_>>() {
        all.push(copy.await.unwrap());
    }
    assert!(all.iter().all(|events| *events == all[0] && events.last().unwrap().1.is_last()), "{all:?}");
    assert_eq!(app.provider.served_calls().len(), 1);
    assert_eq!(app.one::<i64>("select count(*) from ai_usage").await, 1);
    assert_all_settled(&app, &ann).await;
}
