//! The second factor of users with an authenticator app: a code of the app, or a recovery code. And whether a passkey is required as one.

use super::attempts::{self, Attempt};
use super::client::ClientInfo;
use super::rejection::Rejection;
use super::{activity, recovery, session, tokens, totp};
use crate::AppState;
use crate::failure::Failure;
use crate::mail::{self, Mail};
use domain::{SecurityEvent, UserId};
use store::account::{self, Credentials};
use store::{Tx, known_browser, security_event};
use time::Duration;
use tower_sessions::Session;

/// Number of wrong codes in a day after which the user is notified.
const ANNOUNCED: i64 = 5;

/// Returns the user whose second factor this session waits for.
///
/// # Errors
/// Returns a failure if a query fails.
pub(crate) async fn pending(app: &AppState, session: &Session) -> Result<Option<Credentials>, Failure> {
    let Some(token_hash) = session::current_hash(session) else { return Ok(None) };
    match store::session::pending(&app.db, &token_hash, AppState::now()).await? {
        Some(user_id) => Ok(account::credentials_of(&app.db, user_id).await?),
        None => Ok(None),
    }
}

/// Returns whether a user who has proved one factor is required to have a second one and has a passkey for it. Then the first one alone adds no
/// way to sign in.
///
/// # Errors
/// Returns an error if the query fails.
pub(super) async fn is_missing(app: &AppState, tx: &mut Tx, user: &Credentials) -> store::Result<bool> {
    if !app.config.requires_mfa(user.is_admin) {
        return Ok(false);
    }
    Ok(account::sign_in_methods(&mut *tx, user.user_id).await?.passkeys > 0)
}

/// Checks a code that a user has entered: of their authenticator app, or a recovery code. It can't be used again.
///
/// # Errors
/// Returns a rejection if it is wrong or was used before, or there were too many attempts.
pub(crate) async fn check(app: &AppState, client: &ClientInfo, user_id: UserId, typed: &str) -> Result<(), Rejection> {
    let (totp_code, recovery_code) = (tokens::entered_code(typed), recovery::entered(typed));
    if totp_code.is_none() && recovery_code.is_none() {
        let message = "Enter the 6 digits that your authenticator app shows, or one of your recovery codes.";
        return Err(Rejection::invalid("code", message));
    }
    let is_known_browser = match &client.browser {
        Some(browser) => known_browser::is_known(&app.db, user_id, browser).await?,
        None => false,
    };
    let attempt = || Attempt::SecondFactor { user_id, is_known_browser };
    attempts::count_attempt(app, &client.origin, attempt()).await?;
    let is_right = match (totp_code, recovery_code) {
        (Some(code), _) => totp::take(app, user_id, &code).await?,
        (None, Some(code)) => recovery::take(app, user_id, &code).await?,
        (None, None) => false,
    };
    if is_right {
        attempts::clear_attempts(app, &client.origin, attempt()).await;
        return Ok(());
    }
    activity::record(app, Some(user_id), SecurityEvent::CodeFailed, client).await;
    announce_wrong_codes(app, user_id).await?;
    Err(Rejection::invalid("code", "This code is wrong or was used before. Enter the next one."))
}

/// Queues a mail to a user for whom several wrong codes were entered in a day, at most one a day. They were entered by someone who has the
/// password or another first factor.
async fn announce_wrong_codes(app: &AppState, user_id: UserId) -> Result<(), Failure> {
    let now = AppState::now();
    let since = now - Duration::DAY;
    if security_event::count(&app.db, user_id, SecurityEvent::CodeFailed, since).await? < ANNOUNCED {
        return Ok(());
    }
    let mut tx = store::begin(&app.db).await?;
    mail::queue(&mut tx, user_id, &Mail::WrongCodes { at: now }, &user_id.to_string(), now).await?;
    Ok(tx.commit().await?)
}
