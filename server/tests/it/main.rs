//! The whole server, over HTTP, with a real Postgres, a real Redis and a provider on a real socket.

#![allow(clippy::unwrap_used, clippy::missing_panics_doc, missing_docs, reason = "a test that can't go on fails")]

mod app;
mod auth;
mod billing;
mod chaos;
mod chat;
mod crash;
mod limits;
mod owner;
mod page;
mod sums;
mod tidy;
mod turns;
mod usage;
mod visitor;
