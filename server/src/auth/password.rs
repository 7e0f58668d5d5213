//! Passwords: argon2id at OWASP's floor (19 MiB, t=2, p=1), off the async runtime, one hash per core at a time.
//! <https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html>

use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use secrecy::{ExposeSecret as _, SecretString};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// The shortest that is taken.
pub(crate) const MIN_CHARS: usize = 10;
/// The longest; hashing more would be a way to keep us busy.
pub(crate) const MAX_BYTES: usize = 1024;

/// Hashes and checks.
pub struct Passwords {
    argon: Argon2<'static>,
    cores: Arc<Semaphore>,
    /// What an unknown address is checked against, so that it takes as long as a known one.
    dummy: String,
}

impl Passwords {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let params = Params::new(19 * 1024, 2, 1, None).map_err(|error| anyhow::anyhow!("argon2: {error}"))?;
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let dummy =
            argon.hash_password(b"nobody's password").map_err(|error| anyhow::anyhow!("argon2: {error}"))?.to_string();
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Ok(Self { argon, cores: Arc::new(Semaphore::new(cores)), dummy })
    }

    /// A PHC string.
    pub(crate) async fn hash(&self, password: SecretString) -> anyhow::Result<String> {
        let argon = self.argon.clone();
        self.on_a_core(move || {
            let hash = argon.hash_password(password.expose_secret().as_bytes());
            hash.map(|hash| hash.to_string()).map_err(|error| anyhow::anyhow!("argon2: {error}"))
        })
        .await?
    }

    /// Whether a password is right; against nothing it is wrong, as slowly.
    pub(crate) async fn is_right(&self, password: SecretString, hash: Option<String>) -> anyhow::Result<bool> {
        let (argon, known) = (self.argon.clone(), hash.is_some());
        let hash = hash.unwrap_or_else(|| self.dummy.clone());
        let matches = self
            .on_a_core(move || argon.verify_password(password.expose_secret().as_bytes(), hash.as_str()).is_ok())
            .await?;
        Ok(matches && known)
    }

    async fn on_a_core<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> anyhow::Result<T> {
        let permit = Arc::clone(&self.cores).acquire_owned().await?;
        Ok(tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work()
        })
        .await?)
    }
}
