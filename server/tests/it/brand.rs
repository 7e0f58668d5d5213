//! The brand: what is drawn from it, and that nothing else in the repository holds what `brand.toml` holds.

use crate::app::TestApp;
use domain::brand;
use http::StatusCode;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// Returns width and height of a picture in PNG format.
fn size(png: &[u8]) -> (u32, u32) {
    assert!(png.starts_with(b"\x89PNG\r\n\x1a\n"), "not a PNG");
    let number = |from: usize| u32::from_be_bytes(png[from..from + 4].try_into().unwrap());
    (number(16), number(20))
}

#[tokio::test]
async fn icons_have_the_sizes_that_the_manifest_promises() {
    let app = TestApp::new().await;
    let visitor = app.visitor();
    let response = visitor.get("/manifest.webmanifest").await;
    assert_eq!(response.headers()["content-type"], "application/manifest+json");
    let manifest: Value = response.json().await.unwrap();
    assert_eq!(manifest["name"], brand::NAME);
    assert_eq!(manifest["background_color"], brand::THEME_COLOR_LIGHT);
    let icons = manifest["icons"].as_array().unwrap();
    assert!(icons.iter().any(|icon| icon["purpose"] == "maskable"));
    let mut expected: Vec<(String, String)> = icons
        .iter()
        .map(|icon| (icon["src"].as_str().unwrap().to_owned(), icon["sizes"].as_str().unwrap().to_owned()))
        .collect();
    expected.push(("/touch-icon.png".into(), "180x180".into()));
    for (path, sizes) in expected {
        let response = visitor.get(&path).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert_eq!(response.headers()["content-type"], "image/png");
        let (width, height) = size(&response.bytes().await.unwrap());
        assert_eq!(format!("{width}x{height}"), sizes, "{path}");
    }
    let ico = visitor.get("/favicon.ico").await.bytes().await.unwrap();
    assert!(ico.starts_with(&[0, 0, 1, 0, 3, 0]), "three icons");
    let svg = visitor.text("/favicon.svg").await;
    assert!(svg.contains(brand::LOGO_BODY) && svg.contains(brand::ACCENT_COLOR_DARK), "{svg}");
}

#[tokio::test]
async fn pages_of_the_site_have_a_picture_for_links() {
    let app = TestApp::new().await;
    let visitor = app.visitor();
    let mut seen = Vec::new();
    for page in
        ["home", "pricing", "sign-up", "sign-in", "help", "blog", "changelog", "status", "terms", "privacy", "imprint"]
    {
        let response = visitor.get(&format!("/og/{page}.png")).await;
        assert_eq!(response.status(), StatusCode::OK, "{page}");
        let png = response.bytes().await.unwrap();
        assert_eq!(size(&png), (1200, 630), "{page}");
        assert!(!seen.contains(&png), "{page} has the picture of another page");
        seen.push(png);
    }
    for path in ["/og/nothing.png", "/og/home", "/og/home.svg", "/og/..%2Fhome.png"] {
        assert_eq!(visitor.get(path).await.status(), StatusCode::NOT_FOUND, "{path}");
    }
}

