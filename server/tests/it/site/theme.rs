//! The theme that a visitor has chosen: pages are rendered with it.

use crate::app::TestApp;
use http::{StatusCode, header};
use reqwest::Response;

async fn choose(app: &TestApp, theme: &str, next: &str) -> Response {
    app.visitor().request("POST", "/theme").form(&[("theme", theme), ("next", next)]).send().await.unwrap()
}

fn header_of(response: &Response, name: header::HeaderName) -> &str {
    response.headers()[name].to_str().unwrap()
}

#[tokio::test]
async fn a_chosen_theme_is_rendered_on_every_page() {
    let app = TestApp::new().await;
    let plain = app.visitor().text("/").await;
    assert!(!plain.contains("data-theme") && plain.contains("content=\"light dark\""));
    let chosen = choose(&app, "dark", "/pricing?plan=pro&interval=year").await;
    assert_eq!(chosen.status(), StatusCode::SEE_OTHER);
    assert_eq!(header_of(&chosen, header::LOCATION), "/pricing?plan=pro&interval=year");
    let cookie = header_of(&chosen, header::SET_COOKIE);
    assert_eq!(cookie, "theme=dark; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax");
    for path in ["/", "/pricing", "/sign-in", "/nothing"] {
        let page = app.visitor().request("GET", path).header(header::COOKIE, "theme=dark").send().await.unwrap();
        let page = page.text().await.unwrap();
        assert!(
            page.contains("data-theme=\"dark\"") && page.contains("name=\"color-scheme\" content=\"dark\""),
            "{path}"
        );
        assert_eq!(page.matches("name=\"theme-color\"").count(), 1, "{path}");
    }
    // The switch leads back to its own page.
    let page = app.visitor().text("/pricing?interval=year&plan=pro").await;
    assert!(page.contains("name=\"next\" value=\"/pricing?interval=year&amp;plan=pro\""), "{page}");
}

/// The address of many forms has no page: the switch leads back to the page that the form was sent from, or to the landing page.
#[tokio::test]
async fn a_page_that_a_form_led_to_switches_on_the_form_s_own_page() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    let own = format!("{}/usage?days=7", ann.url);
    for (referer, is_own) in [(own.as_str(), true), ("https://evil.example/usage?days=7", false), ("", false)] {
        let form = ann.request("POST", "/admin/global").header(header::REFERER, referer).form(&[("cap", "1")]);
        let response = form.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        let page = response.text().await.unwrap();
        assert_eq!(page.contains("name=\"next\" value=\"/usage?days=7\""), is_own, "{referer}: {page}");
        assert!(!page.contains("/admin/global") && !page.contains("evil.example"), "{page}");
    }
}

#[tokio::test]
async fn only_known_themes_and_own_pages_are_accepted() {
    let app = TestApp::new().await;
    let system = choose(&app, "system", "/").await;
    assert!(header_of(&system, header::SET_COOKIE).contains("Max-Age=0"));
    for elsewhere in ["", "https://evil.example", "//evil.example", "/\\evil.example"] {
        assert_eq!(header_of(&choose(&app, "light", elsewhere).await, header::LOCATION), "/", "{elsewhere}");
    }
    assert_eq!(choose(&app, "blue", "/").await.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let page = app.visitor().request("GET", "/").header(header::COOKIE, "theme=\"><script>").send().await.unwrap();
    assert!(!page.text().await.unwrap().contains("data-theme"));
}
