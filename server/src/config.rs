//! Configuration. This is the only module that reads the environment; `.env.example` lists every variable and its default.

use anyhow::{Context as _, bail, ensure};
use domain::Picos;
use secrecy::SecretString;
use std::{net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

/// The server's configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Public base URL of the app. Determines the session cookie's name and whether `ADMIN_EMAILS` applies.
    pub public_url: String,
    /// Key of the subject hashes. Changing it detaches all users from their meters and their usage history.
    pub secret_key: [u8; 32],
    /// Directory of the built site.
    pub site_root: PathBuf,
    /// Address that the app listens on.
    pub listen_addr: SocketAddr,
    /// Maximum number of open connections; `None` derives it from the process's file descriptor limit.
    pub max_connections: Option<usize>,
    /// Address that `/metrics` listens on; `None` disables it.
    pub metrics_addr: Option<SocketAddr>,
    /// Postgres connection URL.
    pub database_url: String,
    /// Redis URL, or the URLs of a cluster's nodes separated by commas. `None` keeps state in memory, for a single process.
    pub redis_url: Option<String>,
    /// Anthropic API key; Anthropic models are available only if it is set.
    pub anthropic_api_key: Option<SecretString>,
    /// Base URL of the Anthropic API; `None` uses the default.
    pub anthropic_base_url: Option<String>,
    /// OpenAI API key; OpenAI models are available only if it is set.
    pub openai_api_key: Option<SecretString>,
    /// Base URL of the OpenAI API; `None` uses the default.
    pub openai_base_url: Option<String>,
    /// Stripe secret key; `None` disables billing.
    pub stripe_secret_key: Option<SecretString>,
    /// Secret that Stripe signs its webhook events with.
    pub stripe_webhook_secret: Option<SecretString>,
    /// Base URL of the Stripe API, for the Stripe simulator; `None` uses the default.
    pub stripe_base_url: Option<String>,
    /// Whether Stripe calculates taxes at checkout.
    pub stripe_automatic_tax: bool,
    /// Number of days that a plan is kept while a payment is overdue.
    pub billing_grace_days: u16,
    /// SMTP server URL; `None` uses the development outbox.
    pub smtp_url: Option<SecretString>,
    /// Timeouts for provider calls.
    pub patience: providers::Patience,
    /// Name of the point at which this process aborts, for crash tests.
    #[cfg(debug_assertions)]
    pub dies_at: Option<String>,
    /// Offset of this process's clock in seconds, for tests with several servers.
    #[cfg(debug_assertions)]
    pub clock_offset_s: i64,
    /// Sender of outgoing mail.
    pub mail_from: String,
    /// Global spend cap for any 24 hours; `None` means unlimited.
    pub daily_spend: Option<Picos>,
    /// URL of the alert webhook and the secret that its requests are signed with.
    pub alert_webhook: Option<(SecretString, SecretString)>,
    /// Share of a day's cost or tokens, in percent, above which an alert about a user is sent.
    pub alert_user_percent: u8,
    /// Number of whole months of ledger rows to keep in addition to the current month; `None` keeps all.
    pub ledger_months: Option<u8>,
    /// Proxies whose `X-Forwarded-For` header is trusted.
    pub trusted_proxies: Vec<ipnet::IpNet>,
    /// Emails of users who become admins at sign-up. Applies only while `public_url` is a loopback address.
    pub admin_emails: Vec<String>,
    /// Log filter in `RUST_LOG` syntax.
    pub log_filter: String,
    /// Port of cargo-leptos live reload, while cargo-leptos runs the server.
    pub live_reload_port: Option<u16>,
}

impl Config {
    /// Reads the configuration from the process environment.
    ///
    /// # Errors
    /// Returns an error that names the variable that is missing or invalid.
    pub fn from_env() -> anyhow::Result<Self> {
        #[allow(clippy::disallowed_methods, reason = "this is the one reader of the environment")]
        Self::read(&|name| std::env::var(name).ok())
    }

