//! Verification of addresses by link and by code, and what it is needed for.

use super::{is_limited, is_verified, letter, letters, redirect, shows, sign_in};
use crate::app::{PASSWORD, TestApp};
use crate::visitor::{events, problem};
use domain::TurnEvent;
use http::StatusCode;
use serde_json::json;

const CONFIRM: &str = "Confirm your email address";
const BANNER: &str = "Confirm your email address to send messages";
const USED: &str = "expired or was used before";

/// Field notes 38 and 64: until its address is verified, an account reads everything but makes no call that costs money and buys nothing.
#[tokio::test]
async fn unverified_users_read_but_make_no_paid_call() {
    let app = TestApp::new().await;
    let mut ann = app.unverified_user("ann@example.com").await;
    let refused = ann.send_message("{{words:1}}").await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    let refused = problem(refused).await;
    assert_eq!(refused["kind"], "verify_email");
    assert!(refused["message"].as_str().unwrap().contains("ann@example.com"), "{refused}");
    let checkout = ann.form("/billing/checkout", &[("plan", "pro"), ("interval", "month")]).await;
    shows(checkout, StatusCode::FORBIDDEN, "Confirm your email address before you choose a plan").await;
    assert!(app.provider.served_calls().is_empty());
    assert!(app.one::<bool>("select not exists (select from ai_usage) and not exists (select from message)").await);
    let quota = ann.quota().await;
    assert_eq!((&quota["requests"]["remaining"], &quota["tokens"]["used"]), (&json!(10), &json!(0)));
    for path in ["/usage", "/settings", "/settings/security", "/settings/billing", "/settings/data", "/pricing"] {
        ann.text(path).await;
    }
    assert!(ann.text("/chat").await.contains(BANNER));
    assert!(ann.text("/settings").await.contains("Not confirmed"));
    app.verify("ann@example.com").await;
    ann.send_and_read("{{words:1}}").await;
    assert!(!ann.text("/chat").await.contains(BANNER));
}

#[tokio::test]
async fn unverified_users_can_use_the_demo_model() {
    let app = TestApp::with(&[("ANTHROPIC_API_KEY", "")]).await;
    let ann = app.unverified_user("ann@example.com").await;
    let page = ann.text("/chat").await;
    assert!(page.contains("Until then you can use only the demo model.") && !page.contains(BANNER));
    let response = ann.post(&json!({"text": "Show me a table"})).await;
    assert_eq!(response.status(), StatusCode::OK);
    let all = events(response).await;
    assert!(matches!(all.last(), Some((_, TurnEvent::Finish { .. }))), "{all:?}");
}

/// Mail scanners open every link, so a link is used only by the button on its page: once, in any browser.
#[tokio::test]
async fn a_link_verifies_once_and_only_by_its_button() {
    let app = TestApp::new().await;
    app.unverified_user("ann@example.com").await;
    let mail = letter(&app, "ann@example.com", CONFIRM, 1).await;
    assert_eq!(mail.path.split_once("?token=").map(|(path, token)| (path, token.len())), Some(("/verify", 43)));
    let mut phone = app.visitor();
    for _ in 0..3 {
        assert!(phone.text(&mail.path).await.contains(mail.token()));
    }
    assert!(!is_verified(&app, "ann@example.com").await);
    let done = phone.form("/verify", &[("token", mail.token())]).await;
    assert_eq!(redirect(&done), "/verify?confirmed=yes");
    assert!(phone.text("/verify?confirmed=yes").await.contains("Your email address is confirmed."));
    assert!(is_verified(&app, "ann@example.com").await);
    let ann = sign_in(&app, "ann@example.com", PASSWORD).await;
    ann.send_and_read("{{words:1}}").await;
    for token in [mail.token(), "", "x", &"A".repeat(43)] {
        let again = phone.form("/verify", &[("token", token), ("code", "")]).await;
        match token {
            // Without a token it is a code, which belongs to a signed-in user.
            "" => assert_eq!(redirect(&again), "/sign-in?next=/verify"),
            _ => assert!(!shows(again, StatusCode::UNPROCESSABLE_ENTITY, USED).await.contains("name=\"token\"")),
        }
    }
}

/// Returns another code.
fn another(code: &str, n: u32) -> String {
    format!("{:06}", (code.parse::<u32>().unwrap() + n) % 1_000_000)
}

