//! Tests of the settings.

use super::*;

fn read(pairs: &[(&str, &str)]) -> anyhow::Result<Config> {
    let base = [("DATABASE_URL", "postgres://x"), ("REDIS_URL", "redis://x")];
    Config::read(base.iter().chain(pairs).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
}

#[test]
fn public_url_requires_a_secret_key() {
    assert!(read(&[]).is_ok());
    let public = [("PUBLIC_URL", "https://chat.example"), ("TRUSTED_PROXIES", "none")];
    assert!(read(&public).is_err());
    let key = "ab".repeat(32);
    assert!(read(&[public[0], public[1], ("SECRET_KEY", &key)]).unwrap().is_https());
    for bad in ["ab", "xy", &"ab".repeat(33)] {
        for name in ["SECRET_KEY", "CODES_KEY", "CODES_KEY_PREVIOUS"] {
            assert!(read(&[(name, bad)]).is_err(), "{name} {bad}");
        }
    }
    // The key of codes is the secret key until it is replaced.
    let other = "cd".repeat(32);
    let (key, other) = (key.as_str(), other.as_str());
    let before = read(&[("SECRET_KEY", key)]).unwrap();
    let after = read(&[("SECRET_KEY", key), ("CODES_KEY", other), ("CODES_KEY_PREVIOUS", key)]).unwrap();
    assert_eq!((before.codes_key, before.codes_key_previous), ([0xab; 32], None));
    assert_eq!(
        (after.secret_key, after.codes_key, after.codes_key_previous),
        ([0xab; 32], [0xcd; 32], Some([0xab; 32]))
    );
    // A previous key that is still the current one would be removed too early.
    for codes_key in ["", key] {
        let same = read(&[("SECRET_KEY", key), ("CODES_KEY", codes_key), ("CODES_KEY_PREVIOUS", key)]);
        assert!(same.is_err_and(|error| error.to_string().contains("CODES_KEY_PREVIOUS")), "{codes_key}");
    }
}

/// `.env.example` shows each setting with its default.
#[test]
fn the_example_has_the_defaults() {
    let lines = include_str!("../../../.env.example").lines().filter(|line| !line.starts_with('#'));
    let pairs = lines.filter_map(|line| line.split_once('='));
    // Those of services override the URLs in the database, and are shown with the services' own.
    let is_default = |(name, value): &(&str, &str)| !value.is_empty() && !name.ends_with("_BASE_URL");
    let example = read(&pairs.filter(is_default).collect::<Vec<_>>()).unwrap();
    assert_eq!(format!("{example:#?}"), format!("{:#?}", read(&[]).unwrap()));
}

#[test]
fn read_reports_every_invalid_variable() {
    let error = read(&[
        ("PUBLIC_URL", "https://chat.example"),
        ("LISTEN_ADDR", "localhost"),
        ("MAX_CONNECTIONS", "0"),
        ("API_REQUESTS_PER_MINUTE", "0"),
        ("API_LOOP_REPEATS", "1"),
        ("TRUSTED_PROXIES", "10.0.0.0/8, proxy"),
        ("DATABASE_URL", ""),
        ("IMAGE_MEMORY_MIB", "19"),
        ("PROVIDER_IDLE_TIMEOUT_MS", "5s"),
        ("STRIPE_AUTOMATIC_TAX", "yes"),
        ("BILLING_GRACE_DAYS", "-1"),
        ("SMTP_URL_FILE", "/nonexistent/smtp-url"),
        ("GLOBAL_DAILY_SPEND_USD", "-5"),
        ("DEMO_DAILY_SPEND_USD", "none"),
        ("SIGN_UP_HOURLY_CAP", "0"),
        ("ALERT_WEBHOOK_URL", "https://hooks.example"),
        ("ALERT_USER_PERCENT", "101"),
        ("LEDGER_MONTHS", "3"),
        ("TITLES", "words"),
        ("CAPTCHA_PROVIDER", "recaptcha"),
        ("REQUIRE_MFA_FOR_ADMINS", "yes"),
        ("REQUIRE_MFA", "everyone"),
        ("BREACHED_PASSWORDS_URL", "http://api.pwnedpasswords.com"),
    ]);
    let error = error.unwrap_err().to_string();
    let names: Vec<&str> = error.lines().map(|line| line.split_once(": ").unwrap().0).collect();
    let expected = [
        "SECRET_KEY",
        "LISTEN_ADDR",
        "MAX_CONNECTIONS",
        "API_REQUESTS_PER_MINUTE",
        "API_LOOP_REPEATS",
        "TRUSTED_PROXIES",
        "DATABASE_URL",
        "IMAGE_MEMORY_MIB",
        "PROVIDER_IDLE_TIMEOUT_MS",
        "TITLES",
        "STRIPE_AUTOMATIC_TAX",
        "BILLING_GRACE_DAYS",
        "SMTP_URL",
        "GLOBAL_DAILY_SPEND_USD",
        "DEMO_DAILY_SPEND_USD",
        "SIGN_UP_HOURLY_CAP",
        "ALERT_WEBHOOK_SECRET",
        "ALERT_USER_PERCENT",
        "LEDGER_MONTHS",
        "REQUIRE_MFA_FOR_ADMINS",
        "REQUIRE_MFA",
        "BREACHED_PASSWORDS_URL",
        "CAPTCHA_PROVIDER",
    ];
    assert_eq!(names, expected);
    assert!(error.lines().all(|line| line.contains("; set ")), "{error}");
    assert!(error.contains(r#"LISTEN_ADDR: "localhost" isn't valid; set an IP address and port"#), "{error}");
}

#[test]
fn base_urls_are_read_without_the_slash_at_their_end() {
    let read = |name, url| read(&[(name, url)]).unwrap();
    assert_eq!(read("PUBLIC_URL", "http://127.0.0.1:3000/").public_url, "http://127.0.0.1:3000");
    let breached = |url| read("BREACHED_PASSWORDS_URL", url).breached_passwords_url;
    assert_eq!(breached("https://passwords.example/v3/").as_deref(), Some("https://passwords.example/v3"));
}

#[test]
fn errors_contain_no_secrets() {
    let secrets = [
        ("SECRET_KEY", "hunter2"),
        ("CODES_KEY", "hunter2"),
        ("ALERT_WEBHOOK_URL", "https://hooks.example/hunter2"),
        ("ALERT_WEBHOOK_SECRET", "hunter2"),
    ];
    let error = read(&secrets).unwrap_err().to_string();
    assert_eq!(error.lines().count(), 3, "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn invalid_values_are_refused() {
    for (name, value) in [
        ("PUBLIC_URL", "127.0.0.1:3000"),
        ("PUBLIC_URL", "ftp://127.0.0.1:3000"),
        ("PUBLIC_URL", "http://127.0.0.1:3000/chat"),
        ("PUBLIC_URL", "http://127.0.0.1:3000/?from=mail"),
        ("PUBLIC_URL", "http://127.0.0.1:port"),
        ("ALERT_WEBHOOK_URL", "hooks.example/alerts"),
        ("BREACHED_PASSWORDS_URL", "https://"),
        ("BREACHED_PASSWORDS_URL", "https://api.pwnedpasswords.com/range/"),
        ("BREACHED_PASSWORDS_URL", "https://passwords.example/?list=all"),
        ("METRICS_ADDR", ":9090"),
        ("ALERT_USER_PERCENT", "0"),
        ("LEDGER_MONTHS", "121"),
        ("PROVIDER_CONNECT_TIMEOUT_MS", "0"),
    ] {
        let error = read(&[(name, value)]).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{name}: ")) && error.lines().count() == 1, "{error}");
    }
}

#[test]
fn lists_are_split_at_commas() {
    let config = read(&[("TRUSTED_PROXIES", "10.0.0.0/8, ::1,"), ("ADMIN_EMAILS", " Ann@example.com,")]).unwrap();
    let proxies: Vec<String> = config.trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!(proxies, ["10.0.0.0/8", "::1/128"]);
    assert_eq!(config.admin_emails, ["ann@example.com"]);
}

/// Field note 65: a deployment behind a proxy that isn't named doesn't start.
#[test]
fn https_requires_trusted_proxies_or_none() {
    let key = "ab".repeat(32);
    let public = [("PUBLIC_URL", "https://chat.example"), ("SECRET_KEY", key.as_str())];
    for missing in [None, Some(("TRUSTED_PROXIES", "")), Some(("TRUSTED_PROXIES", " ,"))] {
        let error = read(&public.into_iter().chain(missing).collect::<Vec<_>>()).unwrap_err().to_string();
        assert!(error.starts_with("TRUSTED_PROXIES: required") && error.contains("or none"), "{error}");
    }
    for (value, expected) in [("none", 0), (" none ", 0), ("10.0.0.1", 1), ("10.0.0.0/8,::1", 2)] {
        let config = read(&[public[0], public[1], ("TRUSTED_PROXIES", value)]).unwrap();
        assert_eq!(config.trusted_proxies.len(), expected, "{value}");
    }
    assert!(read(&[public[0], public[1], ("TRUSTED_PROXIES", "none,10.0.0.1")]).is_err());
    assert!(read(&[]).unwrap().trusted_proxies.is_empty(), "loopback needs none");
}

#[test]
fn http_and_open_ports_require_a_matching_public_url() {
    let key = "ab".repeat(32);
    let with = |pairs: &[(&str, &str)]| {
        let base = [("SECRET_KEY", key.as_str()), ("TRUSTED_PROXIES", "none")];
        read(&base.iter().chain(pairs).copied().collect::<Vec<_>>())
    };
    for url in ["http://chat.example", "http://10.0.0.1:3000", "http://127.0.0.1.example.com"] {
        let error = with(&[("PUBLIC_URL", url)]).unwrap_err().to_string();
        assert!(error.starts_with("PUBLIC_URL: ") && error.contains("unencrypted"), "{error}");
    }
    for address in ["0.0.0.0:3000", "[::]:3000", "10.0.0.1:3000"] {
        let error = with(&[("LISTEN_ADDR", address)]).unwrap_err().to_string();
        assert!(error.starts_with("LISTEN_ADDR: ") && error.contains("set PUBLIC_URL"), "{error}");
        assert!(with(&[("LISTEN_ADDR", address), ("PUBLIC_URL", "https://chat.example")]).is_ok(), "{address}");
    }
    for address in ["127.0.0.1:0", "[::1]:3000"] {
        assert!(with(&[("LISTEN_ADDR", address)]).is_ok(), "{address}");
    }
}

#[test]
fn the_spend_cap_is_turned_off_on_purpose_only() {
    let cap = |pairs: &[(&str, &str)]| read(pairs).unwrap().daily_spend;
    assert_eq!(cap(&[]), Some(DAILY_SPEND));
    assert_eq!(cap(&[("GLOBAL_DAILY_SPEND_USD", "")]), None);
    assert_eq!(cap(&[("GLOBAL_DAILY_SPEND_USD", "none")]), None);
    assert_eq!(cap(&[("GLOBAL_DAILY_SPEND_USD", "0")]), Some(Picos::ZERO));
    assert_eq!(cap(&[("GLOBAL_DAILY_SPEND_USD", "0.50")]), Some(Picos(500_000_000_000)));
}

#[test]
fn every_api_key_is_read() {
    let config = read(&[
        ("OPENAI_API_KEY", "one"),
        ("MISTRAL_API_KEY", ""),
        ("GROQ_API_KEY", "two"),
        ("STRIPE_SECRET_KEY", "three"),
    ]);
    let config = config.unwrap();
    let mut names: Vec<&str> = config.provider_keys.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["GROQ_API_KEY", "OPENAI_API_KEY"]);
    assert!(config.has_key("GROQ_API_KEY") && !config.has_key("MISTRAL_API_KEY"));
    let error = read(&[("XAI_API_KEY_FILE", "/nonexistent/key")]).unwrap_err().to_string();
    assert!(error.starts_with("XAI_API_KEY: can't read") && error.lines().count() == 1, "{error}");
}

#[test]
fn the_last_value_of_a_name_wins() {
    let config =
        read(&[("MAIL_FROM", "a@example.com"), ("MAIL_FROM", "b@example.com"), ("SMTP_URL", "x"), ("SMTP_URL", "")]);
    let config = config.unwrap();
    assert!(config.mail_from == "b@example.com" && config.smtp_url.is_none());
}
