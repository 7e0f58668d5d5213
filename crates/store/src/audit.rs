//! The append-only log of admin actions.

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
        r#"select u.created_at, actor.email as "actor?", target.email as "target?", u.target_user_id, u.action, u.before, u.after, u.why
           from audit u left join account actor on actor.user_id = u.actor_id left join account target on target.user_id = u.target_user_id
           where $1::uuid is null or u.target_user_id = $1
           order by u.created_at desc, u.audit_id desc offset $2 limit $3"#,
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
            actor: row.actor,
            target: row.target,
            target_user_id: row.target_user_id.map(Into::into),
            action: row.action,
            before: row.before,
            after: row.after,
            why: row.why,
        })
        .collect())
}
