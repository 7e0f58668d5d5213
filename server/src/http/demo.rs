//! The live demo on the landing page: a visitor's question, answered as server-sent events with rendered HTML.

use crate::AppState;
use crate::accounts::attempts::{self, Attempt};
use crate::failure::Failure;
use crate::http::html_view::html_view;
use crate::http::origin::request_origin;
use crate::http::sse;
use crate::turn::demo::{self, StartedDemo};
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use domain::Problem;
use relay::Tail;
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;

/// Maximum length of a question in characters. The page's field has the same.
const MAX_CHARS: usize = 500;
/// Maximum size of a body: a question of maximum length, with each character escaped.
const MAX_BYTES: usize = 8 * 1024;
/// Timeout for receiving a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Deserialize)]
struct Body {
    text: String,
}

/// `POST /api/demo`: answers a visitor's question. Needs no account and is limited by address, by the number of demos that run at once, and by a
/// budget.
pub(crate) async fn answer(State(app): State<AppState>, request: Request) -> Response {
    match start(&app, request).await {
        Ok(tail) => sse::events(tail),
        Err(Failure(problem)) => {
            let problem = demo::explain(problem);
            metrics::counter!("quotient_demos_refused_total", "kind" => problem.kind.as_str()).increment(1);
            Failure(problem).into_response()
        }
    }
}

async fn start(app: &AppState, request: Request) -> Result<Tail, Failure> {
    if !app.has_demo() {
        return Err(Problem::not_found("page").into());
    }
    let origin = request_origin(app, &request)?;
    let text = read(request).await?;
    attempts::count_attempt(app, &origin, Attempt::Demo).await?;
    let slot = Arc::clone(&app.protection.demos).try_acquire_owned().map_err(|_| Problem::overloaded())?;
    let StartedDemo { turn_id, viewer, tail, presentation } =
        demo::begin(app, app.demo_subject(&origin)?, text, slot).await?;
    Ok(html_view(app.clone(), viewer, turn_id, (tail, 0), Some(presentation)))
}

/// Reads the question.
async fn read(request: Request) -> Result<String, Problem> {
    let body = tokio::time::timeout(BODY_TIMEOUT, to_bytes(request.into_body(), MAX_BYTES)).await;
    let bytes = body.ok().and_then(Result::ok).ok_or_else(|| Problem::invalid("", "The question didn't arrive."))?;
    parse(&bytes)
}

fn parse(bytes: &[u8]) -> Result<String, Problem> {
    let Body { text } = serde_json::from_slice(bytes)
        .map_err(|_| Problem::invalid("", "The request body isn't valid JSON of the expected shape."))?;
    let text = text.replace('\0', "");
    let text = text.trim();
    if text.is_empty() {
        return Err(Problem::invalid("text", "Enter a question."));
    }
    if text.chars().count() > MAX_CHARS {
        return Err(Problem::invalid("text", format!("The demo takes up to {MAX_CHARS} characters. Shorten it.")));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn questions_are_short_and_not_blank() {
        let read = |text: &str| parse(json!({ "text": text }).to_string().as_bytes());
        assert_eq!(read(" Why?\n").unwrap(), "Why?");
        assert_eq!(read(&"ü".repeat(MAX_CHARS)).unwrap().chars().count(), MAX_CHARS);
        for text in ["", " \n", &"a".repeat(MAX_CHARS + 1)] {
            assert_eq!(read(text).unwrap_err().field.as_deref(), Some("text"));
        }
        assert!(parse(b"{}").is_err() && parse(b"").is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_parsing_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "\\PC{0,600}") {
            let _ = parse(&bytes);
            if let Ok(found) = parse(json!({ "text": text }).to_string().as_bytes()) {
                prop_assert!(found.chars().count() <= MAX_CHARS && !found.contains('\0'));
            }
        }
    }
}
