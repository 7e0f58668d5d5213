//! What admins do, and alerts to them by mail and webhook.

pub(crate) mod actions;
pub(crate) mod alerts;
