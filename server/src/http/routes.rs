//! All routes with their guards and middleware.

use crate::accounts::session;
use crate::failure::Failure;
use crate::http::error::panicked;
use crate::http::pages::{content, missing, page, provide, wrong_method};
use crate::http::protect::{name_forbidden_user, protect};
use crate::http::viewer::{
    admins, fully_confirmed, identify, no_factor_or_two, recently_confirmed, signed_in, two_factors,
    two_factors_of_scripts, verified,
};
use crate::http::{
    admin, admin_import, admin_provider, admin_retention, admin_user, attachments, auth, billing, brand_images,
    browser, chat, chat_settings, conversations, data, demo, export, factors, identity, import, keys, messages,
    passkeys, request_span, reset, second_factor, security, settings, share, site, static_files, theme, top_users,
    turns, v1, verify,
};
use crate::{AppState, telemetry};
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{from_fn, from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, post};
use domain::{Problem, ProblemKind};
use http::{HeaderName, HeaderValue, header};
use std::net::SocketAddr;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::csrf::CsrfLayer;
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::trace::TraceLayer;

/// Browser features that no page uses; they are disabled, so that injected code can't use them.
const PERMISSIONS: &str = "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), magnetometer=(), microphone=(), midi=(), payment=(), usb=()";
/// A year of https only, for subdomains as well: what OWASP's ASVS requires from level 2 on.
const TRANSPORT_SECURITY: &str = "max-age=31536000; includeSubDomains";

/// Returns the routes for admins. Other users get 404.
fn for_admins() -> Vec<(&'static str, MethodRouter<AppState>)> {
    let catalogue = DefaultBodyLimit::max(admin_import::MAX_BYTES);
    vec![
        ("/admin", get(top_users::top_users)),
        ("/admin/refresh", post(top_users::refresh_report)),
        ("/admin/export.csv", get(export::csv).layer(from_fn(recently_confirmed))),
        ("/admin/export.json", get(export::json).layer(from_fn(recently_confirmed))),
        ("/admin/models", get(page)),
        ("/admin/models/{model}", post(admin::set_model).layer(from_fn(recently_confirmed))),
        ("/admin/models/{model}/price", post(admin::add_price).layer(from_fn(recently_confirmed))),
        ("/admin/models/{model}/test", post(admin_provider::test_model)),
        ("/admin/models/import", post(admin_import::compare).layer(catalogue)),
        ("/admin/models/import/apply", post(admin_import::apply).layer(catalogue).layer(from_fn(recently_confirmed))),
        ("/admin/providers", get(page).merge(post(admin_provider::save).layer(from_fn(recently_confirmed)))),
        ("/admin/providers/{provider}/remove", post(admin_provider::remove).layer(from_fn(recently_confirmed))),
        ("/admin/global", post(admin::set_global).layer(from_fn(recently_confirmed))),
        ("/admin/health", get(page)),
        ("/admin/health/reconcile", post(admin::reconcile)),
        ("/admin/health/replay", post(admin::replay)),
        ("/admin/health/clear", post(admin::clear_flag)),
        ("/admin/audit", get(page)),
        ("/admin/plans", get(page)),
        ("/admin/plans/{plan}", post(admin::set_plan_rules).layer(from_fn(recently_confirmed))),
        ("/admin/retention", post(admin_retention::set_retention).layer(from_fn(recently_confirmed))),
        ("/admin/users", get(page)),
        ("/admin/users/{user_id}", get(page)),
        ("/admin/users/{user_id}/plan", post(admin_user::set_plan).layer(from_fn(recently_confirmed))),
        (
            "/admin/users/{user_id}/keys/{key_id}/revoke",
            post(admin_user::revoke_key).layer(from_fn(recently_confirmed)),
        ),
        ("/admin/users/{user_id}/act", post(admin_user::act).layer(from_fn(recently_confirmed))),
        // Server functions of the admin pages. They share this prefix, so the guard rejects other users before the body is read.
        ("/fn/admin_{name}", post(server_function)),
    ]
}

/// Returns the paths of all admin routes as the router has them. A test requests each of them as another user.
#[must_use]
pub fn admin_paths() -> Vec<&'static str> {
    for_admins().into_iter().map(|(path, _)| path).collect()
}

