//! Sign-in: with email and password, and what follows any proof of identity. Wrong passwords are slowed down instead of locking accounts, and
//! browsers in which the user has signed in before are counted separately, so that strangers can't lock the user out (field note 68).

use super::attempts::{self, Attempt};
use super::client::ClientInfo;
use super::confirm::replace_hash;
use super::password::Checked;
use super::rejection::Rejection;
use super::session::{self, Factors, NewToken};
use super::{activity, identities, second_factor};
use crate::AppState;
use crate::failure::Failure;
use crate::mail::{self, Mail};
use domain::{Problem, SecurityEvent, UserId};
use secrecy::SecretString;
use store::Tx;
use store::account::{self, Credentials};
use store::audit::{self, Entry};
use store::known_browser;
use tower_sessions::Session;
use uuid::Uuid;

/// Checks email and password, and returns the account they belong to. An unknown address takes as long as a wrong password.
///
/// # Errors
/// Returns a rejection if they are wrong, there were too many attempts, or too many passwords are waiting to be checked.
pub(crate) async fn check(
    app: &AppState,
    client: &ClientInfo,
    email: &str,
    password: SecretString,
) -> Result<Credentials, Rejection> {
    let subject = app.subject(email)?;
    let mut slot = app.passwords.reserve()?;
    let mut found = account::credentials(&app.db, email).await?;
    let user_id = found.as_ref().map(|found| found.user_id);
    let is_known_browser = is_known(app, client, user_id).await?;
    let delay = attempts::count_guess(app, &client.origin, (&subject, is_known_browser)).await?;
    if !delay.is_zero() {
        // Guesses that wait don't fill the queue.
        drop(slot);
        tokio::time::sleep(delay).await;
        slot = app.passwords.reserve()?;
        // The password may have been changed meanwhile.
        found = account::credentials(&app.db, email).await?;
    }
    let hash = found.as_ref().and_then(|found| found.password_hash.clone());
    match (app.passwords.check_in(slot, password.clone(), hash).await?, found) {
        (Checked::Right { is_outdated }, Some(mut found)) => {
            let attempt = Attempt::SignIn { subject: &subject, is_known_browser };
            attempts::clear_attempts(app, &client.origin, attempt).await;
            if is_outdated && let Some(outdated) = found.password_hash.take() {
                found.password_hash = Some(replace_hash(app, found.user_id, password, outdated).await);
            }
            Ok(found)
        }
        _ => {
            activity::record_later(app, user_id, SecurityEvent::SignInFailed, client);
            Err(Rejection::invalid("", "Incorrect email or password."))
        }
    }
}

/// Returns whether the account's user has signed in with this browser before. An unknown address is looked up too, so that it takes as long.
async fn is_known(app: &AppState, client: &ClientInfo, user_id: Option<UserId>) -> store::Result<bool> {
    let Some(browser) = &client.browser else { return Ok(false) };
    known_browser::is_known(&app.db, user_id.unwrap_or_else(|| Uuid::nil().into()), browser).await
}

/// How a user has proved who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// By the password.
    Password,
    /// By a passkey, which verifies its user and so is two factors at once.
    Passkey,
    /// By an account at another service.
    Identity,
    /// By a link that was sent to the account's address.
    Mail,
}

/// What follows a proof of identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Completed {
    /// The user is signed in.
    SignedIn,
    /// A second factor is needed first. The session waits for it.
    SecondFactor,
}

