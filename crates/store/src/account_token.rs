//! Links and codes that are sent by mail to prove that an address belongs to an account. Only their hashes are stored, and each can be used
//! once.

use crate::{Result, Tx, account};
use domain::UserId;
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// Number of wrong codes after which a token is invalid.
pub const MAX_ATTEMPTS: u32 = 5;

/// The purpose of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// Proves that the account's address belongs to its user.
    VerifyEmail,
    /// Sets a new password.
    ResetPassword,
    /// Changes the account's address to the one that the token was sent to.
    ChangeEmail,
    /// Changes the account's address back to the one that the token was sent to.
    UndoEmail,
}

impl TokenKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::VerifyEmail, Self::ResetPassword, Self::ChangeEmail, Self::UndoEmail];

    /// Returns the name used in the `account_token` table.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::VerifyEmail => "verify_email",
            Self::ResetPassword => "reset_password",
            Self::ChangeEmail => "change_email",
            Self::UndoEmail => "undo_email",
        }
    }
}

/// A token to store.
pub struct NewToken<'a> {
    /// Hash of the token in the link.
    pub token_hash: [u8; 32],
    /// The account it is for.
    pub user_id: UserId,
    /// Its purpose.
    pub kind: TokenKind,
    /// Hash of the code that can be entered instead, if there is one.
    pub code_hash: Option<[u8; 32]>,
    /// The address it is sent to.
    pub email: &'a str,
    /// When it expires.
    pub expires_at: OffsetDateTime,
    /// The current time.
    pub now: OffsetDateTime,
}

/// Stores a token. Earlier tokens of the same user and kind are invalidated, except those that undo a change of address (after a second
/// change, the first address must still be able to take the account back) and those that set a password: anyone can request one for any
/// address, and would otherwise invalidate the link that its owner is about to open.
///
/// # Errors
/// Returns an error if the query fails or the account doesn't exist.
pub async fn create(tx: &mut Tx, new: &NewToken<'_>) -> Result<()> {
    // One at a time for each user, so that two concurrent requests leave one valid token.
    account::lock(tx, new.user_id).await?;
    match new.kind {
        TokenKind::VerifyEmail | TokenKind::ChangeEmail => revoke(&mut *tx, new.user_id, new.kind).await?,
        TokenKind::UndoEmail | TokenKind::ResetPassword => {}
    }
    sqlx::query!(
        "insert into account_token (token_hash, user_id, kind, code_hash, email, created_at, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7)",
        &new.token_hash[..],
        Uuid::from(new.user_id),
        new.kind.as_str(),
        new.code_hash.as_ref().map(|hash| &hash[..]),
        new.email,
        new.now,
        new.expires_at,
    )
    .execute(&mut *tx)
    .await?;
    Ok(())
}

/// Deletes a user's tokens of a kind. In a transaction, the account is locked first ([`account::lock`]).
///
/// # Errors
/// Returns an error if the query fails.
pub async fn revoke(db: impl PgExecutor<'_>, owner: UserId, kind: TokenKind) -> Result<()> {
    sqlx::query!("delete from account_token where user_id = $1 and kind = $2", Uuid::from(owner), kind.as_str())
        .execute(db)
        .await?;
    Ok(())
}

/// A token that was used, or can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenToken {
    /// The account it is for.
    pub user_id: UserId,
    /// The address it was sent to.
    pub email: String,
    /// When it was created, with what caused its mail.
    pub created_at: OffsetDateTime,
}

/// Uses a token and locks its account until the transaction ends. Returns `None` if it doesn't exist, is of another kind, was used, has expired
/// or was invalidated. Later tokens of the same user and kind are invalidated, so that a user whose change of address was undone can't revert
/// that.
///
/// # Errors
/// Returns an error if a query fails.
pub async fn take(tx: &mut Tx, kind: TokenKind, token_hash: &[u8], now: OffsetDateTime) -> Result<Option<TakenToken>> {
    let Some(found) = peek(&mut *tx, kind, token_hash, now).await? else { return Ok(None) };
    account::lock(tx, found.user_id).await?;
    let row = sqlx::query!(
        r#"with taken as (
             update account_token set used_at = $3
             where token_hash = $2 and kind = $1 and used_at is null and expires_at > $3 and attempts < $4
             returning user_id, email, created_at
           ), later as (
             delete from account_token t using taken
             where t.user_id = taken.user_id and t.kind = $1 and t.created_at >= taken.created_at and t.token_hash <> $2
           )
           select user_id as "user_id!", email as "email!", created_at as "created_at!" from taken"#,
        kind.as_str(),
        token_hash,
        now,
        MAX_ATTEMPTS.cast_signed(),
    )
    .fetch_optional(&mut *tx)
    .await?;
    Ok(row.map(|row| TakenToken { user_id: row.user_id.into(), email: row.email, created_at: row.created_at }))
}

