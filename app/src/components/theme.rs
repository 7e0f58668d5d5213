//! The theme of pages: the switch, and the theme colors in the document's head.

use super::icon::{Draw, Icon};
use crate::page_context::page_context;
use crate::view::theme::Theme;
use leptos::prelude::*;

/// The switch between the system's theme, light and dark. A form, so that it needs no script: the page is rendered again with the theme,
/// without a flash of the other one.
#[component]
pub fn ThemeSwitch(
    /// Id of the field with the page to return to, for a page whose URL changes without a load.
    #[prop(optional)]
    next_id: Option<&'static str>,
) -> impl IntoView {
    let context = page_context();
    let (current, here) = (context.theme, context.here);
    let button = |theme: Theme| {
        let (icon, label) = match theme {
            Theme::System => (Icon::Monitor, "System theme"),
            Theme::Light => (Icon::Sun, "Light theme"),
            Theme::Dark => (Icon::Moon, "Dark theme"),
        };
        let is_chosen = (theme == current).to_string();
        view! {
            <button name="theme" value=theme.as_str() class="quiet icon-button" aria-label=label title=label aria-pressed=is_chosen><Draw icon/></button>
        }
    };
    view! {
        <form method="post" action="/theme" class="theme-switch">
            <input type="hidden" id=next_id name="next" value=here/>
            <fieldset>
                <legend class="unseen">"Theme"</legend>
                {Theme::ALL.map(button).into_iter().collect_view()}
            </fieldset>
        </form>
    }
}

/// The colors of the browser's own parts: those of both themes, or that of the chosen one.
#[component]
pub fn ThemeColors(
    /// The page's background in the light theme.
    light: &'static str,
    /// The page's background in the dark theme.
    dark: &'static str,
) -> impl IntoView {
    match page_context().theme {
        Theme::System => view! {
            {in_scheme("(prefers-color-scheme: light)", light)}
            {in_scheme("(prefers-color-scheme: dark)", dark)}
        }
        .into_any(),
        Theme::Light => view! { <meta name="theme-color" content=light/> }.into_any(),
        Theme::Dark => view! { <meta name="theme-color" content=dark/> }.into_any(),
    }
}

/// The color in one of the device's themes. `view!` doesn't support the attribute.
fn in_scheme(media: &'static str, color: &'static str) -> impl IntoView {
    leptos::html::meta().name("theme-color").content(color).attr("media", media)
}
