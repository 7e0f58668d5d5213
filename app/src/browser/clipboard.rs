//! Copies text to the clipboard.

use wasm_bindgen::JsCast;
use web_sys::{Element, Event, HtmlElement};

/// Handles a click on a code block's Copy button: copies the code and shows "Copied" on the button. Ignores other clicks.
pub fn copy_code(event: &Event) {
    let button = event
        .target()
        .and_then(|target| target.dyn_into::<Element>().ok())
        .and_then(|target| target.closest("[data-copy]").ok()?);
    let Some(button) = button.and_then(|button| button.dyn_into::<HtmlElement>().ok()) else {
        return;
    };
    let code = button.closest(".code").ok().flatten().and_then(|block| block.query_selector("code").ok()?);
    if let Some(text) = code.and_then(|code| code.text_content()) {
        leptos::task::spawn_local(async move {
            if copy(&text).await.is_some() {
                show_copied(button);
            }
        });
    }
}

/// Copies text to the clipboard. Returns `None` if the clipboard is unavailable (plain HTTP) or access is denied.
async fn copy(text: &str) -> Option<()> {
    let navigator = web_sys::window()?.navigator();
    js_sys::Reflect::get(&navigator, &"clipboard".into()).ok().filter(|clipboard| !clipboard.is_undefined())?;
    wasm_bindgen_futures::JsFuture::from(navigator.clipboard().write_text(text)).await.ok().map(drop)
}

fn show_copied(button: HtmlElement) {
    button.set_inner_text("Copied");
    leptos::task::spawn_local(async move {
        gloo_timers::future::TimeoutFuture::new(1_500).await;
        button.set_inner_text("Copy");
    });
}
