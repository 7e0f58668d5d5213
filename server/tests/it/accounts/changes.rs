//! Changes of password, address and name by their user.

use super::{NEW_PASSWORD, is_limited, is_signed_in, letter, letters, redirect, shows, sign_in};
use crate::app::{PASSWORD, TestApp};
use crate::visitor::TestClient;
use http::StatusCode;

const REJECTED: StatusCode = StatusCode::UNPROCESSABLE_ENTITY;
const USED: &str = "expired or was used before";

#[tokio::test]
async fn a_new_password_needs_the_current_one_and_ends_other_sessions() {
    let app = TestApp::new().await;
    let mut ann = app.user("annabel@example.com").await;
    let laptop = sign_in(&app, "annabel@example.com", PASSWORD).await;
    for (current, new, sentence) in [
        ("wrong password", NEW_PASSWORD, "Incorrect password."),
        ("", NEW_PASSWORD, "Enter your password."),
        (PASSWORD, "short", "Use at least 12 characters."),
        (PASSWORD, "Password1234", "easy to guess"),
        (PASSWORD, "annabel in the rain", "contain your email address"),
    ] {
        let page = ann.form("/settings/password", &[("current", current), ("password", new)]).await;
        let page = shows(page, REJECTED, sentence).await;
        assert!(!page.contains(NEW_PASSWORD) && !page.contains("value=\"correct"), "the page contains a password");
    }
    let before = ann.clone();
    let done = ann.form("/settings/password", &[("current", PASSWORD), ("password", NEW_PASSWORD)]).await;
    assert_eq!(redirect(&done), "/settings/security?saved=password");
    assert!(is_signed_in(&ann).await && !is_signed_in(&before).await && !is_signed_in(&laptop).await);
    assert!(ann.text("/settings/security?saved=password").await.contains("Your password was changed."));
    let old = app.visitor().form("/sign-in", &[("email", "annabel@example.com"), ("password", PASSWORD)]).await;
    shows(old, REJECTED, "Incorrect email or password").await;
    sign_in(&app, "annabel@example.com", NEW_PASSWORD).await;
    letter(&app, "annabel@example.com", "Your password was changed", 1).await;
}

/// A new password ends what somebody who knew the old one may have begun: a reset by mail, and a change of address.
#[tokio::test]
async fn a_new_password_ends_pending_links() {
    let app = TestApp::new().await;
    let mut ann = app.user("ann@example.com").await;
    ann.form("/forgot", &[("email", "ann@example.com")]).await;
    let reset = letter(&app, "ann@example.com", "Set a new password", 1).await;
    let asked = ann.form("/settings/email", &[("email", "eve@example.com"), ("password", PASSWORD)]).await;
    assert_eq!(redirect(&asked), "/settings?saved=email");
    let change = letter(&app, "eve@example.com", "Confirm your new email address", 1).await;
    ann.form("/settings/password", &[("current", PASSWORD), ("password", NEW_PASSWORD)]).await;
    let mut eve = app.visitor();
    let fields = [("token", reset.token()), ("password", "eve was here now")];
    shows(eve.form("/reset", &fields).await, REJECTED, USED).await;
    shows(eve.form("/verify", &[("token", change.token())]).await, REJECTED, USED).await;
    assert!(is_signed_in(&ann).await);
    assert_eq!(app.one::<String>("select email from account").await, "ann@example.com");
}

/// Asks for a change of address, and confirms it by the link that the new address gets.
async fn change_email(app: &TestApp, ann: &mut TestClient, from: &str, to: &str) {
    let asked = ann.form("/settings/email", &[("email", to), ("password", PASSWORD)]).await;
    assert_eq!(redirect(&asked), "/settings?saved=email");
    assert!(ann.text("/settings").await.contains(from), "the address stays until the link is opened");
    let mail = letter(app, to, "Confirm your new email address", 1).await;
    assert!(ann.text(&mail.path).await.contains(mail.token()));
    assert_eq!(
        app.one::<i64>("select count(*) from account_token where kind = 'change_email' and used_at is null").await,
        1
    );
    // In whatever browser the mail is read.
    let done = app.visitor().form("/verify", &[("token", mail.token())]).await;
    assert_eq!(redirect(&done), "/verify?confirmed=yes");
    assert!(ann.text("/settings").await.contains(to));
}

