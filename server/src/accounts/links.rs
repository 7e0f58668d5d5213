//! Links that are mailed: created with their mail in the transaction that causes it, and usable once.

use super::rejection::Rejection;
use super::tokens::{self, Seed};
use crate::AppState;
use anyhow::Context as _;
use domain::UserId;
use store::Tx;
use store::account_token::{self, NewToken, TokenKind};
use time::Duration;

/// How long a link can be used.
fn lifetime(kind: TokenKind) -> Duration {
    match kind {
        TokenKind::VerifyEmail | TokenKind::ResetPassword | TokenKind::ChangeEmail => Duration::minutes(30),
        TokenKind::UndoEmail => Duration::days(7),
    }
}

/// Creates a link that is sent to `email`, and returns the seed for its mail. A link to verify an address has a code too.
pub(crate) async fn create(
    app: &AppState,
    tx: &mut Tx,
    kind: TokenKind,
    user_id: UserId,
    email: &str,
) -> anyhow::Result<Seed> {
    let (seed, key, now) = (Seed::new(), &app.config.codes_key, AppState::now());
    let code_hash = match kind {
        TokenKind::VerifyEmail => Some(tokens::code_hash(key, kind, user_id, &seed.code(key, kind)?)?),
        TokenKind::ResetPassword | TokenKind::ChangeEmail | TokenKind::UndoEmail => None,
    };
    let new = NewToken {
        token_hash: tokens::token_hash(&seed.token(key, kind)?).context("a token that can't be read")?,
        user_id,
        kind,
        code_hash,
        email,
        expires_at: now + lifetime(kind),
        now,
    };
    account_token::create(tx, &new).await?;
    Ok(seed)
}

/// Returns the hash of a link's token, or rejects a text that can't be one.
pub(crate) fn hash(token: &str) -> Result<[u8; 32], Rejection> {
    tokens::token_hash(token).ok_or_else(expired_link)
}

/// The rejection of a link that doesn't work.
pub(crate) fn expired_link() -> Rejection {
    Rejection::invalid("", "This link has expired or was used before. Request a new one.")
}
