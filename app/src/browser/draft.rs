//! Keeps the unsent draft for this tab.

use domain::ConversationId;
use web_sys::Storage;

fn storage() -> Option<Storage> {
    web_sys::window()?.session_storage().ok()?
}

fn key(conversation: Option<ConversationId>) -> String {
    conversation.map_or_else(|| "draft".to_owned(), |id| format!("draft:{id}"))
}

/// Keeps a draft; an empty one is forgotten. Storage may be switched off: then there is none.
pub fn keep(conversation: Option<ConversationId>, text: &str) {
    if let Some(storage) = storage() {
        let _ = match text {
            "" => storage.remove_item(&key(conversation)),
            text => storage.set_item(&key(conversation), text),
        };
    }
}

/// The draft that was kept.
#[must_use]
pub fn kept(conversation: Option<ConversationId>) -> Option<String> {
    storage()?.get_item(&key(conversation)).ok()?
}
