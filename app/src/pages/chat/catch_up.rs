//! Keeps the page up to date with turns of other tabs and devices, and loads older messages.

use super::live::format_used;
use super::more;
use super::state::Chat;
use crate::browser::api::{self, TurnStatus};
use crate::browser::channel::StartedTurn;
use crate::browser::wake::pause;
use leptos::task::spawn_local;
use std::rc::Rc;

/// Pauses before each request for the final usage of a turn. A stopped call is read on for at most 20 seconds.
const USED_PAUSES_MS: [u32; 4] = [2_000, 4_000, 8_000, 16_000];

impl Chat {
    /// Loads turns that the page doesn't show yet. A page that was opened at another path than the visible one keeps it.
    pub(super) async fn catch_up(self: &Rc<Self>) {
        let is_following = !self.is_busy() && self.branch().is_none();
        let Some(turn) = self.newest.borrow().clone().filter(|_| is_following) else { return };
        if let Some(status) = api::turn_status(&turn).await {
            self.catch_up_with(status).await;
        }
    }

    /// Shows the newest turn of the conversation, if the page doesn't show it yet, and follows it while it runs.
    pub(super) async fn catch_up_with(self: &Rc<Self>, status: TurnStatus) {
        let Some((turn, label, is_running)) = status.latest else { return };
        let is_shown = self.newest.borrow().as_ref() == Some(&turn);
        if self.is_busy() || (is_shown && !is_running) {
            return;
        }
        if self.load_messages().await && !self.is_busy() {
            if is_running {
                self.follow_other(&turn, &label);
            } else {
                // A turn without a response, for example, isn't among the shown ones. It isn't loaded again.
                *self.newest.borrow_mut() = Some(turn);
            }
        }
    }

    /// Replaces the estimated usage of a turn that has ended by the final one, once the server has it.
    pub(super) fn show_final_usage(self: &Rc<Self>, turn: &str) {
        let (chat, turn) = (Rc::clone(self), turn.to_owned());
        spawn_local(async move {
            for pause_ms in USED_PAUSES_MS {
                pause(pause_ms).await;
                let used = api::turn_status(&turn).await.and_then(|status| status.used);
                let Some((tokens, cost_usd)) = used else { continue };
                if let Some(slot) = chat.element.find(&format!(".answer[data-turn=\"{turn}\"] [data-slot=used]")) {
                    slot.set_text(&format_used(tokens, cost_usd.as_deref()));
                }
                chat.refresh_quota();
                return;
            }
        });
    }

    /// Shows a turn that another tab has started in this conversation.
    pub(super) async fn follow_tab(self: &Rc<Self>, started: StartedTurn) {
        let is_this = self.conversation().as_ref() == Some(&started.conversation);
        let is_shown = self.newest.borrow().as_ref() == Some(&started.turn);
        let is_following = !self.is_busy() && self.branch().is_none();
        if is_this && !is_shown && is_following && self.load_messages().await {
            self.follow_other(&started.turn, "");
        }
    }

    /// Replaces all messages by those of the server's path. The draft, open forms and the scroll position stay. Returns whether it succeeded; it
    /// doesn't if another turn has started meanwhile.
    pub(super) async fn load_messages(self: &Rc<Self>) -> bool {
        let Some(conversation) = self.conversation() else { return false };
        let path = self.branch().map(|leaf| format!("?message={leaf}")).unwrap_or_default();
        let before = (self.running(), self.newest.borrow().clone());
        let Ok(html) = api::fragment(&format!("/chat/{conversation}/messages{path}")).await else { return false };
        if (self.running(), self.newest.borrow().clone()) != before {
            // The loaded messages don't contain its message, which would disappear.
            return false;
        }
        let forms = self.open_forms();
        self.replaced.take();
        self.element.mark("data-unsized", true);
        self.messages.set_html(&html);
        self.turns.clear();
        self.put_back_forms(forms);
        self.scroll.keep_end();
        true
    }

    /// Loads the messages before the first one on the page and shows them in place of the link to them.
    pub(super) async fn load_earlier(self: &Rc<Self>, is_clicked: bool) {
        if self.is_loading.replace(true) {
            return;
        }
        let loaded = more::load("earlier", is_clicked).await;
        self.is_loading.set(false);
        if let Some((place, html)) = loaded {
            self.element.mark("data-unsized", self.is_busy());
            self.scroll.keep_place(|| place.replace_with_html(&html));
        }
    }
}
