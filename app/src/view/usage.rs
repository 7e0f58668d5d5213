//! A user's usage.

use domain::{ConversationId, ModelName, Picos, Quota, Tokens, UsageSum};
use serde::{Deserialize, Serialize};
use time::Date;

/// A model as usage shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsedModel {
    /// The model's name in the provider's API.
    pub name: ModelName,
    /// Display name, or the API name if the model was deleted.
    pub label: String,
}

/// A user's usage over a period of days.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageView {
    /// Usage per day, oldest first, by the user's time zone. Includes days without usage.
    pub days: Vec<(Date, UsageSum)>,
    /// Usage per model, by descending cost and then tokens.
    pub models: Vec<(UsedModel, UsageSum)>,
    /// Usage by what it was made with: "Chat", each API key by its name, and "Deleted key". Most expensive first.
    pub callers: Vec<(String, UsageSum)>,
    /// Usage of the whole period.
    pub total: UsageSum,
    /// The remaining quota; `None` if the meters are unavailable.
    pub quota: Option<Quota>,
    /// When the tokens used in the last 24 hours become available again: local time with its day, and tokens per half hour, soonest
    /// first.
    #[serde(rename = "returns")]
    pub refills: Vec<(String, Tokens)>,
    /// The most recent turns, newest first.
    #[serde(rename = "last")]
    pub recent_turns: Vec<Turn>,
    /// Whether costs are shown. If not, all costs are zero.
    pub shows_cost: bool,
    /// Whether the turns' conversations are shown: to the user, but not to the owner.
    pub shows_conversations: bool,
    /// The user's time zone.
    pub time_zone: String,
}

/// A turn, without the text of its messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// When the turn started, formatted in the user's time zone.
    pub at: String,
    /// The turn's conversation with its title. `None` if it was deleted, or if conversations aren't shown.
    pub conversation: Option<(ConversationId, String)>,
    /// The model that answered.
    pub model: UsedModel,
    /// The turn's final status, or `pending` while it is in progress.
    pub status: String,
    /// Total number of tokens.
    pub tokens: Tokens,
    /// Cost; zero if costs aren't shown.
    pub cost: Picos,
}
