//! `/settings`: name, email address and time zone.

use super::password::CurrentPassword;
use super::{Saved, Tabs};
use crate::components::field::{Field, FormError};
use crate::components::frame::Frame;
use crate::components::icon::{Draw, Icon};
use crate::components::time_zone::TimeZoneField;
use crate::page_context::page_context;
use domain::Viewer;
use leptos::prelude::*;

/// Renders the profile page.
#[component]
pub fn Profile() -> impl IntoView {
    let shown = page_context().viewer.map(|viewer| view! { <Shown viewer/> });
    view! {
        <Frame title="Profile">
            <header class="page-head split"><h1>"Profile"</h1><Tabs/></header>
            <Saved/>
            <FormError/>
            {shown}
        </Frame>
    }
}

#[component]
fn Shown(viewer: Viewer) -> impl IntoView {
    view! {
        <section class="setting">
            <h2>"Name"</h2>
            <form method="post" action="/settings/name" class="stack">
                <Field name="name" label="Name" kind="text" autocomplete="name" value=viewer.name.clone() optional=true
                    hint="Shown only to you and in our emails to you."/>
                <button>"Save name"</button>
            </form>
        </section>
        <section class="setting">
            <h2>"Email"</h2>
            <form method="post" action="/settings/email" class="stack">
                <EmailState email=viewer.email.clone() is_verified=viewer.is_verified/>
                <Field name="email" label="New email" kind="email" autocomplete="email"
                    hint="We send a link to the new address. It replaces the current one when you open the link. We also notify the current address, with a link that undoes the change for 7 days."/>
                <CurrentPassword/>
                <button>"Change email"</button>
            </form>
        </section>
        <section class="setting">
            <h2>"Time zone"</h2>
            <form method="post" action="/settings/time-zone" class="stack">
                <TimeZoneField value=viewer.time_zone/>
                <button>"Save time zone"</button>
            </form>
        </section>
    }
}

/// The current address, and whether it is confirmed.
#[component]
fn EmailState(email: String, is_verified: bool) -> impl IntoView {
    let state = match is_verified {
        true => view! { <span class="state"><Draw icon=Icon::Check/>"Confirmed"</span> }.into_any(),
        false => {
            view! { <span class="state warn"><Draw icon=Icon::Alert/>"Not confirmed. "<a href="/verify">"Confirm"</a></span> }
                .into_any()
        }
    };
    view! { <p class="email-state"><span class="long">{email}</span>{state}</p> }
}
