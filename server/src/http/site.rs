//! Files of the site for programs: `robots.txt`, the sitemap, the feed of changes, and the OpenAPI document.

use crate::AppState;
use crate::failure::Failure;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use domain::{Problem, brand};
use http::header;
use rss::{Channel, Guid, Item};
use std::fmt::Write as _;
use time::format_description::well_known::Rfc2822;
use time::{Date, OffsetDateTime, Time};

/// Paths that search engines shouldn't request: they redirect to the sign-in page, or aren't pages.
const PRIVATE: [&str; 8] = ["/api/", "/fn/", "/chat", "/usage", "/settings", "/billing/", "/admin", "/dev/"];
/// Pages for everyone that have no text in `content/`.
const PAGES: [&str; 4] = ["/", "/pricing", "/sign-up", "/sign-in"];

/// Returns a text that may be cached for an hour.
fn text(kind: &'static str, body: String) -> Response {
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "public, max-age=3600")], body).into_response()
}

/// `GET /robots.txt`
pub(crate) async fn robots(State(app): State<AppState>) -> Response {
    let rules: String = PRIVATE.iter().map(|path| format!("Disallow: {path}\n")).collect();
    let body = format!("User-agent: *\n{rules}\nSitemap: {}/sitemap.xml\n", app.config.public_url);
    text("text/plain; charset=utf-8", body)
}

/// `GET /sitemap.xml`: every page that search engines may list.
pub(crate) async fn sitemap(State(app): State<AppState>) -> Response {
    let url = escape(&app.config.public_url);
    let pages = PAGES.iter().map(|path| ((*path).to_owned(), None)).chain(app.content.pages());
    let mut body = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    body.push_str("<urlset xmlns=\"http://www.sitemaps.org/schemas/sitemap/0.9\">\n");
    for (path, changed) in pages {
        let changed = changed.map(|date| format!("<lastmod>{date}</lastmod>")).unwrap_or_default();
        // Writing to a string can't fail.
        let _ = writeln!(body, "<url><loc>{url}{path}</loc>{changed}</url>");
    }
    body.push_str("</urlset>\n");
    text("application/xml; charset=utf-8", body)
}

/// `GET /openapi.json`: the OpenAPI document of `/v1`.
pub(crate) async fn openapi(State(app): State<AppState>) -> Response {
    text("application/json", app.api_document.to_string())
}

/// Escapes a text for XML. Paths of pages need none.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

/// `GET /changelog.xml`: the changes as RSS, if the site has a changelog.
///
/// # Errors
/// Returns a 404 problem if it has none.
pub(crate) async fn changelog(State(app): State<AppState>) -> Result<Response, Failure> {
    let url = &app.config.public_url;
    let changes = app.content.at("/changelog").ok_or_else(|| Problem::not_found("page"))?;
    let item = |entry: &app::view::content::Entry| {
        let link = format!("{url}{}", entry.path);
        Item {
            title: Some(entry.title.clone()),
            link: Some(link.clone()),
            // Feed readers show the text elsewhere, so its links are absolute.
            description: Some(
                entry
                    .html
                    .replace("href=\"/", &format!("href=\"{url}/"))
                    .replace("href=\"#", &format!("href=\"{url}/changelog#")),
            ),
            guid: Some(Guid { value: link, permalink: true }),
            pub_date: entry.date.and_then(published),
            ..Item::default()
        }
    };
    let channel = Channel {
        title: format!("{}: changelog", brand::NAME),
        link: format!("{url}/changelog"),
        description: format!("What is new in {}.", brand::NAME),
        language: Some("en".to_owned()),
        items: changes.all.iter().map(|entry| item(entry)).collect(),
        ..Channel::default()
    };
    Ok(text("application/rss+xml; charset=utf-8", channel.to_string()))
}

/// Returns a day as RSS writes it.
fn published(date: Date) -> Option<String> {
    OffsetDateTime::new_utc(date, Time::MIDNIGHT).format(&Rfc2822).ok()
}
