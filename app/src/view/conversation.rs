//! Conversations and the chat page.

use domain::{Attachment, ConversationId, Message, MessageId, ModelName, Quota, TurnId};
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

/// When a conversation was last active, by which the sidebar groups them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LastActive {
    /// On the current day.
    Today,
    /// On the day before.
    Yesterday,
    /// In the 7 days before today.
    Week,
    /// In the 30 days before today.
    Month,
    /// Earlier.
    Earlier,
}

impl LastActive {
    /// All groups, the most recent first.
    pub const ALL: [Self; 5] = [Self::Today, Self::Yesterday, Self::Week, Self::Month, Self::Earlier];

    /// Returns the group of a time, by the instant at which the user's day began.
    #[must_use]
    pub fn of(at: OffsetDateTime, start_of_today: OffsetDateTime) -> Self {
        match start_of_today - at {
            before if before <= Duration::ZERO => Self::Today,
            before if before <= Duration::DAY => Self::Yesterday,
            before if before <= Duration::days(7) => Self::Week,
            before if before <= Duration::days(30) => Self::Month,
            _ => Self::Earlier,
        }
    }

    /// Returns the heading of the group.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Today => "Today",
            Self::Yesterday => "Yesterday",
            Self::Week => "Previous 7 days",
            Self::Month => "Previous 30 days",
            Self::Earlier => "Earlier",
        }
    }
}

/// A conversation in the sidebar.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConversationSummary {
    /// The conversation's id.
    pub id: ConversationId,
    /// First words of the conversation's first message, at most 80 characters.
    pub title: String,
}

/// A model in the model picker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AvailableModel {
    /// The model's name in the provider's API.
    pub name: ModelName,
    /// Display name.
    pub label: String,
    /// Whether the viewer's plan allows it.
    pub allowed: bool,
    /// Whether it is the built-in demo model.
    pub is_demo: bool,
    /// The reasoning efforts that can be chosen, lowest first; empty if the model has no such setting.
    pub efforts: Vec<String>,
    /// Whether it reads images.
    pub takes_images: bool,
}

/// The data of the chat page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatView {
    /// The viewer's conversations, most recently active first.
    pub conversations: Vec<(LastActive, ConversationSummary)>,
    /// The open conversation; `None` for a new one.
    pub open: Option<ConversationSummary>,
    /// Messages of the open conversation, oldest first: a part of them.
    pub messages: Vec<MessageView>,
    /// The oldest of `messages`, if there are earlier ones.
    pub earlier: Option<MessageId>,
    /// The turn in progress in the open conversation, with its model.
    pub running: Option<(TurnId, ModelName)>,
    /// Models that can be used now, in the plan's order, with the default first and those it doesn't include last.
    pub models: Vec<AvailableModel>,
    /// The remaining quota; `None` if the meters are unavailable.
    pub quota: Option<Quota>,
    /// The server's clock, in milliseconds since 1970. Browsers derive turn ids from it, because a device's clock may be wrong.
    pub now_ms: u64,
}

/// A message of the transcript.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageView {
    /// The message.
    pub message: Message,
    /// Its text as HTML.
    pub html: String,
    /// Its files, in order.
    pub files: Vec<Attachment>,
    /// The user's rating of the response; `None` if there is none.
    pub is_good: Option<bool>,
}

/// A part of a conversation's messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessagesView {
    /// The messages, oldest first.
    pub messages: Vec<MessageView>,
    /// The oldest of `messages`, if there are earlier ones.
    pub earlier: Option<MessageId>,
    /// Models that can be used now.
    pub models: Vec<AvailableModel>,
}

/// Escapes a text for HTML.
#[must_use]
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::LastActive;
    use time::macros::datetime;

    #[test]
    fn conversations_are_grouped_by_the_users_days() {
        let midnight = datetime!(2026-11-27 23:00 UTC);
        for (at, group) in [
            (datetime!(2026-11-28 05:00 UTC), LastActive::Today),
            (midnight, LastActive::Today),
            (datetime!(2026-11-27 22:59 UTC), LastActive::Yesterday),
            (datetime!(2026-11-26 22:59 UTC), LastActive::Week),
            (datetime!(2026-11-20 22:59 UTC), LastActive::Month),
            (datetime!(2026-10-01 00:00 UTC), LastActive::Earlier),
        ] {
            assert_eq!(LastActive::of(at, midnight), group, "{at}");
        }
    }
}
