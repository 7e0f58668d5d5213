//! Password hashing: argon2id with OWASP's minimum parameters (19 MiB, t=2, p=1), on threads of its own with a lower priority.
//! <https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html>
//!
//! Passwords are brought to Unicode's composed form (NFC) first, as RFC 8265 requires: systems differ in how they enter "ü".

use super::hashing::{HashingThreads, QueueSlot};
use crate::failure::{Failure, internal};
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use domain::Problem;
use secrecy::{ExposeSecret as _, SecretString};
use unicode_normalization::UnicodeNormalization as _;

/// Maximum length of a password to check, in bytes. Longer than any new password can be, because earlier ones may be longer.
const MAX_BYTES: usize = 1024;

/// Hashes and verifies passwords.
pub struct Passwords {
    argon: Argon2<'static>,
    threads: HashingThreads,
}

/// Why a password couldn't be hashed or checked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HashError {
    /// Too many passwords are waiting.
    #[error("too many passwords are waiting to be hashed")]
    Overloaded,
    /// The library refused it.
    #[error("argon2: {0}")]
    Argon2(String),
    /// It panicked.
    #[error("hashing a password panicked")]
    Panicked,
}

impl From<HashError> for Failure {
    fn from(error: HashError) -> Self {
        match error {
            HashError::Overloaded => Self(Problem::overloaded()),
            other => Self(internal(&other)),
        }
    }
}

/// The result of checking a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checked {
    /// It is wrong, or there is no account.
    Wrong,
    /// It is right.
    Right {
        /// Whether its hash has lower parameters than new ones, or is of another Unicode form, and should be replaced.
        is_outdated: bool,
    },
}

/// Dummy hash that unknown addresses are checked against, so that they take as long as known ones. Has our parameters and matches no
/// password.
const DUMMY_HASH: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5IGF0IGFsbC4$VGhpcyBpcyBubyBoYXNoIG9mIGFueXRoaW5nIGF0IGE";

/// Returns a password in composed form.
pub(super) fn composed(password: &str) -> SecretString {
    SecretString::from(password.nfc().collect::<String>())
}

impl Passwords {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let params = Params::new(19 * 1024, 2, 1, None).map_err(|error| anyhow::anyhow!("argon2: {error}"))?;
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        Ok(Self { argon, threads: HashingThreads::start()? })
    }

    /// Returns whether a password can be hashed or checked now. Otherwise a request is refused before anything is done for it.
    pub(crate) fn has_room(&self) -> bool {
        let has_room = self.threads.has_room();
        if !has_room {
            count_refusal();
        }
        has_room
    }

    /// Takes a slot in the queue before anything else is done for a request, so that a refused one costs no query.
    ///
    /// # Errors
    /// Returns an error if too many passwords are waiting.
    pub(crate) fn reserve(&self) -> Result<QueueSlot, HashError> {
        self.threads.reserve().ok_or_else(|| {
            count_refusal();
            HashError::Overloaded
        })
    }

    /// Hashes a password. Returns a PHC string.
    ///
    /// # Errors
    /// Returns an error if too many passwords are waiting.
    pub(crate) async fn hash(&self, password: SecretString) -> Result<String, HashError> {
        let (argon, slot) = (self.argon.clone(), self.reserve()?);
        let hash = self.threads.run(slot, move || {
            let hash = argon.hash_password(composed(password.expose_secret()).expose_secret().as_bytes());
            hash.map(|hash| hash.to_string()).map_err(|error| HashError::Argon2(error.to_string()))
        });
        hash.await.ok_or(HashError::Panicked)?
    }

    /// Checks a password against a hash. Without a hash it is wrong, after the same time.
    ///
    /// # Errors
    /// Returns an error if too many passwords are waiting.
    pub(crate) async fn check(&self, password: SecretString, hash: Option<String>) -> Result<Checked, HashError> {
        self.check_in(self.reserve()?, password, hash).await
    }

    /// Checks a password as [`Self::check`] does, in a slot that was reserved before.
    ///
    /// # Errors
    /// Returns an error if the check panics.
    pub(crate) async fn check_in(
        &self,
        slot: QueueSlot,
        password: SecretString,
        hash: Option<String>,
    ) -> Result<Checked, HashError> {
        let argon = self.argon.clone();
        let is_known = hash.is_some();
        let hash = hash.unwrap_or_else(|| DUMMY_HASH.to_owned());
        let checked = self.threads.run(slot, move || check(&argon, &password, &hash)).await;
        let checked = checked.ok_or(HashError::Panicked)?;
        Ok(if is_known { checked } else { Checked::Wrong })
    }
}

