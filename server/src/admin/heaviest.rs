//! The page of the heaviest users: what its address asks for.

use crate::{House, pages};
use app::api::admin::Asked;
use axum::extract::{Request, State};
use axum::response::Response;
use domain::Problem;
use http::Uri;
use std::sync::Arc;

/// Reads the address of the page, or of an export.
///
/// # Errors
/// What is wrong with its period, in words.
pub(crate) fn asked(uri: &Uri) -> Result<Asked, Problem> {
    let query: Vec<(String, String)> =
        uri.query().map(|query| form_urlencoded::parse(query.as_bytes()).into_owned().collect()).unwrap_or_default();
    let of = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    Asked::parse(of).map_err(|why| Problem::invalid("period", why))
}

/// `GET /admin`: the page, or 422 and why its period can't be one. Admins who reload at once take turns, so that they never keep more
/// than one processor from those who chat.
pub(crate) async fn heaviest(State(house): State<House>, request: Request) -> Response {
    match asked(request.uri()) {
        Ok(_) => {
            // It is never closed, so that there is always a turn.
            let _turn = Arc::clone(&house.one_admin).acquire_owned().await;
            pages::page(State(house), request).await
        }
        Err(problem) => pages::problem(&house, request, problem).await,
    }
}
