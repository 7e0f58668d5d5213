//! Forms of a user's admin page: each is parsed here and carried out by `admin::actions`.

use crate::AppState;
use crate::admin::actions::{self, UserAction};
use crate::failure::Failure;
use crate::http::admin_form::{AdminForm, answer, answer_keeping, limit};
use crate::http::extract::Id;
use axum::extract::State;
use axum::response::Response;
use domain::{ApiKeyId, PlanId, Problem, UserId};
use serde::Deserialize;
use store::account_rule::AccountChange;
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
    let done: Result<(), Failure> = async {
        let why = reason(&form.why)?;
        actions::grant_plan(&app, admin.user_id, user_id, &form.plan, why.as_deref()).await
    }
    .await;
    answer(&app, request, done, &format!("/admin/users/{user_id}?saved=yes")).await
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

impl AdminAction {
    /// Returns its name in the form.
    fn as_str(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::Unlimit => "unlimit",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::SignOut => "sign_out",
            Self::MakeAdmin => "make_admin",
            Self::UnmakeAdmin => "unmake_admin",
            Self::Rebuild => "rebuild",
        }
    }
}

impl ActionForm {
    /// Returns what was typed, with the action in whose form it is shown again.
    fn values(self) -> Vec<(&'static str, String)> {
        vec![
            ("act", self.act.as_str().to_owned()),
            ("why", self.why),
            ("requests", self.requests),
            ("tokens", self.tokens),
            ("until", self.until),
        ]
    }

    /// Parses the action and its numbers.
    fn action(&self, now: OffsetDateTime) -> Result<UserAction, Problem> {
        Ok(UserAction::Change(match self.act {
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
            AdminAction::Rebuild => return Ok(UserAction::RebuildMeters),
        }))
    }
}

/// `POST /admin/users/{user_id}/act`: performs an action. A reason is required and recorded in the audit log with the effect.
pub(crate) async fn act(
    State(app): State<AppState>,
    Id(user_id): Id<UserId>,
    AdminForm { admin, form, request }: AdminForm<ActionForm>,
) -> Response {
    let done: Result<(), Failure> = async {
        let why = reason(&form.why)?.ok_or_else(no_reason)?;
        actions::act(&app, admin.user_id, user_id, form.action(AppState::now())?, &why).await
    }
    .await;
    answer_keeping(&app, request, done, &format!("/admin/users/{user_id}?saved=yes"), form.values()).await
}

/// The form that revokes an API key.
#[derive(Deserialize)]
pub(crate) struct RevokeKey {
    #[serde(default)]
    why: String,
}

/// `POST /admin/users/{user_id}/keys/{key_id}/revoke`: revokes one of a user's API keys. A reason is required.
pub(crate) async fn revoke_key(
    State(app): State<AppState>,
    Id((user_id, key_id)): Id<(UserId, ApiKeyId)>,
    AdminForm { admin, form, request }: AdminForm<RevokeKey>,
) -> Response {
    let done: Result<(), Failure> = async {
        let why = reason(&form.why)?.ok_or_else(no_reason)?;
        actions::revoke_api_key(&app, admin.user_id, user_id, key_id, &why).await
    }
    .await;
    answer(&app, request, done, &format!("/admin/users/{user_id}?saved=yes")).await
}
