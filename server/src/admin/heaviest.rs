//! The page of the heaviest users: what its address asks for.

use crate::{House, pages};
use app::api::admin::Asked;
use axum::extract::{Request, State};
use axum::response::Response;
use domain::Problem;
use http::Uri;

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

/// `GET /admin`: the page, or 422 and why its period can't be one.
pub(crate) async fn heaviest(State(house): State<House>, request: Request) -> Response {
    match asked(request.uri()) {
        Ok(_) => pages::page(State(house), request).await,
        Err(problem) => pages::problem(&house, request, problem).await,
    }
}
