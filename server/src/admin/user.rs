//! Admin actions on a user.

use super::{limit, read};
use crate::auth::SignedIn;
use crate::error::{Id, internal};
use crate::{AppState, pages};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use domain::{PlanId, Problem, UserId};
use serde::Deserialize;
use store::account_rule::{Act, Acted};
use time::OffsetDateTime;

/// What an admin may set on a user.
#[derive(Deserialize)]
pub(crate) struct SetPlan {
    plan: PlanId,
    /// May be missing: scripts had none.
    #[serde(default)]
    why: String,
}

/// `POST /admin/users/{user_id}/plan`; the router lets only admins come here.
pub(crate) async fn set_plan(
    State(app): State<AppState>,
    SignedIn(admin): SignedIn,
    Id(user_id): Id<UserId>,
    request: Request,
) -> Response {
    let (form, request) = match read::<SetPlan>(&app, request).await {
        Ok(read) => read,
        Err(page) => return page,
    };
    let set = async {
        let why = reason(&form.why)?;
        let set =
            store::account::set_plan(&app.db, admin.user_id, user_id, &form.plan, why.as_deref(), AppState::now());
        match set.await.map_err(|error| internal(&error))? {
            true => Ok(()),
            false => Err(Problem::invalid("plan", "This user or plan doesn't exist. No changes were saved.")),
        }
    };
    match set.await {
        Ok(()) => Redirect::to(&format!("/admin/users/{user_id}")).into_response(),
        Err(problem) => pages::problem(&app, request, problem).await,
    }
}

fn no_reason() -> Problem {
    Problem::invalid("why", "Enter a reason of up to 500 characters for the audit log. No changes were saved.")
}

/// Why something was done, as it was typed; none where nothing was.
fn reason(typed: &str) -> Result<Option<String>, Problem> {
    let why: String = typed.trim().chars().filter(|c| !c.is_control()).collect();
    if why.chars().count() > 500 {
        return Err(no_reason());
    }
    Ok(Some(why).filter(|why| !why.is_empty()))
}

/// What an admin does to a user, and why.
#[derive(Deserialize)]
struct DoTo {
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

/// What can be done to a user.
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
    /// Their meters are built anew from the ledger: holds that nothing runs for are gone.
    Rebuild,
}

impl DoTo {
    /// The act, with its numbers read; none for one that isn't a row's.
    fn act(&self, now: OffsetDateTime) -> Result<Option<Act>, Problem> {
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
                Act::Limit { requests, tokens, until }
            }
            AdminAction::Unlimit => Act::Unlimit,
            AdminAction::Pause => Act::Pause,
            AdminAction::Resume => Act::Resume,
            AdminAction::SignOut => Act::SignOut,
            AdminAction::MakeAdmin => Act::MakeAdmin,
            AdminAction::UnmakeAdmin => Act::UnmakeAdmin,
            AdminAction::Rebuild => return Ok(None),
        }))
    }
}

/// `POST /admin/users/{user_id}/act`: each act says why, and is written down with its effect.
pub(crate) async fn act(
    State(app): State<AppState>,
    SignedIn(admin): SignedIn,
    Id(user_id): Id<UserId>,
    request: Request,
) -> Response {
    let (form, request) = match read::<DoTo>(&app, request).await {
        Ok(read) => read,
        Err(page) => return page,
    };
    let now = AppState::now();
    let done = async {
        let why = reason(&form.why)?.ok_or_else(no_reason)?;
        let Some(act) = form.act(now)? else {
            return rebuild(&app, admin.user_id, user_id, &why).await;
        };
        let acted = store::account_rule::act(&app.db, admin.user_id, user_id, act, Some(&why), now).await;
        match acted.map_err(|error| internal(&error))? {
            Acted::Yes => Ok(()),
            Acted::NoUser => Err(Problem::not_found("account")),
            Acted::LastAdmin => Err(Problem::invalid(
                "act",
                "This is the only admin. Make another user an admin first. No changes were saved.",
            )),
        }
    };
    match done.await {
        Ok(()) => Redirect::to(&format!("/admin/users/{user_id}")).into_response(),
        Err(problem) => pages::problem(&app, request, problem).await,
    }
}

/// Builds a user's meters anew from the ledger, with the next touch.
async fn rebuild(app: &AppState, admin: UserId, user_id: UserId, why: &str) -> Result<(), Problem> {
    let found = store::account::viewer(&app.db, user_id).await.map_err(|error| internal(&error))?;
    let user = found.ok_or_else(|| Problem::not_found("account"))?;
    let users = &app.meters.users;
    let before = users.peek(&user.subject).await.map_err(|error| internal(&error))?;
    users.forget(&user.subject).await.map_err(|error| internal(&error))?;
    let after = users.peek(&user.subject).await.map_err(|error| internal(&error))?;
    let said = |snapshot: &limits::Snapshot| {
        let tokens = snapshot.window(1);
        format!("{} used, {} held for {}", tokens.used, tokens.reserved, snapshot.in_flight)
    };
    let (before, after) = (said(&before), said(&after));
    let entry = store::audit::Entry {
        actor: Some(admin),
        subject: Some(user_id),
        action: "rebuild_meters",
        before: Some(&before),
        after: Some(&after),
        why: Some(why),
    };
    store::audit::write(&app.db, &entry, AppState::now()).await.map_err(|error| internal(&error))
}
