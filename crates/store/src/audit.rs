//! What admins did: append-only.

use crate::Result;
use domain::UserId;
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// One act.
pub struct Entry<'a> {
    /// Who; none for the command line.
    pub actor: Option<UserId>,
    /// To whom; none where it was done to nobody.
    pub subject: Option<UserId>,
    /// What, as a verb: `set_plan`.
    pub action: &'a str,
    /// The value before.
    pub before: Option<&'a str>,
    /// The value after.
    pub after: Option<&'a str>,
}

/// Writes one act down.
///
/// # Errors
/// When Postgres does.
pub async fn write(db: impl PgExecutor<'_>, entry: &Entry<'_>, now: OffsetDateTime) -> Result<()> {
    sqlx::query!(
        "insert into audit (audit_id, actor_id, subject_id, action, before, after, created_at)
         values ($1, $2, $3, $4, $5, $6, $7)",
        Uuid::now_v7(),
        entry.actor.map(Uuid::from),
        entry.subject.map(Uuid::from),
        entry.action,
        entry.before,
        entry.after,
        now,
    )
    .execute(db)
    .await?;
    Ok(())
}
