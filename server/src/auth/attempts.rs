//! Attempt limits: sign-ups and sign-ins are counted by origin, sign-ins also by account (field note 17).

use crate::AppState;
use crate::error::{Refused, internal};
use axum::extract::{ConnectInfo, Request};
use domain::{Problem, ProblemKind};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::HeaderMap;
use ipnet::IpNet;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Sign-ups from one place in a quarter of an hour: an office may share it.
const SIGN_UPS: u64 = 30;
/// Sign-ins from one place.
const SIGN_INS: u64 = 60;
/// Sign-ins for one account from one place: a password has that many guesses.
const GUESSES: u64 = 10;
/// Sign-ins for one account from anywhere: more, so that a stranger's guesses don't shut its owner out.
const GUESSES_ANYWHERE: u64 = 100;

/// What an attempt is for.
pub(crate) enum Attempt<'a> {
    /// A new account.
    SignUp,
    /// An account, by its subject.
    SignIn(&'a str),
}

/// Counts an attempt, or refuses it with the time to try again. If the meters are unavailable, attempts are let through: users must not
/// be locked out by our own outage, guessing is slow because of the password hash, and nothing that costs money runs without meters.
pub(crate) async fn count_attempt(app: &AppState, place: &str, attempt: Attempt<'_>) -> Result<(), Refused> {
    let attempts = match attempt {
        Attempt::SignUp => vec![(format!("up:{place}"), SIGN_UPS)],
        Attempt::SignIn(subject) => vec![
            (format!("in:{place}"), SIGN_INS),
            (format!("guess:{subject}:{place}"), GUESSES),
            (format!("guess:{subject}"), GUESSES_ANYWHERE),
        ],
    };
    for (who, limit) in attempts {
        match app.meters.count_attempt(&who, limit).await {
            Ok(None) => {}
            Ok(Some(retry_after_ms)) => return Err(Refused(too_many(retry_after_ms))),
            Err(error) => tracing::warn!(%error, "attempts aren't counted"),
        }
    }
    Ok(())
}

fn too_many(retry_after_ms: u64) -> Problem {
    let message = "Too many attempts. Wait a moment, then try again.";
    Problem { retry_after_ms: Some(retry_after_ms), ..Problem::new(ProblemKind::RequestsLimit, message) }
}

/// Names where a request comes from, without keeping the address.
pub(crate) fn place(app: &AppState, request: &Request) -> Result<String, Problem> {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
    let from = origin(peer, request.headers(), &app.config.trusted_proxies);
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&app.config.secret_key).map_err(|error| internal(&error))?;
    mac.update(from.as_bytes());
    Ok(hex::encode(&mac.finalize().into_bytes()[..16]))
}

/// The nearest address that isn't a proxy of ours; of IPv6 the network, since one household has all of it.
fn origin(peer: Option<IpAddr>, headers: &HeaderMap, trusted: &[IpNet]) -> String {
    let Some(peer) = peer else { return "unknown".to_owned() };
    let is_ours = |ip: &IpAddr| trusted.iter().any(|net| net.contains(ip));
    let said: Vec<&str> = headers
        .get_all("x-forwarded-for")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .collect();
    // From the right: the last hop is what our own proxy saw. Whatever stands left of a stranger is a stranger's word.
    let mut from = peer.to_canonical();
    for hop in said.iter().rev() {
        if !is_ours(&from) {
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
    fn only_our_proxies_are_believed() {
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
