//! What an admin does. Each act is an audit row, written with its effect.

use crate::auth::SignedIn;
use crate::error::{Id, Refused};
use crate::{House, pages, tasks};
use axum::Form;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use domain::{PlanId, Problem, UserId, Viewer};
use serde::Deserialize;

/// What an admin may set on a person.
#[derive(Deserialize)]
pub(crate) struct SetPlan {
    plan: PlanId,
}

/// `POST /admin/users/{user_id}/plan`; the router lets only admins come here.
pub(crate) async fn set_plan(
    State(house): State<House>,
    SignedIn(admin): SignedIn,
    Id(user_id): Id<UserId>,
    Form(form): Form<SetPlan>,
) -> Result<Response, Refused> {
    if !store::account::set_plan(&house.db, admin.user_id, user_id, &form.plan, House::now()).await? {
        return Err(Problem::invalid("plan", "There is no such person or plan.").into());
    }
    Ok(Redirect::to(&format!("/admin/users/{user_id}")).into_response())
}

/// `POST /admin/health/reconcile`: compares with Stripe now.
pub(crate) async fn reconcile(State(house): State<House>, request: Request) -> Result<Response, Refused> {
    house.billing()?;
    Ok(match tasks::reconcile_now(&house).await {
        Ok(()) => Redirect::to("/admin/health").into_response(),
        Err(problem) => pages::problem(&house, request, problem).await,
    })
}

/// Which dead letter; none means all jobs that were given up.
#[derive(Deserialize)]
pub(crate) struct Replay {
    #[serde(default)]
    event: String,
}

/// `POST /admin/health/replay`: makes a dead letter, or all given-up jobs, due again.
pub(crate) async fn replay(
    State(house): State<House>,
    SignedIn(admin): SignedIn,
    Form(form): Form<Replay>,
) -> Result<Response, Refused> {
    let now = House::now();
    let what = if form.event.is_empty() { "jobs" } else { form.event.as_str() };
    if form.event.is_empty() {
        store::job::replay(&house.db, now).await?;
    } else if !store::stripe_event::replay(&house.db, &form.event, now).await? {
        return Err(Problem::not_found("dead letter").into());
    } else if let Ok(billing) = house.billing() {
        billing.bell.notify_one();
    }
    note(&house, &admin, "replay", what).await?;
    Ok(Redirect::to("/admin/health").into_response())
}

/// Which flag.
#[derive(Deserialize)]
pub(crate) struct ClearFlag {
    kind: String,
    object: String,
}

/// `POST /admin/health/clear`: somebody has looked.
pub(crate) async fn clear_flag(
    State(house): State<House>,
    SignedIn(admin): SignedIn,
    Form(form): Form<ClearFlag>,
) -> Result<Response, Refused> {
    if !store::billing_flag::clear(&house.db, &form.kind, &form.object, House::now()).await? {
        return Err(Problem::not_found("flag").into());
    }
    note(&house, &admin, "clear_flag", &format!("{} {}", form.kind, form.object)).await?;
    Ok(Redirect::to("/admin/health").into_response())
}

/// An act that was done to nobody, for the audit.
async fn note(house: &House, admin: &Viewer, action: &str, what: &str) -> Result<(), Refused> {
    let entry =
        store::audit::Entry { actor: Some(admin.user_id), subject: None, action, before: None, after: Some(what) };
    Ok(store::audit::write(&house.db, &entry, House::now()).await?)
}
