//! Identities of existing accounts: connected only with proof of both sides, and never the last way in that is removed.

use super::external::{Browser, CHAT, counts, start};
use super::{NEW_PASSWORD, factors, is_signed_in, letter, letters, passkeys, redirect, shows, sign_in};
use crate::app::PASSWORD;
use crate::visitor::TestClient;
use fakes::oidc::{FakeUser, Fault};
use http::StatusCode;
use reqwest::Response;

const ANN: &str = "ann@example.com";
const UNTIL_OLD: &str = "update session set authenticated_at = now() - interval '11 minutes'";

/// An address alone opens no account, even if the provider has verified it. The account's own sign-in connects the identity.
#[tokio::test]
async fn an_existing_account_is_opened_by_its_own_sign_in_only() {
    let (app, _issuer) = start().await;
    app.user(ANN).await;
    let mut browser = Browser::new(&app);
    let response = browser.sign_in("acme", &[("next", "/usage?days=7")]).await;
    let page = redirect(&response);
    assert_eq!(page, "/sign-in?link=acme&how=kept&next=/usage%3Fdays%3D7");
    assert!(!is_signed_in(&browser.client).await);
    assert_eq!(counts(&app).await, (1, 0));
    let text = browser.get(&page).await.text().await.unwrap();
    assert!(text.contains("An account with this email exists.") && text.contains("to connect Acme"), "{text}");
    assert!(!browser.client.text("/sign-in?link=%3Cb%3E").await.contains("An account with this email"));

    // Another account's sign-in connects nothing, and forgets the identity.
    app.user("ben@example.com").await;
    browser.post("/sign-in", &[("email", "ben@example.com"), ("password", PASSWORD)]).await;
    assert_eq!(counts(&app).await, (2, 0));
    browser.post("/sign-out", &[]).await;
    browser.post("/sign-in", &[("email", ANN), ("password", PASSWORD)]).await;
    assert_eq!(counts(&app).await, (2, 0));
    browser.post("/sign-out", &[]).await;

    // Nor does a wrong password, or the right one in another browser.
    redirect(&browser.sign_in("acme", &[]).await);
    browser.post("/sign-in", &[("email", ANN), ("password", "wrong password")]).await;
    sign_in(&app, ANN, PASSWORD).await;
    assert_eq!(counts(&app).await, (2, 0));
    let response = browser.post("/sign-in", &[("email", ANN), ("password", PASSWORD), ("next", "/usage")]).await;
    assert_eq!(redirect(&response), "/usage");
    assert_eq!(counts(&app).await, (2, 1));
    let mail = letter(&app, ANN, "Acme was connected to your account", 1).await;
    assert_eq!(mail.path, "/settings/security");
    assert_eq!(redirect(&Browser::new(&app).sign_in("acme", &[]).await), CHAT);
    assert_eq!(counts(&app).await, (2, 1));
}

/// Anyone can claim an address at a provider that doesn't verify it, so such an identity isn't even kept.
#[tokio::test]
async fn an_unverified_address_is_not_kept_for_the_account() {
    let (app, issuer) = start().await;
    app.user(ANN).await;
    issuer.set_user(FakeUser { is_verified: false, ..FakeUser::new("666", ANN) });
    let mut browser = Browser::new(&app);
    let page = redirect(&browser.sign_in("acme", &[]).await);
    assert_eq!(page, "/sign-in?link=acme&how=settings");
    let text = browser.get(&page).await.text().await.unwrap();
    assert!(text.contains("then connect Acme under Settings, Security."), "{text}");
    browser.post("/sign-in", &[("email", ANN), ("password", PASSWORD)]).await;
    assert!(is_signed_in(&browser.client).await);
    assert_eq!(counts(&app).await, (1, 0));
}

