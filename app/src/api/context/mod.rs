//! What the server hands to the pages it draws: the databases and the meters, and who is looking. Exists on the server only.

mod owner;
mod usage;

pub(crate) use owner::{audit, health, models, plans, top_users, user, users};
pub(crate) use usage::usage_of;

use super::Refusal;
use crate::page_context::PageContext;
use domain::{Model, Plan, Problem, ProblemKind, Quota, Viewer, quota};
use leptos::prelude::*;
use std::{any::Any, fmt::Display, sync::Arc};
use time::OffsetDateTime;

/// An error of any crate: its text is for the log, its type decides whether trying again may help.
pub trait Failure: Display + Any {}
impl<T: Display + Any> Failure for T {}

/// Logs a failure once and returns the problem that a user is shown.
pub type Report = dyn Fn(&dyn Failure) -> Problem + Send + Sync;

/// Where pages read from; filled by `server::build`.
#[derive(Clone)]
pub struct Sources {
    /// Postgres.
    pub db: store::Db,
    /// A few connections of their own for the owner's tables, whose queries are cut short: they never wait before a turn's.
    pub admin_db: store::Db,
    /// Of the owner's large view one is made at a time.
    pub one_admin: Arc<tokio::sync::Semaphore>,
    /// The meters.
    pub limits: limits::Limits,
    /// Whether a model can be asked: its provider has a key, or it is the demo model and nobody has.
    pub offers: Arc<dyn Fn(&Model) -> bool + Send + Sync>,
    /// Every provider that is asked, and for how many milliseconds its circuit is open, if it is.
    pub providers: Arc<dyn Fn() -> Vec<(String, Option<u64>)> + Send + Sync>,
    /// What the environment lets the deployment spend in a day.
    pub daily_spend: Option<domain::Picos>,
    /// What can be bought, and from whom.
    pub payments: super::billing::Payments,
    /// Where the pages of whoever takes payments are.
    pub payment_pages: Arc<[String]>,
    /// Logs a failure once and returns the problem to show.
    pub report: Arc<Report>,
    /// The server's clock.
    pub now: fn() -> OffsetDateTime,
}

/// The sources of this request.
pub(crate) fn sources() -> Sources {
    expect_context()
}

/// Who is looking, or a refusal.
pub(crate) fn viewer() -> Result<Viewer, Refusal> {
    let context = use_context::<PageContext>();
    context.and_then(|context| context.viewer).ok_or_else(|| refuse(Problem::sign_in_required()))
}

/// An admin who is looking; anybody else learns that there is nothing here.
pub(crate) fn admin() -> Result<Viewer, Refusal> {
    let context = use_context::<PageContext>();
    context
        .and_then(|context| context.viewer)
        .filter(|viewer| viewer.is_admin)
        .ok_or_else(|| refuse(Problem::not_found("page")))
}

/// A refusal, and its status on the response.
pub(crate) fn refuse(problem: Problem) -> Refusal {
    if let (Some(response), Ok(status)) =
        (use_context::<leptos_axum::ResponseOptions>(), http::StatusCode::from_u16(problem.status()))
    {
        response.set_status(status);
    }
    Refusal(problem)
}

/// A failure of ours: logged once, told with its number.
pub(crate) fn fail(error: impl Failure) -> Refusal {
    refuse((sources().report)(&error))
}

/// A panic of ours: logged once, told with its number.
#[must_use]
pub fn panicked(panic: &(dyn Any + Send)) -> Refusal {
    fail(format!("panic: {}", said(panic)))
}

/// What a panic says.
#[must_use]
pub fn said(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or_default()
}

/// A user's windows, requests and tokens; what follows reads a snapshot by these places.
pub const USER: [limits::Window; 2] =
    [limits::Window::calls("requests", 60_000, 60), limits::Window::amount("tokens", 86_400_000, 48)];

/// The plan and the meters as one answer.
#[must_use]
pub fn quota_of(plan: &Plan, snapshot: &limits::Snapshot) -> Quota {
    let (requests, tokens) = (snapshot.window(0), snapshot.window(1));
    let held = tokens.used.saturating_add(tokens.reserved);
    Quota {
        plan: plan.id.0.clone(),
        requests: quota::Requests {
            limit: plan.requests_per_minute,
            remaining: plan.requests_per_minute.saturating_sub(requests.used),
            reset_ms: requests.reset_ms,
        },
        tokens: quota::TokensLeft {
            limit: plan.tokens_per_day.0,
            used: tokens.used,
            reserved: tokens.reserved,
            remaining: plan.tokens_per_day.0.saturating_sub(held),
            next_free_ms: tokens.next_free_ms,
        },
        in_flight: quota::InFlight { limit: plan.in_flight, now: snapshot.in_flight },
    }
}

