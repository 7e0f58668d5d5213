//! Reads, checks and edits `brand.toml`, the file with the product's name, texts, color, logo and legal data. The build script of `domain`
//! turns it into constants; `./dev brand` edits it with the binary of this crate.

mod check;
mod colors;
mod constants;
mod edit;
mod error;
mod file;
mod logo;

pub use edit::{value, with_values};
pub use error::BrandError;

use colors::Palette;
use file::File;
use logo::Logo;
use std::fs;
use std::path::Path;

/// The file's name in the root folder of the repository.
pub const FILE: &str = "brand.toml";
/// The stylesheet with the color tokens, whose contrast is checked at the chosen hue.
pub const TOKENS: &str = "style/tokens.css";

/// A `brand.toml` whose values can be used, with the logo and the colors that belong to it.
pub struct Brand {
    file: File,
    logo: Logo,
    palette: Palette,
}

impl Brand {
    /// Reads and checks `brand.toml` in the folder `root`, with the logo and the tokens.
    ///
    /// # Errors
    /// Returns an error if a file can't be read or a value can't be used. It is one sentence that names the file and the key.
    pub fn read(root: &Path) -> Result<Self, BrandError> {
        Self::parse(root, &read(root, FILE)?)
    }

    /// Checks the contents of a `brand.toml` that would be in the folder `root`.
    ///
    /// # Errors
    /// Returns an error if a file can't be read or a value can't be used. It is one sentence that names the file and the key.
    pub fn parse(root: &Path, text: &str) -> Result<Self, BrandError> {
        let file = File::parse(text)?;
        check::check(&file)?;
        let logo = Logo::parse(&read(root, &file.logo)?).map_err(|problem| BrandError::of("logo", &problem))?;
        let palette = Palette::parse(&read(root, TOKENS)?, file.look.hue);
        palette.check().map_err(|problem| BrandError::of("look.hue", &problem))?;
        Ok(Self { file, logo, palette })
    }

    /// Writes the values as Rust constants, each with its documentation.
    #[must_use]
    pub fn constants(&self) -> String {
        constants::constants(&self.file, &self.logo, &self.palette)
    }
}

/// Reads a text file in the folder `root`.
fn read(root: &Path, name: &str) -> Result<String, BrandError> {
    fs::read_to_string(root.join(name)).map_err(|error| BrandError::new(format!("{name} can't be read: {error}.")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
    }

    fn text() -> String {
        fs::read_to_string(root().join(FILE)).unwrap()
    }

    /// Returns the error for the repository's file with one value changed.
    fn error(key: &str, value: &str) -> String {
        match with_values(&text(), &[(key.to_owned(), value.to_owned())]) {
            Ok(changed) => match Brand::parse(&root(), &changed) {
                Ok(_) => String::new(),
                Err(error) => error.to_string(),
            },
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_repository_has_a_usable_brand_file() {
        let code = Brand::read(&root()).map(|brand| brand.constants()).unwrap_or_else(|error| panic!("{error}"));
        for name in ["NAME", "TAGLINE", "HUE", "LOGO_SVG", "STARTERS", "LEGAL_CONFIRMED", "THEME_COLOR_DARK"] {
            assert!(code.contains(&format!("pub const {name}:")), "{name} in {code}");
        }
    }

    #[test]
    fn every_hue_can_be_chosen() {
        for hue in 0..360 {
            assert_eq!(error("look.hue", &hue.to_string()), "", "{hue}");
        }
    }

    #[test]
    fn a_bad_value_is_one_sentence_that_names_the_key() {
        let long = "x".repeat(200);
        for (key, value) in [
            ("name", ""),
            ("name", "two\nlines"),
            ("tagline", long.as_str()),
            ("description", long.as_str()),
            ("look.hue", "360"),
            ("look.hue", "green"),
            ("support.email", "nobody"),
            ("site.popular_plan", "Pro Plan"),
            ("legal.terms_version", "yesterday"),
            ("logo", "../logo.svg"),
            ("look.colour", "1"),
        ] {
            let sentence = error(key, value);
            assert!(sentence.contains(key) && !sentence.contains('\n') && sentence.ends_with('.'), "{key}: {sentence}");
        }
        assert!(error("look.main_button", "red").contains("main_button"));
        assert!(error("logo", "brand/missing.svg").contains("brand/missing.svg"));
    }

    #[test]
    fn a_missing_or_unknown_key_is_named() {
        let without = text().replace("tagline = ", "tag_line = ");
        let sentence = Brand::parse(&root(), &without).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(sentence.contains("tag_line") || sentence.contains("tagline"), "{sentence}");
        assert!(!sentence.contains('\n'), "{sentence}");
    }
}
