//! Loads the chat page and the messages of a conversation.

use super::{PageState, Refusal, Report, model, panic_message, quota, refuse};
use crate::view::conversation::{
    AvailableModel, ChatView, ConversationSummary, LastActive, MessageView, MessagesView, escaped,
};
use domain::{ConversationId, Message, MessageId, Problem, Role, Viewer};
use std::sync::Arc;
use store::message::{StoredHtml, StoredMessage};

/// Number of messages on a page of a conversation.
const MESSAGES: usize = 50;
/// Number of conversations in the sidebar.
const CONVERSATIONS: i64 = 200;

/// Loads the data of the chat page, with the latest messages of a conversation or those before a message. Returns a 404 if the conversation
/// isn't the viewer's.
pub(crate) async fn chat_view(
    state: &PageState,
    viewer: &Viewer,
    id: Option<ConversationId>,
    before: Option<MessageId>,
) -> Result<ChatView, Refusal> {
    let fail = |error| state.fail(error);
    let now = (state.now)();
    let conversations = store::conversation::list(&state.db, viewer.user_id, CONVERSATIONS).await.map_err(fail)?;
    let today = store::usage::start_of_today(&state.db, &viewer.time_zone, now).await.map_err(fail)?;
    let entry = |conversation: store::conversation::Conversation| {
        let store::conversation::Conversation { id, title, updated_at } = conversation;
        (LastActive::of(updated_at, today), ConversationSummary { id, title })
    };
    let (mut open, mut messages, mut earlier, mut running) = (None, Vec::new(), None, None);
    if let Some(id) = id {
        let found = store::conversation::open(&state.db, viewer.user_id, id).await.map_err(fail)?;
        let found = found.ok_or_else(|| refuse(Problem::not_found("conversation")))?;
        // Before the messages: otherwise the response of a turn that ends in between would be in neither.
        running = store::turn::running(&state.db, viewer.user_id, id).await.map_err(fail)?;
        (messages, earlier) = load_messages(state, viewer, id, before).await?;
        // A turn that ended between the two queries is shown once: as a message.
        running = running.filter(|(turn, _)| {
            !messages.iter().any(|shown| shown.message.role == Role::Assistant && shown.message.turn_id == *turn)
        });
        open = Some(ConversationSummary { id, title: found.title });
    }
    Ok(ChatView {
        conversations: conversations.into_iter().map(entry).collect(),
        open,
        messages,
        earlier,
        running,
        models: available_models(state, viewer).await?,
        quota: quota(state, viewer).await.ok(),
        now_ms: u64::try_from(now.unix_timestamp_nanos() / 1_000_000).unwrap_or_default(),
    })
}

/// Loads the latest messages of a conversation, or those before a message.
///
/// # Errors
/// Returns a 404 problem if the conversation isn't the viewer's, or a problem if a query fails.
pub async fn messages(
    state: &PageState,
    viewer: &Viewer,
    id: ConversationId,
    before: Option<MessageId>,
) -> Result<MessagesView, Refusal> {
    let found = store::conversation::open(&state.db, viewer.user_id, id).await.map_err(|error| state.fail(error))?;
    found.ok_or_else(|| refuse(Problem::not_found("conversation")))?;
    let (messages, earlier) = load_messages(state, viewer, id, before).await?;
    Ok(MessagesView { messages, earlier, models: available_models(state, viewer).await? })
}

/// Loads the models that can be used now: those of the plan, in its order, followed by those that it doesn't allow.
async fn available_models(state: &PageState, viewer: &Viewer) -> Result<Vec<AvailableModel>, Refusal> {
    let choice = |model: domain::Model| AvailableModel {
        allowed: viewer.plan.allows(&model.name),
        is_demo: model::is_demo(&model),
        name: model.name,
        label: model.label,
        efforts: model.efforts,
        takes_images: model.takes_images,
    };
    let mut models: Vec<AvailableModel> = model::usable_models(state).await?.into_iter().map(choice).collect();
    models.sort_by_key(|choice| viewer.plan.models.iter().position(|name| *name == choice.name).unwrap_or(usize::MAX));
    Ok(models)
}

