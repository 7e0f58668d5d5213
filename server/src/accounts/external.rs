//! Sign-in with an identity at another service. An unknown identity gets an account of its own, unless its address has one: that account is
//! never opened by an address alone.

use super::attempts::{self, Attempt};
use super::client::ClientInfo;
use super::identities::{self, ExternalIdentity};
use super::rejection::Rejection;
use super::session::{self, Factors};
use super::sign_in::{self, Completed, Proof};
use super::sign_up::terms_changed;
use super::{activity, email, profile, verify};
use crate::AppState;
use crate::failure::Failure;
use domain::{SecurityEvent, UserId, brand};
use store::account::{self, Created, Credentials, NewAccount};
use store::external_identity::{self, NewIdentity};
use tower_sessions::Session;

/// The result of a sign-in with another service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The user is signed in.
    SignedIn,
    /// A second factor is needed first. The session waits for it.
    SecondFactor,
    /// The address belongs to an account that the identity isn't connected to.
    Exists {
        /// Whether the identity is connected as soon as the user has signed in to the account in this browser.
        is_kept: bool,
    },
}

/// Signs in with an identity, or creates an account for it. The link that verifies a new account's address leads on to `chosen_plan`, the path of
/// the plan that was chosen before. A new account accepts `terms`, the version of the terms that the page with the button showed.
///
/// # Errors
/// Returns a rejection if the service sent no usable address, the terms have changed meanwhile, or there were too many sign-ups.
pub(crate) async fn sign_in_with(
    app: &AppState,
    session: &Session,
    client: &ClientInfo,
    identity: &ExternalIdentity,
    chosen_plan: Option<&str>,
    terms: &str,
) -> Result<Outcome, Rejection> {
    if let Some(user) = known(app, identity).await? {
        return Ok(match sign_in::complete(app, session, client, &user, Proof::Identity).await? {
            Completed::SignedIn => Outcome::SignedIn,
            Completed::SecondFactor => Outcome::SecondFactor,
        });
    }
    let address = usable_address(identity)?;
    if let Some(user) = account::credentials(&app.db, &address).await? {
        return exists(session, &user, identity).await;
    }
    if terms != brand::TERMS_VERSION {
        return Err(Rejection::invalid("", terms_changed(&format!("continue with {} again", identity.label))));
    }
    attempts::count_attempt(app, &client.origin, Attempt::SignUp).await?;
    let Some(user_id) = create(app, client, (&address, chosen_plan), identity, terms).await? else {
        // Another request created it a moment ago.
        let message = format!("Your account was created in another tab. Continue with {} again.", identity.label);
        return Err(Rejection::invalid("", message));
    };
    session::begin(app, session, user_id, client, Factors::One).await?;
    sign_in::remember_browser(app, client, user_id).await?;
    activity::record(app, Some(user_id), SecurityEvent::SignIn, client).await;
    Ok(Outcome::SignedIn)
}

/// Returns the account that an identity is connected to, if any.
async fn known(app: &AppState, identity: &ExternalIdentity) -> Result<Option<Credentials>, Failure> {
    let Some(user_id) = identities::owner(app, identity).await? else { return Ok(None) };
    Ok(account::credentials_of(&app.db, user_id).await?)
}

/// Returns the address for a new account, as it is stored.
fn usable_address(identity: &ExternalIdentity) -> Result<String, Rejection> {
    let address = identity.email.as_deref().map(email::entered).filter(|address| !address.is_empty());
    let label = &identity.label;
    let Some(address) = address else {
        let message =
            format!("{label} shared no confirmed email address. Add one there, or create an account with a password.");
        return Err(Rejection::invalid("", message));
    };
    match email::check_new(&address) {
        Ok(()) => Ok(address),
        Err(_) => Err(Rejection::invalid("", format!("The email address of your {label} account can't be used here."))),
    }
}

/// The address has an account. If the service has verified the address, the identity is kept until its user has signed in. Otherwise anyone
/// could have claimed the address there, and only the settings connect it.
async fn exists(session: &Session, user: &Credentials, identity: &ExternalIdentity) -> Result<Outcome, Rejection> {
    if identity.is_email_verified {
        identities::keep(session, user.user_id, identity).await?;
    }
    Ok(Outcome::Exists { is_kept: identity.is_email_verified })
}

/// Creates an account without a password. Its address counts as verified only if the service reports it as verified. Returns `None` if the
/// address or the identity has an account by now.
async fn create(
    app: &AppState,
    client: &ClientInfo,
    (address, chosen_plan): (&str, Option<&str>),
    identity: &ExternalIdentity,
    terms: &str,
) -> Result<Option<UserId>, Rejection> {
    let now = AppState::now();
    let user_id = UserId::at(now);
    let name = identity.name.trim();
    let subject = match identity.is_email_verified {
        true => app.subject(address)?,
        false => app.own_subject(user_id)?,
    };
    let new = NewAccount {
        user_id,
        email: address,
        name: if profile::check_name(name).is_ok() { name } else { "" },
        password_hash: None,
        subject: &subject,
        // As at a sign-up: only on the developer's own machine.
        is_admin: app.config.is_loopback() && app.config.admin_emails.contains(&address.to_lowercase()),
        email_verified_at: identity.is_email_verified.then_some(now),
        address_hash: &app.subject(address)?,
        sign_up_block: Some(&client.block),
        accepted_terms: Some((terms, now)),
    };
    let mut tx = store::begin(&app.db).await?;
    if account::create(&mut tx, &new).await? == Created::EmailTaken {
        return Ok(None);
    }
    let connected = NewIdentity {
        issuer: &identity.issuer,
        subject: &identity.subject,
        user_id,
        email: identity.email.as_deref(),
        now,
    };
    if !external_identity::add(&mut tx, &connected).await? {
        return Ok(None);
    }
    if !identity.is_email_verified {
        verify::send(app, &mut tx, user_id, address, chosen_plan).await?;
    }
    tx.commit().await?;
    Ok(Some(user_id))
}
