//! The color tokens at a hue, and their contrast.

use color::{ColorSpaceTag, DynamicColor, Srgb, parse_color};
use std::collections::BTreeMap;

/// Background tokens, behind texts and images.
const SURFACES: [&str; 5] = ["canvas", "raised", "floating", "sunken", "bubble"];
/// Tokens of text; those of code, which begin with [`CODE`], are text as well.
const TEXT: [&str; 5] = ["ink", "ink-2", "accent", "warn", "danger"];
const CODE: &str = "code-";
/// Tokens of edges that carry meaning.
const EDGES: [&str; 2] = ["edge", "accent"];
/// The background of filled buttons.
const FILLED: [&str; 3] = ["ink", "accent", "danger"];
/// Minimum contrast of text and of edges by WCAG 2.2 AA.
const TEXT_CONTRAST: f32 = 4.5;
const EDGE_CONTRAST: f32 = 3.0;

/// A theme of the pages.
#[derive(Clone, Copy)]
pub(crate) enum Theme {
    Light,
    Dark,
}

impl Theme {
    fn name(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }
}

/// A token's color in the light and in the dark theme.
#[derive(Clone, Copy)]
struct Token {
    light: DynamicColor,
    dark: DynamicColor,
}

/// The colors of `tokens.css` at one hue, by the names of their tokens.
pub(crate) struct Palette {
    hue: u16,
    tokens: BTreeMap<String, Token>,
}

impl Palette {
    /// Reads the tokens that are one color, or one for each theme. Others, such as shadows, are skipped.
    pub(crate) fn parse(css: &str, hue: u16) -> Self {
        let css = without_comments(css).replace("var(--hue)", &hue.to_string());
        let declarations = css.split([';', '{', '}']).filter_map(|part| part.trim().strip_prefix("--"));
        let tokens = declarations
            .filter_map(|declaration| declaration.split_once(':'))
            .filter_map(|(name, value)| Some((name.trim().to_owned(), token(value.trim())?)))
            .collect();
        Self { hue, tokens }
    }

    /// Checks the contrast of all texts and edges that carry meaning, in both themes.
    ///
    /// # Errors
    /// Returns what is wrong, as the rest of a sentence that begins with the key of the hue.
    pub(crate) fn check(&self) -> Result<(), String> {
        let code = self.tokens.keys().map(String::as_str).filter(|name| name.starts_with(CODE));
        for text in TEXT.into_iter().chain(code) {
            self.check_on(text, &SURFACES, TEXT_CONTRAST)?;
        }
        for edge in EDGES {
            self.check_on(edge, &SURFACES, EDGE_CONTRAST)?;
        }
        self.check_on("on-ink", &FILLED, TEXT_CONTRAST)
    }

    fn check_on(&self, name: &str, surfaces: &[&str], required: f32) -> Result<(), String> {
        for theme in [Theme::Light, Theme::Dark] {
            for surface in surfaces {
                let found = contrast(self.color(name, theme)?, self.color(surface, theme)?);
                if found < required {
                    let (hue, theme) = (self.hue, theme.name());
                    return Err(format!(
                        "= {hue} gives --{name} on --{surface} a contrast of {found:.2} in the {theme} theme, where {required} is needed: \
                         choose another hue, or change style/tokens.css"
                    ));
                }
            }
        }
        Ok(())
    }

    fn color(&self, name: &str, theme: Theme) -> Result<DynamicColor, String> {
        let token = self.tokens.get(name).ok_or_else(|| format!("needs a color --{name} in style/tokens.css"))?;
        Ok(match theme {
            Theme::Light => token.light,
            Theme::Dark => token.dark,
        })
    }

    /// Returns a token's color as `#rrggbb`. [`Self::check`] has verified that the requested tokens exist.
    pub(crate) fn hex(&self, name: &str, theme: Theme) -> String {
        let rgb = self.color(name, theme).map(|color| color.to_alpha_color::<Srgb>().to_rgba8());
        rgb.map(|rgb| format!("#{:02x}{:02x}{:02x}", rgb.r, rgb.g, rgb.b)).unwrap_or_default()
    }
}

/// Parses the value of a token: a color, or `light-dark(…, …)` with two.
fn token(value: &str) -> Option<Token> {
    let value = value.split_whitespace().collect::<Vec<_>>().join(" ");
    let both = value.strip_prefix("light-dark(").and_then(|rest| rest.strip_suffix(')'));
    let (light, dark) = match both {
        Some(both) => both.split_once(',')?,
        None => (value.as_str(), value.as_str()),
    };
    Some(Token { light: parse_color(light).ok()?, dark: parse_color(dark).ok()? })
}

/// Computes the contrast ratio of two colors, as WCAG defines it, after clipping them to sRGB.
fn contrast(one: DynamicColor, other: DynamicColor) -> f32 {
    let luminance = |color: DynamicColor| color.convert(ColorSpaceTag::Srgb).clip().relative_luminance();
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

fn without_comments(css: &str) -> String {
    let mut parts = css.split("/*");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once("*/").map_or("", |(_, rest)| rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colors_are_read_at_the_hue() {
        let css = "/* --a: no; */ :root { --a: light-dark(\n  oklch(1 0 var(--hue)),\n oklch(0 0 0)); --b: 1px; --c: oklch(0.5 0.1 var(--hue) / 0.5) }";
        let palette = Palette::parse(css, 200);
        assert_eq!(palette.tokens.keys().collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!(
            (palette.hex("a", Theme::Light), palette.hex("a", Theme::Dark)),
            ("#ffffff".into(), "#000000".into())
        );
        assert_ne!(palette.hex("c", Theme::Light), Palette::parse(css, 20).hex("c", Theme::Light));
    }

    #[test]
    fn contrast_is_that_of_wcag() {
        let of = |one: &str, other: &str| contrast(parse_color(one).unwrap(), parse_color(other).unwrap());
        assert!((of("#000", "#fff") - 21.0).abs() < 0.01);
        assert!((of("#777", "#fff") - 4.48).abs() < 0.01);
    }

    #[test]
    fn a_weak_contrast_is_described() {
        let names = SURFACES.iter().map(|name| format!("--{name}: #fff;"));
        let texts = ["ink", "ink-2", "warn", "danger", "edge"].iter().map(|name| format!("--{name}: #000;"));
        let css: String = names.chain(texts).collect::<String>() + "--accent: #999; --on-ink: #fff;";
        let problem = Palette::parse(&css, 7).check().err().unwrap_or_default();
        assert!(problem.contains("--accent on --canvas") && problem.contains("= 7"), "{problem}");
    }
}
