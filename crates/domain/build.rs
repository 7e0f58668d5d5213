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
    let text = fs::read_to_string(&root).expect("brand.toml stands beside Cargo.toml");
    let brand: Brand = toml::from_str(&text).expect("brand.toml holds the five strings");
    let line =
        |name: &str, doc: &str, value: &str| format!("/// {doc}\npub const {name}: &str = {:?};\n", value.trim());
    let code = [
        line("NAME", "The product's name.", &brand.name),
        line("TAGLINE", "One sentence that says what it is for.", &brand.tagline),
        line("LOGO_PATH", "The mark: an SVG path in a 24×24 box.", &brand.logo_path),
        line("SUPPORT_EMAIL", "Where users write for help.", &brand.support_email),
        line("SYSTEM_PROMPT", "Sent to the model ahead of every conversation.", &brand.system_prompt),
    ]
    .concat();
    #[allow(clippy::disallowed_methods, reason = "OUT_DIR is how cargo tells a build script where to write")]
    let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    fs::write(Path::new(&out).join("brand.rs"), code).expect("OUT_DIR is writable");
}
