//! Walks over all routes of the router: what belongs to others is not found, and no other site can use a route.

use super::{factors, redirect};
use crate::app::{HTTP, PASSWORD, TestApp};
use crate::visitor::{TestClient, problem};
use http::StatusCode;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use uuid::Uuid;

/// Returns the methods and paths of the router, as `server/src/http/routes.rs` has them. Files of the site and the metrics, which have an
/// address of their own, aren't among them.
fn routes() -> BTreeSet<(&'static str, String)> {
    let source = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/http/routes.rs")).unwrap();
    let lines = source.lines().filter(|line| !line.trim_start().starts_with("//"));
    let code: String = lines.flat_map(str::split_whitespace).collect();
    let mut routes = BTreeSet::new();
    for part in code.split("(\"/").skip(1) {
        let (path, handlers) = part.split_once('"').unwrap();
        for (call, method) in [("get(", "GET"), ("post(", "POST"), ("delete(", "DELETE")] {
            if handlers.contains(call) && path != "metrics" {
                routes.insert((method, format!("/{path}")));
            }
        }
    }
    assert!(routes.len() > 50, "{routes:?}");
    for known in [
        ("GET", "/"),
        ("POST", "/sign-in"),
        ("POST", "/settings/sessions/{session_id}/end"),
        ("GET", "/api/turns/{turn_id}/events"),
        ("POST", "/admin/users/{user_id}/act"),
    ] {
        assert!(routes.contains(&(known.0, known.1.to_owned())), "{known:?} in {routes:?}");
    }
    routes
}

