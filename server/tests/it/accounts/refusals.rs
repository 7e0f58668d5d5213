//! Configurations that would be dangerous: the process doesn't start, and says what to set.

use crate::settings::config;
use domain::Picos;
use std::process::Command;

/// Starts the process with these settings, which it must refuse. Returns what it says.
fn refused(settings: &[(&str, &str)]) -> String {
    let mut process = Command::new(env!("CARGO_BIN_EXE_quotient"));
    process.env_clear().env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/nothing").envs(settings.iter().copied());
    let output = process.output().unwrap();
    assert!(!output.status.success(), "{settings:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// Field note 65: behind https there is a proxy. If it isn't named, all users would share its address and lock each other out.
#[test]
fn https_without_named_proxies_does_not_start() {
    let key = "ab".repeat(32);
    let public = [("PUBLIC_URL", "https://chat.example.com"), ("SECRET_KEY", key.as_str())];
    let said = refused(&public);
    assert!(said.contains("TRUSTED_PROXIES") && said.contains("none"), "{said}");
    // That there is no proxy can be said on purpose.
    for (proxies, count) in [("none", 0), ("10.0.0.0/8", 1)] {
        let all = [public[0], public[1], ("TRUSTED_PROXIES", proxies), ("DATABASE_URL", "postgres://x")];
        assert_eq!(config(&all).trusted_proxies.len(), count);
    }
}

#[test]
fn settings_that_contradict_each_other_do_not_start() {
    let key = "ab".repeat(32);
    let base = [("SECRET_KEY", key.as_str()), ("TRUSTED_PROXIES", "none")];
    for (name, value, sentence) in [
        ("PUBLIC_URL", "http://chat.example.com", "unencrypted"),
        ("LISTEN_ADDR", "0.0.0.0:3000", "PUBLIC_URL is a loopback address"),
        ("LISTEN_ADDR", "[::]:3000", "PUBLIC_URL is a loopback address"),
    ] {
        let said = refused(&[base[0], base[1], (name, value)]);
        assert!(said.contains(name) && said.contains(sentence), "{said}");
    }
}

/// Field note 64: a deployment spends at most $25 a day until its owner says otherwise.
#[test]
fn spending_is_capped_by_default() {
    let cap = |more: &[(&str, &str)]| config(&[&[("DATABASE_URL", "postgres://x")][..], more].concat()).daily_spend;
    assert_eq!(cap(&[]), Some(Picos(25_000_000_000_000)));
    assert_eq!(cap(&[("GLOBAL_DAILY_SPEND_USD", "none")]), None);
    assert_eq!(cap(&[("GLOBAL_DAILY_SPEND_USD", "100")]), Some(Picos(100_000_000_000_000)));
}
