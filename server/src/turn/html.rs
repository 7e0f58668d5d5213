//! Renders messages as HTML, once, before they are stored. A message that can't be rendered is stored without HTML; the page then shows its
//! text.

use crate::AppState;
use crate::failure::internal;
use app::api::context::panic_message;
use domain::{MessageId, ModelName, TurnId, Viewer};
use serde::Serialize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use store::message::{StoredHtml, TurnHead};
use store::turn::{Branch, Question};

/// Size in bytes above which a text is rendered on one of the counting threads, because that takes longer than a stream may wait.
const INLINE: usize = 16 * 1024;

/// What the HTML view shows of a turn in addition to its events.
#[derive(Clone, Debug)]
pub(crate) struct Presentation {
    /// Display name of the model that answers.
    pub label: String,
    /// The user's message as HTML.
    pub user_html: String,
    /// The user's message in the conversation's tree; `None` if it was deleted.
    pub question: Option<QuestionPlace>,
}

/// Where a turn's question is in the tree of its conversation.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct QuestionPlace {
    message_id: MessageId,
    /// The message before it; `None` for the first one.
    parent_id: Option<MessageId>,
    /// The question and its other versions, oldest first.
    versions: Vec<MessageId>,
    /// The stored responses to it except for this turn's, oldest first.
    other_responses: Vec<MessageId>,
}

impl From<&TurnHead> for QuestionPlace {
    fn from(head: &TurnHead) -> Self {
        Self {
            message_id: head.question_id,
            parent_id: head.parent_id,
            versions: head.versions.clone(),
            other_responses: head.other_responses.clone(),
        }
    }
}

/// Renders a response. The turn's id makes the ids in it unique within the page.
pub(crate) async fn render_answer(app: &AppState, text: &str, turn_id: TurnId) -> Option<StoredHtml> {
    render(app, text, move |text| markdown::render(text, &turn_id.to_string())).await
}

/// Renders a user's message.
pub(crate) async fn render_message(app: &AppState, text: &str) -> Option<StoredHtml> {
    render(app, text, markdown::render_message).await
}

async fn render(
    app: &AppState,
    text: &str,
    renderer: impl FnOnce(&str) -> String + Send + 'static,
) -> Option<StoredHtml> {
    let html = if text.len() <= INLINE {
        catch_panic(|| renderer(text))
    } else {
        let text = text.to_owned();
        app.counting.run(move || renderer(&text)).await.ok()
    };
    Some(StoredHtml { html: html?, version: markdown::VERSION })
}

/// Returns the title of a conversation that begins with this message: its first words, or its first line if it has none.
pub(super) fn title(text: &str) -> String {
    catch_panic(|| markdown::plain_title(text))
        .filter(|title| !title.is_empty())
        .unwrap_or_else(|| text.trim().lines().next().unwrap_or_default().chars().take(80).collect())
}

/// Runs a renderer. A panic is logged: no message may end its turn.
fn catch_panic<T>(renderer: impl FnOnce() -> T) -> Option<T> {
    let rendered = catch_unwind(AssertUnwindSafe(renderer));
    rendered.map_err(|panic| internal(&format!("rendering panicked: {}", panic_message(&*panic)))).ok()
}

/// Returns where the question of a turn is that was just written. Only one that began a branch has siblings, which are loaded.
pub(super) async fn place_of(
    app: &AppState,
    viewer: &Viewer,
    turn_id: TurnId,
    (branch, question): (Branch, Question),
) -> Option<QuestionPlace> {
    if matches!(branch, Branch::End { .. }) {
        let Question { id, parent_id } = question;
        return Some(QuestionPlace { message_id: id, parent_id, versions: vec![id], other_responses: Vec::new() });
    }
    let found = store::message::load_turn_head(&app.db, viewer.user_id, turn_id, "").await;
    found.map_err(|error| internal(&error)).ok().flatten().as_ref().map(QuestionPlace::from)
}

/// Loads what the HTML view shows of a turn that is followed, or resumed from its first event. `model` answers.
pub(crate) async fn presentation(app: &AppState, viewer: &Viewer, turn_id: TurnId, model: &ModelName) -> Presentation {
    let found = store::message::load_turn_head(&app.db, viewer.user_id, turn_id, &model.0).await;
    let head = found.map_err(|error| internal(&error)).ok().flatten();
    // Without a message the conversation was deleted; its stream still runs to its end.
    let Some(head) = head else {
        return Presentation { label: model.0.clone(), user_html: String::new(), question: None };
    };
    let question = Some(QuestionPlace::from(&head));
    let stored = head.html.filter(|html| html.version == markdown::VERSION);
    let html = match stored {
        Some(html) => Some(html),
        None => render_message(app, &head.text).await,
    };
    let user_html = html_or_text(html, &head.text);
    Presentation { label: head.label.unwrap_or_else(|| model.0.clone()), user_html, question }
}

/// Returns a message's HTML, or its escaped text if it couldn't be rendered.
pub(crate) fn html_or_text(html: Option<StoredHtml>, text: &str) -> String {
    html.map_or_else(|| app::view::conversation::escaped(text), |html| html.html)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_has_no_markdown_and_is_never_empty() {
        assert_eq!(title("# How do I **cancel**?\n\nMy lease ends soon."), "How do I cancel? My lease ends soon.");
        for text in ["hi", "---", "![](x)", "\n\n```\n```"] {
            assert!(!title(text).is_empty(), "{text:?}");
        }
        assert!(title(&"word ".repeat(100)).chars().count() <= 80);
    }

    #[test]
    fn a_panic_of_the_renderer_is_caught() {
        assert_eq!(catch_panic(|| -> String { panic!("broken") }), None);
        assert_eq!(html_or_text(None, "a < b & c"), "a &lt; b &amp; c");
    }
}
