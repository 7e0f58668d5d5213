//! Titles that a model writes.

use super::{conversation, title};
use crate::app::TestApp;
use serde_json::json;

/// The cheapest model of the free plan.
const CHEAPEST: &str = "gpt-4o-mini";

/// After the first response, the cheapest model writes the title in a call that is admitted and booked like any other. A user's title is never
/// replaced.
#[tokio::test]
async fn a_title_is_written_after_the_first_response() {
    let app = TestApp::with(&[("TITLES", "model")]).await;
    let mut ann = app.user("ann@example.com").await;
    let id = conversation(&ann, "{{words:3}} **When** does my lease end?").await;
    app.until("select title_by = 'model' from conversation").await;
    assert_eq!(title(&app, id).await.0, "word1 word2 word3");
    assert!(ann.text("/chat").await.contains(">word1 word2 word3</a>"));
    let row: (String, String, String, String, bool, bool) = sqlx::query_as(
        "select u.model, u.status, u.usage_source, t.request_hash::text, u.cost_usd > 0, u.user_id is not null and t.conversation_id is null
         from ai_usage u join turn t using (turn_id) where u.purpose = 'title'",
    )
    .fetch_one(&app.db)
    .await
    .unwrap();
    assert_eq!(
        (row.0.as_str(), row.1.as_str(), row.2.as_str(), row.4, row.5),
        (CHEAPEST, "finished", "exact", true, true)
    );
    let served = app.provider.served_calls();
    let call = served.iter().find(|call| call.model == CHEAPEST).unwrap();
    assert!(served.len() == 2 && call.max_output <= 24, "{served:?}");
    // Later turns make no other.
    let body = json!({"model": "claude-haiku-4-5", "text": "{{words:1}} and then?", "conversation_id": id});
    crate::visitor::events(ann.post(&body).await).await;
    ann.form(&format!("/chat/{id}/rename"), &[("title", "My lease")]).await;
    let user: uuid::Uuid = app.one("select user_id from account").await;
    assert!(!store::conversation::set_model_title(&app.store, user.into(), id.into(), "Another").await.unwrap());
    let app = app.stop_server().await;
    assert_eq!(title(&app, id).await, ("My lease".to_owned(), "user".to_owned()));
    assert_eq!(app.one::<i64>("select count(*) from ai_usage where purpose = 'title'").await, 1);
    assert!(app.provider.violations().is_empty(), "{:?}", app.provider.violations());
}

/// A title never takes what the user's next message needs: without room for both, the first words stay.
#[tokio::test]
async fn without_room_for_it_the_first_words_are_the_title() {
    let app = TestApp::with(&[("TITLES", "model")]).await;
    app.limits("free", 2, 50_000, 1).await;
    let ann = app.user("ann@example.com").await;
    let id = conversation(&ann, "{{words:3}} **When** does my lease end?").await;
    // Stopping waits for the title's task.
    let app = app.stop_server().await;
    assert_eq!(title(&app, id).await, ("{{words:3}} When does my lease end?".to_owned(), "text".to_owned()));
    assert_eq!(app.one::<i64>("select count(*) from ai_usage where purpose = 'title'").await, 0);
}
