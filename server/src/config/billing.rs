//! Stripe and the grace period.

use super::{Config, Variables};

/// Stripe's base URL. Setting it explicitly doesn't count as an override.
const STRIPE_URL: &str = "https://api.stripe.com";

/// Reads the section's variables.
pub(super) fn read(vars: &Variables, config: &mut Config) {
    config.stripe_secret_key = vars.secret("STRIPE_SECRET_KEY");
    config.stripe_webhook_secret = vars.secret("STRIPE_WEBHOOK_SECRET");
    config.stripe_base_url = vars.text("STRIPE_BASE_URL").filter(|url| url.trim_end_matches('/') != STRIPE_URL);
    config.stripe_automatic_tax = vars
        .parse("STRIPE_AUTOMATIC_TAX", "true or false", |value| match value {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        })
        .unwrap_or(config.stripe_automatic_tax);
    config.billing_grace_days = vars
        .parse("BILLING_GRACE_DAYS", "a whole number of days, like 7", |value| value.parse::<u16>().ok())
        .unwrap_or(config.billing_grace_days);
}
