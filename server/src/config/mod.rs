//! Configuration. This is the only module that reads the environment; `.env.example` lists every variable and its default.

mod billing;
mod captcha;
mod databases;
mod dev;
mod files;
mod http;
mod identity;
mod mail;
mod owner;
mod providers;
mod variables;

pub use self::captcha::{Captcha, CaptchaProvider};
pub use self::files::ObjectStoreUrl;
pub(crate) use self::http::is_loopback;
pub use self::identity::{IdentityProtocol, IdentityProvider};
pub use self::providers::Titles;

use self::variables::Variables;
use domain::{Picos, brand};
use secrecy::SecretString;
use std::{collections::HashMap, net::SocketAddr, num::NonZeroU32, path::PathBuf, time::Duration};

/// Default of `GLOBAL_DAILY_SPEND_USD`: $25. Enough to try the app, and low enough to bound the cost of abuse.
const DAILY_SPEND: Picos = Picos(25_000_000_000_000);
/// Default of `DEMO_DAILY_SPEND_USD`: $1.
const DEMO_DAILY_SPEND: Picos = Picos(1_000_000_000_000);
/// Default of `API_REQUESTS_PER_MINUTE`.
const API_REQUESTS_PER_MINUTE: NonZeroU32 = NonZeroU32::new(600).expect("more than zero");

/// The server's configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Public base URL of the app. Determines the session cookie's name and whether `ADMIN_EMAILS` applies.
    pub public_url: String,
    /// Key of the subject hashes. If it changes, users no longer have their meters and usage history.
    pub secret_key: [u8; 32],
    /// Key of codes and links in mails, recovery codes, the secrets of authenticator apps, and hashes of network addresses. Unlike
    /// `secret_key`, which is its default, it can be replaced.
    pub codes_key: [u8; 32],
    /// The key before `codes_key`: codes and secrets that were made with it are still valid.
    pub codes_key_previous: Option<[u8; 32]>,
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
    /// Postgres connection URL of the tables' owner, who applies migrations; `None` uses `database_url`.
    pub migrate_database_url: Option<String>,
    /// Redis URL, or the URLs of a cluster's nodes separated by commas. `None` keeps state in memory, for a single process.
    pub redis_url: Option<String>,
    /// API keys of LLM providers by the name of their variable, such as `OPENAI_API_KEY`: every variable that ends in `_API_KEY`. A
    /// provider's row names the one that it uses.
    pub provider_keys: HashMap<String, SecretString>,
    /// Base URL of the provider `anthropic`; `None` uses its row's.
    pub anthropic_base_url: Option<String>,
    /// Base URL of the provider `openai`; `None` uses its row's.
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
    pub provider_timeouts: ::providers::Timeouts,
    /// Maximum time for which a stopped call is read on until its usage arrives. No variable sets it.
    pub drain_timeout: Duration,
    /// Maximum size of the images that all turns of this process send at once, in MiB.
    pub image_memory_mib: u32,
    /// Where attached files are stored; `None` stores them in Postgres.
    pub object_store: Option<ObjectStoreUrl>,
    /// The program that reads attached files; `None` is this one. No variable sets it.
    pub file_reader: Option<PathBuf>,
    /// Name of the point at which this process aborts, for crash tests.
    #[cfg(debug_assertions)]
    pub dies_at: Option<String>,
    /// Offset of this process's clock in seconds, for tests with several servers.
    #[cfg(debug_assertions)]
    pub clock_offset_s: i64,
    /// Sender of outgoing mail.
    pub mail_from: String,
    /// Who writes the titles of conversations.
    pub titles: Titles,
    /// Global spend cap for any 24 hours; `None` means unlimited.
    pub daily_spend: Option<Picos>,
    /// Spend cap of the demo on the site for any 24 hours; zero turns the demo off.
    pub demo_daily_spend: Picos,
    /// Maximum number of accounts that all visitors together may create in any hour.
    pub sign_up_hourly_cap: u64,
    /// The captcha on sign-up and recovery; `None` shows none.
    pub captcha: Option<Captcha>,
    /// Base URL of a service that lists breached passwords by the range protocol of Have I Been Pwned; `None` checks only the local list.
    pub breached_passwords_url: Option<String>,
    /// Maximum time that a new password waits for that service. No variable sets it.
    pub breached_passwords_timeout: Duration,
    /// URL of the alert webhook and the secret that its requests are signed with.
    pub alert_webhook: Option<(SecretString, SecretString)>,
    /// Share of a day's cost or tokens, in percent, above which an alert about a user is sent.
    pub alert_user_percent: u8,
    /// Number of whole months of ledger rows to keep in addition to the current month; `None` keeps all.
    pub ledger_months: Option<u8>,
    /// Proxies whose `X-Forwarded-For` header is trusted.
    pub trusted_proxies: Vec<ipnet::IpNet>,
    /// Maximum number of requests to `/api/` per session and minute. One address may make ten times as many.
    pub api_requests_per_minute: NonZeroU32,
    /// Number of identical requests of one API key within a minute at which it is refused as a loop.
    pub api_loop_repeats: u64,
    /// Emails of users who become admins at sign-up. Applies only while `public_url` is a loopback address.
    pub admin_emails: Vec<String>,
    /// Whether `/admin` requires a session that was proved with two factors.
    pub require_mfa_for_admins: bool,
    /// Whether everything of an account but its sign-in methods and its deletion requires a session that was proved with two factors, for all
    /// users.
    pub require_mfa: bool,
    /// Log filter in `RUST_LOG` syntax.
    pub log_filter: String,
    /// Services with which users can sign in.
    pub identity_providers: Vec<IdentityProvider>,
    /// Port of cargo-leptos live reload, while cargo-leptos runs the server.
    pub live_reload_port: Option<u16>,
}

