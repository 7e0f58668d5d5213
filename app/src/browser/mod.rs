//! All calls to browser APIs. Called only from effects and event handlers; compiles natively but never runs there.

pub mod api;
pub mod clipboard;
pub mod clock;
pub mod draft;
pub mod page;
pub mod scroll;
pub mod stream;
