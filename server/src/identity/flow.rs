//! A sign-in with another service: redirects the browser to it, and verifies the callback.
//!
//! The `state` parameter is bound to the browser by a cookie: a hash of both is stored, and removed when it is used. A state that was
//! replayed, or that another browser brings, is therefore not found.

use super::error::IdentityError;
use super::id_token::{self, Claims, Expected, TokenError, Verified};
use super::oauth::{self, Code, Request, Tokens};
use super::providers::Provider;
use super::{github, metadata::Endpoints};
use crate::accounts::identities::ExternalIdentity;
use crate::config::IdentityProtocol;
use crate::{AppState, Config};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use store::sign_in_state::{self, Purpose, SignInState};
use time::Duration;

/// Time that a user has to sign in to the provider.
const LIFETIME: Duration = Duration::minutes(10);

/// A sign-in that was begun.
pub(crate) struct Begun {
    /// The provider's page.
    pub url: String,
    /// The value of the cookie that binds it to the browser.
    pub browser: String,
}

/// The parameters of the provider's redirect, and the browser's cookie.
#[derive(Clone, Debug, Default)]
pub(crate) struct Returned {
    pub state: String,
    pub code: Option<String>,
    /// The provider's reason if there is no code.
    pub error: Option<String>,
    /// The issuer, if it names itself ([RFC 9207](https://www.rfc-editor.org/rfc/rfc9207)).
    pub issuer: Option<String>,
    /// The value of the cookie.
    pub browser: Option<String>,
}

/// What a provider has proved.
pub(crate) struct Proved {
    /// Who has returned.
    pub identity: ExternalIdentity,
    /// Whether the provider reports that they have signed in to it again since the browser was sent there with [`Purpose::Confirm`].
    pub is_fresh: bool,
}

/// Returns a random value of 32 bytes in base64url.
fn random() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

/// Returns whether a cookie's value is one of ours.
fn is_ours(browser: &str) -> bool {
    URL_SAFE_NO_PAD.decode(browser).is_ok_and(|bytes| bytes.len() == 32)
}

/// Returns the hash under which a sign-in is stored.
fn state_hash(state: &str, browser: &str) -> [u8; 32] {
    // Neither contains the separator, or they aren't ours and nothing is found.
    Sha256::digest(format!("{state}|{browser}")).into()
}

fn redirect_url(config: &Config, provider: &str) -> String {
    format!("{}/sign-in/callback/{provider}", config.public_url)
}

fn scopes(protocol: &IdentityProtocol) -> &'static [&'static str] {
    match protocol {
        IdentityProtocol::OpenIdConnect { .. } => &["openid", "email", "profile"],
        IdentityProtocol::GitHub { .. } => &["read:user", "user:email"],
    }
}

/// Begins a sign-in. `browser` is the value of the browser's cookie, if it has one, so that several tabs can sign in at once.
///
/// # Errors
/// Returns an error if the provider can't be reached, or the query fails.
pub(crate) async fn begin(
    app: &AppState,
    provider: &Provider,
    purpose: Purpose,
    next: &str,
    browser: Option<String>,
) -> Result<Begun, IdentityError> {
    let endpoints = provider.endpoints().await?;
    let (state, nonce, browser) = (random(), random(), browser.filter(|value| is_ours(value)).unwrap_or_else(random));
    let request = Request {
        state: state.clone(),
        nonce: &nonce,
        scopes: scopes(&provider.config.protocol),
        must_sign_in: matches!(purpose, Purpose::Confirm(_)),
    };
    let redirect = redirect_url(&app.config, &provider.config.id);
    let (url, pkce_verifier) = oauth::authorize_url(&provider.config, &endpoints, &redirect, request)?;
    let now = AppState::now();
    let stored = SignInState {
        provider: provider.config.id.clone(),
        purpose,
        nonce,
        pkce_verifier,
        next: next.to_owned(),
        created_at: now,
    };
    sign_in_state::add(&app.db, &state_hash(&state, &browser), &stored, now + LIFETIME).await?;
    Ok(Begun { url, browser })
}

