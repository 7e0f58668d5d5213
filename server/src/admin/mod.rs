//! What the owner is told: alerts by mail and webhook.

pub(crate) mod alerts;
