//! What is idle: the subjects and API keys whose meters can be compared with the ledger, because nothing changes them meanwhile.

use crate::Result;
use domain::ApiKeyId;
use sqlx::PgExecutor;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

/// How long ago the last call was settled of what is idle.
const QUIET: Duration = Duration::minutes(2);

/// Lists what is idle in rounds of bounded length. Each round continues where the last one ended, so that all are listed.
#[derive(Debug, Default)]
pub struct IdleRounds<T> {
    /// The last entry of the last round. The default value, which precedes all others, if the next round begins with the first entry.
    after: T,
}

/// Lists the idle subjects.
pub type IdleSubjects = IdleRounds<String>;

/// Lists the idle API keys.
pub type IdleKeys = IdleRounds<Uuid>;

impl<T: Clone + Default> IdleRounds<T> {
    /// Ends a round of at most `limit` entries. After a round with fewer, the next one begins with the first entry again.
    fn end_round(&mut self, entries: &[T], limit: u16) {
        let is_full = entries.len() >= usize::from(limit);
        self.after = entries.last().filter(|_| is_full).cloned().unwrap_or_default();
    }
}

impl IdleSubjects {
    /// Returns the next subjects, at most `limit`, with usage since an instant that are idle now: no turn is running or was settled in the
    /// last two minutes. After a round with fewer, the next one begins with the first subject again.
    ///
    /// # Errors
    /// Returns an error if the query fails. The next round then repeats this one.
    pub async fn next_round(
        &mut self,
        db: impl PgExecutor<'_>,
        since: OffsetDateTime,
        now: OffsetDateTime,
        limit: u16,
    ) -> Result<Vec<String>> {
        let subjects = sqlx::query_scalar!(
            "select subject from ai_usage where created_at >= $1 and subject > $3 group by subject
             having bool_and(status <> 'pending') and max(coalesce(settled_at, created_at)) < $2
             order by subject limit $4",
            since,
            now - QUIET,
            self.after,
            i64::from(limit),
        )
        .fetch_all(db)
        .await?;
        self.end_round(&subjects, limit);
        Ok(subjects)
    }
}

impl IdleKeys {
    /// Returns the next keys, at most `limit`, with usage since an instant that are idle now, as in [`IdleSubjects::next_round`].
    ///
    /// # Errors
    /// Returns an error if the query fails. The next round then repeats this one.
    pub async fn next_round(
        &mut self,
        db: impl PgExecutor<'_>,
        since: OffsetDateTime,
        now: OffsetDateTime,
        limit: u16,
    ) -> Result<Vec<ApiKeyId>> {
        let keys = sqlx::query_scalar!(
            r#"select api_key_id as "id!" from ai_usage where api_key_id > $3 and created_at >= $1 group by api_key_id
               having bool_and(status <> 'pending') and max(coalesce(settled_at, created_at)) < $2
               order by api_key_id limit $4"#,
            since,
            now - QUIET,
            self.after,
            i64::from(limit),
        )
        .fetch_all(db)
        .await?;
        self.end_round(&keys, limit);
        Ok(keys.into_iter().map(Into::into).collect())
    }
}

/// Returns whether a subject with usage since an instant is idle now, as in [`IdleSubjects::next_round`].
///
/// # Errors
/// Returns an error if the query fails.
pub async fn is_idle(
    db: impl PgExecutor<'_>,
    subject: &str,
    since: OffsetDateTime,
    now: OffsetDateTime,
) -> Result<bool> {
    Ok(sqlx::query_scalar!(
        r#"select coalesce(bool_and(status <> 'pending') and max(coalesce(settled_at, created_at)) < $3, false) as "is_quiet!"
           from ai_usage where subject = $1 and created_at >= $2"#,
        subject,
        since,
        now - QUIET,
    )
    .fetch_one(db)
    .await?)
}