#[tokio::test]
async fn identities_are_connected_and_disconnected_in_the_settings() {
    let (app, issuer) = start().await;
    let mut ann = Browser::of(&app, app.user(ANN).await);
    issuer.set_user(FakeUser::new("1", "other.address@example.org"));
    app.sql(UNTIL_OLD).await;
    for action in ["link", "unlink"] {
        let asked = ann.post(&format!("/settings/identities/acme/{action}"), &[]).await;
        assert_eq!(redirect(&asked), "/sign-in/confirm", "{action} needs a recent proof");
    }
    assert_eq!(redirect(&ann.post("/sign-in/confirm", &[("password", PASSWORD)]).await), "/settings");
    let back = ann.leave("/settings/identities/acme/link", &[]).await;
    // Not in the session of another user, even in the same browser.
    let mut other = Browser::of(&app, app.user("ben@example.com").await);
    other.ticket = ann.ticket.clone();
    shows(other.get(&back).await, StatusCode::UNAUTHORIZED, "Sign in").await;
    assert_eq!(counts(&app).await, (2, 0));
    let back = ann.leave("/settings/identities/acme/link", &[]).await;
    assert_eq!(redirect(&ann.get(&back).await), "/settings/security?saved=connected");
    let page = ann.client.text("/settings/security?saved=connected").await;
    assert!(page.contains("other.address@example.org") && page.contains("The account was connected."), "{page}");
    assert!(page.contains("Connected account added"), "in the recent activity: {page}");
    letter(&app, ANN, "Acme was connected to your account", 1).await;
    // Once more is no error and no second mail.
    let again = ann.leave("/settings/identities/acme/link", &[]).await;
    assert_eq!(redirect(&ann.get(&again).await), "/settings/security?saved=connected");
    // It belongs to one account only.
    let taken = other.leave("/settings/identities/acme/link", &[]).await;
    shows(other.get(&taken).await, StatusCode::UNPROCESSABLE_ENTITY, "is connected to another account here").await;
    assert_eq!(counts(&app).await, (2, 1));

    assert_eq!(
        redirect(&ann.post("/settings/identities/acme/unlink", &[]).await),
        "/settings/security?saved=disconnected"
    );
    letter(&app, ANN, "Acme was disconnected from your account", 1).await;
    let connected = letters(&app, ANN).await.into_iter().filter(|letter| letter.subject.contains("was connected"));
    assert_eq!(connected.count(), 1);
    assert_eq!(counts(&app).await, (2, 0));
}

/// An account that began with an identity sets a password after a proof by its provider, and can then do without the provider.
#[tokio::test]
async fn an_account_without_a_password_sets_one_and_keeps_a_way_in() {
    let (app, issuer) = start().await;
    let mut ann = Browser::new(&app);
    assert_eq!(redirect(&ann.sign_in("acme", &[]).await), CHAT);
    let refused = ann.post("/settings/identities/acme/unlink", &[]).await;
    shows(refused, StatusCode::UNPROCESSABLE_ENTITY, "Acme is the only way to sign in to your account.").await;
    assert_eq!(counts(&app).await, (1, 1));
    assert!(ann.client.text("/settings/security").await.contains("Set password"));

    app.sql(UNTIL_OLD).await;
    let page = ann.client.text("/settings/security").await;
    assert!(!page.contains("Set password") && page.contains("/sign-in/confirm?next=/settings/security"), "{page}");
    let set = [("password", NEW_PASSWORD)];
    let refused = ann.post("/settings/password", &set).await;
    shows(refused, StatusCode::UNPROCESSABLE_ENTITY, "Confirm that it").await;
    // There is no password to confirm with, not even an empty one.
    let page = ann.client.text("/sign-in/confirm?next=%2Fsettings%2Fsecurity").await;
    assert!(page.contains("Continue with Acme") && !page.contains("Continue with GitHub"), "{page}");
    for password in ["", NEW_PASSWORD] {
        let refused = ann.post("/sign-in/confirm", &[("password", password)]).await;
        shows(refused, StatusCode::UNPROCESSABLE_ENTITY, "Your account has no password.").await;
    }
    let confirm = [("confirm", "yes"), ("next", "/settings/security")];
    // The provider must have asked again, and it must be the same user.
    issuer.set_fault(Some(Fault::OldSignIn));
    let refused = ann.sign_in("acme", &confirm).await;
    shows(refused, StatusCode::UNPROCESSABLE_ENTITY, "The sign-in with Acme didn").await;
    issuer.set_fault(None);
    issuer.set_user(FakeUser::new("2", "ben@example.com"));
    let refused = ann.sign_in("acme", &confirm).await;
    shows(refused, StatusCode::UNPROCESSABLE_ENTITY, "This Acme account isn").await;
    issuer.set_user(FakeUser::new("1001", ANN));
    let before = ann.client.clone();
    assert_eq!(redirect(&ann.sign_in("acme", &confirm).await), "/settings/security");
    assert!(is_signed_in(&ann.client).await && !is_signed_in(&before).await, "a proof of identity begins a new token");

    assert_eq!(redirect(&ann.post("/settings/password", &set).await), "/settings/security?saved=password");
    assert_eq!(
        redirect(&ann.post("/settings/identities/acme/unlink", &[]).await),
        "/settings/security?saved=disconnected"
    );
    sign_in(&app, ANN, NEW_PASSWORD).await;
    assert_eq!(counts(&app).await, (1, 0));
}

