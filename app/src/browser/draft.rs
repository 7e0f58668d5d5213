//! Data that is kept in the browser between page loads: the unsent draft in the tab's session storage, the chosen model in its local
//! storage. Storage may be disabled; then nothing is kept.

use web_sys::Storage;

fn session() -> Option<Storage> {
    web_sys::window()?.session_storage().ok()?
}

fn local() -> Option<Storage> {
    web_sys::window()?.local_storage().ok()?
}

fn key(owner: &str) -> String {
    format!("draft:{owner}")
}

/// Saves the draft of a conversation, or of a new one of an account, by its id. Removes it if it is empty.
pub fn save(owner: &str, text: &str) {
    if let Some(storage) = session() {
        let _ = match text {
            "" => storage.remove_item(&key(owner)),
            text => storage.set_item(&key(owner), text),
        };
    }
}

/// Loads the draft saved by [`save`], if any.
#[must_use]
pub fn load(owner: &str) -> Option<String> {
    session()?.get_item(&key(owner)).ok()?
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
