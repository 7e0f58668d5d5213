//! Changes of the password: with the current password, or by a link that was sent to the account's address. Both end all other sessions.

use super::attempts::{self, Attempt};
use super::client::ClientInfo;
use super::confirm::{self, PasswordField};
use super::rejection::Rejection;
use super::session::{self, Factors, NewToken};
use super::sign_in::{self, Completed, Proof};
use super::{activity, breached_passwords, captcha, email, first_proof, links, password_rules};
use crate::AppState;
use crate::failure::internal;
use crate::mail::{self, Mail};
use domain::{SecurityEvent, UserId, Viewer};
use secrecy::SecretString;
use store::Tx;
use store::account::{self, Removal, Verified};
use store::account_token::{self, TakenToken, TokenKind};
use tower_sessions::Session;

/// Sets a new password, given the current one.
///
/// # Errors
/// Returns a rejection if the current password is wrong or the new one can't be used, the session has ended, or there were too many attempts.
pub(crate) async fn change(
    app: &AppState,
    session: &Session,
    client: &ClientInfo,
    viewer: &Viewer,
    current: SecretString,
    new: SecretString,
) -> Result<(), Rejection> {
    password_rules::check(&new, &viewer.email).map_err(|sentence| Rejection::invalid("password", sentence))?;
    let field = PasswordField { name: "current", unchanged: "Your password was not changed." };
    confirm::check(app, client, viewer, field, current).await?;
    breached_passwords::check(app.breached_passwords.as_deref(), &new).await?;
    let hash = app.passwords.hash(new).await?;
    let token = NewToken::draw(session).await?;
    let mut tx = store::begin(&app.db).await?;
    token.rotate(&mut tx, session, viewer.user_id, Factors::One).await?;
    set(&mut tx, viewer.user_id, &viewer.email, &hash, &token.hash()).await?;
    tx.commit().await?;
    token.store_in(session).await?;
    sign_in::remember_browser(app, client, viewer.user_id).await?;
    activity::record(app, Some(viewer.user_id), SecurityEvent::PasswordChanged, client).await;
    Ok(())
}

/// Removes the password of a user who has another way to sign in, given the password. They can set one again by a link.
///
/// # Errors
/// Returns a rejection if the password is wrong or the only way in, the session has ended, or there were too many attempts.
pub(crate) async fn remove(
    app: &AppState,
    session: &Session,
    client: &ClientInfo,
    viewer: &Viewer,
    current: SecretString,
) -> Result<(), Rejection> {
    let field = PasswordField { name: "password_to_remove", unchanged: "Your password was not removed." };
    confirm::check(app, client, viewer, field, current).await?;
    let now = AppState::now();
    let mut tx = store::begin(&app.db).await?;
    session::lock(&mut tx, session, viewer.user_id).await?;
    match account::remove_password(&mut tx, viewer.user_id).await? {
        Removal::Removed(()) => {}
        Removal::Unknown => return Ok(()),
        Removal::LastWayIn => {
            let message = "Your password is your only way to sign in. Add a passkey or connect an account first.";
            return Err(Rejection::invalid("", message));
        }
    }
    let mail = Mail::FactorRemoved { factor: "Your password".to_owned(), at: now };
    mail::queue_to(&mut tx, viewer.user_id, &viewer.email, mail, now).await?;
    tx.commit().await?;
    activity::record(app, Some(viewer.user_id), SecurityEvent::FactorRemoved, client).await;
    Ok(())
}

/// Sends a link to set a new password, if an account has this address. Whether one has can't be seen, neither in the response nor in its
/// time: the work begins after it.
///
/// # Errors
/// Returns a rejection if the address is invalid, the captcha wasn't solved, or too many links were requested.
pub(crate) async fn forgot(
    app: &AppState,
    client: &ClientInfo,
    email: &str,
    captcha_response: &str,
) -> Result<(), Rejection> {
    email::check(email).map_err(|sentence| Rejection::invalid("email", sentence))?;
    let subject = app.subject(email)?;
    attempts::count_attempt(app, &client.origin, Attempt::Reset { subject: &subject }).await?;
    captcha::check(app.captcha.as_deref(), captcha_response).await?;
    let (app, client, email) = (app.clone(), client.clone(), email.to_owned());
    tokio::spawn(async move {
        if let Err(error) = send_link(&app, &client, &email).await {
            internal(&format!("{error:#}"));
        }
    });
    Ok(())
}