#[tokio::test]
async fn five_wrong_codes_end_a_code_and_its_link() {
    let app = TestApp::new().await;
    let (mut ann, mut bob) =
        (app.unverified_user("ann@example.com").await, app.unverified_user("bob@example.com").await);
    let (of_ann, of_bob) =
        (letter(&app, "ann@example.com", CONFIRM, 1).await, letter(&app, "bob@example.com", CONFIRM, 1).await);
    let (wrong, invalid) = (StatusCode::UNPROCESSABLE_ENTITY, ["", "12345", "1234567", "abcdef"]);
    for text in invalid {
        let page = bob.form("/verify", &[("code", text)]).await;
        shows(page, wrong, "Enter the 6 digits of the code").await;
    }
    // A code is of no use to another user.
    let codes = [of_bob.code().to_owned()].into_iter().chain((1..5).map(|n| another(of_ann.code(), n)));
    let left =
        ["You have 4 attempts left", "You have 3 attempts left", "You have 2 attempts left", "You have 1 attempt left"];
    for (code, sentence) in codes.zip(left.into_iter().chain(["no attempts are left"])) {
        shows(ann.form("/verify", &[("code", &code)]).await, wrong, sentence).await;
    }
    shows(ann.form("/verify", &[("code", of_ann.code())]).await, wrong, "This code has expired").await;
    shows(ann.form("/verify", &[("token", of_ann.token())]).await, wrong, USED).await;
    assert!(!is_verified(&app, "ann@example.com").await);
    // Texts that are no code weren't counted, and a wrong one doesn't spoil the right one.
    shows(bob.form("/verify", &[("code", &another(of_bob.code(), 1))]).await, wrong, "You have 4 attempts left").await;
    let (head, tail) = of_bob.code().split_at(3);
    let done = bob.form("/verify", &[("code", &format!(" {head} {tail} "))]).await;
    assert_eq!(redirect(&done), "/verify?confirmed=yes");
    assert!(is_verified(&app, "bob@example.com").await);
    shows(bob.form("/verify", &[("token", of_bob.token())]).await, wrong, USED).await;
}

#[tokio::test]
async fn links_and_codes_expire_and_only_the_newest_works() {
    let app = TestApp::new().await;
    let mut ann = app.unverified_user("ann@example.com").await;
    let first = letter(&app, "ann@example.com", CONFIRM, 1).await;
    assert!(app.one::<bool>("select expires_at - created_at = interval '30 minutes' from account_token").await);
    app.sql("update account_token set expires_at = now() - interval '1 second'").await;
    let dead = StatusCode::UNPROCESSABLE_ENTITY;
    shows(ann.form("/verify", &[("token", first.token())]).await, dead, USED).await;
    shows(ann.form("/verify", &[("code", first.code())]).await, dead, "This code has expired").await;
    assert_eq!(redirect(&ann.form("/verify/resend", &[]).await), "/verify?sent=yes");
    let second = letter(&app, "ann@example.com", CONFIRM, 2).await;
    assert_eq!(redirect(&ann.form("/verify/resend", &[]).await), "/verify?sent=yes");
    let third = letter(&app, "ann@example.com", CONFIRM, 3).await;
    shows(ann.form("/verify", &[("token", second.token())]).await, dead, USED).await;
    assert_eq!(redirect(&ann.form("/verify", &[("code", third.code())]).await), "/verify?confirmed=yes");
    // Nothing more is sent to a verified address.
    assert_eq!(redirect(&ann.form("/verify/resend", &[]).await), "/verify?sent=yes");
    assert_eq!(letters(&app, "ann@example.com").await.len(), 3);
    let stored: String = app
        .one("select string_agg(t::text, ' ') || (select string_agg(payload::text, ' ') from job) from account_token t")
        .await;
    for mail in [first, second, third] {
        assert!(!stored.contains(mail.token()), "only hashes and seeds are stored");
    }
}

#[tokio::test]
async fn mails_to_verify_an_address_are_limited() {
    let app = TestApp::new().await;
    let mut ann = app.unverified_user("ann@example.com").await;
    for _ in 0..5 {
        assert_eq!(redirect(&ann.form("/verify/resend", &[]).await), "/verify?sent=yes");
    }
    is_limited(ann.form("/verify/resend", &[]).await).await;
    assert_eq!(letters(&app, "ann@example.com").await.len(), 6);
    // Nor can codes be guessed by requesting new ones again and again.
    let mail = letter(&app, "ann@example.com", CONFIRM, 6).await;
    for n in 1..=16 {
        let guess = ann.form("/verify", &[("code", &another(mail.code(), n))]).await;
        assert_eq!(guess.status() == StatusCode::TOO_MANY_REQUESTS, n == 16, "{n}");
    }
}
