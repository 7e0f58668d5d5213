//! The command-line subcommands, one module for each group.

mod admin;
mod billing;
mod models;
mod plans;
mod prices;
mod providers;
mod read_file;
#[cfg(debug_assertions)]
mod seed;
mod usage;

pub use self::admin::Admin;
pub use self::billing::Billing;
pub use self::models::{AddModel, Models};
pub use self::plans::{Plans, SaleOptions};
pub use self::prices::{ImportPrices, Prices};
pub use self::providers::{AddProvider, Providers};
pub use self::read_file::read_file;
pub use self::usage::Usage;

use crate::Config;
use anyhow::Context as _;
use clap::{Parser, Subcommand};
use std::io::Write;
use std::sync::Arc;

/// Command line arguments. Serves the app if no subcommand is given.
#[derive(Parser)]
#[command(version, about = "Serves the app, or runs an administrative subcommand.")]
pub struct Cli {
    /// Serves the app if none is given.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The available subcommands.
#[derive(Subcommand)]
pub enum Command {
    /// Manage admins.
    #[command(subcommand)]
    Admin(Admin),
    /// Manage LLM providers: the endpoints that serve models.
    #[command(subcommand)]
    Providers(Providers),
    /// Manage models.
    #[command(subcommand)]
    Models(Models),
    /// Compare prices with a price catalogue and add new ones.
    #[command(subcommand)]
    Prices(Prices),
    /// Manage plans and their prices, here and in Stripe.
    #[command(subcommand)]
    Plans(Plans),
    /// Manage subscriptions in Stripe.
    #[command(subcommand)]
    Billing(Billing),
    /// Manage usage rollups.
    #[command(subcommand)]
    Usage(Usage),
    /// Read one file that a user attached, within limits of memory and time. The server starts it.
    #[command(hide = true)]
    ReadFile {
        /// Whether the limits are set.
        #[arg(long)]
        limited: bool,
    },
    /// Apply database migrations and exit.
    Migrate,
    /// Fill the database with a demo company (development builds only). Its payers are customers of the Stripe simulator, if the server is
    /// connected to that.
    #[cfg(debug_assertions)]
    Seed {
        /// Number of users, in addition to an admin and a demo user.
        #[arg(long, default_value_t = 80, value_parser = clap::value_parser!(u32).range(1..=1_000))]
        users: u32,
        /// Number of days since the first of them joined.
        #[arg(long, default_value_t = 240, value_parser = clap::value_parser!(u16).range(30..=700))]
        days: u16,
    },
}

/// Connects to Postgres, applies migrations, runs a subcommand, and writes its result to `out`.
///
/// # Errors
/// Returns an error to print on the command line.
pub async fn run(command: Command, config: &Config, out: &mut impl Write) -> anyhow::Result<()> {
    crate::schema::migrate(config).await?;
    let db = store::Db::connect(&config.database_url, store::Purpose::Commands)
        .await
        .context("can't connect to Postgres at DATABASE_URL")?;
    match command {
        Command::Admin(command) => admin::run(command, &db, out).await,
        Command::Providers(command) => providers::run(command, config, &db, out).await,
        Command::Models(command) => models::run(command, config, &db, out).await,
        Command::Prices(command) => prices::run(command, &db, out).await,
        Command::Plans(command) => plans::run(command, config, &db, out).await,
        Command::Billing(command) => billing::run(command, config, &db, out).await,
        Command::Usage(command) => usage::run(command, &db, out).await,
        Command::ReadFile { limited } => read_file(limited),
        Command::Migrate => Ok(writeln!(out, "The database schema is up to date.")?),
        #[cfg(debug_assertions)]
        Command::Seed { users, days } => seed::run(config, &db, (users, days), out).await,
    }
}

/// Connects to Stripe, for subcommands that require it.
fn connect_stripe(config: &Config) -> anyhow::Result<Arc<crate::billing::Billing>> {
    crate::billing::Billing::new(config)?.context("STRIPE_SECRET_KEY isn't set")
}

/// Writes rows of cells in columns that line up. The last column may have any width.
fn write_table<const N: usize>(out: &mut impl Write, head: [&str; N], rows: &[[String; N]]) -> anyhow::Result<()> {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([head[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    for row in std::iter::once(&head.map(str::to_owned)).chain(rows) {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::write_table;

    #[test]
    fn columns_line_up_whatever_their_cells_hold() {
        let rows = [["é", "$0.1"], ["a longer name", ""]].map(|row| row.map(str::to_owned));
        let mut out = Vec::new();
        write_table(&mut out, ["MODEL", "PRICE"], &rows).unwrap();
        let expected = "MODEL          PRICE\né              $0.1\na longer name\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
