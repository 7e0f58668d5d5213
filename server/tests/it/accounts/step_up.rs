//! Sensitive changes require a proof of identity that is at most ten minutes old.

use super::{is_signed_in, redirect, shows};
use crate::app::{PASSWORD, TestApp};
use http::StatusCode;
use uuid::Uuid;

/// Field note 69: an unattended browser can't grant roles, change prices, limits or switches, erase conversations, send calls with their keys
/// elsewhere or export other people's data. The password leads on.
#[tokio::test]
async fn sensitive_admin_routes_ask_for_the_password_again() {
    let app = TestApp::new().await;
    let (ann, mut admin) = (app.user("ann@example.com").await, app.user("admin@example.com").await);
    let id: Uuid = app.one("select user_id from account where email = 'ann@example.com'").await;
    app.sql("update session set authenticated_at = now() - interval '11 minutes'").await;
    let (act, plan) = (format!("/admin/users/{id}/act"), format!("/admin/users/{id}/plan"));
    let asks = |path: &str| format!("/sign-in/confirm?next={path}");
    for path in [
        "/admin/models/claude-haiku-4-5/price",
        "/admin/models/claude-haiku-4-5",
        "/admin/global",
        "/admin/plans/free",
        "/admin/retention",
        "/admin/providers",
        "/admin/providers/anthropic/remove",
        &act,
        &plan,
    ] {
        let fields = [
            ("act", "make_admin"),
            ("why", "helps"),
            ("state", "off"),
            ("plan", "max"),
            ("input", "1"),
            ("output", "2"),
            ("current", "anthropic"),
            ("label", "Anthropic"),
            ("format", "anthropic"),
            ("base_url", "https://evil.example"),
            ("key_variable", "ANTHROPIC_API_KEY"),
        ];
        // A form can't be repeated by a redirect, so its page is shown again.
        let form = admin.request("POST", path).header("referer", format!("{}/admin/users/{id}?tab=plan", app.url));
        let response = form.form(&fields).send().await.unwrap();
        assert_eq!(redirect(&response), asks(&format!("/admin/users/{id}%3Ftab%3Dplan")), "{path}");
        assert_eq!(redirect(&admin.form(path, &fields).await), "/sign-in/confirm", "{path} without a referrer");
    }
    for (path, next) in [
        ("/admin/export.csv?period=7d&q=a%26b", "/admin/export.csv%3Fperiod%3D7d%26q%3Da%2526b"),
        ("/admin/export.json", "/admin/export.json"),
    ] {
        assert_eq!(redirect(&admin.get(path).await), asks(next), "{path}");
        assert_eq!(ann.get(path).await.status(), StatusCode::NOT_FOUND, "{path} doesn't exist for others");
    }
    // Reading needs no proof.
    for path in [
        "/admin",
        "/admin/models",
        "/admin/providers",
        "/admin/audit",
        "/settings/security",
        &format!("/admin/users/{id}"),
    ] {
        assert_eq!(admin.get(path).await.status(), StatusCode::OK, "{path}");
    }
    let untouched = "select not exists (select from audit) and bool_and(plan_id = 'free')
                       and not exists (select from provider where base_url like '%evil%') from account";
    assert!(app.one::<bool>(untouched).await);

    let next = "/admin/export.csv?period=7d";
    let wrong = [("password", "wrong password"), ("next", next)];
    let page = admin.form("/sign-in/confirm", &wrong).await;
    let page = shows(page, StatusCode::UNPROCESSABLE_ENTITY, "Incorrect password.").await;
    assert!(page.contains(&format!("name=\"next\" value=\"{next}\"")));
    assert!(admin.text("/sign-in/confirm?next=%2Fadmin%2Fexport.csv%3Fperiod%3D7d").await.contains(next));
    let before = admin.clone();
    let done = admin.form("/sign-in/confirm", &[("password", PASSWORD), ("next", next)]).await;
    assert_eq!(redirect(&done), next);
    assert!(is_signed_in(&admin).await && !is_signed_in(&before).await, "a proof of identity begins a new token");
    assert_eq!(admin.get(next).await.status(), StatusCode::OK);
    assert_eq!(admin.form(&plan, &[("plan", "pro")]).await.status(), StatusCode::SEE_OTHER);
    assert_eq!(ann.quota().await["plan"], "pro");
}

/// Both ZIPs have all that a user ever wrote, so a session that was left open isn't enough for them.
#[tokio::test]
async fn exports_of_everything_ask_for_the_password_again() {
    let app = TestApp::new().await;
    let mut ann = app.user("ann@example.com").await;
    app.sql("update session set authenticated_at = now() - interval '11 minutes'").await;
    let paths = ["/settings/data/export", "/settings/data/conversations.zip"];
    for path in paths {
        let form = ann.request("POST", path).header("referer", format!("{}/settings/data", app.url));
        assert_eq!(redirect(&form.send().await.unwrap()), "/sign-in/confirm?next=/settings/data", "{path}");
    }
    let done = ann.form("/sign-in/confirm", &[("password", PASSWORD), ("next", "/settings/data")]).await;
    assert_eq!(redirect(&done), "/settings/data");
    for path in paths {
        let zip = ann.request("POST", path).send().await.unwrap();
        assert_eq!(
            (zip.status(), &zip.headers()["content-type"]),
            (StatusCode::OK, &"application/zip".parse().unwrap())
        );
    }
}

#[tokio::test]
async fn a_proof_of_identity_lasts_for_ten_minutes() {
    let app = TestApp::new().await;
    let mut admin = app.user("admin@example.com").await;
    app.sql("update session set authenticated_at = now() - interval '9 minutes'").await;
    assert_eq!(admin.get("/admin/export.json").await.status(), StatusCode::OK);
    // A session of an earlier release has none.
    app.sql("update session set authenticated_at = null").await;
    assert_eq!(redirect(&admin.get("/admin/export.json").await), "/sign-in/confirm?next=/admin/export.json");
    for next in ["", "https://evil.example", "//evil.example"] {
        let done = admin.form("/sign-in/confirm", &[("password", PASSWORD), ("next", next)]).await;
        assert_eq!(redirect(&done), "/settings", "{next}");
    }
    assert_eq!(admin.get("/admin/export.json").await.status(), StatusCode::OK);
    assert_eq!(redirect(&app.visitor().get("/sign-in/confirm").await), "/sign-in?next=/sign-in/confirm");
}
