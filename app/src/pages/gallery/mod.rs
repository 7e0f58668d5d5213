//! `/dev/gallery`: every component in every state, in development builds only. `?theme=light` and `?theme=dark` choose a theme.

mod controls;
mod data;
mod notices;

use crate::components::frame::Frame;
use crate::page_context::page_context;
use controls::{Buttons, Fields, Icons};
use data::{Charts, Meters, Tables};
use leptos::prelude::*;
use notices::{Endings, Notices};

/// Renders the gallery.
#[component]
pub fn Gallery() -> impl IntoView {
    let theme = page_context().query("theme").unwrap_or_default();
    let class = match theme.as_str() {
        "dark" => "gallery dark",
        "light" => "gallery light",
        _ => "gallery",
    };
    let tabs = [("", "System"), ("light", "Light"), ("dark", "Dark")].map(|(name, label)| {
        let current = (name == theme).then_some("page");
        view! { <a href=format!("/dev/gallery?theme={name}") aria-current=current>{label}</a> }
    });
    view! {
        <Frame title="Gallery" wide=true>
            <div class=class>
                <header class="page-head split">
                    <h1>"Gallery"</h1>
                    <nav class="tabs" aria-label="Theme">{tabs.into_iter().collect_view()}</nav>
                </header>
                {view! { <Buttons/> }.into_any()}
                {view! { <Icons/> }.into_any()}
                {view! { <Fields/> }.into_any()}
                {view! { <Meters/> }.into_any()}
                {view! { <Charts/> }.into_any()}
                {view! { <Tables/> }.into_any()}
                {view! { <Notices/> }.into_any()}
                {view! { <Endings/> }.into_any()}
            </div>
        </Frame>
    }
}
