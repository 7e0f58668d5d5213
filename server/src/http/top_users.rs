//! The top users page and its refresh.

use crate::AppState;
use crate::failure::Failure;
use crate::http::pages;
use app::view::usage_filter::of_query;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Redirect, Response};

/// `GET /admin`: renders the page, or a 422 problem if the query is invalid.
pub(crate) async fn top_users(State(app): State<AppState>, request: Request) -> Response {
    match of_query(request.uri().query().unwrap_or_default()) {
        Ok(_) => pages::page(State(app), request).await,
        Err(problem) => pages::problem(&app, request, problem).await,
    }
}

/// `POST /admin/refresh`: recomputes the report of the standard periods and returns to the page with the same query.
pub(crate) async fn refresh_report(State(app): State<AppState>, request: Request) -> Result<Response, Failure> {
    // One at a time, like the page itself. The semaphore is never closed.
    let _permit = app.report_permits.acquire().await;
    store::rollup::refresh(&app.jobs_db, time::Duration::ZERO).await?;
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    Ok(Redirect::to(&format!("/admin{query}")).into_response())
}
