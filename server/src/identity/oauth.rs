//! The authorization code flow with PKCE ([RFC 6749](https://www.rfc-editor.org/rfc/rfc6749), [RFC 7636](https://www.rfc-editor.org/rfc/rfc7636)).

use super::error::IdentityError;
use super::fetch::{FetchError, Fetcher};
use super::metadata::Endpoints;
use crate::config::IdentityProvider;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use oauth2::basic::{
    BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse, BasicTokenType,
};
use oauth2::{
    AsyncHttpClient, AuthType, AuthUrl, AuthorizationCode, ClientId, ClientSecret, CsrfToken, EndpointNotSet,
    EndpointSet, ExtraTokenFields, HttpRequest, HttpResponse, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl,
    RequestTokenError, Scope, StandardRevocableToken, StandardTokenResponse, TokenResponse as _, TokenUrl,
};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};

/// What OpenID Connect adds to a token response.
#[derive(Debug, Serialize, Deserialize)]
struct IdTokenField {
    id_token: Option<String>,
}

impl ExtraTokenFields for IdTokenField {}

type NewClient = oauth2::Client<
    BasicErrorResponse,
    StandardTokenResponse<IdTokenField, BasicTokenType>,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
>;

type Client = oauth2::Client<
    BasicErrorResponse,
    StandardTokenResponse<IdTokenField, BasicTokenType>,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
>;

/// The code that a browser has returned with.
pub(super) struct Code {
    pub code: String,
    /// The secret that it must be exchanged with.
    pub pkce_verifier: String,
}

/// The tokens that a code was exchanged for.
pub(super) struct Tokens {
    pub access_token: String,
    /// `None` from a provider that supports OAuth only.
    pub id_token: Option<String>,
}

/// The parameters of a provider's authorization page.
pub(super) struct Request<'a> {
    pub state: String,
    pub nonce: &'a str,
    pub scopes: &'a [&'a str],
    /// Whether the user must prove to the provider again who they are.
    pub must_sign_in: bool,
}

fn client(provider: &IdentityProvider, endpoints: &Endpoints, redirect: &str) -> Result<Client, IdentityError> {
    let invalid = |_| IdentityError::refused("an endpoint of the provider is no URL");
    let auth_type = if endpoints.takes_secret_in_body() { AuthType::RequestBody } else { AuthType::BasicAuth };
    Ok(NewClient::new(ClientId::new(provider.client_id.clone()))
        .set_client_secret(ClientSecret::new(provider.client_secret.expose_secret().to_owned()))
        .set_auth_type(auth_type)
        .set_auth_uri(AuthUrl::new(endpoints.authorize.clone()).map_err(invalid)?)
        .set_token_uri(TokenUrl::new(endpoints.token.clone()).map_err(invalid)?)
        .set_redirect_uri(RedirectUrl::new(redirect.to_owned()).map_err(invalid)?))
}

/// Returns the URL of the provider's page, and the secret that its code must be exchanged with.
pub(super) fn authorize_url(
    provider: &IdentityProvider,
    endpoints: &Endpoints,
    redirect: &str,
    request: Request<'_>,
) -> Result<(String, String), IdentityError> {
    let Request { state, nonce, scopes, must_sign_in } = request;
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let client = client(provider, endpoints, redirect)?;
    let mut page = client
        .authorize_url(|| CsrfToken::new(state))
        .add_scopes(scopes.iter().map(|scope| Scope::new((*scope).to_owned())))
        .set_pkce_challenge(challenge);
    if endpoints.keys.is_some() {
        page = page.add_extra_param("nonce", nonce);
        if must_sign_in {
            page = page.add_extra_param("max_age", "0");
        }
    }
    let (url, _) = page.url();
    Ok((url.to_string(), verifier.into_secret()))
}

/// Exchanges a code.
pub(super) async fn exchange(
    provider: &IdentityProvider,
    endpoints: &Endpoints,
    redirect: &str,
    fetcher: &Fetcher,
    Code { code, pkce_verifier }: Code,
) -> Result<Tokens, IdentityError> {
    let client = client(provider, endpoints, redirect)?;
    let request = client.exchange_code(AuthorizationCode::new(code));
    let request = request.set_pkce_verifier(PkceCodeVerifier::new(pkce_verifier));
    let response = request.request_async(fetcher).await.map_err(|error| match error {
        RequestTokenError::Request(error) => IdentityError::from(error),
        RequestTokenError::ServerResponse(response) => {
            IdentityError::refused(format!("the code was refused: {}", response.error()))
        }
        // The response may contain a token, so it isn't logged.
        RequestTokenError::Parse(..) | RequestTokenError::Other(_) => {
            IdentityError::refused("the response to the code can't be read")
        }
    })?;
    Ok(Tokens {
        access_token: response.access_token().secret().clone(),
        id_token: response.extra_fields().id_token.clone(),
    })
}

/// A type of its own instead of a closure, whose future the compiler can't prove to be `Send` for every lifetime.
impl<'c> AsyncHttpClient<'c> for Fetcher {
    type Error = FetchError;
    type Future = BoxFuture<'c, Result<HttpResponse, FetchError>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        let response = async move {
            let response = self.send(request).await?;
            match response.status().is_server_error() {
                true => Err(FetchError::Status(response.status())),
                false => Ok(response),
            }
        };
        response.boxed()
    }
}
