//! The messages of a conversation as a part of its page, which the browser adds to the page: earlier ones, or the latest after a gap.

use crate::AppState;
use crate::failure::Failure;
use crate::http::extract::{Id, SignedIn};
use app::api::Refusal;
use app::api::context;
use app::pages::chat::Messages;
use app::view::conversation::MessagesView;
use axum::extract::{Query, State};
use axum::response::Html;
use domain::{ConversationId, MessageId, Problem};
use leptos::prelude::*;
use serde::Deserialize;

/// Which messages are requested.
#[derive(Deserialize)]
pub(crate) struct Before {
    /// The message before which they are; without it, the latest.
    before: Option<String>,
}

/// `GET /chat/{conversation_id}/messages`: the latest messages, or those before a message, as the page has them.
pub(crate) async fn messages(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    Id(conversation): Id<ConversationId>,
    Query(query): Query<Before>,
) -> Result<Html<String>, Failure> {
    let before = query.before.map(|id| id.parse::<MessageId>()).transpose();
    let before = before.map_err(|_| Problem::invalid("before", "`before` must be the id of a message."))?;
    let loaded = context::messages(&app.page_state(), &viewer, conversation, before).await;
    let view = loaded.map_err(|Refusal(problem)| Failure(problem))?;
    Ok(Html(rendered(conversation, view)))
}

fn rendered(conversation: ConversationId, view: MessagesView) -> String {
    let MessagesView { messages, earlier, models } = view;
    // The reactive values of the rendered components belong to this owner, and end with it.
    Owner::new().with(|| view! { <Messages conversation messages earlier models/> }.to_html())
}
