//! An OpenID Connect issuer and a GitHub on a real socket. Their pages have no forms: the user that a test has set is signed in at once.
//! Codes are single use and need their PKCE verifier. A [`Fault`] makes the issuer send what a client must refuse.

mod github;
mod keys;

pub use keys::Algorithm;

use axum::extract::{Form, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use keys::Key;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use time::OffsetDateTime;
use tokio::net::TcpListener;

/// The id of the only client.
pub const CLIENT_ID: &str = "test-client";
/// The secret of the only client.
pub const CLIENT_SECRET: &str = "test-secret & more";

/// A user of the issuer.
#[derive(Clone, Debug)]
pub struct FakeUser {
    /// The permanent id. For GitHub a number.
    pub subject: String,
    /// The address, if the issuer sends one.
    pub email: Option<String>,
    /// Whether the issuer reports the address as verified.
    pub is_verified: bool,
    /// The display name.
    pub name: String,
}

impl FakeUser {
    /// Creates a user with a verified address.
    #[must_use]
    pub fn new(subject: &str, email: &str) -> Self {
        Self {
            subject: subject.to_owned(),
            email: Some(email.to_owned()),
            is_verified: true,
            name: "Ann Lee".to_owned(),
        }
    }
}

/// What is wrong with what the issuer sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The token has another nonce.
    WrongNonce,
    /// The token is for another client.
    WrongAudience,
    /// The token is for several clients, of which another was authorized.
    OtherParty,
    /// The token has another issuer.
    WrongIssuer,
    /// The token expired two minutes ago.
    Expired,
    /// The token was issued in two minutes.
    FromTheFuture,
    /// The token is signed by a key that isn't published, under the id of one that is.
    ForeignKey,
    /// The token isn't signed.
    AlgorithmNone,
    /// The token is signed with the public key as a secret.
    PublicKeyAsSecret,
    /// The token has no address. It isn't a fault: the userinfo endpoint has it.
    EmailElsewhere,
    /// There is no token.
    NoToken,
    /// The user signed in to the issuer an hour ago.
    OldSignIn,
    /// The token has no `auth_time`, although the request requires it.
    NoAuthTime,
    /// The user refuses.
    Denied,
    /// The redirect names another issuer.
    OtherIssuerNamed,
    /// The token endpoint responds with 503.
    Down,
}

/// A code that wasn't exchanged yet.
struct Grant {
    nonce: Option<String>,
    challenge: Option<String>,
    redirect: String,
    must_sign_in: bool,
}

struct Inner {
    user: FakeUser,
    fault: Option<Fault>,
    key: Key,
    generation: u32,
    grants: HashMap<String, Grant>,
    access_tokens: HashSet<String>,
    key_requests: u32,
}

#[derive(Clone)]
struct Shared {
    url: Arc<str>,
    inner: Arc<Mutex<Inner>>,
}

impl Shared {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running issuer.
pub struct FakeIssuer {
    shared: Shared,
}

impl FakeIssuer {
    /// Starts an issuer on an address; port 0 selects a free port.
    ///
    /// # Errors
    /// Returns an error if the address is in use.
    pub async fn start(addr: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(addr).await?;
        let inner = Inner {
            user: FakeUser::new("1001", "ann@example.com"),
            fault: None,
            key: Key::new("key-0".to_owned(), Algorithm::Es256)?,
            generation: 0,
            grants: HashMap::new(),
            access_tokens: HashSet::new(),
            key_requests: 0,
        };
        let url = format!("http://{}", listener.local_addr()?).into();
        let shared = Shared { url, inner: Arc::new(Mutex::new(inner)) };
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/keys", get(keys))
            .route("/authorize", get(authorize))
            .route("/token", post(token))
            .route("/userinfo", get(userinfo))
            .merge(github::router())
            .with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { shared })
    }

    /// Returns its URL, which is also its issuer.
    #[must_use]
    pub fn url(&self) -> String {
        self.shared.url.to_string()
    }

