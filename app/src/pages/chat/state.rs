//! The chat island's state and event handlers: sending, streaming, resuming and regenerating turns.

use super::live::{TurnState, TurnView, low_quota_text};
use super::refusal;
use crate::browser::{api, clock, draft, page, scroll, stream};
use crate::view::conversation::AvailableModel;
use domain::{ConversationId, ModelName, Problem, Quota, TurnEvent, TurnId};
use futures::{Stream, StreamExt};
use gloo_timers::future::TimeoutFuture;
use leptos::{html, prelude::*, task::spawn_local};

/// State shared by the parts of the chat.
#[derive(Clone, Copy)]
pub(super) struct ChatState {
    /// The open conversation; `None` until the first turn of a new one has started.
    conversation: RwSignal<Option<ConversationId>>,
    /// Turns started since the page was rendered, oldest first.
    pub turns: RwSignal<Vec<TurnView>>,
    /// The remaining quota; `None` if it can't be loaded.
    pub quota: RwSignal<Option<Quota>>,
    /// Available models, used to look up display names.
    models: StoredValue<Vec<AvailableModel>>,
    /// Name of the selected model.
    pub model: RwSignal<String>,
    /// The selected reasoning effort; empty leaves it to the model.
    pub effort: RwSignal<String>,
    /// The turn in progress.
    pub running: RwSignal<Option<TurnId>>,
    /// Whether the text box contains a message to send.
    pub has_text: RwSignal<bool>,
    /// Text for screen readers.
    pub announced: RwSignal<String>,
    /// Text of the toast; `None` if none is shown.
    pub toast: RwSignal<Option<String>>,
    /// Whether the pointer is on the toast.
    pub hovered: RwSignal<bool>,
    /// The text box.
    pub input: NodeRef<html::Textarea>,
    /// The scrolling container of all messages.
    pub transcript: NodeRef<html::Div>,
}

impl ChatState {
    /// Creates the state of a conversation (`None`: a new one) in which no turn has started since the page was rendered.
    pub fn new(conversation: Option<ConversationId>, quota: Option<Quota>, models: &[AvailableModel]) -> Self {
        let first = models.first().map(|choice| choice.name.0.clone()).unwrap_or_default();
        Self {
            conversation: RwSignal::new(conversation),
            turns: RwSignal::new(Vec::new()),
            quota: RwSignal::new(quota),
            models: StoredValue::new(models.to_vec()),
            model: RwSignal::new(first),
            effort: RwSignal::new(String::new()),
            running: RwSignal::new(None),
            has_text: RwSignal::new(false),
            announced: RwSignal::new(String::new()),
            toast: RwSignal::new(None),
            hovered: RwSignal::new(false),
            input: NodeRef::new(),
            transcript: NodeRef::new(),
        }
    }

    /// Returns whether a turn's response can be regenerated: it is the last one, and no turn is in progress.
    pub fn can_regenerate(self, turn: TurnId) -> Signal<bool> {
        Signal::derive(move || {
            self.running.get().is_none() && self.turns.read().last().is_some_and(|last| last.id == turn)
        })
    }

    /// Runs after hydration: restores the draft, scrolls to the end, resumes the turn in progress, and refreshes the meter whenever the
    /// window gains focus.
    pub fn start(self, running: Option<(TurnId, ModelName)>) {
        let Some(input) = self.input.get() else { return };
        if input.value().is_empty()
            && let Some(kept) = draft::load(self.conversation.get_untracked())
        {
            input.set_value(&kept);
        }
        self.typed();
        // The browser may have restored an earlier selection.
        if let Some(picked) = page::value_of("model") {
            self.model.set(picked);
        }
        if let Some(picked) = page::value_of("effort") {
            self.effort.set(picked);
        }
        page::focus(&input);
        self.go_to_end();
        if let Some((turn, model)) = running
            && self.turns.read_untracked().is_empty()
        {
            let live = TurnView::new(turn, String::new(), model.0);
            self.turns.update(|turns| turns.push(live.clone()));
            self.running.set(Some(turn));
            spawn_local(async move {
                match stream::resume(turn, 0).await {
                    Ok(events) => self.follow(&live, events).await,
                    Err(problem) if matches!(problem.status(), 404 | 410) => page::reload(),
                    Err(_) => self.follow(&live, futures::stream::empty()).await,
                }
                self.running.set(None);
            });
        }
        let handle = window_event_listener(leptos::ev::focus, move |_| {
            spawn_local(self.refresh());
        });
        on_cleanup(move || handle.remove());
    }