impl Config {
    /// Reads the configuration from the process environment.
    ///
    /// # Errors
    /// Returns an error with one line for each variable that is missing or invalid.
    pub fn from_env() -> anyhow::Result<Self> {
        // A variable that isn't valid Unicode counts as unset.
        Self::read(
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
        )
    }

    /// Reads the configuration from names and values. The last value of a name wins.
    ///
    /// # Errors
    /// Returns an error with one line for each variable that is missing or invalid: its name, what is wrong, and what to set.
    pub fn read(vars: impl IntoIterator<Item = (String, String)>) -> anyhow::Result<Self> {
        let vars = Variables::new(vars);
        let mut config = Self::defaults();
        http::read(&vars, &mut config);
        databases::read(&vars, &mut config);
        files::read(&vars, &mut config);
        providers::read(&vars, &mut config);
        billing::read(&vars, &mut config);
        identity::read(&vars, &mut config);
        mail::read(&vars, &mut config);
        owner::read(&vars, &mut config);
        captcha::read(&vars, &mut config);
        dev::read(&vars, &mut config);
        vars.finish()?;
        Ok(config)
    }

    /// Returns the keys that codes and secrets may have been made with, the current one first.
    pub(crate) fn codes_keys(&self) -> impl Iterator<Item = &[u8; 32]> {
        std::iter::once(&self.codes_key).chain(&self.codes_key_previous)
    }

    /// Returns the values of an empty environment. They aren't a valid configuration: `database_url` is empty, and `secret_key` is for
    /// loopback addresses only.
    fn defaults() -> Self {
        Self {
            public_url: "http://127.0.0.1:3000".to_owned(),
            secret_key: *b"loopback development, not secret",
            codes_key: *b"loopback development, not secret",
            codes_key_previous: None,
            site_root: "target/site".into(),
            listen_addr: SocketAddr::from(([127, 0, 0, 1], 3000)),
            max_connections: None,
            metrics_addr: None,
            database_url: String::new(),
            migrate_database_url: None,
            redis_url: None,
            provider_keys: HashMap::new(),
            anthropic_base_url: None,
            openai_base_url: None,
            stripe_secret_key: None,
            stripe_webhook_secret: None,
            stripe_base_url: None,
            stripe_automatic_tax: false,
            billing_grace_days: 7,
            smtp_url: None,
            provider_timeouts: ::providers::Timeouts::default(),
            drain_timeout: Duration::from_secs(20),
            image_memory_mib: 512,
            object_store: None,
            file_reader: None,
            #[cfg(debug_assertions)]
            dies_at: None,
            #[cfg(debug_assertions)]
            clock_offset_s: 0,
            mail_from: brand::SUPPORT_EMAIL.to_owned(),
            titles: Titles::Model,
            daily_spend: Some(DAILY_SPEND),
            demo_daily_spend: DEMO_DAILY_SPEND,
            sign_up_hourly_cap: 200,
            captcha: None,
            breached_passwords_url: None,
            breached_passwords_timeout: Duration::from_secs(1),
            alert_webhook: None,
            alert_user_percent: 40,
            ledger_months: None,
            trusted_proxies: Vec::new(),
            api_requests_per_minute: API_REQUESTS_PER_MINUTE,
            api_loop_repeats: 20,
            admin_emails: Vec::new(),
            require_mfa_for_admins: false,
            require_mfa: false,
            log_filter: "info,sqlx=warn,tower_http=info,stripe=error".to_owned(),
            identity_providers: Vec::new(),
            live_reload_port: None,
        }
    }

    /// Returns whether the environment has the API key of this name.
    #[must_use]
    pub fn has_key(&self, name: &str) -> bool {
        self.provider_keys.contains_key(name)
    }

    /// Returns whether a user must have a second factor, by `REQUIRE_MFA` or, for an admin, `REQUIRE_MFA_FOR_ADMINS`.
    pub(crate) fn requires_mfa(&self, is_admin: bool) -> bool {
        self.require_mfa || (is_admin && self.require_mfa_for_admins)
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

#[cfg(test)]
mod tests;
