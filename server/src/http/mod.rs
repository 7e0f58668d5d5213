//! HTTP: the listener, the routes and their handlers. The only folder that names axum.

mod account_form;
mod admin;
mod admin_form;
mod admin_import;
mod admin_provider;
mod admin_retention;
mod admin_user;
mod attachments;
mod auth;
mod billing;
mod brand_images;
mod browser;
mod busy;
mod chat;
mod chat_settings;
mod connection_limit;
mod conversations;
mod current_user;
mod data;
mod deadline_body;
mod demo;
mod error;
mod export;
mod extract;
mod factors;
mod fragment;
mod html_view;
mod identity;
mod import;
mod keys;
mod messages;
mod next;
mod origin;
#[cfg(debug_assertions)]
mod outbox;
mod pages;
mod passkeys;
mod protect;
mod request_span;
mod reset;
mod routes;
mod second_factor;
mod security;
mod serve;
mod settings;
mod share;
mod site;
mod socket;
mod sse;
mod static_files;
mod theme;
mod top_users;
mod turns;
mod v1;
mod verify;
mod viewer;

pub use routes::admin_paths;
pub(crate) use routes::{router, serve_metrics};
pub(crate) use serve::serve;

/// The router of the whole server.
pub(crate) type Router = axum::Router;
