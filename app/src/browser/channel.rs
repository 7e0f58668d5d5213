//! Notifies the user's other tabs of turns that have started.

use super::json::{Json, JsonObject};
use std::rc::Rc;
use wasm_bindgen::JsCast as _;
use wasm_bindgen::closure::Closure;
use web_sys::{BroadcastChannel, MessageEvent};

const NAME: &str = "quotient";

/// The channel between the tabs of one browser.
#[derive(Debug)]
pub struct Channel(Option<BroadcastChannel>);

/// A turn that has started in another tab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartedTurn {
    /// Its conversation.
    pub conversation: String,
    /// Its id.
    pub turn: String,
}

impl Channel {
    /// Opens the channel. In browsers without it, the page shows other tabs' turns only once it is focused.
    pub fn open(on_start: impl Fn(StartedTurn) + 'static) -> Rc<Self> {
        let channel = BroadcastChannel::new(NAME).ok();
        if let Some(channel) = &channel {
            let handler = Box::new(move |event: MessageEvent| {
                let data = Json::from_js(event.data());
                if let (Some(conversation), Some(turn)) = (data.text("conversation"), data.text("turn")) {
                    on_start(StartedTurn { conversation, turn });
                }
            });
            let closure = Closure::<dyn FnMut(MessageEvent)>::wrap_aborting(handler as Box<dyn FnMut(MessageEvent)>);
            channel.set_onmessage(Some(closure.as_ref().unchecked_ref::<js_sys::Function>()));
            // The channel is used as long as the page exists.
            closure.forget();
        }
        Rc::new(Self(channel))
    }

    /// Announces a turn that has started in this tab.
    pub fn announce(&self, started: &StartedTurn) {
        if let Some(channel) = &self.0 {
            let message = JsonObject::new()
                .with("conversation", Some(&started.conversation))
                .with("turn", Some(&started.turn))
                .into_js();
            let _ = channel.post_message(&message);
        }
    }
}
