//! A user's settings for their conversations: instructions, model, reasoning effort and the length of answers.

use crate::model::names;
use crate::{ModelName, PresetId, Tokens, UnknownName};
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// Maximum length of instructions, of a user or of a conversation, in characters.
pub const MAX_INSTRUCTIONS: usize = 4_000;
/// Maximum length of a preset's name in characters.
pub const MAX_PRESET_NAME: usize = 60;
/// Maximum length of the name of a reasoning effort in characters.
pub const MAX_EFFORT: usize = 32;

/// How long answers should be. Without a choice, the model decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerLength {
    /// A few sentences.
    Short,
    /// Some paragraphs.
    Medium,
    /// As long as the plan and the model allow.
    Long,
}

names!(AnswerLength, "short, medium, long", Short => "short", Medium => "medium", Long => "long");

impl AnswerLength {
    /// Returns the display name.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Short => "Short",
            Self::Medium => "Medium",
            Self::Long => "Long",
        }
    }

    /// Returns the sentence of the system prompt for answers of this length.
    #[must_use]
    pub fn instruction(self) -> &'static str {
        match self {
            Self::Short => "Keep answers short: a few sentences, at most 120 words.",
            Self::Medium => "Keep answers to a medium length: at most 500 words.",
            Self::Long => "Answer in detail and at length.",
        }
    }

    /// Returns the maximum output of a response; `None` adds no cap to those of the plan and the model. It is about twice what the
    /// instruction asks for, so that it ends an answer only if the model doesn't follow the instruction.
    #[must_use]
    pub fn max_output(self) -> Option<Tokens> {
        match self {
            Self::Short => Some(Tokens(512)),
            Self::Medium => Some(Tokens(2_048)),
            Self::Long => None,
        }
    }
}

/// The settings of a conversation or of a preset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatSettings {
    /// Instructions for the model; may be empty.
    #[serde(default)]
    pub instructions: String,
    /// The model; `None` leaves it to the plan.
    #[serde(default)]
    pub model: Option<ModelName>,
    /// The reasoning effort; `None` leaves it to the model. A model without this effort is called with its default.
    #[serde(default)]
    pub effort: Option<String>,
    /// The length of answers; `None` leaves it to the model.
    #[serde(default)]
    pub answer_length: Option<AnswerLength>,
}

/// Settings that a user has saved under a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preset {
    /// The preset's id.
    pub id: PresetId,
    /// Its name, unique for its user.
    pub name: String,
    /// The settings that a conversation gets a copy of.
    pub settings: ChatSettings,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_stored_by_name_and_shorter_ones_have_smaller_caps() {
        for length in AnswerLength::ALL {
            assert_eq!(length.as_str().parse::<AnswerLength>().ok(), Some(length));
            assert_eq!(serde_json::to_value(length).ok(), Some(length.as_str().into()));
        }
        let caps = AnswerLength::ALL.map(|length| length.max_output().map_or(u64::MAX, |tokens| tokens.0));
        assert!(caps.is_sorted() && caps[0] < caps[2], "{caps:?}");
    }
}
