//! Refusals in each wire format's own way, and recorded responses.

use crate::format::Format;
use crate::request::Request;
use crate::script::Refusal;
use axum::Json;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Refuses a request that violates a rule of real providers.
pub(crate) fn invalid(format: Format, violation: &str) -> Response {
    (StatusCode::BAD_REQUEST, Json(error(format, "invalid_request_error", None, violation))).into_response()
}

/// Returns an error object of a wire format.
fn error(format: Format, kind: &str, code: Option<&str>, message: &str) -> Value {
    match format {
        Format::Messages => json!({"type": "error", "error": {"type": kind, "message": message}}),
        Format::Completions => json!({"error": {"message": message, "type": kind, "param": null, "code": code}}),
    }
}

/// Returns the response that refuses a request; `None` if nothing in the request is refused.
pub(crate) fn response(format: Format, refusal: &Refusal, request: &Request, retry_after: &str) -> Option<Response> {
    let is_anthropic = format == Format::Messages;
    let (status, body) = match refusal {
        Refusal::Status(status) => {
            let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let body = error(Format::Messages, "overloaded_error", None, "no");
            return Some((status, [(header::RETRY_AFTER, retry_after.to_owned())], Json(body)).into_response());
        }
        Refusal::Credit if is_anthropic => (
            400,
            error(
                format,
                "invalid_request_error",
                None,
                "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits.",
            ),
        ),
        Refusal::Credit => (
            429,
            error(
                format,
                "insufficient_quota",
                Some("insufficient_quota"),
                "You exceeded your current quota, please check your plan and billing details.",
            ),
        ),
        Refusal::Key if is_anthropic => (401, error(format, "authentication_error", None, "invalid x-api-key")),
        Refusal::Key => (
            401,
            error(format, "invalid_request_error", Some("invalid_api_key"), "Incorrect API key provided: test-key."),
        ),
        Refusal::Unknown => {
            let kind = if is_anthropic { "not_found_error" } else { "invalid_request_error" };
            (404, error(format, kind, Some("model_not_found"), &format!("model: {}", request.model)))
        }
        Refusal::TooLong(max) => (400, too_long(format, request.tokens.max(max + 1), *max)),
        Refusal::Rejects(name) => return rejects(format, name, request),
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    Some((status, Json(body)).into_response())
}

fn too_long(format: Format, tokens: u64, max: u64) -> Value {
    match format {
        Format::Messages => error(
            format,
            "invalid_request_error",
            None,
            &format!("prompt is too long: {tokens} tokens > {max} maximum"),
        ),
        Format::Completions => error(
            format,
            "invalid_request_error",
            Some("context_length_exceeded"),
            &format!(
                "This model's maximum context length is {max} tokens. However, your messages resulted in {tokens} tokens. Please reduce the length of the messages."
            ),
        ),
    }
}

/// Refuses a request that has a field: `max_tokens` as OpenAI does it, any other as FastAPI servers do.
fn rejects(format: Format, name: &str, request: &Request) -> Option<Response> {
    if request.limit_name != name {
        return None;
    }
    if name == "max_tokens" {
        let message = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.";
        let mut body = error(format, "invalid_request_error", Some("unsupported_parameter"), message);
        body["error"]["param"] = name.into();
        return Some((StatusCode::BAD_REQUEST, Json(body)).into_response());
    }
    let detail = json!([{"type": "extra_forbidden", "loc": ["body", name], "msg": "Extra inputs are not permitted", "input": request.max_output}]);
    Some((StatusCode::UNPROCESSABLE_ENTITY, Json(json!({"detail": detail}))).into_response())
}

/// Reads a recorded response: its status, headers and body.
///
/// # Errors
/// Returns an error if the file doesn't exist or isn't an HTTP response.
pub(crate) fn recorded(name: &str) -> anyhow::Result<(StatusCode, HeaderMap, bytes::Bytes)> {
    anyhow::ensure!(!name.contains('/'), "{name} isn't a file's name");
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../providers/fixtures/odd"));
    parse(&std::fs::read(folder.join(format!("{name}.http")))?)
}

fn parse(file: &[u8]) -> anyhow::Result<(StatusCode, HeaderMap, bytes::Bytes)> {
    let ends = [&b"\r\n\r\n"[..], b"\n\n"].map(|end| {
        let at = file.windows(end.len()).position(|window| window == end);
        at.map_or((file.len(), file.len()), |at| (at, at + end.len()))
    });
    let (head, body) = if ends[0].0 <= ends[1].0 { ends[0] } else { ends[1] };
    let mut lines = std::str::from_utf8(&file[..head])?.lines();
    let status = lines.next().unwrap_or_default().split(' ').nth(1).unwrap_or_default();
    let mut headers = HeaderMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        // The server frames the body itself.
        if !["content-length", "transfer-encoding", "connection"].contains(&name.to_ascii_lowercase().as_str()) {
            headers.append(HeaderName::try_from(name)?, HeaderValue::try_from(value.trim())?);
        }
    }
    Ok((StatusCode::from_bytes(status.as_bytes())?, headers, bytes::Bytes::copy_from_slice(&file[body..])))
}

/// Serves a recorded response. A file that can't be read is a 404 with the reason.
pub(crate) fn replay(name: &str, by_bytes: bool) -> Response {
    match recorded(name) {
        Ok((status, headers, body)) if by_bytes => {
            (status, headers, crate::bytewise(futures::stream::iter([Ok(body)]))).into_response()
        }
        Ok((status, headers, body)) => (status, headers, Body::from(body)).into_response(),
        Err(error) => (StatusCode::NOT_FOUND, format!("{name}: {error}")).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recorded_responses_are_read_with_both_line_endings() {
        for file in [
            "HTTP/1.1 429 Too Many\r\nRetry-After: 1.5\r\nContent-Length: 9\r\n\r\n{\"a\":\n\n1}",
            "HTTP/1.1 429 Too Many\nRetry-After: 1.5\n\n{\"a\":\n\n1}",
        ] {
            let (status, headers, body) = parse(file.as_bytes()).unwrap();
            let retry_after = headers["retry-after"].to_str().unwrap();
            assert_eq!((status, retry_after, headers.len()), (StatusCode::TOO_MANY_REQUESTS, "1.5", 1));
            assert_eq!(body, "{\"a\":\n\n1}");
        }
        assert_eq!(parse(b"HTTP/1.1 200 OK\n\n").unwrap().2, "");
        assert!(parse(b"data: x\n\n").is_err());
    }
}
