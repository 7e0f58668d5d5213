//! The details of a request that its response depends on.

use axum::extract::Request;
use http::{HeaderMap, HeaderValue, header};
use providers::api::ApiFormat;

/// Header that every request in Anthropic's format has.
const ANTHROPIC_VERSION: &str = "anthropic-version";

/// The details of a request that its response depends on.
#[derive(Clone, Debug)]
pub(super) struct About {
    /// The format of the client.
    pub format: ApiFormat,
    /// The request's id.
    pub id: Option<HeaderValue>,
    /// The origin of the web page that sent it, if a web page did.
    pub origin: Option<HeaderValue>,
}

impl About {
    pub fn of(request: &Request) -> Self {
        let headers = request.headers();
        Self {
            format: format(request.uri().path(), headers),
            id: headers.get("x-request-id").cloned(),
            origin: headers.get(header::ORIGIN).cloned(),
        }
    }

    /// Returns the request's id as text.
    pub fn id_text(&self) -> Option<&str> {
        self.id.as_ref().and_then(|id| id.to_str().ok())
    }
}

/// Returns the format of a path. Paths that both formats have are Anthropic's if the request names its version.
fn format(path: &str, headers: &HeaderMap) -> ApiFormat {
    match path {
        "/v1/chat/completions" => ApiFormat::ChatCompletions,
        "/v1/responses" => ApiFormat::Responses,
        _ if path.starts_with("/v1/messages") || headers.contains_key(ANTHROPIC_VERSION) => ApiFormat::Messages,
        _ => ApiFormat::ChatCompletions,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_both_have_depend_on_the_version() {
        let mut anthropic = HeaderMap::new();
        anthropic.insert(ANTHROPIC_VERSION, HeaderValue::from_static("2023-06-01"));
        let other = HeaderMap::new();
        assert_eq!(format("/v1/models", &anthropic), ApiFormat::Messages);
        assert_eq!(format("/v1/models", &other), ApiFormat::ChatCompletions);
        assert_eq!(format("/v1/messages/count_tokens", &other), ApiFormat::Messages);
        assert_eq!(format("/v1/responses", &anthropic), ApiFormat::Responses);
    }
}