/// Returns the routes of the ways to sign in, for signed-in users. Those that change one require a recent proof of identity and of the second
/// factor, if there is one; those that add one also require a verified address.
fn factor_routes(app: &AppState) -> Router<AppState> {
    let additions = Router::new()
        .route("/settings/passkeys/begin", post(passkeys::begin_registration))
        .route("/settings/passkeys/finish", post(passkeys::finish_registration))
        .route("/settings/security/totp", get(factors::totp_page).post(factors::confirm_totp))
        .route("/settings/identities/{provider}/link", post(identity::link))
        .route("/settings/keys", post(keys::create).layer(from_fn_with_state(app.clone(), two_factors)))
        .route_layer(from_fn_with_state(app.clone(), verified));
    let changes = additions
        .route("/settings/identities/{provider}/unlink", post(identity::unlink))
        .route("/settings/passkeys/{passkey_id}/remove", post(passkeys::remove))
        .route("/settings/security/totp/remove", post(factors::remove_totp))
        .route("/settings/security/recovery", get(page).post(factors::regenerate))
        .route("/settings/password/remove", post(factors::remove_password))
        .route_layer(from_fn_with_state(app.clone(), fully_confirmed));
    Router::new().route("/settings/passkeys/{passkey_id}/rename", post(passkeys::rename)).merge(changes)
}

/// Returns the routes that users need before they have a second factor, where one is required: they add it, verify the address, which comes
/// before, or delete the account.
fn account_routes(app: &AppState) -> Router<AppState> {
    Router::new()
        .route("/verify/resend", post(verify::resend))
        .route("/settings", get(page))
        .route("/settings/email", post(settings::change_email))
        .route("/settings/security", get(page))
        .route("/settings/password", post(security::password))
        .route("/settings/sessions/{session_id}/end", post(security::end_session))
        .route("/settings/sessions/end-others", post(security::end_other_sessions))
        .route("/settings/data", get(page))
        .route("/settings/delete", post(data::delete))
        .merge(factor_routes(app))
        .route_layer(from_fn_with_state(app.clone(), no_factor_or_two))
}

/// Returns the routes that change conversations and their list.
fn conversation_routes() -> Router<AppState> {
    Router::new()
        .route("/chat/sidebar", post(conversations::sidebar))
        .route("/chat/{conversation_id}/edit", get(page))
        .route("/chat/{conversation_id}/rename", post(conversations::rename))
        .route("/chat/{conversation_id}/pin", post(conversations::pin))
        .route("/chat/{conversation_id}/archive", post(conversations::archive))
        .route("/chat/{conversation_id}/delete", post(conversations::delete))
        .route("/chat/{conversation_id}/restore", post(conversations::restore))
}

/// Returns the routes of users' settings for their conversations, for signed-in users.
fn chat_settings_routes() -> Router<AppState> {
    Router::new()
        .route("/settings/chat", get(page))
        .route("/settings/chat/instructions", post(chat_settings::set_instructions))
        .route("/settings/chat/presets", post(chat_settings::create_preset))
        .route("/settings/chat/presets/{preset_id}", post(chat_settings::change_preset))
        .route("/settings/chat/presets/{preset_id}/delete", post(chat_settings::delete_preset))
        .route("/chat/{conversation_id}/settings", post(chat_settings::set))
        .route("/chat/{conversation_id}/end", post(chat_settings::end_temporary))
}

/// Returns the routes of exports and imports of conversations, for signed-in users.
fn transfer_routes() -> Router<AppState> {
    Router::new()
        .route("/settings/shares", get(page))
        .route("/settings/shares/{share_id}/revoke", post(share::revoke))
        .route("/settings/import", get(page).post(import::upload).layer(DefaultBodyLimit::max(import::MAX_BODY)))
        .route("/chat/{conversation_id}/share", post(share::create))
        .route("/chat/{conversation_id}/export", get(data::export_conversation))
}

/// Returns the other routes of the account's settings, for signed-in users.
fn settings_routes() -> Router<AppState> {
    Router::new()
        .route("/settings/name", post(settings::name))
        .route("/settings/time-zone", post(settings::time_zone))
        .route("/settings/keys", get(page))
        .route("/settings/keys/{key_id}", get(page).post(keys::update))
        .route("/settings/keys/{key_id}/pause", get(page).post(keys::pause))
        .route("/settings/keys/{key_id}/resume", post(keys::resume))
        .route("/settings/keys/{key_id}/revoke", post(keys::revoke))
        .route("/settings/billing", get(page))
}

/// Returns the routes of the pages whose text the site's owner writes.
fn site_routes() -> Router<AppState> {
    Router::new()
        .route("/terms", get(content))
        .route("/privacy", get(content))
        .route("/imprint", get(content))
        .route("/help", get(content))
        .route("/help/{topic}", get(content))
        .route("/blog", get(content))
        .route("/blog/{post}", get(content))
        .route("/changelog", get(content))
        .route("/status", get(content))
        .route("/docs/api", get(content))
}

