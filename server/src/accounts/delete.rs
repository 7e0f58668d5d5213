//! Deletion of an account by its user.

use super::client::ClientInfo;
use super::rejection::Rejection;
use super::{activity, confirm};
use crate::AppState;
use crate::mail::{self, Mail};
use domain::{SecurityEvent, Viewer};
use secrecy::SecretString;

/// Deletes the viewer's account and its conversations, given the password, and closes all its Stripe customers (field note 94). Ledger rows
/// are kept without the user.
///
/// # Errors
/// Returns a rejection if the password is wrong, there were too many attempts, or no admin would be left.
pub(crate) async fn delete(
    app: &AppState,
    client: &ClientInfo,
    viewer: &Viewer,
    password: SecretString,
) -> Result<(), Rejection> {
    let field = ("password", "Your account was not deleted.");
    confirm::check(app, client, viewer, field, password).await?;
    let now = AppState::now();
    if !store::account::delete(&app.db, viewer.user_id, now).await? {
        let message = "You are the only admin. Make another user an admin first: quotient admin add EMAIL";
        return Err(Rejection::invalid("", message));
    }
    activity::record(app, Some(viewer.user_id), SecurityEvent::AccountDeleted, client).await;
    let mut tx = store::begin(&app.db).await?;
    mail::queue_to(&mut tx, viewer.user_id, &viewer.email, Mail::AccountDeleted, now).await?;
    Ok(tx.commit().await?)
}
