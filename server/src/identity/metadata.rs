//! The metadata of a provider: its endpoints ([OpenID Connect
//! Discovery](https://openid.net/specs/openid-connect-discovery-1_0.html)), and the keys that sign its ID tokens.

use super::error::IdentityError;
use super::fetch::Fetcher;
use crate::config::{IdentityProtocol, IdentityProvider, is_loopback};
use jsonwebtoken::jwk::Jwk;
use serde::Deserialize;
use serde_json::Value;

/// The endpoints of a provider.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Endpoints {
    pub issuer: String,
    /// The page that a browser is sent to.
    #[serde(rename = "authorization_endpoint")]
    pub authorize: String,
    /// Exchanges codes for tokens.
    #[serde(rename = "token_endpoint")]
    pub token: String,
    /// The keys of ID tokens; `None` for GitHub, which has none.
    #[serde(rename = "jwks_uri")]
    pub keys: Option<String>,
    /// Returns claims that the ID token lacks.
    #[serde(rename = "userinfo_endpoint")]
    pub userinfo: Option<String>,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Vec<String>,
    #[serde(default)]
    claims_supported: Vec<String>,
}

impl Endpoints {
    /// Loads the endpoints of a provider. GitHub's are known.
    pub(super) async fn load(fetcher: &Fetcher, provider: &IdentityProvider) -> Result<Self, IdentityError> {
        let issuer = match &provider.protocol {
            IdentityProtocol::OpenIdConnect { issuer } => issuer,
            IdentityProtocol::GitHub { base_url, .. } => return Ok(Self::of_github(base_url)),
        };
        let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let found: Self = fetcher.json(&url, None).await?;
        found.check(issuer)?;
        Ok(found)
    }

    fn of_github(base_url: &str) -> Self {
        Self {
            issuer: base_url.to_owned(),
            authorize: format!("{base_url}/login/oauth/authorize"),
            token: format!("{base_url}/login/oauth/access_token"),
            keys: None,
            userinfo: None,
            token_endpoint_auth_methods_supported: vec!["client_secret_post".to_owned()],
            claims_supported: Vec::new(),
        }
    }

    /// Checks that the document is the issuer's own, and that nothing is sent unencrypted, except on this machine to an issuer that is on it.
    /// An issuer elsewhere can't make the server call a service of this machine.
    fn check(&self, issuer: &str) -> Result<(), IdentityError> {
        if self.issuer != issuer {
            let found = &self.issuer;
            return Err(IdentityError::refused(format!("the issuer calls itself {found:?}, not {issuer:?}")));
        }
        let keys = self.keys.as_ref().ok_or_else(|| IdentityError::refused("the issuer has no jwks_uri"))?;
        let is_local = |url: &str| url.starts_with("http://") && is_loopback(url);
        let is_safe = |url: &String| url.starts_with("https://") || (is_local(issuer) && is_local(url));
        let all = [&self.authorize, &self.token, keys];
        match all.into_iter().chain(&self.userinfo).all(is_safe) {
            true => Ok(()),
            false => Err(IdentityError::refused("an endpoint of the issuer isn't https")),
        }
    }

    /// Returns whether the client's secret is sent in the body. Every known issuer that lists this method accepts it.
    pub(super) fn takes_secret_in_body(&self) -> bool {
        self.token_endpoint_auth_methods_supported.iter().any(|method| method == "client_secret_post")
    }

    /// Returns whether the issuer's metadata lists `auth_time`, the time at which a user has signed in to it.
    pub(super) fn reports_sign_in_time(&self) -> bool {
        self.claims_supported.iter().any(|claim| claim == "auth_time")
    }
}

/// Loads the keys of an issuer. Those of other kinds than ours are left out.
pub(super) async fn load_keys(fetcher: &Fetcher, url: &str) -> Result<Vec<Jwk>, IdentityError> {
    #[derive(Deserialize)]
    struct KeySet {
        keys: Vec<Value>,
    }
    let found: KeySet = fetcher.json(url, None).await?;
    Ok(found.keys.into_iter().filter_map(|key| serde_json::from_value(key).ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn endpoints(change: &[(&str, Value)]) -> Endpoints {
        let mut document = json!({
            "issuer": "https://id.example",
            "authorization_endpoint": "https://id.example/authorize",
            "token_endpoint": "https://id.example/token",
            "jwks_uri": "https://id.example/keys",
            "response_types_supported": ["code"],
        });
        for (name, value) in change {
            document[*name] = value.clone();
        }
        serde_json::from_value(document).unwrap()
    }

    #[test]
    fn only_the_issuers_own_safe_endpoints_are_used() {
        assert!(endpoints(&[]).check("https://id.example").is_ok());
        assert!(endpoints(&[]).check("https://id.example/").is_err(), "the issuer must be exactly equal");
        let urls = ["authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint"];
        let local = urls.map(|name| (name, json!("http://127.0.0.1:9000/x")));
        let issuer = "http://localhost:9000";
        let of_this_machine = [&local[..], &[("issuer", json!(issuer))]].concat();
        assert!(endpoints(&of_this_machine).check(issuer).is_ok());
        for change in local {
            let refused = endpoints(std::slice::from_ref(&change)).check("https://id.example");
            assert!(refused.is_err(), "an issuer elsewhere calls this machine: {change:?}");
        }
        for (name, value) in [
            ("issuer", json!("https://evil.example")),
            ("token_endpoint", json!("http://id.example/token")),
            ("jwks_uri", json!("http://id.example/keys")),
            ("jwks_uri", Value::Null),
            ("userinfo_endpoint", json!("http://id.example/userinfo")),
        ] {
            assert!(endpoints(&[(name, value.clone())]).check("https://id.example").is_err(), "{name} {value}");
        }
    }

    #[test]
    fn the_secret_is_in_the_body_where_the_issuer_allows_it() {
        let takes =
            |methods: Value| endpoints(&[("token_endpoint_auth_methods_supported", methods)]).takes_secret_in_body();
        assert!(takes(json!(["client_secret_basic", "client_secret_post"])));
        assert!(!takes(json!(["client_secret_basic"])) && !endpoints(&[]).takes_secret_in_body());
        assert!(Endpoints::of_github("https://github.com").takes_secret_in_body());
    }

    #[test]
    fn an_issuer_promises_to_say_when_a_user_has_signed_in() {
        assert!(endpoints(&[("claims_supported", json!(["sub", "auth_time"]))]).reports_sign_in_time());
        // Google's document has claims, but not this one.
        assert!(!endpoints(&[("claims_supported", json!(["sub", "email"]))]).reports_sign_in_time());
        assert!(
            !endpoints(&[]).reports_sign_in_time()
                && !Endpoints::of_github("https://github.com").reports_sign_in_time()
        );
    }
}