    /// Updates whether there is a message to send, and saves the draft.
    pub fn typed(self) {
        let Some(input) = self.input.get_untracked() else {
            return;
        };
        let text = input.value();
        self.has_text.set(!text.trim().is_empty());
        draft::save(self.conversation.get_untracked(), &text);
    }

    /// Puts a text into the text box and focuses it.
    pub fn fill(self, text: &str) {
        let Some(input) = self.input.get_untracked() else {
            return;
        };
        input.set_value(text);
        let _ = input.focus();
        self.typed();
    }

    /// Returns a model's display name, or its API name if it is unavailable.
    fn label(self, model: &str) -> String {
        let find = |all: &Vec<AvailableModel>| {
            all.iter().find(|choice| choice.name.0 == model).map(|choice| choice.label.clone())
        };
        self.models.with_value(find).unwrap_or_else(|| model.to_owned())
    }

    /// Returns the selected reasoning effort if the model has it.
    fn effort_of(self, model: &str) -> Option<String> {
        let effort = self.effort.get_untracked();
        let has = |all: &Vec<AvailableModel>| {
            all.iter().any(|choice| choice.name.0 == model && choice.efforts.contains(&effort))
        };
        self.models.with_value(has).then_some(effort)
    }

    /// Regenerates a turn's response. The old response stays visible until the new one starts.
    pub fn regenerate(self, turn: TurnId) {
        let earlier = self.turns.read_untracked().iter().find(|live| live.id == turn).cloned();
        let question = earlier.map(|live| live.question).unwrap_or_default();
        self.submit(question, Some(turn));
    }

    /// Stops the turn in progress, if any.
    pub fn stop(self) {
        if let Some(turn) = self.running.get_untracked() {
            spawn_local(api::stop(turn));
        }
    }

    /// Sends the message in the text box unless it is empty or a turn is in progress.
    pub fn send(self) {
        let Some(input) = self.input.get_untracked() else { return };
        let text = input.value().trim().to_owned();
        if text.is_empty() || self.running.get_untracked().is_some() {
            return;
        }
        input.set_value("");
        self.has_text.set(false);
        self.submit(text, None);
    }

    fn submit(self, text: String, retry_of: Option<TurnId>) {
        if self.running.get_untracked().is_some() {
            return;
        }
        let model = self.model.get_untracked();
        let effort = self.effort_of(&model);
        let mut live = TurnView::new(TurnId::at(clock::now()), text.clone(), self.label(&model));
        live.replaces = retry_of;
        live.hides_user_message.set(retry_of.is_some());
        self.turns.update(|turns| {
            // Cards of earlier refusals are removed.
            turns.retain(|turn| !matches!(*turn.state.read_untracked(), TurnState::Refused(_)));
            turns.push(live.clone());
        });
        self.running.set(Some(live.id));
        self.announced.set(String::new());
        self.go_to_end();
        spawn_local(async move {
            let request = stream::ChatRequest {
                conversation_id: self.conversation.get_untracked(),
                model: Some(&ModelName(model)),
                effort: effort.as_deref(),
                text: retry_of.is_none().then_some(text.as_str()),
                retry_of,
                turn_id: live.id,
            };
            let mut response = stream::start_turn(&request).await;
            // Without a response it is unknown whether the request arrived. Retrying is safe because the turn id is the idempotency key.
            for tries in 0..4 {
                if !response.as_ref().is_err_and(api::is_offline) {
                    break;
                }
                TimeoutFuture::new(1_000 << tries).await;
                response = stream::start_turn(&request).await;
            }
            match response {
                Ok(events) => {
                    self.typed();
                    self.follow(&live, events).await;
                }
                Err(problem) => self.refused(&live, problem),
            }
            self.running.set(None);
        });
    }

    /// Applies a turn's events until the final one, resuming the stream when the connection breaks. Fails the turn after five failed
    /// attempts in a row.
    async fn follow(self, live: &TurnView, events: impl Stream<Item = (u64, TurnEvent)>) {
        let mut events = events.boxed_local();
        let (mut last, mut tries) = (0, 0_u32);
        loop {
            while let Some((id, event)) = events.next().await {
                (last, tries) = (id, 0);
                let stick = self.transcript.get_untracked().is_some_and(|element| scroll::is_at_end(&element));
                live.apply_event(&event);
                self.apply_event(&event, live);
                if stick {
                    self.go_to_end();
                }
                if event.is_last() {
                    return;
                }
            }
            tries += 1;
            if tries > 5 {
                live.state.set(TurnState::Failed(api::offline()));
                return;
            }
            TimeoutFuture::new(500 * (1 << tries)).await;
            match stream::resume(live.id, last).await {
                Ok(resumed) => events = resumed.boxed_local(),
                // The turn has ended and its log is gone, so its messages are in the transcript.
                Err(problem) if matches!(problem.status(), 404 | 410) => return page::reload(),
                Err(_) => events = futures::stream::empty().boxed_local(),
            }
        }
    }

