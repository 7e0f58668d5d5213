//! Requests to this server's own API.

use domain::{Problem, ProblemKind, Quota, TurnId, problem::ProblemBody};
use gloo_timers::future::TimeoutFuture;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Headers, RequestInit, Response};

/// Returns the problem to show when no response arrived.
#[must_use]
pub fn offline() -> Problem {
    Problem::new(
        ProblemKind::Internal,
        "The connection was lost. Check your internet connection and try again. Your draft is kept.",
    )
}

/// Returns whether a problem means that no response arrived, rather than an error reported by the server.
#[must_use]
pub fn is_offline(problem: &Problem) -> bool {
    problem.kind == ProblemKind::Internal && problem.incident.is_none()
}

async fn fetch(method: &str, url: &str, body: Option<&str>) -> Result<Response, JsValue> {
    let init = RequestInit::new();
    init.set_method(method);
    if let Some(body) = body {
        let headers = Headers::new()?;
        headers.set("Content-Type", "application/json")?;
        init.set_headers(&headers);
        init.set_body(&JsValue::from_str(body));
    }
    let window = web_sys::window().ok_or(JsValue::NULL)?;
    JsFuture::from(window.fetch_with_str_and_init(url, &init)).await?.dyn_into()
}

async fn text(response: &Response) -> Option<String> {
    JsFuture::from(response.text().ok()?).await.ok()?.as_string()
}

/// Sends a request with an optional JSON body.
///
/// # Errors
/// Returns the problem in the server's error response, or [`offline`] if no readable response arrived.
pub async fn send(method: &str, url: &str, body: Option<&str>) -> Result<Response, Problem> {
    let response = fetch(method, url, body).await.map_err(|_| offline())?;
    if response.ok() {
        return Ok(response);
    }
    let body = text(&response).await.and_then(|text| serde_json::from_str::<ProblemBody>(&text).ok());
    Err(body.map_or_else(offline, |body| body.problem))
}

/// Loads the viewer's remaining quota. Returns `None` if it can't be loaded.
pub async fn quota() -> Option<Quota> {
    let response = send("GET", "/api/quota", None).await.ok()?;
    serde_json::from_str(&text(&response).await?).ok()
}

/// Saves the user's time zone, a name from the IANA time zone database.
pub async fn time_zone(zone: &str) {
    // A failure is ignored: the request is repeated on the next page load.
    let _ = send("POST", "/settings/time-zone", Some(&serde_json::json!({ "zone": zone }).to_string())).await;
}

/// Stops a turn. Retries up to three times and then gives up silently.
pub async fn stop(turn: TurnId) {
    // The connection may have just broken, or the server may not have received the turn yet, so the request is retried after these
    // pauses, in milliseconds. If all attempts fail, the turn continues and the Stop button stays available.
    for pause in [0, 300, 1_000, 3_000] {
        TimeoutFuture::new(pause).await;
        if send("POST", &format!("/api/turns/{turn}/stop"), None).await.is_ok() {
            return;
        }
    }
}
