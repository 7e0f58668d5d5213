//! The events of a turn, in its log and on the wire.

use crate::{ConversationId, HistoryCut, ModelName, Outcome, Problem, Quota, TurnId, Usage, UsageSource};
use serde::{Deserialize, Serialize};

/// One event of a turn. The tag is the SSE event's name, the content its data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", content = "data", rename_all = "snake_case")]
pub enum TurnEvent {
    /// The first event, sent once the provider has accepted the request.
    Turn {
        /// The turn.
        turn_id: TurnId,
        /// Its conversation; new if the request named none.
        conversation_id: ConversationId,
        /// The model that responds.
        model: ModelName,
        /// The requested model, if it couldn't be reached and `model` is its fallback.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fallback_for: Option<ModelName>,
        /// What was left out of the conversation that the model reads, if it no longer fits.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        history_cut: Option<HistoryCut>,
        /// The remaining quota while the turn runs.
        quota: Quota,
    },
    /// A piece of the response.
    Delta {
        /// Markdown.
        text: String,
    },
    /// A piece of the model's reasoning, where the provider streams it.
    Reasoning {
        /// Plain text.
        text: String,
    },
    /// The last event, when the provider's stream has ended.
    Finish {
        /// Finished, stopped, truncated, refused or filtered.
        outcome: Outcome,
        /// The turn's usage.
        usage: Usage,
        /// Whether the usage was reported by the provider or estimated.
        usage_source: UsageSource,
        /// Exact cost in dollars, such as "0.000123"; `None` if the user's plan doesn't show it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cost_usd: Option<String>,
        /// The remaining quota after the turn.
        quota: Quota,
    },
    /// The last event, when the turn failed. The partial text is kept.
    Failed {
        /// The problem to show to the user.
        problem: Problem,
    },
}

impl TurnEvent {
    /// Appends this event to others, or its text to the last of them if that is of the same kind. An event without text is left out.
    pub fn join_to(self, events: &mut Vec<Self>) {
        match (events.last_mut(), self) {
            (_, Self::Delta { text } | Self::Reasoning { text }) if text.is_empty() => {}
            (Some(Self::Delta { text }), Self::Delta { text: more })
            | (Some(Self::Reasoning { text }), Self::Reasoning { text: more }) => text.push_str(&more),
            (_, event) => events.push(event),
        }
    }

    /// The names of all events.
    pub const NAMES: [&'static str; 5] = ["turn", "delta", "reasoning", "finish", "failed"];

    /// Whether an event of this name is the last of its turn.
    #[must_use]
    pub fn is_last_name(name: &str) -> bool {
        matches!(name, "finish" | "failed")
    }

    /// The SSE event's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Turn { .. } => "turn",
            Self::Delta { .. } => "delta",
            Self::Reasoning { .. } => "reasoning",
            Self::Finish { .. } => "finish",
            Self::Failed { .. } => "failed",
        }
    }

    /// Whether this is the last event of its turn.
    #[must_use]
    pub fn is_last(&self) -> bool {
        Self::is_last_name(self.name())
    }
}
