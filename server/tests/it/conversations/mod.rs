//! Conversations that users keep: their list, what can be done with one, titles by a model, and search.

mod list;
mod search;
mod titles;

use crate::app::TestApp;
use crate::visitor::TestClient;
use domain::TurnEvent;
use uuid::Uuid;

/// Sends a message in a new conversation and returns the conversation's id.
async fn conversation(user: &TestClient, text: &str) -> Uuid {
    let events = user.send_and_read(text).await;
    let Some((_, TurnEvent::Turn { conversation_id, .. })) = events.first() else { panic!("{events:?}") };
    (*conversation_id).into()
}

/// Returns a conversation's title and who wrote it.
async fn title(app: &TestApp, id: Uuid) -> (String, String) {
    let sql = "select title, title_by from conversation where conversation_id = $1";
    sqlx::query_as(sql).bind(id).fetch_one(&app.db).await.unwrap()
}
