//! Loads the chat page and the messages of a conversation.

use super::chat_settings::settings_of;
use super::conversation_list::conversation_list;
use super::model::available_models;
use super::{PageState, Refusal, Report, panic_message, quota, refuse};
use crate::view::conversation::{ChatView, MessageView, MessagesView, escaped};
use crate::view::conversation_list::{ConversationSummary, ListPosition};
use domain::{ConversationId, Message, MessageId, PresetId, Problem, Role, Viewer};
use std::sync::Arc;
use store::message::{PathEnd, StoredHtml, StoredMessage};

/// Number of messages on a page of a conversation.
const MESSAGES: usize = 50;
/// Number of messages shown after one that the page was opened at, unless the latest ones have it.
const MARGIN: i32 = 10;

/// Loads the data of the chat page, with the latest messages of a conversation, those before a message, or those around a message. A message that
/// isn't on the visible path is shown on the path through it; which path is visible stays as it is. Returns a 404 if the conversation or the
/// message isn't the viewer's. A new conversation starts with the settings of `preset`.
pub(crate) async fn chat_view(
    state: &PageState,
    viewer: &Viewer,
    id: Option<ConversationId>,
    (before, with): (Option<MessageId>, Option<MessageId>),
    after: Option<ListPosition>,
    preset: Option<PresetId>,
) -> Result<ChatView, Refusal> {
    let fail = |error| state.fail(error);
    let now = (state.now)();
    let conversations = conversation_list(state, viewer, after, id).await?;
    let (mut open, mut messages, mut earlier, mut running) = (None, Vec::new(), None, None);
    let mut shown = ShownPath { before, leaf: None };
    if let Some(id) = id {
        let found = store::conversation::open(&state.db, viewer.user_id, id).await.map_err(fail)?;
        let found = found.ok_or_else(|| refuse(Problem::not_found("conversation")))?;
        if let Some(message) = with {
            shown = find(state, viewer, id, message).await?;
        }
        // Before the messages: otherwise the response of a turn that ends in between would be in neither.
        running = store::turn::running(&state.db, viewer.user_id, id, shown.leaf).await.map_err(fail)?;
        (messages, earlier) = load_messages(state, viewer, id, shown.end()).await?;
        // A turn that ended between the two queries is shown once: as a message.
        running = running.filter(|(turn, _)| {
            !messages.iter().any(|shown| shown.message.role == Role::Assistant && shown.message.turn_id == *turn)
        });
        open = Some(ConversationSummary { id, title: found.title });
    }
    let (settings, is_temporary) = settings_of(state, viewer, id, preset).await?;
    let presets = store::preset::list(&state.db, viewer.user_id).await.map_err(fail)?;
    Ok(ChatView {
        conversations,
        writes_titles: state.writes_titles,
        settings,
        is_temporary,
        presets: presets.into_iter().map(|preset| (preset.id, preset.name)).collect(),
        open,
        messages,
        earlier,
        is_earlier: shown.before.is_some(),
        branch: shown.leaf,
        running,
        models: available_models(state, viewer).await?,
        quota: quota(state, viewer).await.ok(),
        now_ms: u64::try_from(now.unix_timestamp_nanos() / 1_000_000).unwrap_or_default(),
    })
}

/// The part of a conversation that a page shows.
struct ShownPath {
    /// The message before which it ends; `None` if it has the latest messages.
    before: Option<MessageId>,
    /// The end of its path; `None` for the visible one.
    leaf: Option<MessageId>,
}

impl ShownPath {
    fn end(&self) -> PathEnd {
        match (self.before, self.leaf) {
            (Some(before), _) => PathEnd::Before(before),
            (None, Some(leaf)) => PathEnd::At(leaf),
            (None, None) => PathEnd::Visible,
        }
    }
}

/// Finds the part of a conversation that has a message: on the visible path, otherwise on the path through the message, to which for example a
/// search leads.
async fn find(
    state: &PageState,
    viewer: &Viewer,
    id: ConversationId,
    message: MessageId,
) -> Result<ShownPath, Refusal> {
    let fail = |error| state.fail(error);
    let not_found = || refuse(Problem::not_found("message"));
    let locate = |leaf| store::message::locate(&state.db, viewer.user_id, id, message, leaf, MARGIN);
    let (found, leaf) = match locate(None).await.map_err(fail)? {
        Some(found) => (Some(found), None),
        None => {
            let leaf = store::message::newest_leaf(&state.db, viewer.user_id, id, message).await.map_err(fail)?;
            let leaf = leaf.ok_or_else(not_found)?;
            (locate(Some(leaf)).await.map_err(fail)?, Some(leaf))
        }
    };
    let found = found.ok_or_else(not_found)?;
    let is_among_latest = usize::try_from(found.after).is_ok_and(|after| after < MESSAGES);
    Ok(ShownPath { before: if is_among_latest { None } else { found.margin_end }, leaf })
}

/// Loads the latest messages of a conversation's visible path or of that through a message, or those before a message.
///
/// # Errors
/// Returns a 404 problem if the conversation isn't the viewer's, or a problem if a query fails.
pub async fn messages(
    state: &PageState,
    viewer: &Viewer,
    id: ConversationId,
    (before, with): (Option<MessageId>, Option<MessageId>),
) -> Result<MessagesView, Refusal> {
    let fail = |error| state.fail(error);
    let found = store::conversation::open(&state.db, viewer.user_id, id).await.map_err(fail)?;
    found.ok_or_else(|| refuse(Problem::not_found("conversation")))?;
    let leaf = match with {
        Some(message) => {
            let leaf = store::message::newest_leaf(&state.db, viewer.user_id, id, message).await.map_err(fail)?;
            Some(leaf.ok_or_else(|| refuse(Problem::not_found("message")))?)
        }
        None => None,
    };
    let (messages, earlier) = load_messages(state, viewer, id, ShownPath { before, leaf }.end()).await?;
    Ok(MessagesView { messages, earlier, models: available_models(state, viewer).await? })
}

/// Loads messages with their HTML, oldest first, and the id of the oldest one if there are earlier ones.
async fn load_messages(
    state: &PageState,
    viewer: &Viewer,
    id: ConversationId,
    end: PathEnd,
) -> Result<(Vec<MessageView>, Option<MessageId>), Refusal> {
    // One more shows whether there are earlier ones.
    let limit = i64::try_from(MESSAGES).unwrap_or(i64::MAX).saturating_add(1);
    let rows = store::message::list(&state.db, viewer.user_id, id, end, limit).await;
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
        let StoredMessage { mut message, parent_id, versions, html, is_good, is_imported } = row;
        if !viewer.plan.shows_cost {
            message.cost = None;
        }
        let rendered = fresh.next_if(|(id, _)| *id == message.id).map(|(_, html)| html);
        // A message that couldn't be rendered is shown as its text.
        let html = rendered.or_else(|| current(html).map(|html| html.html)).unwrap_or_else(|| escaped(&message.text));
        let own = files.extract_if(.., |(id, _)| *id == message.id).map(|(_, file)| file).collect();
        MessageView { message, parent_id, versions, html, files: own, is_good, is_imported }
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
