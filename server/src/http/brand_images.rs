//! The icons, the web app manifest, and the pictures of shared links.

use crate::AppState;
use crate::brand_images::icons::{self, Icon};
use crate::brand_images::open_graph;
use crate::failure::Failure;
use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use domain::Problem;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};

/// While the brand is being chosen, a browser must not keep the last one.
const KEPT_FOR: &str = if cfg!(debug_assertions) { "no-cache" } else { "public, max-age=86400" };

/// Returns the routes, which need neither a session nor a database.
pub(crate) fn router() -> Router<AppState> {
    Router::new()
        .route("/favicon.svg", get(favicon_svg))
        .route("/favicon.ico", get(favicon_ico))
        .route("/touch-icon.png", get(async || icon(&icons::TOUCH).await))
        .route("/icon-192.png", get(async || icon(&icons::SMALL).await))
        .route("/icon-512.png", get(async || icon(&icons::LARGE).await))
        .route("/icon-maskable.png", get(async || icon(&icons::MASKABLE).await))
        .route("/manifest.webmanifest", get(manifest))
        .route("/og/{file}", get(open_graph_image))
}

fn file(content_type: &'static str, contents: impl Into<Body>) -> Response {
    let body: Body = contents.into();
    ([(CONTENT_TYPE, content_type), (CACHE_CONTROL, KEPT_FOR)], body).into_response()
}

/// The icon has a stylesheet of its own, which chooses a color for the browser's theme.
async fn favicon_svg() -> Response {
    let policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";
    ([(CONTENT_SECURITY_POLICY, policy)], file("image/svg+xml", icons::favicon_svg())).into_response()
}

async fn favicon_ico() -> Result<Response, Failure> {
    Ok(file("image/x-icon", icons::favicon_ico().await?))
}

async fn icon(icon: &'static Icon) -> Result<Response, Failure> {
    Ok(file("image/png", icon.png().await?))
}

async fn manifest() -> Response {
    file("application/manifest+json", icons::manifest().to_string())
}

/// `GET /og/{page}.png`. Only pages of a fixed list have a picture, so the pictures take bounded memory.
async fn open_graph_image(Path(name): Path<String>) -> Result<Response, Failure> {
    let png = match name.strip_suffix(".png") {
        Some(page) => open_graph::png(page).await?,
        None => None,
    };
    Ok(file("image/png", png.ok_or_else(|| Problem::not_found("picture"))?))
}
