//! Second factors: authenticator apps, recovery codes, and what admins need.

use super::{NEW_PASSWORD, is_limited, is_signed_in, letter, letters, redirect, shows};
use crate::app::{PASSWORD, TestApp};
use crate::visitor::TestClient;
use data_encoding::BASE32_NOPAD;
use http::{StatusCode, header};
use time::OffsetDateTime;
use totp_rs::{Builder, Totp};

const WRONG: StatusCode = StatusCode::UNPROCESSABLE_ENTITY;
const WRONG_CODE: &str = "This code is wrong or was used before.";
const ANN: &str = "ann@example.com";
/// Subject of the mail about wrong codes.
const TOLD: &str = "Wrong codes were entered for your account";

/// Returns the code that an app shows so many seconds from now.
pub(super) fn code(app: &Totp, seconds: i64) -> String {
    app.generate(u64::try_from(OffsetDateTime::now_utc().unix_timestamp() + seconds).unwrap()).to_string()
}

/// Returns the key that a page shows for an authenticator app.
pub(super) fn shown_key(page: &str) -> String {
    let (_, rest) = page.split_once("<code class=\"key\">").unwrap_or_else(|| panic!("no key in {page}"));
    rest.split('<').next().unwrap().replace(' ', "")
}

/// Returns an authenticator app that was given a key.
pub(super) fn app_with(key: &str) -> Totp {
    Builder::new().with_secret(BASE32_NOPAD.decode(key.as_bytes()).unwrap()).build().unwrap()
}

/// Sets up an authenticator app. Returns it with the recovery codes.
pub(super) async fn set_up(user: &mut TestClient) -> (Totp, Vec<String>) {
    let app = app_with(&shown_key(&user.text("/settings/security/totp").await));
    let current = code(&app, 0);
    let page = user.form("/settings/security/totp", &[("code", current.as_str())]).await;
    let page = shows(page, StatusCode::OK, "Keep them safe").await;
    let codes = page.split("<li><code>").skip(1).map(|rest| rest.split('<').next().unwrap().to_owned()).collect();
    (app, codes)
}

/// Enters a password in a new browser. The session then waits for the second factor.
pub(super) async fn enter_password(app: &TestApp, email: &str, password: &str) -> TestClient {
    let mut visitor = app.visitor();
    let fields = [("email", email), ("password", password), ("next", "/usage?days=7")];
    let response = visitor.form("/sign-in", &fields).await;
    assert_eq!(redirect(&response), "/sign-in/second?next=/usage%3Fdays%3D7");
    visitor
}

/// Enters a code and the page to go to.
async fn enter(visitor: &mut TestClient, code: &str) -> reqwest::Response {
    visitor.form("/sign-in/second", &[("code", code), ("next", "/usage?days=7")]).await
}

/// Makes the steps of all apps usable again, so that a test doesn't wait for the next one.
async fn forget_steps(app: &TestApp) {
    app.sql("update totp set last_step = 0").await;
}

