//! A service that lists breached passwords, with the range protocol of Have I Been Pwned: <https://haveibeenpwned.com/API/v3#PwnedPasswords>.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::net::TcpListener;

/// Number of hex digits that a request has.
const PREFIX: usize = 5;
/// A line that pads a response, because its number of breaches is 0.
const PADDING: &str = "0123456789ABCDEF0123456789ABCDEF012:0\r\n";
/// Number of lines that make a response too large: 1.2 MB of them.
const TOO_MANY: usize = 30_000;

/// How the fake responds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RangeMode {
    /// As the protocol says.
    #[default]
    Lists,
    /// With 500.
    Down,
    /// Never.
    Silent,
    /// With a list that is too large to be read.
    TooLarge,
    /// With a page, as a network that requires a sign-in does.
    NoList,
}

#[derive(Default)]
struct Shared {
    mode: RangeMode,
    /// SHA-1 of passwords in hex, each with its number of breaches.
    listed: Vec<(String, u64)>,
    /// The URIs of all requests.
    requests: Vec<String>,
}

/// A service that lists breached passwords, on a real socket.
pub struct FakeBreachedPasswords {
    addr: SocketAddr,
    shared: Arc<Mutex<Shared>>,
}

impl FakeBreachedPasswords {
    /// Starts the fake.
    ///
    /// # Errors
    /// Returns an error if the address can't be bound.
    pub async fn start(addr: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind(addr).await?;
        let (addr, shared) = (listener.local_addr()?, Arc::<Mutex<Shared>>::default());
        let router = Router::new().route("/range/{prefix}", get(range)).with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { addr, shared })
    }

    /// Returns the base URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Lists a password with its number of breaches. With 0, its line only pads responses.
    pub fn list(&self, password: &str, breaches: u64) {
        let hash = hex::encode_upper(digest(&SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes()));
        lock(&self.shared).listed.push((hash, breaches));
    }

    /// Responds in another way from now on.
    pub fn set_mode(&self, mode: RangeMode) {
        lock(&self.shared).mode = mode;
    }

    /// Returns the URIs of all requests.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        lock(&self.shared).requests.clone()
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lists the hashes with a prefix. Refuses what the protocol doesn't have: another length, no padding, no name of the client.
async fn range(
    State(shared): State<Arc<Mutex<Shared>>>,
    Path(prefix): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let (mode, listed) = record(&shared, &uri, &prefix);
    let is_padded = headers.get("add-padding").is_some_and(|value| value == "true");
    let is_prefix = prefix.len() == PREFIX && prefix.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_padded || !is_prefix || !headers.contains_key(header::USER_AGENT) {
        return StatusCode::BAD_REQUEST.into_response();
    }
    match mode {
        RangeMode::Lists => format!("{PADDING}{listed}{PADDING}").into_response(),
        RangeMode::Down => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        RangeMode::Silent => std::future::pending().await,
        RangeMode::TooLarge => format!("{}{listed}", PADDING.repeat(TOO_MANY)).into_response(),
        RangeMode::NoList => "<html>Sign in to this network</html>".into_response(),
    }
}

/// Records a request. Returns how it is answered, and the lines of the hashes that it asks for.
fn record(shared: &Mutex<Shared>, uri: &Uri, prefix: &str) -> (RangeMode, String) {
    let mut shared = lock(shared);
    shared.requests.push(uri.to_string());
    let line =
        |(hash, breaches): &(String, u64)| hash.strip_prefix(prefix).map(|suffix| format!("{suffix}:{breaches}\r\n"));
    (shared.mode, shared.listed.iter().filter_map(line).collect())
}
