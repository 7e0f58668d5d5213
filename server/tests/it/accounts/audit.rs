//! The audit log and the record of security events.

use super::{redirect, sign_in};
use crate::app::{PASSWORD, TestApp};
use http::StatusCode;
use uuid::Uuid;

/// An entry of the audit log: action, actor and target.
type Entry = (String, Option<String>, Option<String>);

async fn entries(app: &TestApp) -> Vec<Entry> {
    let sql = "select action, actor_email, target_email from audit order by created_at, audit_id";
    sqlx::query_as(sql).fetch_all(&app.db).await.unwrap()
}

/// Field note 70: an admin who deletes the account stays named in the audit log. Nobody can change its rows, not even with SQL.
#[tokio::test]
async fn audit_rows_keep_their_names_and_cannot_be_changed() {
    let app = TestApp::new().await;
    let (mut admin, ann) = (app.user("admin@example.com").await, app.user("ann@example.com").await);
    let second = app.user("second@example.com").await;
    app.sql("update account set role = 'admin' where email = 'second@example.com'").await;
    let id: Uuid = app.one("select user_id from account where email = 'ann@example.com'").await;
    let grant = [("plan", "pro"), ("why", "a trial")];
    assert_eq!(admin.form(&format!("/admin/users/{id}/plan"), &grant).await.status(), StatusCode::SEE_OTHER);
    assert_eq!(ann.quota().await["plan"], "pro");
    for path in ["/admin/export.csv?period=7d", "/admin/export.json"] {
        assert_eq!(admin.get(path).await.status(), StatusCode::OK);
    }
    let mut elsewhere = sign_in(&app, "admin@example.com", PASSWORD).await;
    sign_in(&app, "ann@example.com", PASSWORD).await;
    let me = || Some("admin@example.com".to_owned());
    let expected = [
        ("set_plan".to_owned(), me(), Some("ann@example.com".to_owned())),
        ("export".to_owned(), me(), None),
        ("export".to_owned(), me(), None),
        ("sign_in".to_owned(), me(), None),
    ];
    assert_eq!(entries(&app).await, expected);
    assert_eq!(redirect(&elsewhere.form("/settings/delete", &[("password", PASSWORD)]).await), "/");
    assert!(app.one::<bool>("select bool_and(actor_id is null) from audit").await, "only the id is gone");
    assert_eq!(entries(&app).await, expected);
    for sql in [
        "update audit set action = 'nothing'",
        "update audit set actor_email = null",
        "update audit set actor_id = (select user_id from account limit 1)",
        "delete from audit",
        "truncate audit",
    ] {
        let error = sqlx::raw_sql(sql).execute(&app.db).await.unwrap_err().to_string();
        assert!(error.contains("the audit log is append-only"), "{sql}: {error}");
    }
    assert_eq!(entries(&app).await, expected);
    let page = second.text("/admin/audit").await;
    assert!(page.contains("admin@example.com") && page.contains("a trial") && page.contains("period=7d"), "{page}");
    assert!(page.contains("Unknown browser"), "a sign-in names the browser: {page}");
}

/// What happens to an account is recorded and shown to its user only. Strangers can't fill the record by guessing at addresses.
#[tokio::test]
async fn security_events_are_recorded_and_shown_to_their_user() {
    let app = TestApp::new().await;
    let (mut ann, bob) = (app.user("ann@example.com").await, app.user("bob@example.com").await);
    assert_eq!(ann.get("/admin").await.status(), StatusCode::NOT_FOUND);
    for email in ["ann@example.com", "nobody@example.com"] {
        app.visitor().form("/sign-in", &[("email", email), ("password", "wrong password")]).await;
    }
    let events = async |kind: &str| -> i64 {
        let sql = "select count(*) from security_event where kind = $1 and user_id is not null";
        sqlx::query_scalar(sql).bind(kind).fetch_one(&app.db).await.unwrap()
    };
    app.until("select count(distinct kind) = 3 from security_event").await;
    assert_eq!((events("sign_in").await, events("sign_in_failed").await, events("forbidden").await), (2, 1, 1));
    assert!(app.one::<bool>("select bool_and(user_id is not null) from security_event").await);
    let page = ann.text("/settings/security").await;
    for text in ["Signed in", "Sign-in failed: incorrect password", "Request refused: not allowed"] {
        assert!(page.contains(text), "{text}");
    }
    assert!(!bob.text("/settings/security").await.contains("Sign-in failed"));
    // Those of the last thirty days.
    app.sql("update security_event set created_at = now() - interval '31 days' where kind = 'sign_in_failed'").await;
    assert!(!ann.text("/settings/security").await.contains("Sign-in failed"));
    ann.form("/sign-out", &[]).await;
    assert_eq!(events("sign_out").await, 1);
}
