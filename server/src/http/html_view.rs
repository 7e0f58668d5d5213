//! The HTML view of a turn's events, which the chat page requests with `?view=html`: `block` events with rendered HTML in place of `delta`
//! events with text. The view is computed from the log's events, so it can be resumed after any of them, on any server.
//!
//! The events up to the one that the client already has are read again, because HTML depends on the text before it. The client has the HTML
//! of all of them: an event's id is that of the last piece of text in it, and other events are passed on only after all text before them.

use crate::AppState;
use crate::failure::internal;
use crate::turn::html::{Presentation, presentation};
use domain::{ModelName, TurnId, Viewer};
use futures::{StreamExt as _, stream};
use markdown::Update;
use relay::{Entry, Tail};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Shortest time between two `block` events.
const INTERVAL: Duration = Duration::from_millis(40);
/// Bytes of text that are rendered in one go before other tasks run.
const AT_ONCE: usize = 16 * 1024;

/// Returns the HTML view of a turn's events after number `after`. `tail` has all of the turn's events, from the first one on.
/// `known` is what is shown in addition to the events; with `None` it is loaded when it is needed.
pub(crate) fn html_view(
    app: AppState,
    viewer: Viewer,
    turn_id: TurnId,
    (tail, after): (Tail, u64),
    known: Option<Presentation>,
) -> Tail {
    let source = Source { tail, present: Present { app, viewer, turn_id, known } };
    let view = View::new(turn_id, after, INTERVAL);
    Box::pin(stream::unfold((source, view), async |(mut source, mut view)| {
        let entry = next(&mut source, &mut view).await?;
        Some((entry, (source, view)))
    }))
}

/// The log's events, and what is shown in addition to them.
struct Source {
    tail: Tail,
    present: Present,
}

/// Loads what is shown in addition to the events.
struct Present {
    app: AppState,
    viewer: Viewer,
    turn_id: TurnId,
    known: Option<Presentation>,
}

impl Present {
    /// Returns a `turn` event with the model's display name, the user's message as HTML, and its place in the conversation.
    async fn turn_event(&mut self, entry: Entry) -> Entry {
        let Ok(serde_json::Value::Object(mut fields)) = serde_json::from_str(&entry.data) else { return entry };
        let presentation = match self.known.take() {
            Some(known) => known,
            None => {
                let model =
                    ModelName(fields.get("model").and_then(serde_json::Value::as_str).unwrap_or_default().into());
                presentation(&self.app, &self.viewer, self.turn_id, &model).await
            }
        };
        fields.insert("label".into(), presentation.label.into());
        fields.insert("user_html".into(), presentation.user_html.into());
        fields.insert("question".into(), serde_json::to_value(presentation.question).unwrap_or_default());
        Entry { data: serde_json::Value::Object(fields).to_string().into(), ..entry }
    }

    /// Returns a `finish` event with the id of the stored response, which the next message follows.
    async fn finish_event(&self, entry: Entry) -> Entry {
        let Ok(serde_json::Value::Object(mut fields)) = serde_json::from_str(&entry.data) else { return entry };
        match store::message::find_response(&self.app.db, self.viewer.user_id, self.turn_id).await {
            Ok(Some(id)) => fields.insert("message_id".into(), id.to_string().into()),
            Ok(None) => return entry,
            Err(error) => {
                internal(&error);
                return entry;
            }
        };
        Entry { data: serde_json::Value::Object(fields).to_string().into(), ..entry }
    }
}

/// Returns the view's next event; `None` at the end.
async fn next(source: &mut Source, view: &mut View) -> Option<Entry> {
    loop {
        if let Some(entry) = view.ready.pop_front() {
            return Some(match entry.name {
                "turn" => source.present.turn_event(entry).await,
                "finish" => source.present.finish_event(entry).await,
                _ => entry,
            });
        }
        if view.is_done {
            return None;
        }
        // A dropped wait loses nothing: the events stay in `tail`.
        let arrived = match view.due() {
            None => Ok(source.tail.next().await),
            Some(due) => timeout_at(due, source.tail.next()).await,
        };
        match arrived {
            Ok(Some(entry)) => view.take(entry, Instant::now()),
            // The log broke off. The client resumes.
            Ok(None) => {
                view.flush(Instant::now());
                view.is_done = true;
            }
            Err(_) => view.flush(Instant::now()),
        }
        if view.unyielded >= AT_ONCE {
            view.unyielded = 0;
            tokio::task::yield_now().await;
        }
    }
}

