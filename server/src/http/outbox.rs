//! `/dev/outbox`: queued mail. `/dev/mail`: also a preview of every mail. `/dev/gallery`: every component. In development builds and from
//! loopback only.

use crate::AppState;
use crate::failure::{Failure, internal};
use crate::http::pages;
use crate::mail::{self, QueuedMail, Recipient, RenderedMail, preview};
use askama::Template;
use axum::Router;
use axum::extract::{ConnectInfo, Path, Request, State};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use domain::Problem;
use http::header;
use std::net::SocketAddr;

/// Number of mails that the outbox shows, newest first.
const SHOWN: i64 = 50;

/// A queued mail.
struct Letter {
    to: String,
    subject: String,
    text: String,
    /// The link of the mail's button; empty if it has none.
    link: String,
}

#[derive(Template)]
#[template(
    ext = "html",
    source = "<!doctype html><html lang=en><meta charset=utf-8><title>{{ title }}</title><h1>{{ title }}</h1>\
        {% if previews.is_empty() %}<p><a href=\"/dev/mail\">All mails</a></p>{% else %}\
        <p>The templates are in <code>server/src/mail/templates</code>.</p>\
        <ul>{% for (name, subject) in previews %}<li>{{ subject }}: <a href=\"/dev/mail/{{ name }}.html\">{{ name }}.html</a>, \
        <a href=\"/dev/mail/{{ name }}.txt\">{{ name }}.txt</a></li>{% endfor %}</ul><h2>Queued mail</h2>{% endif %}\
        {% for letter in letters %}<article><h2>{{ letter.subject }}</h2><p>To {{ letter.to }}</p><pre>{{ letter.text }}</pre>\
        {% if !letter.link.is_empty() %}<p><a href=\"{{ letter.link }}\">{{ letter.link }}</a></p>{% endif %}</article>\
        {% else %}<p>No mail yet.</p>{% endfor %}</html>"
)]
struct MailPage {
    title: &'static str,
    /// Names and subjects of all mails; empty on the outbox page.
    previews: Vec<(&'static str, String)>,
    letters: Vec<Letter>,
}

pub(crate) fn router() -> Router<AppState> {
    Router::new()
        .route("/dev/outbox", get(outbox))
        .route("/dev/mail", get(mails))
        .route("/dev/mail/{file}", get(mail_preview))
}

/// Rejects requests from other machines.
fn check_loopback(app: &AppState, peer: SocketAddr) -> Result<(), Problem> {
    match peer.ip().is_loopback() && app.config.is_loopback() {
        true => Ok(()),
        false => Err(Problem::not_found("page")),
    }
}

/// `GET /dev/gallery`: renders the page of all components.
pub(crate) async fn gallery(
    State(app): State<AppState>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Result<Response, Failure> {
    check_loopback(&app, peer)?;
    Ok(pages::page(State(app), request).await)
}

/// Loads and renders queued mails.
async fn letters(app: &AppState) -> Result<Vec<Letter>, Failure> {
    let mut letters = Vec::new();
    for job in store::job::latest(&app.db, mail::JOB, SHOWN).await? {
        let Ok(queued) = serde_json::from_value::<QueuedMail>(job.payload) else { continue };
        let user = store::account::viewer(&app.db, queued.user_id).await?;
        let Some(to) = queued.recipient(user.as_ref()) else { continue };
        let zone = user.as_ref().map_or("UTC", |user| user.time_zone.as_str());
        let mail = queued.mail.in_zone(&app.db, zone).await?;
        let Ok(RenderedMail { subject, text, .. }) = mail.render(&to, &app.site()) else { continue };
        let link = text.split_whitespace().find(|word| word.starts_with(&app.config.public_url));
        let link = link.unwrap_or_default().to_owned();
        letters.push(Letter { to: to.email, subject, text, link });
    }
    Ok(letters)
}

async fn outbox(State(app): State<AppState>, ConnectInfo(peer): ConnectInfo<SocketAddr>) -> Result<Response, Failure> {
    check_loopback(&app, peer)?;
    let page = MailPage { title: "Outbox", previews: Vec::new(), letters: letters(&app).await? };
    Ok(Html(page.render().map_err(|error| internal(&error))?).into_response())
}

/// Renders a mail for an example recipient.
fn render(app: &AppState, mail: &mail::Mail) -> anyhow::Result<RenderedMail> {
    let to = Recipient { email: "ann@example.com".to_owned(), name: "Ann".to_owned() };
    mail.render(&to, &app.site())
}

async fn mails(State(app): State<AppState>, ConnectInfo(peer): ConnectInfo<SocketAddr>) -> Result<Response, Failure> {
    check_loopback(&app, peer)?;
    let mut previews = Vec::new();
    for (name, mail) in preview::all() {
        previews.push((name, render(&app, &mail)?.subject));
    }
    let page = MailPage { title: "Mails", previews, letters: letters(&app).await? };
    Ok(Html(page.render().map_err(|error| internal(&error))?).into_response())
}

async fn mail_preview(
    State(app): State<AppState>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Path(file): Path<String>,
) -> Result<Response, Failure> {
    check_loopback(&app, peer)?;
    let missing = || Problem::not_found("mail");
    let (name, format) = file.split_once('.').ok_or_else(missing)?;
    let found = preview::all().into_iter().find(|(known, _)| *known == name);
    let (_, mail) = found.ok_or_else(missing)?;
    let RenderedMail { subject, text, html } = render(&app, &mail)?;
    match format {
        // Mails have style attributes, which the policy of other pages forbids.
        "html" => {
            let policy = "default-src 'none'; style-src 'unsafe-inline'";
            Ok(([(header::CONTENT_SECURITY_POLICY, policy)], Html(html)).into_response())
        }
        "txt" => Ok(format!("Subject: {subject}\n\n{text}").into_response()),
        _ => Err(missing().into()),
    }
}
