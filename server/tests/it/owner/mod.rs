//! The owner's pages: access, actions and audit rows.

mod alerts;
mod figures;
mod pages;
mod revenue;

use crate::app::TestApp;
use crate::visitor::{TestClient, problem};
use http::StatusCode;
use serde_json::Value;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

/// Every admin route of the router returns 404 to a signed-in user and to a signed-out visitor.
#[tokio::test]
async fn admin_routes_are_404_for_everyone_else() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    let id: Uuid = app.one("select user_id from account").await;
    let paths = server::admin_paths();
    assert!(paths.len() >= 15);
    for visitor in [&ann, &app.visitor()] {
        for path in &paths {
            let path = path
                .replace("{user_id}", &id.to_string())
                .replace("{key_id}", &id.to_string())
                .replace("{model}", "demo")
                .replace("{name}", "health")
                .replace("{provider}", "demo");
            for method in ["GET", "POST"] {
                let answer = visitor.request(method, &path).form(&[("act", "make_admin"), ("why", "me")]).send().await;
                assert_eq!(answer.unwrap().status(), StatusCode::NOT_FOUND, "{method} {path}");
            }
        }
    }
    assert!(app.one::<bool>("select count(*) = 0 from audit").await);
}

async fn act(admin: &mut TestClient, id: Uuid, fields: &[(&str, &str)]) -> StatusCode {
    admin.form(&format!("/admin/users/{id}/act"), fields).await.status()
}

/// Field note 16: temporary limits, pause, sign-out, meter rebuild, and adding and removing admins each apply at once and leave an audit
/// row with a reason. Invalid input changes nothing.
#[tokio::test]
async fn admin_actions_apply_at_once_and_are_audited() {
    let app = TestApp::new().await;
    let (ann, mut admin) = (app.user("ann@example.com").await, app.user("admin@example.com").await);
    let id: Uuid = app.one("select user_id from account where email = 'ann@example.com'").await;
    let (done, refused) = (StatusCode::SEE_OTHER, StatusCode::UNPROCESSABLE_ENTITY);
    let tomorrow = (OffsetDateTime::now_utc().date() + Duration::days(2)).to_string();
    ann.send_and_read("{{words:3}}").await;
    let used = ann.quota().await["tokens"]["used"].clone();

    let limit = [("act", "limit"), ("tokens", "123456"), ("until", tomorrow.as_str()), ("why", "a trial")];
    assert_eq!(act(&mut admin, id, &limit).await, done);
    let quota = ann.quota().await;
    assert_eq!((&quota["tokens"]["limit"], &quota["tokens"]["used"]), (&Value::from(123_456), &used));
    assert_eq!(quota["requests"]["limit"], 10, "the plan's limit applies");
    let page = admin.text(&format!("/admin/users/{id}")).await;
    assert!(
        page.contains(&domain::Tokens(123_456).to_string())
            && page.contains("override until")
            && page.contains("a trial")
    );
    // The override has expired.
    sqlx::query("update account set limit_until = now() where email = 'ann@example.com'")
        .execute(&app.db)
        .await
        .unwrap();
    assert_eq!(ann.quota().await["tokens"]["limit"], 50_000);

    for (fields, why) in [
        (vec![("act", "pause")], "no reason"),
        (vec![("act", "pause"), ("why", "  ")], "a blank reason"),
        (vec![("act", "limit"), ("tokens", "-5"), ("until", &tomorrow), ("why", "x")], "negative"),
        (vec![("act", "limit"), ("tokens", "0"), ("until", &tomorrow), ("why", "x")], "zero"),
        (vec![("act", "limit"), ("tokens", "1e9"), ("until", &tomorrow), ("why", "x")], "not a number"),
        (vec![("act", "limit"), ("tokens", "5"), ("until", "2020-01-01"), ("why", "x")], "a date in the past"),
        (vec![("act", "limit"), ("until", &tomorrow), ("why", "x")], "no limit"),
        (vec![("act", "explode"), ("why", "x")], "an unknown action"),
    ] {
        assert_eq!(act(&mut admin, id, &fields).await, refused, "{why}");
    }
    assert_eq!(act(&mut admin, Uuid::now_v7(), &[("act", "pause"), ("why", "x")]).await, StatusCode::NOT_FOUND);

    assert_eq!(act(&mut admin, id, &[("act", "pause"), ("why", "spam")]).await, done);
    let answer = ann.send_message("{{words:1}}").await;
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    assert_eq!(problem(answer).await["kind"], "paused");
    assert_eq!(ann.get("/usage").await.status(), StatusCode::OK, "a paused user can still read");
    assert_eq!(act(&mut admin, id, &[("act", "resume"), ("why", "sorry")]).await, done);
    ann.send_and_read("{{words:1}}").await;

    assert_eq!(act(&mut admin, id, &[("act", "rebuild"), ("why", "stuck")]).await, done);
    assert_eq!(act(&mut admin, id, &[("act", "make_admin"), ("why", "helps")]).await, done);
    assert_eq!(ann.get("/admin").await.status(), StatusCode::OK);
    assert_eq!(act(&mut admin, id, &[("act", "unmake_admin"), ("why", "done")]).await, done);
    assert_eq!(ann.get("/admin").await.status(), StatusCode::NOT_FOUND);
    let me: Uuid = app.one("select user_id from account where email = 'admin@example.com'").await;
    assert_eq!(act(&mut admin, me, &[("act", "unmake_admin"), ("why", "bye")]).await, refused, "the last admin stays");
    app.unverified_user("bob@example.com").await;
    let bob: Uuid = app.one("select user_id from account where email = 'bob@example.com'").await;
    let unverified = act(&mut admin, bob, &[("act", "make_admin"), ("why", "helps")]).await;
    assert_eq!(unverified, refused, "anyone may have created the account");
    assert_eq!(act(&mut admin, id, &[("act", "sign_out"), ("why", "lost phone")]).await, done);
    assert_eq!(ann.get("/api/quota").await.status(), StatusCode::UNAUTHORIZED);

    let acts: Vec<(String, String)> =
        sqlx::query_as("select action, why from audit where target_user_id = $1 order by created_at")
            .bind(id)
            .fetch_all(&app.db)
            .await
            .unwrap();
    let written: Vec<&str> = acts.iter().map(|(action, _)| action.as_str()).collect();
    assert_eq!(
        written,
        ["set_limits", "pause", "resume", "rebuild_meters", "make_admin", "remove_admin", "sign_out_everywhere"]
    );
    let audit = admin.text("/admin/audit").await;
    assert!(acts.iter().all(|(_, why)| audit.contains(why.as_str())));
}

