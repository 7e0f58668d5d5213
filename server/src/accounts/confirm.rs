//! Checks of a password. Each is an attempt (field note 67): wrong ones are slowed down and limited.

use super::activity;
use super::attempts::{self, Attempt};
use super::client::ClientInfo;
use super::password::Checked;
use super::rejection::Rejection;
use crate::AppState;
use crate::failure::Failure;
use domain::{SecurityEvent, UserId, Viewer};
use secrecy::{ExposeSecret as _, SecretString};

/// The field of a form in which the current password is entered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PasswordField {
    /// Its name. A missing or wrong password rejects it.
    pub name: &'static str,
    /// The sentence about the change that wasn't made.
    pub unchanged: &'static str,
}

/// Checks the password of a signed-in user before a sensitive change. For an account without a password, a recent proof of identity takes its
/// place.
///
/// # Errors
/// Returns a rejection if the password is wrong, or there were too many attempts.
pub(crate) async fn check(
    app: &AppState,
    client: &ClientInfo,
    viewer: &Viewer,
    field: PasswordField,
    password: SecretString,
) -> Result<(), Rejection> {
    match password_hash(app, viewer).await? {
        Some(hash) => check_hash(app, client, viewer, field, (password, hash)).await,
        None if viewer.has_recent_proof(AppState::now()) => Ok(()),
        None => {
            let unchanged = field.unchanged;
            let message = format!("{unchanged} Confirm that it's you under Settings, Security, then try again.");
            Err(Rejection::invalid("", message))
        }
    }
}

/// Checks the password of a signed-in user as a new proof of who they are. An account without one needs another proof.
///
/// # Errors
/// Returns a rejection if the password is wrong, or there were too many attempts.
pub(crate) async fn prove(
    app: &AppState,
    client: &ClientInfo,
    viewer: &Viewer,
    password: SecretString,
) -> Result<(), Rejection> {
    let field = PasswordField { name: "password", unchanged: "Try again." };
    match password_hash(app, viewer).await? {
        Some(hash) => check_hash(app, client, viewer, field, (password, hash)).await,
        None => Err(Rejection::invalid("", "Your account has no password. Choose another way to continue.")),
    }
}

async fn password_hash(app: &AppState, viewer: &Viewer) -> store::Result<Option<String>> {
    let found = store::account::credentials_of(&app.db, viewer.user_id).await?;
    Ok(found.and_then(|found| found.password_hash))
}

async fn check_hash(
    app: &AppState,
    client: &ClientInfo,
    viewer: &Viewer,
    field: PasswordField,
    (password, hash): (SecretString, String),
) -> Result<(), Rejection> {
    if password.expose_secret().is_empty() {
        return Err(Rejection::invalid(field.name, "Enter your password."));
    }
    let attempt = || Attempt::Password { user_id: viewer.user_id };
    attempts::count_attempt(app, &client.origin, attempt()).await?;
    match app.passwords.check(password.clone(), Some(hash.clone())).await? {
        Checked::Wrong => {
            activity::record(app, Some(viewer.user_id), SecurityEvent::SignInFailed, client).await;
            Err(Rejection::invalid(field.name, format!("Incorrect password. {}", field.unchanged)))
        }
        Checked::Right { is_outdated } => {
            attempts::clear_attempts(app, &client.origin, attempt()).await;
            if is_outdated {
                replace_hash(app, viewer.user_id, password, hash).await;
            }
            Ok(())
        }
    }
}

/// Replaces an outdated hash of a password that was just found to be correct, unless the password has been changed since the hash was loaded.
/// Returns the hash that the password has afterwards.
pub(super) async fn replace_hash(app: &AppState, user_id: UserId, password: SecretString, outdated: String) -> String {
    let replaced: Result<Option<String>, Failure> = async {
        let hash = app.passwords.hash(password).await?;
        let is_replaced = store::account::replace_password_hash(&app.db, user_id, &outdated, &hash).await?;
        Ok(is_replaced.then_some(hash))
    }
    .await;
    match replaced {
        Ok(hash) => hash.unwrap_or(outdated),
        Err(_) => {
            // Logged already. The next sign-in tries again.
            metrics::counter!("quotient_rehash_failures_total").increment(1);
            outdated
        }
    }
}
