//! Services with which users can sign in: Google, GitHub, and OpenID Connect issuers.

use super::{Config, Variables, is_loopback};
use secrecy::SecretString;
use std::collections::BTreeSet;

const GOOGLE_ISSUER: &str = "https://accounts.google.com";
const GITHUB_URL: &str = "https://github.com";
const URL: &str = "an https URL, like https://id.example.com";
/// Ends of the variables `OIDC_<NAME>_…`, in lower case.
const PARTS: [&str; 4] = ["issuer", "client_id", "client_secret", "label"];

/// A service with which users can sign in.
#[derive(Clone, Debug)]
pub struct IdentityProvider {
    /// Names it in URLs: `google`, `github`, or the name of its variables in lower case.
    pub id: String,
    /// Its name on buttons.
    pub label: String,
    /// Its protocol and its address.
    pub protocol: IdentityProtocol,
    /// The id under which the app is registered with it.
    pub client_id: String,
    /// The secret that belongs to `client_id`.
    pub client_secret: SecretString,
}

/// The protocol of an identity provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdentityProtocol {
    /// [OpenID Connect](https://openid.net/specs/openid-connect-core-1_0.html).
    OpenIdConnect {
        /// The issuer's URL, exactly as its ID tokens have it.
        issuer: String,
    },
    /// GitHub's OAuth, which has no ID tokens.
    GitHub {
        /// Base URL of GitHub.
        base_url: String,
        /// Base URL of its API.
        api_url: String,
    },
}

impl IdentityProvider {
    /// Returns the URL under which identities are stored. Ids of users are unique within it.
    #[must_use]
    pub fn issuer(&self) -> &str {
        match &self.protocol {
            IdentityProtocol::OpenIdConnect { issuer } => issuer,
            IdentityProtocol::GitHub { base_url, .. } => base_url,
        }
    }

    /// Returns the issuer as a redirect back to the app names it ([RFC 9207](https://www.rfc-editor.org/rfc/rfc9207)). GitHub's OAuth is an
    /// issuer of its own.
    #[must_use]
    pub fn issuer_of_redirects(&self) -> String {
        match &self.protocol {
            IdentityProtocol::OpenIdConnect { issuer } => issuer.clone(),
            IdentityProtocol::GitHub { base_url, .. } => format!("{base_url}/login/oauth"),
        }
    }
}

/// Reads the section's variables. A service is used if any of its variables is set, and then needs all of them.
pub(super) fn read(vars: &Variables, config: &mut Config) {
    let google = read_client(vars, "GOOGLE_CLIENT_ID", "GOOGLE_CLIENT_SECRET").map(|(client_id, client_secret)| {
        let issuer = read_url(vars, "GOOGLE_ISSUER").unwrap_or_else(|| GOOGLE_ISSUER.to_owned());
        let protocol = IdentityProtocol::OpenIdConnect { issuer };
        IdentityProvider { id: "google".to_owned(), label: "Google".to_owned(), protocol, client_id, client_secret }
    });
    let github = read_client(vars, "GITHUB_CLIENT_ID", "GITHUB_CLIENT_SECRET").map(|(client_id, client_secret)| {
        let base_url = read_url(vars, "GITHUB_BASE_URL").map(|url| url.trim_end_matches('/').to_owned());
        // Emulators serve the API at the same address.
        let api_url = base_url.clone().unwrap_or_else(|| "https://api.github.com".to_owned());
        let protocol =
            IdentityProtocol::GitHub { base_url: base_url.unwrap_or_else(|| GITHUB_URL.to_owned()), api_url };
        IdentityProvider { id: "github".to_owned(), label: "GitHub".to_owned(), protocol, client_id, client_secret }
    });
    let others = names(vars).into_iter().filter_map(|name| read_issuer(vars, &name));
    config.identity_providers = google.into_iter().chain(github).chain(others).collect();
}

/// Returns the names of the issuers, in alphabetical order.
fn names(vars: &Variables) -> BTreeSet<String> {
    let name = |variable: &str| {
        let variable = match variable.rsplit_once('_') {
            Some((variable, "FILE")) => variable,
            _ => variable,
        };
        let rest = variable.strip_prefix("OIDC")?.strip_prefix('_')?;
        PARTS.iter().find_map(|part| rest.strip_suffix(&part.to_uppercase())?.strip_suffix('_').map(str::to_owned))
    };
    vars.names().filter_map(name).filter(|name| !name.is_empty()).collect()
}

fn read_issuer(vars: &Variables, name: &str) -> Option<IdentityProvider> {
    let [issuer_name, id_name, secret_name, label_name] =
        PARTS.map(|part| format!("OIDC_{name}_{}", part.to_uppercase()));
    let id = name.to_lowercase();
    let is_name = id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if !is_name || id == "google" || id == "github" {
        vars.report(&issuer_name, &format!("{name:?} can't be used as a name"), "a variable with another name");
        return None;
    }
    if vars.text(&issuer_name).is_none() {
        vars.report(&issuer_name, &format!("required with the other variables of {name}"), URL);
    }
    let (issuer, client) = (read_url(vars, &issuer_name), read_client(vars, &id_name, &secret_name));
    if client.is_none() && vars.secret_text(&id_name).is_none() {
        vars.report(&id_name, &format!("required with {issuer_name}"), "the client id that the issuer gave you");
    }
    let (client_id, client_secret) = client?;
    let label = vars.text(&label_name).unwrap_or_else(|| capitalized(&id));
    let protocol = IdentityProtocol::OpenIdConnect { issuer: issuer? };
    Some(IdentityProvider { id, label, protocol, client_id, client_secret })
}

