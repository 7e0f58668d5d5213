//! The server of a captcha's provider: verifies what its widget returns, as Turnstile and hCaptcha do.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Form, Json, Router};
use serde::Deserialize;
use serde_json::json;
use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;

/// The secret that the fake accepts. It protects nothing.
pub const CAPTCHA_SECRET: &str = "captcha-secret";
/// Responses that begin so count as solved, each once.
const SOLVED: &str = "solved";

#[derive(Default)]
struct Shared {
    /// Responses that were verified.
    used: Mutex<HashSet<String>>,
    is_down: AtomicBool,
    is_silent: AtomicBool,
}

/// A captcha's provider on a real socket.
pub struct FakeCaptcha {
    addr: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Deserialize)]
struct Request {
    secret: String,
    response: String,
}

impl FakeCaptcha {
    /// Starts the fake.
    ///
    /// # Errors
    /// Returns an error if the address can't be bound.
    pub async fn start(addr: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind(addr).await?;
        let (addr, shared) = (listener.local_addr()?, Arc::<Shared>::default());
        let router = Router::new().route("/siteverify", post(verify)).with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { addr, shared })
    }

    /// Returns the URL that verifies.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/siteverify", self.addr)
    }

    /// Returns the number of different responses that were solved.
    #[must_use]
    pub fn solved(&self) -> usize {
        self.shared.used.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Responds with 500, or as usual again.
    pub fn set_down(&self, is_down: bool) {
        self.shared.is_down.store(is_down, Ordering::Relaxed);
    }

    /// Never responds, or as usual again.
    pub fn set_silent(&self, is_silent: bool) {
        self.shared.is_silent.store(is_silent, Ordering::Relaxed);
    }
}

async fn verify(State(shared): State<Arc<Shared>>, Form(request): Form<Request>) -> Response {
    if shared.is_silent.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
    if shared.is_down.load(Ordering::Relaxed) {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let error = if request.secret != CAPTCHA_SECRET {
        Some("invalid-input-secret")
    } else if !request.response.starts_with(SOLVED) {
        Some("invalid-input-response")
    } else {
        let is_new = shared.used.lock().unwrap_or_else(PoisonError::into_inner).insert(request.response);
        (!is_new).then_some("timeout-or-duplicate")
    };
    Json(json!({"success": error.is_none(), "error-codes": error.into_iter().collect::<Vec<_>>()})).into_response()
}