/// Returns the routes of the chat and the demo. `/api/chat` and `/api/demo` are the only ones that spend money, apart from those of `v1`. All admit
/// their call in `turn`.
fn api_routes(app: &AppState) -> Router<AppState> {
    Router::new()
        .route("/api/chat", post(chat::send))
        .route("/api/attachments", post(attachments::create))
        .route("/api/attachments/{attachment_id}", delete(attachments::delete))
        .route("/api/turns/{turn_id}", get(turns::status))
        .route("/api/turns/{turn_id}/events", get(chat::events))
        .route("/api/turns/{turn_id}/feedback", post(turns::feedback))
        .route("/api/turns/{turn_id}/stop", post(chat::stop))
        .route("/api/turns/{turn_id}/text", get(turns::text))
        .route("/api/conversations/{conversation_id}/title", get(conversations::title))
        .route("/api/quota", get(chat::quota))
        .route("/api/estimate", post(chat::estimate))
        .route_layer(from_fn_with_state(app.clone(), two_factors_of_scripts))
        .route("/api/demo", post(demo::answer))
}

/// Returns the other routes that scripts request: they respond with 401 and not with the way to the sign-in page.
fn script_routes(app: &AppState) -> Router<AppState> {
    Router::new()
        .route("/chat/{conversation_id}/messages", get(messages::messages))
        .route("/chat/list", get(conversations::list))
        .route("/search/results", get(conversations::search_results))
        .route("/fn/{*name}", post(server_function))
        .route_layer(from_fn_with_state(app.clone(), two_factors_of_scripts))
}

/// Returns the routes without a session: Stripe's webhook, which is authenticated by its signature, and the pages for developers.
fn without_session() -> Router<AppState> {
    let stripe =
        Router::new().route("/stripe/webhook", post(billing::webhook)).layer(DefaultBodyLimit::max(1024 * 1024));
    #[cfg(debug_assertions)]
    let stripe = stripe.merge(crate::http::outbox::router()).route("/dev/gallery", get(crate::http::outbox::gallery));
    stripe
}

/// Builds the complete router.
pub(crate) fn router(app: &AppState) -> Router {
    let for_everyone = Router::new()
        .route("/", get(page))
        .route("/pricing", get(page))
        .merge(site_routes())
        .route("/theme", post(theme::set))
        .route("/sign-up", get(auth::form_page).post(auth::sign_up))
        .route("/sign-in", get(auth::form_page).post(auth::sign_in))
        .route("/sign-in/second", get(second_factor::show).post(second_factor::submit))
        .route("/sign-in/passkey/begin", post(passkeys::begin_sign_in))
        .route("/sign-in/passkey/finish", post(passkeys::finish_sign_in))
        .route("/sign-out", post(auth::sign_out))
        .route("/sign-in/with/{provider}", post(identity::begin))
        .route("/sign-in/callback/{provider}", get(identity::callback))
        .route("/verify", get(page).post(verify::verify))
        .route("/email/undo", get(page).post(verify::undo_email))
        .route("/forgot", get(page).post(reset::forgot))
        .route("/reset", get(page).post(reset::reset))
        .route("/share/{token}", get(share::show))
        .merge(script_routes(app))
        .method_not_allowed_fallback(wrong_method);
    let for_viewers = Router::new()
        .route("/chat", get(page))
        .route("/chat/{conversation_id}", get(page))
        .route("/chat/archived", get(page))
        .route("/search", get(page))
        .route("/usage", get(page))
        .route("/usage.csv", get(export::own))
        .merge(settings_routes())
        .merge(transfer_routes())
        .route("/billing/checkout", post(billing::checkout))
        .route("/billing/portal", post(billing::portal))
        .route("/billing/return", get(billing::handle_return))
        .route("/chat/{conversation_id}/branch", post(messages::select_branch))
        .merge(conversation_routes())
        .merge(chat_settings_routes())
        .route_layer(from_fn_with_state(app.clone(), two_factors))
        .merge(account_routes(app))
        .route("/sign-in/confirm", get(page).post(auth::confirm))
        .route("/sign-in/confirm/passkey/begin", post(passkeys::begin_confirmation))
        .route("/sign-in/confirm/passkey/finish", post(passkeys::finish_confirmation))
        .route_layer(from_fn(signed_in))
        .method_not_allowed_fallback(wrong_method);
    let for_admins = for_admins()
        .into_iter()
        .fold(Router::new(), |router, (path, methods)| router.route(path, methods))
        .route_layer(from_fn_with_state(app.clone(), admins));
    // A ZIP is compressed already, and so are images and PDFs.
    let archives = Router::new()
        .route("/settings/data/export", post(data::export_all).layer(from_fn(recently_confirmed)))
        .route("/settings/data/conversations.zip", post(data::export_conversations).layer(from_fn(recently_confirmed)))
        .route("/attachments/{attachment_id}", get(attachments::show))
        .route_layer(from_fn_with_state(app.clone(), two_factors))
        .route_layer(from_fn(signed_in))
        .method_not_allowed_fallback(wrong_method);
    let known = for_everyone
        .merge(for_viewers)
        .merge(for_admins)
        .layer(CompressionLayer::new())
        .merge(archives)
        // Streams aren't compressed: each would need the memory of an encoder.
        .merge(api_routes(app))
        .fallback(missing);
    let router = Router::new()
        .merge(without_session())
        .merge(v1::routes(app))
        .route("/healthz", get(async || "ok"))
        .route("/readyz", get(ready))
        .merge(files(app).merge(brand_images::router()).layer(CompressionLayer::new()))
        .merge(guarded(known, app));
    with_headers(router, app).with_state(app.clone())
}

