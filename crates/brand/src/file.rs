//! The structure of `brand.toml`.

use crate::error::BrandError;
use serde::Deserialize;

/// The whole file. Unknown keys are errors, because they are typing errors.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) tagline: String,
    pub(crate) description: String,
    pub(crate) logo: String,
    pub(crate) hero: Hero,
    pub(crate) look: Look,
    pub(crate) support: Support,
    pub(crate) chat: Chat,
    pub(crate) mail: Mail,
    pub(crate) site: Site,
    pub(crate) legal: Legal,
    pub(crate) features: Features,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hero {
    pub(crate) title: String,
    pub(crate) text: String,
    pub(crate) action: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Look {
    pub(crate) hue: u16,
    pub(crate) main_button: MainButton,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MainButton {
    Ink,
    Accent,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Support {
    pub(crate) email: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Chat {
    pub(crate) system_prompt: String,
    pub(crate) starters: Vec<Starter>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Starter {
    pub(crate) title: String,
    pub(crate) text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mail {
    pub(crate) sender_name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Site {
    pub(crate) popular_plan: String,
    pub(crate) links: Vec<Link>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Link {
    pub(crate) label: String,
    pub(crate) href: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Legal {
    pub(crate) company: String,
    pub(crate) address: String,
    pub(crate) representative: String,
    pub(crate) register: String,
    pub(crate) vat_id: String,
    pub(crate) confirmed: bool,
    pub(crate) terms_version: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Features {
    pub(crate) demo: bool,
    pub(crate) blog: bool,
    pub(crate) changelog: bool,
    pub(crate) status: bool,
    pub(crate) help: bool,
}

impl File {
    /// Parses the file.
    ///
    /// # Errors
    /// Returns an error that quotes the line of a value with the wrong type, and names a key that is missing or unknown.
    pub(crate) fn parse(text: &str) -> Result<Self, BrandError> {
        toml::from_str(text).map_err(|error| {
            let message = error.message().replace('\n', ", ");
            let start = error.span().map(|span| span.start).filter(|start| *start > 0);
            let sentence = match start.and_then(|start| text.get(..start)) {
                Some(before) => {
                    let number = before.matches('\n').count();
                    let line = text.lines().nth(number).unwrap_or_default().trim();
                    format!("brand.toml: line {} ({line}): {message}.", number + 1)
                }
                None => format!("brand.toml: {message}."),
            };
            BrandError::new(sentence)
        })
    }
}
