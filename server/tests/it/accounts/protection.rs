//! Headers of every response, forged addresses, and bounds on bodies and streams.

use super::{is_limited, shows};
use crate::app::TestApp;
use crate::visitor::{EventReader, TestClient, problem};
use domain::TurnEvent;
use http::StatusCode;
use serde_json::json;

const HTTPS: [(&str, &str); 2] = [("PUBLIC_URL", "https://chat.example.com"), ("TRUSTED_PROXIES", "none")];

#[tokio::test]
async fn every_response_has_the_headers_that_protect() {
    let (plain, https) = (TestApp::new().await, TestApp::with(&HTTPS).await);
    for path in ["/", "/sign-in", "/settings", "/nothing", "/api/quota", "/api/nothing", "/healthz", "/favicon.svg"] {
        for (app, hsts) in [(&plain, None), (&https, Some("max-age=31536000; includeSubDomains"))] {
            let answer = app.visitor().get(path).await;
            let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
            assert_eq!(header("strict-transport-security").as_deref(), hsts, "{path}");
            let permissions = header("permissions-policy").unwrap_or_default();
            for feature in ["camera=()", "microphone=()", "geolocation=()", "payment=()"] {
                assert!(permissions.contains(feature), "{path}: {permissions}");
            }
            assert_eq!(header("x-content-type-options").as_deref(), Some("nosniff"), "{path}");
            assert!(header("content-security-policy").is_some_and(|policy| policy.contains("frame-ancestors 'none'")));
            assert_eq!(header("access-control-allow-origin"), None, "{path}");
            assert!(header("x-request-id").is_some());
        }
    }
    // Nothing in /dev is reachable under a public URL.
    for path in ["/dev/mail", "/dev/outbox", "/dev/mail/verify_email.html"] {
        assert_eq!(https.visitor().get(path).await.status(), StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn nothing_personal_is_stored_by_caches() {
    let app = TestApp::new().await;
    let (ann, admin) = (app.user("ann@example.com").await, app.user("admin@example.com").await);
    let chat = ann.send_message("{{words:1}}").await;
    let mut answers = vec![("POST /api/chat".to_owned(), chat)];
    for path in [
        "/chat",
        "/usage",
        "/usage.csv?days=7",
        "/settings",
        "/settings/security",
        "/settings/data",
        "/settings/billing",
        "/pricing",
        "/verify",
        "/sign-in/confirm",
        "/api/quota",
        "/api/turns/x/events",
        "/api/nothing",
        "/nothing",
        "/admin",
    ] {
        answers.push((path.to_owned(), ann.get(path).await));
        answers.push((format!("{path}, signed out"), app.visitor().get(path).await));
    }
    for path in ["/admin", "/admin/export.csv", "/admin/export.json", "/admin/users"] {
        answers.push((path.to_owned(), admin.get(path).await));
    }
    for path in
        ["/fn/quota", "/fn/security", "/api/estimate", "/settings/name", "/settings/password", "/sign-in", "/forgot"]
    {
        answers
            .push((format!("POST {path}"), ann.request("POST", path).form(&[("name", "Ann")]).send().await.unwrap()));
    }
    for (what, answer) in answers {
        let control = answer.headers().get("cache-control").map(|value| value.to_str().unwrap());
        assert!(control.is_some_and(|control| control.contains("no-store")), "{what}: {control:?}");
    }
}

/// Field note 65: an address in a header of a peer that isn't a trusted proxy is ignored, and the owner is told.
#[tokio::test]
async fn forged_addresses_are_ignored_and_shown_to_the_owner() {
    let app = TestApp::new().await;
    let admin = app.user("admin@example.com").await;
    let told = "had an X-Forwarded-For header that was ignored";
    assert!(!admin.text("/admin/health").await.contains(told));
    let guess = async |n: u8| {
        let form = app.visitor().request("POST", "/sign-in").header("x-forwarded-for", format!("203.0.113.{n}"));
        form.form(&[("email", "admin@example.com"), ("password", "wrong password")]).send().await.unwrap()
    };
    for n in 0..10 {
        assert_eq!(guess(n).await.status(), StatusCode::UNPROCESSABLE_ENTITY);
    }
    is_limited(guess(10).await).await;
    let health = admin.text("/admin/health").await;
    assert!(health.contains("11 requests") && health.contains(told) && health.contains("127.0.0.1"), "{health}");
}

#[tokio::test]
async fn bodies_of_forms_are_bounded() {
    let app = TestApp::new().await;
    let mut ann = app.user("ann@example.com").await;
    let long = "x".repeat(65 * 1024);
    for path in ["/sign-up", "/sign-in", "/forgot", "/reset", "/verify", "/settings/name", "/settings/password"] {
        let answer = ann
            .form(path, &[("name", long.as_str()), ("email", "eve@example.com"), ("password", "long enough here")])
            .await;
        let status = answer.status();
        assert!(
            [StatusCode::UNPROCESSABLE_ENTITY, StatusCode::PAYLOAD_TOO_LARGE].contains(&status),
            "{path}: {status}"
        );
    }
    assert!(app.one::<bool>("select count(*) = 1 and bool_and(name = '') from account").await);
    let page = ann.form("/settings/name", &[("name", "Ann")]).await;
    assert_eq!(page.status(), StatusCode::SEE_OTHER);
}

/// A user has at most 32 open streams in all tabs and devices together. A closed one makes room.
#[tokio::test]
async fn open_streams_are_capped_per_user() {
    let app = TestApp::new().await;
    let (ann, bob) = (app.user("ann@example.com").await, app.user("bob@example.com").await);
    let mut first = EventReader::new(ann.send_message("{{words:4}}{{hold}}").await);
    let Some((_, TurnEvent::Turn { turn_id, .. })) = first.next().await else { panic!("no turn") };
    let follow = async |user: &TestClient| user.get(&format!("/api/turns/{turn_id}/events")).await;
    let mut streams = Vec::new();
    for _ in 0..31 {
        let mut stream = EventReader::new(follow(&ann).await);
        assert!(stream.next().await.is_some());
        streams.push(stream);
    }
    let refused = follow(&ann).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.headers().contains_key("retry-after"));
    let refused = problem(refused).await;
    assert_eq!((&refused["kind"], &refused["max"]), (&json!("in_flight_limit"), &json!(32)));
    assert_eq!(ann.send_message("{{words:1}}").await.status(), StatusCode::TOO_MANY_REQUESTS);
    streams.truncate(8);
    app.provider.release();
    let freed = async { while follow(&ann).await.status() != StatusCode::OK {} };
    tokio::time::timeout(std::time::Duration::from_secs(120), freed).await.expect("a stream is free again");
    bob.send_and_read("{{words:1}}").await;
}

/// Sessions and security events have no network addresses, only keyed hashes of them.
#[tokio::test]
async fn addresses_of_clients_are_stored_as_keyed_hashes() {
    let app = TestApp::with(&[("TRUSTED_PROXIES", "127.0.0.1")]).await;
    let visitor = app.visitor();
    let form = visitor.request("POST", "/sign-up").header("x-forwarded-for", "203.0.113.77");
    let terms = ("terms", domain::brand::TERMS_VERSION);
    let fields = [("email", "ann@example.com"), ("password", "long enough here"), terms];
    assert_eq!(form.form(&fields).send().await.unwrap().status(), StatusCode::SEE_OTHER);
    let stored = "select (select string_agg(s::text, ' ') from session s) || (select string_agg(e::text, ' ') from security_event e)";
    assert!(!app.one::<String>(stored).await.contains("203.0.113"));
    assert_eq!(app.one::<i32>("select length(origin) from session").await, 32);
    let again = app.visitor().request("POST", "/sign-up").header("x-forwarded-for", "203.0.113.77").form(&fields);
    shows(again.send().await.unwrap(), StatusCode::SEE_OTHER, "").await;
}
