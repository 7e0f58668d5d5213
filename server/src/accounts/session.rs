//! Session store of tower-sessions in Postgres, built on `store::session`. The cookie contains the token, the table only a hash of it.
//! The table's row decides when a session expires; the cookie lives as long as the longest session.

use super::client::ClientInfo;
use crate::AppState;
use crate::failure::Failure;
use anyhow::Context as _;
use async_trait::async_trait;
use domain::{UserId, Viewer};
use sha2::{Digest as _, Sha256};
use tower_sessions::cookie::SameSite;
use tower_sessions::session::{Id, Record};
use tower_sessions::session_store::{Error, Result as StoreResult, SessionStore};
use tower_sessions::{Expiry, Session, SessionManagerLayer};

/// Session key of the user's id.
const USER: &str = "user_id";
/// Session key of sessions that wait for a second factor. The row has the user.
const PENDING: &str = "pending";
/// How long a session waits for a second factor.
const WAIT: time::Duration = time::Duration::minutes(10);
/// Time until an unused session expires. For admins, `store::session` shortens it to 12 hours.
const IDLE: time::Duration = time::Duration::days(30);
/// Maximum time that a session lasts, however much it is used.
const ABSOLUTE: time::Duration = time::Duration::days(180);

/// How many factors a user has proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Factors {
    /// One: a password, an account elsewhere, or access to mail.
    One,
    /// Two: one of these and a code, or a passkey, which verifies its user.
    Two,
}

impl Factors {
    /// Returns what a signed-in user has proved in their session.
    pub(crate) fn of(viewer: &Viewer) -> Self {
        if viewer.is_two_factor { Self::Two } else { Self::One }
    }
}

/// The session store of the layer.
#[derive(Clone, Debug)]
pub(crate) struct Sessions {
    db: store::Db,
}

/// Creates the session layer. Its cookie is `__Host-` prefixed and `Secure` over https, plain on loopback.
pub(crate) fn layer(db: store::Db, is_https: bool) -> SessionManagerLayer<Sessions> {
    let name = if is_https { "__Host-session" } else { "session" };
    SessionManagerLayer::new(Sessions { db })
        .with_name(name)
        .with_secure(is_https)
        .with_http_only(true)
        .with_same_site(SameSite::Lax)
        .with_path("/")
        .with_expiry(Expiry::OnInactivity(ABSOLUTE))
}

pub(crate) fn token_hash(id: &Id) -> [u8; 32] {
    Sha256::digest(id.0.to_le_bytes()).into()
}

/// Returns the hash of the request's session token; `None` without a session.
pub(crate) fn current_hash(session: &Session) -> Option<[u8; 32]> {
    session.id().map(|id| token_hash(&id))
}

/// Starts a user's session under a new token, so that a token planted or stolen before is useless. Called whenever the user has proved who
/// they are.
///
/// # Errors
/// Returns a failure if a query fails.
pub(crate) async fn begin(
    app: &AppState,
    session: &Session,
    user_id: UserId,
    client: &ClientInfo,
    factors: Factors,
) -> Result<(), Failure> {
    session.cycle_id().await?;
    session.remove_value(PENDING).await?;
    session.insert(USER, user_id).await?;
    // Saved now, because the row must exist before it is described.
    session.save().await?;
    let token_hash = current_hash(session).context("a saved session without an id")?;
    let now = AppState::now();
    store::session::describe(&app.db, &token_hash, &client.user_agent, &client.origin, now).await?;
    store::session::authenticate(&app.db, &token_hash, factors == Factors::Two, now).await?;
    Ok(())
}

/// Starts a session, under a new token, that waits for the second factor of a user. Until then it is nobody's: every route treats it as
/// signed out.
///
/// # Errors
/// Returns a failure if a query fails.
pub(crate) async fn begin_pending(app: &AppState, session: &Session, user_id: UserId) -> Result<(), Failure> {
    session.cycle_id().await?;
    session.remove_value(USER).await?;
    session.insert(PENDING, true).await?;
    session.save().await?;
    let token_hash = current_hash(session).context("a saved session without an id")?;
    store::session::set_pending(&app.db, &token_hash, user_id, AppState::now() + WAIT).await?;
    Ok(())
}

/// Renews a session in use, at most once an hour.
///
/// # Errors
/// Returns an error if the query fails.
pub(crate) async fn renew(app: &AppState, token_hash: [u8; 32]) -> store::Result<()> {
    let now = AppState::now();
    if app.renewals.take_due(token_hash, now) {
        store::session::touch(&app.db, &token_hash, now + IDLE, now).await?;
    }
    Ok(())
}

fn owner(record: &Record) -> Option<UserId> {
    serde_json::from_value(record.data.get(USER)?.clone()).ok()
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::Backend(error.to_string())
}

#[async_trait]
impl SessionStore for Sessions {
    async fn create(&self, record: &mut Record) -> StoreResult<()> {
        let data = serde_json::to_value(&record.data).map_err(failed)?;
        let expires_at = AppState::now() + IDLE;
        while !store::session::create(&self.db, &token_hash(&record.id), owner(record), &data, expires_at)
            .await
            .map_err(failed)?
        {
            record.id = Id::default();
        }
        Ok(())
    }

    async fn save(&self, record: &Record) -> StoreResult<()> {
        let data = serde_json::to_value(&record.data).map_err(failed)?;
        store::session::save(&self.db, &token_hash(&record.id), owner(record), &data, AppState::now() + IDLE)
            .await
            .map_err(failed)
    }

    async fn load(&self, id: &Id) -> StoreResult<Option<Record>> {
        let found = store::session::load(&self.db, &token_hash(id), AppState::now()).await.map_err(failed)?;
        let Some((data, expiry_date)) = found else {
            return Ok(None);
        };
        Ok(Some(Record { id: *id, data: serde_json::from_value(data).map_err(failed)?, expiry_date }))
    }

    async fn delete(&self, id: &Id) -> StoreResult<()> {
        store::session::delete(&self.db, &token_hash(id)).await.map_err(failed)
    }
}
