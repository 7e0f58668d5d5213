//! The optional check of new passwords at a service that lists breached ones.

use super::{NEW_PASSWORD, is_limited, letter, redirect, shows};
use crate::app::{PASSWORD, TestApp};
use crate::visitor::TestClient;
use fakes::{FakeBreachedPasswords, RangeMode};
use http::StatusCode;
use reqwest::Response;
use std::time::Duration;

const ANN: &str = "ann@example.com";
const REJECTED: StatusCode = StatusCode::UNPROCESSABLE_ENTITY;
/// A password that the local rules allow.
const BREACHED: &str = "tangerine sky 42";
const EASY: &str = "easy to guess because many people use it";

/// Starts a deployment that checks new passwords, and waits for the service longer than a busy machine needs.
async fn start() -> (TestApp, FakeBreachedPasswords) {
    let fake = FakeBreachedPasswords::start(([127, 0, 0, 1], 0).into()).await.unwrap();
    fake.list(BREACHED, 3);
    let url = format!("{}/", fake.url());
    let patient = |config: &mut server::Config| config.breached_passwords_timeout = Duration::from_secs(60);
    (TestApp::with_config(&[("BREACHED_PASSWORDS_URL", url.as_str())], patient).await, fake)
}

async fn sign_up(visitor: &mut TestClient, email: &str, password: &str) -> Response {
    visitor.form("/sign-up", &[("email", email), ("name", "Ann Lee"), ("password", password)]).await
}

#[tokio::test]
async fn breached_passwords_are_refused_wherever_one_is_set() {
    let (app, fake) = start().await;
    // Lines that only pad a response list nothing.
    fake.list(PASSWORD, 0);
    let mut visitor = app.visitor();
    for local in ["short", "Password1234"] {
        assert_eq!(sign_up(&mut visitor, ANN, local).await.status(), REJECTED, "{local}");
    }
    assert!(fake.requests().is_empty(), "what the local rules refuse isn't sent");
    let page = shows(sign_up(&mut visitor, ANN, BREACHED).await, REJECTED, EASY).await;
    assert!(page.contains("value=\"Ann Lee\"") && !page.contains(BREACHED));
    assert_eq!(app.one::<i64>("select count(*) from account").await, 0);

    let mut ann = app.user(ANN).await;
    let before = fake.requests().len();
    let wrong = [("current", "wrong password"), ("password", BREACHED)];
    shows(ann.form("/settings/password", &wrong).await, REJECTED, "Incorrect password.").await;
    assert_eq!(fake.requests().len(), before, "nothing is sent without the current password");
    let change = [("current", PASSWORD), ("password", BREACHED)];
    shows(ann.form("/settings/password", &change).await, REJECTED, EASY).await;
    let change = [("current", PASSWORD), ("password", NEW_PASSWORD)];
    assert_eq!(redirect(&ann.form("/settings/password", &change).await), "/settings/security?saved=password");

    visitor.form("/forgot", &[("email", ANN)]).await;
    let mail = letter(&app, ANN, "Set a new password", 1).await;
    let reset = [("token", mail.token()), ("password", BREACHED)];
    for _ in 0..10 {
        let page = shows(visitor.form("/reset", &reset).await, REJECTED, EASY).await;
        assert!(page.contains(mail.token()), "the link still works");
    }
    is_limited(visitor.form("/reset", &reset).await).await;

    let requests = fake.requests();
    let is_prefix = |uri: &String| uri.strip_prefix("/range/").is_some_and(|prefix| prefix.len() == 5);
    assert!(requests.len() == 14 && requests.iter().all(is_prefix), "{requests:?}");
}

/// The service adds to the local rules. While it fails, these alone decide.
#[tokio::test]
async fn a_service_of_breached_passwords_that_fails_refuses_nothing() {
    let (app, fake) = start().await;
    for (n, mode) in [RangeMode::Down, RangeMode::TooLarge, RangeMode::NoList].into_iter().enumerate() {
        fake.set_mode(mode);
        let created = sign_up(&mut app.visitor(), &format!("user{n}@example.com"), BREACHED).await;
        assert_eq!(redirect(&created), "/chat", "{mode:?}");
        shows(sign_up(&mut app.visitor(), ANN, "Password1234").await, REJECTED, EASY).await;
    }
    assert_eq!(fake.requests().len(), 3);
    // Whether the next request arrives before its time is up is open.
    fake.set_mode(RangeMode::Silent);
    let (url, _stop) =
        app.start_second_with(|config| config.breached_passwords_timeout = Duration::from_millis(50)).await;
    let mut elsewhere = TestClient { url, ..app.visitor() };
    assert_eq!(redirect(&sign_up(&mut elsewhere, "eve@example.com", BREACHED).await), "/chat");
    fake.set_mode(RangeMode::Lists);
    shows(sign_up(&mut app.visitor(), ANN, BREACHED).await, REJECTED, EASY).await;
}
