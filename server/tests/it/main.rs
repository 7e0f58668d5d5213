//! Integration tests: the full server over HTTP, with a real Postgres, a real Redis and a fake provider on a real socket.

#![allow(clippy::unwrap_used, clippy::missing_panics_doc, missing_docs, reason = "tests panic on failure")]

mod accounts;
mod api;
mod api_keys;
mod app;
mod attachment_bills;
mod attachments;
mod auth;
mod billing;
mod branches;
mod brand;
mod chaos;
mod chat;
mod chat_settings;
mod conversations;
mod crash;
mod cycles;
mod database;
mod demo_company;
mod import;
mod limits;
mod owner;
mod page;
mod process;
mod providers;
mod settings;
mod share;
mod site;
mod sums;
mod tidy;
mod turns;
mod usage;
mod visitor;
