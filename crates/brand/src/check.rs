//! Checks of the values.

use crate::error::BrandError;
use crate::file::File;

/// Suggestions in a new conversation.
const STARTERS: usize = 4;

/// Checks every value whose type alone doesn't make it usable.
pub(crate) fn check(file: &File) -> Result<(), BrandError> {
    lines(file)?;
    let problem = |key: &str, problem: &str| Err(BrandError::of(key, problem));
    if file.look.hue > 359 {
        return problem("look.hue", "must be a number from 0 to 359");
    }
    if !file.logo.starts_with("brand/") || file.logo.contains("..") || !file.logo.ends_with(".svg") {
        return problem("logo", "must be the path of an SVG file in brand/, such as brand/logo.svg");
    }
    if !is_email(&file.support.email) {
        return problem("support.email", "must be an email address");
    }
    if file.chat.system_prompt.trim().is_empty() {
        return problem("chat.system_prompt", "must not be empty");
    }
    if file.chat.starters.len() != STARTERS {
        return problem("chat.starters", "must have four entries");
    }
    if !file.site.popular_plan.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c)) {
        return problem("site.popular_plan", "must be the id of a plan, such as pro, or empty");
    }
    let is_target = |href: &str| ["https://", "mailto:", "/"].iter().any(|start| href.starts_with(start));
    if file.site.links.iter().any(|link| !is_target(&link.href)) {
        return problem("site.links", "must have addresses that begin with https://, mailto: or /");
    }
    if !is_date(&file.legal.terms_version) {
        return problem("legal.terms_version", "must be a date such as 2026-11-27");
    }
    Ok(())
}

/// Checks the texts of one line: their length in characters, and that they contain no line break.
fn lines(file: &File) -> Result<(), BrandError> {
    let legal = &file.legal;
    let required = [
        ("name", &file.name, 30),
        ("tagline", &file.tagline, 90),
        ("description", &file.description, 155),
        ("hero.title", &file.hero.title, 70),
        ("hero.text", &file.hero.text, 240),
        ("hero.action", &file.hero.action, 30),
        ("legal.company", &legal.company, 100),
    ];
    let optional = [
        ("mail.sender_name", &file.mail.sender_name),
        ("legal.representative", &legal.representative),
        ("legal.register", &legal.register),
        ("legal.vat_id", &legal.vat_id),
    ];
    let starters = file.chat.starters.iter().flat_map(|starter| [(&starter.title, 30), (&starter.text, 300)]);
    let links = file.site.links.iter().flat_map(|link| [(&link.label, 30), (&link.href, 300)]);
    let required = required
        .into_iter()
        .chain(starters.map(|(text, max)| ("chat.starters", text, max)))
        .chain(links.map(|(text, max)| ("site.links", text, max)));
    for (key, text, max) in required {
        if text.trim().is_empty() {
            return Err(BrandError::of(key, "must not be empty"));
        }
        one_line(key, text, max)?;
    }
    for (key, text) in optional {
        one_line(key, text, 100)?;
    }
    if file.name.chars().any(|c| "<>\"/:@".contains(c)) {
        return Err(BrandError::of("name", "must not contain any of < > \" / : @"));
    }
    Ok(())
}

fn one_line(key: &str, text: &str, max: usize) -> Result<(), BrandError> {
    let length = text.chars().count();
    if length > max {
        return Err(BrandError::of(key, &format!("has {length} characters, but at most {max} fit")));
    }
    match text.chars().any(char::is_control) {
        true => Err(BrandError::of(key, "must be a single line")),
        false => Ok(()),
    }
}

fn is_email(text: &str) -> bool {
    let is_plain = !text.chars().any(|c| c.is_whitespace() || c.is_control() || "<>\"(),;".contains(c));
    is_plain
        && text.split_once('@').is_some_and(|(name, domain)| {
            !name.is_empty() && domain.contains('.') && !domain.starts_with('.') && !domain.contains('@')
        })
}

/// Returns whether a text has the form of a date: `2026-11-27`.
fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    lengths == [4, 2, 2] && parts.iter().all(|part| part.chars().all(|c| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_dates_are_recognized() {
        assert!(is_email("help@acme.example") && is_email("a.b+c@mail.acme.example"));
        assert!(!is_email("help") && !is_email("@acme.example") && !is_email("a@b") && !is_email("a b@acme.example"));
        assert!(is_date("2026-11-27") && !is_date("27.11.2026") && !is_date("2026-11-2x"));
    }
}
