//! The first proof of an account's address. Until then anyone may have created the account. A user who proves the address without being signed
//! in to the account takes it over, so everything that was added to it before is removed.

use domain::UserId;
use store::Tx;
use store::account_token::{self, TokenKind};

/// Removes everything with which the creator of the account could sign in again: identities, passkeys, the authenticator app, all
/// sessions, and a pending change of address. The password is kept; a reset replaces it.
///
/// # Errors
/// Returns an error if a query fails.
pub(super) async fn remove_others(tx: &mut Tx, user_id: UserId) -> store::Result<()> {
    store::account::remove_added_sign_in_methods(&mut *tx, user_id).await?;
    account_token::revoke(&mut *tx, user_id, TokenKind::ChangeEmail).await?;
    store::session::end_others(&mut *tx, user_id, &[]).await?;
    Ok(())
}
