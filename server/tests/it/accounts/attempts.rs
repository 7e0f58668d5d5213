//! Attempt limits: of guesses, sign-ups, resets, checkouts, exports and API calls.

use super::{is_limited, is_signed_in, letter, letters, redirect, shows, sign_in};
use crate::app::{PASSWORD, TestApp};
use crate::visitor::{TestClient, problem};
use futures::future::join_all;
use http::StatusCode;
use reqwest::Response;
use std::time::{Duration, Instant};

const WRONG: StatusCode = StatusCode::UNPROCESSABLE_ENTITY;
/// The longest delay of a guess.
const DELAY: Duration = Duration::from_secs(5);

/// Guesses the password of a signed-in user with one of the four forms that check it.
async fn guess_again(ann: &mut TestClient, n: usize) -> Response {
    let path = ["/settings/delete", "/sign-in/confirm", "/settings/password", "/settings/email"][n % 4];
    let fields = [("password", "wrong password"), ("current", "wrong password"), ("email", "new@example.com")];
    ann.form(path, &fields).await
}

/// Field note 67, as reproduced: 25 wrong passwords at `/settings/delete`. Every check of a password counts, whichever form asks for it, and
/// a right one clears the count.
#[tokio::test]
async fn every_check_of_a_password_is_limited() {
    let app = TestApp::new().await;
    let mut ann = app.user("ann@example.com").await;
    for n in 0..9 {
        shows(guess_again(&mut ann, n).await, WRONG, "Incorrect password.").await;
    }
    assert_eq!(redirect(&ann.form("/sign-in/confirm", &[("password", PASSWORD)]).await), "/settings");
    for n in 0..25 {
        let answer = guess_again(&mut ann, n).await;
        match n {
            0..10 => drop(shows(answer, WRONG, "Incorrect password.").await),
            _ => is_limited(answer).await,
        }
    }
    is_limited(ann.form("/settings/delete", &[("password", PASSWORD)]).await).await;
    assert!(is_signed_in(&ann).await, "the account exists");
    let failed = "select count(*) from security_event where kind = 'sign_in_failed'";
    assert_eq!(app.one::<i64>(failed).await, 19);
}

/// Signs in from an address with a new browser.
async fn sign_in_from(app: &TestApp, address: &str, email: &str, password: &str) -> Response {
    let form = app.visitor().request("POST", "/sign-in").header("x-forwarded-for", address);
    form.form(&[("email", email), ("password", password)]).send().await.unwrap()
}

/// Field note 68: strangers who guess from many addresses slow down browsers that nobody has signed in with, up to five seconds. They lock
/// out nobody, and a browser that the owner has used before isn't slowed down.
#[tokio::test]
async fn strangers_slow_down_guessing_but_lock_out_nobody() {
    let app = TestApp::with(&[("TRUSTED_PROXIES", "127.0.0.1")]).await;
    let owner = app.user("ann@example.com").await;
    let guess = |n: usize| {
        let (app, address) = (&app, format!("10.0.0.{}", n % 4));
        async move { sign_in_from(app, &address, "ann@example.com", "wrong password").await.status() }
    };
    let guesses = join_all((0..44).map(guess)).await;
    let count = |status: StatusCode| guesses.iter().filter(|found| **found == status).count();
    // Each address has ten guesses.
    assert_eq!((count(WRONG), count(StatusCode::TOO_MANY_REQUESTS)), (40, 4));
    // The next one waits for five seconds, wrong or right. The owner's browser doesn't: then each of its guesses would, however busy the machine
    // is. Wrong ones are timed, because a right one clears the count.
    let stranger = async |password: &'static str| {
        let began = Instant::now();
        let answer = sign_in_from(&app, "10.0.1.1", "ann@example.com", password).await;
        assert!(began.elapsed() >= DELAY, "{:?}", began.elapsed());
        answer
    };
    let mut home = TestClient { cookie: None, ..owner.clone() };
    let at_home = async {
        let mut quickest = Duration::MAX;
        for _ in 0..5 {
            let began = Instant::now();
            let answer = home.form("/sign-in", &[("email", "ann@example.com"), ("password", "wrong password")]).await;
            assert_eq!(answer.status(), WRONG);
            quickest = quickest.min(began.elapsed());
        }
        quickest
    };
    let (late, quickest) = tokio::join!(stranger("wrong password"), at_home);
    assert_eq!(late.status(), WRONG);
    assert!(quickest < DELAY, "{quickest:?}");
    assert_eq!(redirect(&stranger(PASSWORD).await), "/chat");
    let right = [("email", "ann@example.com"), ("password", PASSWORD)];
    assert_eq!(redirect(&home.form("/sign-in", &right).await), "/chat");
    letter(&app, "ann@example.com", "New sign-in to your account", 1).await;
    assert_eq!(letters(&app, "ann@example.com").await.len(), 2, "the owner's own browser isn't announced");
}

