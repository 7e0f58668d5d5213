//! Server-side context of pages and server functions: databases, meters and the viewer. Compiled for the server only.

mod api_key;
mod chat_settings;
mod conversation;
mod conversation_list;
mod identity;
mod model;
mod owner;
mod plan;
mod search;
mod security;
mod status;
mod storage;
mod transfer;
mod usage;

pub(crate) use api_key::{key_of, keys_of};
pub(crate) use chat_settings::{chat_settings, retention, retention_of};
pub(crate) use conversation::chat_view;
pub use conversation::messages;
pub use conversation_list::conversation_list;
pub(crate) use conversation_list::{archived_conversations, editable_conversation};
pub(crate) use identity::sign_in_options;
pub(crate) use model::providers;
pub(crate) use owner::{audit, health, models, plans, top_users, user, users};
pub use plan::OfferedCache;
pub(crate) use plan::{home, plan_catalog};
pub(crate) use search::PAGE_RESULTS;
pub use search::{PALETTE_RESULTS, Results, search};
pub(crate) use security::{factors_of, security_of};
pub use status::StatusCache;
pub(crate) use status::status_of;
pub(crate) use storage::storage_of;
pub(crate) use transfer::{imports_of, shares_of};
pub(crate) use usage::{Reader, usage_of};

use super::Refusal;
use crate::page_context::{PageContext, PanicHandler};
use domain::{Model, Problem, ProblemKind, ProviderName, Quota, Subscription, Viewer};
use leptos::prelude::*;
use std::{any::Any, fmt::Display, sync::Arc};
use time::OffsetDateTime;

/// An error of any crate. Its text is logged, and its type determines whether a retry may help.
pub trait Failure: Display + Any {}
impl<T: Display + Any> Failure for T {}

/// Logs a failure once and returns the problem to show to the user.
pub type Report = dyn Fn(&dyn Failure) -> Problem + Send + Sync;

