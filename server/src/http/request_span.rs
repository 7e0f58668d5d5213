//! What each line of the log says about its request.

use crate::http::v1;
use axum::extract::Request;
use tracing::Span;

/// Maximum length of a request id in the log. A client may send its own.
const MAX_ID: usize = 64;

/// Returns the span of a request. Only the path is logged: queries and bodies contain user text. That of a shared link is its secret.
pub(super) fn of(request: &Request) -> Span {
    let path = match request.uri().path() {
        path if path.starts_with("/share/") => "/share/…",
        // A client may have put its key into the URL.
        path if v1::is_key_in_path(path) => "/v1/…",
        path => path,
    };
    let id = request.headers().get("x-request-id").and_then(|id| id.to_str().ok());
    let id = id.and_then(|id| id.get(..MAX_ID.min(id.len()))).unwrap_or_default();
    tracing::info_span!("request", id, method = %request.method(), path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use http::HeaderValue;
    use std::io;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_names_its_request_and_neither_secrets_nor_queries() {
        let (log, long) = (Log::default(), "x".repeat(1_000));
        let written = log.clone();
        let subscriber = tracing_subscriber::fmt().json().with_writer(move || written.clone()).finish();
        tracing::subscriber::with_default(subscriber, || {
            for (path, id) in [("/usage?days=secret", "0198-abc"), ("/share/secret", long.as_str())] {
                let mut request = Request::new(Body::empty());
                *request.uri_mut() = path.parse().unwrap();
                request.headers_mut().insert("x-request-id", HeaderValue::from_str(id).unwrap());
                of(&request).in_scope(|| tracing::info!("done"));
            }
        });
        let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let field = |line: usize, name: &str| lines[line]["span"][name].as_str().unwrap().to_owned();
        assert_eq!((field(0, "id"), field(0, "path")), ("0198-abc".to_owned(), "/usage".to_owned()));
        assert_eq!((field(1, "id"), field(1, "path")), ("x".repeat(MAX_ID), "/share/…".to_owned()));
        assert!(!text.contains("secret"), "{text}");
    }
}
