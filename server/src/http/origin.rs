//! The address that a request comes from.

use crate::AppState;
use crate::failure::internal;
use axum::extract::{ConnectInfo, Request};
use domain::Problem;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::HeaderMap;
use ipnet::IpNet;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Returns a keyed hash of the address that a request comes from, so that the address itself isn't stored.
pub(crate) fn request_origin(app: &AppState, request: &Request) -> Result<String, Problem> {
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
