//! Global settings of the deployment: a single row that every turn reads.

use crate::turn::Switches;
use crate::{Db, Result};
use domain::{Picos, UserId};
use sqlx::PgExecutor;
use time::OffsetDateTime;

/// Loads the current switches.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn switches(db: impl PgExecutor<'_>) -> Result<Switches> {
    let row = sqlx::query!("select paused, daily_spend_usd from deployment").fetch_one(db).await?;
    Ok(Switches { paused: row.paused, daily_spend: row.daily_spend_usd.and_then(Picos::from_usd) })
}

/// Formats the switches for the audit log.
fn describe(switches: Switches) -> String {
    let cap = switches.daily_spend.map_or_else(|| "no cap".to_owned(), |cap| format!("${} a day", cap.exact()));
    format!("{}, {cap}", if switches.paused { "off" } else { "on" })
}

/// Applies `change` to the current switches under a row lock and writes an audit row if they differ. Every server uses the new switches
/// from its next turn on.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn set_switches(
    db: &Db,
    actor: UserId,
    change: impl FnOnce(&mut Switches),
    now: OffsetDateTime,
) -> Result<()> {
    let mut tx = crate::begin(db).await?;
    sqlx::query!("select deployment_id from deployment for update").fetch_one(&mut tx).await?;
    let before = switches(&mut tx).await?;
    let mut new = before;
    change(&mut new);
    if before != new {
        sqlx::query!(
            "update deployment set paused = $1, daily_spend_usd = $2",
            new.paused,
            new.daily_spend.map(Picos::to_usd),
        )
        .execute(&mut tx)
        .await?;
        let entry = crate::audit::Entry {
            actor: Some(actor),
            target: None,
            action: "set_global",
            before: Some(&describe(before)),
            after: Some(&describe(new)),
            why: None,
        };
        crate::audit::write(&mut tx, &entry, now).await?;
    }
    tx.commit().await?;
    Ok(())
}
