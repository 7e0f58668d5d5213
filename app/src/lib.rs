//! The user interface, compiled twice: for the server, which renders every page, and for the browser, which hydrates the islands.

// A page's view is a single nested type, and the chat page's exceeds the default limit.
#![recursion_limit = "512"]

pub mod api;
pub mod browser;
pub mod components;
pub mod page_context;
pub mod pages;
pub mod view;

use components::error_page::ErrorPage;
use components::frame::Frame;
use components::page_head::AboutPage;
use components::theme::ThemeColors;
use domain::brand;
use leptos::prelude::*;
use leptos_meta::{HashedStylesheet, MetaTags, provide_meta_context};
use leptos_router::{
    SsrMode,
    components::{Route, Router, Routes},
    path,
};
use page_context::page_context;
use pages::{
    admin, archived, chat, confirm, content, edit_conversation, email_undo, forgot, gallery, home, pricing, reset,
    search, second_factor, settings, share, sign_in, sign_up, status, usage, verify,
};
use view::conversation::escaped;
use view::theme::Theme;

/// Returns whether a page has islands. Only these pages load wasm.
fn has_islands(path: &str) -> bool {
    let is_chat = path == "/chat" || path.starts_with("/chat/");
    is_chat && path != "/chat/archived" && !path.ends_with("/edit")
}

/// Returns the style tokens that come from `brand.toml`; `style/tokens.css` derives the colors from them.
fn brand_style() -> String {
    let main = if brand::MAIN_BUTTON_IS_ACCENT { ";--main:var(--accent)" } else { "" };
    format!(":root{{--hue:{}{main}}}", brand::HUE)
}

/// Renders the HTML document that wraps every page.
#[must_use]
pub fn shell(options: LeptosOptions) -> impl IntoView {
    let context = page_context();
    let (has_islands, theme) = (has_islands(&context.path), context.theme);
    // What is installed is the chat, which needs an account.
    let is_installable = context.viewer.is_some();
    let chosen = (theme != Theme::System).then(|| theme.as_str());
    // Only islands are hydrated, so resource data need not be serialized into the page.
    if let Some(shared) = Owner::current_shared_context() {
        shared.set_is_hydrating(false);
    }
    view! {
        <!DOCTYPE html>
        <html lang="en" data-theme=chosen>
            <head>
                <meta charset="utf-8"/>
                <meta name="viewport" content="width=device-width, initial-scale=1, interactive-widget=resizes-content"/>
                <meta name="color-scheme" content=theme.color_scheme()/>
                <ThemeColors light=brand::THEME_COLOR_LIGHT dark=brand::THEME_COLOR_DARK/>
                <AboutPage/>
                <link rel="icon" href="/favicon.ico" sizes="32x32"/>
                <link rel="icon" href="/favicon.svg" type="image/svg+xml"/>
                <link rel="apple-touch-icon" href="/touch-icon.png"/>
                {is_installable.then(|| view! { <link rel="manifest" href="/manifest.webmanifest"/> })}
                <style nonce=use_nonce() inner_html=brand_style()></style>
                <link rel="preload" href="/fonts/inter-basic-latin.woff2" r#as="font" r#type="font/woff2" crossorigin="anonymous"/>
                <HashedStylesheet id="style" options=options.clone()/>
                <AutoReload options=options.clone()/>
                {has_islands.then(|| view! { <HydrationScripts options=options.clone() islands=true/> })}
                <MetaTags/>
            </head>
            <body>
                <App/>
            </body>
        </html>
    }
}

/// The route table. Every navigation loads a new document, so this runs only on the server.
#[component]
pub fn App() -> impl IntoView {
    provide_meta_context();
    // The title becomes HTML as it is, and that of a conversation is whatever its user wrote.
    let document_title = |title: String| match title.as_str() {
        "" => escaped(&format!("{}: {}", brand::NAME, brand::TAGLINE.trim_end_matches('.'))),
        title => escaped(&format!("{title} · {}", brand::NAME)),
    };
    view! {
        <leptos_meta::Title formatter=document_title/>
        {match page_context().problem {
            Some(problem) => {
                let title = if problem.status() == 404 { "Page not found" } else { "Something went wrong" };
                view! { <Frame title=title><ErrorPage problem/></Frame> }.into_any()
            }
            None => view! { <Pages/> }.into_any(),
        }}
    }
}