/// A browser may have been signed in to a service for weeks, so a service that doesn't say when its user signed in confirms nothing, unless
/// the account has no other proof.
#[tokio::test]
async fn a_service_confirms_only_what_is_fresh() {
    let (app, issuer) = start().await;
    let mut ann = Browser::of(&app, app.user(ANN).await);
    for provider in ["acme", "github"] {
        let back = ann.leave(&format!("/settings/identities/{provider}/link"), &[]).await;
        assert_eq!(redirect(&ann.get(&back).await), "/settings/security?saved=connected");
    }
    app.sql(UNTIL_OLD).await;
    let page = ann.client.text("/sign-in/confirm").await;
    assert!(page.contains("Continue with Acme") && !page.contains("Continue with GitHub"), "{page}");
    let confirm = [("confirm", "yes")];
    let is_refused = async |response: Response, sentence: &'static str| {
        shows(response, StatusCode::UNPROCESSABLE_ENTITY, sentence).await;
        assert!(
            app.one::<bool>("select bool_and(authenticated_at < now() - interval '10 minutes') from session").await
        );
    };
    is_refused(ann.sign_in("github", &confirm).await, "GitHub doesn").await;
    issuer.set_fault(Some(Fault::NoAuthTime));
    is_refused(ann.sign_in("acme", &confirm).await, "Acme doesn").await;
    issuer.set_fault(None);
    assert_eq!(redirect(&ann.sign_in("acme", &confirm).await), "/settings");

    app.sql("update account set password_hash = null").await;
    assert!(ann.client.text("/sign-in/confirm").await.contains("Continue with GitHub"));
    assert_eq!(redirect(&ann.sign_in("github", &confirm).await), "/settings", "there is no other proof");
    app.sql(UNTIL_OLD).await;
    app.sql(
        "insert into totp (user_id, secret_encrypted, created_at, confirmed_at)
         select user_id, '\\x01', now(), now() from account",
    )
    .await;
    is_refused(ann.sign_in("github", &confirm).await, "GitHub doesn").await;
}

/// Whoever changed an account's address may have connected an identity of theirs since. Taking the address back disconnects it, and keeps
/// those that were connected before. `changes.rs` tests the same of factors.
#[tokio::test]
async fn undoing_a_change_of_address_disconnects_newer_identities_only() {
    let (app, issuer) = start().await;
    let mut ann = Browser::of(&app, app.user(ANN).await);
    let back = ann.leave("/settings/identities/acme/link", &[]).await;
    assert_eq!(redirect(&ann.get(&back).await), "/settings/security?saved=connected");
    let asked = ann.post("/settings/email", &[("email", "eve@example.com"), ("password", PASSWORD)]).await;
    assert_eq!(redirect(&asked), "/settings?saved=email");
    let mail = letter(&app, "eve@example.com", "Confirm your new email address", 1).await;
    redirect(&app.visitor().form("/verify", &[("token", mail.token())]).await);
    issuer.set_user(FakeUser::new("666", "eve@example.com"));
    let back = ann.leave("/settings/identities/github/link", &[]).await;
    assert_eq!(redirect(&ann.get(&back).await), "/settings/security?saved=connected");
    assert_eq!(counts(&app).await, (1, 2));
    let undo = letter(&app, ANN, "Your email address was changed", 1).await;
    assert_eq!(redirect(&app.visitor().form("/email/undo", &[("token", undo.token())]).await), "/forgot");
    assert_eq!(counts(&app).await, (1, 1));
    // The identity is that of a stranger again.
    assert_eq!(redirect(&Browser::new(&app).sign_in("github", &[]).await), CHAT);
    assert_eq!(counts(&app).await, (2, 2));
    // The owner's still signs in to the account.
    issuer.set_user(FakeUser::new("1001", ANN));
    let mut owner = Browser::new(&app);
    assert_eq!(redirect(&owner.sign_in("acme", &[]).await), CHAT);
    assert!(owner.client.text("/settings").await.contains(ANN));
    assert_eq!(counts(&app).await, (2, 2));
}

/// Two requests at once can't remove the last two ways in.
#[tokio::test]
async fn two_services_are_not_disconnected_at_once() {
    let (app, issuer) = start().await;
    let mut ann = Browser::new(&app);
    assert_eq!(redirect(&ann.sign_in("acme", &[]).await), CHAT);
    issuer.set_user(FakeUser::new("77", ANN));
    let back = ann.leave("/settings/identities/github/link", &[]).await;
    assert_eq!(redirect(&ann.get(&back).await), "/settings/security?saved=connected");
    assert_eq!(counts(&app).await, (1, 2));
    let request =
        |provider: &str| ann.client.request("POST", &format!("/settings/identities/{provider}/unlink")).send();
    let (one, two) = tokio::join!(request("acme"), request("github"));
    let mut statuses = [one.unwrap().status(), two.unwrap().status()];
    statuses.sort_unstable();
    assert_eq!(statuses, [StatusCode::SEE_OTHER, StatusCode::UNPROCESSABLE_ENTITY]);
    assert_eq!(counts(&app).await, (1, 1));
}

