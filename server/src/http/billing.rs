//! Checkout and portal: redirects users to Stripe's pages and handles their return.

use crate::AppState;
use crate::accounts::attempts::{self, Attempt};
use crate::accounts::client::ClientInfo;
use crate::billing::{checkout, inbox};
use crate::failure::Failure;
use crate::http::browser::client_info;
use crate::http::extract::{SignedIn, read_form};
use crate::http::pages;
use app::page_context::plan_path;
use axum::body::Bytes;
use axum::extract::{Query, Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use domain::{Period, PlanId, Problem, ProblemKind, Viewer};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;

/// The checkout form. The price follows from the plan (field note 41).
#[derive(Deserialize)]
pub(crate) struct Choice {
    plan: PlanId,
    #[serde(default)]
    interval: Period,
}

/// The query of the return path.
#[derive(Deserialize)]
pub(crate) struct ReturnQuery {
    #[serde(default)]
    bought: String,
}

/// `POST /billing/checkout`: redirects to Stripe's checkout, or to its portal if the user has a subscription.
pub(crate) async fn checkout(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    request: Request,
) -> Result<Response, Failure> {
    let (again, choice) = match read_form::<Choice>(request).await {
        Ok((choice, again)) => (again, Ok(choice)),
        Err(again) => (again, Err(Problem::invalid("plan", "This plan doesn't exist."))),
    };
    let client = client_info(&app, &again)?;
    let url = match (check(&app, &viewer, &client).await, choice) {
        // After the confirmation, the same plan can be chosen.
        (Err(problem), Ok(choice)) if problem.kind == ProblemKind::VerifyEmail => {
            let next = plan_path(&choice.plan.0, choice.interval);
            return Ok(pages::problem_on_the_way(&app, again, problem, next).await);
        }
        (Err(problem), _) | (Ok(()), Err(problem)) => Err(problem),
        (Ok(()), Ok(choice)) => checkout::checkout_url(&app, viewer, &choice.plan, choice.interval).await,
    };
    Ok(redirect(&app, again, url).await)
}

/// Counts the attempt, and refuses users whose address isn't verified: a trial belongs to an address, and receipts go to it.
async fn check(app: &AppState, viewer: &Viewer, client: &ClientInfo) -> Result<(), Problem> {
    let attempt = Attempt::Checkout { user_id: viewer.user_id };
    attempts::count_attempt(app, &client.origin, attempt).await.map_err(|Failure(problem)| problem)?;
    if viewer.is_verified {
        return Ok(());
    }
    let message =
        format!("Confirm your email address before you choose a plan. We sent a link and a code to {}.", viewer.email);
    Err(Problem::new(ProblemKind::VerifyEmail, message))
}

/// `POST /billing/portal`: redirects to Stripe's portal.
pub(crate) async fn portal(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    request: Request,
) -> Result<Response, Failure> {
    let client = client_info(&app, &request)?;
    let attempt = Attempt::Checkout { user_id: viewer.user_id };
    let url = match attempts::count_attempt(&app, &client.origin, attempt).await {
        Ok(()) => checkout::portal_url(&app, &viewer).await,
        Err(Failure(problem)) => Err(problem),
    };
    Ok(redirect(&app, request, url).await)
}

/// `GET /billing/return`: syncs the user's customers, so that the next page shows the change. If Stripe is slow, its event syncs the
/// change later.
pub(crate) async fn handle_return(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    Query(how): Query<ReturnQuery>,
) -> Result<Response, Failure> {
    checkout::sync_viewer(&app, &viewer).await;
    let to = if how.bought.is_empty() { "/settings/billing" } else { "/settings/billing?from=checkout" };
    Ok(Redirect::to(to).into_response())
}

async fn redirect(app: &AppState, request: Request, url: Result<String, Problem>) -> Response {
    match url {
        Ok(url) => Redirect::to(&url).into_response(),
        Err(problem) => pages::problem(app, request, problem).await,
    }
}

/// `POST /stripe/webhook`: verifies and stores an event. Responds with 5xx if it can't be stored, so that Stripe sends it again.
pub(crate) async fn webhook(State(app): State<AppState>, headers: HeaderMap, body: Bytes) -> Result<Response, Failure> {
    let signature = headers.get("stripe-signature").and_then(|value| value.to_str().ok()).unwrap_or_default();
    Ok(match inbox::receive(&app, signature, &body).await? {
        Ok(()) => StatusCode::OK.into_response(),
        Err(reason) => (StatusCode::BAD_REQUEST, reason).into_response(),
    })
}
