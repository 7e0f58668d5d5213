//! Pages as documents: required content, and content that must be absent.

use crate::app::TestApp;
use http::StatusCode;
use std::fs;
use std::path::Path;

/// The font that every page preloads.
const FONT: &str = "/fonts/inter-basic-latin.woff2";
const PUBLIC: [&str; 14] = [
    "/",
    "/pricing",
    "/terms",
    "/help",
    "/help/limits",
    "/changelog",
    "/status",
    "/sign-up",
    "/sign-in",
    "/forgot",
    "/forgot?sent=yes",
    "/reset?token=x",
    "/verify?token=x",
    "/email/undo?token=x",
];

/// While releases are exchanged, a page may name a file that the server behind it doesn't have. A browser that remembered its 404 for a year would
/// stay without the file. Scripts keep their names from release to release, so browsers ask whether theirs is current.
#[tokio::test]
async fn missing_files_and_files_that_change_are_not_remembered() {
    let app = TestApp::with(&[("SITE_ROOT", concat!(env!("CARGO_MANIFEST_DIR"), "/../public"))]).await;
    for (path, status, control) in [
        ("/pkg/quotient.0000.js", StatusCode::NOT_FOUND, "no-store"),
        ("/fonts/missing.woff2", StatusCode::NOT_FOUND, "no-store"),
        (FONT, StatusCode::OK, "public, max-age=31536000, immutable"),
        ("/password.js", StatusCode::OK, "no-cache"),
    ] {
        let answer = app.visitor().get(path).await;
        assert_eq!((answer.status(), answer.headers()["cache-control"].to_str().unwrap()), (status, control), "{path}");
    }
}

/// Every page has a content security policy, no inline style, no serialized resource data, one preloaded font, wasm only where it is interactive,
/// and the manifest only for users: a visitor's first page waits for whatever is loaded beside its font.
#[tokio::test]
async fn pages_send_only_what_they_need() {
    let app = TestApp::new().await;
    let admin = app.user("admin@example.com").await;
    admin.send_and_read("{{words:12}}").await;
    let conversation: uuid::Uuid = app.one("select conversation_id from conversation").await;
    let user: uuid::Uuid = app.one("select user_id from account").await;
    let paths = [
        "/chat".to_owned(),
        format!("/chat/{conversation}"),
        "/usage".into(),
        "/verify".into(),
        "/sign-in/confirm".into(),
        "/settings".into(),
        "/settings/chat".into(),
        "/settings/security".into(),
        "/settings/security/totp".into(),
        "/settings/security/recovery".into(),
        "/settings/billing".into(),
        "/settings/data".into(),
        "/admin".into(),
        format!("/admin/users/{user}"),
    ];
    let visitor = app.visitor();
    let public = PUBLIC.iter().map(|path| (&visitor, (*path).to_owned()));
    for (client, path) in public.chain(paths.into_iter().map(|path| (&admin, path))) {
        let response = client.get(&path).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        let policy = response.headers()["content-security-policy"].to_str().unwrap().to_owned();
        assert!(
            policy.contains("style-src 'self'") && policy.contains("'nonce-") && !policy.contains("unsafe-inline"),
            "{policy}"
        );
        assert_eq!(response.headers()["cache-control"], "private, no-store");
        assert_ne!(response.headers()["referrer-policy"], "no-referrer");
        let page = response.text().await.unwrap();
        assert!(!page.contains(" style=\""), "{path} has a style attribute");
        assert!(
            page.contains("__RESOLVED_RESOURCES=[];")
                && !page.contains("__RESOLVED_RESOURCES[")
                && !page.contains("__RESOLVED_RESOURCES.push"),
            "{path} serializes its resources"
        );
        assert_eq!(page.contains(".wasm"), path.starts_with("/chat"), "{path}");
        let fonts: Vec<&str> = page.split('"').filter(|value| value.starts_with("/fonts/")).collect();
        assert_eq!(fonts, [FONT], "{path}");
        assert_ne!(page.contains("rel=\"manifest\""), PUBLIC.contains(&path.as_str()), "{path}");
        assert_eq!(page.matches("<h1").count(), 1, "{path} must have one h1");
        assert!(page.contains("lang=\"en\"") && page.contains("class=\"skip\""), "{path}");
    }
}

/// The preloaded font has the characters of English text and is small: the largest contentful paint of a first page waits for it.
#[test]
fn the_preloaded_font_is_small() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let size = fs::metadata(root.join("public").join(FONT.trim_start_matches('/'))).unwrap().len();
    assert!(size <= 13_800, "{size} bytes");
    let sheet = fs::read_to_string(root.join("style/base.css")).unwrap();
    let faces: Vec<&str> = sheet.split("@font-face").filter(|face| face.contains("url(\"/fonts/")).collect();
    let basic = faces.iter().find(|face| face.contains(FONT)).unwrap();
    assert!(basic.contains("U+20-7E"), "{basic}");
    assert!(
        faces.iter().all(|face| face.contains("unicode-range:")),
        "a browser loads each file only for its characters"
    );
}

#[tokio::test]
async fn unknown_paths_show_page_not_found() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    for path in ["/nothing", "/chat/not-an-id", "/chat/0193a000-0000-7000-8000-000000000000"] {
        let response = ann.get(path).await;
        let status = response.status();
        let page = response.text().await.unwrap();
        assert!(page.contains("Page not found"), "{path}: {page}");
        assert!(status == StatusCode::NOT_FOUND || path == "/chat/not-an-id", "{path}: {status}");
    }
    assert_eq!(
        ann.get("/api/nothing").await.json::<serde_json::Value>().await.unwrap()["problem"]["kind"],
        "not_found"
    );
}