async fn send_link(app: &AppState, client: &ClientInfo, email: &str) -> anyhow::Result<()> {
    let Some(found) = account::credentials(&app.db, email).await? else { return Ok(()) };
    let mut tx = store::begin(&app.db).await?;
    let seed = links::create(app, &mut tx, TokenKind::ResetPassword, found.user_id, &found.email).await?;
    let mail = Mail::ResetPassword { seed };
    mail::queue_to(&mut tx, found.user_id, &found.email, mail, AppState::now()).await?;
    tx.commit().await?;
    activity::record(app, Some(found.user_id), SecurityEvent::ResetRequested, client).await;
    Ok(())
}

/// Sets a new password by a link, and signs in; a user with an authenticator app enters its code next. The link also verifies the address
/// that it was sent to. If it is the account's first proof, all other sessions and ways to sign in are removed.
///
/// # Errors
/// Returns a rejection if the link doesn't work, the password can't be used, or too many passwords were checked.
pub(crate) async fn reset(
    app: &AppState,
    session: &Session,
    client: &ClientInfo,
    token: &str,
    new: SecretString,
) -> Result<Completed, Rejection> {
    let token_hash = links::hash(token)?;
    let kind = TokenKind::ResetPassword;
    // Not used yet, so that a password that can't be used doesn't cost the link.
    let found =
        account_token::peek(&app.db, kind, &token_hash, AppState::now()).await?.ok_or_else(links::expired_link)?;
    password_rules::check(&new, &found.email).map_err(|sentence| Rejection::invalid("password", sentence))?;
    if app.breached_passwords.is_some() {
        // A password that is refused doesn't use up the link, so nothing else limits the requests to the service.
        attempts::count_attempt(app, &client.origin, Attempt::Password { user_id: found.user_id }).await?;
        breached_passwords::check(app.breached_passwords.as_deref(), &new).await?;
    }
    let hash = app.passwords.hash(new).await?;
    let now = AppState::now();
    let mut tx = store::begin(&app.db).await?;
    let taken = account_token::take(&mut tx, kind, &token_hash, now).await?;
    let TakenToken { user_id, email, .. } = taken.ok_or_else(links::expired_link)?;
    let subject = app.subject(&email)?;
    match account::mark_verified(&mut tx, user_id, &email, &subject, now).await? {
        Verified::First => first_proof::remove_others(&mut tx, user_id).await?,
        Verified::Again => {}
        Verified::OtherAddress => return Err(links::expired_link()),
    }
    set(&mut tx, user_id, &email, &hash, &[]).await?;
    tx.commit().await?;
    activity::record(app, Some(user_id), SecurityEvent::PasswordChanged, client).await;
    // Earlier wrong guesses don't delay the owner.
    let attempt = Attempt::SignIn { subject: &subject, is_known_browser: true };
    attempts::clear_attempts(app, &client.origin, attempt).await;
    let user = account::credentials_of(&app.db, user_id).await?.ok_or_else(links::expired_link)?;
    // The mail about the new password also announces this browser. If a second factor is asked for, the browser stays unknown until then.
    if !store::totp::is_confirmed(&app.db, user_id).await? {
        sign_in::remember_browser(app, client, user_id).await?;
    }
    sign_in::complete(app, session, client, &user, Proof::Mail).await
}

/// Writes a new password and queues the mail about it. Ends a pending change of address, all other links that set a password, and all sessions
/// except the one with the token of this hash, if any, because they may have been begun with a stolen password.
async fn set(tx: &mut Tx, user_id: UserId, email: &str, hash: &str, kept: &[u8]) -> anyhow::Result<()> {
    let now = AppState::now();
    account_token::revoke(&mut *tx, user_id, TokenKind::ChangeEmail).await?;
    account_token::revoke(&mut *tx, user_id, TokenKind::ResetPassword).await?;
    account::set_password_hash(&mut *tx, user_id, hash).await?;
    store::session::end_others(&mut *tx, user_id, kept).await?;
    mail::queue_to(tx, user_id, email, Mail::PasswordChanged { at: now }, now).await
}
