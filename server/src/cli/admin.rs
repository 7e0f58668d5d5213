//! `admin`: the users who can open `/admin`.

use crate::AppState;
use anyhow::bail;
use clap::Subcommand;
use std::io::Write;
use store::account::Promotion;

/// Subcommands for admins, the users who can open `/admin`.
#[derive(Subcommand)]
pub enum Admin {
    /// Make an existing user, who has confirmed their address, an admin.
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
            match store::account::make_admin(db, email, AppState::now()).await? {
                Promotion::Done => writeln!(out, "{email} is now an admin.")?,
                Promotion::NoAccount => bail!("No account with the email {email}. Sign up first."),
                Promotion::Unverified => bail!(
                    "The account {email} hasn't confirmed its email, so anyone may have created it. Open the link in its mail first."
                ),
            }
        }
    }
    Ok(())
}
