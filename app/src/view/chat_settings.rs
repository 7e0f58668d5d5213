//! Users' settings for their conversations, and how long these are kept.

use crate::view::conversation::AvailableModel;
use domain::{PlanId, Preset};
use serde::{Deserialize, Serialize};

/// The data of `/settings/chat`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatSettingsView {
    /// The viewer's instructions for all conversations; may be empty.
    pub instructions: String,
    /// The viewer's presets by name.
    pub presets: Vec<Preset>,
    /// Models that can be chosen.
    pub models: Vec<AvailableModel>,
}

/// How long conversations are kept, for the owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetentionView {
    /// Days after the last message for all plans; `None` keeps conversations.
    pub all: Option<u32>,
    /// Each plan with its name and its own days.
    pub plans: Vec<(PlanId, String, Option<u32>)>,
}
