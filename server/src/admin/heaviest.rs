//! The page of the heaviest users: what its address asks for.

use crate::{House, pages};
use app::api::admin::Asked;
use axum::extract::{Request, State};
use axum::response::Response;

/// `GET /admin`: the page, or 422 and why its period can't be one.
pub(crate) async fn heaviest(State(house): State<House>, request: Request) -> Response {
    match Asked::of_query(request.uri().query().unwrap_or_default()) {
        Ok(_) => pages::page(State(house), request).await,
        Err(problem) => pages::problem(&house, request, problem).await,
    }
}