/// Ids of one user, by the names that routes have for them.
struct Ids(Vec<(&'static str, String)>);

impl Ids {
    async fn of(app: &TestApp, email: &str) -> Self {
        let id = async |sql: &'static str| -> String {
            sqlx::query_scalar::<_, Uuid>(sql).bind(email).fetch_one(&app.db).await.unwrap().to_string()
        };
        let passkey = "insert into passkey (credential_id, passkey_id, user_id, name, credential, created_at)
                       select '\\x01', gen_random_uuid(), user_id, 'Laptop', '{}', now() from account where email = $1
                       returning passkey_id";
        let share = "insert into share (share_id, user_id, conversation_id, token_hash, title, content, html_version)
                     select gen_random_uuid(), user_id, conversation_id, sha256(email::bytea), title, '[]', 1
                     from conversation join account using (user_id) where email = $1 returning share_id";
        let key = "insert into api_key (api_key_id, user_id, name, prefix, secret_hash, created_at)
                   select gen_random_uuid(), user_id, 'Laptop', 'sk-quotient-AbCd', sha256(convert_to(email, 'UTF8')), now()
                   from account where email = $1 returning api_key_id";
        let attachment = "insert into attachment (attachment_id, user_id, name, kind, media_type, bytes, text, tokens, sha256, created_at)
                          select gen_random_uuid(), user_id, 'a.txt', 'text', 'text/plain', 1, 'a', 1, '', now() from account
                          where email = $1 returning attachment_id";
        let preset = "insert into preset (preset_id, user_id, name, created_at)
                      select gen_random_uuid(), user_id, 'Terse', now() from account where email = $1 returning preset_id";
        Self(vec![
            ("{preset_id}", id(preset).await),
            ("{share_id}", id(share).await),
            ("{token}", "nothing".to_owned()),
            ("{user_id}", id("select user_id from account where email = $1").await),
            (
                "{conversation_id}",
                id("select conversation_id from conversation join account using (user_id) where email = $1").await,
            ),
            ("{turn_id}", id("select turn_id from turn join account using (user_id) where email = $1").await),
            ("{session_id}", id("select session_id from session join account using (user_id) where email = $1").await),
            ("{passkey_id}", id(passkey).await),
            ("{key_id}", id(key).await),
            ("{attachment_id}", id(attachment).await),
            ("{model}", "claude-haiku-4-5".to_owned()),
            ("{plan}", "free".to_owned()),
            ("{provider}", "anthropic".to_owned()),
            ("{name}", "health".to_owned()),
            ("{*name}", "quota".to_owned()),
            ("{topic}", "nothing".to_owned()),
            ("{post}", "nothing".to_owned()),
        ])
    }

    fn get(&self, name: &str) -> &str {
        &self.0.iter().find(|(known, _)| *known == name).unwrap().1
    }

    /// Fills in the parameters of a path.
    fn fill(&self, path: &str) -> String {
        let path = self.0.iter().fold(path.to_owned(), |path, (name, id)| path.replace(name, id));
        assert!(!path.contains('{'), "an unknown parameter in {path}");
        path
    }
}

/// Every route with a parameter returns 404 to a user for what belongs to another, and changes nothing.
#[tokio::test]
async fn nothing_of_another_user_is_found() {
    let app = TestApp::new().await;
    let (ann, eve) = (app.user("ann@example.com").await, app.user("eve@example.com").await);
    ann.send_and_read("{{words:3}}").await;
    let ids = Ids::of(&app, "ann@example.com").await;
    let mut walked = 0;
    let takes_form = |path: &str| path.contains('{') && !path.starts_with("/fn/{*") && !path.ends_with("/feedback");
    for (method, path) in routes().into_iter().filter(|(_, path)| takes_form(path)) {
        let filled = ids.fill(&path);
        let answer = eve
            .request(method, &filled)
            .form(&[("why", "mine"), ("plan", "max"), ("act", "make_admin"), ("name", "mine")])
            .send();
        assert_eq!(answer.await.unwrap().status(), StatusCode::NOT_FOUND, "{method} {path}");
        walked += 1;
    }
    assert!(walked >= 16, "{walked}");
    let (conversation, turn) = (ids.get("{conversation_id}"), ids.get("{turn_id}"));
    let feedback = format!("/api/turns/{turn}/feedback");
    for (path, body) in [
        (feedback.as_str(), json!({"good": true})),
        ("/api/chat", json!({"text": "hi", "conversation_id": conversation})),
        ("/api/chat", json!({"text": "{{words:3}}", "model": "claude-haiku-4-5", "turn_id": turn})),
        ("/api/chat", json!({"text": "hi", "conversation_id": conversation, "parent_id": "root"})),
        ("/api/chat", json!({"retry_of": turn})),
        ("/api/estimate", json!({"text": "hi", "conversation_id": conversation})),
    ] {
        let answer = eve.request("POST", path).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path} {body}");
        assert_eq!(problem(answer).await["kind"], "not_found", "{path} {body}");
    }
    assert_eq!(ann.get(&format!("/chat/{conversation}")).await.status(), StatusCode::OK);
    assert_eq!(ann.get(&format!("/api/turns/{turn}/events")).await.status(), StatusCode::OK);
    assert_eq!(app.provider.served_calls().len(), 1);
    assert!(
        app.one::<bool>(
            "select not exists (select from audit) and bool_and(role = 'member' and plan_id = 'free') from account"
        )
        .await
    );
}

/// The routes that need no user, but for server functions, which check their user themselves.
const PUBLIC: [&str; 35] = [
    "/",
    "/pricing",
    "/terms",
    "/privacy",
    "/imprint",
    "/help",
    "/help/{topic}",
    "/blog",
    "/blog/{post}",
    "/changelog",
    "/changelog.xml",
    "/openapi.json",
    "/docs/api",
    "/status",
    "/robots.txt",
    "/sitemap.xml",
    "/theme",
    "/api/demo",
    "/sign-up",
    "/sign-in",
    "/sign-in/second",
    "/sign-in/passkey/begin",
    "/sign-in/passkey/finish",
    "/sign-in/with/{provider}",
    "/sign-in/callback/{provider}",
    "/sign-out",
    "/verify",
    "/forgot",
    "/reset",
    "/email/undo",
    "/healthz",
    "/readyz",
    "/stripe/webhook",
    "/dev/gallery",
    "/share/{token}",
];

