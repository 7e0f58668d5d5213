//! Users with a second factor must prove it before they change their sign-in methods: the password alone can't add or remove one. Where everyone is
//! required to have one, the password alone opens nothing else either.

use super::{factors, is_signed_in, passkeys, redirect, sign_in};
use crate::app::{PASSWORD, TestApp};
use crate::visitor::{TestClient, problem};
use http::StatusCode;
use uuid::Uuid;

const ADMIN: &str = "admin@example.com";
const ANN: &str = "ann@example.com";
/// Where users who have no second factor but need one are redirected to.
const SETUP: &str = "/settings/security?required=mfa";

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

/// With `REQUIRE_MFA`, new users verify their address and add a second factor first; an authenticator app needs no JavaScript.
#[tokio::test]
async fn everyone_adds_a_second_factor_if_it_is_required() {
    let app = TestApp::with(&[("REQUIRE_MFA", "true")]).await;
    let mut ann = app.unverified_user(ANN).await;
    assert_eq!(redirect(&ann.get("/chat").await), SETUP);
    let page = ann.text(SETUP).await;
    assert!(page.contains("You need a second factor to continue") && page.contains("Confirm your email address"));
    assert_eq!(redirect(&ann.form("/verify/resend", &[]).await), "/verify?sent=yes");
    app.verify(ANN).await;
    assert_eq!(redirect(&ann.form("/settings/name", &[("name", "Ann")]).await), SETUP);
    let refused = ann.send_message("{{words:3}}").await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(problem(refused).await["kind"], "sign_in_required");
    assert!(ann.text(SETUP).await.contains("href=\"/settings/security/totp\""));
    factors::set_up(&mut ann).await;
    ann.send_and_read("{{words:3}}").await;
    assert_eq!(ann.get("/chat").await.status(), StatusCode::OK);
    // A user who removes the only one must add another.
    let removed = ann.form("/settings/security/totp/remove", &[]).await;
    assert_eq!(redirect(&removed), "/settings/security?saved=totp-removed");
    assert_eq!(redirect(&ann.get("/chat").await), SETUP);
    factors::set_up(&mut ann).await;
    assert_eq!(ann.get("/chat").await.status(), StatusCode::OK);

    // Users who don't want one leave.
    let mut bob = app.user("bob@example.com").await;
    assert_eq!(redirect(&bob.clone().form("/sign-out", &[]).await), "/");
    bob = sign_in(&app, "bob@example.com", PASSWORD).await;
    assert_eq!(redirect(&bob.form("/settings/delete", &[("password", PASSWORD)]).await), "/");
    assert_eq!(app.one::<String>("select string_agg(email, ' ') from account").await, ANN);
    // Admins are no exception.
    let admin = app.user(ADMIN).await;
    assert_eq!(redirect(&admin.get("/admin").await), SETUP);
}

/// With `REQUIRE_MFA`, the password of a user whose second factor is a passkey leads only to its confirmation.
#[tokio::test]
async fn a_password_without_the_required_passkey_does_nothing() {
    let app = TestApp::with(&[("PUBLIC_URL", passkeys::ORIGIN), ("REQUIRE_MFA", "true")]).await;
    let mut ann = app.user(ANN).await;
    let mut passkey = passkeys::add(&mut ann).await;
    assert_eq!(ann.get("/chat").await.status(), StatusCode::OK);
    let mut eve = sign_in(&app, ANN, PASSWORD).await;
    needs_the_second_factor(&mut eve).await;
    for path in ["/chat", "/settings", "/settings/data"] {
        assert_eq!(redirect(&eve.get(path).await), format!("/sign-in/confirm?next={path}&factor=second"));
    }
    let (email, delete) = ([("email", "eve@example.com"), ("password", PASSWORD)], [("password", PASSWORD)]);
    for (path, fields) in [("/settings/email", &email[..]), ("/settings/delete", &delete[..])] {
        assert_eq!(redirect(&eve.form(path, fields).await), "/sign-in/confirm?factor=second", "{path}");
    }
    assert!(app.one::<bool>("select exists (select from account)").await && !is_signed_in(&eve).await);
    let (id, options) = passkeys::begin(&mut eve, "/sign-in/confirm/passkey").await;
    passkeys::finish(&mut eve, "/sign-in/confirm/passkey", &id, &passkey.sign(&options)).await;
    assert!(is_signed_in(&eve).await);
    // One of two second factors may go, and the session stays as it was proved; without any, another is added first.
    factors::set_up(&mut eve).await;
    let id: Uuid = app.one("select passkey_id from passkey").await;
    let remove = format!("/settings/passkeys/{id}/remove");
    assert_eq!(redirect(&eve.form(&remove, &[]).await), "/settings/security?saved=passkey-removed");
    assert!(is_signed_in(&eve).await);
    redirect(&eve.form("/settings/security/totp/remove", &[]).await);
    assert_eq!(redirect(&eve.get("/chat").await), SETUP);
    passkeys::add(&mut eve).await;
    let id: Uuid = app.one("select passkey_id from passkey").await;
    let remove = format!("/settings/passkeys/{id}/remove");
    redirect(&eve.form(&remove, &[]).await);
    assert_eq!(redirect(&eve.get("/chat").await), SETUP);
}
