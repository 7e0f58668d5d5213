//! Admin actions on a user.

use crate::AppState;
use crate::failure::Failure;
use crate::http::admin_form::{AdminForm, limit};
use crate::http::extract::Id;
use crate::http::pages;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use domain::{PlanId, Problem, Quota, UserId};
use serde::Deserialize;
use store::account_rule::{AccountChange, ChangeOutcome};
use time::OffsetDateTime;

/// The form that grants a plan.
#[derive(Deserialize)]
pub(crate) struct SetPlan {
    plan: PlanId,
    /// Optional, because scripts don't send a reason.
    #[serde(default)]
    why: String,
}

/// `POST /admin/users/{user_id}/plan`: grants a plan. The router admits only admins.
pub(crate) async fn set_plan(
    State(app): State<AppState>,
    Id(user_id): Id<UserId>,
    AdminForm { admin, form, request }: AdminForm<SetPlan>,
) -> Response {
    let set: Result<(), Failure> = async {
        let why = reason(&form.why)?;
        let set =
            store::account::set_plan(&app.db, admin.user_id, user_id, &form.plan, why.as_deref(), AppState::now());
        match set.await? {
            true => Ok(()),
            false => Err(Problem::invalid("plan", "This user or plan doesn't exist. No changes were saved.").into()),
        }
    }
    .await;
    match set {
        Ok(()) => Redirect::to(&format!("/admin/users/{user_id}")).into_response(),
        Err(Failure(problem)) => pages::problem(&app, request, problem).await,
    }
}

fn no_reason() -> Problem {
    Problem::invalid("why", "Enter a reason of up to 500 characters for the audit log. No changes were saved.")
}

/// Returns the reason as entered; `None` if it is empty.
fn reason(typed: &str) -> Result<Option<String>, Problem> {
    let why: String = typed.trim().chars().filter(|c| !c.is_control()).collect();
    if why.chars().count() > 500 {
        return Err(no_reason());
    }
    Ok(Some(why).filter(|why| !why.is_empty()))
}

/// The form of an admin action on a user, with its reason.
#[derive(Deserialize)]
pub(crate) struct ActionForm {
    act: AdminAction,
    #[serde(default)]
    why: String,
    #[serde(default)]
    requests: String,
    #[serde(default)]
    tokens: String,
    #[serde(default)]
    until: String,
}

/// The actions that an admin can take on a user.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum AdminAction {
    Limit,
    Unlimit,
    Pause,
    Resume,
    SignOut,
    MakeAdmin,
    UnmakeAdmin,
    /// Rebuilds the user's meters from the ledger, which drops holds of turns that no longer run.
    Rebuild,
}

impl ActionForm {
    /// Parses the action and its numbers. Returns `None` for an action that isn't a database change.
    fn change(&self, now: OffsetDateTime) -> Result<Option<AccountChange>, Problem> {
        Ok(Some(match self.act {
            AdminAction::Limit => {
                let number = |field: &str, text: &str| match text.trim() {
                    "" => Ok(None),
                    text => limit(field, text).map(Some),
                };
                let (requests, tokens) = (number("requests", &self.requests)?, number("tokens", &self.tokens)?);
                if requests.is_none() && tokens.is_none() {
                    let message = "Enter at least one limit. No changes were saved.";
                    return Err(Problem::invalid("tokens", message));
                }
                let format = time::macros::format_description!("[year]-[month]-[day]");
                let until = time::Date::parse(&self.until, format).ok().map(|day| day.midnight().assume_utc());
                let until = until.filter(|until| *until > now && until.year() < 9000).ok_or_else(|| {
                    Problem::invalid("until", "The override must end on a future day (UTC). No changes were saved.")
                })?;
                AccountChange::Limit { requests, tokens, until }
            }
            AdminAction::Unlimit => AccountChange::Unlimit,
            AdminAction::Pause => AccountChange::Pause,
            AdminAction::Resume => AccountChange::Resume,
            AdminAction::SignOut => AccountChange::SignOut,
            AdminAction::MakeAdmin => AccountChange::MakeAdmin,
            AdminAction::UnmakeAdmin => AccountChange::UnmakeAdmin,
            AdminAction::Rebuild => return Ok(None),
        }))
    }
}

/// `POST /admin/users/{user_id}/act`: performs an action. A reason is required and recorded in the audit log with the effect.
pub(crate) async fn act(
    State(app): State<AppState>,
    Id(user_id): Id<UserId>,
    AdminForm { admin, form, request }: AdminForm<ActionForm>,
) -> Response {
    let now = AppState::now();
    let done: Result<(), Failure> = async {
        let why = reason(&form.why)?.ok_or_else(no_reason)?;
        let Some(change) = form.change(now)? else {
            return rebuild(&app, admin.user_id, user_id, &why).await;
        };
        let outcome = store::account_rule::apply(&app.db, admin.user_id, user_id, change, Some(&why), now).await;
        match outcome? {
            ChangeOutcome::Yes => Ok(()),
            ChangeOutcome::NoUser => Err(Problem::not_found("account").into()),
            ChangeOutcome::LastAdmin => Err(Problem::invalid(
                "act",
                "This is the only admin. Make another user an admin first. No changes were saved.",
            )
            .into()),
        }
    }
    .await;
    match done {
        Ok(()) => Redirect::to(&format!("/admin/users/{user_id}")).into_response(),
        Err(Failure(problem)) => pages::problem(&app, request, problem).await,
    }
}

/// Discards a user's meters, which are then rebuilt from the ledger on next use, and writes the audit row.
async fn rebuild(app: &AppState, admin: UserId, user_id: UserId, why: &str) -> Result<(), Failure> {
    let found = store::account::viewer(&app.db, user_id).await?;
    let user = found.ok_or_else(|| Problem::not_found("account"))?;
    let before = app.quotas.quota(&user).await?;
    app.quotas.discard(&user.subject).await?;
    let after = app.quotas.quota(&user).await?;
    let describe = |quota: &Quota| {
        format!("{} used, {} held for {}", quota.tokens.used, quota.tokens.reserved, quota.in_flight.now)
    };
    let (before, after) = (describe(&before), describe(&after));
    let entry = store::audit::Entry {
        actor: Some(admin),
        target: Some(user_id),
        action: "rebuild_meters",
        before: Some(&before),
        after: Some(&after),
        why: Some(why),
    };
    Ok(store::audit::write(&app.db, &entry, AppState::now()).await?)
}