/// A known browser has an allowance of its own, and so has everyone else: neither uses up the other's. A right password clears it.
#[tokio::test]
async fn known_browsers_have_an_allowance_of_their_own() {
    let app = TestApp::new().await;
    let mut home = TestClient { cookie: None, ..app.user("ann@example.com").await };
    let (wrong, right) = (
        [("email", "ann@example.com"), ("password", "wrong password")],
        [("email", "ann@example.com"), ("password", PASSWORD)],
    );
    for _ in 0..3 {
        shows(home.form("/sign-in", &wrong).await, WRONG, "Incorrect email or password").await;
    }
    assert_eq!(redirect(&home.form("/sign-in", &right).await), "/chat");
    home.cookie = None;
    for _ in 0..20 {
        assert_eq!(home.form("/sign-in", &wrong).await.status(), WRONG);
    }
    is_limited(home.form("/sign-in", &right).await).await;
    // A browser that was known for another account is unknown for this one.
    let bob = app.user("bob@example.com").await;
    let mut other = TestClient { cookie: None, ..bob };
    for _ in 0..10 {
        assert_eq!(other.form("/sign-in", &wrong).await.status(), WRONG);
    }
    is_limited(other.form("/sign-in", &right).await).await;
}

/// Field note 64: all visitors together can create so many accounts in an hour. Then admins are alerted at once or within a minute.
#[tokio::test]
async fn sign_ups_have_an_hourly_cap_that_alerts() {
    let app = TestApp::with(&[("SIGN_UP_HOURLY_CAP", "3"), ("TRUSTED_PROXIES", "127.0.0.1")]).await;
    app.user("admin@example.com").await;
    let ann = app.user("ann@example.com").await;
    app.user("bob@example.com").await;
    let eve = app.visitor().request("POST", "/sign-up").header("x-forwarded-for", "10.0.0.1");
    let terms = ("terms", domain::brand::TERMS_VERSION);
    let refused = eve.form(&[("email", "eve@example.com"), ("password", PASSWORD), terms]).send().await.unwrap();
    assert!(refused.headers().contains_key("retry-after"));
    let page = shows(refused, StatusCode::TOO_MANY_REQUESTS, "Many people are signing up right now").await;
    assert!(page.contains("value=\"eve@example.com\""));
    assert_eq!(app.one::<i64>("select count(*) from account").await, 3);
    // A provider that rejects the account makes the server check its alerts now.
    ann.send_message("{{credit}}").await;
    app.until("select exists (select from alert where kind = 'sign_up_cap' and ended_at is null)").await;
    app.until(
        "select exists (select from job where payload->>'mail' = 'alert' and payload->>'message' like '%3 sign-ups%')",
    )
    .await;
    sign_in(&app, "ann@example.com", PASSWORD).await;
}

/// Field note 65: an IPv6 network is one address. All networks of a customer's block together have three times as many attempts.
#[tokio::test]
async fn ipv6_networks_and_their_blocks_are_limited() {
    let app = TestApp::with(&[("TRUSTED_PROXIES", "127.0.0.1")]).await;
    let forgot = async |address: String, n: usize| {
        let form = app.visitor().request("POST", "/forgot").header("x-forwarded-for", address);
        form.form(&[("email", format!("nobody{n}@example.com"))]).send().await.unwrap().status()
    };
    for n in 0..60 {
        assert_eq!(forgot(format!("2001:db8:1:{}::{n:x}", n % 4), n).await, StatusCode::SEE_OTHER, "{n}");
    }
    assert_eq!(forgot("2001:db8:1:ffff::1".to_owned(), 60).await, StatusCode::TOO_MANY_REQUESTS);
    for n in 100..120 {
        assert_eq!(forgot(format!("2001:db8:2:1::{n:x}"), n).await, StatusCode::SEE_OTHER, "{n}");
    }
    assert_eq!(forgot("2001:db8:2:1:ffff::1".to_owned(), 120).await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(forgot("2001:db8:2:2::1".to_owned(), 121).await, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn attempts_are_limited_without_redis() {
    let app = TestApp::with(&[("REDIS_URL", "redis://127.0.0.1:1")]).await;
    app.user("ann@example.com").await;
    let mut eve = app.visitor();
    for _ in 0..10 {
        let guess = eve.form("/sign-in", &[("email", "ann@example.com"), ("password", "wrong password")]).await;
        assert_eq!(guess.status(), WRONG);
    }
    is_limited(eve.form("/sign-in", &[("email", "ann@example.com"), ("password", PASSWORD)]).await).await;
}

#[tokio::test]
async fn checkouts_and_exports_are_limited() {
    let app = TestApp::new().await;
    let mut ann = app.user("ann@example.com").await;
    for n in 0..=20 {
        let path = ["/billing/checkout", "/billing/portal"][n % 2];
        let status = ann.form(path, &[("plan", "nothing")]).await.status();
        assert_eq!(status == StatusCode::TOO_MANY_REQUESTS, n == 20, "{n}: {status}");
    }
    for n in 0..=20 {
        let status = ann.get("/usage.csv?days=7").await.status();
        assert_eq!(status == StatusCode::TOO_MANY_REQUESTS, n == 20, "{n}: {status}");
    }
    let bob = app.user("bob@example.com").await;
    assert_eq!(bob.get("/usage.csv?days=7").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn requests_to_the_api_are_limited_per_session() {
    let app = TestApp::with(&[("API_REQUESTS_PER_MINUTE", "20")]).await;
    let (ann, bob) = (app.user("ann@example.com").await, app.user("bob@example.com").await);
    let mut answered = 0;
    let refused = loop {
        let answer = ann.get("/api/quota").await;
        if answer.status() != StatusCode::OK {
            break answer;
        }
        answered += 1;
        assert!(answered < 500, "never refused");
    };
    // One more every three seconds.
    assert!(answered >= 20, "{answered}");
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(problem(refused).await["kind"], "attempts_limit");
    assert!(is_signed_in(&bob).await);
    assert_eq!(ann.get("/usage").await.status(), StatusCode::OK, "pages aren't part of the API");
}
