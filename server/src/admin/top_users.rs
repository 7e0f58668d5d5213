//! Parses the query of the top users page.

use crate::{AppState, pages};
use app::api::admin::UsageFilter;
use axum::extract::{Request, State};
use axum::response::Response;

/// `GET /admin`: the page, or 422 and why its period can't be one.
pub(crate) async fn top_users(State(app): State<AppState>, request: Request) -> Response {
    match UsageFilter::of_query(request.uri().query().unwrap_or_default()) {
        Ok(_) => pages::page(State(app), request).await,
        Err(problem) => pages::problem(&app, request, problem).await,
    }
}
