//! Identities at other services that are connected to accounts. An identity is connected only with proof of both sides: the service proves
//! the identity, and the account's own sign-in proves the account.

use super::client::ClientInfo;
use super::rejection::Rejection;
use super::{activity, session};
use crate::AppState;
use crate::config::IdentityProvider;
use crate::failure::Failure;
use crate::mail::{self, Mail};
use domain::{SecurityEvent, UserId, Viewer};
use serde::{Deserialize, Serialize};
use store::Tx;
use store::account::{self, Removal};
use store::external_identity::{self, NewIdentity};
use time::{Duration, OffsetDateTime};
use tower_sessions::Session;

/// Session key of an identity that waits for the sign-in of its account.
const PENDING: &str = "pending_identity";
/// How long it waits.
const PENDING_FOR: Duration = Duration::minutes(10);

/// A user at another service, as it has just proved.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ExternalIdentity {
    /// The service's name, as on its button.
    pub label: String,
    /// The service's URL.
    pub issuer: String,
    /// The service's permanent id of the user.
    pub subject: String,
    /// The address that the service has of the user.
    pub email: Option<String>,
    /// Whether the service has verified that address.
    pub is_email_verified: bool,
    /// The name that the service has of the user; may be empty.
    pub name: String,
}

/// An identity that is connected once the user of its address has signed in.
#[derive(Serialize, Deserialize)]
struct Pending {
    user_id: UserId,
    identity: ExternalIdentity,
    expires_at: OffsetDateTime,
}

/// Connects an identity to the viewer's account.
///
/// # Errors
/// Returns a rejection if it is connected to another account, or the session has ended.
pub(crate) async fn link(
    app: &AppState,
    session: &Session,
    client: &ClientInfo,
    viewer: &Viewer,
    identity: &ExternalIdentity,
) -> Result<(), Rejection> {
    let mut tx = store::begin(&app.db).await?;
    session::lock(&mut tx, session, viewer.user_id).await?;
    if connect(app, tx, client, (viewer.user_id, viewer.email.as_str()), identity).await? {
        return Ok(());
    }
    match owner(app, identity).await? {
        Some(owner) if owner == viewer.user_id => Ok(()),
        _ => {
            let message = format!("This {} account is connected to another account here.", identity.label);
            Err(Rejection::invalid("", message))
        }
    }
}

/// Connects an identity and announces it by mail. Returns false if it is connected already.
async fn connect(
    app: &AppState,
    mut tx: Tx,
    client: &ClientInfo,
    (user_id, to): (UserId, &str),
    identity: &ExternalIdentity,
) -> Result<bool, Failure> {
    let now = AppState::now();
    let new = NewIdentity {
        issuer: &identity.issuer,
        subject: &identity.subject,
        user_id,
        email: identity.email.as_deref(),
        now,
    };
    if !external_identity::add(&mut tx, &new).await? {
        return Ok(false);
    }
    let mail = Mail::IdentityConnected { service: identity.label.clone(), at: now };
    mail::queue_to(&mut tx, user_id, to, mail, now).await?;
    tx.commit().await?;
    activity::record(app, Some(user_id), SecurityEvent::IdentityConnected, client).await;
    Ok(true)
}

/// Returns the user that an identity is connected to, if any.
///
/// # Errors
/// Returns an error if the query fails.
pub(super) async fn owner(app: &AppState, identity: &ExternalIdentity) -> store::Result<Option<UserId>> {
    let ExternalIdentity { issuer, subject, email, .. } = identity;
    external_identity::use_identity(&app.db, issuer, subject, email.as_deref(), AppState::now()).await
}

/// Checks that an identity proves again who the viewer is: it must be connected to their account, and its service must report that they have
/// just signed in there (`is_fresh`). A service that doesn't report it, where the browser may have been signed in for weeks, is accepted
/// only for users who have no other proof of identity here.
///
/// # Errors
/// Returns a rejection if it isn't connected, or isn't enough.
pub(crate) async fn confirm(
    app: &AppState,
    viewer: &Viewer,
    identity: &ExternalIdentity,
    is_fresh: bool,
) -> Result<(), Rejection> {
    let label = &identity.label;
    if owner(app, identity).await? != Some(viewer.user_id) {
        return Err(Rejection::invalid("", format!("This {label} account isn't connected to your account.")));
    }
    if is_fresh || !account::sign_in_methods(&app.db, viewer.user_id).await?.has_proof() {
        return Ok(());
    }
    let message = format!("{label} doesn't confirm that you have just signed in there. Continue in another way.");
    Err(Rejection::invalid("", message))
}

/// Disconnects the viewer's identities of a service and announces it by mail.
///
/// # Errors
/// Returns a rejection if the viewer couldn't sign in any more, or the session has ended.
pub(crate) async fn unlink(
    app: &AppState,
    session: &Session,
    client: &ClientInfo,
    viewer: &Viewer,
    service: &IdentityProvider,
) -> Result<(), Rejection> {
    let (label, now) = (&service.label, AppState::now());
    let mut tx = store::begin(&app.db).await?;
    session::lock(&mut tx, session, viewer.user_id).await?;
    match external_identity::remove(&mut tx, viewer.user_id, service.issuer()).await? {
        Removal::Removed(()) => {}
        Removal::Unknown => return Ok(()),
        Removal::LastWayIn => {
            let message =
                format!("{label} is the only way to sign in to your account. Set a password or add a passkey first.");
            return Err(Rejection::invalid("", message));
        }
    }
    let mail = Mail::IdentityRemoved { service: label.clone(), at: now };
    mail::queue_to(&mut tx, viewer.user_id, &viewer.email, mail, now).await?;
    tx.commit().await?;
    activity::record(app, Some(viewer.user_id), SecurityEvent::IdentityRemoved, client).await;
    Ok(())
}

/// Keeps an identity in the browser's session for ten minutes, until the user of its address has signed in.
///
/// # Errors
/// Returns an error if the session can't be loaded.
pub(super) async fn keep(session: &Session, user_id: UserId, identity: &ExternalIdentity) -> Result<(), Failure> {
    let expires_at = AppState::now() + PENDING_FOR;
    session.insert(PENDING, Pending { user_id, identity: identity.clone(), expires_at }).await?;
    Ok(())
}

/// Connects the identity that waits for the sign-in of this user, if there is one. Another user's is discarded. Called whenever a user has
/// signed in, or proved a second factor that was missing then.
///
/// # Errors
/// Returns a failure if a query fails.
pub(super) async fn connect_kept(
    app: &AppState,
    session: &Session,
    client: &ClientInfo,
    (user_id, email): (UserId, &str),
) -> Result<(), Failure> {
    let Some(kept) = session.remove::<Pending>(PENDING).await? else { return Ok(()) };
    if kept.user_id == user_id && AppState::now() < kept.expires_at {
        connect(app, store::begin(&app.db).await?, client, (user_id, email), &kept.identity).await?;
    }
    Ok(())
}