/// An identity is one factor: with an authenticator app, its code is asked for next. An identity that waits for a sign-in is connected when
/// that is complete.
#[tokio::test]
async fn an_identity_is_one_factor_and_a_kept_one_is_connected_after_the_second() {
    let (app, _issuer) = start().await;
    let mut ann = app.user(ANN).await;
    let (_, codes) = factors::set_up(&mut ann).await;
    let mut browser = Browser::new(&app);
    redirect(&browser.sign_in("acme", &[]).await);
    let asked = browser.post("/sign-in", &[("email", ANN), ("password", PASSWORD), ("next", "/usage")]).await;
    assert_eq!(redirect(&asked), "/sign-in/second?next=/usage");
    assert_eq!(counts(&app).await, (1, 0));
    let done = browser.post("/sign-in/second", &[("code", codes[0].as_str()), ("next", "/usage")]).await;
    assert_eq!(redirect(&done), "/usage");
    assert_eq!(counts(&app).await, (1, 1));

    let mut phone = Browser::new(&app);
    assert_eq!(redirect(&phone.sign_in("acme", &[("next", "/usage")]).await), "/sign-in/second?next=/usage");
    assert!(!is_signed_in(&phone.client).await);
    let done = phone.post("/sign-in/second", &[("code", codes[1].as_str()), ("next", "/usage")]).await;
    assert_eq!(redirect(&done), "/usage");
    // Confirming with the identity keeps what the session has proved.
    assert_eq!(redirect(&phone.sign_in("acme", &[("confirm", "yes")]).await), "/settings");
    assert_eq!(app.one::<i64>("select count(*) from session where is_two_factor").await, 3);
}

/// Where a second factor is required, the password of a user who has a passkey connects nothing until the passkey is used.
#[tokio::test]
async fn a_kept_identity_waits_for_a_passkey_that_is_required() {
    let (app, _issuer) = start().await;
    let change = |config: &mut server::Config| {
        config.require_mfa = true;
        config.public_url = passkeys::ORIGIN.to_owned();
    };
    let (url, _stop) = app.start_second_with(change).await;
    let mut ann = TestClient { url: url.clone(), ..app.user(ANN).await };
    let mut passkey = passkeys::add(&mut ann).await;
    let mut browser = Browser::new(&app);
    assert_eq!(redirect(&browser.sign_in("acme", &[]).await), "/sign-in?link=acme&how=kept");
    browser.client.url = url;
    let done = browser.post("/sign-in", &[("email", ANN), ("password", PASSWORD)]).await;
    assert_eq!(redirect(&done), CHAT);
    assert_eq!(counts(&app).await, (1, 0));
    let (id, options) = passkeys::begin(&mut browser.client, "/sign-in/confirm/passkey").await;
    let signed = passkey.sign(&options);
    let done = passkeys::finish(&mut browser.client, "/sign-in/confirm/passkey", &id, &signed).await;
    assert_eq!(done.status(), StatusCode::OK);
    assert_eq!(counts(&app).await, (1, 1));
}

/// A password, an identity and a passkey are ways in; whichever is the last one stays.
#[tokio::test]
async fn the_last_of_password_identity_and_passkey_is_kept() {
    let (app, _issuer) = start().await;
    let mut ann = Browser::of(&app, app.user(ANN).await);
    assert!(!ann.client.text("/settings/security").await.contains("Remove password"));
    let back = ann.leave("/settings/identities/acme/link", &[]).await;
    redirect(&ann.get(&back).await);
    assert!(ann.client.text("/settings/security").await.contains("Remove password"));
    // Whoever came in with the service alone doesn't know the password.
    let mut eve = Browser::new(&app);
    assert_eq!(redirect(&eve.sign_in("acme", &[]).await), CHAT);
    let remove = "/settings/password/remove";
    for (password, sentence) in [("", "Enter your password."), ("wrong password", "Your password was not removed.")] {
        let refused = eve.post(remove, &[("password_to_remove", password)]).await;
        shows(refused, StatusCode::UNPROCESSABLE_ENTITY, sentence).await;
    }
    assert!(app.one::<bool>("select password_hash is not null from account").await);
    let removed = ann.post(remove, &[("password_to_remove", PASSWORD)]).await;
    assert_eq!(redirect(&removed), "/settings/security?saved=password-removed");
    let unlink = "/settings/identities/acme/unlink";
    shows(ann.post(unlink, &[]).await, StatusCode::UNPROCESSABLE_ENTITY, "Acme is the only way to sign in").await;
    app.sql(
        "insert into passkey (credential_id, passkey_id, user_id, name, credential, created_at)
         select '\\x01', gen_random_uuid(), user_id, 'Laptop', '{}', now() from account",
    )
    .await;
    assert_eq!(redirect(&ann.post(unlink, &[]).await), "/settings/security?saved=disconnected");
    assert_eq!(counts(&app).await, (1, 0));
}
