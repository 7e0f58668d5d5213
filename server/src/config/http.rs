//! Settings of the HTTP server: addresses, proxies, connections, and the secret keys.

use super::{Config, Variables};
use reqwest::Url;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;

const ADDRESS: &str = "an IP address and port, like 127.0.0.1:3000";
const PROXIES: &str = "the IP addresses or networks of the proxies, separated by commas, like 10.0.0.0/8,::1, or none if there is no proxy";
const BASE_URL: &str = "the app's base URL, like https://chat.example.com";
const KEY: &str = "32 random bytes as 64 hex digits (openssl rand -hex 32)";

/// Reads the section's variables. `SECRET_KEY` is required unless `PUBLIC_URL` is a loopback address, `TRUSTED_PROXIES` if it is https.
pub(super) fn read(vars: &Variables, config: &mut Config) {
    read_public_url(vars, config);
    read_secret_key(vars, config);
    config.codes_key = read_key(vars, "CODES_KEY").unwrap_or(config.secret_key);
    config.codes_key_previous = read_key(vars, "CODES_KEY_PREVIOUS");
    if config.codes_key_previous == Some(config.codes_key) {
        let problem =
            "the value is that of CODES_KEY, or of SECRET_KEY where CODES_KEY isn't set: nothing would be replaced";
        vars.report("CODES_KEY_PREVIOUS", problem, "CODES_KEY to a new key as well");
    }
    if let Some(root) = vars.text("SITE_ROOT") {
        config.site_root = root.into();
    }
    let parse_address = |value: &str| value.parse::<SocketAddr>().ok();
    config.listen_addr = vars.parse("LISTEN_ADDR", ADDRESS, parse_address).unwrap_or(config.listen_addr);
    check_listen_addr(vars, config);
    config.metrics_addr = vars.parse("METRICS_ADDR", ADDRESS, parse_address);
    config.max_connections = vars.parse("MAX_CONNECTIONS", "a positive whole number, like 10000", |value| {
        value.parse::<usize>().ok().filter(|count| *count > 0)
    });
    config.api_requests_per_minute = vars
        .parse("API_REQUESTS_PER_MINUTE", "a positive whole number, like 600", |value| value.parse::<NonZeroU32>().ok())
        .unwrap_or(config.api_requests_per_minute);
    config.api_loop_repeats = vars
        .parse("API_LOOP_REPEATS", "a whole number from 2 to 100000, like 20", |value| {
            value.parse::<u64>().ok().filter(|count| (2..=100_000).contains(count))
        })
        .unwrap_or(config.api_loop_repeats);
    config.trusted_proxies = read_trusted_proxies(vars, config.is_https());
}

fn read_public_url(vars: &Variables, config: &mut Config) {
    let Some(url) = vars.text("PUBLIC_URL") else { return };
    let url = url.trim_end_matches('/');
    if !url.starts_with("http://") && !url.starts_with("https://") {
        let problem = format!("{url:?} doesn't begin with http:// or https://");
        vars.report("PUBLIC_URL", &problem, BASE_URL);
    } else if url.starts_with("http://") && !is_loopback(url) {
        let problem = format!("{url:?} would send passwords and cookies unencrypted; http is for loopback addresses");
        vars.report("PUBLIC_URL", &problem, BASE_URL);
    } else if !is_origin(url) {
        let problem = format!("{url:?} has more than a host and a port, or no host; the app has a host of its own");
        vars.report("PUBLIC_URL", &problem, BASE_URL);
    }
    // Stored even if it is invalid, because it determines whether a missing secret key is reported.
    config.public_url = url.to_owned();
}

/// Returns whether a URL has a host, perhaps a port, and nothing else: links in mails begin with it, but all pages are at the root of the host.
fn is_origin(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| {
        let is_root = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        url.has_host() && is_root && url.username().is_empty() && url.password().is_none()
    })
}

fn read_secret_key(vars: &Variables, config: &mut Config) {
    match vars.secret_text("SECRET_KEY") {
        Some(text) => match parse_key(&text) {
            Some(key) => config.secret_key = key,
            None => vars.report("SECRET_KEY", "the value isn't 32 bytes in hex", KEY),
        },
        None if config.is_loopback() => {}
        None => vars.report("SECRET_KEY", "required unless PUBLIC_URL is a loopback address", KEY),
    }
}

/// Reads a key that may be unset.
fn read_key(vars: &Variables, name: &str) -> Option<[u8; 32]> {
    let key = parse_key(&vars.secret_text(name)?);
    if key.is_none() {
        vars.report(name, "the value isn't 32 bytes in hex", KEY);
    }
    key
}

fn parse_key(text: &str) -> Option<[u8; 32]> {
    hex::decode(text).ok()?.try_into().ok()
}

/// Reports a server that other machines can reach under a loopback `PUBLIC_URL`, because anyone could then sign up as one
/// of `ADMIN_EMAILS`, and the secret key may be that of development.
fn check_listen_addr(vars: &Variables, config: &Config) {
    let address = config.listen_addr;
    if config.is_loopback() && !address.ip().to_canonical().is_loopback() {
        let problem =
            format!("{address} accepts connections from other machines, but PUBLIC_URL is a loopback address");
        let set =
            "PUBLIC_URL to the address that users open, or LISTEN_ADDR to a loopback address, like 127.0.0.1:3000";
        vars.report("LISTEN_ADDR", &problem, set);
    }
}

/// Parses addresses and networks. A single address is a network of one address. Behind https there is a proxy, which must be named:
/// otherwise all users would seem to come from its address, and the attempts of one would lock out the others (field note 65).
fn read_trusted_proxies(vars: &Variables, is_https: bool) -> Vec<ipnet::IpNet> {
    let (items, mut proxies) = (vars.list("TRUSTED_PROXIES"), Vec::new());
    if is_https && items.is_empty() {
        vars.report("TRUSTED_PROXIES", "required with an https PUBLIC_URL, because a proxy ends TLS", PROXIES);
    }
    if matches!(items.as_slice(), [only] if only == "none") {
        return proxies;
    }
    for item in items {
        let network = item.parse::<ipnet::IpNet>().or_else(|_| item.parse::<IpAddr>().map(ipnet::IpNet::from));
        match network {
            Ok(network) => proxies.push(network),
            Err(_) => vars.report("TRUSTED_PROXIES", &format!("{item:?} isn't valid"), PROXIES),
        }
    }
    proxies
}

/// Returns whether a URL's host is a loopback address or `localhost`.
pub(crate) fn is_loopback(url: &str) -> bool {
    let host = url.split_once("://").map_or(url, |(_, rest)| rest).split(['/', '?']).next().unwrap_or("");
    let name = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or(""),
        None => host.split(':').next().unwrap_or(""),
    };
    name == "localhost" || name == "::1" || name.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
}

/// Returns a URL if what is sent to it is encrypted, or stays on this machine.
pub(super) fn private_url(url: &str) -> Option<String> {
    let is_private = url.starts_with("https://") || (url.starts_with("http://") && is_loopback(url));
    is_private.then(|| url.to_owned())
}

#[cfg(test)]
mod tests {
    use super::is_loopback;

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
