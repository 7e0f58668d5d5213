//! What search engines and link previews read.

use crate::app::TestApp;
use http::{StatusCode, header};
use serde_json::Value;

/// Returns the structured data of a page.
fn structured(page: &str) -> Vec<Value> {
    let blocks = page.split("<script type=\"application/ld+json\"").skip(1);
    let text = |block: &str| block.split_once('>').unwrap().1.split("</script>").next().unwrap().to_owned();
    blocks.map(|block| serde_json::from_str(&text(block)).unwrap_or_else(|error| panic!("{error}: {block}"))).collect()
}

#[tokio::test]
async fn public_pages_have_a_canonical_url_and_a_preview() {
    let app = TestApp::new().await;
    let url = &app.config.public_url;
    for (path, query, image) in [
        ("/", "", "home"),
        ("/pricing", "?plan=pro&interval=year", "pricing"),
        ("/sign-in", "?next=%2Fusage", "sign-in"),
        ("/sign-up", "", "sign-up"),
        ("/help/limits", "", "help"),
        ("/blog/what-a-token-is", "", "blog"),
        ("/terms", "", "terms"),
        ("/status", "", "status"),
    ] {
        let page = app.visitor().text(&format!("{path}{query}")).await;
        let canonical = format!("<link rel=\"canonical\" href=\"{url}{path}\"");
        assert_eq!(page.matches(&canonical).count(), 1, "{path}: {page}");
        for property in ["og:type", "og:site_name", "og:title", "og:description", "og:url", "og:image"] {
            assert_eq!(page.matches(&format!("property=\"{property}\"")).count(), 1, "{path}: {property}");
        }
        assert!(page.contains(&format!("content=\"{url}/og/{image}.png\"")), "{path}: {page}");
        assert!(!page.contains("noindex"), "{path}");
        // All of it is in the head.
        assert!(page.find("og:image").unwrap() < page.find("</head>").unwrap(), "{path}");
    }
}

#[tokio::test]
async fn private_pages_are_not_listed() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    let visitor = app.visitor();
    for (client, path) in [
        (&ann, "/chat"),
        (&ann, "/usage"),
        (&ann, "/settings"),
        (&ann, "/settings/billing"),
        (&visitor, "/verify?token=x"),
        (&visitor, "/forgot"),
        (&visitor, "/reset?token=x"),
    ] {
        let page = client.text(path).await;
        assert!(page.contains("name=\"robots\" content=\"noindex\"") && !page.contains("canonical"), "{path}: {page}");
    }
}

/// Asserts that a page shows the questions that it has for search engines.
fn shows_questions(page: &str, questions: &Value) {
    let questions = questions["mainEntity"].as_array().unwrap();
    assert!(questions.len() >= 6, "{questions:?}");
    for question in questions {
        assert!(page.contains(&format!("<summary>{}", question["name"].as_str().unwrap())), "{question}");
    }
}

#[tokio::test]
async fn structured_data_describes_site_plans_questions_and_posts() {
    let app = TestApp::new().await;
    let home = app.visitor().text("/").await;
    let site = structured(&home);
    let kinds: Vec<&str> =
        site[0]["@graph"].as_array().unwrap().iter().filter_map(|item| item["@type"].as_str()).collect();
    assert_eq!(kinds, ["Organization", "WebSite"]);
    assert_eq!(site[1]["@type"], "FAQPage");
    shows_questions(&home, &site[1]);

    let plans = structured(&app.visitor().text("/pricing").await);
    let products = plans[0]["@graph"].as_array().unwrap();
    assert_eq!(products.len(), 3);
    assert_eq!(products[1]["offers"][0]["price"], "20.00");
    assert_eq!(
        (&products[1]["offers"][1]["price"], &products[1]["offers"][0]["priceCurrency"]),
        (&"200.00".into(), &"USD".into())
    );
    assert_eq!(products[0]["offers"][0]["price"], "0.00");

    let page = app.visitor().text("/help").await;
    let questions = structured(&page);
    assert_eq!(questions[0]["@type"], "FAQPage");
    shows_questions(&page, &questions[0]);

    let post = structured(&app.visitor().text("/blog/what-a-token-is").await);
    assert_eq!(post[0]["@type"], "BlogPosting");
    assert_eq!(post[0]["datePublished"], "2026-11-27");
}

/// robots.txt names the sitemap, and every page that the sitemap lists may be read by anyone and be listed.
#[tokio::test]
async fn the_sitemap_lists_pages_that_exist() {
    let app = TestApp::new().await;
    let url = &app.config.public_url;
    let robots = app.visitor().get("/robots.txt").await;
    assert_eq!(robots.headers()[header::CONTENT_TYPE], "text/plain; charset=utf-8");
    let robots = robots.text().await.unwrap();
    assert!(
        robots.contains(&format!("\nSitemap: {url}/sitemap.xml\n")) && robots.contains("\nDisallow: /chat\n"),
        "{robots}"
    );

    let sitemap = app.visitor().text("/sitemap.xml").await;
    let listed: Vec<&str> = sitemap.split("<loc>").skip(1).map(|rest| rest.split("</loc>").next().unwrap()).collect();
    assert!(listed.len() >= 16, "{listed:?}");
    for page in &listed {
        let path = page.strip_prefix(url.as_str()).unwrap();
        let text = app.visitor().text(path).await;
        assert!(text.contains(&format!("rel=\"canonical\" href=\"{page}\"")), "{page}");
        assert!(!robots.lines().any(|line| line == format!("Disallow: {path}")), "{page}");
    }
    for path in ["/", "/pricing", "/help", "/help/limits", "/blog/what-a-token-is", "/changelog", "/terms"] {
        assert!(listed.contains(&format!("{url}{path}").as_str()), "{path}");
    }
}

#[tokio::test]
async fn changes_are_a_feed() {
    let app = TestApp::new().await;
    let response = app.visitor().get("/changelog.xml").await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/rss+xml; charset=utf-8");
    let feed = response.text().await.unwrap();
    let link = format!("{}/changelog#2026-11-27-site", app.config.public_url);
    assert!(feed.contains("<rss") && feed.contains("<title>Help, status and a changelog</title>"), "{feed}");
    assert!(feed.contains(&link) && feed.contains("27 Nov 2026 00:00:00 +0000"), "{feed}");
    assert!(!feed.contains("href=\"/"), "links name the site: {feed}");
    let page = app.visitor().text("/changelog").await;
    assert!(page.contains("id=\"2026-11-27-site\"") && page.contains("type=\"application/rss+xml\""), "{page}");
}