/// The hue reaches a page in a style element that its content security policy allows, and the head names the icons.
#[tokio::test]
async fn pages_carry_the_look_of_the_brand() {
    let app = TestApp::new().await;
    for path in ["/", "/sign-in", "/nothing"] {
        let response = app.visitor().get(path).await;
        let policy = response.headers()["content-security-policy"].to_str().unwrap().to_owned();
        let page = response.text().await.unwrap();
        let style = page.split("<style ").nth(1).and_then(|rest| rest.split("</style>").next()).unwrap_or_default();
        assert!(style.contains(&format!(":root{{--hue:{}", brand::HUE)), "{path}: {page}");
        let nonce = style.split("nonce=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
        let styles = policy.split("style-src").nth(1).and_then(|rest| rest.split(';').next()).unwrap_or_default();
        assert!(!nonce.is_empty() && styles.contains(&format!("'nonce-{nonce}'")), "{path}: {policy}");
        assert!(policy.contains("manifest-src 'self'"), "{path}: {policy}");
        for part in [
            "href=\"/favicon.ico\"",
            "href=\"/favicon.svg\"",
            "href=\"/touch-icon.png\"",
            brand::THEME_COLOR_LIGHT,
            brand::THEME_COLOR_DARK,
        ] {
            assert!(page.contains(part), "{path} has no {part}");
        }
    }
}

#[tokio::test]
async fn a_new_conversation_suggests_the_starters_of_the_brand() {
    let app = TestApp::new().await;
    let page = app.user("ann@example.com").await.text("/chat").await;
    assert_eq!(page.matches("data-starter=").count(), brand::STARTERS.len());
    for (title, _) in brand::STARTERS {
        assert!(page.contains(&title.replace('&', "&amp;")), "{title}");
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Reads all text files in folders of the repository. A folder that doesn't exist has none.
fn texts(folders: &[&str]) -> Vec<(PathBuf, String)> {
    let (mut found, mut folders) = (Vec::new(), folders.iter().map(|folder| root().join(folder)).collect::<Vec<_>>());
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(&folder).into_iter().flatten().map(|entry| entry.unwrap().path()) {
            if path.is_dir() && !path.ends_with("target") && !path.ends_with("node_modules") {
                folders.push(path);
            } else if let Ok(text) = fs::read_to_string(&path) {
                found.push((path, text));
            }
        }
    }
    found
}

/// `brand.toml` alone holds the product's name, tagline and texts: they appear in nothing that ships. Free to name the template are the
/// documents about it (README, docs, LICENSE), tests, and in lower case the program: its crate names, binary, roles and folders.
#[test]
fn tidy_the_brand_is_only_in_brand_toml() {
    const TEMPLATE: &str = concat!("Quo", "tient");
    let ships = ["app", "brand", "content", "crates", "frontend", "migrations", "ops", "public", "server/src", "style"];
    let mut files = texts(&ships);
    for name in [".env.example", "Cargo.toml", "Dockerfile", "compose.yaml", "dev"] {
        files.push((root().join(name), fs::read_to_string(root().join(name)).unwrap()));
    }
    assert!(files.len() > 300, "{}", files.len());
    for (path, text) in files {
        for value in [TEMPLATE, brand::TAGLINE, brand::DESCRIPTION, brand::HERO_TITLE, brand::HERO_TEXT] {
            assert!(!text.contains(value), "{} has \"{value}\", which belongs to brand.toml", path.display());
        }
    }
}

/// `brand.toml` alone holds the hue: the tokens name no number but for colors with a meaning of their own, only the page's head sets it, and
/// nothing else writes a color.
#[test]
fn tidy_the_hue_is_only_in_brand_toml() {
    const OWN_MEANING: [&str; 5] = ["warn", "danger", "code-", "series-", "qr-"];
    let css = fs::read_to_string(root().join("style/tokens.css")).unwrap();
    let css: String = css.split("/*").map(|part| part.split_once("*/").map_or(part, |(_, rest)| rest)).collect();
    let declarations: Vec<(&str, &str)> =
        css.split(';').filter_map(|part| part.split_once("--")?.1.split_once(':')).collect();
    assert!(declarations.len() > 30, "{declarations:?}");
    for (name, value) in declarations {
        for color in value.split("oklch(").skip(1) {
            let mut parts = color.split_whitespace().skip(1);
            let (chroma, hue) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            let has_own = OWN_MEANING.iter().any(|start| name.starts_with(start));
            assert!(
                chroma == "0" || hue.starts_with("var(--hue)") || has_own,
                "--{name} has a hue of its own: {value}"
            );
        }
    }
    let setters: Vec<PathBuf> = texts(&["app/src", "server/src", "style", "public"])
        .into_iter()
        .filter(|(_, text)| text.contains("--hue:"))
        .map(|(path, _)| path)
        .collect();
    assert!(setters.len() == 1 && setters[0].ends_with("app/src/lib.rs"), "{setters:?}");
    for (path, text) in texts(&["app/src", "frontend/src", "server/src", "style", "public"]) {
        let is_code =
            path.extension().is_some_and(|end| ["rs", "css", "js", "html", "svg"].iter().any(|code| end == *code));
        for after in text.split('#').skip(1).filter(|_| is_code) {
            let digits = after.chars().take_while(char::is_ascii_hexdigit).count();
            assert!(digits != 6, "{} has the color #{}", path.display(), &after[..6]);
        }
    }
}
