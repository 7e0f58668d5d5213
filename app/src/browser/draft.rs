//! Data that is kept in the browser between page loads: the unsent draft in the tab's session storage, the chosen model in its local
//! storage. Storage may be disabled; then nothing is kept.

use web_sys::Storage;

fn session() -> Option<Storage> {
    web_sys::window()?.session_storage().ok()?
}

fn local() -> Option<Storage> {
    web_sys::window()?.local_storage().ok()?
}

fn key(conversation: Option<&str>) -> String {
    conversation.map_or_else(|| "draft".to_owned(), |id| format!("draft:{id}"))
}

/// Saves a conversation's draft (`None`: the new conversation), or removes it if it is empty.
pub fn save(conversation: Option<&str>, text: &str) {
    if let Some(storage) = session() {
        let _ = match text {
            "" => storage.remove_item(&key(conversation)),
            text => storage.set_item(&key(conversation), text),
        };
    }
}

/// Loads the draft saved by [`save`], if any.
#[must_use]
pub fn load(conversation: Option<&str>) -> Option<String> {
    session()?.get_item(&key(conversation)).ok()?
}

/// Saves a choice, such as that of the model, for later conversations.
pub fn remember(name: &str, value: &str) {
    if let Some(storage) = local() {
        let _ = storage.set_item(name, value);
    }
}

/// Returns a choice saved by [`remember`].
#[must_use]
pub fn remembered(name: &str) -> Option<String> {
    local()?.get_item(name).ok()?
}