/// Loads messages with their HTML, oldest first, and the id of the oldest one if there are earlier ones.
async fn load_messages(
    state: &PageState,
    viewer: &Viewer,
    id: ConversationId,
    before: Option<MessageId>,
) -> Result<(Vec<MessageView>, Option<MessageId>), Refusal> {
    // One more shows whether there are earlier ones.
    let limit = i64::try_from(MESSAGES).unwrap_or(i64::MAX).saturating_add(1);
    let rows = store::message::list(&state.db, viewer.user_id, id, before, limit).await;
    let mut rows = rows.map_err(|error| state.fail(error))?;
    let surplus = rows.len().saturating_sub(MESSAGES);
    rows.drain(..surplus);
    let earlier = rows.first().filter(|_| surplus > 0).map(|row| row.message.id);
    let questions = rows.iter().map(|row| &row.message).filter(|message| message.role == Role::User);
    let ids: Vec<MessageId> = questions.map(|message| message.id).collect();
    let files = store::attachment::list_shown(&state.db, viewer.user_id, &ids).await;
    let mut files = files.map_err(|error| state.fail(error))?;
    let fresh = render_stale(state, viewer, &rows).await;
    let mut fresh = fresh.into_iter().peekable();
    let view = |row: StoredMessage| {
        let StoredMessage { mut message, html, is_good } = row;
        if !viewer.plan.shows_cost {
            message.cost = None;
        }
        let rendered = fresh.next_if(|(id, _)| *id == message.id).map(|(_, html)| html);
        // A message that couldn't be rendered is shown as its text.
        let html = rendered.or_else(|| current(html).map(|html| html.html)).unwrap_or_else(|| escaped(&message.text));
        let own = files.extract_if(.., |(id, _)| *id == message.id).map(|(_, file)| file).collect();
        MessageView { message, html, files: own, is_good }
    };
    Ok((rows.into_iter().map(view).collect(), earlier))
}

/// Returns stored HTML if it was written by the current renderer.
fn current(html: Option<StoredHtml>) -> Option<StoredHtml> {
    html.filter(|html| html.version == markdown::VERSION)
}

/// Renders the messages whose HTML is missing or was written by another version of the renderer, and stores it. Returns it in the order of
/// the messages.
async fn render_stale(state: &PageState, viewer: &Viewer, rows: &[StoredMessage]) -> Vec<(MessageId, String)> {
    let is_current = |row: &StoredMessage| row.html.as_ref().is_some_and(|html| html.version == markdown::VERSION);
    let stale: Vec<Message> = rows.iter().filter(|row| !is_current(row)).map(|row| row.message.clone()).collect();
    if stale.is_empty() {
        return Vec::new();
    }
    // Old messages may be long, and all of a page's may be stale after an upgrade.
    let report = Arc::clone(&state.report);
    let rendering = move || stale.iter().filter_map(|message| render(&*report, message)).collect::<Vec<_>>();
    let rendered = match tokio::task::spawn_blocking(rendering).await {
        Ok(rendered) => rendered,
        Err(error) => {
            (state.report)(&error);
            return Vec::new();
        }
    };
    // The page doesn't need it to be stored.
    if let Err(error) = store::message::store_html(&state.db, viewer.user_id, &rendered, markdown::VERSION).await {
        (state.report)(&error);
    }
    rendered
}

/// Renders a message. Returns `None` if the renderer panics, which is logged.
fn render(report: &Report, message: &Message) -> Option<(MessageId, String)> {
    let rendered = std::panic::catch_unwind(|| match message.role {
        Role::User => markdown::render_message(&message.text),
        Role::Assistant => markdown::render(&message.text, &message.turn_id.to_string()),
    });
    let logged = rendered.map_err(|panic| report(&format!("rendering panicked: {}", panic_message(&*panic))));
    Some((message.id, logged.ok()?))
}
