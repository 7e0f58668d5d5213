//! The sidebar's list of conversations. It is also the whole body of `GET /chat/list`, with which the island renews or continues it.

use crate::components::icon::{Draw, Icon};
use crate::view::conversation_list::{ConversationList, ConversationSummary, LastActive, ListGroup, ListPosition};
use domain::ConversationId;
use leptos::prelude::*;

/// A page of the list, with a link to the next one.
#[component]
pub fn Conversations(
    /// The page.
    list: ConversationList,
    /// The open conversation, if any.
    current: Option<ConversationId>,
    /// Whether it is added to a page that has the group of today's conversations already.
    #[prop(default = false)]
    is_part: bool,
) -> impl IntoView {
    let ConversationList { conversations, continues, next } = list;
    let groups = ListGroup::all().into_iter().map(|group| {
        let of_group = conversations.iter().filter(|(found, _)| *found == group);
        let of_group: Vec<ConversationSummary> = of_group.map(|(_, conversation)| conversation.clone()).collect();
        let is_continued = continues == Some(group);
        view! { <Group group conversations=of_group current is_continued is_part/> }
    });
    view! {
        {groups.collect_view()}
        {next.map(|next| view! { <More next current/> })}
    }
}

/// The conversations of a group. Today's is always on the page, because the island adds new conversations to it.
#[component]
fn Group(
    /// The group: pinned, or a period.
    group: ListGroup,
    /// The conversations, in the order of the list.
    conversations: Vec<ConversationSummary>,
    /// The open conversation, if any.
    current: Option<ConversationId>,
    /// Whether the page before this one has the heading.
    is_continued: bool,
    /// Whether the page has the group of today's conversations already.
    is_part: bool,
) -> impl IntoView {
    let is_today = group == ListGroup::Active(LastActive::Today) && !is_part;
    let is_empty = conversations.is_empty();
    let is_pinned = group == ListGroup::Pinned;
    let rows = conversations.into_iter().map(|ConversationSummary { id, title }| {
        let is_current = current == Some(id);
        view! { <Row id=id.to_string() title is_current is_pinned/> }
    });
    let rows = rows.collect_view();
    let heading = (!(is_continued && is_part)).then(|| view! { <h2>{group.label()}</h2> });
    (is_today || !is_empty).then(|| {
        view! {
            <section id=is_today.then_some("today-group") hidden=is_empty>
                {heading}
                <ul id=is_today.then_some("today")>{rows}</ul>
            </section>
        }
    })
}

/// A conversation: its link, and the way to its options. Without JavaScript that is the page that changes it, else a menu.
#[component]
pub(super) fn Row(
    /// The conversation's id; empty in the template of new rows.
    id: String,
    /// Its title.
    title: String,
    /// Whether it is open.
    is_current: bool,
    /// Whether it is pinned.
    is_pinned: bool,
) -> impl IntoView {
    let (page, edit) = match id.is_empty() {
        true => ("/chat".to_owned(), "/chat".to_owned()),
        false => (format!("/chat/{id}"), format!("/chat/{id}/edit")),
    };
    view! {
        <li class="entry" data-entry=id data-pinned=is_pinned>
            <a class="entry-link" href=page aria-current=is_current.then_some("page") title=title.clone()>{title.clone()}</a>
            <a class="entry-options" href=edit data-options=true aria-label="Conversation options" title="Conversation options"><Draw icon=Icon::Ellipsis/></a>
        </li>
    }
}

/// The link to the next page of the list. The island adds that page in its place.
#[component]
fn More(
    /// The end of this page.
    next: ListPosition,
    /// The open conversation, if any.
    current: Option<ConversationId>,
) -> impl IntoView {
    let page = current.map_or_else(|| "/chat".to_owned(), |id| format!("/chat/{id}"));
    let current = current.map(|id| format!("&current={id}")).unwrap_or_default();
    view! {
        <p id="more-conversations" class="more">
            <a href=format!("{page}?after={next}") data-fragment=format!("/chat/list?after={next}{current}")>"More conversations"</a>
            <span data-slot="failed" role="alert" hidden=true>"Loading failed. Try again in a moment."</span>
        </p>
    }
}

/// The menu of a row's options, one for the page, which the island opens. It is a popover, so Escape and a click elsewhere close it.
#[component]
pub(super) fn RowMenu() -> impl IntoView {
    view! {
        <div id="row-menu" class="menu-list row-menu" popover="auto" role="group" aria-label="Conversation options" translate="no">
            <button type="button" class="quiet" data-do="rename"><Draw icon=Icon::Pen/>"Rename"</button>
            <button type="button" class="quiet" data-do="pin"><Draw icon=Icon::Pin/>"Pin"</button>
            <button type="button" class="quiet" data-do="unpin"><Draw icon=Icon::Pin/>"Unpin"</button>
            <button type="button" class="quiet" data-do="archive"><Draw icon=Icon::Archive/>"Archive"</button>
            <button type="button" class="quiet" data-do="delete"><Draw icon=Icon::Trash/>"Delete"</button>
        </div>
    }
}

/// What the island clones into the list: a new conversation's row, and the field in which a row is renamed.
#[component]
pub(super) fn RowTemplates() -> impl IntoView {
    view! {
        <template id="new-row"><Row id=String::new() title=String::new() is_current=true is_pinned=false/></template>
        <template id="rename-row">
            <form class="entry-rename"><input type="text" name="title" maxlength="80" required=true autocomplete="off" aria-label="Title"/></form>
        </template>
    }
}