#[tokio::test]
async fn an_app_is_a_second_factor_whose_codes_work_once() {
    let app = TestApp::new().await;
    let mut ann = app.user(ANN).await;
    // Opening the page again, also in another tab, shows the same key. Until a code was entered, no code is asked for.
    let first = ann.text("/settings/security/totp").await;
    assert_eq!(shown_key(&first), shown_key(&ann.text("/settings/security/totp").await));
    assert!(first.contains("<path d=\"M0 0h1v1h-1z") && !first.contains(" style=\""));
    let stored = "select totp_secret_encrypted from session";
    assert!(!app.one::<Vec<u8>>(stored).await.is_empty());
    super::sign_in(&app, ANN, PASSWORD).await;
    for wrong in ["", "12345", "abcdef"] {
        let page = ann.form("/settings/security/totp", &[("code", wrong)]).await;
        let page = shows(page, WRONG, "Enter the 6 digits that your app shows.").await;
        assert_eq!(shown_key(&page), shown_key(&first), "the key is still shown");
    }

    let before = ann.clone();
    let (totp, codes) = set_up(&mut ann).await;
    assert_eq!(codes.len(), 10);
    assert!(is_signed_in(&ann).await && !is_signed_in(&before).await, "a new factor begins a new token");
    letter(&app, ANN, "A sign-in method was added", 1).await;
    assert_eq!(redirect(&ann.get("/settings/security/totp").await), "/settings/security", "the key is shown no more");
    assert!(app.one::<bool>("select bool_or(is_two_factor) from session").await);

    let mut phone = enter_password(&app, ANN, PASSWORD).await;
    assert!(!is_signed_in(&phone).await);
    assert!(phone.text("/sign-in/second?next=%2Fusage").await.contains("name=\"next\" value=\"/usage\""));
    // The step that confirmed the app is used up, later ones are out of the window.
    forget_steps(&app).await;
    shows(enter(&mut phone, &code(&totp, 90)).await, WRONG, WRONG_CODE).await;
    let current = code(&totp, 0);
    let spaced = format!("{} {}", &current[..3], &current[3..]);
    assert_eq!(redirect(&enter(&mut phone, &spaced).await), "/usage?days=7");
    assert!(is_signed_in(&phone).await);
    let mut other = enter_password(&app, ANN, PASSWORD).await;
    shows(enter(&mut other, &current).await, WRONG, WRONG_CODE).await;
    assert_eq!(redirect(&enter(&mut other, &code(&totp, 30)).await), "/usage?days=7", "the next step");
    let mut late = enter_password(&app, ANN, PASSWORD).await;
    shows(enter(&mut late, &current).await, WRONG, WRONG_CODE).await;

    // Removed, nothing more is asked for.
    assert_eq!(
        redirect(&ann.form("/settings/security/totp/remove", &[]).await),
        "/settings/security?saved=totp-removed"
    );
    assert!(app.one::<bool>("select not exists (select from totp) and not exists (select from recovery_code)").await);
    letter(&app, ANN, "A sign-in method was removed", 1).await;
    super::sign_in(&app, ANN, PASSWORD).await;
    let events = "select string_agg(kind, ' ' order by created_at) from security_event where kind like 'factor%'";
    assert_eq!(app.one::<String>(events).await, "factor_added factor_removed");
}

/// Somebody who knows the password opens the page before the user does, to know the key that the user sets up. Each session has its own.
#[tokio::test]
async fn a_key_that_another_session_was_shown_is_not_set_up() {
    let app = TestApp::new().await;
    let mut ann = app.user(ANN).await;
    let eve = super::sign_in(&app, ANN, PASSWORD).await;
    let planted = shown_key(&eve.text("/settings/security/totp").await);
    let own = shown_key(&ann.text("/settings/security/totp").await);
    assert_ne!(planted, own);
    assert_eq!(shown_key(&eve.text("/settings/security/totp").await), planted);
    let code_of_eve = code(&app_with(&planted), 0);
    let page = ann.form("/settings/security/totp", &[("code", code_of_eve.as_str())]).await;
    assert_eq!(shown_key(&shows(page, WRONG, "This code is wrong.").await), own);
    let code_of_ann = code(&app_with(&own), 0);
    let page = ann.form("/settings/security/totp", &[("code", code_of_ann.as_str())]).await;
    shows(page, StatusCode::OK, "Keep them safe").await;
    assert!(is_signed_in(&ann).await && !is_signed_in(&eve).await);
    assert!(app.one::<bool>("select bool_and(totp_secret_encrypted is null) from session").await);
}

#[tokio::test]
async fn recovery_codes_work_once_and_are_replaced() {
    let app = TestApp::new().await;
    let mut ann = app.user(ANN).await;
    shows(ann.form("/settings/security/recovery", &[]).await, WRONG, "Set up an authenticator app first.").await;
    let (_, codes) = set_up(&mut ann).await;
    let hashes: Vec<Vec<u8>> =
        sqlx::query_scalar("select code_hash from recovery_code").fetch_all(&app.db).await.unwrap();
    assert!(hashes.len() == 10 && hashes.iter().all(|hash| hash.len() == 32));
    let typed = codes[0].to_lowercase().replace('-', " ");
    let mut phone = enter_password(&app, ANN, PASSWORD).await;
    assert_eq!(redirect(&enter(&mut phone, &typed).await), "/usage?days=7");
    let mut again = enter_password(&app, ANN, PASSWORD).await;
    for used in [&codes[0], &typed] {
        shows(enter(&mut again, used).await, WRONG, WRONG_CODE).await;
    }
    assert!(ann.text("/settings/security").await.contains("9 codes are left."));
    let page = shows(ann.form("/settings/security/recovery", &[]).await, StatusCode::OK, "Keep them safe").await;
    assert!(codes.iter().all(|code| !page.contains(code)));
    assert!(!ann.text("/settings/security/recovery").await.contains("<li><code>"), "they are shown once");
    shows(enter(&mut again, &codes[1]).await, WRONG, WRONG_CODE).await;
    let new = page.split("<li><code>").nth(1).unwrap().split('<').next().unwrap();
    assert_eq!(redirect(&enter(&mut again, new).await), "/usage?days=7");
    // Another user's code is no code.
    let mut bob = app.user("bob@example.com").await;
    let (_, of_bob) = set_up(&mut bob).await;
    let mut eve = enter_password(&app, ANN, PASSWORD).await;
    shows(enter(&mut eve, &of_bob[0]).await, WRONG, WRONG_CODE).await;
}

