//! `usage`: the usage rollups.

use clap::Subcommand;
use std::io::Write;

/// Subcommands for the usage rollups.
#[derive(Subcommand)]
pub enum Usage {
    /// Rebuild the rollups from the ledger. Responses that finish during the rebuild are recorded after it.
    Rebuild,
}

/// Runs a `usage` subcommand.
pub(super) async fn run(command: Usage, db: &store::Db, out: &mut impl Write) -> anyhow::Result<()> {
    match command {
        Usage::Rebuild => {
            store::rollup::rebuild(db).await?;
            store::rollup::refresh(db, time::Duration::ZERO).await?;
            writeln!(out, "Usage rollups rebuilt.")?;
        }
    }
    Ok(())
}
