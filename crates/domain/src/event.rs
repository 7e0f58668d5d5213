//! The events of a turn, in its log and on the wire.

use crate::{ConversationId, ModelName, Outcome, Problem, Quota, TurnId, Usage, UsageSource};
use serde::{Deserialize, Serialize};

/// One event of a turn. The tag is the SSE event's name, the content its data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", content = "data", rename_all = "snake_case")]
pub enum TurnEvent {
    /// First, once the provider has accepted.
    Turn {
        /// The turn.
        turn_id: TurnId,
        /// Where it belongs; new when the request named none.
        conversation_id: ConversationId,
        /// Who answers.
        model: ModelName,
        /// Whose place they took, where that one couldn't be reached.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fallback_for: Option<ModelName>,
        /// What is left while it runs.
        quota: Quota,
    },
    /// A piece of the answer.
    Delta {
        /// Markdown.
        text: String,
    },
    /// A piece of the model's reasoning, where the provider streams it.
    Reasoning {
        /// Plain text.
        text: String,
    },
    /// Last, when the provider's stream came to an end.
    Finish {
        /// Finished, stopped or truncated.
        outcome: Outcome,
        /// What it used.
        usage: Usage,
        /// Who counted.
        usage_source: UsageSource,
        /// Exact dollars: "0.000123"; none where their plan doesn't show it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cost_usd: Option<String>,
        /// What is left now.
        quota: Quota,
    },
    /// Last, when it broke; the partial text is kept.
    Failed {
        /// What a user may be told.
        problem: Problem,
    },
}

impl TurnEvent {
    /// Every name there is.
    pub const NAMES: [&'static str; 5] = ["turn", "delta", "reasoning", "finish", "failed"];

    /// Whether nothing follows an event of this name.
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

    /// Whether nothing follows it.
    #[must_use]
    pub fn is_last(&self) -> bool {
        Self::is_last_name(self.name())
    }
}
