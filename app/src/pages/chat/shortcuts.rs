//! The sheet of keyboard shortcuts.

use leptos::prelude::*;

/// The keyboard shortcuts, in the order of the sheet. Keys that are pressed together are separated by `+`.
const SHORTCUTS: [(&str, &str); 7] = [
    ("Enter", "Send the message"),
    ("Shift+Enter", "Start a new line"),
    ("↑", "Edit your last message, if the message box is empty"),
    ("Esc", "Stop the response, or close a menu or dialog"),
    ("Ctrl+K", "Search your conversations, also with ⌘+K"),
    ("?", "Show these shortcuts"),
    ("Tab", "Go to the next control"),
];

/// A dialog, opened by the island. Escape, its button and a click outside close it.
#[component]
pub(super) fn Shortcuts() -> impl IntoView {
    let rows = SHORTCUTS
        .map(|(keys, what)| {
            let keys = keys.split('+').map(|key| view! { <kbd>{key}</kbd> }).collect_view();
            view! { <div><dt>{keys}</dt><dd>{what}</dd></div> }
        })
        .into_iter()
        .collect_view();
    view! {
        <dialog id="shortcuts" class="sheet" closedby="any" aria-labelledby="shortcuts-title">
            <h2 id="shortcuts-title">"Keyboard shortcuts"</h2>
            <dl class="keys">{rows}</dl>
            <form method="dialog"><button class="secondary small">"Close"</button></form>
        </dialog>
    }
}
