//! Attempt limits: sign-ups and sign-ins are counted per origin, sign-ins also per account (field note 17).

use crate::AppState;
use crate::error::{Refused, internal};
use axum::extract::{ConnectInfo, Request};
use domain::{Problem, ProblemKind};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::HeaderMap;
use ipnet::IpNet;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Sign-ups per origin in 15 minutes. An origin may be a whole office.
const SIGN_UPS: u64 = 30;
/// Sign-ins per origin in 15 minutes.
const SIGN_INS: u64 = 60;
/// Sign-ins per account and origin in 15 minutes. Limits password guesses.
const GUESSES: u64 = 10;
/// Sign-ins per account from all origins in 15 minutes. Higher, so that other people's guesses don't lock out the owner.
const GUESSES_ANYWHERE: u64 = 100;

/// The action that an attempt is made for.
pub(crate) enum Attempt<'a> {
    /// Creating an account.
    SignUp,
    /// Signing in to the account with this subject.
    SignIn(&'a str),
}

/// Counts an attempt, or refuses it with the time to try again. If the meters are unavailable, attempts are allowed: a Redis outage must
/// not lock users out, the password hash makes guessing slow, and nothing that costs money runs without meters.
pub(crate) async fn count_attempt(app: &AppState, origin: &str, attempt: Attempt<'_>) -> Result<(), Refused> {
    let attempts = match attempt {
        Attempt::SignUp => vec![(format!("up:{origin}"), SIGN_UPS)],
        Attempt::SignIn(subject) => vec![
            (format!("in:{origin}"), SIGN_INS),
            (format!("guess:{subject}:{origin}"), GUESSES),
            (format!("guess:{subject}"), GUESSES_ANYWHERE),
        ],
    };
    for (key, limit) in attempts {
        match app.meters.count_attempt(&key, limit).await {
            Ok(None) => {}
            Ok(Some(retry_after_ms)) => return Err(Refused(too_many(retry_after_ms))),
            Err(error) => tracing::warn!(%error, "attempt not counted"),
        }
    }
    Ok(())
}

fn too_many(retry_after_ms: u64) -> Problem {
    let message = "Too many attempts. Wait a moment, then try again.";
    Problem { retry_after_ms: Some(retry_after_ms), ..Problem::new(ProblemKind::RequestsLimit, message) }
}

/// Returns a keyed hash of the address that a request comes from, so that the address itself isn't stored.
pub(crate) fn place(app: &AppState, request: &Request) -> Result<String, Problem> {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
    let from = origin(peer, request.headers(), &app.config.trusted_proxies);
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&app.config.secret_key).map_err(|error| internal(&error))?;
    mac.update(from.as_bytes());
    Ok(hex::encode(&mac.finalize().into_bytes()[..16]))
}

/// Returns the nearest address that isn't a trusted proxy. IPv6 addresses are reduced to their /64 network, since one household has all of
/// it.
fn origin(peer: Option<IpAddr>, headers: &HeaderMap, trusted: &[IpNet]) -> String {
    let Some(peer) = peer else { return "unknown".to_owned() };
    let is_trusted = |ip: &IpAddr| trusted.iter().any(|net| net.contains(ip));
    let hops: Vec<&str> = headers
        .get_all("x-forwarded-for")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .collect();
    // From the right: the last hop was seen by our own proxy. Everything left of the first untrusted hop can be forged.
    let mut from = peer.to_canonical();
    for hop in hops.iter().rev() {
        if !is_trusted(&from) {
            break;
        }
        let Ok(hop) = hop.trim().parse::<IpAddr>() else { break };
        from = hop.to_canonical();
    }
    match from {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_trusted_proxies_are_believed() {
        let peer = |text: &str| Some(text.parse().unwrap());
        let headers = |text: &str| HeaderMap::from_iter([("x-forwarded-for".parse().unwrap(), text.parse().unwrap())]);
        let ours: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap()];
        for (from, forwarded, trusted, expected) in [
            ("203.0.113.9", "1.2.3.4", &[][..], "203.0.113.9"),
            ("10.0.0.1", "1.2.3.4", &ours[..], "1.2.3.4"),
            ("10.0.0.1", "6.6.6.6, 1.2.3.4, 10.9.9.9", &ours[..], "1.2.3.4"),
            ("10.0.0.1", "6.6.6.6, nonsense", &ours[..], "10.0.0.1"),
            ("10.0.0.1", "6.6.6.6, x, 1.2.3.4", &ours[..], "1.2.3.4"),
            ("::ffff:10.0.0.1", "1.2.3.4", &ours[..], "1.2.3.4"),
            ("10.0.0.1", "", &ours[..], "10.0.0.1"),
            ("2001:db8:1:2:3:4:5:6", "", &[][..], "2001:db8:1:2::"),
            ("::ffff:203.0.113.9", "", &[][..], "203.0.113.9"),
        ] {
            assert_eq!(origin(peer(from), &headers(forwarded), trusted), expected, "{from} {forwarded}");
        }
    }
}
