//! `plans`: the plans in Stripe.

use super::connect_stripe;
use crate::Config;
use clap::Subcommand;
use std::io::Write;

/// Subcommands for plans.
#[derive(Subcommand)]
pub enum Plans {
    /// Create or find the plans' products and prices in Stripe and save their ids. Safe to run again.
    Push,
}

/// Runs a `plans` subcommand.
pub(super) async fn run(command: Plans, config: &Config, db: &store::Db, out: &mut impl Write) -> anyhow::Result<()> {
    match command {
        Plans::Push => {
            let stripe = connect_stripe(config)?;
            let changes = crate::billing::plans::push(db, &stripe, &config.public_url).await?;
            for change in &changes {
                writeln!(out, "{change}")?;
            }
            if changes.is_empty() {
                writeln!(out, "Stripe is up to date. Nothing was changed.")?;
            }
        }
    }
    Ok(())
}
