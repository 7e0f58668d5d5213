//! Password hashing: argon2id with OWASP's minimum parameters (19 MiB, t=2, p=1), off the async runtime, one hash per core at a time.
//! <https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html>

use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use secrecy::{ExposeSecret as _, SecretString};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Minimum password length in characters.
pub(crate) const MIN_CHARS: usize = 10;
/// Maximum password length in bytes. Hashing longer ones would let an attacker keep the server busy.
pub(crate) const MAX_BYTES: usize = 1024;

/// Hashes and verifies passwords.
pub struct Passwords {
    argon: Argon2<'static>,
    cores: Arc<Semaphore>,
}

/// Dummy hash that unknown addresses are checked against, so that they take as long as known ones. Has our parameters and matches no
/// password.
const DUMMY_HASH: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5IGF0IGFsbC4$VGhpcyBpcyBubyBoYXNoIG9mIGFueXRoaW5nIGF0IGE";

impl Passwords {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let params = Params::new(19 * 1024, 2, 1, None).map_err(|error| anyhow::anyhow!("argon2: {error}"))?;
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Ok(Self { argon, cores: Arc::new(Semaphore::new(cores)) })
    }

    /// Hashes a password. Returns a PHC string.
    pub(crate) async fn hash(&self, password: SecretString) -> anyhow::Result<String> {
        let argon = self.argon.clone();
        self.on_a_core(move || {
            let hash = argon.hash_password(password.expose_secret().as_bytes());
            hash.map(|hash| hash.to_string()).map_err(|error| anyhow::anyhow!("argon2: {error}"))
        })
        .await?
    }

    /// Returns whether a password matches a hash. Without a hash it returns `false` after the same time.
    pub(crate) async fn is_right(&self, password: SecretString, hash: Option<String>) -> anyhow::Result<bool> {
        let (argon, known) = (self.argon.clone(), hash.is_some());
        let hash = hash.unwrap_or_else(|| DUMMY_HASH.to_owned());
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

#[cfg(test)]
mod tests {
    use super::*;
    use argon2::password_hash::phc::PasswordHash;

    #[test]
    fn dummy_hash_has_the_parameters_and_length_of_a_real_hash() {
        let passwords = Passwords::new().unwrap();
        let ours = passwords.argon.hash_password(b"a password of ours").unwrap().to_string();
        let (dummy, ours) = (PasswordHash::new(DUMMY_HASH).unwrap(), PasswordHash::new(&ours).unwrap());
        assert_eq!((dummy.algorithm, dummy.version, dummy.params), (ours.algorithm, ours.version, ours.params));
        assert_eq!(dummy.hash.unwrap().len(), ours.hash.unwrap().len());
    }
}