/// Asserts that a client gets nowhere that needs a user: pages lead to the sign-in, the API says 401, and what belongs to admins doesn't
/// exist.
async fn reaches_only_public_routes(client: &TestClient, ids: &Ids) {
    let is_public = |path: &str| PUBLIC.contains(&path) || path.starts_with("/fn/{*");
    let mut walked = 0;
    for (method, path) in routes().into_iter().filter(|(_, path)| !is_public(path)) {
        let status = client.request(method, &ids.fill(&path)).send().await.unwrap().status();
        let expected: &[StatusCode] = match path.as_str() {
            path if path.starts_with("/admin") || path.starts_with("/fn/admin") => &[StatusCode::NOT_FOUND],
            path if path.starts_with("/api/") => &[StatusCode::UNAUTHORIZED],
            _ => &[StatusCode::SEE_OTHER, StatusCode::UNAUTHORIZED],
        };
        assert!(expected.contains(&status), "{method} {path}: {status}");
        walked += 1;
    }
    assert!(walked > 50, "{walked}");
}

#[tokio::test]
async fn signed_out_visitors_reach_only_public_routes() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    ann.send_and_read("{{words:1}}").await;
    let ids = Ids::of(&app, "ann@example.com").await;
    reaches_only_public_routes(&app.visitor(), &ids).await;
    assert_eq!(app.one::<i64>("select count(*) from conversation").await, 1);
}

/// Whoever knows only the password of a user with an authenticator app gets nowhere either.
#[tokio::test]
async fn a_session_that_waits_for_a_second_factor_opens_nothing() {
    let app = TestApp::new().await;
    let mut admin = app.user("admin@example.com").await;
    admin.send_and_read("{{words:1}}").await;
    factors::set_up(&mut admin).await;
    let ids = Ids::of(&app, "admin@example.com").await;
    let eve = factors::enter_password(&app, "admin@example.com", PASSWORD).await;
    reaches_only_public_routes(&eve, &ids).await;
    assert_eq!(eve.get("/sign-in/second").await.status(), StatusCode::OK, "it still waits");
    assert_eq!(
        eve.request("POST", "/fn/quota").form(&[("name", "Ann")]).send().await.unwrap().status(),
        StatusCode::UNAUTHORIZED
    );
    assert!(app.one::<bool>("select exists (select from totp) and exists (select from conversation)").await);
}

/// The routes that prove a second factor.
const CONFIRMATION: [&str; 3] =
    ["/sign-in/confirm", "/sign-in/confirm/passkey/begin", "/sign-in/confirm/passkey/finish"];
/// The routes that users need before they have a second factor: to add it, to verify the address, which comes before, and to delete the account.
const ACCOUNT: [&str; 19] = [
    "/verify/resend",
    "/settings",
    "/settings/email",
    "/settings/password",
    "/settings/password/remove",
    "/settings/security",
    "/settings/security/totp",
    "/settings/security/totp/remove",
    "/settings/security/recovery",
    "/settings/passkeys/begin",
    "/settings/passkeys/finish",
    "/settings/passkeys/{passkey_id}/rename",
    "/settings/passkeys/{passkey_id}/remove",
    "/settings/identities/{provider}/link",
    "/settings/identities/{provider}/unlink",
    "/settings/sessions/{session_id}/end",
    "/settings/sessions/end-others",
    "/settings/data",
    "/settings/delete",
];
/// The routes outside of `/api/` that scripts request.
const SCRIPTS: [&str; 4] = ["/chat/{conversation_id}/messages", "/chat/list", "/search/results", "/fn/{*name}"];

