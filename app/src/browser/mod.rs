//! All calls to browser APIs. Called only from effects and event handlers; compiles natively but never runs there.

pub mod api;
pub mod channel;
pub mod clipboard;
pub mod clock;
pub mod dom;
pub mod draft;
pub mod files;
pub mod json;
pub mod morph;
pub mod page;
pub mod scroll;
pub mod stream;
pub mod turn;
pub mod wake;
