//! Settings of the deployment's owner: admins, second factors and breached passwords, the spend caps, the cap on sign-ups, alerts, ledger retention,
//! and the log.

use super::http::private_url;
use super::{Config, Variables};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::Picos;
use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};

const SPEND_CAP: &str = "an amount in dollars, like 25 or 0.50, or none for no cap";
const DEMO_CAP: &str = "an amount in dollars, like 1 or 0.50, or 0 to turn the demo off";
const BREACHED_PASSWORDS: &str =
    "an https URL like https://api.pwnedpasswords.com, without /range, or one of a loopback address";
const WEBHOOK: &str = "a URL like https://hooks.example.com/alerts";
const SIGNING_SECRET: &str = "at least 24 random bytes in base64 (openssl rand -base64 32)";

/// Reads the section's variables.
pub(super) fn read(vars: &Variables, config: &mut Config) {
    config.admin_emails = vars.list("ADMIN_EMAILS").iter().map(|email| email.to_lowercase()).collect();
    config.daily_spend = read_daily_spend(vars, config.daily_spend);
    config.demo_daily_spend =
        vars.parse("DEMO_DAILY_SPEND_USD", DEMO_CAP, parse_dollars).unwrap_or(config.demo_daily_spend);
    config.sign_up_hourly_cap = vars
        .parse("SIGN_UP_HOURLY_CAP", "a positive whole number, like 200", |value| {
            value.parse::<u64>().ok().filter(|cap| *cap > 0)
        })
        .unwrap_or(config.sign_up_hourly_cap);
    config.alert_webhook = read_alert_webhook(vars);
    config.alert_user_percent = vars
        .parse("ALERT_USER_PERCENT", "a whole number from 1 to 100", |value| {
            value.parse::<u8>().ok().filter(|percent| (1..=100).contains(percent))
        })
        .unwrap_or(config.alert_user_percent);
    // At least 4, because `/usage` shows up to 90 days.
    config.ledger_months = vars.parse("LEDGER_MONTHS", "a whole number from 4 to 120, or empty to keep all", |value| {
        value.parse::<u8>().ok().filter(|months| (4..=120).contains(months))
    });
    let parse_switch = |value: &str| match value {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    };
    config.require_mfa_for_admins =
        vars.parse("REQUIRE_MFA_FOR_ADMINS", "true or false", parse_switch).unwrap_or(config.require_mfa_for_admins);
    config.require_mfa = vars.parse("REQUIRE_MFA", "true or false", parse_switch).unwrap_or(config.require_mfa);
    config.breached_passwords_url = vars.parse("BREACHED_PASSWORDS_URL", BREACHED_PASSWORDS, range_service);
    if let Some(filter) = vars.text("RUST_LOG") {
        config.log_filter = filter;
    }
}

/// Returns the base URL of a service with the range protocol, without a slash at its end. With a URL that nothing can be appended to, or that
/// of the protocol's endpoint, every request would fail, and so every password would be accepted.
fn range_service(text: &str) -> Option<String> {
    let base = private_url(text)?.trim_end_matches('/').to_owned();
    let url = Url::parse(&base).ok()?;
    let can_be_extended = url.has_host() && url.query().is_none() && url.fragment().is_none();
    (can_be_extended && !base.ends_with("/range")).then_some(base)
}

/// Reads the global spend cap. Only an empty value and `none` turn it off; unset means `default`.
fn read_daily_spend(vars: &Variables, default: Option<Picos>) -> Option<Picos> {
    if vars.is_blank("GLOBAL_DAILY_SPEND_USD") {
        return None;
    }
    let cap = vars.parse("GLOBAL_DAILY_SPEND_USD", SPEND_CAP, |value| match value {
        "none" => Some(None),
        usd => parse_dollars(usd).map(Some),
    });
    cap.unwrap_or(default)
}

/// Parses an amount in dollars that isn't negative.
fn parse_dollars(usd: &str) -> Option<Picos> {
    usd.parse().ok().and_then(Picos::from_usd).filter(|amount| *amount >= Picos::ZERO)
}

/// Reads the alert webhook's URL and signing secret, which is required with the URL.
fn read_alert_webhook(vars: &Variables) -> Option<(SecretString, SecretString)> {
    let (url, secret) = (vars.secret("ALERT_WEBHOOK_URL"), vars.secret_text("ALERT_WEBHOOK_SECRET"));
    let url = url?;
    let is_url = |url: Url| matches!(url.scheme(), "http" | "https") && url.has_host();
    if !Url::parse(url.expose_secret()).is_ok_and(is_url) {
        // Without the value, which may contain a secret.
        vars.report("ALERT_WEBHOOK_URL", "the value isn't a URL of a server", WEBHOOK);
        return None;
    }
    match secret {
        Some(secret) if is_signing_secret(&secret) => Some((url, SecretString::from(secret))),
        Some(_) => {
            vars.report("ALERT_WEBHOOK_SECRET", "the value isn't base64 of at least 24 bytes", SIGNING_SECRET);
            None
        }
        None => {
            vars.report("ALERT_WEBHOOK_SECRET", "required with ALERT_WEBHOOK_URL", SIGNING_SECRET);
            None
        }
    }
}

/// Returns whether a secret has the form that Standard Webhooks require: base64, optionally prefixed with `whsec_`.
fn is_signing_secret(secret: &str) -> bool {
    STANDARD.decode(secret.trim_start_matches("whsec_")).is_ok_and(|bytes| bytes.len() >= 24)
}
