//! Addresses of disposable mail services, with which one person could create any number of accounts.

use std::sync::LazyLock;

/// The services' domains, sorted. The list is that of the crate `mailchecker` (MIT).
static DOMAINS: LazyLock<Vec<&str>> = LazyLock::new(|| {
    let mut domains = mailchecker::blacklist();
    domains.sort_unstable();
    domains
});

/// Returns whether a domain, in lower case, or one that it is a part of belongs to a disposable mail service.
pub(super) fn is_disposable(host: &str) -> bool {
    let parents = host.match_indices('.').map(|(dot, _)| &host[dot + 1..]);
    // A top-level domain is no service.
    std::iter::once(host)
        .chain(parents)
        .filter(|name| name.contains('.'))
        .any(|name| DOMAINS.binary_search(&name).is_ok())
}

#[cfg(test)]
mod tests {
    use super::is_disposable;

    /// Field note 64: throw-away addresses get no account.
    #[test]
    fn services_and_their_subdomains_are_found() {
        for host in ["mailinator.com", "guerrillamail.com", "yopmail.com", "any.thing.mailinator.com"] {
            assert!(is_disposable(host), "{host}");
        }
        for host in [
            "gmail.com",
            "example.com",
            "proton.me",
            "web.de",
            "privaterelay.appleid.com",
            "mailinator.example",
            "com",
            "",
        ] {
            assert!(!is_disposable(host), "{host}");
        }
    }
}
