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
use time::{Duration, OffsetDateTime};

/// Maximum age of the last proof of identity for changes that an unattended browser must not allow.
const RECENT: Duration = Duration::minutes(10);

/// Returns whether the user proved who they are within the last ten minutes of this session.
pub(crate) fn is_recent(viewer: &Viewer, now: OffsetDateTime) -> bool {
    viewer.authenticated_at.is_some_and(|at| now - at <= RECENT)
}

/// Checks the password of a signed-in user. A missing or wrong one rejects the form's `field`; `unchanged` says what then wasn't done.
///
/// # Errors
/// Returns a rejection if the password is wrong, or there were too many attempts.
pub(crate) async fn check(
    app: &AppState,
    client: &ClientInfo,
    viewer: &Viewer,
    (field, unchanged): (&'static str, &str),
    password: SecretString,
) -> Result<(), Rejection> {
    if password.expose_secret().is_empty() {
        return Err(Rejection::invalid(field, "Enter your password."));
    }
    let attempt = || Attempt::Password { user_id: viewer.user_id };
    let delay = attempts::count_attempt(app, &client.origin, attempt()).await?;
    tokio::time::sleep(delay).await;
    let found = store::account::credentials_of(&app.db, viewer.user_id).await?;
    let hash = found.and_then(|found| found.password_hash);
    match app.passwords.check(password.clone(), hash).await? {
        Checked::Wrong => {
            activity::record(app, Some(viewer.user_id), SecurityEvent::SignInFailed, client).await;
            Err(Rejection::invalid(field, format!("Incorrect password. {unchanged}")))
        }
        Checked::Right { is_outdated } => {
            attempts::clear_attempts(app, &client.origin, attempt()).await;
            if is_outdated {
                replace_hash(app, viewer.user_id, password);
            }
            Ok(())
        }
    }
}

/// Replaces an outdated hash of a password that was just found to be right, without delaying the response.
pub(super) fn replace_hash(app: &AppState, user_id: UserId, password: SecretString) {
    let app = app.clone();
    tokio::spawn(async move {
        let replaced: Result<(), Failure> = async {
            let hash = app.passwords.hash(password).await?;
            Ok(store::account::set_password_hash(&app.db, user_id, &hash).await?)
        }
        .await;
        if replaced.is_err() {
            // Logged already. The next sign-in tries again.
            metrics::counter!("quotient_rehash_failures_total").increment(1);
        }
    });
}
