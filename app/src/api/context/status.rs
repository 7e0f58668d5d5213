//! Checks the parts of the service for the status page.

use super::PageState;
use super::model::list_usable;
use crate::view::status::{Hour, HourOutcome, Service, ServiceState, StatusView};
use domain::report::start_of_hour;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use store::rollup::ProviderHour;
use time::OffsetDateTime;
use tokio::sync::Mutex;

/// How long a result is shown before the parts are checked again.
const FRESH: Duration = Duration::from_secs(30);
/// How long a check may take before the part counts as unavailable.
const PATIENCE: Duration = Duration::from_secs(3);
/// Number of hours shown.
const HOURS: i64 = 24;

/// The latest result, which all visitors share.
#[derive(Default)]
pub struct StatusCache(Mutex<Option<(Instant, StatusView)>>);

/// Returns the state of the service, at most 30 seconds old. While one request checks it, the others wait for the result.
pub(crate) async fn status_of(state: &PageState) -> StatusView {
    let mut latest = state.status.0.lock().await;
    if let Some((at, view)) = latest.as_ref()
        && at.elapsed() < FRESH
    {
        return view.clone();
    }
    let view = check(state).await;
    *latest = Some((Instant::now(), view.clone()));
    view
}

async fn check(state: &PageState) -> StatusView {
    let now = (state.now)();
    let (postgres, redis) = futures::join!(
        tokio::time::timeout(PATIENCE, store::ping(&state.db)),
        tokio::time::timeout(PATIENCE, state.quotas.ping()),
    );
    let (has_database, has_limits) = (matches!(postgres, Ok(Ok(()))), matches!(redis, Ok(Ok(()))));
    let mut services = vec![
        own("Website", "Pages and sign-in", true),
        own("Conversations", "Reading, sending and saving messages", has_database),
        own("Usage limits", "While they are unavailable, no message is sent or charged", has_limits),
    ];
    if has_database {
        match providers(state, now).await {
            Ok(found) => services.extend(found),
            Err(error) => {
                (state.report)(&error);
            }
        }
    }
    StatusView { services, checked_at: now }
}

/// Describes a part of our own, whose past isn't recorded.
fn own(label: &str, about: &str, is_available: bool) -> Service {
    let state = if is_available { ServiceState::Available } else { ServiceState::Unavailable };
    Service { label: label.to_owned(), about: about.to_owned(), state, hours: Vec::new() }
}

/// Describes the providers whose models can be used now.
async fn providers(state: &PageState, now: OffsetDateTime) -> store::Result<Vec<Service>> {
    let mut models: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in list_usable(state).await? {
        let model = row.model;
        models.entry(model.provider.label).or_default().push(model.label);
    }
    let first = start_of_hour(now) - time::Duration::hours(HOURS - 1);
    let calls = store::rollup::provider_hours(&state.db, first).await?;
    let circuits = (state.providers)();
    let service = |(label, models): (String, Vec<String>)| {
        let is_open = circuits.iter().any(|(name, open_ms)| *name == label && open_ms.is_some());
        let hours = hours_of(&calls, &label, first);
        let latest = hours.last().is_some_and(|hour| is_bad(hour.outcome));
        let state = match (is_open, latest) {
            (true, _) => ServiceState::Unavailable,
            (false, true) => ServiceState::Degraded,
            (false, false) => ServiceState::Available,
        };
        Service { about: models.join(", "), label, state, hours }
    };
    Ok(models.into_iter().map(service).collect())
}

fn is_bad(outcome: HourOutcome) -> bool {
    matches!(outcome, HourOutcome::SomeErrors | HourOutcome::MostlyErrors)
}

/// Returns the hours of a provider from `first` on, the oldest first.
fn hours_of(calls: &[ProviderHour], label: &str, first: OffsetDateTime) -> Vec<Hour> {
    let hour = |index: i64| {
        let at = first + time::Duration::hours(index);
        let found = calls.iter().find(|found| found.provider == label && found.hour == at);
        let outcome = found.map_or(HourOutcome::Quiet, |found| HourOutcome::of(found.calls, found.failed));
        Hour { at, outcome }
    };
    (0..HOURS).map(hour).collect()
}
