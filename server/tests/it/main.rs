//! The whole server, over HTTP, with a real Postgres, a real Redis and a vendor on a real socket.

mod auth;
mod chat;
mod house;
mod limits;
mod page;
mod tidy;
mod usage;