/// What is left for somebody; the meters being away is a problem of its own.
pub(crate) async fn quota(viewer: &Viewer) -> Result<Quota, Refusal> {
    match sources().limits.peek(&viewer.subject).await {
        Ok(snapshot) => Ok(quota_of(&viewer.plan, &snapshot)),
        Err(error) => {
            let logged = (sources().report)(&error);
            Err(Refusal(Problem {
                incident: logged.incident,
                ..Problem::new(ProblemKind::LimitsUnavailable, "Your limits can't be loaded right now.")
            }))
        }
    }
}

/// Gathers the chat page; the conversation must be the viewer's.
pub(crate) async fn chat_view(id: Option<domain::ConversationId>) -> Result<super::conversation::ChatView, Refusal> {
    use super::conversation::{ChatView, Choice, Listed};
    let (sources, viewer) = (sources(), viewer()?);
    let listed = store::conversation::list(&sources.db, viewer.user_id, 200).await.map_err(fail)?;
    let (mut open, mut messages, mut running) = (None, Vec::new(), None);
    if let Some(id) = id {
        let found = store::conversation::open(&sources.db, viewer.user_id, id).await.map_err(fail)?;
        let found = found.ok_or_else(|| refuse(Problem::not_found("conversation")))?;
        messages = store::message::list(&sources.db, viewer.user_id, id).await.map_err(fail)?;
        if !viewer.plan.shows_cost {
            messages.iter_mut().for_each(|message| message.cost = None);
        }
        running = store::turn::running(&sources.db, viewer.user_id, id).await.map_err(fail)?;
        open = Some(Listed { id, title: found.title });
    }
    let models = store::model::list(&sources.db).await.map_err(fail)?;
    let mut models: Vec<Choice> = models
        .into_iter()
        .filter(|model| (sources.offers)(model))
        .map(|model| Choice {
            allowed: viewer.plan.allows(&model.name),
            is_demo: model.provider == domain::Provider::Demo,
            name: model.name,
            label: model.label,
        })
        .collect();
    // The plan's own order, what it doesn't allow last.
    models.sort_by_key(|choice| viewer.plan.models.iter().position(|name| *name == choice.name).unwrap_or(usize::MAX));
    Ok(ChatView {
        listed: listed.into_iter().map(|c| Listed { id: c.id, title: c.title }).collect(),
        open,
        messages,
        running,
        models,
        quota: quota(&viewer).await.ok(),
    })
}

/// All plans, and what they are to whoever is looking.
pub(crate) async fn shop() -> Result<super::plan::Shop, Refusal> {
    use super::plan::{PlanOffer, Shop};
    let sources = sources();
    let plans = store::plan::list(&sources.db).await.map_err(fail)?;
    let models = store::model::list(&sources.db).await.map_err(fail)?;
    let label = |name: &domain::ModelName| {
        let found = models.iter().find(|model| model.name == *name && model.provider != domain::Provider::Demo);
        found.map(|model| model.label.clone())
    };
    let offers = plans
        .into_iter()
        .map(|plan| PlanOffer { models: plan.models.iter().filter_map(label).collect(), plan })
        .collect();
    let (mut may_try, mut pays) = (true, None);
    if let Some(viewer) = use_context::<PageContext>().and_then(|context| context.viewer) {
        let payer = store::account::payer(&sources.db, viewer.user_id).await.map_err(fail)?;
        may_try = payer.is_some_and(|payer| !payer.tried);
        let theirs = store::subscription::of_user(&sources.db, viewer.user_id).await.map_err(fail)?;
        let live = theirs.into_iter().find(|subscription| subscription.status.is_live());
        pays = live.and_then(|live| Some((live.plan?, live.period)));
    }
    Ok(Shop { offers, payments: sources.payments, may_try, pays })
}

/// A user's billing.
pub(crate) async fn billing_of(user: &Viewer) -> Result<super::billing::BillingView, Refusal> {
    let sources = sources();
    let now = (sources.now)();
    let theirs = store::subscription::of_user(&sources.db, user.user_id).await.map_err(fail)?;
    let plans = store::plan::list(&sources.db).await.map_err(fail)?;
    let named = |id: &domain::PlanId| plans.iter().find(|plan| plan.id == *id).map(|plan| plan.name.clone());
    let counts = theirs.iter().find(|subscription| subscription.status.is_live()).or(theirs.first()).cloned();
    let held = theirs.iter().any(|found| found.holds(now) && found.plan.as_ref() == Some(&user.plan.id));
    Ok(super::billing::BillingView {
        payments: sources.payments,
        paid_plan: counts.as_ref().and_then(|counts| named(counts.plan.as_ref()?)),
        subscription: counts,
        granted: !user.plan.is_free() && !held,
        fallback: plans.first().map(|plan| plan.name.clone()).unwrap_or_default(),
        invoices: store::invoice::list(&sources.db, user.user_id, 24).await.map_err(fail)?,
        quota: quota(user).await.ok(),
    })
}
