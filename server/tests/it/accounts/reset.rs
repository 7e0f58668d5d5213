//! Forgotten passwords: the same answer for everyone, and a link that hands the account back to whoever reads its mail.

use super::{NEW_PASSWORD, is_limited, is_signed_in, is_verified, letter, letters, redirect, shows, sign_in};
use crate::app::{PASSWORD, TestApp};
use crate::visitor::{EventReader, TestClient};
use domain::TurnEvent;
use http::StatusCode;
use std::time::Duration;

const SUBJECT: &str = "Set a new password";
const USED: &str = "expired or was used before";

/// Neither the response nor its headers show whether an address has an account, nor does the limit.
#[tokio::test]
async fn forgot_answers_the_same_for_every_address() {
    let app = TestApp::new().await;
    app.user("ann@example.com").await;
    let mut answers = Vec::new();
    for email in ["nobody@example.com", "ann@example.com", " ANN@Example.com "] {
        let answer = app.visitor().form("/forgot", &[("email", email)]).await;
        let mut headers = answer.headers().clone();
        for name in ["date", "x-request-id"] {
            headers.remove(name);
        }
        assert_eq!(redirect(&answer), "/forgot?sent=yes");
        answers.push((headers, answer.text().await.unwrap()));
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
    assert!(app.visitor().text("/forgot?sent=yes").await.contains("Check your email."));
    letter(&app, "ann@example.com", SUBJECT, 2).await;
    assert!(letters(&app, "nobody@example.com").await.is_empty());
    let page = app.visitor().form("/forgot", &[("email", "nobody")]).await;
    let page = shows(page, StatusCode::UNPROCESSABLE_ENTITY, "Enter a valid email address").await;
    assert!(page.contains("value=\"nobody\""));
    for (email, requested) in [("nobody@example.com", 1), ("ann+x@example.com", 2)] {
        for _ in requested..5 {
            assert_eq!(redirect(&app.visitor().form("/forgot", &[("email", email)]).await), "/forgot?sent=yes");
        }
        is_limited(app.visitor().form("/forgot", &[("email", email)]).await).await;
    }
}

/// A reset signs in, and every other session is dead at once on every server, streams included. Responses that were running are finished.
#[tokio::test]
async fn a_reset_signs_in_and_ends_every_other_session() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    let (url, _stop) = app.start_second().await;
    let elsewhere = TestClient { url, ..sign_in(&app, "ann@example.com", PASSWORD).await };
    let mut here = EventReader::new(ann.send_message("{{words:4}}{{hold}}").await);
    let Some((_, TurnEvent::Turn { turn_id, .. })) = here.next().await else { panic!("no turn") };
    let mut there = EventReader::new(elsewhere.get(&format!("/api/turns/{turn_id}/events")).await);
    assert!(there.next().await.is_some());

    let mut phone = app.visitor();
    phone.form("/forgot", &[("email", "ann@example.com")]).await;
    let mail = letter(&app, "ann@example.com", SUBJECT, 1).await;
    assert!(phone.text(&mail.path).await.contains(mail.token()));
    // A password that can't be used doesn't cost the link.
    let (short, rejected) = ([("token", mail.token()), ("password", "short")], StatusCode::UNPROCESSABLE_ENTITY);
    let page = shows(phone.form("/reset", &short).await, rejected, "Use at least 12 characters").await;
    assert!(page.contains(mail.token()));
    assert!(is_signed_in(&ann).await && is_signed_in(&elsewhere).await);
    let fields = [("token", mail.token()), ("password", NEW_PASSWORD)];
    assert_eq!(redirect(&phone.form("/reset", &fields).await), "/chat");
    assert!(is_signed_in(&phone).await && !is_signed_in(&ann).await && !is_signed_in(&elsewhere).await);
    for (name, stream) in [("here", &mut here), ("there", &mut there)] {
        // The provider waits to be released, so nothing else ends the streams. They end within a second; a busy machine may take longer.
        let ending = async { while stream.more().await {} };
        let ended = tokio::time::timeout(Duration::from_secs(120), ending).await;
        assert!(ended.is_ok(), "the stream {name} is still open");
    }
    app.provider.release();
    app.until("select bool_and(status = 'finished' and usage_source = 'exact') from ai_usage").await;

    let page = shows(phone.form("/reset", &fields).await, rejected, USED).await;
    assert!(!page.contains(mail.token()), "a link that doesn't work isn't offered again");
    let old = app.visitor().form("/sign-in", &[("email", "ann@example.com"), ("password", PASSWORD)]).await;
    shows(old, rejected, "Incorrect email or password").await;
    sign_in(&app, "ann@example.com", NEW_PASSWORD).await;
    letter(&app, "ann@example.com", "Your password was changed", 1).await;
    let events = "select string_agg(kind, ' ' order by created_at) from security_event where kind in ('reset_requested', 'password_changed')";
    assert_eq!(app.one::<String>(events).await, "reset_requested password_changed");
}

/// Anyone who knows an address can request links for it. They don't invalidate the one that the owner is about to open; the new password ends
/// all of them.
#[tokio::test]
async fn a_later_request_leaves_earlier_links_valid_until_one_is_used() {
    let app = TestApp::new().await;
    app.user("ann@example.com").await;
    let mut links = Vec::new();
    for n in 1..=3 {
        app.visitor().form("/forgot", &[("email", "ann@example.com")]).await;
        links.push(letter(&app, "ann@example.com", SUBJECT, n).await);
    }
    let mut ann = app.visitor();
    let set = [("token", links[1].token()), ("password", NEW_PASSWORD)];
    assert_eq!(redirect(&ann.form("/reset", &set).await), "/chat");
    for link in &links {
        let again = [("token", link.token()), ("password", PASSWORD)];
        shows(app.visitor().form("/reset", &again).await, StatusCode::UNPROCESSABLE_ENTITY, USED).await;
    }
    sign_in(&app, "ann@example.com", NEW_PASSWORD).await;
}

/// A link works for thirty minutes, and also proves the address that it was sent to.
#[tokio::test]
async fn a_reset_verifies_the_address_and_its_link_expires() {
    let app = TestApp::new().await;
    app.unverified_user("bob@example.com").await;
    let own = app.subject("bob@example.com").await;
    let mut bob = app.visitor();
    bob.form("/forgot", &[("email", "bob@example.com")]).await;
    let first = letter(&app, "bob@example.com", SUBJECT, 1).await;
    let lifetime =
        "select expires_at - created_at = interval '30 minutes' from account_token where kind = 'reset_password'";
    assert!(app.one::<bool>(lifetime).await);
    app.sql("update account_token set expires_at = now() - interval '1 second'").await;
    let expired = [("token", first.token()), ("password", NEW_PASSWORD)];
    shows(bob.form("/reset", &expired).await, StatusCode::UNPROCESSABLE_ENTITY, USED).await;
    bob.form("/forgot", &[("email", "bob@example.com")]).await;
    let second = letter(&app, "bob@example.com", SUBJECT, 2).await;
    assert!(!is_verified(&app, "bob@example.com").await);
    let fields = [("token", second.token()), ("password", NEW_PASSWORD)];
    assert_eq!(redirect(&bob.form("/reset", &fields).await), "/chat");
    assert!(is_verified(&app, "bob@example.com").await);
    let subject = app.subject("bob@example.com").await;
    assert!(subject != own && subject == app.subject_of("bob@example.com"));
    bob.send_and_read("{{words:1}}").await;
}
