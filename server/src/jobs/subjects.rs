//! Fills in keyed hashes that migrations can't compute. Accounts whose address isn't verified get a subject of their own, if they still have
//! the subject of the address: those that existed before addresses were verified, and those that a server of the previous release creates
//! during an upgrade (field note 63). Accounts without the hash of their address get it.

use crate::AppState;
use crate::failure::internal;
use std::time::Duration;

/// Accounts per statement.
const BATCH: i64 = 500;

/// Fills in the hashes that accounts lack, now and once an hour.
pub(super) async fn work(app: AppState) {
    loop {
        for filled in [separate(&app).await, hash_addresses(&app).await] {
            if let Err(error) = filled {
                internal(&format!("{error:#}"));
            }
        }
        tokio::time::sleep(Duration::from_secs(3_600)).await;
    }
}

/// Gives all accounts that need one a subject of their own, in batches. The server calls it once before it accepts requests.
pub(crate) async fn separate(app: &AppState) -> anyhow::Result<()> {
    loop {
        let users = store::account::list_shared_subjects(&app.db, BATCH).await?;
        if users.is_empty() {
            return Ok(());
        }
        let subjects = users.iter().map(|user_id| app.own_subject(*user_id)).collect::<anyhow::Result<Vec<_>>>()?;
        store::account::set_own_subjects(&app.db, &users, &subjects).await?;
        tracing::info!(accounts = users.len(), "unverified accounts have subjects of their own");
    }
}

/// Stores the hash of the address of all accounts that have none, in batches.
async fn hash_addresses(app: &AppState) -> anyhow::Result<()> {
    loop {
        let accounts = store::account::list_without_address_hash(&app.db, BATCH).await?;
        if accounts.is_empty() {
            return Ok(());
        }
        let hashes = accounts.iter().map(|(_, email)| app.subject(email)).collect::<anyhow::Result<Vec<_>>>()?;
        let users: Vec<_> = accounts.into_iter().map(|(user_id, _)| user_id).collect();
        store::account::set_address_hashes(&app.db, &users, &hashes).await?;
        tracing::info!(accounts = users.len(), "accounts have the hash of their address");
    }
}
