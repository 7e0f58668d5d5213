//! Keyed hashes of accounts that only the server can compute: subjects of accounts from before addresses were verified, which have the
//! subject of their address although it was never verified, and hashes of addresses from before these were stored.

use crate::Result;
use domain::UserId;
use sqlx::PgExecutor;
use uuid::Uuid;

/// Lists accounts that have the subject of their address although it isn't verified, at most `limit`.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn list_shared_subjects(db: impl PgExecutor<'_>, limit: i64) -> Result<Vec<UserId>> {
    let rows = sqlx::query_scalar!(
        "select user_id from account where not subject_is_own and email_verified_at is null order by user_id limit $1",
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// Gives accounts that [`list_shared_subjects`] listed a subject of their own, in the same order. An account whose address has been verified
/// meanwhile keeps its subject.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn set_own_subjects(db: impl PgExecutor<'_>, users: &[UserId], subjects: &[String]) -> Result<()> {
    let users: Vec<Uuid> = users.iter().copied().map(Uuid::from).collect();
    // Servers that start at the same time lock the rows in the same order.
    sqlx::query!(
        "with locked as (
           select user_id from account where user_id = any($1::uuid[]) order by user_id for no key update
         )
         update account a set subject = own.subject, subject_is_own = true
         from unnest($1::uuid[], $2::text[]) own (user_id, subject) join locked using (user_id)
         where a.user_id = own.user_id and not a.subject_is_own and a.email_verified_at is null",
        &users,
        subjects,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Lists accounts without the hash of their address, with the address, at most `limit`.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn list_without_address_hash(db: impl PgExecutor<'_>, limit: i64) -> Result<Vec<(UserId, String)>> {
    let rows =
        sqlx::query!("select user_id, email from account where address_hash is null order by user_id limit $1", limit,)
            .fetch_all(db)
            .await?;
    Ok(rows.into_iter().map(|row| (row.user_id.into(), row.email)).collect())
}

/// Sets the address hashes of accounts that [`list_without_address_hash`] listed, in the same order. An account whose address has been changed
/// meanwhile keeps its hash.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn set_address_hashes(db: impl PgExecutor<'_>, users: &[UserId], hashes: &[String]) -> Result<()> {
    let users: Vec<Uuid> = users.iter().copied().map(Uuid::from).collect();
    sqlx::query!(
        "with locked as (
           select user_id from account where user_id = any($1::uuid[]) order by user_id for no key update
         )
         update account a set address_hash = found.address_hash
         from unnest($1::uuid[], $2::text[]) found (user_id, address_hash) join locked using (user_id)
         where a.user_id = found.user_id and a.address_hash is null",
        &users,
        hashes,
    )
    .execute(db)
    .await?;
    Ok(())
}