/// Field note 32: an invalid period, page or user gives a clear problem or an empty table, never a server error.
#[tokio::test]
async fn invalid_parameters_get_clear_problems() {
    let app = TestApp::new().await;
    let mut admin = app.user("admin@example.com").await;
    // Exports are limited per user, so one admin exports in each format.
    let other = app.user("other@example.com").await;
    app.sql("update account set role = 'admin'").await;
    for (query, status) in [
        ("period=custom", 422),
        ("period=custom&from=2026-02-30&to=2026-03-01", 422),
        ("period=custom&from=2026-03-02&to=2026-03-01", 422),
        ("period=custom&from=0001-01-01&to=9999-12-31", 422),
        ("period=custom&from=9999-12-31&to=9999-12-31", 422),
        ("period=custom&from=2026-01-01&to=2026-12-31", 200),
        ("period=century&by=beauty&page=-1", 200),
        ("page=99999999999999999999", 200),
        ("page=100000", 200),
        ("plan=%27%3B+drop+table+account&model=%00x&q=%25_%5C%27", 200),
        ("q=%F0%9F%A6%80&period=month", 200),
    ] {
        for (user, path) in [(&admin, "/admin"), (&admin, "/admin/export.csv"), (&other, "/admin/export.json")] {
            let answer = user.get(&format!("{path}?{query}")).await;
            let found = answer.status().as_u16();
            assert_eq!(found, status, "{path}?{query}");
            let text = answer.text().await.unwrap();
            assert!(status != 422 || text.contains("day"), "{query}: {text}");
        }
    }
    for path in ["/admin/users/nobody", "/admin/users/00000000-0000-7000-8000-000000000000"] {
        assert_eq!(admin.get(path).await.status(), StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(admin.get("/admin/audit?page=-3").await.status(), StatusCode::OK);
    // NUL characters, which Postgres can't store, in every parameter.
    let id: Uuid = app.one("select user_id from account where email = 'admin@example.com'").await;
    for (path, status) in [
        ("/admin/plans/%00", 404),
        ("/admin/models/%00", 404),
        ("/admin/models/a%00b/price", 404),
        ("/admin/plans/free", 422),
        ("/admin/models/claude-haiku-4-5", 422),
        ("/admin/global", 422),
        ("/admin/health/replay", 422),
        ("/admin/health/clear", 422),
        (&format!("/admin/users/{id}/plan"), 422),
        (&format!("/admin/users/{id}/act"), 422),
    ] {
        let fields =
            ["event", "kind", "object", "plan", "why", "fallback", "state", "model", "act"].map(|name| (name, "\0"));
        let answer = admin.form(path, &fields).await;
        assert_eq!(answer.status().as_u16(), status, "{path}");
        let (kind, text) =
            (answer.headers()["content-type"].to_str().unwrap().to_owned(), answer.text().await.unwrap());
        assert!(
            status == 404 || kind.starts_with("text/html") && text.contains("form data is invalid"),
            "{path} {kind} {text}"
        );
    }
    let difference = r#"{"model": "a\u0000b", "prices": [], "ends_at": null, "error": null}"#;
    let escaped = admin.form("/admin/models/import/apply", &[("choose", difference)]).await;
    assert_eq!(escaped.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert!(app.one::<bool>("select bool_and(action = 'export') from audit").await);
}

/// A change of a plan's limits and models applies to the next message and is audited. Invalid values change nothing.
#[tokio::test]
async fn plan_changes_apply_to_all_its_users() {
    let app = TestApp::new().await;
    let (ann, mut admin) = (app.user("ann@example.com").await, app.user("admin@example.com").await);
    let rules = |tokens: &'static str, models: &[&'static str]| {
        let mut fields = vec![
            ("requests", "20"),
            ("tokens", tokens),
            ("in_flight", "3"),
            ("max_output", "2000"),
            ("first", "gpt-5-mini"),
        ];
        fields.extend(models.iter().map(|model| ("model", *model)));
        fields
    };
    let set = admin.form("/admin/plans/free", &rules("70000", &["claude-haiku-4-5", "gpt-5-mini"])).await;
    assert_eq!(
        (set.status(), set.headers()["location"].to_str().unwrap()),
        (StatusCode::SEE_OTHER, "/admin/plans?saved=yes")
    );
    let quota = ann.quota().await;
    assert_eq!((&quota["tokens"]["limit"], &quota["requests"]["limit"]), (&Value::from(70_000), &Value::from(20)));
    let default: String = app.one("select model from plan_model where plan_id = 'free' order by sort limit 1").await;
    assert_eq!(default, "gpt-5-mini");
    for (plan, fields, status) in [
        ("free", rules("0", &["gpt-5-mini"]), 422),
        ("free", rules("9", &[]), 422),
        ("free", rules("9", &["gpt-99"]), 404),
        ("gold", rules("9", &["gpt-5-mini"]), 404),
    ] {
        assert_eq!(admin.form(&format!("/admin/plans/{plan}"), &fields).await.status().as_u16(), status, "{plan}");
    }
    assert_eq!(ann.quota().await["tokens"]["limit"], 70_000);
    assert!(admin.text("/admin/audit").await.contains("70000 tokens"));
    assert!(admin.text("/admin/plans").await.contains("gpt-5-mini, claude-haiku-4-5"));
    assert!(admin.text("/admin/users?q=ANN").await.contains("ann@example.com"));
    assert!(!admin.text("/admin/users?q=nobody%25").await.contains("ann@example.com"));
}
