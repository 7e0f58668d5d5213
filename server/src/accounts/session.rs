//! Session store of tower-sessions in Postgres, built on `store::session`. The cookie contains the token, the table only a hash of it.
//! The table's row determines the user and the expiry of a session; the cookie's lifetime is that of the longest session.
//!
//! Whatever a proof of identity changes is one transaction: it begins the session's row or continues it under a new token, and only once it is
//! committed, the browser gets that token ([`NewToken`]). A session that ended while its request was under way therefore stays ended.

use super::client::ClientInfo;
use crate::AppState;
use crate::failure::Failure;
use async_trait::async_trait;
use domain::{Problem, UserId};
use sha2::{Digest as _, Sha256};
use store::Tx;
use store::session::{NewSession, Rotation};
use tower_sessions::cookie::SameSite;
use tower_sessions::session::{Id, Record};
use tower_sessions::session_store::{Error, Result as StoreResult, SessionStore};
use tower_sessions::{Expiry, Session, SessionManagerLayer};

/// Session key of the token whose row exists already. Only on the way from [`NewToken::store_in`] to the store, and never stored.
const TOKEN: &str = "token";
/// How long a session waits for a second factor.
const WAIT: time::Duration = time::Duration::minutes(10);
/// Time until an unused session expires. For admins, `store::session` shortens it to 12 hours.
const IDLE: time::Duration = time::Duration::days(30);
/// Maximum lifetime of a session, even if it is in use.
const ABSOLUTE: time::Duration = time::Duration::days(180);

/// How many factors a user has proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Factors {
    /// One: a password, an account elsewhere, or access to mail.
    One,
    /// Two: one of these and a code, or a passkey, which verifies its user.
    Two,
}

/// The session store of the layer.
#[derive(Clone, Debug)]
pub(crate) struct Sessions {
    db: store::Db,
}

/// Returns the name of the session's cookie: `__Host-` prefixed over https, plain on loopback.
pub(crate) fn cookie_name(is_https: bool) -> &'static str {
    if is_https { "__Host-session" } else { "session" }
}

/// Creates the session layer. Its cookie is `Secure` over https.
pub(crate) fn layer(db: store::Db, is_https: bool) -> SessionManagerLayer<Sessions> {
    SessionManagerLayer::new(Sessions { db })
        .with_name(cookie_name(is_https))
        .with_secure(is_https)
        .with_http_only(true)
        .with_same_site(SameSite::Lax)
        .with_path("/")
        .with_expiry(Expiry::OnInactivity(ABSOLUTE))
}

/// Returns the hash that is stored of a token.
pub(crate) fn token_hash(id: &Id) -> [u8; 32] {
    Sha256::digest(id.0.to_le_bytes()).into()
}

/// Returns the hash of the request's session token; `None` without a session.
pub(crate) fn current_hash(session: &Session) -> Option<[u8; 32]> {
    session.id().map(|id| token_hash(&id))
}

/// A new token of the browser's session, so that a token planted or stolen before is useless. A transaction begins a session under it, or
/// continues one; once that is committed, the browser gets it.
#[must_use = "without it, the browser keeps a token whose session may be gone"]
pub(crate) struct NewToken(Id);

impl NewToken {
    /// Draws a random token. Called before the transaction: it loads the data of the browser's session, which is kept under the new token.
    ///
    /// # Errors
    /// Returns a failure if the query fails.
    pub(crate) async fn draw(session: &Session) -> Result<Self, Failure> {
        if session.id().is_some() {
            session.load().await?;
        }
        Ok(Self(Id::default()))
    }

    /// Returns the hash of the token.
    pub(crate) fn hash(&self) -> [u8; 32] {
        token_hash(&self.0)
    }

    /// Begins the session of a user who has proved who they are.
    ///
    /// # Errors
    /// Returns an error if the query fails.
    pub(crate) async fn begin(
        &self,
        tx: &mut Tx,
        user_id: UserId,
        client: &ClientInfo,
        factors: Factors,
    ) -> store::Result<()> {
        let (token_hash, now) = (self.hash(), AppState::now());
        let new = NewSession {
            token_hash: &token_hash,
            user_id,
            is_two_factor: factors == Factors::Two,
            user_agent: &client.user_agent,
            origin: &client.origin,
            expires_at: now + IDLE,
            now,
        };
        store::session::begin(tx, &new).await
    }