fn count_refusal() {
    metrics::counter!("quotient_passwords_refused_total").increment(1);
}

fn check(argon: &Argon2<'_>, password: &SecretString, hash: &str) -> Checked {
    let typed = password.expose_secret();
    if typed.len() > MAX_BYTES {
        return Checked::Wrong;
    }
    let matches = |password: &str| argon.verify_password(password.as_bytes(), hash).is_ok();
    let composed = composed(typed);
    if matches(composed.expose_secret()) {
        return Checked::Right { is_outdated: is_outdated(argon, hash) };
    }
    // Hashes from before passwords were composed.
    if composed.expose_secret() != typed && matches(typed) {
        return Checked::Right { is_outdated: true };
    }
    Checked::Wrong
}

/// Returns whether a hash has lower parameters than ours, or none that can be read.
fn is_outdated(argon: &Argon2<'_>, hash: &str) -> bool {
    let params = PasswordHash::new(hash).ok().and_then(|hash| Params::try_from(&hash).ok());
    let Some(params) = params else { return true };
    let ours = argon.params();
    params.m_cost() < ours.m_cost() || params.t_cost() < ours.t_cost() || params.p_cost() < ours.p_cost()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dummy_hash_has_the_parameters_and_length_of_a_real_hash() {
        let passwords = Passwords::new().unwrap();
        let ours = passwords.argon.hash_password(b"a password of ours").unwrap().to_string();
        let (dummy, ours) = (PasswordHash::new(DUMMY_HASH).unwrap(), PasswordHash::new(&ours).unwrap());
        assert_eq!((dummy.algorithm, dummy.version, dummy.params), (ours.algorithm, ours.version, ours.params));
        assert_eq!(dummy.hash.unwrap().len(), ours.hash.unwrap().len());
    }

    /// Field note 71: one system composes "ü", another doesn't.
    #[tokio::test]
    async fn composed_and_decomposed_passwords_are_the_same() {
        let passwords = Passwords::new().unwrap();
        let (composed, decomposed) = ("gr\u{fc}ne Wiese im Mai", "gru\u{308}ne Wiese im Mai");
        for (set, entered) in [(composed, decomposed), (decomposed, composed)] {
            let hash = passwords.hash(set.into()).await.unwrap();
            let checked = passwords.check(entered.into(), Some(hash)).await.unwrap();
            assert_eq!(checked, Checked::Right { is_outdated: false });
        }
        // Hashes of an earlier release are of what was entered.
        let earlier = passwords.argon.hash_password(decomposed.as_bytes()).unwrap().to_string();
        let checked = passwords.check(decomposed.into(), Some(earlier)).await.unwrap();
        assert_eq!(checked, Checked::Right { is_outdated: true });
    }

    #[tokio::test]
    async fn hashes_with_lower_parameters_are_outdated() {
        let params = Params::new(8 * 1024, 1, 1, None).unwrap();
        let weak = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let hash = weak.hash_password(b"correct horse").unwrap().to_string();
        let passwords = Passwords::new().unwrap();
        let check = async |password: &str, hash: Option<String>| passwords.check(password.into(), hash).await.unwrap();
        assert_eq!(check("correct horse", Some(hash.clone())).await, Checked::Right { is_outdated: true });
        assert_eq!(check("wrong horse", Some(hash)).await, Checked::Wrong);
        assert_eq!(check("correct horse", None).await, Checked::Wrong);
    }

    #[tokio::test]
    async fn more_passwords_than_the_queue_holds_are_refused_at_once() {
        let passwords = Passwords::new().unwrap();
        let slots: Vec<QueueSlot> = std::iter::from_fn(|| passwords.reserve().ok()).collect();
        assert!(!slots.is_empty() && !passwords.has_room());
        let refused = passwords.hash("correct horse".into()).await.unwrap_err();
        assert!(matches!(refused, HashError::Overloaded));
        assert_eq!(Failure::from(refused).0.status(), 503);
        drop(slots);
        assert!(passwords.has_room() && passwords.hash("correct horse".into()).await.is_ok());
    }
}
