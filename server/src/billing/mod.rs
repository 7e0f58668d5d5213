//! Stripe: sends users to its pages, receives events, and syncs customers to the rows that limits and pages read.

pub(crate) mod checkout;
pub(crate) mod client;
pub(crate) mod inbox;
pub(crate) mod plans;
pub(crate) mod reconcile;
pub(crate) mod sync;

pub(crate) use client::Billing;