/// Reads a client's id and secret. Reports the one that is missing if only one is set.
fn read_client(vars: &Variables, id_name: &str, secret_name: &str) -> Option<(String, SecretString)> {
    match (vars.secret_text(id_name), vars.secret(secret_name)) {
        (Some(id), Some(secret)) => Some((id, secret)),
        (Some(_), None) => {
            vars.report(secret_name, &format!("required with {id_name}"), "the secret of the client");
            None
        }
        (None, Some(_)) => {
            vars.report(id_name, &format!("required with {secret_name}"), "the id of the client");
            None
        }
        (None, None) => None,
    }
}

/// Reads a URL. Tokens and secrets are sent to it, so it must be https unless it is on this machine.
fn read_url(vars: &Variables, name: &str) -> Option<String> {
    vars.parse(name, URL, |text| {
        let url = reqwest::Url::parse(text).ok()?;
        let is_safe = url.scheme() == "https" || (url.scheme() == "http" && is_loopback(text));
        let is_plain = url.host_str().is_some() && url.query().is_none() && url.fragment().is_none();
        (is_safe && is_plain && url.username().is_empty()).then(|| text.to_owned())
    })
}

/// Returns a name with a capital letter and spaces, as in "My company".
fn capitalized(id: &str) -> String {
    let words = id.replace('_', " ");
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret as _;

    fn read_all(pairs: &[(&str, &str)]) -> anyhow::Result<Vec<IdentityProvider>> {
        let base = [("DATABASE_URL", "postgres://x")];
        let pairs = base.iter().chain(pairs).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::read(pairs).map(|config| config.identity_providers)
    }

    #[test]
    fn google_github_and_any_number_of_issuers_are_read() {
        assert!(read_all(&[]).unwrap().is_empty());
        let found = read_all(&[
            ("GOOGLE_CLIENT_ID", "g"),
            ("GOOGLE_CLIENT_SECRET", "gs"),
            ("GITHUB_CLIENT_ID", "h"),
            ("GITHUB_CLIENT_SECRET", "hs"),
            ("OIDC_ACME_ISSUER", "https://id.acme.example/realms/a"),
            ("OIDC_ACME_CLIENT_ID", "a"),
            ("OIDC_ACME_CLIENT_SECRET", "as"),
            ("OIDC_MY_TEAM_ISSUER", "http://127.0.0.1:9000"),
            ("OIDC_MY_TEAM_CLIENT_ID", "t"),
            ("OIDC_MY_TEAM_CLIENT_SECRET", "ts"),
            ("OIDC_MY_TEAM_LABEL", "The team"),
        ]);
        let found = found.unwrap();
        let all: Vec<[&str; 5]> = found
            .iter()
            .map(|one| {
                [
                    one.id.as_str(),
                    one.label.as_str(),
                    one.issuer(),
                    one.client_id.as_str(),
                    one.client_secret.expose_secret(),
                ]
            })
            .collect();
        let expected = [
            ["google", "Google", "https://accounts.google.com", "g", "gs"],
            ["github", "GitHub", "https://github.com", "h", "hs"],
            ["acme", "Acme", "https://id.acme.example/realms/a", "a", "as"],
            ["my_team", "The team", "http://127.0.0.1:9000", "t", "ts"],
        ];
        assert_eq!(all, expected);
        let redirects: Vec<String> = found.iter().map(IdentityProvider::issuer_of_redirects).collect();
        assert_eq!(redirects[0], "https://accounts.google.com");
        assert_eq!(redirects[1], "https://github.com/login/oauth", "what GitHub sends");
        assert!(
            matches!(&found[1].protocol, IdentityProtocol::GitHub { api_url, .. } if api_url == "https://api.github.com")
        );
    }

    #[test]
    fn incomplete_and_unsafe_services_are_refused() {
        let complete = [("OIDC_A_ISSUER", "https://a"), ("OIDC_A_CLIENT_ID", "a"), ("OIDC_A_CLIENT_SECRET", "s")];
        assert_eq!(read_all(&complete).unwrap().len(), 1);
        let without = |missing: &str| {
            let left: Vec<_> = complete.into_iter().filter(|(name, _)| *name != missing).collect();
            read_all(&left).unwrap_err().to_string()
        };
        for (name, _) in complete {
            let error = without(name);
            assert!(error.starts_with(&format!("{name}: required with")) && error.lines().count() == 1, "{error}");
        }
        for (name, value, blamed) in [
            ("GOOGLE_CLIENT_ID", "g", "GOOGLE_CLIENT_SECRET"),
            ("GOOGLE_CLIENT_SECRET", "g", "GOOGLE_CLIENT_ID"),
            ("GITHUB_CLIENT_ID", "g", "GITHUB_CLIENT_SECRET"),
            ("OIDC_GOOGLE_ISSUER", "https://a", "OIDC_GOOGLE_ISSUER"),
            ("OIDC_X-Y_ISSUER", "https://a", "OIDC_X-Y_ISSUER"),
        ] {
            let error = read_all(&[(name, value)]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{blamed}: ")) && error.lines().count() == 1, "{error}");
        }
        for bad in
            ["http://id.example.com", "id.example.com", "https://", "ftp://127.0.0.1", "https://a/?x=1", "https://u@a"]
        {
            let error = read_all(&[("OIDC_A_ISSUER", bad), complete[1], complete[2]]).unwrap_err().to_string();
            assert!(error.starts_with("OIDC_A_ISSUER: ") && error.contains("set an https URL"), "{bad}: {error}");
        }
    }
}
