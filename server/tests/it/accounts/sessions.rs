//! Sessions: the list of them, ending them, and when they end by themselves.

use super::{is_signed_in, redirect, sign_in};
use crate::app::{PASSWORD, TestApp};
use crate::visitor::TestClient;
use http::StatusCode;
use uuid::Uuid;

const PHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1";

/// Signs in with a browser that describes itself so.
async fn sign_in_with(app: &TestApp, email: &str, user_agent: &str) -> TestClient {
    let visitor = app.visitor();
    let form = visitor.request("POST", "/sign-in").header("user-agent", user_agent);
    let response = form.form(&[("email", email), ("password", PASSWORD)]).send().await.unwrap();
    assert_eq!(redirect(&response), "/chat");
    let cookie = response.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap();
    TestClient { cookie: Some(cookie.to_owned()), ..visitor }
}

#[tokio::test]
async fn sessions_are_listed_with_their_browser_and_can_be_ended() {
    let app = TestApp::new().await;
    let (mut ann, mut bob) = (app.user("ann@example.com").await, app.user("bob@example.com").await);
    let phone = sign_in_with(&app, "ann@example.com", PHONE).await;
    let page = ann.text("/settings/security").await;
    assert!(page.contains("This browser") && page.contains("Safari on iPhone"), "{page}");
    let id: Uuid = app.one("select session_id from session where user_agent like '%iPhone%'").await;
    let end = format!("/settings/sessions/{id}/end");
    assert_eq!(page.matches("/settings/sessions/").count(), 2, "one other session, and all others");
    assert!(page.contains(&end));
    let hashes: Vec<String> =
        sqlx::query_scalar("select encode(token_hash, 'hex') from session").fetch_all(&app.db).await.unwrap();
    assert!(hashes.len() == 3 && hashes.iter().all(|hash| !page.contains(hash)));
    assert!(!bob.text("/settings/security").await.contains("iPhone"));

    assert_eq!(bob.form(&end, &[]).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(bob.form("/settings/sessions/x/end", &[]).await.status(), StatusCode::NOT_FOUND);
    assert!(is_signed_in(&phone).await);
    assert_eq!(redirect(&ann.form(&end, &[]).await), "/settings/security?saved=session");
    assert!(!is_signed_in(&phone).await && is_signed_in(&ann).await);
    assert_eq!(ann.form(&end, &[]).await.status(), StatusCode::NOT_FOUND);

    let others = [sign_in(&app, "ann@example.com", PASSWORD).await, sign_in(&app, "ann@example.com", PASSWORD).await];
    // Also on another server, which caches nothing.
    let (url, _stop) = app.start_second().await;
    let elsewhere = TestClient { url, ..others[0].clone() };
    assert!(is_signed_in(&elsewhere).await);
    assert_eq!(redirect(&ann.form("/settings/sessions/end-others", &[]).await), "/settings/security?saved=sessions");
    for other in [&others[0], &others[1], &elsewhere] {
        assert!(!is_signed_in(other).await);
    }
    assert!(is_signed_in(&ann).await && is_signed_in(&bob).await);
    assert!(!ann.text("/settings/security").await.contains("/settings/sessions/"), "nothing is left to end");
    let ended = "select count(*) from security_event where kind = 'session_ended'";
    assert_eq!(app.one::<i64>(ended).await, 2);
}

/// Runs an update of the only session of a user.
async fn set(app: &TestApp, email: &str, assignments: &str) {
    let sql = format!("update session n set {assignments} from account a where a.user_id = n.user_id and a.email = $1");
    let done = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(email).execute(&app.db).await.unwrap();
    assert_eq!(done.rows_affected(), 1, "{email}");
}

/// Returns whether a condition holds for the only session of a user.
async fn holds(app: &TestApp, email: &str, condition: &str) -> bool {
    let sql = format!("select {condition} from session n join account a using (user_id) where a.email = $1");
    sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).bind(email).fetch_one(&app.db).await.unwrap()
}

/// Field note 69: a session ends 30 days after its last use and 180 days after it began. One in use is renewed, but never beyond that.
#[tokio::test]
async fn sessions_have_an_idle_and_an_absolute_limit() {
    let app = TestApp::new().await;
    let (ann, bob) = (app.user("ann@example.com").await, app.user("bob@example.com").await);
    let fresh = "n.expires_at between now() + interval '29 days' and now() + interval '31 days'
                 and n.absolute_expires_at = n.created_at + interval '180 days' and n.authenticated_at is not null";
    assert!(holds(&app, "ann@example.com", fresh).await);
    // Used again after two hours. Within the hour after that, nothing is written.
    set(&app, "ann@example.com", "last_seen_at = now() - interval '2 hours', expires_at = now() + interval '1 day'")
        .await;
    ann.text("/usage").await;
    let renewed = "n.last_seen_at > now() - interval '10 minutes' and n.expires_at > now() + interval '29 days'";
    assert!(holds(&app, "ann@example.com", renewed).await);
    set(&app, "ann@example.com", "last_seen_at = now() - interval '50 minutes', expires_at = now() + interval '1 day'")
        .await;
    ann.text("/usage").await;
    assert!(!holds(&app, "ann@example.com", renewed).await);
    set(&app, "ann@example.com", "expires_at = now() - interval '1 second'").await;
    assert!(!is_signed_in(&ann).await);
    assert_eq!(redirect(&ann.get("/usage").await), "/sign-in?next=/usage");

    set(
        &app,
        "bob@example.com",
        "last_seen_at = now() - interval '2 hours', expires_at = now() + interval '30 minutes', absolute_expires_at = now() + interval '1 hour'",
    )
    .await;
    assert!(is_signed_in(&bob).await);
    assert!(holds(&app, "bob@example.com", "n.expires_at = n.absolute_expires_at").await, "renewed up to the limit");
    set(
        &app,
        "bob@example.com",
        "absolute_expires_at = now() - interval '1 second', expires_at = now() + interval '1 day'",
    )
    .await;
    assert!(!is_signed_in(&bob).await);
}

/// Field note 69: sessions of admins end after twelve hours without use, also those that began before the user became one.
#[tokio::test]
async fn sessions_of_admins_are_idle_after_twelve_hours() {
    let app = TestApp::new().await;
    let (ann, admin) = (app.user("ann@example.com").await, app.user("admin@example.com").await);
    for email in ["ann@example.com", "admin@example.com"] {
        set(&app, email, "last_seen_at = now() - interval '11 hours'").await;
    }
    assert!(is_signed_in(&ann).await && is_signed_in(&admin).await);
    for email in ["ann@example.com", "admin@example.com"] {
        set(&app, email, "last_seen_at = now() - interval '13 hours'").await;
    }
    assert!(is_signed_in(&ann).await && !is_signed_in(&admin).await);
    assert_eq!(admin.get("/admin").await.status(), StatusCode::NOT_FOUND);
    let (url, _stop) = app.start_second().await;
    app.sql("update session set last_seen_at = now() - interval '13 hours'; update account set role = 'admin'").await;
    for client in [ann.clone(), TestClient { url, ..ann.clone() }] {
        assert!(!is_signed_in(&client).await, "{}", client.url);
    }
}
