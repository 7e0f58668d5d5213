//! Reads `brand.toml` at build time, so that the product's name is written in one file only.

use std::{env, fs, path::Path};

#[derive(serde::Deserialize)]
struct Brand {
    name: String,
    tagline: String,
    description: String,
    logo_path: String,
    support_email: String,
    system_prompt: String,
    legal: Legal,
    features: Features,
}

#[derive(serde::Deserialize)]
struct Legal {
    company: String,
    address: String,
    representative: String,
    register: String,
    vat_id: String,
    confirmed: bool,
    terms_version: String,
}

#[derive(serde::Deserialize)]
struct Features {
    blog: bool,
    changelog: bool,
    status: bool,
    help: bool,
}

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../brand.toml");
    println!("cargo::rerun-if-changed={}", root.display());
    let text = fs::read_to_string(&root).expect("brand.toml must be next to the workspace's Cargo.toml");
    let brand: Brand = toml::from_str(&text).expect("brand.toml must be complete");
    let line =
        |name: &str, doc: &str, value: &str| format!("/// {doc}\npub const {name}: &str = {:?};\n", value.trim());
    let flag = |name: &str, doc: &str, value: bool| format!("/// {doc}\npub const {name}: bool = {value};\n");
    let (legal, features) = (&brand.legal, &brand.features);
    let code = [
        line("NAME", "The product's name.", &brand.name),
        line("TAGLINE", "One sentence that describes the product.", &brand.tagline),
        line("DESCRIPTION", "The product for search results and link previews.", &brand.description),
        line("LOGO_PATH", "The logo: an SVG path in a 24×24 box.", &brand.logo_path),
        line("SUPPORT_EMAIL", "The email address for support.", &brand.support_email),
        line("SYSTEM_PROMPT", "The system prompt, sent to the model before every conversation.", &brand.system_prompt),
        line("LEGAL_COMPANY", "The company that runs the product.", &legal.company),
        line("LEGAL_ADDRESS", "The company's postal address, in lines.", &legal.address),
        line("LEGAL_REPRESENTATIVE", "Who represents the company; may be empty.", &legal.representative),
        line("LEGAL_REGISTER", "The company's entry in a register; may be empty.", &legal.register),
        line("LEGAL_VAT_ID", "The company's VAT number; may be empty.", &legal.vat_id),
        flag("LEGAL_CONFIRMED", "Whether a lawyer has checked the legal pages.", legal.confirmed),
        line(
            "TERMS_VERSION",
            "The version of the terms, stored with each account that accepts them.",
            &legal.terms_version,
        ),
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
