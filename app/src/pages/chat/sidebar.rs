//! The sidebar with conversations and navigation. On phones it is a popover, opened by HTML attributes without script.

use crate::components::icon::{Draw, Icon, Mark};
use crate::components::theme::ThemeSwitch;
use crate::page_context::page_context;
use crate::view::conversation::{ConversationSummary, LastActive};
use domain::{ConversationId, Viewer, brand};
use leptos::prelude::*;

/// The sidebar.
#[component]
pub fn Sidebar(
    /// Conversations, most recently active first.
    conversations: Vec<(LastActive, ConversationSummary)>,
    /// The open conversation, if any.
    current: Option<ConversationId>,
) -> impl IntoView {
    let viewer = page_context().viewer;
    let groups = LastActive::ALL.map(|group| {
        let of_group = conversations.iter().filter(|(found, _)| *found == group);
        let of_group: Vec<ConversationSummary> = of_group.map(|(_, conversation)| conversation.clone()).collect();
        view! { <Group group conversations=of_group current/> }
    });
    view! {
        <aside class="sidebar" id="sidebar" popover="auto" aria-label="Conversations">
            <div class="sidebar-head">
                <a class="wordmark" href="/"><Mark/>{brand::NAME}</a>
                <button type="button" class="quiet menu" popovertarget="sidebar" popovertargetaction="hide" aria-label="Close"><Draw icon=Icon::Close size=20/></button>
            </div>
            <a class="button secondary new" href="/chat"><Draw icon=Icon::Pen/>"New conversation"</a>
            <nav aria-label="Your conversations"><div id="conversations">{groups.into_iter().collect_view()}</div></nav>
            {viewer.map(|viewer| view! { <AccountMenu viewer/> })}
        </aside>
    }
}

/// The conversations of a group. Today's is always on the page, because the island adds new conversations to it.
#[component]
fn Group(
    /// When the conversations were last active.
    group: LastActive,
    /// The conversations, most recently active first.
    conversations: Vec<ConversationSummary>,
    /// The open conversation, if any.
    current: Option<ConversationId>,
) -> impl IntoView {
    let is_today = group == LastActive::Today;
    let is_empty = conversations.is_empty();
    let lines = conversations.into_iter().map(|ConversationSummary { id, title }| {
        let is_current = (current == Some(id)).then_some("page");
        view! { <li><a href=format!("/chat/{id}") aria-current=is_current title=title.clone()>{title.clone()}</a></li> }
    });
    let lines = lines.collect_view();
    (is_today || !is_empty).then(|| {
        view! {
            <section id=is_today.then_some("today-group") hidden=is_empty>
                <h2>{group.label()}</h2>
                <ul id=is_today.then_some("today")>{lines}</ul>
            </section>
        }
    })
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