    /// Reads the configuration from any source of names and values.
    ///
    /// # Errors
    /// Returns an error that names the variable that is missing or invalid.
    pub fn read(source: &dyn Fn(&str) -> Option<String>) -> anyhow::Result<Self> {
        let text = |name: &str| source(name).filter(|value| !value.is_empty());
        let secret = |name: &str| -> anyhow::Result<Option<String>> {
            match text(&format!("{name}_FILE")) {
                Some(path) => {
                    let value = std::fs::read_to_string(&path).with_context(|| format!("{name}_FILE can't be read"))?;
                    Ok(Some(value.trim().to_owned()).filter(|value| !value.is_empty()))
                }
                None => Ok(text(name)),
            }
        };
        let public_url = text("PUBLIC_URL").unwrap_or_else(|| "http://127.0.0.1:3000".into());
        let public_url = public_url.trim_end_matches('/').to_owned();
        ensure!(
            public_url.starts_with("http://") || public_url.starts_with("https://"),
            "PUBLIC_URL must begin with http:// or https://"
        );
        let secret_key = match secret("SECRET_KEY")? {
            Some(key) => <[u8; 32]>::try_from(hex::decode(key).context("SECRET_KEY must be hex")?)
                .ok()
                .context("SECRET_KEY must be 32 bytes, as 64 hex digits (openssl rand -hex 32)")?,
            None if is_loopback(&public_url) => *b"loopback development, not secret",
            None => bail!("SECRET_KEY is required unless PUBLIC_URL is loopback (openssl rand -hex 32)"),
        };
        let addr = |name: &str| {
            text(name)
                .map(|value| SocketAddr::from_str(&value).with_context(|| format!("{name} must be host:port")))
                .transpose()
        };
        let usual = providers::Patience::default();
        let millis = |name: &str, usual: Duration| match text(name) {
            None => Ok(usual),
            Some(value) => {
                let ms = value.parse().ok().filter(|ms| *ms > 0);
                ms.map(Duration::from_millis).with_context(|| format!("{name} must be milliseconds, like 5000"))
            }
        };
        let flag = |name: &str| match text(name).as_deref() {
            None | Some("false" | "0") => Ok(false),
            Some("true" | "1") => Ok(true),
            Some(_) => Err(anyhow::anyhow!("{name} must be true or false")),
        };
        let live_reload_port = text("LEPTOS_WATCH").and_then(|_| text("LEPTOS_RELOAD_PORT")?.parse().ok());
        Ok(Self {
            secret_key,
            site_root: text("SITE_ROOT").unwrap_or_else(|| "target/site".into()).into(),
            listen_addr: addr("LISTEN_ADDR")?.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 3000))),
            max_connections: text("MAX_CONNECTIONS")
                .map(|count| {
                    count.parse().ok().filter(|count| *count > 0).context("MAX_CONNECTIONS must be a positive integer")
                })
                .transpose()?,
            metrics_addr: addr("METRICS_ADDR")?,
            database_url: secret("DATABASE_URL")?.context("DATABASE_URL is required")?,
            redis_url: secret("REDIS_URL")?,
            anthropic_api_key: secret("ANTHROPIC_API_KEY")?.map(SecretString::from),
            anthropic_base_url: text("ANTHROPIC_BASE_URL"),
            openai_api_key: secret("OPENAI_API_KEY")?.map(SecretString::from),
            openai_base_url: text("OPENAI_BASE_URL"),
            stripe_secret_key: secret("STRIPE_SECRET_KEY")?.map(SecretString::from),
            stripe_webhook_secret: secret("STRIPE_WEBHOOK_SECRET")?.map(SecretString::from),
            // The default URL, given explicitly, doesn't count as an override.
            stripe_base_url: text("STRIPE_BASE_URL")
                .filter(|url| url.trim_end_matches('/') != "https://api.stripe.com"),
            stripe_automatic_tax: flag("STRIPE_AUTOMATIC_TAX")?,
            billing_grace_days: text("BILLING_GRACE_DAYS")
                .map_or(Ok(7), |days| days.parse().context("BILLING_GRACE_DAYS must be a number of days"))?,
            smtp_url: secret("SMTP_URL")?.map(SecretString::from),
            mail_from: text("MAIL_FROM")
                .unwrap_or_else(|| format!("{} <{}>", domain::brand::NAME, domain::brand::SUPPORT_EMAIL)),
            patience: providers::Patience {
                connect: millis("PROVIDER_CONNECT_TIMEOUT_MS", usual.connect)?,
                first_byte: millis("PROVIDER_FIRST_BYTE_TIMEOUT_MS", usual.first_byte)?,
                idle: millis("PROVIDER_IDLE_TIMEOUT_MS", usual.idle)?,
            },
            #[cfg(debug_assertions)]
            dies_at: text("QUOTIENT_DIES_AT"),
            #[cfg(debug_assertions)]
            clock_offset_s: text("QUOTIENT_CLOCK_OFFSET_S").and_then(|offset| offset.parse().ok()).unwrap_or(0),
            daily_spend: text("GLOBAL_DAILY_SPEND_USD")
                .map(|usd| {
                    let amount = usd.parse().ok().and_then(Picos::from_usd).filter(|amount| *amount >= Picos::ZERO);
                    amount.context("GLOBAL_DAILY_SPEND_USD must be an amount in dollars, like 25 or 0.50")
                })
                .transpose()?,
            alert_webhook: match (secret("ALERT_WEBHOOK_URL")?, secret("ALERT_WEBHOOK_SECRET")?) {
                (None, _) => None,
                (Some(url), Some(key)) => {
                    use base64::Engine as _;
                    let raw = base64::engine::general_purpose::STANDARD.decode(key.trim_start_matches("whsec_"));
                    ensure!(
                        raw.is_ok_and(|raw| raw.len() >= 24),
                        "ALERT_WEBHOOK_SECRET must be at least 24 bytes in base64 (openssl rand -base64 32)"
                    );
                    Some((url.into(), key.into()))
                }
                (Some(_), None) => {
                    bail!("ALERT_WEBHOOK_SECRET is required with ALERT_WEBHOOK_URL (openssl rand -base64 32)")
                }
            },
            alert_user_percent: text("ALERT_USER_PERCENT").map_or(Ok(40), |percent| {
                let percent = percent.parse().ok().filter(|percent| (1..=100).contains(percent));
                percent.context("ALERT_USER_PERCENT must be a whole number from 1 to 100")
            })?,
            ledger_months: text("LEDGER_MONTHS")
                .map(|months| {
                    // `/usage` shows up to 90 days.
                    let months = months.parse().ok().filter(|months| (4..=120).contains(months));
                    months.context("LEDGER_MONTHS must be a whole number from 4 to 120, or empty to keep all")
                })
                .transpose()?,
            trusted_proxies: text("TRUSTED_PROXIES")
                .unwrap_or_default()
                .split(',')
                .map(str::trim)
                .filter(|part| !part.is_empty())
                .map(|part| {
                    let one = || part.parse::<std::net::IpAddr>().map(ipnet::IpNet::from);
                    part.parse().or_else(|_| one()).context("TRUSTED_PROXIES must be IPs or CIDRs: 10.0.0.0/8,::1")
                })
                .collect::<anyhow::Result<_>>()?,
            admin_emails: text("ADMIN_EMAILS")
                .unwrap_or_default()
                .split(',')
                .map(|email| email.trim().to_lowercase())
                .filter(|email| !email.is_empty())
                .collect(),
            log_filter: text("RUST_LOG").unwrap_or_else(|| "info,sqlx=warn,tower_http=info,stripe=error".into()),
            live_reload_port,
            public_url,
        })
    }

    /// Returns whether the app is served over https. If so, cookies use the `__Host-` prefix and the `Secure` attribute.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.public_url.starts_with("https://")
    }

    /// Returns whether the public URL is a loopback address.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.public_url)
    }
}