#[tokio::test]
async fn addresses_that_cannot_be_used_are_rejected() {
    let app = TestApp::new().await;
    let mut ann = app.user("ann@example.com").await;
    app.user("bob@example.com").await;
    for (email, password, sentence) in [
        ("not an address", PASSWORD, "Enter a valid email address"),
        ("ann@mailinator.com", PASSWORD, "This is a disposable address"),
        ("ann@example.com", PASSWORD, "This is your current address"),
        ("BOB@example.com", PASSWORD, "This address belongs to another account"),
        ("new@example.com", "wrong password", "Incorrect password."),
        ("new@example.com", "", "Enter your password."),
    ] {
        let page = ann.form("/settings/email", &[("email", email), ("password", password)]).await;
        let page = shows(page, REJECTED, sentence).await;
        assert!(page.contains(&format!("value=\"{email}\"")) && !page.contains(PASSWORD), "{email}");
    }
    assert!(letters(&app, "new@example.com").await.is_empty() && letters(&app, "BOB@example.com").await.is_empty());
    // Somebody else takes the address before the link is opened.
    ann.form("/settings/email", &[("email", "new@example.com"), ("password", PASSWORD)]).await;
    let mail = letter(&app, "new@example.com", "Confirm your new email address", 1).await;
    app.user("new@example.com").await;
    let late = app.visitor().form("/verify", &[("token", mail.token())]).await;
    shows(late, REJECTED, "This address belongs to another account").await;
    assert_eq!(app.one::<i64>("select count(*) from account where email = 'ann@example.com'").await, 1);
}

/// Whether addresses have accounts can't be found out by many changes: those that are refused count as well.
#[tokio::test]
async fn looking_for_accounts_by_changing_the_address_is_limited() {
    let app = TestApp::new().await;
    let mut eve = app.user("eve@example.com").await;
    app.user("bob@example.com").await;
    let fields = [("email", "bob@example.com"), ("password", PASSWORD)];
    for _ in 0..5 {
        shows(eve.form("/settings/email", &fields).await, REJECTED, "This address belongs to another account").await;
    }
    for email in ["bob@example.com", "nobody@example.com"] {
        is_limited(eve.form("/settings/email", &[("email", email), ("password", PASSWORD)]).await).await;
    }
    assert!(letters(&app, "nobody@example.com").await.is_empty());
}

/// A new address counts once its link was opened. Both addresses are notified, the meter isn't refilled, and the old address can take the
/// account back: then whoever changed it is signed out and knows no password.
#[tokio::test]
async fn a_new_address_counts_once_confirmed_and_can_be_undone() {
    let app = TestApp::new().await;
    let mut ann = app.user("ann@example.com").await;
    ann.send_and_read("{{words:9}}").await;
    app.until("select bool_and(meter_settled_at is not null) from turn").await;
    let used = ann.quota().await["tokens"]["used"].clone();
    change_email(&app, &mut ann, "ann@example.com", "ann.lee@example.org").await;
    assert_eq!(ann.quota().await["tokens"]["used"], used, "a change of address refills nothing");
    assert_eq!(app.subject("ann.lee@example.org").await, app.subject_of("ann@example.com"));
    letter(&app, "ann.lee@example.org", "Your new email address is confirmed", 1).await;
    let undo = letter(&app, "ann@example.com", "Your email address was changed", 1).await;
    assert!(undo.text.contains("ann.lee@example.org") && undo.path.starts_with("/email/undo?token="));
    sign_in(&app, "ann.lee@example.org", PASSWORD).await;

    let mut owner = app.visitor();
    assert!(owner.text(&undo.path).await.contains(undo.token()));
    assert!(is_signed_in(&ann).await, "opening the link changes nothing");
    assert!(
        app.one::<bool>(
            "select expires_at - created_at = interval '7 days' from account_token where kind = 'undo_email'"
        )
        .await
    );
    assert_eq!(redirect(&owner.form("/email/undo", &[("token", undo.token())]).await), "/forgot");
    assert_eq!(app.one::<String>("select email from account").await, "ann@example.com");
    assert!(!is_signed_in(&ann).await);
    for to in ["ann@example.com", "ann.lee@example.org"] {
        letter(&app, to, "Your email address was changed back", 1).await;
    }
    let known = app.visitor().form("/sign-in", &[("email", "ann@example.com"), ("password", PASSWORD)]).await;
    shows(known, REJECTED, "Incorrect email or password").await;
    shows(owner.form("/email/undo", &[("token", undo.token())]).await, REJECTED, USED).await;
    owner.form("/forgot", &[("email", "ann@example.com")]).await;
    let reset = letter(&app, "ann@example.com", "Set a new password", 1).await;
    owner.form("/reset", &[("token", reset.token()), ("password", NEW_PASSWORD)]).await;
    assert_eq!(owner.quota().await["tokens"]["used"], used);
    let events = "select count(*) from security_event where kind = 'email_changed'";
    assert_eq!(app.one::<i64>(events).await, 2);
}

