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

/// A form that was accepted is confirmed. One that wasn't shows its page again, with the reason and what was typed.
#[tokio::test]
async fn forms_are_confirmed_or_shown_again_with_the_reason() {
    let app = TestApp::new().await;
    let mut admin = app.user("admin@example.com").await;
    let id: uuid::Uuid = app.one("select user_id from account").await;
    let user = format!("/admin/users/{id}");
    let (plans, models) = ("/admin/plans".to_owned(), "/admin/models".to_owned());
    let price = vec![("input", "0,55"), ("output", "7.77"), ("effective_at", "2099-01-01T00:00")];
    let limit = vec![("act", "limit"), ("why", "By mail"), ("tokens", "34567"), ("until", "2020-01-01")];
    for (path, fields, page) in [
        (format!("{plans}/free"), vec![("requests", "0"), ("tokens", "34567"), ("model", "gpt-5-mini")], plans.clone()),
        ("/admin/retention".to_owned(), vec![("plan", "free"), ("days", "soon")], plans.clone()),
        (format!("{models}/gpt-5-mini"), vec![("daily_spend", "a lot")], models.clone()),
        (format!("{models}/gpt-5-mini/price"), price, models.clone()),
        ("/admin/global".to_owned(), vec![("daily_spend", "-1")], models.clone()),
        (format!("{user}/act"), vec![("act", "pause"), ("why", "")], user.clone()),
        (format!("{user}/act"), limit, user.clone()),
    ] {
        let answer = admin.form(&path, &fields).await;
        assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY, "{path}");
        let (text, shown) = (answer.text().await.unwrap(), admin.text(&page).await);
        assert!(text.contains("role=\"alert\"") && text.contains("No changes were saved"), "{path}");
        let heading =
            |page: &str| page.split("<h1").nth(1).and_then(|rest| rest.split("</h1>").next()).map(str::to_owned);
        assert_eq!(heading(&text), heading(&shown), "{path}");
        for (name, typed) in fields.iter().filter(|(_, typed)| !typed.is_empty()) {
            assert!(text.contains(&format!("value=\"{typed}\"")), "{path}: {name} is {typed}");
        }
        assert_eq!(text.contains("<details open"), path.ends_with("/act"), "{path}");
        assert!(!shown.contains("role=\"status\" class=\"done\""), "{path}");
    }
    let done = admin.form("/admin/models/gpt-5-mini", &[("daily_spend", "5")]).await;
    assert_eq!(done.headers()["location"], "/admin/models?saved=yes");
    assert!(admin.text("/admin/models?saved=yes").await.contains("role=\"status\" class=\"done\""));
}

/// The owner sets whether a model reasons, its efforts and its smallest cacheable prompt. A rejected form shows what was typed, in its row
/// only, and changes nothing.
#[tokio::test]
async fn reasoning_and_caching_of_a_model_are_set_in_its_row() {
    let app = TestApp::new().await;
    let mut admin = app.user("admin@example.com").await;
    let path = "/admin/models/claude-haiku-4-5";
    let row = |thinking, efforts, min| [("thinking", thinking), ("efforts", efforts), ("min_cacheable", min)];
    let saved = admin.form(path, &row("optional", "low, high , max", "2048")).await;
    assert_eq!(saved.headers()["location"], "/admin/models?saved=yes");
    let is_stored = "select thinking = 'optional' and efforts = '{low,high,max}' and min_cacheable = 2048
                     from model where model = 'claude-haiku-4-5'";
    assert!(app.one::<bool>(is_stored).await);
    let page = admin.text("/admin/models").await;
    assert!(page.contains("value=\"low, high, max\"") && page.contains("value=\"2048\""), "{page}");
    let audit: String = app.one("select after from audit where action = 'set_model'").await;
    assert!(audit.contains("may reason, efforts low high max, cached from 2,048 tokens"), "{audit}");
    // Fields that aren't sent stay as they are.
    admin.form(path, &[("takes_images", "on")]).await;
    assert!(app.one::<bool>(is_stored).await);
    let long = "x".repeat(33);
    for fields in [
        row("sometimes", "typed", "7777"),
        row("always", "typed,typed", "7777"),
        row("always", "typed,a b", "7777"),
        row("always", long.as_str(), "7777"),
        row("always", "typed", "0"),
        row("always", "typed", "-7777"),
    ] {
        let refused = admin.form(path, &fields).await;
        assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY, "{fields:?}");
        let page = refused.text().await.unwrap();
        for (name, typed) in &fields[1..] {
            let inputs: Vec<&str> =
                page.split("<input").filter(|tag| tag.contains(&format!("name=\"{name}\""))).collect();
            let shown = inputs.iter().filter(|tag| tag.contains(&format!("value=\"{typed}\""))).count();
            assert_eq!(shown, 1, "{name} {typed}");
        }
    }
    assert!(app.one::<bool>(is_stored).await);
    admin.form(path, &row("none", "", "")).await;
    let is_cleared = "select thinking = 'none' and efforts = '{}' and min_cacheable is null
                      from model where model = 'claude-haiku-4-5'";
    assert!(app.one::<bool>(is_cleared).await);
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
        // Repeats if the day of the zone ends meanwhile.
        let page = loop {
            app.sql("update conversation set updated_at = now()").await;
            let page = ann.text("/chat").await;
            let is_today =
                "select (updated_at at time zone $1)::date = (now() at time zone $1)::date from conversation";
            if sqlx::query_scalar::<_, bool>(is_today).bind(zone).fetch_one(&app.db).await.unwrap() {
                break page;
            }
        };
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
