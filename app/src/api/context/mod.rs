//! Server-side context of pages and server functions: databases, meters and the viewer. Compiled for the server only.

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

/// An error of any crate. Its text is logged, and its type determines whether a retry may help.
pub trait Failure: Display + Any {}
impl<T: Display + Any> Failure for T {}

/// Logs a failure once and returns the problem to show to the user.
pub type Report = dyn Fn(&dyn Failure) -> Problem + Send + Sync;

/// The databases, meters and settings that pages read from. Built by the server's `AppState`.
#[derive(Clone)]
pub struct Sources {
    /// Postgres, for users' requests.
    pub db: store::Db,
    /// A small pool for the owner's pages, with a limit on query time, so that their queries never delay a turn.
    pub admin_db: store::Db,
    /// Limits the top users page to one query at a time.
    pub one_admin: Arc<tokio::sync::Semaphore>,
    /// Users' meters.
    pub limits: limits::Limits,
    /// Returns whether a model is available: its provider has an API key, or it is the demo model and no provider has one.
    pub offers: Arc<dyn Fn(&Model) -> bool + Send + Sync>,
    /// Returns the configured providers, each with the milliseconds until its open circuit allows a retry, or `None` if it is closed.
    pub providers: Arc<dyn Fn() -> Vec<(String, Option<u64>)> + Send + Sync>,
    /// Daily spend cap set in the environment, if any.
    pub daily_spend: Option<domain::Picos>,
    /// The configured payment provider.
    pub payments: super::billing::Payments,
    /// Origins of the payment provider's pages, which the Content-Security-Policy allows as form targets.
    pub payment_pages: Arc<[String]>,
    /// Logs a failure once and returns the problem to show to the user.
    pub report: Arc<Report>,
    /// The server's clock.
    pub now: fn() -> OffsetDateTime,
}

/// Returns the sources of the current request. Panics outside of one.
pub(crate) fn sources() -> Sources {
    expect_context()
}

/// Returns the viewer, or a refusal if nobody is signed in.
pub(crate) fn viewer() -> Result<Viewer, Refusal> {
    let context = use_context::<PageContext>();
    context.and_then(|context| context.viewer).ok_or_else(|| refuse(Problem::sign_in_required()))
}

/// Returns the viewer if they are an admin. Other users get a 404, which doesn't reveal that the page exists.
pub(crate) fn admin() -> Result<Viewer, Refusal> {
    let context = use_context::<PageContext>();
    context
        .and_then(|context| context.viewer)
        .filter(|viewer| viewer.is_admin)
        .ok_or_else(|| refuse(Problem::not_found("page")))
}

/// Creates a refusal and sets the response's status code accordingly.
pub(crate) fn refuse(problem: Problem) -> Refusal {
    if let (Some(response), Ok(status)) =
        (use_context::<leptos_axum::ResponseOptions>(), http::StatusCode::from_u16(problem.status()))
    {
        response.set_status(status);
    }
    Refusal(problem)
}

/// Logs an internal failure once and returns a refusal with its incident id.
pub(crate) fn fail(error: impl Failure) -> Refusal {
    refuse((sources().report)(&error))
}

/// Logs a panic once and returns a refusal with its incident id.
#[must_use]
pub fn panicked(panic: &(dyn Any + Send)) -> Refusal {
    fail(format!("panic: {}", said(panic)))
}

/// Returns the message of a panic payload, or an empty string if it isn't text.
#[must_use]
pub fn said(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or_default()
}

/// A user's windows: requests in 60 seconds and tokens in 24 hours. [`quota_of`] reads a snapshot by these indexes.
pub const USER: [limits::Window; 2] =
    [limits::Window::calls("requests", 60_000, 60), limits::Window::amount("tokens", 86_400_000, 48)];

/// Combines a plan's limits with a meter snapshot into the remaining quota.
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

/// Loads a user's remaining quota. Returns a `LimitsUnavailable` problem if the meters can't be read.
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

/// Loads the data of the chat page. Returns a 404 if the conversation isn't the viewer's.
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
    // Models in the plan's order, followed by those it doesn't allow.
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

/// Loads all plans with the viewer's subscription and trial eligibility.
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
        let subscriptions = store::subscription::of_user(&sources.db, viewer.user_id).await.map_err(fail)?;
        let live = subscriptions.into_iter().find(|subscription| subscription.status.is_live());
        pays = live.and_then(|live| Some((live.plan?, live.period)));
    }
    Ok(Shop { offers, payments: sources.payments, may_try, pays })
}

/// Loads a user's billing data.
pub(crate) async fn billing_of(user: &Viewer) -> Result<super::billing::BillingView, Refusal> {
    let sources = sources();
    let now = (sources.now)();
    let subscriptions = store::subscription::of_user(&sources.db, user.user_id).await.map_err(fail)?;
    let plans = store::plan::list(&sources.db).await.map_err(fail)?;
    let named = |id: &domain::PlanId| plans.iter().find(|plan| plan.id == *id).map(|plan| plan.name.clone());
    let current =
        subscriptions.iter().find(|subscription| subscription.status.is_live()).or(subscriptions.first()).cloned();
    let held = subscriptions.iter().any(|found| found.holds(now) && found.plan.as_ref() == Some(&user.plan.id));
    Ok(super::billing::BillingView {
        payments: sources.payments,
        paid_plan: current.as_ref().and_then(|current| named(current.plan.as_ref()?)),
        subscription: current,
        granted: !user.plan.is_free() && !held,
        fallback: plans.first().map(|plan| plan.name.clone()).unwrap_or_default(),
        invoices: store::invoice::list(&sources.db, user.user_id, 24).await.map_err(fail)?,
        quota: quota(user).await.ok(),
    })
}
