//! `admin`: the users who can open `/admin`.

use crate::AppState;
use anyhow::ensure;
use clap::Subcommand;
use std::io::Write;

/// Subcommands for admins, the users who can open `/admin`.
#[derive(Subcommand)]
pub enum Admin {
    /// Make an existing user an admin.
    Add {
        /// The user's email.
        email: String,
    },
}

/// Runs an `admin` subcommand.
pub(super) async fn run(command: Admin, db: &store::Db, out: &mut impl Write) -> anyhow::Result<()> {
    match command {
        Admin::Add { email } => {
            let email = email.trim();
            let is_found = store::account::make_admin(db, email, AppState::now()).await?;
            ensure!(is_found, "No account with the email {email}. Sign up first.");
            writeln!(out, "{email} is now an admin.")?;
        }
    }
    Ok(())
}
