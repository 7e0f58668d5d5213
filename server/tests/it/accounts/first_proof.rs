//! Accounts that somebody created with an address that isn't theirs: what they add doesn't outlive the first proof of the address by its owner.

use super::external::{Browser, CHAT, start};
use super::{NEW_PASSWORD, factors, is_signed_in, is_verified, letter, passkeys, redirect, shows};
use crate::app::{PASSWORD, TestApp};
use crate::visitor::problem;
use fakes::oidc::FakeUser;
use http::StatusCode;
use serde_json::json;

const OWNER: &str = "owner@example.com";
const FIRST: &str = "Confirm your email address before you add a sign-in method.";
const USED: &str = "expired or was used before";
const NOTHING_ADDED: &str = "select not exists (select from identity) and not exists (select from passkey)
                             and not exists (select from totp) and not exists (select from recovery_code)";

/// Adds ways to sign in directly in the database, as if the account could have them before its address is verified.
async fn plant(app: &TestApp, email: &str) {
    for sql in [
        "insert into passkey (credential_id, passkey_id, user_id, name, credential, created_at)
         select convert_to(email, 'UTF8'), gen_random_uuid(), user_id, 'Laptop', '{}', now() from account where email = $1",
        "insert into totp (user_id, secret_encrypted, created_at, confirmed_at)
         select user_id, convert_to(email, 'UTF8'), now(), now() from account where email = $1",
        "insert into recovery_code (user_id, code_hash, created_at)
         select user_id, convert_to(email, 'UTF8'), now() from account where email = $1",
    ] {
        assert_eq!(sqlx::query(sql).bind(email).execute(&app.db).await.unwrap().rows_affected(), 1);
    }
}

#[tokio::test]
async fn nothing_is_added_before_the_address_is_verified() {
    let app = TestApp::with(&[("PUBLIC_URL", passkeys::ORIGIN)]).await;
    let mut eve = app.unverified_user(OWNER).await;
    for path in ["/settings/passkeys/begin", "/settings/passkeys/finish"] {
        let refused = passkeys::post(&mut eve, path, &json!({})).await;
        assert_eq!(refused.status(), StatusCode::FORBIDDEN, "{path}");
        let refused = problem(refused).await;
        assert_eq!((&refused["kind"], &refused["message"]), (&json!("verify_email"), &json!(FIRST)), "{path}");
    }
    for (method, path) in [
        ("GET", "/settings/security/totp"),
        ("POST", "/settings/security/totp"),
        ("POST", "/settings/identities/acme/link"),
    ] {
        let refused = eve.request(method, path).send().await.unwrap();
        assert!(shows(refused, StatusCode::FORBIDDEN, FIRST).await.contains("href=\"/verify\""), "{path}");
    }
    let page = eve.text("/settings/security").await;
    assert!(page.contains("before you add a sign-in method."), "{page}");
    assert!(!page.contains("data-passkey") && !page.contains("/settings/security/totp"), "{page}");
    assert!(app.one::<bool>("select not exists (select from factor_challenge)").await);
    app.verify(OWNER).await;
    passkeys::add(&mut eve).await;
    factors::set_up(&mut eve).await;
}

/// Mallory comes first with Ann's address, which her service hasn't verified. Ann resets the password that she thinks she has forgotten.
#[tokio::test]
async fn a_reset_leaves_nothing_of_who_created_the_account() {
    let (app, issuer) = start().await;
    issuer.set_user(FakeUser { is_verified: false, ..FakeUser::new("666", OWNER) });
    let mut mallory = Browser::new(&app);
    assert_eq!(redirect(&mallory.sign_in("acme", &[]).await), CHAT);
    plant(&app, OWNER).await;
    let asked = mallory.post("/settings/email", &[("email", "mallory@example.org")]).await;
    assert_eq!(redirect(&asked), "/settings?saved=email");
    let change = letter(&app, "mallory@example.org", "Confirm your new email address", 1).await;

    let mut owner = app.visitor();
    owner.form("/forgot", &[("email", OWNER)]).await;
    let mail = letter(&app, OWNER, "Set a new password", 1).await;
    let fields = [("token", mail.token()), ("password", NEW_PASSWORD)];
    assert_eq!(redirect(&owner.form("/reset", &fields).await), CHAT, "no code of Mallory's app is asked for");
    assert!(is_signed_in(&owner).await && !is_signed_in(&mallory.client).await);
    assert!(app.one::<bool>(NOTHING_ADDED).await);
    assert_eq!(redirect(&Browser::new(&app).sign_in("acme", &[]).await), "/sign-in?link=acme&how=settings");
    let late = app.visitor().form("/verify", &[("token", change.token())]).await;
    shows(late, StatusCode::UNPROCESSABLE_ENTITY, USED).await;
    assert_eq!(app.one::<String>("select email from account").await, OWNER);
}

#[tokio::test]
async fn a_link_that_is_opened_elsewhere_leaves_nothing_of_who_created_the_account() {
    let app = TestApp::new().await;
    let mallory = app.unverified_user(OWNER).await;
    plant(&app, OWNER).await;
    let mail = letter(&app, OWNER, "Confirm your email address", 1).await;
    // A browser that is signed in to another account is elsewhere too.
    let mut bob = app.user("bob@example.com").await;
    assert_eq!(redirect(&bob.form("/verify", &[("token", mail.token())]).await), "/verify?confirmed=yes");
    assert!(is_verified(&app, OWNER).await);
    assert!(is_signed_in(&bob).await && !is_signed_in(&mallory).await);
    assert!(app.one::<bool>(NOTHING_ADDED).await);

    // In the browser that created the account, nothing ends.
    let mut ann = app.unverified_user("ann@example.com").await;
    plant(&app, "ann@example.com").await;
    let mail = letter(&app, "ann@example.com", "Confirm your email address", 1).await;
    assert_eq!(redirect(&ann.form("/verify", &[("token", mail.token())]).await), "/verify?confirmed=yes");
    assert!(is_signed_in(&ann).await && is_verified(&app, "ann@example.com").await);
    assert!(app.one::<bool>("select exists (select from passkey) and exists (select from totp)").await);
}

/// The first address that is verified may also be one that the account was changed to.
#[tokio::test]
async fn a_changed_address_is_a_first_proof_as_well() {
    let app = TestApp::new().await;
    let mut mallory = app.unverified_user("mallory@example.com").await;
    plant(&app, "mallory@example.com").await;
    let asked = mallory.form("/settings/email", &[("email", OWNER), ("password", PASSWORD)]).await;
    assert_eq!(redirect(&asked), "/settings?saved=email");
    let mail = letter(&app, OWNER, "Confirm your new email address", 1).await;
    let done = app.visitor().form("/verify", &[("token", mail.token())]).await;
    assert_eq!(redirect(&done), "/verify?confirmed=yes");
    assert!(is_verified(&app, OWNER).await && !is_signed_in(&mallory).await);
    assert!(app.one::<bool>(NOTHING_ADDED).await);
}
