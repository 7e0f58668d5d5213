//! HTTP handlers of conversations: the sidebar's list, and the forms that rename, pin, archive, delete and restore one. Each form also takes
//! JSON from the page's script, and then responds with 204.

use crate::AppState;
use crate::failure::Failure;
use crate::http::account_form::unreadable;
use crate::http::browser::{HIDDEN, SIDEBAR_COOKIE};
use crate::http::extract::{Id, SignedIn, read_form};
use crate::http::fragment::{fragment, parameter};
use crate::http::next::local;
use crate::http::pages;
use app::api::{Refusal, context};
use app::page_context::FailedForm;
use app::pages::chat::Conversations;
use app::pages::search::SearchResults;
use app::view::conversation_list::ListPosition;
use axum::Json;
use axum::extract::{FromRequest as _, Query, Request, State};
use axum::response::{Html, IntoResponse as _, Redirect, Response};
use domain::{ConversationId, MessageId, Problem};
use http::{HeaderValue, StatusCode, Uri, header};
use leptos::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use store::conversation::Pinned;

/// Maximum length of a title, in characters.
const MAX_TITLE: usize = 80;
/// How long a hidden sidebar is remembered, in seconds: one year.
const MAX_AGE_S: u32 = 365 * 24 * 60 * 60;

/// A change that was sent: by a form, with the request without its body to render a page, or by the page's script.
enum Sent {
    Form(Box<Request>),
    Script,
}

impl Sent {
    /// Responds to a change that was made: with the page at `path`, or without content to the script.
    fn done(&self, path: &str) -> Response {
        match self {
            Self::Form(_) => Redirect::to(path).into_response(),
            Self::Script => StatusCode::NO_CONTENT.into_response(),
        }
    }

    /// Responds to a change that is refused because of one of its fields, with the conversation's options as they were entered.
    async fn refused(self, app: &AppState, id: ConversationId, problem: Problem, entered: Option<String>) -> Response {
        let Self::Form(mut request) = self else { return Failure(problem).into_response() };
        let Ok(page) = format!("/chat/{id}/edit").parse::<Uri>() else { return Failure(problem).into_response() };
        *request.uri_mut() = page;
        let field = if entered.is_some() { "title" } else { "" };
        let values = entered.map(|title| ("title", title)).into_iter().collect();
        pages::form_again(app, *request, FailedForm { values, errors: vec![(field, problem.message)] }).await
    }
}

/// Reads a form or JSON.
async fn read<T: DeserializeOwned>(request: Request) -> Result<(T, Sent), Failure> {
    let is_json = request.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
    if is_json {
        let body = Json::<T>::from_request(request, &()).await;
        let Json(body) = body.map_err(|_| Problem::invalid("", "The body couldn't be read."))?;
        return Ok((body, Sent::Script));
    }
    let (form, again) = read_form::<T>(request).await.map_err(unreadable)?;
    Ok((form, Sent::Form(Box::new(again))))
}

/// A form without a value of its own, or one that turns something on or off.
#[derive(Deserialize)]
struct Change {
    #[serde(default)]
    on: bool,
    /// The page to go to; only for forms.
    #[serde(default)]
    next: String,
}

/// A new title.
#[derive(Deserialize)]
struct TitleForm {
    #[serde(default)]
    title: String,
}

/// Returns a title as it is stored: one line with single spaces.
fn checked_title(title: &str) -> Result<String, Problem> {
    let plain: String = title.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let title = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    match title.chars().count() {
        0 => Err(Problem::invalid("title", "Enter a title.")),
        1..=MAX_TITLE => Ok(title),
        _ => Err(Problem::invalid("title", format!("Use at most {MAX_TITLE} characters."))),
    }
}

/// Returns a 404 problem unless a change was made.
fn found(is_found: bool) -> Result<(), Problem> {
    if is_found { Ok(()) } else { Err(Problem::not_found("conversation")) }
}

/// `POST /chat/{conversation_id}/rename`: gives a conversation a title.
pub(crate) async fn rename(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    Id(id): Id<ConversationId>,
    request: Request,
) -> Result<Response, Failure> {
    let (form, sent) = read::<TitleForm>(request).await?;
    match checked_title(&form.title) {
        Ok(title) => {
            found(store::conversation::rename(&app.db, viewer.user_id, id, &title).await?)?;
            Ok(sent.done(&format!("/chat/{id}")))
        }
        Err(problem) => {
            found(store::conversation::open(&app.db, viewer.user_id, id).await?.is_some())?;
            Ok(sent.refused(&app, id, problem, Some(form.title)).await)
        }
    }
}

/// `POST /chat/{conversation_id}/pin`: pins a conversation, or unpins it.
pub(crate) async fn pin(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    Id(id): Id<ConversationId>,
    request: Request,
) -> Result<Response, Failure> {
    let (form, sent) = read::<Change>(request).await?;
    match store::conversation::set_pinned(&app.db, viewer.user_id, id, form.on, AppState::now()).await? {
        Pinned::Done => Ok(sent.done(local(&form.next).unwrap_or(&format!("/chat/{id}")))),
        Pinned::NotFound => Err(Problem::not_found("conversation").into()),
        Pinned::TooMany => {
            let max = store::conversation::MAX_PINNED;
            let problem = Problem::invalid("on", format!("You can pin {max} conversations. Unpin one first."));
            Ok(sent.refused(&app, id, problem, None).await)
        }
    }
}

