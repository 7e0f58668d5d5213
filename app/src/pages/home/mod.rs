//! `/`: the landing page: what the product does for its users, with a live demo, the models, the limits and the plans.

mod demo;
mod limits;
mod models;
mod questions;
mod use_cases;

use crate::api;
use crate::components::frame::Frame;
use crate::components::icon::{Draw, Icon};
use crate::components::loaded::loaded;
use crate::page_context::page_context;
use crate::pages::pricing::Offers;
use crate::view::home::HomeView;
use demo::Demo;
use domain::brand;
use leptos::prelude::*;
use limits::Limits;
use models::Models;
use questions::Questions;
use use_cases::UseCases;

/// Renders the landing page.
#[component]
pub fn Home() -> impl IntoView {
    view! {
        <Frame title="" wide=true>
            <Hero/>
            {loaded(api::home::home(), |home: HomeView| view! {
                <Models models=home.models/>
                <UseCases/>
                <Limits/>
                <section class="section" id="plans">
                    <h2>"Plans"</h2>
                    <Offers shop=home.catalog/>
                    <p class="aside"><a href="/pricing">"Compare the plans, monthly and yearly"</a></p>
                </section>
            })}
            <Questions/>
            <Start/>
        </Frame>
    }
}

/// Returns where the page's buttons lead, and their text.
fn action() -> (&'static str, &'static str) {
    if page_context().viewer.is_some() { ("/chat", "Open the chat") } else { ("/sign-up", brand::HERO_ACTION) }
}

/// The first screen. Visitors see the demo beside the text; signed-in users see a link to the chat.
#[component]
fn Hero() -> impl IntoView {
    let context = page_context();
    let has_demo = context.has_demo && context.viewer.is_none();
    let (href, label) = action();
    view! {
        <div class="hero" class:with-demo=has_demo>
            <section class="hero-words">
                <h1>{brand::HERO_TITLE}</h1>
                <p class="hero-text">{brand::HERO_TEXT}</p>
                <p class="hero-actions">
                    <a class="button large" href=href>{label}<Draw icon=Icon::ArrowRight/></a>
                    <a class="button secondary large" href="#plans">"See the plans"</a>
                </p>
            </section>
            {has_demo.then(|| view! { <Demo/> })}
        </div>
    }
}

/// The last section, which leads to the sign-up.
#[component]
fn Start() -> impl IntoView {
    let (href, label) = action();
    view! {
        <section class="section start">
            <h2>"Start with the free plan"</h2>
            <p>"You need an email address, but no card. You can change plans at any time."</p>
            <p><a class="button large" href=href>{label}<Draw icon=Icon::ArrowRight/></a></p>
        </section>
    }
}
