//! The listener: what a connection may take, before any route is reached.

mod connection_limit;
mod serve;

pub(crate) use serve::serve;
