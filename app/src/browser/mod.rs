//! Every touch of the browser. Called from effects and event handlers only; compiles natively, never runs there.

pub mod api;
pub mod clipboard;
pub mod clock;
pub mod draft;
pub mod page;
pub mod scroll;
pub mod stream;