/// The data of a `delta` event.
#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow)]
    text: Cow<'a, str>,
}

/// The data of a `block` event.
#[derive(Serialize)]
struct Blocks {
    updates: Vec<Update>,
}

/// Turns a log's events into those of the view. Does no I/O and reads no clock.
struct View {
    markdown: markdown::Stream,
    /// The last event that the client has.
    after: u64,
    interval: Duration,
    /// Events to send.
    ready: VecDeque<Entry>,
    /// The last `delta` event that was read.
    last_delta: u64,
    /// Whether text was read that isn't sent.
    has_unsent: bool,
    /// When text may be sent next; `None` before the first piece.
    next_flush: Option<Instant>,
    /// Whether all that the client has was read.
    caught_up: bool,
    /// The block that was open when the client lost its connection, with its HTML. It is sent whole once: what the client has of it depends
    /// on when its updates were made.
    reopened: Option<(u32, String)>,
    /// Bytes of text that were rendered since other tasks ran.
    unyielded: usize,
    is_done: bool,
}

impl View {
    fn new(turn_id: TurnId, after: u64, interval: Duration) -> Self {
        Self {
            markdown: markdown::Stream::new(&turn_id.to_string()),
            after,
            interval,
            ready: VecDeque::new(),
            last_delta: 0,
            has_unsent: false,
            next_flush: None,
            caught_up: after == 0,
            reopened: None,
            unyielded: 0,
            is_done: false,
        }
    }

    /// Returns when unsent text is due; `None` if there is none.
    fn due(&self) -> Option<Instant> {
        self.next_flush.filter(|_| self.has_unsent)
    }

    /// Reads one of the log's events.
    fn take(&mut self, entry: Entry, now: Instant) {
        let is_new = entry.id > self.after;
        if is_new && !self.caught_up {
            self.catch_up();
        }
        self.is_done |= entry.is_last;
        if entry.name == "delta" {
            self.last_delta = entry.id;
            self.push(&entry.data);
            self.has_unsent |= is_new;
            if self.has_unsent && self.next_flush.is_none_or(|due| due <= now) {
                self.flush(now);
            }
        } else if is_new {
            match entry.is_last {
                true => self.finish(),
                false => self.flush(now),
            }
            self.ready.push_back(entry);
        }
    }

    fn push(&mut self, data: &str) {
        if let Ok(Delta { text }) = serde_json::from_str(data) {
            self.markdown.push(&text);
            self.unyielded += text.len();
        }
    }

    /// Discards what the client has, except for the block that is open.
    fn catch_up(&mut self) {
        self.caught_up = true;
        let mut open: Option<(u32, String)> = None;
        for update in self.markdown.updates() {
            let html = match open.take() {
                Some((block, html)) if block == update.block => html,
                _ => String::new(),
            };
            open = Some((update.block, joined(&html, &update)));
        }
        self.reopened = open;
    }

    /// Sends the text that isn't sent.
    fn flush(&mut self, now: Instant) {
        if std::mem::take(&mut self.has_unsent) {
            self.next_flush = Some(now + self.interval);
            let updates = self.markdown.updates();
            self.send(updates);
        }
    }

    /// Sends the end of the text.
    fn finish(&mut self) {
        self.has_unsent = false;
        let updates = self.markdown.finish();
        self.send(updates);
    }

    fn send(&mut self, mut updates: Vec<Update>) {
        if let Some((block, html)) = self.reopened.take() {
            match updates.iter_mut().find(|update| update.block == block) {
                Some(update) => *update = Update { block, keep: 0, html: joined(&html, update) },
                None => updates.insert(0, Update { block, keep: 0, html }),
            }
        }
        if updates.is_empty() {
            return;
        }
        let data = serde_json::to_string(&Blocks { updates }).unwrap_or_default();
        self.ready.push_back(Entry { id: self.last_delta, name: "block", data: data.into(), is_last: false });
    }
}

/// Returns a block's HTML after an update.
fn joined(html: &str, update: &Update) -> String {
    let kept = usize::try_from(update.keep).ok().and_then(|keep| html.get(..keep)).unwrap_or_default();
    format!("{kept}{}", update.html)
}

#[cfg(test)]
mod tests;