    /// Applies an event to the state outside of the turn: meter, conversation, sidebar and announcements.
    fn apply_event(self, event: &TurnEvent, live: &TurnView) {
        match event {
            TurnEvent::Turn { conversation_id, model, fallback_for, quota, .. } => {
                self.quota.set(Some(quota.clone()));
                live.model.set(self.label(&model.0));
                live.fallback_for.set(fallback_for.as_ref().map(|missing| self.label(&missing.0)));
                if let Some(earlier) = live.replaces {
                    // A superseded response in the server-rendered transcript is removed and its question kept. One from a turn in
                    // this island is removed with its question, which the new turn then shows.
                    page::remove_answer(earlier);
                    let is_live =
                        self.turns.read_untracked().iter().any(|turn| turn.id == earlier && !turn.question.is_empty());
                    live.hides_user_message.set(!is_live);
                    self.turns.update(|turns| turns.retain(|turn| turn.id != earlier));
                }
                if self.conversation.get_untracked().is_none() {
                    self.conversation.set(Some(*conversation_id));
                    draft::save(None, "");
                    self.typed();
                    page::show_new_conversation(*conversation_id, live.question.lines().next().unwrap_or_default());
                }
            }
            TurnEvent::Finish { outcome, quota, .. } => {
                if let Some(text) = low_quota_text(quota) {
                    self.show(text);
                }
                self.quota.set(Some(quota.clone()));
                let note = live.note((*outcome).into()).unwrap_or("The response is complete.");
                self.announced.set(note.into());
            }
            TurnEvent::Failed { problem } => {
                self.announced.set(problem.message.clone());
                spawn_local(self.refresh());
            }
            TurnEvent::Delta { .. } | TurnEvent::Reasoning { .. } => {}
        }
    }

    /// Handles a turn that was refused before it started: puts its text back into the text box and starts the card's countdown.
    fn refused(self, live: &TurnView, problem: Problem) {
        let message = refusal::message(&problem.message, live.replaces.is_some());
        let problem = Problem { message, ..problem };
        // For a refused regeneration, the old response and its question are still shown, so there is no text to restore.
        if live.replaces.is_none()
            && let Some(input) = self.input.get_untracked()
        {
            let restored = match input.value() {
                typed if typed.trim().is_empty() => live.question.clone(),
                typed => format!("{}\n\n{typed}", live.question),
            };
            input.set_value(&restored);
            self.typed();
        }
        let (left, id) = (live.left_ms.clone(), live.id);
        if let Some(ms) = problem.retry_after_ms {
            let until = clock::now_ms() + ms;
            left.set(Some(ms));
            spawn_local(async move {
                let is_shown = || self.turns.read_untracked().iter().any(|turn| turn.id == id);
                while is_shown() && left.get_untracked().is_some_and(|ms| ms > 0) {
                    TimeoutFuture::new(250).await;
                    left.set(Some(until.saturating_sub(clock::now_ms())));
                }
                self.refresh().await;
            });
        }
        // The card replaces any toast that is still shown.
        self.close_toast();
        live.state.set(TurnState::Refused(problem));
        self.go_to_end();
        spawn_local(self.refresh());
    }

    async fn refresh(self) {
        if let Some(quota) = api::quota().await {
            self.quota.set(Some(quota));
        }
    }

    /// Closes the toast.
    pub fn close_toast(self) {
        // No mouseleave event is fired when the toast is removed under the pointer.
        self.hovered.set(false);
        self.toast.set(None);
    }

    /// Shows a toast for six seconds, longer while the pointer is on it.
    fn show(self, text: String) {
        self.toast.set(Some(text.clone()));
        spawn_local(async move {
            TimeoutFuture::new(6_000).await;
            while self.hovered.get_untracked() {
                TimeoutFuture::new(500).await;
            }
            if self.toast.get_untracked() == Some(text) {
                self.close_toast();
            }
        });
    }

    fn go_to_end(self) {
        request_animation_frame(move || {
            if let Some(element) = self.transcript.get_untracked() {
                scroll::to_end(&element);
            }
        });
    }
}