/// Whoever changed an address may have added factors since. Taking it back removes those that were added at that moment or later, however
/// long ago that was, and no older ones. API keys are revoked alike. `external_links.rs` tests the same of identities.
#[tokio::test]
async fn undoing_a_change_of_address_removes_newer_factors_only() {
    let app = TestApp::new().await;
    for name in ["ann", "bob", "cat"] {
        let (from, to) = (format!("{name}@example.com"), format!("{name}@example.org"));
        let mut user = app.user(&from).await;
        change_email(&app, &mut user, &from, &to).await;
    }
    // Three days ago. Ann's app is new, as are Bob's recovery codes for an older app; of Cat's, only passkeys are.
    app.sql(
        "update account_token set created_at = created_at - interval '3 days' where kind = 'undo_email';
         create temporary view changed as
         select t.user_id, a.email, t.created_at as at, t.created_at - interval '1 microsecond' as before
         from account_token t join account a using (user_id) where t.kind = 'undo_email';
         insert into passkey (credential_id, passkey_id, user_id, name, credential, created_at)
         select uuid_send(gen_random_uuid()), gen_random_uuid(), user_id, name, '{}', created_at from changed
         cross join lateral (values ('new', at), ('newer', now()), ('old', before)) as key (name, created_at);
         insert into api_key (api_key_id, user_id, name, prefix, secret_hash, created_at)
         select gen_random_uuid(), user_id, name, 'sk-', sha256((email || name)::bytea), created_at from changed
         cross join lateral (values ('new', at), ('newer', now()), ('old', before)) as key (name, created_at);
         insert into totp (user_id, secret_encrypted, created_at, confirmed_at)
         select user_id, '\\x01', before, case when email like 'ann%' then at else before end from changed;
         insert into recovery_code (user_id, code_hash, created_at)
         select user_id, '\\x01', case when email like 'bob%' then at else before end from changed",
    )
    .await;
    for name in ["ann", "bob", "cat"] {
        let from = format!("{name}@example.com");
        let undo = letter(&app, &from, "Your email address was changed", 1).await;
        assert!(undo.text.contains("sign-in methods that were added since the change are removed"));
        assert_eq!(redirect(&app.visitor().form("/email/undo", &[("token", undo.token())]).await), "/forgot");
        let mail = letter(&app, &from, "Your email address was changed back", 1).await;
        assert!(mail.text.contains("that were added since the change were removed"), "{}", mail.text);
    }
    assert_eq!(app.one::<String>("select string_agg(name, ' ') from passkey").await, "old old old");
    let keys = "select string_agg(name, ' ') from api_key where revoked_at is null";
    assert_eq!(app.one::<String>(keys).await, "old old old");
    let left = "select string_agg(email, ' ' order by email) from account join totp using (user_id)";
    assert_eq!(app.one::<String>(left).await, "bob@example.com cat@example.com");
    let left = "select string_agg(email, ' ' order by email) from account join recovery_code using (user_id)";
    assert_eq!(app.one::<String>(left).await, "cat@example.com");
}

#[tokio::test]
async fn a_change_of_address_cannot_be_undone_after_a_week() {
    let app = TestApp::new().await;
    let mut ann = app.user("ann@example.com").await;
    change_email(&app, &mut ann, "ann@example.com", "ann@example.org").await;
    let undo = letter(&app, "ann@example.com", "Your email address was changed", 1).await;
    app.sql("update account_token set expires_at = now() - interval '1 second' where kind = 'undo_email'").await;
    let late = app.visitor().form("/email/undo", &[("token", undo.token())]).await;
    shows(late, REJECTED, USED).await;
    assert!(is_signed_in(&ann).await);
    assert_eq!(app.one::<String>("select email from account").await, "ann@example.org");
}

/// Field note 93: a name has no characters that are invisible or change the direction of the text around it.
#[tokio::test]
async fn a_new_name_is_announced_and_a_bad_one_is_kept_in_its_form() {
    let app = TestApp::new().await;
    let mut ann = app.user("ann@example.com").await;
    let long = "x".repeat(81);
    for name in [long.as_str(), "Ann\u{7}Lee", "Ann\u{202e}eeL"] {
        let page = ann.form("/settings/name", &[("name", name)]).await;
        assert!(shows(page, REJECTED, "Use at most 80 characters").await.contains(&long) || name != long);
    }
    for _ in 0..2 {
        let done = ann.form("/settings/name", &[("name", " Ann Lee ")]).await;
        assert_eq!(redirect(&done), "/settings?saved=name");
    }
    assert_eq!(app.one::<String>("select name from account").await, "Ann Lee");
    let mail = letter(&app, "ann@example.com", "Your name was changed", 1).await;
    assert!(mail.text.contains("Ann Lee"));
    // The second submission changed nothing.
    assert_eq!(letters(&app, "ann@example.com").await.len(), 2);
}
