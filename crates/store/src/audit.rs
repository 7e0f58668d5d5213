//! The log of admin actions. A trigger makes it append-only, another one adds the addresses of actor and target, which are kept when their
//! accounts are deleted.

use crate::Result;
use domain::{AuditEntry, UserId};
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// An admin action to record.
pub struct Entry<'a> {
    /// The admin; `None` for the command line.
    pub actor: Option<UserId>,
    /// The user it was applied to, if any.
    pub target: Option<UserId>,
    /// Name of the action, as a verb: `set_plan`.
    pub action: &'a str,
    /// The previous value.
    pub before: Option<&'a str>,
    /// The new value.
    pub after: Option<&'a str>,
    /// Reason given by the admin.
    pub why: Option<&'a str>,
}

/// Appends an entry to the audit log.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn write(db: impl PgExecutor<'_>, entry: &Entry<'_>, now: OffsetDateTime) -> Result<()> {
    sqlx::query!(
        "insert into audit (audit_id, actor_id, target_user_id, action, before, after, why, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
        Uuid::now_v7(),
        entry.actor.map(Uuid::from),
        entry.target.map(Uuid::from),
        entry.action,
        entry.before,
        entry.after,
        entry.why,
        now,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Lists entries, newest first: those about `target` if given, else all.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn list(db: impl PgExecutor<'_>, target: Option<UserId>, offset: i64, limit: i64) -> Result<Vec<AuditEntry>> {
    let rows = sqlx::query!(
        "select created_at, actor_email, target_email, target_user_id, action, before, after, why
         from audit where $1::uuid is null or target_user_id = $1
         order by created_at desc, audit_id desc offset $2 limit $3",
        target.map(Uuid::from),
        offset,
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| AuditEntry {
            at: row.created_at,
            actor: row.actor_email,
            target: row.target_email,
            target_user_id: row.target_user_id.map(Into::into),
            action: row.action,
            before: row.before,
            after: row.after,
            why: row.why,
        })
        .collect())
}
