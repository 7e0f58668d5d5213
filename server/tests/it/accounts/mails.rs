//! Mails about accounts: their previews, and what is sent without a form that asks for it.

use super::{letter, letters, redirect, sign_in};
use crate::app::{HTTP, PASSWORD, TestApp};
use http::StatusCode;
use store::job::Lane;
use time::OffsetDateTime;

/// An owner edits the templates and sees each mail in both formats.
#[tokio::test]
async fn every_mail_has_a_preview_in_both_formats() {
    let app = TestApp::new().await;
    app.user("ann@example.com").await;
    let page = HTTP.get(format!("{}/dev/mail", app.url)).send().await.unwrap().text().await.unwrap();
    let links: Vec<&str> =
        page.split("href=\"/dev/mail/").skip(1).map(|rest| rest.split_once('"').unwrap().0).collect();
    assert!(links.len() >= 36 && links.contains(&"verify_email.html"), "{links:?}");
    for link in links {
        let preview = HTTP.get(format!("{}/dev/mail/{link}", app.url)).send().await.unwrap();
        assert_eq!(preview.status(), StatusCode::OK, "{link}");
        let text = preview.text().await.unwrap();
        assert!(text.contains("Hello Ann,") && !text.contains("{{") && !text.contains("{%"), "{link}: {text}");
    }
    // What was really queued is shown as well.
    assert!(page.contains("To ann@example.com"));
    for missing in ["verify_email.pdf", "verify_email", "nothing.html"] {
        let preview = HTTP.get(format!("{}/dev/mail/{missing}", app.url)).send().await.unwrap();
        assert_eq!(preview.status(), StatusCode::NOT_FOUND, "{missing}");
    }
}

/// A sign-in from a browser that is new to the account is announced, and later ones from the same browser aren't.
#[tokio::test]
async fn a_sign_in_from_a_new_browser_is_announced() {
    let app = TestApp::new().await;
    app.user("ann@example.com").await;
    let subject = "New sign-in to your account";
    let mut phone = sign_in(&app, "ann@example.com", PASSWORD).await;
    let mail = letter(&app, "ann@example.com", subject, 1).await;
    assert_eq!(mail.path, "/settings/security");
    for _ in 0..2 {
        phone.form("/sign-out", &[]).await;
        phone.cookie = None;
        let again = phone.form("/sign-in", &[("email", "ann@example.com"), ("password", PASSWORD)]).await;
        assert_eq!(redirect(&again), "/chat");
    }
    assert_eq!(letters(&app, "ann@example.com").await.len(), 2, "with the one that confirms the address");
    // A cookie that isn't one of ours is no known browser.
    phone.browser = Some("browser=aaaa".to_owned());
    let forged = phone.form("/sign-in", &[("email", "ann@example.com"), ("password", PASSWORD)]).await;
    assert_eq!(redirect(&forged), "/chat");
    letter(&app, "ann@example.com", subject, 2).await;
    let mut cookies = forged.headers().get_all("set-cookie").iter().map(|cookie| cookie.to_str().unwrap());
    let browser = cookies.find(|cookie| cookie.starts_with("browser=")).unwrap();
    for part in ["Path=/", "Max-Age=31536000", "HttpOnly", "SameSite=Lax"] {
        assert!(browser.contains(part), "{part} in {browser}");
    }
}

/// A mail server that can't be reached takes long to fail for each mail. What ends the subscriptions of a deleted account doesn't wait for that.
#[tokio::test]
async fn mails_hold_up_no_other_jobs() {
    let app = TestApp::new().await;
    // The server's workers don't see these jobs.
    let mut tx = store::begin(&app.store).await.unwrap();
    for kind in ["mail", "alert_webhook", "close_customer"] {
        store::job::add(&mut tx, kind, None, &serde_json::json!({}), OffsetDateTime::now_utc()).await.unwrap();
    }
    let next = store::job::take(&mut tx, Lane::Others).await.unwrap().unwrap();
    assert_eq!(next.kind, "close_customer");
    store::job::done(&mut tx, next.id, OffsetDateTime::now_utc()).await.unwrap();
    assert!(store::job::take(&mut tx, Lane::Others).await.unwrap().is_none());
    assert_ne!(store::job::take(&mut tx, Lane::Messages).await.unwrap().unwrap().kind, "close_customer");
}

/// What failed for good loses recipients and the seeds of links after a week, and what is done after 30 days. The owner still sees that it
/// failed, and a retry leaves it out. The end of a subscription that isn't done yet is kept.
#[tokio::test]
async fn mails_that_failed_for_good_lose_their_content() {
    let app = TestApp::new().await;
    let mut admin = app.user("admin@example.com").await;
    app.until("select bool_and(done_at is not null) from job").await;
    app.sql("delete from job").await;
    app.sql(
        "insert into job (job_id, kind, key, payload, created_at, run_at, attempts, error, done_at, dead_at)
         select gen_random_uuid(), kind, name, '{\"to\": \"ann@example.com\", \"seed\": \"00\"}', now(), now(), 14, 'the mail server said no',
                now() - done, now() - dead
         from (values ('mail', 'recent', null::interval, interval '6 days'), ('mail', 'failed', null, '8 days'),
                      ('close_customer', 'needed', null, '8 days'), ('mail', 'counted', null, '100 days'),
                      ('close_duplicates', 'done', '31 days', null), ('mail', 'sent', '29 days', null)) as one (kind, name, done, dead)",
    )
    .await;
    let (_, _stop) = app.start_second().await;
    app.until("select coalesce(array_agg(key order by key) = '{done,failed}', false) from job where payload = '{}'")
        .await;
    app.until("select not exists (select from job where key = 'counted')").await;
    assert!(
        app.one::<bool>("select bool_and(payload ? 'to') from job where key in ('recent', 'needed', 'sent')").await
    );
    let page = admin.text("/admin/health").await;
    assert!(page.contains("1 of them is a mail or alert that failed more than 7 days ago"), "{page}");
    assert!(page.contains("the mail server said no") && page.contains("/admin/health/replay"), "{page}");
    assert_eq!(redirect(&admin.form("/admin/health/replay", &[]).await), "/admin/health");
    assert!(app.one::<bool>("select array_agg(key) = '{failed}' from job where dead_at is not null").await);
}

/// The mail about a deletion reaches its address although the account is gone. Nothing else is sent to it.
#[tokio::test]
async fn a_deletion_is_confirmed_by_mail() {
    let app = TestApp::new().await;
    let mut ann = app.user("ann@example.com").await;
    assert_eq!(redirect(&ann.form("/settings/delete", &[("password", PASSWORD)]).await), "/");
    let mail = letter(&app, "ann@example.com", "Your account was deleted", 1).await;
    assert!(mail.path.is_empty() && mail.text.contains("ann@example.com"), "{mail:?}");
    app.until("select bool_and(done_at is not null) from job").await;
    assert_eq!(ann.get("/chat").await.status(), StatusCode::SEE_OTHER);
}
