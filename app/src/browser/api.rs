//! Requests to this server's own API.

use super::clock;
use super::json::{Json, JsonObject};
use super::wake::{Wake, pause};
use futures::future::{Either, select};
use gloo_timers::future::TimeoutFuture;
use std::pin::pin;
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortController, Headers, RequestInit, Response};

/// A problem that the server responded with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The kind, as in `domain::ProblemKind`.
    pub kind: String,
    /// What happened and what to do.
    pub message: String,
    /// Milliseconds until the same request would be accepted.
    pub retry_after_ms: Option<u64>,
    /// The plan that would allow the request.
    pub upgrade: Option<String>,
    /// HTTP status of the response; 0 if the problem came as an event or no response arrived.
    pub status: u16,
}

impl Refusal {
    /// Reads a problem.
    #[must_use]
    pub fn read(problem: &Json, status: u16) -> Option<Self> {
        Some(Self {
            kind: problem.text("kind")?,
            message: problem.text("message")?,
            retry_after_ms: problem.number("retry_after_ms"),
            upgrade: problem.text("upgrade"),
            status,
        })
    }

    /// The refusal of a message that never reached the server.
    #[must_use]
    pub fn not_sent() -> Self {
        let message = "The connection was lost before your message was sent. Check your internet connection and try again. Your message is back in the message box.";
        Self { kind: "internal".into(), message: message.into(), retry_after_ms: None, upgrade: None, status: 0 }
    }

    fn signed_out() -> Self {
        Self {
            kind: "sign_in_required".into(),
            message: "Sign in to continue.".into(),
            retry_after_ms: None,
            upgrade: None,
            status: 401,
        }
    }
}

/// Why a request has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No readable response arrived, so it is unknown whether the server received the request.
    Offline,
    /// The server refused it.
    Refused(Refusal),
}

/// A response whose request is aborted when this is dropped, so that an abandoned stream doesn't stay open.
#[derive(Debug)]
pub(super) struct Reply {
    pub response: Response,
    _request: AbortOnDrop,
}

#[derive(Debug)]
struct AbortOnDrop(AbortController);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Milliseconds after which a request without a response counts as lost. Starting a turn takes as long as its provider does.
const PATIENCE_MS: u32 = 60_000;

async fn fetch(method: &str, url: &str, body: Option<&str>) -> Result<Reply, JsValue> {
    let request = AbortOnDrop(AbortController::new()?);
    let init = RequestInit::new();
    init.set_method(method);
    init.set_signal(Some(&request.0.signal()));
    if let Some(body) = body {
        let headers = Headers::new()?;
        headers.set("Content-Type", "application/json")?;
        init.set_headers(&headers);
        init.set_body(&JsValue::from_str(body));
    }
    let window = web_sys::window().ok_or(JsValue::NULL)?;
    let mut response = pin!(JsFuture::from(window.fetch_with_str_and_init(url, &init)));
    loop {
        match select(response.as_mut(), pin!(pause(PATIENCE_MS))).await {
            Either::Left((response, _)) => return Ok(Reply { response: response?.dyn_into()?, _request: request }),
            Either::Right((Wake::Seen, _)) => {}
            Either::Right(_) => return Err(JsValue::NULL),
        }
    }
}

async fn text(reply: &Reply) -> Option<String> {
    JsFuture::from(reply.response.text().ok()?).await.ok()?.as_string()
}

/// Sends a request with an optional JSON body.
pub(super) async fn send(method: &str, url: &str, body: Option<&str>) -> Result<Reply, Failure> {
    let reply = fetch(method, url, body).await.map_err(|_| Failure::Offline)?;
    if let Ok(Some(date)) = reply.response.headers().get("date") {
        clock::learn_from_response(&date);
    }
    if reply.response.redirected() {
        // Only pages redirect, and only to the sign-in page.
        return Err(Failure::Refused(Refusal::signed_out()));
    }
    if reply.response.ok() {
        return Ok(reply);
    }
    let status = reply.response.status();
    let problem = text(&reply).await.and_then(|text| Json::parse(&text));
    let refusal = problem.and_then(|body| Refusal::read(&body.field("problem"), status));
    // The error page of a proxy contains no problem in JSON.
    Err(refusal.map_or(Failure::Offline, Failure::Refused))
}

