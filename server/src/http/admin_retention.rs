//! The form on `/admin/plans` that sets how long conversations are kept.

use crate::AppState;
use crate::admin::actions;
use crate::failure::Failure;
use crate::http::admin_form::{AdminForm, answer_keeping, optional};
use axum::extract::State;
use axum::response::Response;
use domain::PlanId;
use serde::Deserialize;
use store::retention::MAX_DAYS;

/// The form of a plan, or of all plans if the plan is empty.
#[derive(Deserialize)]
pub(crate) struct Retention {
    #[serde(default)]
    plan: String,
    /// Empty keeps conversations.
    #[serde(default)]
    days: String,
}

/// `POST /admin/retention`: sets after how many days without a message conversations are erased, for a plan or for all.
pub(crate) async fn set_retention(
    State(app): State<AppState>,
    AdminForm { admin, form, request }: AdminForm<Retention>,
) -> Response {
    let values = vec![("retention", form.plan.clone()), ("days", form.days.clone())];
    let done: Result<(), Failure> = async {
        let message =
            format!("Enter 1 to {MAX_DAYS} days, or leave it empty to keep conversations. No changes were saved.");
        let in_range = |text: &str| text.parse::<u32>().ok().filter(|days| (1..=MAX_DAYS).contains(days));
        let days = optional("days", &form.days, &message, in_range)?;
        let plan = Some(form.plan).filter(|plan| !plan.is_empty()).map(PlanId);
        actions::set_retention(&app, admin.user_id, plan.as_ref(), days).await
    }
    .await;
    answer_keeping(&app, request, done, "/admin/plans?saved=yes", values).await
}