/// Adds the middleware of every page, form and API call, from the last to the first: the identification of the user, their session, the
/// size of bodies, the check of the request's origin, and limits that cost nothing.
fn guarded(router: Router<AppState>, app: &AppState) -> Router<AppState> {
    router
        .layer(from_fn(name_forbidden_user))
        .layer(from_fn_with_state(app.clone(), identify))
        .layer(session::layer(app.db.clone(), app.config.is_https()))
        .layer(map_response(browser::set_cookie))
        .layer(DefaultBodyLimit::max(64 * 1024))
        .layer(CsrfLayer::new().with_rejection_response(|_| {
            Failure(Problem::new(ProblemKind::Forbidden, "This request came from another site and was refused."))
                .into_response()
        }))
        .layer(from_fn_with_state(app.clone(), protect))
        // Pages, forms, the API and exports are personal, and so are their redirects and refusals.
        .layer(SetResponseHeaderLayer::if_not_present(
            header::CACHE_CONTROL,
            HeaderValue::from_static("private, no-store"),
        ))
}

/// Adds the headers of every response, the log's spans, and request ids.
fn with_headers(router: Router<AppState>, app: &AppState) -> Router<AppState> {
    let router = router
        .layer(CatchPanicLayer::custom(panicked))
        .layer(always("x-content-type-options", "nosniff"))
        .layer(always("referrer-policy", "strict-origin-when-cross-origin"))
        .layer(always("cross-origin-opener-policy", "same-origin"))
        .layer(always("permissions-policy", PERMISSIONS))
        .layer(SetResponseHeaderLayer::if_not_present(
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
        ))
        .layer(PropagateRequestIdLayer::x_request_id())
        .layer(TraceLayer::new_for_http().make_span_with(request_span::of).on_failure(()))
        .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid));
    match app.config.is_https() {
        true => router.layer(always("strict-transport-security", TRANSPORT_SECURITY)),
        false => router,
    }
}

fn always(name: &'static str, value: &'static str) -> SetResponseHeaderLayer<HeaderValue> {
    SetResponseHeaderLayer::overriding(HeaderName::from_static(name), HeaderValue::from_static(value))
}

/// Returns the files of the built site, and those that are written here.
fn files(app: &AppState) -> Router<AppState> {
    static_files::routes(app)
        .route("/robots.txt", get(site::robots))
        .route("/sitemap.xml", get(site::sitemap))
        .route("/changelog.xml", get(site::changelog))
        .route("/openapi.json", get(site::openapi))
}

async fn server_function(State(app): State<AppState>, request: Request) -> Response {
    let (state, reload) = (app.page_state(), app.config.live_reload_port);
    leptos_axum::handle_server_fns_with_context(move || provide(&state, reload), request).await.into_response()
}

async fn ready(State(app): State<AppState>) -> Result<&'static str, Failure> {
    app.ready().await?;
    Ok("ready")
}

/// Serves `/metrics` on its own address, which must not be public.
pub(crate) async fn serve_metrics(addr: SocketAddr) {
    let handle = telemetry::metrics();
    let router = Router::new().route("/metrics", get(async || handle.render()));
    let served = async { axum::serve(tokio::net::TcpListener::bind(addr).await?, router).await };
    if let Err(error) = served.await {
        tracing::error!(%error, %addr, "metrics server failed");
    }
}