/// A failure is shown as an incident number, never as a provider's error, a panic message or a query.
#[tokio::test]
async fn failures_show_an_incident() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    sqlx::query("alter table conversation rename to conversation_gone").execute(&app.db).await.unwrap();
    for path in ["/chat"] {
        let response = ann.get(path).await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR, "{path}");
        let page = response.text().await.unwrap();
        assert!(page.contains("contact us with this number") && !page.contains("relation"), "{page}");
    }
}

/// A panic in a handler is shown as an incident, and other requests are unaffected.
#[tokio::test]
async fn panics_show_an_incident() {
    let app = TestApp::new().await;
    let (ann, admin) = (app.user("ann@example.com").await, app.user("admin@example.com").await);
    let id: uuid::Uuid = app.one("select user_id from account where email = 'ann@example.com'").await;
    let path = format!("/admin/users/{id}");
    assert_eq!(admin.get(&path).await.status(), StatusCode::OK);
    // A timestamp that the client library can't represent, which makes it panic.
    sqlx::query("update account set created_at = '-infinity' where user_id = $1")
        .bind(id)
        .execute(&app.db)
        .await
        .unwrap();
    let request = admin.request("GET", &path).timeout(std::time::Duration::from_secs(120));
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let page = response.text().await.unwrap();
    assert!(page.contains("contact us with this number") && !page.contains("out of range"), "{page}");
    assert_eq!(ann.get("/chat").await.status(), StatusCode::OK, "other users are unaffected");
}

/// The pricing page shows the rows of the plan table, also when signed out.
#[tokio::test]
async fn pricing_page_shows_the_plan_table() {
    let app = TestApp::new().await;
    sqlx::query("update plan set tokens_per_day = 123456 where plan_id = 'pro'").execute(&app.db).await.unwrap();
    let page = app.visitor().text("/pricing").await;
    assert!(page.contains("123,456") && page.contains("$20") && page.contains("Claude Opus 4.7"));
}

#[tokio::test]
async fn demo_model_is_offered_without_provider_keys() {
    let app = TestApp::with(&[("ANTHROPIC_API_KEY", "")]).await;
    let ann = app.user("ann@example.com").await;
    let page = ann.text("/chat").await;
    assert!(page.contains("Demo model") && !page.contains("Claude"));
    let real = TestApp::new().await;
    let page = real.user("ann@example.com").await.text("/chat").await;
    assert!(!page.contains("Demo model") && page.contains("Claude Haiku 4.5"));
}

/// The chat's island renders nothing: it works on elements of the page that it finds by their ids. Each is there once.
#[tokio::test]
async fn chat_pages_have_each_element_of_their_island_once() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    ann.send_and_read("{{words:2}}").await;
    let conversation: uuid::Uuid = app.one("select conversation_id from conversation").await;
    for path in ["/chat".to_owned(), format!("/chat/{conversation}")] {
        let page = ann.text(&path).await;
        for id in [
            "chat",
            "title",
            "conversations",
            "today-group",
            "today",
            "conversations-nav",
            "row-menu",
            "new-row",
            "rename-row",
            "palette",
            "palette-text",
            "palette-results",
            "palette-recent",
            "theme-next",
            "show-shortcuts",
            "delete-button",
            "delete-form",
            "share-button",
            "share-form",
            "share-expires",
            "share-error",
            "share-result",
            "share-link",
            "share-copy",
            "share-revoke",
            "share-again",
            "export-md",
            "export-json",
            "transcript",
            "messages",
            "turns",
            "refused",
            "jump",
            "status",
            "connection",
            "queue",
            "composer",
            "question",
            "model",
            "effort",
            "estimate",
            "files",
            "file-notes",
            "file-picker",
            "attach",
            "chosen-file",
            "sent-file",
            "sent-image",
            "meter",
            "meter-left",
            "meter-tokens",
            "meter-requests",
            "meter-back",
            "send",
            "stop",
            "toast",
            "shortcuts",
            "again-models",
            "user-message",
            "live-turn",
            "edit-form",
            "notes",
            "refusal-card",
            "queued-message",
            "settings",
            "settings-button",
            "settings-form",
            "settings-instructions",
            "settings-model",
            "settings-length",
            "comment-form",
        ] {
            assert_eq!(page.matches(&format!(" id=\"{id}\"")).count(), 1, "{id} on {path}");
        }
        assert!(page.contains("data-now-ms=\"1") && page.contains(" data-limit=\"") && page.contains("<leptos-island"));
        assert_eq!(page.contains("id=\"greeting\""), path == "/chat");
    }
    let page = ann.text(&format!("/chat/{conversation}")).await;
    assert!(page.contains(&format!("data-conversation=\"{conversation}\"")) && page.contains("data-turn=\""));
    assert!(page.contains("data-source=\"{{words:2}}\""), "the last message can be edited");
}

/// Field note 42: markup in model output is escaped, and it loads and links to nothing unsafe.
#[tokio::test]
async fn model_output_is_sanitized_on_the_page() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    ann.send_and_read("{{words:2}}").await;
    sqlx::query("update message set body = E'hi <script>alert(1)</script>\n\n![x](https://evil.example/?q=1)\n\n[a](javascript:alert(1))', html = null, html_version = null where role = 'assistant'")
        .execute(&app.db)
        .await
        .unwrap();
    let conversation: uuid::Uuid = app.one("select conversation_id from conversation").await;
    let page = ann.text(&format!("/chat/{conversation}")).await;
    assert!(
        page.contains("&lt;script&gt;alert(1)")
            && !page.contains("<script>alert")
            && !page.contains("evil.example")
            && !page.contains("javascript:")
    );
}
