//! Billing flags for the owner to review: refunds, chargebacks, subscriptions without an account.

use crate::Result;
use domain::{Amount, BillingFlag};
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// Raises a flag. A cleared flag stays cleared unless the amount has changed, for example because more was refunded.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn raise(db: impl PgExecutor<'_>, flag: &BillingFlag) -> Result<()> {
    sqlx::query!(
        "insert into billing_flag (kind, object_id, user_id, amount_minor, currency, created_at)
         values ($1, $2, $3, $4, $5, $6)
         on conflict (kind, object_id) do update set amount_minor = excluded.amount_minor, created_at = excluded.created_at, cleared_at = null
             where billing_flag.amount_minor is distinct from excluded.amount_minor",
        flag.kind,
        flag.object_id,
        flag.user_id.map(Uuid::from),
        flag.amount.as_ref().map(|amount| amount.minor),
        flag.amount.as_ref().map(|amount| amount.currency.as_str()),
        flag.created_at,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Lists the flags that haven't been cleared, newest first, at most 200.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn list_open(db: impl PgExecutor<'_>) -> Result<Vec<BillingFlag>> {
    let rows = sqlx::query!(
        r#"select f.kind, f.object_id, f.user_id, f.amount_minor, f.currency, f.created_at, a.email as "email?"
           from billing_flag f left join account a using (user_id)
           where f.cleared_at is null order by f.created_at desc limit 200"#
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| BillingFlag {
            kind: row.kind,
            object_id: row.object_id,
            user_id: row.user_id.map(Into::into),
            amount: row.amount_minor.zip(row.currency).map(|(minor, currency)| Amount { minor, currency }),
            created_at: row.created_at,
            email: row.email,
        })
        .collect())
}

/// Clears a flag. Returns false if there is no uncleared flag of this kind for this object.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn clear(db: impl PgExecutor<'_>, kind: &str, object_id: &str, now: OffsetDateTime) -> Result<bool> {
    let done = sqlx::query!(
        "update billing_flag set cleared_at = $3 where kind = $1 and object_id = $2 and cleared_at is null",
        kind,
        object_id,
        now
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}
