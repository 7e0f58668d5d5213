//! Who has a second factor changes their ways to sign in only after proving it: whoever knows the password alone can't add or remove one.

use super::{factors, is_signed_in, passkeys, redirect, sign_in};
use crate::app::{PASSWORD, TestApp};
use crate::visitor::TestClient;
use http::StatusCode;

const ADMIN: &str = "admin@example.com";
const ANN: &str = "ann@example.com";

/// All routes that change how a user signs in.
const CHANGES: [(&str, &str); 11] = [
    ("POST", "/settings/passkeys/begin"),
    ("POST", "/settings/passkeys/finish"),
    ("POST", "/settings/passkeys/00000000-0000-7000-8000-000000000000/remove"),
    ("GET", "/settings/security/totp"),
    ("POST", "/settings/security/totp"),
    ("POST", "/settings/security/totp/remove"),
    ("GET", "/settings/security/recovery"),
    ("POST", "/settings/security/recovery"),
    ("POST", "/settings/password/remove"),
    ("POST", "/settings/identities/acme/link"),
    ("POST", "/settings/identities/acme/unlink"),
];

/// Asserts that a session changes nothing, however recently its user has entered the password.
async fn needs_the_second_factor(client: &mut TestClient) {
    for _ in 0..2 {
        for (method, path) in CHANGES {
            let response = client.request(method, path).send().await.unwrap();
            let next = if method == "GET" { format!("next={path}&") } else { String::new() };
            assert_eq!(redirect(&response), format!("/sign-in/confirm?{next}factor=second"), "{method} {path}");
        }
        let confirmed = client.form("/sign-in/confirm", &[("password", PASSWORD)]).await;
        assert_eq!(redirect(&confirmed), "/settings");
    }
}

/// The only factor of an admin is a passkey, so that their password signs in without a code.
#[tokio::test]
async fn an_admins_password_alone_adds_no_factor() {
    let app = TestApp::with(&[("PUBLIC_URL", passkeys::ORIGIN), ("REQUIRE_MFA_FOR_ADMINS", "true")]).await;
    let mut admin = app.user(ADMIN).await;
    let mut passkey = passkeys::add(&mut admin).await;
    let mut eve = sign_in(&app, ADMIN, PASSWORD).await;
    needs_the_second_factor(&mut eve).await;
    assert_eq!(redirect(&eve.get("/admin").await), "/sign-in/confirm?next=/admin&factor=second");
    assert!(app.one::<bool>("select count(*) = 1 and not exists (select from totp) from passkey").await);
    assert!(is_signed_in(&admin).await);
    // With the passkey, the same session may.
    let (id, options) = passkeys::begin(&mut eve, "/sign-in/confirm/passkey").await;
    let done = passkeys::finish(&mut eve, "/sign-in/confirm/passkey", &id, &passkey.sign(&options)).await;
    assert_eq!(done.status(), StatusCode::OK);
    passkeys::add(&mut eve).await;
    assert_eq!(eve.get("/admin").await.status(), StatusCode::OK);
    assert!(!is_signed_in(&admin).await, "sessions that were begun without the new factor end");
}

/// Setting up an app ends the sessions that were begun without it, and one factor doesn't remove it.
#[tokio::test]
async fn an_app_is_not_removed_by_a_session_of_one_factor() {
    let app = TestApp::new().await;
    let mut ann = app.user(ANN).await;
    let laptop = sign_in(&app, ANN, PASSWORD).await;
    let (_, codes) = factors::set_up(&mut ann).await;
    assert!(is_signed_in(&ann).await && !is_signed_in(&laptop).await);
    app.sql("update session set is_two_factor = false").await;
    needs_the_second_factor(&mut ann).await;
    assert!(app.one::<bool>("select exists (select from totp)").await);
    assert_eq!(redirect(&ann.form("/sign-in/confirm", &[("code", codes[0].as_str())]).await), "/settings");
    let removed = ann.form("/settings/security/totp/remove", &[]).await;
    assert_eq!(redirect(&removed), "/settings/security?saved=totp-removed");
}

/// For others a passkey is one way to sign in among several, and needs no second factor to be added to.
#[tokio::test]
async fn a_new_passkey_ends_the_sessions_that_were_begun_without_it() {
    let app = TestApp::with(&[("PUBLIC_URL", passkeys::ORIGIN)]).await;
    let mut ann = app.user(ANN).await;
    let laptop = sign_in(&app, ANN, PASSWORD).await;
    passkeys::add(&mut ann).await;
    assert!(is_signed_in(&ann).await && !is_signed_in(&laptop).await);
    passkeys::add(&mut sign_in(&app, ANN, PASSWORD).await).await;
    assert!(!is_signed_in(&ann).await);
}
