//! Deletion of an account by its user.

use super::activity;
use super::client::ClientInfo;
use super::confirm::{self, PasswordField};
use super::rejection::Rejection;
use super::session;
use crate::AppState;
use crate::mail::{self, Mail};
use domain::{SecurityEvent, Viewer};
use secrecy::SecretString;
use tower_sessions::Session;

/// Number of conversations per statement.
const BATCH: i64 = 50;

/// The result of a deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deleted {
    /// The account is deleted.
    Yes,
    /// The account has no password, and its user hasn't proved who they are in the last ten minutes. Nothing was deleted.
    MustConfirm,
}

/// Deletes the viewer's account and its conversations, and cancels the subscriptions of all its Stripe customers (field note 94). Requires
/// the password, or a recent proof of identity for an account without one. Ledger rows are kept without the user.
///
/// # Errors
/// Returns a rejection if the password is wrong, the session has ended, there were too many attempts, or no admin would be left.
pub(crate) async fn delete(
    app: &AppState,
    session: &Session,
    client: &ClientInfo,
    viewer: &Viewer,
    password: SecretString,
) -> Result<Deleted, Rejection> {
    let now = AppState::now();
    if store::account::has_password(&app.db, viewer.user_id).await? {
        let field = PasswordField { name: "password", unchanged: "Your account was not deleted." };
        confirm::check(app, client, viewer, field, password).await?;
    } else if !viewer.has_recent_proof(now) {
        return Ok(Deleted::MustConfirm);
    }
    // Not for the whole deletion, which is several transactions.
    let mut tx = store::begin(&app.db).await?;
    session::lock(&mut tx, session, viewer.user_id).await?;
    tx.commit().await?;
    // A statement of a request has a few seconds, which isn't enough for all of an account with large imports. Admins may be refused below.
    while !viewer.is_admin && store::conversation::erase_some(&app.db, viewer.user_id, BATCH).await? > 0 {}
    if !store::account::delete(&app.db, viewer.user_id, now).await? {
        let message = "You are the only admin. Make another user an admin first: quotient admin add EMAIL";
        return Err(Rejection::invalid("", message));
    }
    activity::record(app, Some(viewer.user_id), SecurityEvent::AccountDeleted, client).await;
    let mut tx = store::begin(&app.db).await?;
    mail::queue_to(&mut tx, viewer.user_id, &viewer.email, Mail::AccountDeleted, now).await?;
    tx.commit().await?;
    Ok(Deleted::Yes)
}
