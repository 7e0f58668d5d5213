//! Pages whose text is in `content/`, and pages in place of others.

use crate::app::TestApp;
use domain::brand;
use http::StatusCode;

const PAGES: [&str; 11] = [
    "/terms",
    "/privacy",
    "/imprint",
    "/help",
    "/help/limits",
    "/help/billing",
    "/blog",
    "/blog/what-a-token-is",
    "/changelog",
    "/status",
    "/docs/api",
];

/// Every page is a whole document: one title, one heading, no placeholder, no wasm, nothing from elsewhere.
#[tokio::test]
async fn the_owners_texts_are_pages() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    for path in PAGES {
        for client in [&app.visitor(), &ann] {
            let page = client.text(path).await;
            assert_eq!((page.matches("<h1").count(), page.matches("<title>").count()), (1, 1), "{path}");
            assert!(page.contains("<main id=\"content\"") && !page.contains("{{"), "{path}: {page}");
            assert!(!page.contains(".wasm") && !page.contains(" style=\""), "{path}");
            assert_eq!(page.matches("name=\"description\"").count(), 1, "{path}");
        }
    }
}

#[tokio::test]
async fn legal_pages_name_the_company_and_say_that_they_are_templates() {
    let app = TestApp::new().await;
    for path in ["/terms", "/privacy", "/imprint"] {
        let page = app.visitor().text(path).await;
        assert!(page.contains(brand::LEGAL_COMPANY) && page.contains("Last changed on"), "{path}: {page}");
        assert_eq!(page.contains("Have a lawyer check this text"), !brand::LEGAL_CONFIRMED, "{path}");
    }
    let terms = app.visitor().text("/terms").await;
    assert!(terms.contains(&format!("Version {}", brand::TERMS_VERSION)) && terms.contains("for 7 days"), "{terms}");
}

#[tokio::test]
async fn lists_lead_to_their_texts() {
    let app = TestApp::new().await;
    let help = app.visitor().text("/help").await;
    for topic in ["limits", "models", "billing", "privacy", "account", "troubleshooting"] {
        let path = format!("/help/{topic}");
        assert!(help.contains(&format!("href=\"{path}\"")), "{topic}");
        let page = app.visitor().text(&path).await;
        assert!(page.contains(&format!("href=\"{path}\" aria-current=\"page\"")), "{page}");
    }
    assert!(app.visitor().text("/blog").await.contains("href=\"/blog/what-a-token-is\""));
    assert!(app.visitor().text("/changelog").await.contains("href=\"/changelog.xml\""));
}

/// A page that doesn't exist, and one that fails, say so and lead on.
#[tokio::test]
async fn errors_lead_on() {
    let app = TestApp::new().await;
    for path in ["/nothing", "/help/nothing", "/blog/nothing", "/help/limits/more"] {
        let response = app.visitor().get(path).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
        let page = response.text().await.unwrap();
        assert!(page.contains("Page not found") && page.contains("name=\"robots\" content=\"noindex\""), "{page}");
        assert!(
            page.contains("href=\"/help\"") && page.contains("href=\"/pricing\"") && page.contains("mailto:"),
            "{page}"
        );
        assert!(!page.contains("rel=\"canonical\""), "{page}");
    }
    let ann = app.user("ann@example.com").await;
    assert!(ann.get("/nothing").await.text().await.unwrap().contains("Open the chat"));
    app.sql("alter table plan rename to plan_gone").await;
    let failed = app.visitor().get("/pricing").await;
    assert_eq!(failed.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let page = failed.text().await.unwrap();
    assert!(page.contains("Something went wrong") && page.contains("href=\"/status\""), "{page}");
    assert!(page.contains("class=\"button secondary\">Try again") && page.contains("subject=Failure%20"), "{page}");
}

/// Without the session's user a browser is shown a page as well, and a script receives JSON.
#[tokio::test]
async fn a_user_who_cannot_be_loaded_is_shown_a_page() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    app.sql("alter table session rename to session_gone").await;
    let page = ann.request("GET", "/usage").header("accept", "text/html,*/*;q=0.8").send().await.unwrap();
    assert_eq!(page.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(page.headers()["cache-control"], "private, no-store");
    let page = page.text().await.unwrap();
    assert!(page.contains("<h1>Something went wrong</h1>") && page.contains("Try again"), "{page}");
    let script = ann.get("/api/quota").await;
    assert_eq!(script.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(script.json::<serde_json::Value>().await.unwrap()["problem"]["message"].is_string());
}

/// The title of a conversation is its user's text, and can't end the document's title.
#[tokio::test]
async fn titles_are_escaped() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    ann.send_and_read("{{words:1}}").await;
    app.sql("update conversation set title = '</title><script>\"x\" & y'").await;
    let conversation: uuid::Uuid = app.one("select conversation_id from conversation").await;
    let page = ann.text(&format!("/chat/{conversation}")).await;
    let title = page.split("<title>").nth(1).unwrap().split("</title>").next().unwrap();
    assert_eq!(title, format!("&lt;/title&gt;&lt;script&gt;&quot;x&quot; &amp; y · {}", brand::NAME));
    // The list of conversations shows it too.
    assert!(!page.contains("<script>\"x\""), "{page}");
}
