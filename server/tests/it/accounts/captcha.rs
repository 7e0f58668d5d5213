//! The optional captcha on sign-up and recovery. What can't be verified is refused.

use super::{redirect, shows};
use crate::app::{PASSWORD, TestApp};
use fakes::{CAPTCHA_SECRET, FakeCaptcha};
use http::{StatusCode, header};
use reqwest::Response;

/// Starts a deployment with a captcha.
async fn with_captcha(provider: &str, secret: &str) -> (TestApp, FakeCaptcha) {
    let fake = FakeCaptcha::start(([127, 0, 0, 1], 0).into()).await.unwrap();
    let url = fake.url();
    let app = TestApp::with(&[
        ("CAPTCHA_PROVIDER", provider),
        ("CAPTCHA_SITE_KEY", "the-site-key"),
        ("CAPTCHA_SECRET_KEY", secret),
        ("CAPTCHA_VERIFY_URL", url.as_str()),
    ])
    .await;
    (app, fake)
}

/// Signs up with what the widget put into a field.
async fn sign_up(app: &TestApp, email: &str, field: &str, response: &str) -> Response {
    app.visitor().form("/sign-up", &[("email", email), ("password", PASSWORD), (field, response)]).await
}

const NOT_SOLVED: &str = "Confirm that you are human";

#[tokio::test]
async fn sign_up_and_recovery_need_a_solved_captcha() {
    for (provider, field, class, host) in [
        ("turnstile", "cf-turnstile-response", "cf-turnstile", "https://challenges.cloudflare.com"),
        ("hcaptcha", "h-captcha-response", "h-captcha", "https://hcaptcha.com"),
    ] {
        let (app, fake) = with_captcha(provider, CAPTCHA_SECRET).await;
        for path in ["/sign-up", "/forgot"] {
            let page = app.visitor().get(path).await;
            let policy = page.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
            assert!(policy.contains(&format!("frame-src {host}")) && policy.matches(host).count() >= 4, "{policy}");
            let page = page.text().await.unwrap();
            assert!(page.contains("the-site-key") && page.contains(class) && !page.contains(CAPTCHA_SECRET), "{page}");
        }
        for response in ["", "unsolved", &"x".repeat(10_000)] {
            let refused = sign_up(&app, "ann@example.com", field, response).await;
            shows(refused, StatusCode::UNPROCESSABLE_ENTITY, NOT_SOLVED).await;
        }
        assert_eq!(app.one::<i64>("select count(*) from account").await, 0);
        assert_eq!(redirect(&sign_up(&app, "ann@example.com", field, "solved 1").await), "/chat");
        // A response is good once, which the provider knows.
        let again = sign_up(&app, "bob@example.com", field, "solved 1").await;
        shows(again, StatusCode::UNPROCESSABLE_ENTITY, NOT_SOLVED).await;
        let mut visitor = app.visitor();
        let refused = visitor.form("/forgot", &[("email", "ann@example.com")]).await;
        shows(refused, StatusCode::UNPROCESSABLE_ENTITY, NOT_SOLVED).await;
        let sent = visitor.form("/forgot", &[("email", "ann@example.com"), (field, "solved 2")]).await;
        assert_eq!(redirect(&sent), "/forgot?sent=yes");
        assert_eq!(fake.solved(), 2);
        // Signing in asks for none: its attempts are slowed down.
        let sign_in = visitor.form("/sign-in", &[("email", "ann@example.com"), ("password", PASSWORD)]).await;
        assert_eq!(redirect(&sign_in), "/chat");
    }
}

#[tokio::test]
async fn a_captcha_that_cannot_be_verified_refuses() {
    let (app, fake) = with_captcha("turnstile", CAPTCHA_SECRET).await;
    let unavailable = async |app: &TestApp, n: u8| {
        let response = format!("solved {n}");
        let refused = sign_up(app, "ann@example.com", "cf-turnstile-response", &response).await;
        assert!(refused.headers().contains_key(header::RETRY_AFTER));
        shows(refused, StatusCode::SERVICE_UNAVAILABLE, "verify right now that you are human").await;
        assert_eq!(app.one::<i64>("select count(*) from account").await, 0);
    };
    fake.set_down(true);
    unavailable(&app, 1).await;
    fake.set_down(false);
    fake.set_silent(true);
    let began = std::time::Instant::now();
    unavailable(&app, 2).await;
    assert!(began.elapsed().as_secs() < 60, "a provider that doesn't respond is given up");
    // A wrong secret is the owner's mistake, not the visitor's.
    let (app, _fake) = with_captcha("turnstile", "another secret").await;
    unavailable(&app, 3).await;
}

#[tokio::test]
async fn without_configuration_no_page_loads_anything_from_elsewhere() {
    let app = TestApp::new().await;
    for path in ["/sign-up", "/forgot", "/sign-in"] {
        let page = app.visitor().get(path).await;
        let policy = page.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
        assert!(!policy.contains("frame-src") && !policy.contains("captcha"), "{policy}");
        assert!(!page.text().await.unwrap().contains("captcha"), "{path}");
    }
    assert_eq!(redirect(&sign_up(&app, "ann@example.com", "cf-turnstile-response", "").await), "/chat");
}
