//! The chat's state on the page. `send` starts turns, `refused` handles those that aren't accepted, `catch_up` follows turns of other tabs and
//! devices, and `events` connects all of it to the page.

use super::attach::UploadedFile;
use super::composer::Composer;
use super::meter;
use super::queue::Queue;
use super::settings;
use super::toast::Toast;
use crate::browser::channel::Channel;
use crate::browser::dom::{self, PageElement};
use crate::browser::json::Json;
use crate::browser::scroll::Scroll;
use crate::browser::{api, draft, page};
use domain::Quota;
use leptos::task::spawn_local;
use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;

/// A message to send.
#[derive(Clone, Debug)]
pub(super) struct Message {
    /// Its text; empty to regenerate.
    pub text: String,
    /// Its files.
    pub files: Vec<UploadedFile>,
    /// The turn whose response is regenerated.
    pub retry_of: Option<String>,
    /// The message that it is another version of.
    pub edited: Option<PageElement>,
    /// The model to call.
    pub model: String,
}

impl Message {
    /// Returns a new message.
    pub fn new(text: String, model: String) -> Self {
        Self { text, files: Vec::new(), retry_of: None, edited: None, model }
    }

    /// Returns whether it follows the messages on the page, instead of replacing some of them.
    pub fn is_new(&self) -> bool {
        self.retry_of.is_none() && self.edited.is_none()
    }
}

/// The chat.
pub(super) struct Chat {
    /// The element around the whole chat.
    pub element: PageElement,
    /// Messages rendered by the server.
    pub messages: PageElement,
    /// Turns started since.
    pub turns: PageElement,
    /// The place of the refusal card.
    pub refused: PageElement,
    /// The message box and the pickers.
    pub composer: Rc<Composer>,
    /// Messages that wait for another response.
    pub queue: Rc<Queue>,
    /// The toast.
    pub toast: Rc<Toast>,
    /// The scroll position.
    pub scroll: Rc<Scroll>,
    /// The channel to other tabs, once it is open.
    pub channel: OnceCell<Rc<Channel>>,
    /// Whether the conversation is temporary, so that it isn't listed.
    pub is_temporary: bool,
    /// The account of the user, to which the draft of a new conversation belongs: after a session has expired, the tab may have another user.
    account: String,
    status: PageElement,
    connection: PageElement,
    conversation: RefCell<Option<String>>,
    /// The end of the path that the page was opened at, while that isn't the conversation's visible path.
    branch: RefCell<Option<String>>,
    /// The turn in progress.
    running: RefCell<Option<String>>,
    /// Messages that the turn in progress replaces on the page. They are hidden until the server has accepted it.
    pub replaced: RefCell<Vec<PageElement>>,
    /// The text of a message that the server hasn't accepted yet.
    pub pending: RefCell<Option<String>>,
    /// Whether the user has stopped it.
    pub is_stopped: Cell<bool>,
    /// The newest turn of the conversation that the page shows.
    pub newest: RefCell<Option<String>>,
    /// The highest level of used tokens for which a toast was shown.
    level: Cell<u64>,
    /// Whether a message waits for a free slot.
    pub is_waiting: Cell<bool>,
    /// Whether the conversation began on this page and a model may still write its title.
    pub is_new: Cell<bool>,
    /// Whether messages are being loaded.
    pub is_loading: Cell<bool>,
}

impl Chat {
    /// Finds the chat that the server rendered. Returns `None` if the page only shows earlier messages.
    pub fn find(toast: Rc<Toast>) -> Option<Rc<Self>> {
        let element = dom::element("chat")?;
        let quota = dom::element("meter").and_then(|meter| {
            let quota = meter::rendered(&meter)?;
            // Shows times by the browser's clock.
            meter::show(&meter, &quota);
            Some(quota)
        });
        let chat = Self {
            messages: dom::element("messages")?,
            turns: dom::element("turns")?,
            refused: dom::element("refused")?,
            composer: Rc::new(Composer::find()?),
            queue: Queue::new(dom::element("queue")?),
            toast,
            is_new: Cell::new(false),
            scroll: Scroll::watch(dom::element("transcript")?, dom::element("jump")?),
            channel: OnceCell::new(),
            is_temporary: element.attribute("data-temporary").is_some(),
            account: element.attribute("data-account").unwrap_or_default(),
            status: dom::element("status")?,
            connection: dom::element("connection")?,
            conversation: RefCell::new(element.attribute("data-conversation")),
            branch: RefCell::new(element.attribute("data-branch")),
            running: RefCell::default(),
            replaced: RefCell::default(),
            pending: RefCell::default(),
            is_stopped: Cell::new(false),
            newest: RefCell::default(),
            level: Cell::new(quota.as_ref().map_or(0, meter::level)),
            is_waiting: Cell::new(false),
            is_loading: Cell::new(false),
            element,
        };
        *chat.newest.borrow_mut() = chat.shown_turns().pop();
        Some(Rc::new(chat))
    }

    /// Returns the ids of the turns whose responses are on the page, in order.
    fn shown_turns(&self) -> Vec<String> {
        let answers = self.element.find_all(".answer[data-turn]:not([hidden])");
        answers.iter().filter_map(|answer| answer.attribute("data-turn")).collect()
    }