/// `POST /chat/{conversation_id}/archive`: archives a conversation, or moves it back to the list.
pub(crate) async fn archive(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    Id(id): Id<ConversationId>,
    request: Request,
) -> Result<Response, Failure> {
    let (form, sent) = read::<Change>(request).await?;
    found(store::conversation::set_archived(&app.db, viewer.user_id, id, form.on, AppState::now()).await?)?;
    let page = if form.on { "/chat".to_owned() } else { format!("/chat/{id}") };
    Ok(sent.done(local(&form.next).unwrap_or(&page)))
}

/// `POST /chat/{conversation_id}/delete`: deletes a conversation. The page that follows can restore it. Ledger and meters are not affected
/// (field note 12).
pub(crate) async fn delete(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    Id(id): Id<ConversationId>,
    request: Request,
) -> Result<Response, Failure> {
    let (form, sent) = read::<Change>(request).await?;
    found(store::conversation::delete(&app.db, viewer.user_id, id, AppState::now()).await?)?;
    // Only a path: the query is this one.
    let page = local(&form.next).filter(|next| !next.contains(['?', '#'])).unwrap_or("/chat");
    Ok(sent.done(&format!("{page}?deleted={id}")))
}

/// `POST /chat/{conversation_id}/restore`: restores a deleted conversation.
pub(crate) async fn restore(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    Id(id): Id<ConversationId>,
    request: Request,
) -> Result<Response, Failure> {
    let (_, sent) = read::<Change>(request).await?;
    found(store::conversation::restore(&app.db, viewer.user_id, id).await?)?;
    Ok(sent.done(&format!("/chat/{id}")))
}

/// A conversation's title.
#[derive(Serialize)]
pub(crate) struct Title {
    title: String,
    /// Whether a model or the user wrote it.
    is_written: bool,
}

/// `GET /api/conversations/{conversation_id}/title`: the title, which a model may write after the first response.
pub(crate) async fn title(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    Id(id): Id<ConversationId>,
) -> Result<Json<Title>, Failure> {
    let found = store::conversation::load_title(&app.db, viewer.user_id, id).await?;
    let (title, is_written) = found.ok_or_else(|| Problem::not_found("conversation"))?;
    Ok(Json(Title { title, is_written }))
}

/// Which page of the list is requested.
#[derive(Deserialize)]
pub(crate) struct ListQuery {
    /// The end of the page before; without it, the first page.
    after: Option<String>,
    /// The open conversation.
    current: Option<String>,
}

/// `GET /chat/list`: a page of the sidebar's list, as the chat page has it.
pub(crate) async fn list(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    Query(query): Query<ListQuery>,
) -> Result<Html<String>, Failure> {
    let after: Option<ListPosition> = parameter("after", "a position from the list", query.after)?;
    let current = query.current.and_then(|id| id.parse::<ConversationId>().ok());
    let list = context::conversation_list(&app.page_state(), &viewer, after, current).await;
    let (list, is_part) = (list.map_err(|Refusal(problem)| Failure(problem))?, after.is_some());
    Ok(fragment(|| view! { <Conversations list current is_part/> }))
}

/// What is searched for.
#[derive(Deserialize)]
pub(crate) struct SearchQuery {
    #[serde(default)]
    q: String,
    before: Option<String>,
}

/// `GET /search/results`: the results of a search, as the search page has them, but fewer: for the palette.
pub(crate) async fn search_results(
    State(app): State<AppState>,
    SignedIn(viewer): SignedIn,
    Query(query): Query<SearchQuery>,
) -> Result<Html<String>, Failure> {
    let before: Option<MessageId> = parameter("before", "the id of a message", query.before)?;
    let found = context::search(&app.page_state(), &viewer, query.q, before, context::PALETTE_RESULTS).await;
    let view = found.map_err(|Refusal(problem)| Failure(problem))?;
    Ok(fragment(|| view! { <SearchResults view/> }))
}

/// Whether the sidebar is hidden.
#[derive(Deserialize)]
struct SidebarForm {
    hidden: bool,
    /// The page that has the switch.
    #[serde(default)]
    next: String,
}

/// `POST /chat/sidebar`: stores in a cookie whether the chat's sidebar is hidden on desktops, and redirects back.
pub(crate) async fn sidebar(State(app): State<AppState>, request: Request) -> Result<Response, Failure> {
    let (form, sent) = read::<SidebarForm>(request).await?;
    let max_age = if form.hidden { MAX_AGE_S } else { 0 };
    let secure = if app.config.is_https() { "; Secure" } else { "" };
    let cookie = format!("{SIDEBAR_COOKIE}={HIDDEN}; Path=/; Max-Age={max_age}; HttpOnly; SameSite=Lax{secure}");
    let mut response = sent.done(local(&form.next).unwrap_or("/chat"));
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_one_line_of_bounded_length() {
        assert_eq!(checked_title(" My \t lease\nends ").unwrap(), "My lease ends");
        assert_eq!(checked_title(&"é".repeat(MAX_TITLE)).unwrap().chars().count(), MAX_TITLE);
        for bad in ["", " \n ", &"é".repeat(MAX_TITLE + 1)] {
            assert_eq!(checked_title(bad).unwrap_err().field.as_deref(), Some("title"), "{bad:?}");
        }
    }
}
