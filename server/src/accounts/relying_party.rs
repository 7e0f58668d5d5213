//! What passkeys are made for.

use anyhow::Context as _;
use domain::brand;
use webauthn_rs::prelude::Url;
use webauthn_rs::{Webauthn, WebauthnBuilder};

/// Returns what passkeys are made for and checked with: the host of the public URL. `None` if that is an address without a name, for which
/// browsers make no passkeys.
///
/// # Errors
/// Returns an error if the URL is invalid.
pub(crate) fn of(public_url: &str) -> anyhow::Result<Option<Webauthn>> {
    let url = Url::parse(public_url).context("PUBLIC_URL isn't a URL")?;
    let Some(host) = url.domain() else { return Ok(None) };
    Ok(Some(WebauthnBuilder::new(host, &url)?.rp_name(brand::NAME).build()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passkeys_need_a_host_with_a_name() {
        for (url, expected) in [
            ("https://chat.example", true),
            ("http://localhost:3000", true),
            ("http://127.0.0.1:3000", false),
            ("http://[::1]:3000", false),
        ] {
            assert_eq!(of(url).unwrap().is_some(), expected, "{url}");
        }
        assert!(of("chat").is_err());
    }
}
