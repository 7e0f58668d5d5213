//! The browser's entry point: hydrates the islands of a server-rendered page.

/// Hydrates the islands. Called by the script in the page's shell once the wasm has loaded.
#[wasm_bindgen::prelude::wasm_bindgen]
pub fn hydrate() {
    // References the crate, so that the linker keeps the islands' exports.
    use app as _;
    console_error_panic_hook::set_once();
    leptos::mount::hydrate_islands();
}
