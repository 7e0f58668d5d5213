//! The sidebar with conversations and navigation. On phones it is a popover, opened by HTML attributes without script.

use super::conversations::{Conversations, RowMenu, RowTemplates};
use crate::components::icon::{Draw, Icon, Mark};
use crate::components::theme::ThemeSwitch;
use crate::page_context::page_context;
use crate::view::conversation_list::ConversationList;
use domain::{ConversationId, Viewer, brand};
use leptos::prelude::*;

/// The sidebar.
#[component]
pub fn Sidebar(
    /// The list of conversations.
    conversations: ConversationList,
    /// The open conversation, if any.
    current: Option<ConversationId>,
) -> impl IntoView {
    let viewer = page_context().viewer;
    // Without JavaScript, a later page of the list has a way back to the first one.
    let is_later = conversations.continues.is_some();
    let newest = is_later.then(|| {
        let page = current.map_or_else(|| "/chat".to_owned(), |id| format!("/chat/{id}"));
        view! { <p class="more"><a href=page>"Newest conversations"</a></p> }
    });
    view! {
        <aside class="sidebar" id="sidebar" popover="auto" aria-label="Conversations">
            <div class="sidebar-head">
                <a class="wordmark" href="/"><Mark/>{brand::NAME}</a>
                <SidebarSwitch hide=true/>
                <button type="button" class="quiet menu" popovertarget="sidebar" popovertargetaction="hide" aria-label="Close"><Draw icon=Icon::Close size=20/></button>
            </div>
            <a class="button secondary new" href="/chat"><Draw icon=Icon::Pen/>"New conversation"</a>
            <a class="sidebar-link" href="/search" data-search=true><Draw icon=Icon::Search/>"Search"</a>
            <nav id="conversations-nav" aria-label="Your conversations">
                {newest}
                <div id="conversations"><Conversations list=conversations current/></div>
            </nav>
            <a class="sidebar-link" href="/chat/archived"><Draw icon=Icon::Archive/>"Archived"</a>
            {viewer.map(|viewer| view! { <AccountMenu viewer/> })}
            <RowMenu/>
            <RowTemplates/>
        </aside>
    }
}

/// The switch that hides the sidebar on desktops, or shows it again. A form, so that it needs no script; a cookie keeps the choice.
#[component]
pub(super) fn SidebarSwitch(
    /// Whether it hides the sidebar.
    hide: bool,
) -> impl IntoView {
    let label = if hide { "Hide sidebar" } else { "Show sidebar" };
    view! {
        <form method="post" action="/chat/sidebar" class="sidebar-switch" data-sidebar=if hide { "hide" } else { "show" }>
            <input type="hidden" name="hidden" value=hide.to_string()/>
            <input type="hidden" name="next" value=page_context().here/>
            <button class="quiet icon-button" aria-label=label title=label><Draw icon=Icon::PanelLeft/></button>
        </form>
    }
}

/// The menu at the foot of the sidebar, a popover like the sidebar itself: Escape and a click elsewhere close it without script.
#[component]
fn AccountMenu(viewer: Viewer) -> impl IntoView {
    let name = viewer.display_name().to_owned();
    view! {
        <div class="sidebar-foot">
            <button type="button" class="quiet account" popovertarget="account-menu" title=viewer.email.clone()>
                <span class="unseen">"Account: "</span>
                <span class="account-name">{name}</span><span class="plan-name">{viewer.plan.name.clone()}</span>
                <Draw icon=Icon::ChevronsUpDown/>
            </button>
            <nav id="account-menu" class="account-menu" popover="auto" aria-label="Account">
                <p class="account-email">{viewer.email}</p>
                <a href="/settings">"Settings"</a>
                <a href="/settings/billing">"Billing"</a>
                <a href="/usage">"Usage"</a>
                <a href="/pricing">"Plans"</a>
                {viewer.is_admin.then(|| view! { <a href="/admin">"Admin"</a> })}
                <ThemeSwitch next_id="theme-next"/>
                <form method="post" action="/sign-out"><button class="quiet">"Sign out"</button></form>
            </nav>
        </div>
    }
}
