//! Writes the values as Rust constants.

use crate::colors::{Palette, Theme};
use crate::file::{File, MainButton};
use crate::logo::Logo;

/// Writes all constants of `domain::brand`.
pub(crate) fn constants(file: &File, logo: &Logo, palette: &Palette) -> String {
    [words(file), look(file, logo, palette), site(file), legal(file)].concat()
}

fn words(file: &File) -> String {
    let sender = if file.mail.sender_name.trim().is_empty() { &file.name } else { &file.mail.sender_name };
    let starters: Vec<(&str, &str)> =
        file.chat.starters.iter().map(|starter| (starter.title.trim(), starter.text.as_str())).collect();
    [
        text("NAME", "The product's name.", &file.name),
        text("TAGLINE", "One sentence for customers.", &file.tagline),
        text("DESCRIPTION", "What search results say about the product, at most 155 characters.", &file.description),
        text("HERO_TITLE", "The heading of the landing page.", &file.hero.title),
        text("HERO_TEXT", "The sentences below the heading of the landing page.", &file.hero.text),
        text("HERO_ACTION", "The label of the landing page's button that leads to the sign-up.", &file.hero.action),
        text("SUPPORT_EMAIL", "The email address for support.", &file.support.email),
        text(
            "SYSTEM_PROMPT",
            "The system prompt, sent to the model before every conversation.",
            &file.chat.system_prompt,
        ),
        pairs("STARTERS", "Labels and texts of the suggestions in a new conversation.", &starters),
        text("MAIL_SENDER_NAME", "The name that mails come from.", sender),
    ]
    .concat()
}

fn look(file: &File, logo: &Logo, palette: &Palette) -> String {
    let is_accent = file.look.main_button == MainButton::Accent;
    let hex = |name: &str, doc: &str, token: &str, theme: Theme| text(name, doc, &palette.hex(token, theme));
    [
        text("LOGO_SVG", "The logo: a square SVG file.", &logo.svg),
        text("LOGO_VIEW_BOX", "The logo's view box.", &logo.view_box),
        text("LOGO_BODY", "The logo without its root element. Parts without a color inherit one.", &logo.body),
        format!(
            "/// The hue of the accent color in degrees, from 0 to 359.\npub const HUE: u16 = {};\n",
            file.look.hue
        ),
        flag(
            "MAIN_BUTTON_IS_ACCENT",
            "Whether main buttons have the accent color; otherwise they have that of text.",
            is_accent,
        ),
        hex("THEME_COLOR_LIGHT", "The background of pages in the light theme, as `#rrggbb`.", "canvas", Theme::Light),
        hex("THEME_COLOR_DARK", "The background of pages in the dark theme, as `#rrggbb`.", "canvas", Theme::Dark),
        hex("ACCENT_COLOR_LIGHT", "The accent color of the light theme, as `#rrggbb`.", "accent", Theme::Light),
        hex("ACCENT_COLOR_DARK", "The accent color of the dark theme, as `#rrggbb`.", "accent", Theme::Dark),
        hex("INK_COLOR_LIGHT", "The color of text in the light theme, as `#rrggbb`.", "ink", Theme::Light),
        hex(
            "MUTED_COLOR_LIGHT",
            "The color of secondary text in the light theme, as `#rrggbb`.",
            "ink-2",
            Theme::Light,
        ),
    ]
    .concat()
}

fn site(file: &File) -> String {
    let links: Vec<(&str, &str)> = file.site.links.iter().map(|link| (link.label.trim(), link.href.trim())).collect();
    let features = &file.features;
    [
        text(
            "POPULAR_PLAN",
            "The id of the plan that is marked \"Most popular\"; may be empty.",
            &file.site.popular_plan,
        ),
        pairs("LINKS", "Labels and addresses of links in the footer.", &links),
        flag("DEMO", "Whether the landing page has a live demo.", features.demo),
        flag("BLOG", "Whether the site has a blog.", features.blog),
        flag("CHANGELOG", "Whether the site has a changelog.", features.changelog),
        flag("STATUS", "Whether the site has a status page.", features.status),
        flag("HELP", "Whether the site has help pages.", features.help),
    ]
    .concat()
}

fn legal(file: &File) -> String {
    let legal = &file.legal;
    [
        text("LEGAL_COMPANY", "The company that offers the product.", &legal.company),
        text("LEGAL_ADDRESS", "The company's postal address, in lines; may be empty.", &legal.address),
        text("LEGAL_REPRESENTATIVE", "Who represents the company; may be empty.", &legal.representative),
        text("LEGAL_REGISTER", "The company's entry in a commercial register; may be empty.", &legal.register),
        text("LEGAL_VAT_ID", "The company's VAT id; may be empty.", &legal.vat_id),
        flag("LEGAL_CONFIRMED", "Whether the legal texts have been checked.", legal.confirmed),
        text("TERMS_VERSION", "The day of the current terms, as `2026-11-27`.", &legal.terms_version),
    ]
    .concat()
}

fn text(name: &str, doc: &str, value: &str) -> String {
    format!("/// {doc}\npub const {name}: &str = {:?};\n", value.trim())
}

fn flag(name: &str, doc: &str, value: bool) -> String {
    format!("/// {doc}\npub const {name}: bool = {value};\n")
}

fn pairs(name: &str, doc: &str, values: &[(&str, &str)]) -> String {
    format!("/// {doc}\npub const {name}: &[(&str, &str)] = &{values:?};\n")
}
