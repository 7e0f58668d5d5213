//! A file of `content/`: its properties in TOML between two lines `+++`, then the text in Markdown.

use anyhow::Context as _;
use app::view::content::IncidentState;
use serde::Deserialize;
use time::Date;
use time::macros::format_description;

const FENCE: &str = "+++";

/// The properties of a text.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Properties {
    /// The title.
    pub title: String,
    /// One sentence for lists, search results and link previews.
    #[serde(default)]
    pub description: String,
    /// The day, as `2026-11-27`.
    #[serde(default)]
    date: Option<String>,
    /// The position among entries without a date.
    #[serde(default)]
    pub order: u16,
    /// How far an incident is resolved.
    #[serde(default)]
    pub state: Option<IncidentState>,
}

impl Properties {
    /// Returns the day.
    ///
    /// # Errors
    /// Returns an error if it isn't a date.
    pub fn date(&self) -> anyhow::Result<Option<Date>> {
        let Some(text) = &self.date else { return Ok(None) };
        let date = Date::parse(text, format_description!("[year]-[month]-[day]"));
        Ok(Some(date.with_context(|| format!("{text:?} isn't a date"))?))
    }
}

/// Splits a file into its properties and its Markdown.
///
/// # Errors
/// Returns an error if the properties are missing, unknown or not TOML.
pub(super) fn parse(file: &str) -> anyhow::Result<(Properties, String)> {
    let file = file.replace("\r\n", "\n");
    let fenced = file.strip_prefix(FENCE).and_then(|rest| rest.split_once("\n+++\n"));
    let (head, text) = fenced.context("it must begin with properties between two lines +++")?;
    Ok((toml::from_str(head)?, text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::date;

    #[test]
    fn properties_come_before_the_text() {
        let (properties, text) =
            parse("+++\ntitle = \"A\"\ndate = \"2026-11-27\"\nstate = \"resolved\"\n+++\n\nText\n").unwrap();
        assert_eq!((properties.title.as_str(), properties.description.as_str(), text.as_str()), ("A", "", "\nText\n"));
        assert_eq!(properties.date().unwrap(), Some(date!(2026 - 11 - 27)));
        assert_eq!(properties.state, Some(IncidentState::Resolved));
        let crlf = parse("+++\r\ntitle = \"A\"\r\n+++\r\nText").unwrap();
        assert_eq!(crlf.1, "Text");
    }

    #[test]
    fn invalid_files_are_errors() {
        for file in ["", "Text", "+++\ntitle = \"A\"\n", "+++\n+++\nText", "+++\ntitle = \"A\"\nauthor = \"B\"\n+++\n"]
        {
            assert!(parse(file).is_err(), "{file:?}");
        }
        let (properties, _) = parse("+++\ntitle = \"A\"\ndate = \"27 November\"\n+++\n").unwrap();
        assert!(properties.date().is_err());
    }
}