/// Field note 67: wrong codes are attempts, and each is in the recent activity. A right one clears the count. Browsers in which the owner has
/// signed in have a count of their own, so that nobody who knows the password locks them out.
#[tokio::test]
async fn wrong_codes_are_limited() {
    let app = TestApp::new().await;
    let mut ann = app.user(ANN).await;
    let (_, codes) = set_up(&mut ann).await;
    let mut eve = enter_password(&app, ANN, PASSWORD).await;
    for _ in 0..9 {
        shows(enter(&mut eve, "AAAA-AAAA").await, WRONG, WRONG_CODE).await;
    }
    assert_eq!(redirect(&enter(&mut eve, &codes[0]).await), "/usage?days=7");
    let mut eve = enter_password(&app, ANN, PASSWORD).await;
    for _ in 0..10 {
        shows(enter(&mut eve, "AAAA-AAAA").await, WRONG, WRONG_CODE).await;
    }
    is_limited(enter(&mut eve, &codes[1]).await).await;
    let confirmed = ann.form("/sign-in/confirm", &[("code", codes[1].as_str())]).await;
    assert_eq!(redirect(&confirmed), "/settings", "in a browser that is known");
    for _ in 0..10 {
        let wrong = ann.form("/sign-in/confirm", &[("code", "AAAA-AAAA")]).await;
        shows(wrong, WRONG, WRONG_CODE).await;
    }
    is_limited(ann.form("/sign-in/confirm", &[("code", codes[2].as_str())]).await).await;
    let failed = "select count(*) from security_event where kind = 'code_failed'";
    assert_eq!(app.one::<i64>(failed).await, 29);
    assert!(ann.text("/settings/security").await.contains("Wrong second-factor code"));
}

/// However patient somebody is, codes can be guessed a few times a day only. The owner is told, and signs in with a browser of before.
#[tokio::test]
async fn codes_have_a_daily_limit_and_the_owner_is_told() {
    let app = TestApp::new().await;
    let mut ann = app.user(ANN).await;
    let (_, codes) = set_up(&mut ann).await;
    for n in 0..4 {
        let mut eve = enter_password(&app, ANN, PASSWORD).await;
        shows(enter(&mut eve, "AAAA-AAAA").await, WRONG, WRONG_CODE).await;
        assert_eq!(letters(&app, ANN).await.iter().filter(|mail| mail.subject == TOLD).count(), 0, "{n}");
    }
    for (n, code) in codes[..3].iter().enumerate() {
        let mut eve = enter_password(&app, ANN, PASSWORD).await;
        let wrong = if n == 0 { 5 } else { 9 };
        for _ in 0..wrong {
            shows(enter(&mut eve, "AAAA-AAAA").await, WRONG, WRONG_CODE).await;
        }
        // Clears the count of a quarter of an hour, as waiting would.
        assert_eq!(redirect(&enter(&mut eve, code).await), "/usage?days=7");
    }
    let mut eve = enter_password(&app, ANN, PASSWORD).await;
    let refused = enter(&mut eve, &codes[3]).await;
    let seconds: u64 = refused.headers()[header::RETRY_AFTER].to_str().unwrap().parse().unwrap();
    assert!((3_600..=87_300).contains(&seconds), "{seconds}");
    shows(refused, StatusCode::TOO_MANY_REQUESTS, "Too many codes were entered for this account today.").await;
    let mail = letter(&app, ANN, TOLD, 1).await;
    assert_eq!(mail.path, "/settings/security");
    let told = letters(&app, ANN).await.iter().filter(|mail| mail.subject == TOLD).count();
    assert!((1..=2).contains(&told), "once, or twice if a day has just begun: {told}");

    let mut home = TestClient { cookie: None, ..ann.clone() };
    let waits = home.form("/sign-in", &[("email", ANN), ("password", PASSWORD)]).await;
    assert_eq!(redirect(&waits), "/sign-in/second");
    assert_eq!(redirect(&enter(&mut home, &codes[3]).await), "/usage?days=7");
    let mail = letter(&app, ANN, "A recovery code for your account was used", 4).await;
    assert!(mail.text.contains("6 codes are left."), "{mail:?}");
}