#[component]
fn Pages() -> impl IntoView {
    view! {
        <Router>
            <Routes fallback=NotFound>
                <Route path=path!("/") view=home::Home ssr=SsrMode::Async/>
                <Route path=path!("/pricing") view=pricing::Pricing ssr=SsrMode::Async/>
                <Route path=path!("/terms") view=content::Legal ssr=SsrMode::Async/>
                <Route path=path!("/privacy") view=content::Legal ssr=SsrMode::Async/>
                <Route path=path!("/imprint") view=content::Legal ssr=SsrMode::Async/>
                <Route path=path!("/help") view=content::help::Help ssr=SsrMode::Async/>
                <Route path=path!("/help/:topic") view=content::help::Topic ssr=SsrMode::Async/>
                <Route path=path!("/blog") view=content::blog::Blog ssr=SsrMode::Async/>
                <Route path=path!("/blog/:post") view=content::blog::Post ssr=SsrMode::Async/>
                <Route path=path!("/changelog") view=content::changelog::Changelog ssr=SsrMode::Async/>
                <Route path=path!("/docs/api") view=content::ApiDocs ssr=SsrMode::Async/>
                <Route path=path!("/status") view=status::Status ssr=SsrMode::Async/>
                <Route path=path!("/sign-up") view=sign_up::SignUp ssr=SsrMode::Async/>
                <Route path=path!("/sign-in") view=sign_in::SignIn ssr=SsrMode::Async/>
                <Route path=path!("/sign-in/confirm") view=confirm::Confirm ssr=SsrMode::Async/>
                <Route path=path!("/sign-in/second") view=second_factor::SecondFactor ssr=SsrMode::Async/>
                <Route path=path!("/verify") view=verify::Verify ssr=SsrMode::Async/>
                <Route path=path!("/forgot") view=forgot::Forgot ssr=SsrMode::Async/>
                <Route path=path!("/reset") view=reset::Reset ssr=SsrMode::Async/>
                <Route path=path!("/email/undo") view=email_undo::EmailUndo ssr=SsrMode::Async/>
                <Route path=path!("/chat") view=chat::ChatPage ssr=SsrMode::Async/>
                <Route path=path!("/chat/archived") view=archived::Archived ssr=SsrMode::Async/>
                <Route path=path!("/chat/:conversation_id") view=chat::ChatPage ssr=SsrMode::Async/>
                <Route path=path!("/chat/:conversation_id/edit") view=edit_conversation::EditConversation ssr=SsrMode::Async/>
                <Route path=path!("/search") view=search::Search ssr=SsrMode::Async/>
                <Route path=path!("/usage") view=usage::Usage ssr=SsrMode::Async/>
                <Route path=path!("/settings") view=settings::profile::Profile ssr=SsrMode::Async/>
                <Route path=path!("/settings/chat") view=settings::chat::ChatSettings ssr=SsrMode::Async/>
                <Route path=path!("/settings/security") view=settings::security::Security ssr=SsrMode::Async/>
                <Route path=path!("/settings/security/totp") view=settings::totp::Totp ssr=SsrMode::Async/>
                <Route path=path!("/settings/security/recovery") view=settings::recovery::Recovery ssr=SsrMode::Async/>
                <Route path=path!("/settings/keys") view=settings::keys::Keys ssr=SsrMode::Async/>
                <Route path=path!("/settings/keys/:key_id") view=settings::keys::edit::Edit ssr=SsrMode::Async/>
                <Route path=path!("/settings/keys/:key_id/pause") view=settings::keys::pause::Pause ssr=SsrMode::Async/>
                <Route path=path!("/settings/data") view=settings::data::Data ssr=SsrMode::Async/>
                <Route path=path!("/settings/shares") view=settings::shares::Shares ssr=SsrMode::Async/>
                <Route path=path!("/settings/import") view=settings::import::Import ssr=SsrMode::Async/>
                <Route path=path!("/share/:token") view=share::Shared ssr=SsrMode::Async/>
                <Route path=path!("/settings/billing") view=settings::billing::Billing ssr=SsrMode::Async/>
                <Route path=path!("/admin/models") view=admin::models::Models ssr=SsrMode::Async/>
                <Route path=path!("/admin/providers") view=admin::providers::Providers ssr=SsrMode::Async/>
                <Route path=path!("/admin/health") view=admin::health::Health ssr=SsrMode::Async/>
                <Route path=path!("/admin") view=admin::top_users::TopUsers ssr=SsrMode::Async/>
                <Route path=path!("/admin/users") view=admin::users::Users ssr=SsrMode::Async/>
                <Route path=path!("/admin/plans") view=admin::plans::Plans ssr=SsrMode::Async/>
                <Route path=path!("/admin/audit") view=admin::audit::Audit ssr=SsrMode::Async/>
                <Route path=path!("/admin/users/:user_id") view=admin::user::User ssr=SsrMode::Async/>
                <Route path=path!("/dev/gallery") view=gallery::Gallery ssr=SsrMode::Async/>
            </Routes>
        </Router>
    }
}

/// The page for URLs that match no route.
#[component]
fn NotFound() -> impl IntoView {
    view! {
        <Frame title="Page not found">
            <ErrorPage problem=domain::Problem::not_found("page")/>
        </Frame>
    }
}
