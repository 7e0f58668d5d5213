//! Alerts to the owner, by mail and webhook.

pub(crate) mod alerts;
