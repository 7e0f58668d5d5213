//! What an admin does. Each act is an audit row, written with its effect.

use crate::House;
use crate::auth::SignedIn;
use crate::error::{Id, Refused};
use axum::Form;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use domain::{PlanId, Problem, UserId};
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
