//! Reads `brand.toml` at build time, so that the product's name is written in one file only.

use std::{env, fs, path::Path};

#[derive(serde::Deserialize)]
struct Brand {
    name: String,
    tagline: String,
    logo_path: String,
    support_email: String,
    system_prompt: String,
    hero: Hero,
    site: Site,
    features: Features,
}

#[derive(serde::Deserialize)]
struct Hero {
    title: String,
    text: String,
    action: String,
}

#[derive(serde::Deserialize)]
struct Site {
    popular_plan: String,
    links: Vec<Link>,
}

#[derive(serde::Deserialize)]
struct Link {
    label: String,
    href: String,
}

#[derive(serde::Deserialize)]
struct Features {
    demo: bool,
    blog: bool,
    changelog: bool,
    status: bool,
    help: bool,
}

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../brand.toml");
    println!("cargo::rerun-if-changed={}", root.display());
    let text = fs::read_to_string(&root).expect("brand.toml must be next to the workspace's Cargo.toml");
    let Brand { name, tagline, logo_path, support_email, system_prompt, hero, site, features } =
        toml::from_str(&text).expect("brand.toml must contain every key of the one in the repository");
    let line =
        |name: &str, doc: &str, value: &str| format!("/// {doc}\npub const {name}: &str = {:?};\n", value.trim());
    let flag = |name: &str, doc: &str, value: bool| format!("/// {doc}\npub const {name}: bool = {value};\n");
    let links: Vec<(&str, &str)> = site.links.iter().map(|link| (link.label.trim(), link.href.trim())).collect();
    let code = [
        line("NAME", "The product's name.", &name),
        line("TAGLINE", "One sentence that describes the product.", &tagline),
        line("LOGO_PATH", "The logo: an SVG path in a 24×24 box.", &logo_path),
        line("SUPPORT_EMAIL", "The email address for support.", &support_email),
        line("SYSTEM_PROMPT", "The system prompt, sent to the model before every conversation.", &system_prompt),
        line("HERO_TITLE", "The heading of the landing page.", &hero.title),
        line("HERO_TEXT", "The sentences below the heading of the landing page.", &hero.text),
        line("HERO_ACTION", "The text of the landing page's button that leads to the sign-up.", &hero.action),
        line("POPULAR_PLAN", "The id of the plan that is marked \"Most popular\"; may be empty.", &site.popular_plan),
        format!("/// Links in the footer: label and URL.\npub const LINKS: &[(&str, &str)] = &{links:?};\n"),
        flag("DEMO", "Whether the landing page has a live demo.", features.demo),
        flag("BLOG", "Whether the site has a blog.", features.blog),
        flag("CHANGELOG", "Whether the site has a changelog.", features.changelog),
        flag("STATUS", "Whether the site has a status page.", features.status),
        flag("HELP", "Whether the site has help pages.", features.help),
    ]
    .concat();
    #[allow(clippy::disallowed_methods, reason = "Cargo passes the output directory in OUT_DIR")]
    let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    fs::write(Path::new(&out).join("brand.rs"), code).expect("OUT_DIR is writable");
}
