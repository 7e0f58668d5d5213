//! Time zones that Postgres knows under another name, or not at all.

use super::{redirect, shows};
use crate::app::TestApp;
use http::StatusCode;
use serde_json::json;

/// Field note 84: old and new names of a zone are accepted, as a form and from the browser. A stored zone that Postgres doesn't know counts as
/// UTC, and pages say so.
#[tokio::test]
async fn zones_have_several_names_and_unknown_ones_are_utc() {
    let app = TestApp::new().await;
    let mut ann = app.user("ann@example.com").await;
    let known = "select exists (select from pg_timezone_names where name = time_zone) from account";
    for zone in ["Asia/Calcutta", "Asia/Kolkata", "Europe/Kiev", "Europe/Kyiv", "US/Pacific", "Europe/Berlin"] {
        let done = ann.form("/settings/time-zone", &[("zone", zone)]).await;
        assert_eq!(redirect(&done), "/settings?saved=zone", "{zone}");
        assert!(app.one::<bool>(known).await, "{zone}");
        let stored: String = app.one("select time_zone from account").await;
        assert!(ann.text("/usage").await.contains(&stored), "{zone}");
        let sent = ann.request("POST", "/settings/time-zone").json(&json!({"zone": zone})).send().await.unwrap();
        assert_eq!(sent.status(), StatusCode::NO_CONTENT, "{zone}");
    }
    let page = ann.form("/settings/time-zone", &[("zone", "Mars/Base")]).await;
    let page = shows(page, StatusCode::UNPROCESSABLE_ENTITY, "support this time zone").await;
    assert!(page.contains("value=\"Mars/Base\""));
    // A browser may be newer than Postgres.
    let sent = ann.request("POST", "/settings/time-zone").json(&json!({"zone": "Mars/Base"})).send().await.unwrap();
    assert_eq!(sent.status(), StatusCode::NO_CONTENT);
    assert_eq!(app.one::<String>("select time_zone from account").await, "Europe/Berlin");

    ann.send_and_read("{{words:3}}").await;
    app.sql("update account set time_zone = 'Mars/Base'").await;
    for path in ["/usage", "/usage?days=30"] {
        let page = ann.text(path).await;
        assert!(page.contains("UTC") && !page.contains("Mars/Base"), "{page}");
    }
    assert_eq!(ann.text("/usage.csv?days=7").await.lines().count(), 2);
    for path in ["/chat", "/settings"] {
        ann.text(path).await;
    }
}
