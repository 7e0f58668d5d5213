//! Accepts connections up to a maximum, and closes idle ones (field note 103).

use super::connection_limit::default_connection_limit;
use super::deadline_body::DeadlineBody;
use super::socket::Socket;
use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::extract::ConnectInfo;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tower::ServiceExt as _;

/// Timeout for reading a request head, on a new connection and between requests of a kept-alive one. A proxy that keeps idle connections to
/// this server should close them sooner.
const HEADER_TIMEOUT: Duration = Duration::from_secs(15);
/// Maximum size of a request head. Above it the response is 431.
const MAX_HEADER_BYTES: usize = 32 * 1024;
/// Timeout for writing the refusal of a connection.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);
/// Pause after a failed accept. Most often no file descriptor is left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where files are uploaded, which may take longer than other bodies.
const UPLOADS: [&str; 2] = ["/api/attachments", "/settings/import"];

/// Response to a connection above the limit, sent before its request is read.
const REFUSAL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 5\r\nconnection: close\r\ncontent-length: 138\r\n\r\n{\"problem\":{\"kind\":\"overloaded\",\"message\":\"This server has too many open connections. Try again in a few seconds.\",\"retry_after_ms\":5000}}";

/// Serves until `shutdown` completes, then waits for open requests. `limit` caps the connections; `None` derives it from the process's file
/// descriptors.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    limit: Option<usize>,
    shutdown: impl Future<Output = ()>,
) {
    let slots = Arc::new(Semaphore::new(limit.unwrap_or_else(default_connection_limit)));
    let graceful = GracefulShutdown::new();
    tokio::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut shutdown => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "accepting a connection failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
            metrics::counter!("quotient_connections_refused_total").increment(1);
            tokio::spawn(refuse(stream));
            continue;
        };
        let _ = stream.set_nodelay(true);
        let connection = graceful.watch(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .max_header_size(MAX_HEADER_BYTES)
                .serve_connection(TokioIo::new(Socket::new(stream)), service(router.clone(), peer)),
        );
        tokio::spawn(async move {
            let _slot = slot;
            // A client that disconnects early is not a server failure.
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection closed with an error");
            }
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

fn service(
    router: Router,
    peer: SocketAddr,
) -> impl hyper::service::Service<
    Request<Incoming>,
    Response = axum::response::Response,
    Error = std::convert::Infallible,
    Future = impl Future<Output = Result<axum::response::Response, std::convert::Infallible>> + Send,
> {
    hyper::service::service_fn(move |request: Request<Incoming>| {
        let is_file = UPLOADS.contains(&request.uri().path());
        let mut request = request.map(|body| match body.is_end_stream() {
            true => Body::empty(),
            false => Body::new(DeadlineBody::new(body, is_file)),
        });
        request.extensions_mut().insert(ConnectInfo(peer));
        router.clone().oneshot(request)
    })
}

/// Responds with 503 and closes the connection.
async fn refuse(mut stream: TcpStream) {
    let refusal = async {
        stream.write_all(REFUSAL).await?;
        stream.shutdown().await
    };
    let _ = tokio::time::timeout(REFUSAL_TIMEOUT, refusal).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusal_is_a_valid_http_response() {
        let text = std::str::from_utf8(REFUSAL).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        assert_eq!(length.parse::<usize>().unwrap(), body.len());
        let problem: domain::problem::ProblemBody = serde_json::from_str(body).unwrap();
        assert_eq!((problem.problem.status(), problem.problem.retry_after_ms), (503, Some(5_000)));
    }
}
