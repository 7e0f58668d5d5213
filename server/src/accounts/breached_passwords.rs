//! The optional check of new passwords against those that are known from data breaches, by a service that speaks the range protocol of Have I
//! Been Pwned: <https://haveibeenpwned.com/API/v3#PwnedPasswords>. Only the first five hex digits of a password's SHA-1 leave the server.

use super::password::composed;
use super::password_rules::COMMON_PASSWORD;
use super::rejection::Rejection;
use anyhow::{Context as _, ensure};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use secrecy::{ExposeSecret as _, SecretString};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Maximum size of a response in bytes. Have I Been Pwned sends up to about 100 KB.
const MAX_BYTES: usize = 512 * 1024;
/// Number of hex digits that are sent.
const PREFIX: usize = 5;
/// Who the requests come from, which Have I Been Pwned requires.
const USER_AGENT: &str = concat!("quotient/", env!("CARGO_PKG_VERSION"));

/// A configured service that lists breached passwords.
pub(crate) struct BreachedPasswords {
    client: reqwest::Client,
    /// Base URL, without a slash at its end.
    url: String,
    /// Whether the last request failed, so that an outage is logged once.
    is_failing: AtomicBool,
}

impl BreachedPasswords {
    /// Creates the client of the service at a base URL. A request may take as long as `timeout`.
    ///
    /// # Errors
    /// Returns an error if no HTTP client can be created.
    pub(crate) fn new(url: &str, timeout: Duration) -> anyhow::Result<Self> {
        let builder = reqwest::Client::builder().timeout(timeout).redirect(reqwest::redirect::Policy::none());
        let client = builder.user_agent(USER_AGENT).build()?;
        Ok(Self { client, url: url.to_owned(), is_failing: AtomicBool::new(false) })
    }

    /// Returns whether the service lists a password.
    ///
    /// # Errors
    /// Returns an error if the service doesn't respond in time as the protocol requires. The error contains nothing of the password.
    async fn contains(&self, password: &SecretString) -> anyhow::Result<bool> {
        let hash = sha1(password);
        let (prefix, suffix) = hash.split_at(PREFIX);
        let request = self.client.get(format!("{}/range/{prefix}", self.url)).header("add-padding", "true");
        // The URL contains the prefix.
        let mut response = request.send().await.map_err(reqwest::Error::without_url)?;
        let status = response.status();
        ensure!(status.is_success(), "status {status}");
        let mut body = Vec::new();
        while let Some(bytes) = response.chunk().await.map_err(reqwest::Error::without_url)? {
            ensure!(body.len() + bytes.len() <= MAX_BYTES, "the response is too large");
            body.extend_from_slice(&bytes);
        }
        is_listed(std::str::from_utf8(&body).context("the response isn't text")?, suffix)
    }

    /// Logs the first failure of an outage.
    fn note_failure(&self, error: &anyhow::Error) {
        metrics::counter!("quotient_breached_passwords_failures_total").increment(1);
        if !self.is_failing.swap(true, Ordering::Relaxed) {
            tracing::warn!("new passwords aren't checked at BREACHED_PASSWORDS_URL until it responds again: {error:#}");
        }
    }

    fn note_success(&self) {
        if self.is_failing.swap(false, Ordering::Relaxed) {
            tracing::info!("new passwords are checked at BREACHED_PASSWORDS_URL again");
        }
    }
}

/// Checks a new password, after the checks that cost nothing. Without a service nothing is checked, and while it fails every password is
/// accepted: the local list of common passwords has been checked before.
///
/// # Errors
/// Returns a rejection of the field `password` if the service lists it.
pub(super) async fn check(service: Option<&BreachedPasswords>, password: &SecretString) -> Result<(), Rejection> {
    let Some(service) = service else { return Ok(()) };
    let is_breached = match service.contains(password).await {
        Ok(is_breached) => {
            service.note_success();
            is_breached
        }
        Err(error) => {
            service.note_failure(&error);
            false
        }
    };
    if is_breached { Err(Rejection::invalid("password", COMMON_PASSWORD)) } else { Ok(()) }
}

/// Returns the SHA-1 of a password in hex, which the protocol requires. Nothing else uses SHA-1 of passwords.
fn sha1(password: &SecretString) -> String {
    hex::encode_upper(digest(&SHA1_FOR_LEGACY_USE_ONLY, composed(password.expose_secret()).expose_secret().as_bytes()))
}

/// Returns whether a response lists the rest of a hash. Each of its lines has the rest of a hash, a colon and a number of breaches, which is 0
/// in lines that only pad the response.
///
/// # Errors
/// Returns an error if a line has another form.
fn is_listed(body: &str, suffix: &str) -> anyhow::Result<bool> {
    for line in body.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (listed, count) = line.split_once(':').context("a line has no number of breaches")?;
        let count: u64 = count.trim().parse().context("a number of breaches can't be read")?;
        if count > 0 && listed.eq_ignore_ascii_case(suffix) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SHA-1 of "password", from <https://www.troyhunt.com/ive-just-launched-pwned-passwords-version-2/>.
    const PREFIX_OF_PASSWORD: &str = "5BAA6";
    const SUFFIX_OF_PASSWORD: &str = "1E4C9B93F3F0682250B6CF8331B7EE68FD8";

    #[test]
    fn a_hash_is_found_unless_it_is_padding() {
        assert_eq!(sha1(&"password".into()), format!("{PREFIX_OF_PASSWORD}{SUFFIX_OF_PASSWORD}"));
        let other = "003D68EB55068C33ACE09247EE4C639306B";
        let lists = |body: &str| is_listed(body, SUFFIX_OF_PASSWORD).ok();
        assert_eq!(lists(&format!("{other}:3\r\n{SUFFIX_OF_PASSWORD}:9545824\r\n")), Some(true));
        assert_eq!(lists(&format!("{other}:3\n{}:1", SUFFIX_OF_PASSWORD.to_lowercase())), Some(true));
        assert_eq!(lists(&format!("{other}:3\r\n{SUFFIX_OF_PASSWORD}:0\r\n")), Some(false));
        assert_eq!(lists(""), Some(false));
        for body in ["<html>Sign in to this network</html>", SUFFIX_OF_PASSWORD, "003D68:many"] {
            assert_eq!(lists(body), None, "{body}");
        }
    }

    #[tokio::test]
    async fn errors_contain_nothing_of_the_password() {
        crate::telemetry::tls();
        let service = BreachedPasswords::new("http://127.0.0.1:9", Duration::from_secs(60)).unwrap();
        let error = format!("{:#} {0:?}", service.contains(&"password".into()).await.unwrap_err());
        assert!(!error.contains(PREFIX_OF_PASSWORD) && !error.contains("/range/"), "{error}");
    }
}