/// Signs a user in, or if they have an authenticator app and have proved one factor only, makes the session wait for the second one. The
/// credentials are those that were loaded before the proof was checked.
///
/// # Errors
/// Returns a rejection if the password has been changed since then.
pub(crate) async fn complete(
    app: &AppState,
    session: &Session,
    client: &ClientInfo,
    user: &Credentials,
    proof: Proof,
) -> Result<Completed, Rejection> {
    let factors = match proof {
        Proof::Passkey => Factors::Two,
        Proof::Password | Proof::Identity | Proof::Mail => Factors::One,
    };
    let token = NewToken::draw(session).await?;
    let mut tx = begin(app, user).await?;
    if factors == Factors::One && store::totp::is_confirmed(&mut tx, user.user_id).await? {
        token.begin_pending(&mut tx, user.user_id).await?;
        tx.commit().await?;
        token.store_in(session).await?;
        return Ok(Completed::SecondFactor);
    }
    let is_factor_missing = factors == Factors::One && second_factor::is_missing(app, &mut tx, user).await?;
    token.begin(&mut tx, user.user_id, client, factors).await?;
    tx.commit().await?;
    // A kept identity would be another way to sign in, so it waits for a second factor that is missing.
    if !is_factor_missing {
        connect_kept(app, session, client, user).await?;
    }
    finish(app, session, token, client, user).await?;
    Ok(Completed::SignedIn)
}

/// Signs in the user whose second factor this session waited for, now that it is proved.
///
/// # Errors
/// Returns a 401 problem if the session no longer waits, or a rejection if the password has been changed.
pub(crate) async fn complete_pending(
    app: &AppState,
    session: &Session,
    client: &ClientInfo,
    user: &Credentials,
) -> Result<(), Rejection> {
    let token_hash = session::current_hash(session).ok_or_else(Problem::sign_in_required)?;
    let token = NewToken::draw(session).await?;
    let mut tx = begin(app, user).await?;
    if !store::session::take_pending(&mut tx, &token_hash, user.user_id, AppState::now()).await? {
        return Err(Problem::sign_in_required().into());
    }
    token.begin(&mut tx, user.user_id, client, Factors::Two).await?;
    tx.commit().await?;
    connect_kept(app, session, client, user).await?;
    Ok(finish(app, session, token, client, user).await?)
}

/// Begins the transaction of a sign-in. Until it ends, changes of how the user signs in wait, so that they also end this session.
async fn begin(app: &AppState, user: &Credentials) -> Result<Tx, Rejection> {
    let mut tx = store::begin(&app.db).await?;
    match account::lock_unchanged(&mut tx, user).await? {
        true => Ok(tx),
        false => Err(Rejection::invalid("", "Your account was changed in the meantime. Sign in again.")),
    }
}

/// Connects an identity that waits for the user, if there is one.
async fn connect_kept(
    app: &AppState,
    session: &Session,
    client: &ClientInfo,
    user: &Credentials,
) -> Result<(), Failure> {
    identities::connect_kept(app, session, client, (user.user_id, user.email.as_str())).await
}

/// Finishes a sign-in whose session has begun: gives the browser the session's token, remembers the browser, and announces a sign-in from one
/// that was unknown by mail.
async fn finish(
    app: &AppState,
    session: &Session,
    token: NewToken,
    client: &ClientInfo,
    user: &Credentials,
) -> Result<(), Failure> {
    token.store_in(session).await?;
    if remember_browser(app, client, user.user_id).await? {
        let now = AppState::now();
        let mail = Mail::NewBrowser { user_agent: client.user_agent.clone(), at: now };
        let mut tx = store::begin(&app.db).await?;
        mail::queue_to(&mut tx, user.user_id, &user.email, mail, now).await?;
        tx.commit().await?;
    }
    activity::record(app, Some(user.user_id), SecurityEvent::SignIn, client).await;
    if user.is_admin {
        let entry = Entry {
            actor: Some(user.user_id),
            target: None,
            action: "sign_in",
            before: None,
            after: Some(&client.user_agent),
            why: None,
        };
        audit::write(&app.db, &entry, AppState::now()).await?;
    }
    Ok(())
}

/// Remembers the client's browser, and returns whether it was unknown until now.
pub(super) async fn remember_browser(app: &AppState, client: &ClientInfo, user_id: UserId) -> Result<bool, Failure> {
    let Some(browser) = &client.browser else { return Ok(true) };
    Ok(known_browser::remember(&app.db, user_id, browser, AppState::now()).await?)
}
