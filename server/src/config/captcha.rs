//! The check that visitors are human.

use super::http::private_url;
use super::{Config, Variables};
use secrecy::SecretString;

const PROVIDERS: &str = "turnstile or hcaptcha";
const URL: &str = "an https URL, or one of a loopback address";

/// A provider of captchas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaptchaProvider {
    /// Cloudflare's Turnstile.
    Turnstile,
    /// hCaptcha.
    Hcaptcha,
}

impl CaptchaProvider {
    /// All providers.
    pub const ALL: [Self; 2] = [Self::Turnstile, Self::Hcaptcha];

    /// Returns the provider's name in `CAPTCHA_PROVIDER`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Turnstile => "turnstile",
            Self::Hcaptcha => "hcaptcha",
        }
    }

    /// Returns the URL at which the provider verifies what its widget returns.
    #[must_use]
    pub fn verify_url(self) -> &'static str {
        match self {
            Self::Turnstile => "https://challenges.cloudflare.com/turnstile/v0/siteverify",
            Self::Hcaptcha => "https://api.hcaptcha.com/siteverify",
        }
    }
}

/// A configured captcha.
#[derive(Clone, Debug)]
pub struct Captcha {
    /// Whose widget it is.
    pub provider: CaptchaProvider,
    /// Public key of the site.
    pub site_key: String,
    /// Secret that the server sends to the provider.
    pub secret_key: SecretString,
    /// URL at which the provider verifies what its widget returns.
    pub verify_url: String,
}

/// Reads the section's variables. Both keys are required with `CAPTCHA_PROVIDER`, and do nothing without it.
pub(super) fn read(vars: &Variables, config: &mut Config) {
    let (site_key, secret_key) = (vars.text("CAPTCHA_SITE_KEY"), vars.secret("CAPTCHA_SECRET_KEY"));
    let url = vars.parse("CAPTCHA_VERIFY_URL", URL, private_url);
    let Some(name) = vars.text("CAPTCHA_PROVIDER") else {
        if site_key.is_some() || secret_key.is_some() {
            vars.report("CAPTCHA_PROVIDER", "required with the keys of a captcha", PROVIDERS);
        }
        return;
    };
    let Some(provider) = CaptchaProvider::ALL.into_iter().find(|provider| provider.as_str() == name) else {
        vars.report("CAPTCHA_PROVIDER", &format!("{name:?} isn't valid"), PROVIDERS);
        return;
    };
    match (site_key, secret_key) {
        (Some(site_key), Some(secret_key)) => {
            let verify_url = url.unwrap_or_else(|| provider.verify_url().to_owned());
            config.captcha = Some(Captcha { provider, site_key, secret_key, verify_url });
        }
        (None, _) => vars.report("CAPTCHA_SITE_KEY", "required with CAPTCHA_PROVIDER", "the site key of the captcha"),
        (_, None) => {
            vars.report("CAPTCHA_SECRET_KEY", "required with CAPTCHA_PROVIDER", "the secret key of the captcha");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(pairs: &[(&str, &str)]) -> anyhow::Result<Option<Captcha>> {
        let base = [("DATABASE_URL", "postgres://x")];
        let pairs = base.iter().chain(pairs).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Ok(Config::read(pairs)?.captcha)
    }

    #[test]
    fn a_captcha_needs_its_provider_and_both_keys() {
        let (provider, site, secret) =
            (("CAPTCHA_PROVIDER", "hcaptcha"), ("CAPTCHA_SITE_KEY", "site"), ("CAPTCHA_SECRET_KEY", "hunter2"));
        assert!(read_all(&[]).unwrap().is_none());
        let captcha = read_all(&[provider, site, secret]).unwrap().unwrap();
        assert_eq!(captcha.verify_url, "https://api.hcaptcha.com/siteverify");
        for (missing, pairs) in [
            ("CAPTCHA_PROVIDER", &[site, secret][..]),
            ("CAPTCHA_SITE_KEY", &[provider, secret][..]),
            ("CAPTCHA_SECRET_KEY", &[provider, site][..]),
        ] {
            let error = read_all(pairs).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{missing}: ")) && !error.contains("hunter2"), "{error}");
        }
        for (url, is_valid) in [
            ("https://captcha.example/verify", true),
            ("http://127.0.0.1:9/verify", true),
            ("http://captcha.example/verify", false),
            ("captcha.example", false),
        ] {
            let found = read_all(&[provider, site, secret, ("CAPTCHA_VERIFY_URL", url)]);
            assert_eq!(found.is_ok(), is_valid, "{url}");
        }
    }
}
