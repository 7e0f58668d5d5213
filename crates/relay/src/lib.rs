//! A turn's event log. Its owner appends; anyone reads from an id, on the owner's server from memory and on any other
//! from Redis. Logs live ten minutes past the end, then the transcript is the place to look.

mod entry;
mod log;
mod redis_log;

pub use entry::Entry;
pub use log::{Relay, RelayError, Tail, Writer};