#[tokio::test]
async fn a_session_waits_ten_minutes_for_its_second_factor() {
    let app = TestApp::new().await;
    let mut ann = app.user(ANN).await;
    let (totp, _) = set_up(&mut ann).await;
    forget_steps(&app).await;
    assert_eq!(redirect(&app.visitor().get("/sign-in/second").await), "/sign-in");
    assert_eq!(redirect(&app.visitor().form("/sign-in/second", &[("code", "123456")]).await), "/sign-in");
    let mut phone = enter_password(&app, ANN, PASSWORD).await;
    let waits =
        "select expires_at between now() + interval '9 minutes' and now() + interval '10 minutes' and user_id is null
                 from session where pending_user_id is not null";
    assert!(app.one::<bool>(waits).await);
    app.sql("update session set expires_at = now() - interval '1 second' where pending_user_id is not null").await;
    assert_eq!(redirect(&phone.get("/sign-in/second?next=%2Fusage").await), "/sign-in?next=/usage");
    assert_eq!(redirect(&enter(&mut phone, &code(&totp, 0)).await), "/sign-in");
    // A new password ends it too.
    let mut phone = enter_password(&app, ANN, PASSWORD).await;
    let fields = [("current", PASSWORD), ("password", NEW_PASSWORD)];
    assert_eq!(redirect(&ann.form("/settings/password", &fields).await), "/settings/security?saved=password");
    assert_eq!(redirect(&enter(&mut phone, &code(&totp, 0)).await), "/sign-in");
    assert!(is_signed_in(&ann).await);
}

#[tokio::test]
async fn a_reset_by_mail_asks_for_the_second_factor() {
    let app = TestApp::new().await;
    let mut ann = app.user(ANN).await;
    let (totp, _) = set_up(&mut ann).await;
    forget_steps(&app).await;
    let mut phone = app.visitor();
    phone.form("/forgot", &[("email", ANN)]).await;
    let mail = letter(&app, ANN, "Set a new password", 1).await;
    let response = phone.form("/reset", &[("token", mail.token()), ("password", NEW_PASSWORD)]).await;
    assert_eq!(redirect(&response), "/sign-in/second");
    assert!(!is_signed_in(&phone).await && !is_signed_in(&ann).await);
    let browsers = "select count(*) from known_browser";
    assert_eq!(app.one::<i64>(browsers).await, 1, "access to mail alone makes no browser known");
    assert_eq!(redirect(&enter(&mut phone, &code(&totp, 0)).await), "/usage?days=7");
    assert!(is_signed_in(&phone).await);
    assert_eq!(app.one::<i64>(browsers).await, 2);
}

/// A step-up accepts a code, and changes of factors need one.
#[tokio::test]
async fn factors_are_changed_only_after_a_recent_proof() {
    let app = TestApp::new().await;
    let mut ann = app.user(ANN).await;
    let (totp, _) = set_up(&mut ann).await;
    forget_steps(&app).await;
    app.sql("update session set authenticated_at = now() - interval '11 minutes'").await;
    for path in ["/settings/security/totp/remove", "/settings/security/recovery", "/settings/password/remove"] {
        assert_eq!(redirect(&ann.form(path, &[]).await), "/sign-in/confirm", "{path}");
    }
    assert_eq!(redirect(&ann.get("/settings/security/totp").await), "/sign-in/confirm?next=/settings/security/totp");
    let page = ann.form("/sign-in/confirm", &[("code", "AAAA-AAAA"), ("next", "/usage")]).await;
    assert!(shows(page, WRONG, WRONG_CODE).await.contains("name=\"next\" value=\"/usage\""));
    let current = code(&totp, 0);
    let fields = [("code", current.as_str()), ("next", "/usage")];
    assert_eq!(redirect(&ann.form("/sign-in/confirm", &fields).await), "/usage");
    // The password is the only way in.
    let remove = [("password_to_remove", PASSWORD)];
    shows(ann.form("/settings/password/remove", &remove).await, WRONG, "your only way to sign in").await;
}