/// Returns whether a URL's host is a loopback address or `localhost`.
pub(crate) fn is_loopback(url: &str) -> bool {
    let host = url.split_once("://").map_or(url, |(_, rest)| rest).split(['/', '?']).next().unwrap_or("");
    let name = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or(""),
        None => host.split(':').next().unwrap_or(""),
    };
    name == "localhost" || name == "::1" || name.parse::<std::net::Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> anyhow::Result<Config> {
        let base = [("DATABASE_URL", "postgres://x"), ("REDIS_URL", "redis://x")];
        let pairs: Vec<(String, String)> =
            base.iter().chain(pairs).map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Config::read(&|name| pairs.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.clone()))
    }

    #[test]
    fn public_url_requires_a_secret_key() {
        assert!(read(&[]).is_ok());
        assert!(read(&[("PUBLIC_URL", "https://chat.example")]).is_err());
        let key = "ab".repeat(32);
        assert!(read(&[("PUBLIC_URL", "https://chat.example"), ("SECRET_KEY", &key)]).unwrap().is_https());
        for bad in ["ab", "xy", &"ab".repeat(33)] {
            assert!(read(&[("SECRET_KEY", bad)]).is_err(), "{bad}");
        }
    }

    #[test]
    fn is_loopback_checks_only_the_host() {
        for (url, expected) in [
            ("http://127.0.0.1:3000", true),
            ("http://localhost", true),
            ("http://[::1]:3000/", true),
            ("https://127.0.0.1.example.com", false),
            ("https://localhost.example.com", false),
            ("https://chat.example/?x=localhost", false),
        ] {
            assert_eq!(is_loopback(url), expected, "{url}");
        }
    }
}
