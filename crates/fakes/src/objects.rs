//! An object store in memory: what S3 does for single objects. It checks no signatures, only that requests have one.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::net::TcpListener;

/// The objects by bucket and key, as `bucket/key`, and the one that can't be deleted.
#[derive(Default)]
struct Stored {
    all: BTreeMap<String, Bytes>,
    locked: Option<String>,
}

type Objects = Arc<Mutex<Stored>>;

/// An object store on a real socket.
pub struct FakeObjects {
    addr: SocketAddr,
    objects: Objects,
}

impl FakeObjects {
    /// Starts the fake.
    ///
    /// # Errors
    /// Returns an error if the address can't be bound.
    pub async fn start(addr: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind(addr).await?;
        let (addr, objects) = (listener.local_addr()?, Objects::default());
        let router = Router::new()
            .route("/{*path}", get(load).put(save).delete(remove))
            .layer(DefaultBodyLimit::disable())
            .with_state(Arc::clone(&objects));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { addr, objects })
    }

    /// Returns `OBJECT_STORE_URL` for a bucket of it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://key:secret@{}/bucket/chat", self.addr)
    }

    /// Lists the keys of all objects.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        lock(&self.objects).all.keys().cloned().collect()
    }

    /// Refuses to delete the object with this key, or any other one no longer.
    pub fn refuse_to_delete(&self, key: Option<&str>) {
        lock(&self.objects).locked = key.map(str::to_owned);
    }
}

fn lock(objects: &Objects) -> MutexGuard<'_, Stored> {
    objects.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_signed(headers: &HeaderMap) -> bool {
    let signature = headers.get("authorization").and_then(|value| value.to_str().ok());
    signature.is_some_and(|value| value.starts_with("AWS4-HMAC-SHA256 Credential=key/"))
}

async fn load(State(objects): State<Objects>, Path(path): Path<String>, headers: HeaderMap) -> Response {
    match lock(&objects).all.get(&path) {
        _ if !is_signed(&headers) => StatusCode::FORBIDDEN.into_response(),
        Some(bytes) => {
            let head = [("etag", "\"1\""), ("last-modified", "Fri, 27 Nov 2026 12:00:00 GMT")];
            (head, bytes.clone()).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn save(State(objects): State<Objects>, Path(path): Path<String>, headers: HeaderMap, body: Bytes) -> Response {
    if !is_signed(&headers) {
        return StatusCode::FORBIDDEN.into_response();
    }
    lock(&objects).all.insert(path, body);
    [("etag", "\"1\"")].into_response()
}

async fn remove(State(objects): State<Objects>, Path(path): Path<String>, headers: HeaderMap) -> StatusCode {
    if !is_signed(&headers) {
        return StatusCode::FORBIDDEN;
    }
    let mut objects = lock(&objects);
    if objects.locked.as_ref() == Some(&path) {
        return StatusCode::FORBIDDEN;
    }
    objects.all.remove(&path);
    StatusCode::NO_CONTENT
}
