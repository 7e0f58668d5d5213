//! What the owner's pages show at the ends of their lists, after a form, and while there is nothing.

use crate::app::TestApp;
use crate::sums::load;
use http::StatusCode;

#[tokio::test]
async fn a_page_beyond_the_last_one_is_the_last_one() {
    let app = TestApp::new().await;
    load(&app.db, 600, 60, 3, 0.5).await;
    app.refresh_report().await;
    let admin = app.user("admin@example.com").await;
    for path in ["/admin?period=30d&page=9", "/admin/users?page=9"] {
        let page = admin.text(path).await;
        assert!(page.contains("Page 2 of 2") && page.contains("rel=\"prev\""), "{path}");
    }
    assert!(!admin.text("/admin/users?page=9&q=nobody").await.contains("Page "));
    assert!(admin.text("/admin/audit").await.contains("Nothing yet"));
    assert!(admin.text("/admin/audit?page=9").await.contains("No older entries"));
}

#[tokio::test]
async fn dates_apply_whatever_the_period_is() {
    let app = TestApp::new().await;
    let admin = app.user("admin@example.com").await;
    let page = admin.text("/admin?period=7d&from=2026-01-05&to=2026-02-01").await;
    assert!(page.contains("2026-01-05 to 2026-02-01") && page.contains("value=\"2026-01-05\""), "{page}");
    assert!(!page.contains("name=\"period\""), "the dates hold until they are removed");
    let page = admin.text("/admin?period=7d&from=&to=").await;
    assert!(page.contains("name=\"period\" value=\"7d\""), "{page}");
}

/// A day is charted by the hour, longer periods by the day.
#[tokio::test]
async fn usage_is_charted_by_the_hour_or_the_day() {
    let app = TestApp::new().await;
    load(&app.db, 900, 9, 3, 0.5).await;
    app.refresh_report().await;
    let admin = app.user("admin@example.com").await;
    for (period, unit, bars) in [("24h", "hour", 25), ("7d", "day", 7)] {
        let page = admin.text(&format!("/admin?period={period}")).await;
        assert!(page.contains(&format!("Cost by {unit} and model")), "{period}");
        assert_eq!(page.matches("class=\"area\"").count(), bars, "{period}");
    }
}

#[tokio::test]
async fn health_shows_no_zeros() {
    let app = TestApp::new().await;
    let admin = app.user("admin@example.com").await;
    assert!(!admin.text("/admin/health").await.contains("<strong>0</strong>"));
}

/// A form that was accepted is confirmed. One that wasn't shows its page again, with the reason.
#[tokio::test]
async fn forms_are_confirmed_or_shown_again_with_the_reason() {
    let app = TestApp::new().await;
    let mut admin = app.user("admin@example.com").await;
    let id: uuid::Uuid = app.one("select user_id from account").await;
    let user = format!("/admin/users/{id}");
    for (path, fields, page) in [
        ("/admin/plans/free".to_owned(), vec![("requests", "0"), ("model", "gpt-5-mini")], "/admin/plans".to_owned()),
        ("/admin/models/gpt-5-mini".to_owned(), vec![("daily_spend", "a lot")], "/admin/models".to_owned()),
        ("/admin/global".to_owned(), vec![("daily_spend", "-1")], "/admin/models".to_owned()),
        (format!("{user}/act"), vec![("act", "pause"), ("why", "")], user.clone()),
    ] {
        let answer = admin.form(&path, &fields).await;
        assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY, "{path}");
        let (text, shown) = (answer.text().await.unwrap(), admin.text(&page).await);
        assert!(text.contains("role=\"alert\"") && text.contains("No changes were saved"), "{path}");
        let heading =
            |page: &str| page.split("<h1").nth(1).and_then(|rest| rest.split("</h1>").next()).map(str::to_owned);
        assert_eq!(heading(&text), heading(&shown), "{path}");
        assert!(!shown.contains("role=\"status\" class=\"done\""), "{path}");
    }
    let done = admin.form("/admin/models/gpt-5-mini", &[("daily_spend", "5")]).await;
    assert_eq!(done.headers()["location"], "/admin/models?saved=yes");
    assert!(admin.text("/admin/models?saved=yes").await.contains("role=\"status\" class=\"done\""));
}

/// Users see the conversation of each response. The owner doesn't: its title is what the user has written.
#[tokio::test]
async fn recent_responses_name_their_conversation_to_the_user_only() {
    let app = TestApp::new().await;
    let (ann, admin) = (app.user("ann@example.com").await, app.user("admin@example.com").await);
    let id: uuid::Uuid = app.one("select user_id from account where email = 'ann@example.com'").await;
    ann.send_and_read("{{words:3}} my secret plan").await;
    let conversation: uuid::Uuid = app.one("select conversation_id from conversation").await;
    let own = ann.text("/usage").await;
    assert!(own.contains(&format!("href=\"/chat/{conversation}\"")) && own.contains("my secret plan"), "{own}");
    assert!(!admin.text(&format!("/admin/users/{id}")).await.contains("secret"));
    app.sql("delete from conversation").await;
    assert!(ann.text("/usage").await.contains("Deleted conversation"));
}

#[tokio::test]
async fn the_sidebar_groups_conversations_by_day() {
    let app = TestApp::new().await;
    let mut ann = app.user("ann@example.com").await;
    ann.send_and_read("{{words:3}}").await;
    for zone in ["Pacific/Tongatapu", "Pacific/Honolulu"] {
        assert_eq!(ann.form("/settings/time-zone", &[("zone", zone)]).await.status(), StatusCode::SEE_OTHER);
        let page = ann.text("/chat").await;
        assert!(page.contains("<section id=\"today-group\">") && !page.contains(">Earlier<"), "{zone}: {page}");
    }
    app.sql("update conversation set updated_at = now() - interval '40 days'").await;
    let page = ann.text("/chat").await;
    assert!(page.contains("<section id=\"today-group\" hidden") && page.contains(">Earlier<"), "{page}");
}

#[tokio::test]
async fn the_gallery_is_a_page_without_styles_in_its_html() {
    let app = TestApp::new().await;
    let page = app.visitor().text("/dev/gallery?theme=dark").await;
    assert!(page.contains("class=\"gallery dark\"") && page.contains("Eleven series") && page.contains(">Other<"));
    assert!(!page.contains(" style=\"") && !page.contains(".wasm"));
}
