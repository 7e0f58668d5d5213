//! `billing`: customers and subscriptions in Stripe.

use super::connect_stripe;
use crate::Config;
use crate::billing::reconcile;
use clap::Subcommand;
use std::io::Write;

/// Subcommands for subscriptions.
#[derive(Subcommand)]
pub enum Billing {
    /// Compare every live subscription with Stripe and correct differences.
    Reconcile,
    /// Remove the customers and subscriptions of another Stripe account, after switching from the simulator or from test to live mode.
    Forget,
}

/// Runs a `billing` subcommand.
pub(super) async fn run(command: Billing, config: &Config, db: &store::Db, out: &mut impl Write) -> anyhow::Result<()> {
    let stripe = connect_stripe(config)?;
    match command {
        Billing::Reconcile => {
            let report = reconcile::reconcile(db, &stripe).await?;
            for drift in &report.drift {
                writeln!(out, "{}: {}; {}", drift.id, drift.what, drift.repair)?;
            }
            writeln!(out, "{} subscriptions compared, {} differed.", report.checked, report.drift.len())?;
        }
        Billing::Forget => {
            let removed = reconcile::remove_unknown_customers(db, &stripe).await?;
            writeln!(out, "Customers of another Stripe account removed: {removed}.")?;
        }
    }
    Ok(())
}