/// Returns the base URL that the environment sets for a provider, with the name of its variable.
pub type EnvBaseUrl = dyn Fn(&ProviderName) -> Option<(&'static str, String)> + Send + Sync;

/// The databases, meters and settings that pages read from. Built by the server's `AppState`.
#[derive(Clone)]
pub struct PageState {
    /// Postgres, for users' requests.
    pub db: store::Db,
    /// A small pool for the owner's pages, with a limit on query time, so that their queries never delay a turn.
    pub admin_db: store::Db,
    /// Limits the top users page to one query at a time.
    pub report_permits: Arc<tokio::sync::Semaphore>,
    /// Users' meters.
    pub quotas: quota::Quotas,
    /// Returns whether a model is available: its provider has an API key, or it is the demo model and no provider has one.
    pub offers: Arc<dyn Fn(&Model) -> bool + Send + Sync>,
    /// Returns the configured providers, each with the milliseconds until its open circuit allows a retry, or `None` if it is closed.
    pub providers: Arc<dyn Fn() -> Vec<(String, Option<u64>)> + Send + Sync>,
    /// Returns whether the environment has the API key of this variable.
    pub has_key: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    /// Returns the base URL that the environment sets for a provider, with the name of its variable, if it does.
    pub env_base_url: Arc<EnvBaseUrl>,
    /// Returns the latest request whose forwarded address this server ignored, if any.
    pub ignored_forward: Arc<dyn Fn() -> Option<crate::view::admin::IgnoredForward> + Send + Sync>,
    /// Daily spend cap set in the environment, if any.
    pub daily_spend: Option<domain::Picos>,
    /// Services with which users can sign in.
    pub identity_providers: Arc<[crate::view::identity::IdentityProvider]>,
    /// Returns the origins of these services' pages, which the Content-Security-Policy allows as form targets.
    pub identity_pages: Arc<dyn Fn() -> Vec<String> + Send + Sync>,
    /// The configured payment provider.
    pub payments: crate::view::billing::Payments,
    /// The plans and models on the landing page, for a second.
    pub offered: Arc<OfferedCache>,
    /// What the status page shows, for half a minute.
    pub status: Arc<StatusCache>,
    /// Origins of the payment provider's pages, which the Content-Security-Policy allows as form targets.
    pub payment_pages: Arc<[String]>,
    /// Whether a model writes the titles of new conversations.
    pub writes_titles: bool,
    /// Logs a failure once and returns the problem to show to the user.
    pub report: Arc<Report>,
    /// The server's clock.
    pub now: fn() -> OffsetDateTime,
}

impl PageState {
    /// Logs a failed query once and returns a refusal with its incident id.
    fn fail(&self, error: store::StoreError) -> Refusal {
        refuse((self.report)(&error))
    }

    /// Returns a handler that logs a panic once and returns a refusal with its incident id.
    #[must_use]
    pub fn panic_handler(&self) -> PanicHandler {
        let report = Arc::clone(&self.report);
        PanicHandler(Arc::new(move |panic: &(dyn Any + Send)| {
            refuse(report(&format!("panic: {}", panic_message(panic))))
        }))
    }
}

/// Returns the state of the current request. Leptos disposes of the request's context as soon as its client disconnects, so a server
/// function reads it once, at its start, and passes it on.
pub(crate) fn page_state() -> Result<PageState, Refusal> {
    use_context().ok_or_else(|| Refusal(Problem::new(ProblemKind::Internal, "The connection was lost. Try again.")))
}

/// Returns the viewer; `None` if the visitor is signed out.
pub(crate) fn visitor() -> Option<Viewer> {
    use_context::<PageContext>().and_then(|context| context.viewer)
}

/// Returns the viewer, or a refusal if the visitor is signed out.
pub(crate) fn viewer() -> Result<Viewer, Refusal> {
    visitor().ok_or_else(|| refuse(Problem::sign_in_required()))
}

/// Returns the hash of the request's session token; empty without a session.
pub(crate) fn session_hash() -> Vec<u8> {
    use_context::<PageContext>().map(|context| context.session_hash).unwrap_or_default()
}

/// Returns the state if the viewer is an admin. Other users get a 404, which doesn't reveal that the page exists.
pub(crate) fn admin() -> Result<PageState, Refusal> {
    visitor().filter(|viewer| viewer.is_admin).ok_or_else(|| refuse(Problem::not_found("page")))?;
    page_state()
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

/// Returns the message of a panic payload, or an empty string if it isn't text.
#[must_use]
pub fn panic_message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or_default()
}

/// Loads a user's remaining quota. Returns a `LimitsUnavailable` problem if the meters can't be read.
pub(crate) async fn quota(state: &PageState, viewer: &Viewer) -> Result<Quota, Refusal> {
    match state.quotas.quota(viewer).await {
        Ok(quota) => Ok(quota),
        Err(error) => {
            let logged = (state.report)(&error);
            Err(Refusal(Problem {
                incident: logged.incident,
                ..Problem::new(ProblemKind::LimitsUnavailable, "Your limits can't be loaded right now.")
            }))
        }
    }
}

/// Loads a user's billing data.
pub(crate) async fn billing_of(state: &PageState, user: &Viewer) -> Result<crate::view::billing::BillingView, Refusal> {
    let fail = |error| state.fail(error);
    let now = (state.now)();
    let subscriptions = store::subscription::of_user(&state.db, user.user_id).await.map_err(fail)?;
    let plans = store::plan::list(&state.db).await.map_err(fail)?;
    let named = |id: &domain::PlanId| plans.iter().find(|plan| plan.id == *id).map(|plan| plan.name.clone());
    let mut current =
        subscriptions.iter().find(|subscription| subscription.status.is_live()).or(subscriptions.first()).cloned();
    let mut invoices = store::invoice::list(&state.db, user.user_id, 24).await.map_err(fail)?;
    let dates = current.iter_mut().flat_map(dates_of).chain(invoices.iter_mut().map(|invoice| &mut invoice.created_at));
    localize(&state.db, &user.time_zone, dates.collect()).await.map_err(fail)?;
    let held = subscriptions.iter().any(|found| found.holds(now) && found.plan.as_ref() == Some(&user.plan.id));
    Ok(crate::view::billing::BillingView {
        payments: state.payments,
        paid_plan: current.as_ref().and_then(|current| named(current.plan.as_ref()?)),
        subscription: current,
        granted: !user.plan.is_free() && !held,
        fallback: plans.first().map(|plan| plan.name.clone()).unwrap_or_default(),
        invoices,
        quota: quota(state, user).await.ok(),
    })
}

/// Returns the dates of a subscription that pages show.
fn dates_of(found: &mut Subscription) -> impl Iterator<Item = &mut OffsetDateTime> {
    let Subscription { period_end, ends_at, trial_end, grace_until, ended_at, .. } = found;
    let others = [ends_at, trial_end, grace_until, ended_at].into_iter().filter_map(Option::as_mut);
    std::iter::once(period_end).chain(others)
}

/// Gives timestamps the offset of a time zone.
async fn localize(db: &store::Db, zone: &str, dates: Vec<&mut OffsetDateTime>) -> store::Result<()> {
    let instants: Vec<OffsetDateTime> = dates.iter().map(|date| **date).collect();
    let local = store::local_time::in_zone(db, zone, &instants).await?;
    for (date, local) in dates.into_iter().zip(local) {
        *date = local;
    }
    Ok(())
}
