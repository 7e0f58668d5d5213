//! A turn's event log. Its owner appends; anyone reads from an id, on the owner's server from memory and on any other
//! from Redis. Logs live ten minutes past the end, then the transcript is the place to look.

mod log;

pub use log::{Entry, Relay, RelayError, Tail, Writer};
