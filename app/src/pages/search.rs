//! `/search`: search in the viewer's titles and messages.

use crate::api;
use crate::components::duration::day;
use crate::components::frame::Frame;
use crate::components::icon::{Draw, Icon};
use crate::components::loaded::loaded;
use crate::page_context::page_context;
use crate::view::search::{FoundMessage, FoundTitle, SearchView};
use domain::Role;
use domain::search::{MAX_SEARCH, Piece};
use leptos::prelude::*;

/// What is shown while nothing is searched for.
pub const EMPTY_SEARCH: &str = "Search the titles and messages of your conversations.";

/// Renders the page.
#[component]
pub fn Search() -> impl IntoView {
    let context = page_context();
    let text = context.query("q").unwrap_or_default();
    let before = context.query("before").and_then(|id| id.parse().ok());
    let is_too_long = text.chars().count() > MAX_SEARCH;
    let field = text.clone();
    view! {
        <Frame title="Search">
            <header class="page-head"><h1>"Search"</h1></header>
            <form action="/search" role="search" class="search-form">
                <input type="search" name="q" id="q" value=field autocomplete="off" aria-label="Search your conversations" placeholder="Search your conversations"
                    autofocus=text.is_empty() aria-invalid=is_too_long.then_some("true") aria-describedby=is_too_long.then_some("q-note")/>
                <button><Draw icon=Icon::Search/>"Search"</button>
            </form>
            {if is_too_long {
                view! { <p id="q-note" class="error" role="alert">{format!("Search for at most {MAX_SEARCH} characters.")}</p> }.into_any()
            } else {
                loaded(api::search::find(text, before), |view| view! { <SearchResults view/> }).into_any()
            }}
        </Frame>
    }
}

/// The results of a search. Also the whole body of `GET /search/results`, which the palette shows.
#[component]
pub fn SearchResults(
    /// The results.
    view: SearchView,
) -> impl IntoView {
    let SearchView { text, titles, messages, next, is_later } = view;
    let query = |before: Option<String>| {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("q", &text);
        if let Some(before) = before {
            query.append_pair("before", &before);
        }
        format!("/search?{}", query.finish())
    };
    let is_empty = titles.is_empty() && messages.is_empty();
    let sentence = match (text.trim().is_empty(), is_later) {
        (true, _) => EMPTY_SEARCH.to_owned(),
        (false, true) => "No older messages.".to_owned(),
        (false, false) => {
            format!("Nothing found for “{}”. Check the spelling, or search for fewer words.", text.trim())
        }
    };
    let newest = is_later.then(|| view! { <a href=query(None)>"Newest"</a> });
    let older = next.map(|next| view! { <a href=query(Some(next.to_string()))>"Older messages"</a> });
    let has_titles = !titles.is_empty();
    let has_messages = !messages.is_empty();
    view! {
        <div class="search-results">
            {is_empty.then(|| view! { <p class="hint">{sentence}</p> })}
            {has_titles.then(|| view! { <section><h2>"Conversations"</h2><ul>{titles.into_iter().map(title_row).collect_view()}</ul></section> })}
            {has_messages.then(|| view! { <section><h2>"Messages"</h2><ul>{messages.into_iter().map(message_row).collect_view()}</ul></section> })}
            {(is_later || older.is_some()).then(|| view! { <p class="actions">{newest}{older}</p> })}
        </div>
    }
}

fn title_row(found: FoundTitle) -> AnyView {
    let FoundTitle { id, title, updated_at, is_archived } = found;
    view! {
        <li>
            <a href=format!("/chat/{id}")>
                <span class="found-title">{marked(title)}</span>
                <span class="found-about">{about(day(updated_at), None, is_archived)}</span>
            </a>
        </li>
    }
    .into_any()
}

fn message_row(found: FoundMessage) -> AnyView {
    let FoundMessage { id, conversation_id, title, is_archived, role, excerpt, created_at } = found;
    view! {
        <li>
            <a href=format!("/chat/{conversation_id}?message={id}#m-{id}")>
                <span class="found-title">{title}</span>
                <span class="found-text" dir="auto">{marked(excerpt)}</span>
                <span class="found-about">{about(day(created_at), Some(role), is_archived)}</span>
            </a>
        </li>
    }
    .into_any()
}

fn about(day: String, role: Option<Role>, is_archived: bool) -> String {
    let author = role.map(|role| if role == Role::User { "You, " } else { "Response, " }).unwrap_or_default();
    format!("{author}{day}{}", if is_archived { ", archived" } else { "" })
}

/// Renders an excerpt with its matches marked. Everything else is text.
fn marked(pieces: Vec<Piece>) -> impl IntoView {
    let piece = |Piece { text, is_match }: Piece| match is_match {
        true => view! { <mark>{text}</mark> }.into_any(),
        false => text.into_any(),
    };
    pieces.into_iter().map(piece).collect_view()
}