/// Takes out the sign-in that a browser returns from. `None` if it has expired, was used before, or was begun in another browser.
///
/// # Errors
/// Returns an error if the query fails.
pub(crate) async fn take(
    app: &AppState,
    provider: &Provider,
    returned: &Returned,
) -> store::Result<Option<SignInState>> {
    let Some(browser) = returned.browser.as_deref().filter(|value| is_ours(value)) else { return Ok(None) };
    let hash = state_hash(&returned.state, browser);
    sign_in_state::take(&app.db, &hash, &provider.config.id, AppState::now()).await
}

/// Exchanges the code and returns what it proves.
///
/// # Errors
/// Returns an error if the provider refused or can't be reached, or what it sent can't be trusted.
pub(crate) async fn prove(
    app: &AppState,
    provider: &Provider,
    state: &SignInState,
    returned: Returned,
) -> Result<Proved, IdentityError> {
    if returned.issuer.is_some_and(|named| named != provider.config.issuer_of_redirects()) {
        return Err(IdentityError::refused("the redirect names another issuer"));
    }
    let code = returned.code.ok_or_else(|| {
        IdentityError::refused(format!("the provider refused: {}", returned.error.as_deref().unwrap_or("no reason")))
    })?;
    let endpoints = provider.endpoints().await?;
    let redirect = redirect_url(&app.config, &provider.config.id);
    let code = Code { code, pkce_verifier: state.pkce_verifier.clone() };
    let tokens = oauth::exchange(&provider.config, &endpoints, &redirect, &provider.fetcher, code).await?;
    let Verified { claims, is_fresh } = match &provider.config.protocol {
        IdentityProtocol::GitHub { api_url, .. } => {
            let claims = github::load_user(&provider.fetcher, api_url, &tokens.access_token).await?;
            // GitHub doesn't report when its user has signed in.
            Verified { claims, is_fresh: false }
        }
        IdentityProtocol::OpenIdConnect { .. } => verified(provider, &endpoints, state, &tokens).await?,
    };
    // Postgres can't store a NUL, and no address and no name has one.
    let storable = |text: &String| !text.contains('\0');
    let identity = ExternalIdentity {
        label: provider.config.label.clone(),
        issuer: provider.config.issuer().to_owned(),
        is_email_verified: claims.is_email_verified,
        subject: claims.sub,
        email: claims.email.filter(storable),
        name: claims.name.filter(storable).unwrap_or_default(),
    };
    Ok(Proved { identity, is_fresh })
}

/// Verifies the ID token. If it lacks the address, that is loaded from the userinfo endpoint.
async fn verified(
    provider: &Provider,
    endpoints: &Endpoints,
    state: &SignInState,
    tokens: &Tokens,
) -> Result<Verified, IdentityError> {
    let token = tokens.id_token.as_ref().ok_or_else(|| IdentityError::refused("there is no ID token"))?;
    let expected = Expected {
        issuer: provider.config.issuer(),
        client_id: &provider.config.client_id,
        nonce: &state.nonce,
        now: AppState::now(),
        since: matches!(state.purpose, Purpose::Confirm(_)).then_some(state.created_at),
    };
    let mut verified = id_token::verify(token, &provider.keys(true).await?, &expected);
    if verified == Err(TokenError::UnknownKey) {
        // The issuer may have changed its keys.
        verified = id_token::verify(token, &provider.keys(false).await?, &expected);
    }
    let Verified { mut claims, is_fresh } = verified.map_err(|error| match error {
        TokenError::UnknownKey => IdentityError::refused("the ID token is signed by an unknown key"),
        TokenError::Invalid(reason) => IdentityError::refused(format!("the ID token isn't valid: {reason}")),
    })?;
    if claims.email.is_none()
        && let Some(url) = &endpoints.userinfo
    {
        let more: Claims = provider.fetcher.json(url, Some(&tokens.access_token)).await?;
        if more.sub != claims.sub {
            return Err(IdentityError::refused("the userinfo is about another user"));
        }
        claims = Claims { name: claims.name.or_else(|| more.name.clone()), ..more };
    }
    Ok(Verified { claims, is_fresh })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_belongs_to_one_browser() {
        let (state, ours, other) = (random(), random(), random());
        assert!(is_ours(&ours) && !is_ours("") && !is_ours("x|y") && ours != other);
        assert_eq!(state_hash(&state, &ours), state_hash(&state, &ours));
        assert_ne!(state_hash(&state, &ours), state_hash(&state, &other));
        assert_ne!(state_hash(&state, &ours), state_hash(&ours, &state));
    }
}
