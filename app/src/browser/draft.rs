//! Saves the unsent draft in the tab's session storage.

use domain::ConversationId;
use web_sys::Storage;

fn storage() -> Option<Storage> {
    web_sys::window()?.session_storage().ok()?
}

fn key(conversation: Option<ConversationId>) -> String {
    conversation.map_or_else(|| "draft".to_owned(), |id| format!("draft:{id}"))
}

/// Saves a conversation's draft (`None`: the new conversation), or removes it if it is empty. Does nothing if storage is disabled.
pub fn save(conversation: Option<ConversationId>, text: &str) {
    if let Some(storage) = storage() {
        let _ = match text {
            "" => storage.remove_item(&key(conversation)),
            text => storage.set_item(&key(conversation), text),
        };
    }
}

/// Loads the draft saved by [`save`], if any.
#[must_use]
pub fn load(conversation: Option<ConversationId>) -> Option<String> {
    storage()?.get_item(&key(conversation)).ok()?
}