/// Asserts that a client is led to the page `to` by everything that needs a user, except some routes.
async fn is_led_to(client: &TestClient, ids: &Ids, to: &str, except: &[&str]) {
    let mut walked = 0;
    for (method, path) in routes().into_iter().filter(|(_, path)| !PUBLIC.contains(&path.as_str())) {
        if except.contains(&path.as_str()) {
            continue;
        }
        let answer = client.request(method, &ids.fill(&path)).send().await.unwrap();
        match path.as_str() {
            path if path.starts_with("/admin") || path.starts_with("/fn/admin") => {
                assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{method} {path}");
            }
            path if path.starts_with("/api/") || SCRIPTS.contains(&path) => {
                assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{method} {path}");
                assert_eq!(problem(answer).await["kind"], "sign_in_required", "{method} {path}");
            }
            path => assert!(redirect(&answer).starts_with(to), "{method} {path}: {answer:?}"),
        }
        walked += 1;
    }
    assert!(walked > 50, "{walked}");
}

/// With `REQUIRE_MFA`, a session that was proved with one factor opens nothing of its user: it proves the second factor first, or adds it.
#[tokio::test]
async fn a_session_without_a_required_factor_opens_only_what_proves_or_adds_it() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    ann.send_and_read("{{words:1}}").await;
    // With a passkey.
    let ids = Ids::of(&app, "ann@example.com").await;
    let (url, _stop) = app.start_second_with(|config| config.require_mfa = true).await;
    let ann = TestClient { url, ..ann };
    is_led_to(&ann, &ids, "/sign-in/confirm?", &CONFIRMATION).await;
    app.sql("delete from passkey").await;
    is_led_to(&ann, &ids, "/settings/security?required=mfa", &[&CONFIRMATION[..], &ACCOUNT[..]].concat()).await;
    for path in ["/", "/pricing", "/verify", "/settings", "/settings/security", "/settings/data", "/sign-in/confirm"] {
        assert_eq!(ann.get(path).await.status(), StatusCode::OK, "{path}");
    }
    let kept =
        "select exists (select from conversation) and exists (select from share) and exists (select from api_key)";
    assert!(app.one::<bool>(kept).await);
}

/// A form or a fetch that another site makes a browser send is refused on every route, whatever the user may do here.
#[tokio::test]
async fn no_route_accepts_requests_of_other_sites() {
    let app = TestApp::new().await;
    let admin = app.user("admin@example.com").await;
    admin.send_and_read("{{words:3}}").await;
    let ids = Ids::of(&app, "admin@example.com").await;
    let foreign = [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("origin", "https://evil.example"),
        ("origin", "null"),
    ];
    for (_, path) in routes().into_iter().filter(|(method, path)| *method == "POST" && path != "/stripe/webhook") {
        let filled = ids.fill(&path);
        for (name, value) in foreign {
            let request = || admin.request("POST", &filled).header(name, value);
            let form = request().form(&[("password", PASSWORD), ("text", "hi"), ("plan", "max"), ("why", "mine")]);
            let fetch = request().json(&json!({"text": "hi", "zone": "Europe/Berlin"}));
            for sent in [form, fetch] {
                let answer = sent.send().await.unwrap();
                assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{path} {name}: {value}");
                assert_eq!(answer.json::<Value>().await.unwrap()["problem"]["kind"], "forbidden", "{path}");
            }
        }
    }
    assert_eq!(admin.get("/admin").await.status(), StatusCode::OK, "still signed in, and the account exists");
    assert_eq!(app.provider.served_calls().len(), 1);
    assert!(
        app.one::<bool>("select not exists (select from audit) and bool_and(time_zone = 'UTC') from account").await
    );
    // Stripe is no browser: its requests are proved by their signature.
    let unsigned = HTTP.post(format!("{}/stripe/webhook", app.url)).header("origin", "https://evil.example").body("{}");
    assert_eq!(unsigned.send().await.unwrap().status(), StatusCode::BAD_REQUEST);
}