    /// Returns the messages on the page, in order, without those that are hidden.
    pub fn shown_messages(&self) -> Vec<PageElement> {
        let all = self.element.find_all(".turns > .user-message, .turns > .answer");
        all.into_iter().filter(|message| !message.is_hidden()).collect()
    }

    /// Returns the end of the path that the page shows; `None` if that is the conversation's visible path.
    pub fn branch(&self) -> Option<String> {
        self.branch.borrow().clone()
    }

    /// Notes that the path on the page is the conversation's visible one from now on.
    pub fn leave_branch(&self) {
        if self.branch.take().is_some() {
            page::clear_query();
            if let Some(notice) = dom::element("other-version") {
                notice.show(false);
            }
        }
    }

    /// Returns the open conversation; `None` until the first turn of a new one has started.
    pub fn conversation(&self) -> Option<String> {
        self.conversation.borrow().clone()
    }

    /// Sets the id of a new conversation. Its first message becomes its title.
    pub fn set_conversation(&self, id: &str, first_message: &str) {
        *self.conversation.borrow_mut() = Some(id.to_owned());
        self.element.set("data-conversation", id);
        self.is_new.set(self.element.attribute("data-writes-titles").is_some());
        draft::save(&self.account, "");
        self.save_draft();
        settings::show_conversation(id);
        let title: String = match self.is_temporary {
            true => "Temporary chat".to_owned(),
            false => first_message.lines().next().unwrap_or_default().chars().take(80).collect(),
        };
        page::show_new_conversation(id, &title, !self.is_temporary);
    }

    /// Returns the turn in progress.
    pub fn running(&self) -> Option<String> {
        self.running.borrow().clone()
    }

    /// Returns whether a turn is in progress.
    pub fn is_busy(&self) -> bool {
        self.running.borrow().is_some()
    }

    /// Sets the turn in progress, or that there is none.
    pub fn set_running(&self, turn: Option<&str>) {
        *self.running.borrow_mut() = turn.map(str::to_owned);
        self.is_stopped.set(false);
        self.element.mark("data-busy", turn.is_some());
        if turn.is_none() {
            self.element.mark("data-unsized", false);
        }
        self.composer.set_busy(turn.is_some());
        match turn {
            Some(turn) => {
                *self.newest.borrow_mut() = Some(turn.to_owned());
                self.announce("");
                self.refused.clear();
                if let Some(greeting) = dom::element("greeting") {
                    greeting.show(false);
                }
            }
            None => {
                self.show_connected(true);
                self.show_newest();
            }
        }
    }

    /// Remembers the newest turn on the page, after messages were loaded.
    pub fn show_newest(&self) {
        *self.newest.borrow_mut() = self.shown_turns().pop();
    }

    /// Announces a text to screen readers.
    pub fn announce(&self, text: &str) {
        self.status.set_text(text);
    }

    /// Shows whether the page is connected to the server. If it isn't, shows whether the browser is offline or the page is reconnecting.
    pub fn show_connected(&self, is_connected: bool) {
        let is_offline = page::is_offline();
        self.connection.mark("data-offline", is_offline);
        for (name, is_shown) in [("offline", is_offline), ("reconnecting", !is_offline)] {
            if let Some(text) = self.connection.slot(name) {
                text.show(is_shown);
            }
        }
        self.connection.show(!is_connected);
    }

    /// Saves what the server hasn't accepted: the message being sent, the waiting ones and the text in the box.
    pub fn save_draft(&self) {
        let mut texts: Vec<_> = self.pending.borrow().iter().cloned().collect();
        texts.extend(self.queue.texts());
        texts.push(self.composer.text());
        texts.retain(|text| !text.is_empty());
        draft::save(&self.draft_owner(), &texts.join("\n\n"));
    }

    /// Returns the id under which the draft is saved: that of the conversation, or of the account for a new one.
    pub fn draft_owner(&self) -> String {
        self.conversation().unwrap_or_else(|| self.account.clone())
    }

    /// Shows a quota that the server sent.
    pub fn show_quota(&self, quota: &Json) {
        if let (Some(quota), Some(meter)) = (meter::read(quota), dom::element("meter")) {
            meter::show(&meter, &quota);
        }
    }

    /// Shows the quota after a turn, and a toast if it is nearly used up.
    pub fn show_final_quota(&self, quota: &Json) {
        self.show_quota(quota);
        if let Some(quota) = meter::read(quota) {
            if let Some(text) = meter::warning(&quota, self.level.get()) {
                self.toast.show(&text);
            }
            self.level.set(meter::level(&quota));
        }
    }

    /// Loads the quota and shows it.
    pub fn refresh_quota(self: &Rc<Self>) {
        let chat = Rc::clone(self);
        spawn_local(async move {
            chat.load_quota().await;
        });
    }

    /// Loads the quota, shows it and returns it.
    pub async fn load_quota(&self) -> Option<Quota> {
        let quota = api::quota().await?;
        self.show_quota(&quota);
        meter::read(&quota)
    }
}
