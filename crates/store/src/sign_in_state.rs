//! Sign-ins that were sent to an issuer and haven't returned yet.

use crate::Result;
use domain::UserId;
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// What happens with the identity when the browser returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// It signs its user in, or creates an account.
    SignIn,
    /// It is connected to the account of a user.
    Link(UserId),
    /// A signed-in user proves again who they are.
    Confirm(UserId),
}

impl Purpose {
    fn parts(self) -> (&'static str, Option<UserId>) {
        match self {
            Self::SignIn => ("sign_in", None),
            Self::Link(user_id) => ("link", Some(user_id)),
            Self::Confirm(user_id) => ("confirm", Some(user_id)),
        }
    }

    fn from_parts(purpose: &str, user_id: Option<Uuid>) -> Option<Self> {
        match (purpose, user_id.map(UserId::from)) {
            ("sign_in", None) => Some(Self::SignIn),
            ("link", Some(user_id)) => Some(Self::Link(user_id)),
            ("confirm", Some(user_id)) => Some(Self::Confirm(user_id)),
            _ => None,
        }
    }
}

/// A sign-in under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignInState {
    /// Id of the provider that the browser was sent to.
    pub provider: String,
    /// What happens when it returns.
    pub purpose: Purpose,
    /// The nonce that the ID token must have.
    pub nonce: String,
    /// The secret that the code must be exchanged with ([PKCE](https://www.rfc-editor.org/rfc/rfc7636)).
    pub pkce_verifier: String,
    /// The path to return to; may be empty.
    pub next: String,
    /// When the browser was sent.
    pub created_at: OffsetDateTime,
}

/// Stores a sign-in under the hash of its state.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn add(
    db: impl PgExecutor<'_>,
    state_hash: &[u8],
    state: &SignInState,
    expires_at: OffsetDateTime,
) -> Result<()> {
    let (purpose, user_id) = state.purpose.parts();
    sqlx::query!(
        "insert into sign_in_state
             (state_hash, provider, purpose, nonce, pkce_verifier, user_id, next, created_at, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        state_hash,
        state.provider.as_str(),
        purpose,
        state.nonce.as_str(),
        state.pkce_verifier.as_str(),
        user_id.map(Uuid::from),
        state.next.as_str(),
        state.created_at,
        expires_at,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Takes a sign-in out, so that it can be used once. Returns `None` if it doesn't exist, was used, has expired or is of another provider.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn take(
    db: impl PgExecutor<'_>,
    state_hash: &[u8],
    provider: &str,
    now: OffsetDateTime,
) -> Result<Option<SignInState>> {
    let row = sqlx::query!(
        "delete from sign_in_state where state_hash = $1 and provider = $2
         returning provider, purpose, nonce, pkce_verifier, user_id, next, created_at, expires_at",
        state_hash,
        provider,
    )
    .fetch_optional(db)
    .await?;
    Ok(row.filter(|row| row.expires_at > now).and_then(|row| {
        Some(SignInState {
            purpose: Purpose::from_parts(&row.purpose, row.user_id)?,
            provider: row.provider,
            nonce: row.nonce,
            pkce_verifier: row.pkce_verifier,
            next: row.next,
            created_at: row.created_at,
        })
    }))
}

/// Deletes expired sign-ins and returns how many.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn sweep(db: impl PgExecutor<'_>, now: OffsetDateTime) -> Result<u64> {
    Ok(sqlx::query!("delete from sign_in_state where expires_at <= $1", now).execute(db).await?.rows_affected())
}