/// Returns a token that [`take`] would take, without using it.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn peek(
    db: impl PgExecutor<'_>,
    kind: TokenKind,
    token_hash: &[u8],
    now: OffsetDateTime,
) -> Result<Option<TakenToken>> {
    let row = sqlx::query!(
        "select user_id, email, created_at from account_token
         where token_hash = $2 and kind = $1 and used_at is null and expires_at > $3 and attempts < $4",
        kind.as_str(),
        token_hash,
        now,
        MAX_ATTEMPTS.cast_signed(),
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| TakenToken { user_id: row.user_id.into(), email: row.email, created_at: row.created_at }))
}

/// The result of entering a code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CodeOutcome {
    /// The code is right; its token was used.
    Taken(TakenToken),
    /// The code is wrong.
    Wrong {
        /// How many more codes can be entered.
        left: u32,
    },
    /// The user has no token with a code, or it was used, has expired or was invalidated.
    Expired,
}

/// Uses a user's token by its code, whose hash is one of `code_hashes`, or counts a wrong code. Locks the account until the transaction ends.
///
/// # Errors
/// Returns an error if a query fails.
pub async fn take_by_code(
    tx: &mut Tx,
    owner: UserId,
    kind: TokenKind,
    code_hashes: &[[u8; 32]],
    now: OffsetDateTime,
) -> Result<CodeOutcome> {
    account::lock(tx, owner).await?;
    let hashes: Vec<Vec<u8>> = code_hashes.iter().map(|hash| hash.to_vec()).collect();
    let row = sqlx::query!(
        r#"update account_token
           set used_at = case when code_hash = any($3) then $4::timestamptz end, attempts = attempts + (code_hash <> all($3))::int
           where user_id = $1 and kind = $2 and code_hash is not null and used_at is null and expires_at > $4 and attempts < $5
           returning email, created_at, used_at is not null as "is_right!", $5 - attempts as "left!""#,
        Uuid::from(owner),
        kind.as_str(),
        &hashes,
        now,
        MAX_ATTEMPTS.cast_signed(),
    )
    .fetch_optional(&mut *tx)
    .await?;
    Ok(match row {
        None => CodeOutcome::Expired,
        Some(row) if row.is_right => {
            CodeOutcome::Taken(TakenToken { user_id: owner, email: row.email, created_at: row.created_at })
        }
        Some(row) => CodeOutcome::Wrong { left: row.left.max(0).cast_unsigned() },
    })
}

/// Returns when a user's latest token of a kind was created. `None` if there is none that was kept.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn find_latest(db: impl PgExecutor<'_>, owner: UserId, kind: TokenKind) -> Result<Option<OffsetDateTime>> {
    Ok(sqlx::query_scalar!(
        "select max(created_at) from account_token where user_id = $1 and kind = $2",
        Uuid::from(owner),
        kind.as_str(),
    )
    .fetch_one(db)
    .await?)
}

/// Deletes expired tokens and returns how many.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn sweep(db: impl PgExecutor<'_>, now: OffsetDateTime) -> Result<u64> {
    Ok(sqlx::query!("delete from account_token where expires_at <= $1", now).execute(db).await?.rows_affected())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_the_names_that_the_table_allows() {
        let migration = include_str!("../../../migrations/0011_identity.sql");
        let allowed: Vec<String> = TokenKind::ALL.iter().map(|kind| format!("'{}'", kind.as_str())).collect();
        assert!(migration.contains(&format!("check (kind in ({}))", allowed.join(", "))));
    }
}
