//! The append-only log of admin actions.

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
    /// Why, in the actor's words.
    pub why: Option<&'a str>,
}

/// Writes one act down.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn write(db: impl PgExecutor<'_>, entry: &Entry<'_>, now: OffsetDateTime) -> Result<()> {
    sqlx::query!(
        "insert into audit (audit_id, actor_id, subject_id, action, before, after, why, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
        Uuid::now_v7(),
        entry.actor.map(Uuid::from),
        entry.subject.map(Uuid::from),
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

/// One act as it stands written, with the addresses of those who still have an account.
pub struct Written {
    /// When.
    pub at: OffsetDateTime,
    /// Who; none for the command line, or once the account is gone.
    pub actor: Option<String>,
    /// To whom.
    pub subject: Option<String>,
    /// Whom it was done to.
    pub subject_id: Option<UserId>,
    /// What.
    pub action: String,
    /// The value before.
    pub before: Option<String>,
    /// The value after.
    pub after: Option<String>,
    /// Why.
    pub why: Option<String>,
}

/// What was done, the latest first; to one user, or by and to everybody.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn list(db: impl PgExecutor<'_>, subject: Option<UserId>, offset: i64, limit: i64) -> Result<Vec<Written>> {
    let rows = sqlx::query!(
        r#"select u.created_at, actor.email as "actor?", target.email as "subject?", u.subject_id, u.action, u.before, u.after, u.why
           from audit u left join account actor on actor.user_id = u.actor_id left join account target on target.user_id = u.subject_id
           where $1::uuid is null or u.subject_id = $1
           order by u.created_at desc, u.audit_id desc offset $2 limit $3"#,
        subject.map(Uuid::from),
        offset,
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Written {
            at: row.created_at,
            actor: row.actor,
            subject: row.subject,
            subject_id: row.subject_id.map(Into::into),
            action: row.action,
            before: row.before,
            after: row.after,
            why: row.why,
        })
        .collect())
}
