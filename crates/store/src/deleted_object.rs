//! Objects of an object store whose rows were deleted. A trigger notes them, and a job deletes them from the store.

use crate::Result;
use sqlx::PgExecutor;

/// An object whose row was deleted.
pub struct DeletedObject {
    /// Its key.
    pub object_key: String,
    /// How often its deletion has failed.
    pub attempts: i32,
}

/// Lists objects whose rows were deleted, at most `limit`. Those that couldn't be deleted are left out until they are due again.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn list_due(db: impl PgExecutor<'_>, limit: i64) -> Result<Vec<DeletedObject>> {
    let due = sqlx::query_as!(
        DeletedObject,
        "select object_key, attempts from deleted_object where retry_at <= now() order by retry_at limit $1",
        limit,
    );
    Ok(due.fetch_all(db).await?)
}

/// Counts a failed attempt to delete objects. They are due again after a minute, twice as long after each further failure, and at most a day.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn postpone(db: impl PgExecutor<'_>, keys: &[String]) -> Result<()> {
    sqlx::query!(
        "update deleted_object set attempts = attempts + 1,
           retry_at = now() + least(interval '1 day', interval '1 minute' * power(2, least(attempts, 11)))
         where object_key = any($1)",
        keys,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Deletes the rows of objects that were deleted from the store.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn delete(db: impl PgExecutor<'_>, keys: &[String]) -> Result<()> {
    sqlx::query!("delete from deleted_object where object_key = any($1)", keys).execute(db).await?;
    Ok(())
}
