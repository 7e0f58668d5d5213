//! Files of the built site: wasm and scripts, styles, fonts.

use crate::AppState;
use axum::Router;
use axum::middleware::map_response;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use tower_http::services::{ServeDir, ServeFile};

/// For files that never change under the same name.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";
/// For files that change under the same name: browsers ask at each use whether theirs is still current. Without it they would guess.
const REVALIDATED: &str = "no-cache";
/// For a file that this server doesn't have. While releases are exchanged, a page of one server names files that another one doesn't have yet, and
/// a browser or a proxy that kept the 404 would stay without the file.
const MISSING: &str = "no-store";

/// Returns the routes of the files.
pub(super) fn routes(app: &AppState) -> Router<AppState> {
    let root = &app.config.site_root;
    let folder = |name: &str| ServeDir::new(root.join(name)).precompressed_br().precompressed_gzip();
    let scripts = ["password.js", "passkey.js", "demo.js", "copy.js"].into_iter();
    let scripts = scripts.fold(Router::<AppState>::new(), |router, name| {
        router.route_service(&format!("/{name}"), ServeFile::new(root.join(name)))
    });
    Router::<AppState>::new()
        .nest_service("/fonts", folder("fonts"))
        .route_layer(map_response(immutable))
        .merge(Router::<AppState>::new().nest_service("/pkg", folder("pkg")).route_layer(map_response(hashed)))
        .merge(scripts.route_layer(map_response(revalidated)))
}

/// Release builds have content hashes in file names; in development a file changes under the same name.
async fn hashed(response: Response) -> Response {
    kept(response, if cfg!(debug_assertions) { REVALIDATED } else { IMMUTABLE })
}

async fn immutable(response: Response) -> Response {
    kept(response, IMMUTABLE)
}

async fn revalidated(response: Response) -> Response {
    kept(response, REVALIDATED)
}

/// Sets how a response is cached that has a file, or says that the client's copy is current.
fn kept(mut response: Response, control: &'static str) -> Response {
    let has_file = response.status().is_success() || response.status() == StatusCode::NOT_MODIFIED;
    let control = HeaderValue::from_static(if has_file { control } else { MISSING });
    response.headers_mut().insert(header::CACHE_CONTROL, control);
    response
}
