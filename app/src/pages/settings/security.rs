//! `/settings/security`: how the user signs in, sessions and recent activity.

use super::factors::{Factors, Required};
use super::identities::Connections;
use super::password::Password;
use super::{Saved, Tabs};
use crate::api;
use crate::components::duration::{day, last_time, moment};
use crate::components::field::FormError;
use crate::components::frame::Frame;
use crate::components::icon::{Draw, Icon};
use crate::components::loaded::loaded;
use crate::view::security::{Activity, SecurityView, SessionView};
use domain::SecurityEvent;
use leptos::prelude::*;
use time::OffsetDateTime;

/// Renders the security page.
#[component]
pub fn Security() -> impl IntoView {
    view! {
        <Frame title="Security">
            <header class="page-head split"><h1>"Security"</h1><Tabs/></header>
            <Saved/>
            <Required/>
            <FormError/>
            {loaded(api::security::own(), |view| view! { <Shown view/> })}
        </Frame>
    }
}

#[component]
fn Shown(view: SecurityView) -> impl IntoView {
    let SecurityView { now, sessions, activity, factors } = view;
    let others = sessions.iter().filter(|session| !session.is_current).count();
    let rows = sessions.into_iter().map(|session| session_row(session, now)).collect_view();
    let end_others = (others > 0).then(|| {
        view! {
            <form method="post" action="/settings/sessions/end-others">
                <button class="secondary">"End all other sessions"</button>
            </form>
        }
    });
    let events = match activity.is_empty() {
        true => view! { <p class="hint">"No activity in the last 30 days."</p> }.into_any(),
        false => view! { <ul class="entries">{activity.into_iter().map(event_row).collect_view()}</ul> }.into_any(),
    };
    let (has_password, is_recent, is_optional) = (factors.has_password, factors.is_recent, factors.needs_no_password());
    let connections = factors.connections.clone();
    view! {
        <Password has_password is_recent is_optional/>
        <Connections connections/>
        <Factors factors now/>
        <section class="setting">
            <h2>"Sessions"</h2>
            <div class="stack">
                <p class="hint">"Browsers where you're signed in. If you don't recognize one, end its session and change your password."</p>
                <ul class="entries">{rows}</ul>
                {end_others}
            </div>
        </section>
        <section class="setting">
            <h2>"Recent activity"</h2>
            <div class="stack">
                <p class="hint">"The last 30 days. Times are in UTC."</p>
                {events}
            </div>
        </section>
    }
}

fn session_row(session: SessionView, now: OffsetDateTime) -> impl IntoView {
    let SessionView { session_id, browser, created_at, last_seen_at, is_current } = session;
    let used = match is_current {
        true => "Active now".to_owned(),
        false => format!("Last used {}", last_time(now, last_seen_at)),
    };
    let end = (!is_current).then(|| {
        view! {
            <form method="post" action=format!("/settings/sessions/{session_id}/end")>
                <button class="secondary small">"End"<span class="unseen">{format!(" the session in {browser}")}</span></button>
            </form>
        }
    });
    view! {
        <li>
            <div>
                <p><strong>{browser}</strong>{is_current.then(|| view! { <span class="tag">"This browser"</span> })}</p>
                <p class="hint">{format!("{used}. Signed in on {}.", day(created_at))}</p>
            </div>
            {end}
        </li>
    }
}

/// Describes an event, and returns whether it may be the work of someone else.
fn describe(event: SecurityEvent) -> (&'static str, bool) {
    match event {
        SecurityEvent::SignIn => ("Signed in", false),
        SecurityEvent::SignInFailed => ("Sign-in failed: incorrect password or rejected passkey", true),
        SecurityEvent::CodeFailed => ("Wrong second-factor code", true),
        SecurityEvent::SignOut => ("Signed out", false),
        SecurityEvent::PasswordChanged => ("Password changed", false),
        SecurityEvent::ResetRequested => ("Password reset requested", true),
        SecurityEvent::EmailChanged => ("Email address changed", false),
        SecurityEvent::IdentityConnected => ("Connected account added", false),
        SecurityEvent::IdentityRemoved => ("Connected account removed", false),
        SecurityEvent::SessionEnded => ("Session ended", false),
        SecurityEvent::FactorAdded => ("Sign-in method added", false),
        SecurityEvent::FactorRemoved => ("Sign-in method removed", false),
        SecurityEvent::ApiKeyCreated => ("API key created", false),
        SecurityEvent::ApiKeyRevoked => ("API key revoked", false),
        SecurityEvent::AccountDeleted => ("Account deleted", false),
        SecurityEvent::Forbidden => ("Request refused: not allowed", true),
    }
}

fn event_row(row: Activity) -> impl IntoView {
    let Activity { event, browser, at } = row;
    let (text, is_suspicious) = describe(event);
    view! {
        <li>
            <div>
                <p>{is_suspicious.then(|| view! { <Draw icon=Icon::Alert/> })}<strong>{text}</strong></p>
                <p class="hint">{format!("{}, {browser}", moment(at))}</p>
            </div>
        </li>
    }
}
