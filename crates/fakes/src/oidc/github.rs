//! GitHub's OAuth and the two routes of its API that a sign-in needs.

use super::{FakeUser, Grant, Shared, failed, has_token, random, redirect, take_grant};
use axum::extract::{Form, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::json;
use std::collections::HashMap;

pub(super) fn router() -> Router<Shared> {
    Router::new()
        .route("/login/oauth/authorize", get(authorize))
        .route("/login/oauth/access_token", post(access_token))
        .route("/user", get(user))
        .route("/user/emails", get(emails))
}

async fn authorize(
    State(shared): State<Shared>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    if !query.contains_key("code_challenge") {
        return failed("invalid_request");
    }
    let grant = Grant {
        nonce: None,
        challenge: query.get("code_challenge").cloned(),
        redirect: query.get("redirect_uri").cloned().unwrap_or_default(),
        must_sign_in: false,
    };
    // GitHub names itself so, by the host that the browser has called.
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    redirect(&shared, &query, grant, Some(format!("http://{host}/login/oauth")))
}

async fn access_token(
    State(shared): State<Shared>,
    headers: HeaderMap,
    Form(form): Form<HashMap<String, String>>,
) -> Response {
    let mut inner = shared.inner();
    // GitHub responds to errors with 200.
    let Some(_) = take_grant(&mut inner, &headers, &form) else {
        return Json(json!({"error": "bad_verification_code"})).into_response();
    };
    let token = random();
    inner.access_tokens.insert(token.clone());
    Json(json!({"access_token": token, "token_type": "bearer", "scope": "read:user,user:email"})).into_response()
}

async fn user(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    let inner = shared.inner();
    // GitHub refuses requests without a User-Agent.
    if !has_token(&inner, &headers) || !headers.contains_key(header::USER_AGENT) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let FakeUser { subject, name, .. } = &inner.user;
    let id = subject.parse::<u64>().unwrap_or_default();
    Json(json!({"id": id, "login": "annlee", "name": name, "email": null})).into_response()
}

async fn emails(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    let inner = shared.inner();
    if !has_token(&inner, &headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let FakeUser { email, is_verified, .. } = &inner.user;
    Json(json!([
        {"email": "other@example.org", "primary": false, "verified": true, "visibility": null},
        {"email": email.clone().unwrap_or_default(), "primary": true, "verified": is_verified, "visibility": "private"},
    ]))
    .into_response()
}
