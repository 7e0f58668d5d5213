//! Where a request comes from.

use crate::AppState;
use crate::failure::internal;
use axum::extract::{ConnectInfo, Request};
use domain::Problem;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::request::Parts;
use http::{Extensions, HeaderMap};
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Header with the addresses that a request was forwarded for.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// What is known about the client of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    /// The nearest address that isn't a trusted proxy's; `None` if the request came over no socket.
    address: Option<IpAddr>,
    /// Whether the address is a trusted proxy's, because the proxy forwarded none.
    is_proxy: bool,
    /// The peer, if it forwarded an address that was ignored, because it isn't a trusted proxy.
    pub ignored_forward: Option<IpAddr>,
}

/// Returns a keyed hash of the network that a request comes from, so that the address itself isn't stored. For IPv6 it consists of two
/// hashes, separated by a hyphen: of the /64, which one household has, and of the /48, which one customer of a hosting company has.
pub(crate) fn request_origin(app: &AppState, request: &Request) -> Result<String, Problem> {
    Client::of(app, request).origin(app)
}

impl Client {
    /// Returns the client of a request.
    pub(crate) fn of(app: &AppState, request: &Request) -> Self {
        Self::at(app, request.extensions(), request.headers())
    }

    /// Returns the client of a request without its body.
    pub(crate) fn of_parts(app: &AppState, parts: &Parts) -> Self {
        Self::at(app, &parts.extensions, &parts.headers)
    }

    fn at(app: &AppState, extensions: &Extensions, headers: &HeaderMap) -> Self {
        let peer = extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
        Self::behind(peer, headers, &app.config.trusted_proxies)
    }

    fn behind(peer: Option<IpAddr>, headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        let Some(peer) = peer.map(|peer| peer.to_canonical()) else {
            return Self { address: None, is_proxy: false, ignored_forward: None };
        };
        let is_trusted = |ip: &IpAddr| trusted.iter().any(|net| net.contains(ip));
        let values = headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
        let hops: Vec<&str> = values.flat_map(|value| value.split(',')).collect();
        let ignored_forward = (!hops.is_empty() && !is_trusted(&peer)).then_some(peer);
        // From the right: the last hop was seen by our own proxy. Everything left of the first untrusted hop can be forged.
        let mut address = peer;
        for hop in hops.iter().rev() {
            if !is_trusted(&address) {
                break;
            }
            let Some(hop) = parse_hop(hop.trim()) else { break };
            address = hop;
        }
        Self { address: Some(address), is_proxy: is_trusted(&address), ignored_forward }
    }

    /// Returns the network to limit requests of: an IPv4 address or an IPv6 /64. `None` if it is that of a proxy, behind which all users
    /// would share one limit.
    pub(crate) fn network(self) -> Option<IpAddr> {
        self.address.filter(|_| !self.is_proxy).map(|address| network(address, 4))
    }

    /// Returns the client's origin; see [`request_origin`].
    pub(crate) fn origin(self, app: &AppState) -> Result<String, Problem> {
        match self.address {
            None => hash(app, "unknown"),
            Some(IpAddr::V4(v4)) => hash(app, &v4.to_string()),
            Some(v6) => {
                // Hashed with the length of the prefix, so that the two never equal each other.
                let (household, customer) = (network(v6, 4), network(v6, 3));
                Ok(format!("{}-{}", hash(app, &household.to_string())?, hash(app, &format!("{customer}/48"))?))
            }
        }
    }

    /// Returns a keyed hash of the block of addresses that the client's belongs to: an IPv4 /24 or an IPv6 /48.
    pub(crate) fn block(self, app: &AppState) -> Result<String, Problem> {
        hash(app, &self.address.map_or_else(|| "unknown".to_owned(), block))
    }
}

/// Parses an address, which some proxies write with the port.
fn parse_hop(hop: &str) -> Option<IpAddr> {
    let address = hop.parse::<IpAddr>().or_else(|_| hop.parse::<SocketAddr>().map(|address| address.ip()));
    address.ok().map(|address| address.to_canonical())
}

/// Returns an IPv6 address with only the first `segments` of its eight segments, and an IPv4 address as it is.
fn network(address: IpAddr, segments: usize) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let mut kept = v6.segments();
    kept.iter_mut().skip(segments).for_each(|segment| *segment = 0);
    Ipv6Addr::from(kept).into()
}

/// Returns the block of addresses that an address belongs to, with the length of its prefix.
fn block(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            format!("{}/24", Ipv4Addr::new(a, b, c, 0))
        }
        v6 @ IpAddr::V6(_) => format!("{}/48", network(v6, 3)),
    }
}