#[tokio::test]
async fn admins_prove_a_second_factor_if_it_is_required() {
    let app = TestApp::with(&[("REQUIRE_MFA_FOR_ADMINS", "true")]).await;
    let (ann, mut admin) = (app.user(ANN).await, app.user("admin@example.com").await);
    for path in ["/admin", "/admin/users", "/admin/export.json"] {
        assert_eq!(redirect(&admin.get(path).await), "/settings/security?required=mfa", "{path}");
        assert_eq!(ann.get(path).await.status(), StatusCode::NOT_FOUND, "{path} doesn't exist for others");
    }
    assert_eq!(admin.form("/fn/admin_health", &[]).await.status(), StatusCode::SEE_OTHER);
    assert!(admin.text("/settings/security?required=mfa").await.contains("You need a second factor to continue"));
    let one_factor = admin.clone();
    let (totp, _) = set_up(&mut admin).await;
    assert_eq!(admin.get("/admin").await.status(), StatusCode::OK);
    assert!(!is_signed_in(&one_factor).await);
    // A session from before proves it first; the password alone isn't enough.
    app.sql("update session set is_two_factor = false").await;
    let confirm = "/sign-in/confirm?next=/admin/users&factor=second";
    assert_eq!(redirect(&admin.get("/admin/users").await), confirm);
    let page = admin.text(confirm).await;
    assert!(page.contains("name=\"code\"") && !page.contains("name=\"password\""), "{page}");
    admin.form("/sign-in/confirm", &[("password", PASSWORD)]).await;
    assert_eq!(redirect(&admin.get("/admin/users").await), confirm);
    forget_steps(&app).await;
    let current = code(&totp, 0);
    let fields = [("code", current.as_str()), ("next", "/admin/users")];
    assert_eq!(redirect(&admin.form("/sign-in/confirm", &fields).await), "/admin/users");
    assert_eq!(admin.get("/admin/users").await.status(), StatusCode::OK);
    // The password keeps what was proved.
    admin.form("/sign-in/confirm", &[("password", PASSWORD)]).await;
    assert_eq!(admin.get("/admin/users").await.status(), StatusCode::OK);
}

/// The key of codes is replaced without touching subjects. While the previous one is set, everything that was made with it is still valid;
/// afterwards authenticator apps are, because their secrets were encrypted again.
#[tokio::test]
async fn the_key_of_codes_can_be_replaced() {
    let app = TestApp::new().await;
    let (mut ann, mut bob) = (app.user(ANN).await, app.unverified_user("bob@example.com").await);
    ann.send_and_read("{{words:3}}").await;
    let used = ann.quota().await["tokens"]["used"].clone();
    let (totp, codes) = set_up(&mut ann).await;
    let mail = letter(&app, "bob@example.com", "Confirm your email", 1).await;
    app.sql("create table before as select secret_encrypted from totp").await;
    let (old, new) = (app.config.codes_key, [9; 32]);
    let (url, _stop) =
        app.start_second_with(|config| (config.codes_key, config.codes_key_previous) = (new, Some(old))).await;
    forget_steps(&app).await;
    for code in [&code(&totp, 0), &codes[0]] {
        let mut phone = enter_password(&app, ANN, PASSWORD).await;
        phone.url.clone_from(&url);
        assert_eq!(redirect(&enter(&mut phone, code).await), "/usage?days=7");
    }
    bob.url.clone_from(&url);
    assert_eq!(redirect(&bob.form("/verify", &[("code", mail.code())]).await), "/verify?confirmed=yes");
    app.until("select not exists (select from totp join before using (secret_encrypted))").await;

    let (url, _stop) = app.start_second_with(|config| config.codes_key = new).await;
    let mut late = enter_password(&app, ANN, PASSWORD).await;
    late.url.clone_from(&url);
    shows(enter(&mut late, &codes[1]).await, WRONG, WRONG_CODE).await;
    forget_steps(&app).await;
    assert_eq!(redirect(&enter(&mut late, &code(&totp, 0)).await), "/usage?days=7");
    assert_eq!(late.quota().await["tokens"]["used"], used, "the subject is the same");
}