async fn load(method: &str, url: &str, body: Option<&str>) -> Result<Json, Failure> {
    let reply = send(method, url, body).await?;
    text(&reply).await.and_then(|text| Json::parse(&text)).ok_or(Failure::Offline)
}

/// Loads the viewer's remaining quota. Returns `None` if it can't be loaded.
pub async fn quota() -> Option<Json> {
    load("GET", "/api/quota", None).await.ok()
}

/// Estimates a draft's tokens with a model and its files, after the message `parent` of a conversation. `settings` are those that a new
/// conversation starts with. Returns `None` if it can't be estimated now.
pub async fn estimate(
    (conversation, parent): (Option<&str>, Option<&str>),
    model: &str,
    text: &str,
    files: &[String],
    settings: Option<JsonObject>,
) -> Option<Json> {
    let body = JsonObject::new()
        .with("conversation_id", conversation)
        .with("parent_id", parent)
        .with("model", Some(model))
        .with("text", Some(text))
        .with_list("attachments", files)
        .with_object("settings", settings);
    load("POST", "/api/estimate", Some(&body.to_text())).await.ok()
}

/// Deletes a file that wasn't sent. A failure is ignored: such files are deleted after a day.
pub async fn delete_attachment(id: &str) {
    let _ = send("DELETE", &format!("/api/attachments/{id}"), None).await;
}

/// Loads rendered messages of a conversation by the URL of a fragment.
///
/// # Errors
/// Returns why there is none.
pub async fn fragment(url: &str) -> Result<String, Failure> {
    let reply = send("GET", url, None).await?;
    text(&reply).await.ok_or(Failure::Offline)
}

/// Loads the text of a turn's response, in Markdown. Returns `None` if it can't be loaded, as while the response is in progress.
pub async fn response_text(turn: &str) -> Option<String> {
    let reply = send("GET", &format!("/api/turns/{turn}/text"), None).await.ok()?;
    text(&reply).await
}

/// Sends a change with a JSON body.
///
/// # Errors
/// Returns why it wasn't saved.
pub async fn post(url: &str, body: &str) -> Result<(), Failure> {
    send("POST", url, Some(body)).await.map(drop)
}

/// Loads the rendered results of a search.
///
/// # Errors
/// Returns a sentence about why there are none.
pub async fn search_results(query: &str) -> Result<String, String> {
    let query = js_sys::encode_uri_component(query).as_string().unwrap_or_default();
    fragment(&format!("/search/results?q={query}")).await.map_err(|failure| match failure {
        Failure::Refused(refusal) => refusal.message,
        Failure::Offline => "The search can't be reached right now. Try again in a moment.".to_owned(),
    })
}

/// Loads a conversation's title, and whether a model or the user wrote it. Returns `None` if it can't be loaded.
pub async fn conversation_title(conversation: &str) -> Option<(String, bool)> {
    let title = load("GET", &format!("/api/conversations/{conversation}/title"), None).await.ok()?;
    Some((title.text("title")?, title.flag("is_written")))
}

/// Shows another version of a message in its conversation. Returns the turn in progress at the end of its branch, if there is one, and the
/// name of its model.
///
/// # Errors
/// Returns why it isn't shown.
pub async fn select_branch(conversation: &str, message: &str) -> Result<Option<(String, String)>, Failure> {
    let body = JsonObject::new().with("message", Some(message)).to_text();
    let running = load("POST", &format!("/chat/{conversation}/branch"), Some(&body)).await?.field("running");
    Ok(running.text("turn_id").zip(running.text("model")))
}