    /// Begins a session that waits for the second factor of a user. Until then every route treats it as signed out.
    ///
    /// # Errors
    /// Returns an error if the query fails.
    pub(crate) async fn begin_pending(&self, tx: &mut Tx, user_id: UserId) -> store::Result<()> {
        store::session::begin_pending(tx, &self.hash(), user_id, AppState::now() + WAIT).await
    }

    /// Locks a user's session as [`lock`] does, and continues it: the user has proved `factors` again.
    ///
    /// # Errors
    /// Returns a 401 problem if the session has ended.
    pub(crate) async fn rotate(
        &self,
        tx: &mut Tx,
        session: &Session,
        user_id: UserId,
        factors: Factors,
    ) -> Result<(), Failure> {
        let token_hash = current_hash(session).ok_or_else(Problem::sign_in_required)?;
        let (new_hash, now) = (self.hash(), AppState::now());
        let rotation = Rotation {
            owner: user_id,
            token_hash: &token_hash,
            new_hash: &new_hash,
            is_two_factor: factors == Factors::Two,
            expires_at: now + IDLE,
            now,
        };
        match store::session::rotate(tx, &rotation).await? {
            true => Ok(()),
            false => Err(Problem::sign_in_required().into()),
        }
    }

    /// Gives the browser the token of a session whose transaction is committed. The session that it had ends.
    ///
    /// # Errors
    /// Returns a failure if a query fails.
    pub(crate) async fn store_in(self, session: &Session) -> Result<(), Failure> {
        session.cycle_id().await?;
        session.insert(TOKEN, self.0.to_string()).await?;
        session.save().await?;
        Ok(())
    }
}

/// Begins the session of a user whose account was just created.
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
    let token = NewToken::draw(session).await?;
    let mut tx = store::begin(&app.db).await?;
    token.begin(&mut tx, user_id, client, factors).await?;
    tx.commit().await?;
    token.store_in(session).await
}

/// Continues a user's session under a new token, because they have proved again who they are.
///
/// # Errors
/// Returns a 401 problem if the session has ended.
pub(crate) async fn reauthenticate(
    app: &AppState,
    session: &Session,
    user_id: UserId,
    factors: Factors,
) -> Result<(), Failure> {
    let token = NewToken::draw(session).await?;
    let mut tx = store::begin(&app.db).await?;
    token.rotate(&mut tx, session, user_id, factors).await?;
    tx.commit().await?;
    token.store_in(session).await
}

/// Locks a user's account and session until the transaction ends. Called first by what changes how a user signs in.
///
/// # Errors
/// Returns a 401 problem if the session has ended since the request began.
pub(crate) async fn lock(tx: &mut Tx, session: &Session, user_id: UserId) -> Result<(), Failure> {
    let token_hash = current_hash(session).ok_or_else(Problem::sign_in_required)?;
    match store::session::lock(tx, user_id, &token_hash, AppState::now()).await? {
        true => Ok(()),
        false => Err(Problem::sign_in_required().into()),
    }
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

fn failed(error: impl std::fmt::Display) -> Error {
    Error::Backend(error.to_string())
}

#[async_trait]
impl SessionStore for Sessions {
    async fn create(&self, record: &mut Record) -> StoreResult<()> {
        if let Some(token) = record.data.remove(TOKEN) {
            record.id = token.as_str().unwrap_or_default().parse().map_err(failed)?;
            return Ok(());
        }
        let data = serde_json::to_value(&record.data).map_err(failed)?;
        let expires_at = AppState::now() + IDLE;
        while !store::session::create(&self.db, &token_hash(&record.id), &data, expires_at).await.map_err(failed)? {
            record.id = Id::default();
        }
        Ok(())
    }

    async fn save(&self, record: &Record) -> StoreResult<()> {
        let data = serde_json::to_value(&record.data).map_err(failed)?;
        store::session::save(&self.db, &token_hash(&record.id), &data).await.map_err(failed)
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
