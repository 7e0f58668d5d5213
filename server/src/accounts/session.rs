//! Session store of tower-sessions in Postgres, built on `store::session`. The cookie contains the token, the table only a hash of it.

use async_trait::async_trait;
use domain::UserId;
use sha2::{Digest as _, Sha256};
use tower_sessions::cookie::SameSite;
use tower_sessions::session::{Id, Record};
use tower_sessions::session_store::{Error, Result, SessionStore};
use tower_sessions::{Expiry, SessionManagerLayer};

/// Session key of the user's id.
pub(crate) const USER: &str = "user_id";
/// Time until an unused session expires.
const IDLE: time::Duration = time::Duration::days(30);

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
        .with_expiry(Expiry::OnInactivity(IDLE))
}

pub(crate) fn token_hash(id: &Id) -> [u8; 32] {
    Sha256::digest(id.0.to_le_bytes()).into()
}

fn owner(record: &Record) -> Option<UserId> {
    serde_json::from_value(record.data.get(USER)?.clone()).ok()
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::Backend(error.to_string())
}

#[async_trait]
impl SessionStore for Sessions {
    async fn create(&self, record: &mut Record) -> Result<()> {
        let data = serde_json::to_value(&record.data).map_err(failed)?;
        while !store::session::create(&self.db, &token_hash(&record.id), owner(record), &data, record.expiry_date)
            .await
            .map_err(failed)?
        {
            record.id = Id::default();
        }
        Ok(())
    }

    async fn save(&self, record: &Record) -> Result<()> {
        let data = serde_json::to_value(&record.data).map_err(failed)?;
        store::session::save(&self.db, &token_hash(&record.id), owner(record), &data, record.expiry_date)
            .await
            .map_err(failed)
    }

    async fn load(&self, id: &Id) -> Result<Option<Record>> {
        let found = store::session::load(&self.db, &token_hash(id), crate::AppState::now()).await.map_err(failed)?;
        let Some((data, expiry_date)) = found else {
            return Ok(None);
        };
        Ok(Some(Record { id: *id, data: serde_json::from_value(data).map_err(failed)?, expiry_date }))
    }

    async fn delete(&self, id: &Id) -> Result<()> {
        store::session::delete(&self.db, &token_hash(id)).await.map_err(failed)
    }
}
