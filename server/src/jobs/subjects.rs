//! Gives accounts whose address isn't verified a subject of their own, if they still have the subject of the address: those that existed
//! before addresses were verified, and those that a server of the previous release creates during an upgrade (field note 63).

use crate::AppState;
use crate::failure::internal;
use std::time::Duration;

/// Accounts per statement.
const BATCH: i64 = 500;

/// Repeats [`separate`] once an hour. The server calls it once before it accepts requests.
pub(super) async fn work(app: AppState) {
    loop {
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        if let Err(error) = separate(&app).await {
            internal(&format!("{error:#}"));
        }
    }
}

/// Gives all such accounts their own subject, in batches.
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
