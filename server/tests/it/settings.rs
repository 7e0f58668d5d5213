//! Settings of the deployments that tests start: the environment of `./dev test`, and the fakes that take the place of other services.

use fakes::{FakeProvider, FakeStripe, WEBHOOK_SECRET};
use server::Config;
use std::collections::HashMap;
use uuid::Uuid;

/// Returns a variable that `./dev test` sets.
#[allow(clippy::disallowed_methods, reason = "./dev passes the URLs of the databases in the environment")]
pub fn env(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} isn't set: run the tests with ./dev test"))
}

/// Returns the database URL of the tables' owner. Without one, the tests run as the owner alone.
#[allow(clippy::disallowed_methods, reason = "./dev passes the URLs of the databases in the environment")]
pub fn owner_url() -> String {
    std::env::var("MIGRATE_DATABASE_URL").unwrap_or_else(|_| env("DATABASE_URL"))
}

/// Returns whether `./dev test --long` requested long tests at their full length.
#[allow(clippy::disallowed_methods, reason = "./dev requests long runs through the environment")]
pub fn is_long() -> bool {
    std::env::var_os("QUOTIENT_TEST_LONG").is_some()
}

/// Settings without the limits that most tests would otherwise reach: they aren't about what one address may do in a minute, or what the
/// whole deployment may spend.
pub const UNLIMITED: [(&str, &str); 2] = [("GLOBAL_DAILY_SPEND_USD", "none"), ("API_REQUESTS_PER_MINUTE", "1000000")];

/// Parses a configuration from names and values, as from the environment. The last value of a name wins.
pub fn config(pairs: &[(&str, &str)]) -> Config {
    let pairs: HashMap<String, String> = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Config::read(pairs).unwrap()
}

/// Returns the configuration of a deployment that uses a database and these fakes, with additional or overridden settings.
pub fn of_fakes(database_url: &str, provider: &FakeProvider, stripe: &FakeStripe, more: &[(&str, &str)]) -> Config {
    let (redis_url, stripe_url, anthropic) = (env("REDIS_URL"), stripe.url(), provider.url());
    let openai = format!("{anthropic}/v1");
    let secret = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
    let mut pairs = vec![
        ("DATABASE_URL", database_url),
        ("REDIS_URL", redis_url.as_str()),
        ("LISTEN_ADDR", "127.0.0.1:0"),
        ("SECRET_KEY", secret.as_str()),
        ("SITE_ROOT", concat!(env!("CARGO_MANIFEST_DIR"), "/../target/site")),
        ("ANTHROPIC_API_KEY", "test-key"),
        ("ADMIN_EMAILS", "admin@example.com"),
        ("STRIPE_SECRET_KEY", "sk_test_fake"),
        ("STRIPE_WEBHOOK_SECRET", WEBHOOK_SECRET),
        ("STRIPE_BASE_URL", stripe_url.as_str()),
    ];
    pairs.extend(UNLIMITED);
    // Without Anthropic's key there is no other, so that the demo model answers.
    if !more.contains(&("ANTHROPIC_API_KEY", "")) {
        pairs.extend([
            ("ANTHROPIC_BASE_URL", anthropic.as_str()),
            ("OPENAI_API_KEY", "test-key"),
            ("OPENAI_BASE_URL", openai.as_str()),
        ]);
    }
    pairs.extend_from_slice(more);
    // The program of the tests is another one.
    Config { file_reader: Some(env!("CARGO_BIN_EXE_quotient").into()), ..config(&pairs) }
}
