//! The check that a visitor is human, by a provider that the owner has configured. What can't be verified is refused.

use super::rejection::Rejection;
use crate::config::Captcha;
use crate::failure::internal;
use anyhow::Context as _;
use domain::{Problem, ProblemKind};
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use std::time::Duration;

/// Timeout of the provider's response.
const TIMEOUT: Duration = Duration::from_secs(5);
/// When to try again after a failure of the provider.
const RETRY_AFTER_MS: u64 = 5_000;
/// Maximum length of what a widget returns. Longer ones aren't sent on.
const MAX_RESPONSE: usize = 8 * 1024;

const NOT_SOLVED: &str = "Confirm that you are human, then submit the form again.";
const UNAVAILABLE: &str = "We can't verify right now that you are human.";

/// The provider's response: <https://developers.cloudflare.com/turnstile/get-started/server-side-validation/> and
/// <https://docs.hcaptcha.com/#verify-the-user-response-server-side>.
#[derive(Deserialize)]
struct Verdict {
    success: bool,
    #[serde(default, rename = "error-codes")]
    errors: Vec<String>,
}

/// The verifier of a configured captcha.
pub(crate) struct Verifier {
    client: reqwest::Client,
    captcha: Captcha,
}

impl Verifier {
    /// Creates the verifier of a configured captcha.
    ///
    /// # Errors
    /// Returns an error if no HTTP client can be created.
    pub(crate) fn new(captcha: &Captcha) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder().timeout(TIMEOUT).redirect(reqwest::redirect::Policy::none()).build()?;
        Ok(Self { client, captcha: captcha.clone() })
    }

    async fn verify(&self, response: &str) -> anyhow::Result<Verdict> {
        // The visitor's address isn't sent: both providers take it as optional.
        let form = [("secret", self.captcha.secret_key.expose_secret()), ("response", response)];
        let answer = self.client.post(&self.captcha.verify_url).form(&form).send().await?;
        let status = answer.status();
        anyhow::ensure!(status.is_success(), "status {status}");
        answer.json::<Verdict>().await.context("unexpected response")
    }
}

/// Checks what the widget has put into a form. Without a verifier no captcha is configured, and nothing is checked.
///
/// # Errors
/// Returns a rejection of the field `captcha` if it wasn't solved, and a 503 problem if the provider doesn't respond in time.
pub(crate) async fn check(verifier: Option<&Verifier>, response: &str) -> Result<(), Rejection> {
    let Some(verifier) = verifier else { return Ok(()) };
    if response.is_empty() || response.len() > MAX_RESPONSE {
        return Err(Rejection::invalid("captcha", NOT_SOLVED));
    }
    match verifier.verify(response).await {
        Ok(Verdict { success: true, .. }) => Ok(()),
        Ok(Verdict { errors, .. }) if errors.iter().any(|error| error.contains("secret")) => {
            internal(&format!("the captcha's provider refused CAPTCHA_SECRET_KEY: {errors:?}"));
            Err(unavailable())
        }
        Ok(_) => Err(Rejection::invalid("captcha", NOT_SOLVED)),
        Err(error) => {
            internal(&format!("the captcha couldn't be verified: {error:#}"));
            Err(unavailable())
        }
    }
}

fn unavailable() -> Rejection {
    Problem { retry_after_ms: Some(RETRY_AFTER_MS), ..Problem::new(ProblemKind::Overloaded, UNAVAILABLE) }.into()
}
