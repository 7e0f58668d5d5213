//! A turn's event log. Its owner, the process that runs the turn, appends to it. Readers start from any event id: on the owner's server
//! they read from memory, on other servers from Redis. Logs are kept for ten minutes after the end; after that, read the transcript.

mod entry;
mod log;
mod redis_log;
mod writer;

pub use entry::Entry;
pub use log::{Relay, RelayError, Tail};
pub use writer::Writer;
