//! Changes of the email address. The new address counts once its link was opened; the previous one can undo the change for seven days.

use super::attempts::{self, Attempt};
use super::client::ClientInfo;
use super::confirm::{self, PasswordField};
use super::rejection::Rejection;
use super::{activity, email, first_proof, links};
use crate::AppState;
use crate::mail::{self, Mail};
use domain::{SecurityEvent, Viewer};
use secrecy::SecretString;
use store::Tx;
use store::account::{self, Changed};
use store::account_token::{self, TakenToken, TokenKind};

/// Sends a link to a new address, given the password.
///
/// # Errors
/// Returns a rejection if the address is invalid or has an account, the password is wrong, or there were too many attempts.
pub(crate) async fn request(
    app: &AppState,
    client: &ClientInfo,
    viewer: &Viewer,
    new_email: &str,
    password: SecretString,
) -> Result<(), Rejection> {
    email::check_new(new_email).map_err(|sentence| Rejection::invalid("email", sentence))?;
    if new_email == viewer.email {
        return Err(Rejection::invalid("email", "This is your current address."));
    }
    let field = PasswordField { name: "password", unchanged: "Your email address was not changed." };
    confirm::check(app, client, viewer, field, password).await?;
    // Each request sends a mail to an address that may be a stranger's, or reveals that the address has an account.
    attempts::count_attempt(app, &client.origin, Attempt::Resend { user_id: viewer.user_id }).await?;
    let owner = account::credentials(&app.db, new_email).await?;
    // The own address in other letters is a change too.
    if owner.is_some_and(|owner| owner.user_id != viewer.user_id) {
        return Err(taken("email"));
    }
    let mut tx = store::begin(&app.db).await?;
    let seed = links::create(app, &mut tx, TokenKind::ChangeEmail, viewer.user_id, new_email).await?;
    let mail = Mail::ConfirmNewEmail { seed };
    mail::queue_to(&mut tx, viewer.user_id, new_email, mail, AppState::now()).await?;
    Ok(tx.commit().await?)
}

/// Makes the address that a link was sent to the account's, and notifies both addresses. `is_own` is whether the browser is signed in to the
/// account. If it isn't and no address of the account was verified before, all sessions and added ways to sign in are removed.
///
/// # Errors
/// Returns a rejection if the address has another account by now.
pub(super) async fn finish(
    app: &AppState,
    mut tx: Tx,
    client: &ClientInfo,
    taken_token: &TakenToken,
    is_own: bool,
) -> Result<(), Rejection> {
    let (user_id, new_email, now) = (taken_token.user_id, taken_token.email.as_str(), AppState::now());
    let subject = app.subject(new_email)?;
    let changed = account::change_email(&mut tx, user_id, new_email, &subject, now).await?;
    let Changed::Yes { old_email, is_first_proof } = changed else { return Err(taken("")) };
    if is_first_proof && !is_own {
        first_proof::remove_others(&mut tx, user_id).await?;
    }
    let seed = links::create(app, &mut tx, TokenKind::UndoEmail, user_id, &old_email).await?;
    let changed = Mail::EmailChanged { new_email: new_email.to_owned(), seed };
    mail::queue_to(&mut tx, user_id, &old_email, changed, now).await?;
    mail::queue_to(&mut tx, user_id, new_email, Mail::EmailConfirmed, now).await?;
    tx.commit().await?;
    activity::record(app, Some(user_id), SecurityEvent::EmailChanged, client).await;
    Ok(())
}

/// Gives an account its previous address back, by the link that was sent to it. The user who changed the address may be signed in, may know
/// the password and may have added ways to sign in, so all sessions end, the password no longer works, and identities, passkeys, an
/// authenticator app and recovery codes that were added since are removed. Older ones are kept, because the user added them.
///
/// # Errors
/// Returns a rejection if the link doesn't work, or the address has another account by now.
pub(crate) async fn undo(app: &AppState, client: &ClientInfo, token: &str) -> Result<(), Rejection> {
    let (hash, now) = (links::hash(token)?, AppState::now());
    account_token::peek(&app.db, TokenKind::UndoEmail, &hash, now).await?.ok_or_else(links::expired_link)?;
    // The hash of a random password.
    let password_hash = app.passwords.hash(hex::encode(rand::random::<[u8; 32]>()).into()).await?;
    let mut tx = store::begin(&app.db).await?;
    let found = account_token::take(&mut tx, TokenKind::UndoEmail, &hash, now).await?;
    // The link was created with the change.
    let TakenToken { user_id, email, created_at: since } = found.ok_or_else(links::expired_link)?;
    let subject = app.subject(&email)?;
    let Changed::Yes { old_email, .. } = account::change_email(&mut tx, user_id, &email, &subject, now).await? else {
        return Err(taken(""));
    };
    account::set_password_hash(&mut tx, user_id, &password_hash).await?;
    store::session::end_others(&mut tx, user_id, &[]).await?;
    store::external_identity::remove_since(&mut tx, user_id, since).await?;
    store::passkey::remove_since(&mut tx, user_id, since).await?;
    store::totp::remove_since(&mut tx, user_id, since).await?;
    store::recovery_code::remove_since(&mut tx, user_id, since).await?;
    for to in [&email, &old_email] {
        mail::queue_to(&mut tx, user_id, to, Mail::EmailRestored { email: email.clone() }, now).await?;
    }
    tx.commit().await?;
    activity::record(app, Some(user_id), SecurityEvent::EmailChanged, client).await;
    Ok(())
}

fn taken(field: &'static str) -> Rejection {
    Rejection::invalid(field, "This address belongs to another account.")
}
