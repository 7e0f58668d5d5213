//! The HTTP listener. Limits connections before any route is reached.

mod connection_limit;
mod serve;

pub(crate) use serve::serve;
