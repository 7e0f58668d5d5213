//! Verification of email addresses: by a link, or by a code that is entered in the browser in which the user is signed in.

use super::attempts::{self, Attempt};
use super::client::ClientInfo;
use super::rejection::Rejection;
use super::{change_email, first_proof, links, tokens};
use crate::AppState;
use crate::mail::{self, Mail};
use domain::{UserId, Viewer};
use store::Tx;
use store::account::Verified;
use store::account_token::{self, CodeOutcome, TakenToken, TokenKind};

/// Creates a link and a code for an account's address and queues their mail. Earlier ones no longer work. The link leads on to the path `next`.
///
/// # Errors
/// Returns an error if a query fails.
pub(crate) async fn send(
    app: &AppState,
    tx: &mut Tx,
    user_id: UserId,
    email: &str,
    next: Option<&str>,
) -> anyhow::Result<()> {
    let seed = links::create(app, tx, TokenKind::VerifyEmail, user_id, email).await?;
    let mail = Mail::VerifyEmail { seed, next: next.map(str::to_owned) };
    mail::queue_to(tx, user_id, email, mail, AppState::now()).await
}

/// Sends another link and code, unless the address is verified.
///
/// # Errors
/// Returns a rejection if too many were sent.
pub(crate) async fn resend(
    app: &AppState,
    client: &ClientInfo,
    viewer: &Viewer,
    next: Option<&str>,
) -> Result<(), Rejection> {
    if viewer.is_verified {
        return Ok(());
    }
    attempts::count_attempt(app, &client.origin, Attempt::Resend { user_id: viewer.user_id }).await?;
    let mut tx = store::begin(&app.db).await?;
    send(app, &mut tx, viewer.user_id, &viewer.email, next).await?;
    Ok(tx.commit().await?)
}

/// Verifies the address that a link was sent to: the account's, or a new one that becomes the account's. If it is the account's first proof
/// and the browser isn't signed in to the account, all sessions and added ways to sign in are removed.
///
/// # Errors
/// Returns a rejection if the link doesn't work, or the new address has an account by now.
pub(crate) async fn by_link(
    app: &AppState,
    client: &ClientInfo,
    viewer: Option<&Viewer>,
    token: &str,
) -> Result<(), Rejection> {
    let (hash, now) = (links::hash(token)?, AppState::now());
    let is_own = |taken: &TakenToken| viewer.is_some_and(|viewer| viewer.user_id == taken.user_id);
    let mut tx = store::begin(&app.db).await?;
    if let Some(taken) = account_token::take(&mut tx, TokenKind::VerifyEmail, &hash, now).await? {
        return mark(app, tx, &taken, is_own(&taken)).await;
    }
    match account_token::take(&mut tx, TokenKind::ChangeEmail, &hash, now).await? {
        Some(taken) => change_email::finish(app, tx, client, &taken, is_own(&taken)).await,
        None => Err(links::expired_link()),
    }
}

/// Verifies the viewer's address by the code that was sent to it.
///
/// # Errors
/// Returns a rejection if the code is wrong or has expired, or there were too many attempts.
pub(crate) async fn by_code(
    app: &AppState,
    client: &ClientInfo,
    viewer: &Viewer,
    typed: &str,
) -> Result<(), Rejection> {
    let user_id = viewer.user_id;
    let code = tokens::entered_code(typed)
        .ok_or_else(|| Rejection::invalid("code", "Enter the 6 digits of the code in the email."))?;
    attempts::count_attempt(app, &client.origin, Attempt::Verify { user_id }).await?;
    let hash = |key: &[u8; 32]| tokens::code_hash(key, TokenKind::VerifyEmail, user_id, &code);
    let hashes = app.config.codes_keys().map(hash).collect::<anyhow::Result<Vec<_>>>()?;
    let mut tx = store::begin(&app.db).await?;
    match account_token::take_by_code(&mut tx, user_id, TokenKind::VerifyEmail, &hashes, AppState::now()).await? {
        CodeOutcome::Taken(taken) => {
            mark(app, tx, &taken, true).await?;
            attempts::clear_attempts(app, &client.origin, Attempt::Verify { user_id }).await;
            Ok(())
        }
        CodeOutcome::Wrong { left } => {
            // The wrong code counts.
            tx.commit().await?;
            Err(Rejection::invalid("code", wrong_code(left)))
        }
        CodeOutcome::Expired => {
            let message = "This code has expired, or a newer one was sent. Enter the newest code, or request another.";
            Err(Rejection::invalid("code", message))
        }
    }
}

fn wrong_code(left: u32) -> String {
    match left {
        0 => "This code is wrong, and no attempts are left. Request a new one.".to_owned(),
        1 => "This code is wrong. You have 1 attempt left.".to_owned(),
        left => format!("This code is wrong. You have {left} attempts left."),
    }
}

/// Marks the address that a token was sent to as verified, if it is still the account's. From then on its subject is the address's.
/// `is_own` is whether the browser is signed in to the account.
async fn mark(app: &AppState, mut tx: Tx, taken: &TakenToken, is_own: bool) -> Result<(), Rejection> {
    let (subject, now) = (app.subject(&taken.email)?, AppState::now());
    let verified = store::account::mark_verified(&mut tx, taken.user_id, &taken.email, &subject, now).await?;
    match verified {
        Verified::First if !is_own => first_proof::remove_others(&mut tx, taken.user_id).await?,
        Verified::First | Verified::Again => {}
        Verified::OtherAddress => return Err(links::expired_link()),
    }
    Ok(tx.commit().await?)
}