/// Saves the user's time zone, a name from the IANA time zone database.
pub async fn time_zone(zone: &str) {
    // A failure is ignored: the request is repeated on the next page load.
    let body = JsonObject::new().with("zone", Some(zone)).to_text();
    let _ = send("POST", "/settings/time-zone", Some(&body)).await;
}

/// Saves the user's opinion of a response, with a comment if there is one; `None` removes it.
///
/// # Errors
/// Returns the server's message, or `None` if it didn't respond.
pub async fn feedback(turn: &str, is_good: Option<bool>, comment: Option<&str>) -> Result<(), Option<String>> {
    let body = JsonObject::new().with_flag("good", is_good).with("comment", comment).to_text();
    match send("POST", &format!("/api/turns/{turn}/feedback"), Some(&body)).await {
        Ok(_) => Ok(()),
        Err(Failure::Refused(refusal)) => Err(Some(refusal.message)),
        Err(Failure::Offline) => Err(None),
    }
}

/// Creates a link to a copy of a conversation, which expires after a number of days, or `never`.
///
/// # Errors
/// Returns why there is none.
pub async fn share(conversation: &str, expires: &str) -> Result<Json, Failure> {
    let body = JsonObject::new().with("expires", Some(expires)).to_text();
    load("POST", &format!("/chat/{conversation}/share"), Some(&body)).await
}

/// Revokes a link to a copy of a conversation.
///
/// # Errors
/// Returns why it wasn't revoked.
pub async fn revoke_share(share: &str) -> Result<(), Failure> {
    send("POST", &format!("/settings/shares/{share}/revoke"), Some("{}")).await.map(drop)
}

/// Stops a turn. Retries up to three times and then gives up silently.
pub async fn stop(turn: &str) {
    // The connection may have just broken, or the server may not have received the turn yet, so the request is retried after these
    // pauses, in milliseconds. If all attempts fail, the turn continues and the Stop button stays available.
    for pause_ms in [0, 300, 1_000, 3_000] {
        TimeoutFuture::new(pause_ms).await;
        if send("POST", &format!("/api/turns/{turn}/stop"), None).await.is_ok() {
            return;
        }
    }
}

/// The state of a turn, and the newest turn of its conversation.
#[derive(Clone, Debug)]
pub struct TurnStatus {
    /// Its state.
    pub state: TurnState,
    /// Its conversation.
    pub conversation: Option<String>,
    /// Its response, if that is stored.
    pub message: Option<String>,
    /// Tokens that it used and, if shown, their exact cost in dollars; `None` until they are final.
    pub used: Option<(u64, Option<String>)>,
    /// The newest turn of the conversation: its id, its model's name for users, and whether it is in progress.
    pub latest: Option<(String, String, bool)>,
}

/// The state of a turn on the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TurnState {
    /// In progress.
    Running,
    /// Ended; its message is in the transcript.
    Ended,
    /// The server has never received it.
    Unknown,
}

/// Loads the state of a turn. Returns `None` if the server doesn't return it.
pub async fn turn_status(turn: &str) -> Option<TurnStatus> {
    let status = match load("GET", &format!("/api/turns/{turn}"), None).await {
        Ok(status) => status,
        Err(Failure::Refused(Refusal { status: 404, .. })) => {
            let (conversation, message, used, latest) = (None, None, None, None);
            return Some(TurnStatus { state: TurnState::Unknown, conversation, message, used, latest });
        }
        Err(_) => return None,
    };
    let state = match status.text("state")?.as_str() {
        "running" => TurnState::Running,
        "ended" => TurnState::Ended,
        _ => TurnState::Unknown,
    };
    let latest = status.field("latest");
    let label = latest.text("label").unwrap_or_default();
    let latest = latest.text("turn_id").map(|turn| (turn, label, latest.flag("running")));
    let used = status.number("tokens").map(|tokens| (tokens, status.text("cost_usd")));
    let (conversation, message) = (status.text("conversation_id"), status.text("message_id"));
    Some(TurnStatus { state, conversation, message, used, latest })
}
