//! Deletion of an account by its user.

use super::password;
use crate::AppState;
use crate::failure::Failure;
use domain::Viewer;
use secrecy::{ExposeSecret as _, SecretString};

/// The result of a deletion.
pub(crate) enum DeleteOutcome {
    /// The account was deleted.
    Deleted,
    /// The password is wrong.
    WrongPassword,
    /// Refused: no admin would be left.
    LastAdmin,
}

/// Deletes the viewer's account, its conversations and its subscription, if the entered password is right. Ledger rows are kept without the
/// user.
pub(crate) async fn delete(app: &AppState, viewer: &Viewer, entered: SecretString) -> Result<DeleteOutcome, Failure> {
    let found = store::account::credentials(&app.db, &viewer.email).await?;
    let fits = entered.expose_secret().len() <= password::MAX_BYTES;
    let hash = found.map(|found| found.password_hash).filter(|_| fits);
    if !app.passwords.is_right(entered, hash).await? {
        return Ok(DeleteOutcome::WrongPassword);
    }
    Ok(match store::account::delete(&app.db, viewer.user_id, AppState::now()).await? {
        true => DeleteOutcome::Deleted,
        false => DeleteOutcome::LastAdmin,
    })
}
