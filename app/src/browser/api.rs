//! Requests to our own `/api`.

use domain::{Problem, ProblemKind, Quota, TurnId, problem::ProblemBody};
use gloo_timers::future::TimeoutFuture;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Headers, RequestInit, Response};

/// The problem shown when no response arrived.
#[must_use]
pub fn offline() -> Problem {
    Problem::new(ProblemKind::Internal, "The connection was lost. Check it and try again. Your draft is kept.")
}

/// Whether a problem is that nothing came back.
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

/// Sends, and reads a refusal as its problem.
///
/// # Errors
/// The server's problem, or that nothing came back.
pub async fn send(method: &str, url: &str, body: Option<&str>) -> Result<Response, Problem> {
    let response = fetch(method, url, body).await.map_err(|_| offline())?;
    if response.ok() {
        return Ok(response);
    }
    let body = text(&response).await.and_then(|text| serde_json::from_str::<ProblemBody>(&text).ok());
    Err(body.map_or_else(offline, |body| body.problem))
}

/// What is left; none while it can't be read.
pub async fn quota() -> Option<Quota> {
    let response = send("GET", "/api/quota", None).await.ok()?;
    serde_json::from_str(&text(&response).await?).ok()
}

/// Says where the user's days begin.
pub async fn time_zone(zone: &str) {
    // Where it doesn't arrive it is said the next time.
    let _ = send("POST", "/settings/time-zone", Some(&serde_json::json!({ "zone": zone }).to_string())).await;
}

/// Asks to stop a turn.
pub async fn stop(turn: TurnId) {
    // The connection may just have broken, or the question not have arrived: it is said again then, in milliseconds after the time before.
    // Where it never arrives the turn runs on, and the button is still there.
    for pause in [0, 300, 1_000, 3_000] {
        TimeoutFuture::new(pause).await;
        if send("POST", &format!("/api/turns/{turn}/stop"), None).await.is_ok() {
            return;
        }
    }
}
