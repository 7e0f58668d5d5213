//! Reads `brand.toml` at build time, so that the product's name is written in one file only.

use std::{env, fs, path::Path};

#[derive(serde::Deserialize)]
struct Brand {
    name: String,
    tagline: String,
    logo_path: String,
    support_email: String,
    system_prompt: String,
}

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../brand.toml");
    println!("cargo::rerun-if-changed={}", root.display());
    let text = fs::read_to_string(&root).expect("brand.toml must be next to the workspace's Cargo.toml");
    let brand: Brand = toml::from_str(&text).expect("brand.toml must contain the five strings");
    let line =
        |name: &str, doc: &str, value: &str| format!("/// {doc}\npub const {name}: &str = {:?};\n", value.trim());
    let code = [
        line("NAME", "The product's name.", &brand.name),
        line("TAGLINE", "One sentence that describes the product.", &brand.tagline),
        line("LOGO_PATH", "The logo: an SVG path in a 24×24 box.", &brand.logo_path),
        line("SUPPORT_EMAIL", "The email address for support.", &brand.support_email),
        line("SYSTEM_PROMPT", "The system prompt, sent to the model before every conversation.", &brand.system_prompt),
    ]
    .concat();
    #[allow(clippy::disallowed_methods, reason = "Cargo passes the output directory in OUT_DIR")]
    let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    fs::write(Path::new(&out).join("brand.rs"), code).expect("OUT_DIR is writable");
}