    /// Sets the user that is signed in from now on.
    pub fn set_user(&self, user: FakeUser) {
        self.shared.inner().user = user;
    }

    /// Sets what is wrong from now on.
    pub fn set_fault(&self, fault: Option<Fault>) {
        self.shared.inner().fault = fault;
    }

    /// Replaces the key by a new one.
    ///
    /// # Errors
    /// Returns an error if no key can be made.
    pub fn replace_key(&self, algorithm: Algorithm) -> anyhow::Result<()> {
        let mut inner = self.shared.inner();
        inner.generation += 1;
        inner.key = Key::new(format!("key-{}", inner.generation), algorithm)?;
        Ok(())
    }

    /// Returns how often the keys were requested.
    #[must_use]
    pub fn key_requests(&self) -> u32 {
        self.shared.inner().key_requests
    }
}

fn random() -> String {
    hex::encode(rand::random::<[u8; 16]>())
}

fn failed(error: &str) -> Response {
    (StatusCode::BAD_REQUEST, Json(json!({"error": error}))).into_response()
}

async fn discovery(State(shared): State<Shared>) -> Json<Value> {
    let url: &str = &shared.url;
    Json(json!({
        "issuer": url,
        "authorization_endpoint": format!("{url}/authorize"),
        "token_endpoint": format!("{url}/token"),
        "userinfo_endpoint": format!("{url}/userinfo"),
        "jwks_uri": format!("{url}/keys"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256", "RS256", "EdDSA"],
        "claims_supported": ["sub", "auth_time", "name", "email", "email_verified"],
    }))
}

async fn keys(State(shared): State<Shared>) -> Json<Value> {
    let mut inner = shared.inner();
    inner.key_requests += 1;
    // Clients must ignore keys of unsupported types.
    Json(json!({"keys": [{"kty": "AKP", "alg": "ML-DSA-44", "kid": "new", "pub": "AA"}, inner.key.public()]}))
}

/// Issues a code to the client and sends the browser back with it, and with the issuer's name if there is one.
fn redirect(shared: &Shared, query: &HashMap<String, String>, grant: Grant, issuer: Option<String>) -> Response {
    let text = |name: &str| query.get(name).cloned().unwrap_or_default();
    if text("client_id") != CLIENT_ID || text("response_type") != "code" || text("state").len() < 32 {
        return failed("invalid_request");
    }
    let mut inner = shared.inner();
    let mut back = form_urlencoded::Serializer::new(String::new());
    back.append_pair("state", &text("state"));
    if inner.fault == Some(Fault::Denied) {
        back.append_pair("error", "access_denied");
    } else {
        let code = random();
        back.append_pair("code", &code);
        inner.grants.insert(code, grant);
    }
    let issuer = match inner.fault {
        Some(Fault::OtherIssuerNamed) => Some("https://other.example".to_owned()),
        _ => issuer,
    };
    if let Some(issuer) = issuer {
        back.append_pair("iss", &issuer);
    }
    Redirect::to(&format!("{}?{}", text("redirect_uri"), back.finish())).into_response()
}

async fn authorize(State(shared): State<Shared>, Query(query): Query<HashMap<String, String>>) -> Response {
    let has = |name: &str, value: &str| query.get(name).is_some_and(|found| found == value);
    let is_openid = query.get("scope").is_some_and(|scope| scope.split(' ').any(|one| one == "openid"));
    if !is_openid || !has("code_challenge_method", "S256") || !query.contains_key("nonce") {
        return failed("invalid_request");
    }
    let grant = Grant {
        nonce: query.get("nonce").cloned(),
        challenge: query.get("code_challenge").cloned(),
        redirect: query.get("redirect_uri").cloned().unwrap_or_default(),
        must_sign_in: has("max_age", "0"),
    };
    redirect(&shared, &query, grant, None)
}

/// Takes out the grant of a code, if the client proves itself and began the sign-in.
fn take_grant(inner: &mut Inner, headers: &HeaderMap, form: &HashMap<String, String>) -> Option<Grant> {
    let field = |name: &str| form.get(name).map(String::as_str);
    let urlencoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let basic = format!("Basic {}", STANDARD.encode(format!("{CLIENT_ID}:{}", urlencoded(CLIENT_SECRET))));
    let by_header = headers.get(header::AUTHORIZATION).is_some_and(|found| *found == basic);
    let by_body = field("client_id") == Some(CLIENT_ID) && field("client_secret") == Some(CLIENT_SECRET);
    if !(by_header || by_body) {
        return None;
    }
    // Used up even if the rest is wrong.
    let grant = inner.grants.remove(field("code")?)?;
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(field("code_verifier").unwrap_or_default()));
    let is_ours =
        grant.challenge.as_ref() == Some(&challenge) && field("redirect_uri") == Some(grant.redirect.as_str());
    is_ours.then_some(grant)
}