fn hash(app: &AppState, text: &str) -> Result<String, Problem> {
    keyed_hash(&app.config.codes_key, text).map_err(|error| internal(&format!("{error:#}")))
}

fn keyed_hash(key: &[u8], text: &str) -> anyhow::Result<String> {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(key)?;
    mac.update(text.as_bytes());
    Ok(hex::encode(&mac.finalize().into_bytes()[..16]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, forwarded: &str, trusted: &[IpNet]) -> Client {
        let mut headers = HeaderMap::new();
        if !forwarded.is_empty() {
            headers.insert(FORWARDED_FOR, forwarded.parse().unwrap());
        }
        Client::behind(Some(peer.parse().unwrap()), &headers, trusted)
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let ours: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap(), "fd00::/16".parse().unwrap()];
        for (from, forwarded, trusted, expected) in [
            ("203.0.113.9", "1.2.3.4", &[][..], "203.0.113.9"),
            ("10.0.0.1", "1.2.3.4", &ours[..], "1.2.3.4"),
            ("10.0.0.1", "6.6.6.6, 1.2.3.4, 10.9.9.9", &ours[..], "1.2.3.4"),
            ("10.0.0.1", "6.6.6.6, nonsense", &ours[..], "10.0.0.1"),
            ("10.0.0.1", "6.6.6.6, x, 1.2.3.4", &ours[..], "1.2.3.4"),
            ("10.0.0.1", "6.6.6.6:1, 1.2.3.4:56789", &ours[..], "1.2.3.4"),
            ("10.0.0.1", "[2001:db8::1]:443", &ours[..], "2001:db8::1"),
            ("::ffff:10.0.0.1", "1.2.3.4", &ours[..], "1.2.3.4"),
            ("fd00::1", "::ffff:1.2.3.4", &ours[..], "1.2.3.4"),
            ("10.0.0.1", "", &ours[..], "10.0.0.1"),
            ("2001:db8:1:2:3:4:5:6", "", &[][..], "2001:db8:1:2:3:4:5:6"),
            ("::ffff:203.0.113.9", "", &[][..], "203.0.113.9"),
        ] {
            let address = client(from, forwarded, trusted).address.map(|address| address.to_string());
            assert_eq!(address.as_deref(), Some(expected), "{from} {forwarded}");
        }
    }

    #[test]
    fn ignored_forwarded_addresses_are_noticed() {
        let ours: Vec<IpNet> = vec!["10.0.0.1".parse::<IpAddr>().unwrap().into()];
        for (from, forwarded, expected) in [
            ("203.0.113.9", "", None),
            ("10.0.0.1", "1.2.3.4", None),
            ("10.0.0.2", "1.2.3.4", Some("10.0.0.2")),
            ("::ffff:203.0.113.9", "x", Some("203.0.113.9")),
        ] {
            let ignored = client(from, forwarded, &ours).ignored_forward.map(|peer| peer.to_string());
            assert_eq!(ignored.as_deref(), expected, "{from} {forwarded}");
        }
    }

    #[test]
    fn networks_are_limited_but_not_those_of_proxies() {
        let ours: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap()];
        for (from, forwarded, expected) in [
            ("203.0.113.9", "", Some("203.0.113.9")),
            ("2001:db8:1:2:3:4:5:6", "", Some("2001:db8:1:2::")),
            ("10.0.0.1", "2001:db8:1:2:ffff::1", Some("2001:db8:1:2::")),
            ("10.0.0.1", "", None),
        ] {
            let network = client(from, forwarded, &ours).network().map(|network| network.to_string());
            assert_eq!(network.as_deref(), expected, "{from} {forwarded}");
        }
        assert_eq!(network("2001:db8:1:2::3".parse().unwrap(), 3).to_string(), "2001:db8:1::");
        assert_eq!(Client::behind(None, &HeaderMap::new(), &ours).network(), None);
    }

    #[test]
    fn blocks_are_what_one_customer_has() {
        for (address, expected) in [
            ("203.0.113.9", "203.0.113.0/24"),
            ("203.0.113.250", "203.0.113.0/24"),
            ("2001:db8:1:2:3::4", "2001:db8:1::/48"),
            ("2001:db8:1:ffff::1", "2001:db8:1::/48"),
        ] {
            assert_eq!(block(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn hashes_are_keyed() {
        let hash = |key: u8, text: &str| keyed_hash(&[key; 32], text).unwrap();
        assert_eq!(hash(1, "203.0.113.9").len(), 32);
        assert!(hash(1, "203.0.113.9") == hash(1, "203.0.113.9") && hash(1, "203.0.113.9") != hash(2, "203.0.113.9"));
    }
}
