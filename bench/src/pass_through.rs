//! The baseline for comparison: a minimal proxy without sessions, limits or a ledger.

use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use axum::{Router, routing::get, routing::post};

#[derive(Clone)]
struct Through {
    client: reqwest::Client,
    url: String,
}

async fn pass(State(through): State<Through>, body: String) -> Response {
    let sent = through.client.post(&through.url).header(CONTENT_TYPE, "application/json").body(body).send().await;
    match sent {
        Ok(answer) => ([(CONTENT_TYPE, "text/event-stream")], Body::from_stream(answer.bytes_stream())).into_response(),
        Err(_) => axum::http::StatusCode::BAD_GATEWAY.into_response(),
    }
}

/// Forwards requests to the provider until the process is stopped.
///
/// # Errors
/// Returns an error if the address is in use.
pub async fn serve(provider: &str, address: &str) -> anyhow::Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().tcp_nodelay(true).build()?;
    let through = Through { client, url: format!("{provider}/v1/messages") };
    let router =
        Router::new().route("/v1/messages", post(pass)).route("/healthz", get(async || "ok")).with_state(through);
    let listener = axum::serve::ListenerExt::tap_io(tokio::net::TcpListener::bind(address).await?, |stream| {
        let _ = stream.set_nodelay(true);
    });
    Ok(axum::serve(listener, router).await?)
}
