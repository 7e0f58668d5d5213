//! Turns `brand.toml` into constants at build time, so that its values are written in one file only. An invalid value fails the build with
//! a message that names it.

use std::{env, fs, path::Path};

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    // The logo is in `brand`.
    for name in [brand::FILE, brand::TOKENS, "brand"] {
        println!("cargo::rerun-if-changed={}", root.join(name).display());
    }
    #[allow(clippy::disallowed_methods, reason = "Cargo passes the output directory in OUT_DIR")]
    let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    match brand::Brand::read(&root) {
        Ok(brand) => fs::write(Path::new(&out).join("brand.rs"), brand.constants()).expect("OUT_DIR is writable"),
        Err(error) => println!("cargo::error={error}"),
    }
}