async fn token(
    State(shared): State<Shared>,
    headers: HeaderMap,
    Form(form): Form<HashMap<String, String>>,
) -> Response {
    let mut inner = shared.inner();
    if inner.fault == Some(Fault::Down) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let Some(grant) = take_grant(&mut inner, &headers, &form) else { return failed("invalid_grant") };
    let access_token = random();
    inner.access_tokens.insert(access_token.clone());
    let mut answer = json!({"access_token": access_token, "token_type": "Bearer", "expires_in": 3600});
    if inner.fault != Some(Fault::NoToken) {
        match id_token(&shared.url, &inner, &grant) {
            Ok(token) => answer["id_token"] = json!(token),
            Err(error) => return (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
        }
    }
    Json(answer).into_response()
}

/// Makes an ID token, or one that a client must refuse.
fn id_token(url: &str, inner: &Inner, grant: &Grant) -> anyhow::Result<String> {
    let now = OffsetDateTime::now_utc().unix_timestamp();
    let user = &inner.user;
    let mut claims = json!({
        "iss": url, "aud": CLIENT_ID, "sub": user.subject, "iat": now, "exp": now + 300, "nonce": grant.nonce,
        "name": user.name, "email": user.email, "email_verified": user.is_verified,
    });
    if grant.must_sign_in && inner.fault != Some(Fault::NoAuthTime) {
        claims["auth_time"] = json!(now);
    }
    match inner.fault {
        Some(Fault::WrongNonce) => claims["nonce"] = json!("other"),
        Some(Fault::WrongAudience) => claims["aud"] = json!("other-client"),
        Some(Fault::OtherParty) => {
            claims["aud"] = json!([CLIENT_ID, "other-client"]);
            claims["azp"] = json!("other-client");
        }
        Some(Fault::WrongIssuer) => claims["iss"] = json!("https://other.example"),
        Some(Fault::Expired) => claims["exp"] = json!(now - 120),
        Some(Fault::FromTheFuture) => claims["iat"] = json!(now + 120),
        Some(Fault::EmailElsewhere) => {
            claims["email"] = Value::Null;
            claims["email_verified"] = Value::Null;
        }
        Some(Fault::OldSignIn) => claims["auth_time"] = json!(now - 3600),
        Some(Fault::AlgorithmNone) => return Ok(inner.key.unsigned(&claims)),
        Some(Fault::PublicKeyAsSecret) => return inner.key.hmac_with_public_key(&claims),
        Some(Fault::ForeignKey) => {
            return Key::new("foreign".to_owned(), Algorithm::Es256)?.token(&inner.key, &claims);
        }
        _ => {}
    }
    inner.key.token(&inner.key, &claims)
}

/// Returns whether a request has an access token of this issuer.
fn has_token(inner: &Inner, headers: &HeaderMap) -> bool {
    let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    token.is_some_and(|token| inner.access_tokens.contains(token))
}

async fn userinfo(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    let inner = shared.inner();
    if !has_token(&inner, &headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let FakeUser { subject, email, is_verified, name } = &inner.user;
    Json(json!({"sub": subject, "email": email, "email_verified": is_verified, "name": name})).into_response()
}
