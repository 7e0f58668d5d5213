//! Records forwarded addresses that were ignored, because the peer that sent them isn't a trusted proxy: either a proxy that
//! `TRUSTED_PROXIES` doesn't name, or a client that forges its address.

use app::view::admin::IgnoredForward;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use time::OffsetDateTime;

/// The forwarded addresses that were ignored since this process started.
#[derive(Default)]
pub(crate) struct IgnoredForwards {
    latest: Mutex<Option<(IgnoredForward, IpAddr)>>,
}

impl IgnoredForwards {
    /// Records a request from `peer`. Only the first one is logged.
    pub(crate) fn note(&self, peer: IpAddr, now: OffsetDateTime) {
        let mut latest = self.lock();
        let requests = latest.as_ref().map_or(0, |(earlier, _)| earlier.requests) + 1;
        *latest = Some((IgnoredForward { peer: peer.to_string(), at: now, requests }, peer));
        drop(latest);
        if requests == 1 {
            tracing::warn!(target: "security", event = "forwarded_header_ignored", %peer, "X-Forwarded-For from a peer that TRUSTED_PROXIES doesn't name");
        }
    }

    /// Returns the latest request whose forwarded address was ignored, and the number of such requests.
    pub(crate) fn latest(&self) -> Option<IgnoredForward> {
        self.lock().as_ref().map(|(latest, _)| latest.clone())
    }

    /// Returns the latest one if its peer is in a private network: then it is most likely our own proxy, because clients on the internet
    /// have public addresses.
    pub(crate) fn latest_private(&self) -> Option<IgnoredForward> {
        self.lock().as_ref().filter(|(_, peer)| is_private(*peer)).map(|(latest, _)| latest.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Option<(IgnoredForward, IpAddr)>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_private() || v4.is_loopback() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn the_latest_peer_and_the_number_of_requests_are_kept() {
        let (forwards, at) = (IgnoredForwards::default(), datetime!(2026-11-27 12:00 UTC));
        assert_eq!(forwards.latest(), None);
        forwards.note("203.0.113.9".parse().unwrap(), at);
        assert_eq!(forwards.latest_private(), None, "a client on the internet");
        for peer in ["172.18.0.1", "127.0.0.1", "::1", "fd00::1", "fe80::1"] {
            forwards.note(peer.parse().unwrap(), at);
            assert_eq!(forwards.latest_private().map(|latest| latest.peer).as_deref(), Some(peer));
        }
        assert_eq!(forwards.latest().map(|latest| latest.requests), Some(6));
    }
}
