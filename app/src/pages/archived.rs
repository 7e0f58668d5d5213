//! `/chat/archived`: the viewer's archived conversations.

use crate::api;
use crate::components::duration::day;
use crate::components::frame::Frame;
use crate::components::icon::{Draw, Icon};
use crate::components::loaded::loaded;
use crate::components::toast::Deleted;
use crate::page_context::page_context;
use crate::view::conversation_list::{ArchivedConversation, ArchivedList};
use leptos::prelude::*;

/// Renders the page.
#[component]
pub fn Archived() -> impl IntoView {
    let after = page_context().query("after").and_then(|position| position.parse().ok());
    let is_later = after.is_some();
    view! {
        <Frame title="Archived conversations">
            <header class="page-head"><h1>"Archived conversations"</h1></header>
            {loaded(api::conversation::archived(after), move |list| view! { <Shown list is_later/> })}
            <div class="toast-region" role="status"><Deleted/></div>
        </Frame>
    }
}

#[component]
fn Shown(
    /// The page's data.
    list: ArchivedList,
    /// Whether it isn't the first page.
    is_later: bool,
) -> impl IntoView {
    let ArchivedList { conversations, next } = list;
    let is_empty = conversations.is_empty();
    view! {
        {is_empty.then(|| view! { <p class="hint">"No archived conversations. Archive one from its options in the sidebar: it stays searchable."</p> })}
        <ul class="archived">{conversations.into_iter().map(row).collect_view()}</ul>
        <p class="actions">
            {is_later.then(|| view! { <a href="/chat/archived">"Latest"</a> })}
            {next.map(|next| view! { <a href=format!("/chat/archived?after={next}")>"Older"</a> })}
        </p>
    }
}

fn row(archived: ArchivedConversation) -> AnyView {
    let ArchivedConversation { conversation, archived_at } = archived;
    let id = conversation.id;
    view! {
        <li>
            <p><a href=format!("/chat/{id}")>{conversation.title}</a><span class="hint">{format!("Archived on {}", day(archived_at))}</span></p>
            <form method="post" action=format!("/chat/{id}/archive")>
                <input type="hidden" name="on" value="false"/>
                <input type="hidden" name="next" value="/chat/archived"/>
                <button class="secondary small"><Draw icon=Icon::Archive/>"Unarchive"</button>
            </form>
            <form method="post" action=format!("/chat/{id}/delete")>
                <input type="hidden" name="next" value="/chat/archived"/>
                <button class="quiet small danger"><Draw icon=Icon::Trash/>"Delete"</button>
            </form>
        </li>
    }
    .into_any()
}
