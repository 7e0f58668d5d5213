//! Passkey ceremonies that have begun. Each can be finished once, with its secret id.

use crate::Result;
use domain::UserId;
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// The purpose of a ceremony.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ceremony {
    /// Adding a passkey.
    Register,
    /// Signing in.
    SignIn,
    /// Proving identity again.
    Confirm,
}

impl Ceremony {
    fn as_str(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::SignIn => "sign_in",
            Self::Confirm => "confirm",
        }
    }
}

/// A ceremony to store.
pub struct NewChallenge<'a> {
    /// Hash of its id.
    pub challenge_hash: &'a [u8],
    /// Its purpose.
    pub ceremony: Ceremony,
    /// Its user; `None` if the browser isn't signed in.
    pub user_id: Option<UserId>,
    /// The state that the response is checked against.
    pub state: &'a serde_json::Value,
    /// When it began.
    pub now: OffsetDateTime,
    /// When it can no longer be finished.
    pub expires_at: OffsetDateTime,
}

/// Stores a ceremony that begins.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn begin(db: impl PgExecutor<'_>, new: &NewChallenge<'_>) -> Result<()> {
    sqlx::query!(
        "insert into factor_challenge (challenge_hash, kind, user_id, state, created_at, expires_at)
         values ($1, $2, $3, $4, $5, $6)",
        new.challenge_hash,
        new.ceremony.as_str(),
        new.user_id.map(Uuid::from),
        new.state,
        new.now,
        new.expires_at,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Takes the state of a user's ceremony, which can't be taken again. `None` if there is none or it has expired.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn take(
    db: impl PgExecutor<'_>,
    challenge_hash: &[u8],
    ceremony: Ceremony,
    user_id: Option<UserId>,
    now: OffsetDateTime,
) -> Result<Option<serde_json::Value>> {
    Ok(sqlx::query_scalar!(
        "delete from factor_challenge
         where challenge_hash = $1 and kind = $2 and user_id is not distinct from $3 and expires_at > $4
         returning state",
        challenge_hash,
        ceremony.as_str(),
        user_id.map(Uuid::from),
        now,
    )
    .fetch_optional(db)
    .await?)
}

/// Deletes expired ceremonies and returns how many.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn sweep(db: impl PgExecutor<'_>, now: OffsetDateTime) -> Result<u64> {
    Ok(sqlx::query!("delete from factor_challenge where expires_at <= $1", now).execute(db).await?.rows_affected())
}
