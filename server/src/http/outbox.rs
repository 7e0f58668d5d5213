//! `/dev/outbox`: shows queued mail, in development builds and from loopback only.

use crate::AppState;
use crate::failure::{Failure, internal};
use crate::mail::{self, QueuedMail};
use askama::Template;
use axum::Router;
use axum::extract::{ConnectInfo, State};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use domain::Problem;
use std::net::SocketAddr;

#[derive(Template)]
#[template(
    ext = "html",
    source = "<!doctype html><html lang=en><meta charset=utf-8><title>Outbox</title><h1>Outbox</h1>\
        {% for (to, subject, text) in letters %}<article><h2>{{ subject }}</h2><p>To {{ to }}</p><pre>{{ text }}</pre></article>\
        {% else %}<p>No mail yet.</p>{% endfor %}</html>"
)]
struct Outbox {
    letters: Vec<(String, String, String)>,
}

pub(crate) fn router() -> Router<AppState> {
    Router::new().route("/dev/outbox", get(outbox))
}

async fn outbox(State(app): State<AppState>, ConnectInfo(peer): ConnectInfo<SocketAddr>) -> Result<Response, Failure> {
    if !peer.ip().is_loopback() || !app.config.is_loopback() {
        return Err(Problem::not_found("page").into());
    }
    let mut letters = Vec::new();
    for job in store::job::latest(&app.db, mail::JOB, 50).await? {
        let Ok(QueuedMail { user_id, mail }) = serde_json::from_value(job.payload) else { continue };
        let Some(viewer) = store::account::viewer(&app.db, user_id).await? else { continue };
        if let Ok(rendered) = mail.render(viewer.display_name(), &app.config.public_url) {
            letters.push((viewer.email, rendered.subject, rendered.text));
        }
    }
    let page = Outbox { letters }.render().map_err(|error| internal(&error))?;
    Ok(Html(page).into_response())
}
