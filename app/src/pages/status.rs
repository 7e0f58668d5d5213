//! `/status`: whether the product and its model providers work, and past incidents.

use super::content::day;
use crate::api;
use crate::components::duration::{clock, moment};
use crate::components::frame::Frame;
use crate::components::icon::{Draw, Icon};
use crate::components::loaded::loaded;
use crate::page_context::page_context;
use crate::view::content::{Entry, IncidentState};
use crate::view::status::{Hour, HourOutcome, Service, ServiceState, StatusView};
use leptos::prelude::*;
use std::sync::Arc;

/// Renders the status page.
#[component]
pub fn Status() -> impl IntoView {
    let incidents = page_context().content.map(|content| content.all.to_vec()).unwrap_or_default();
    let open = incidents.iter().filter(|incident| is_open(incident)).count();
    view! {
        <Frame title="Status">
            <header class="page-head"><h1>"Status"</h1></header>
            {loaded(api::status::status(), move |status| view! { <Now status open/> })}
            <section class="incidents">
                <h2>"Incidents"</h2>
                {incidents.is_empty().then(|| view! { <p class="hint">"No incidents have been reported."</p> })}
                {incidents.iter().map(incident).collect_view()}
            </section>
        </Frame>
    }
}

fn is_open(incident: &Entry) -> bool {
    incident.state.is_some_and(|state| state != IncidentState::Resolved)
}

/// The state of all parts now, and their last hours.
#[component]
fn Now(
    /// The parts.
    status: StatusView,
    /// Number of incidents that aren't resolved.
    open: usize,
) -> impl IntoView {
    let overall = status.overall();
    let sentence = match (overall, open) {
        (ServiceState::Available, 0) => "Everything works.",
        (ServiceState::Available, _) => "Everything works, but an incident is still open.",
        (ServiceState::Degraded, _) => "Some responses fail.",
        (ServiceState::Unavailable, _) => "A part of the service is unavailable.",
    };
    let parts = status.services.into_iter().map(service).collect_view();
    view! {
        <p class=format!("status-now {}", class_of(overall))>{sign(overall)}<strong>{sentence}</strong></p>
        <ul class="services-list">{parts}</ul>
        <p class="hint">{format!("Checked on {} UTC. The state of a model provider is that of our own calls to it.", moment(status.checked_at))}</p>
    }
}

fn class_of(state: ServiceState) -> &'static str {
    match state {
        ServiceState::Available => "good",
        ServiceState::Degraded => "warn",
        ServiceState::Unavailable => "bad",
    }
}

fn sign(state: ServiceState) -> impl IntoView {
    let icon = match state {
        ServiceState::Available => Icon::Check,
        ServiceState::Degraded => Icon::Alert,
        ServiceState::Unavailable => Icon::Danger,
    };
    view! { <Draw icon/> }
}

fn service(service: Service) -> impl IntoView {
    let Service { label, about, state, hours } = service;
    let past = (!hours.is_empty()).then(|| view! { <Hours hours label=label.clone()/> });
    view! {
        <li>
            <div><h2>{label}</h2><p>{about}</p></div>
            <p class=format!("state {}", class_of(state))>{sign(state)}{state.label()}</p>
            {past}
        </li>
    }
}

/// The last hours as a row of bars, and the hours with errors in words.
#[component]
fn Hours(
    /// The hours, the oldest first.
    hours: Vec<Hour>,
    /// The provider.
    label: String,
) -> impl IntoView {
    let count = hours.len();
    let view_box = format!("0 0 {} 20", count * 10);
    let bars = hours.iter().enumerate().map(|(index, hour)| bar(index, *hour)).collect_view();
    let with_errors = describe_failed_hours(&hours);
    view! {
        <div class="hours">
            <svg viewBox=view_box preserveAspectRatio="none" role="img"
                aria-label=format!("{label}, the last {count} hours: {with_errors}")>
                {bars}
            </svg>
            <p class="hint">{with_errors.clone()}</p>
        </div>
    }
}

/// Draws an hour. Hours without calls are low, hours with errors have a notch at the top as well as another color.
fn bar(index: usize, hour: Hour) -> impl IntoView {
    let (class, top) = match hour.outcome {
        HourOutcome::Quiet => ("quiet", 16),
        HourOutcome::Good => ("good", 0),
        HourOutcome::SomeErrors => ("warn", 4),
        HourOutcome::MostlyErrors => ("bad", 8),
    };
    let (x, height) = (index * 10 + 1, 20 - top);
    view! { <rect class=class x=x y=top width="8" height=height></rect> }
}

/// Describes in which hours calls failed.
fn describe_failed_hours(hours: &[Hour]) -> String {
    let is_bad = |hour: &&Hour| matches!(hour.outcome, HourOutcome::SomeErrors | HourOutcome::MostlyErrors);
    let times: Vec<String> = hours.iter().filter(is_bad).map(|hour| clock(hour.at)).collect();
    match times.as_slice() {
        [] if hours.iter().all(|hour| hour.outcome == HourOutcome::Quiet) => "No calls in 24 hours.".to_owned(),
        [] => "No errors in 24 hours.".to_owned(),
        times => format!("Errors in the hours from {} UTC.", times.join(", ")),
    }
}

fn incident(incident: &Arc<Entry>) -> impl IntoView + use<> {
    let is_open = is_open(incident);
    let state = incident.state.map(|state| view! { <span class="tag" class:open=is_open>{state.label()}</span> });
    view! {
        <article class="incident" id=incident.fragment().to_owned()>
            <h3>{incident.title.clone()}" "{state}</h3>
            <p class="hint">{incident.date.map(day)}</p>
            <div class="markdown" inner_html=incident.html.clone()></div>
        </article>
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn hours_with_errors_are_named() {
        let at = datetime!(2026-11-27 13:00 UTC);
        let hour = |outcome| Hour { at, outcome };
        for (outcomes, sentence) in [
            (vec![HourOutcome::Quiet, HourOutcome::Quiet], "No calls in 24 hours."),
            (vec![HourOutcome::Quiet, HourOutcome::Good], "No errors in 24 hours."),
            (vec![HourOutcome::Good, HourOutcome::SomeErrors], "Errors in the hours from 13:00 UTC."),
        ] {
            let hours: Vec<Hour> = outcomes.into_iter().map(hour).collect();
            assert_eq!(describe_failed_hours(&hours), sentence);
        }
    }
}
