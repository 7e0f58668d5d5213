//! The lists of conversations: the sidebar's, and that of archived ones.

use domain::ConversationId;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
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
    /// The title, at most 80 characters: the first words of the first message, or what a model or the user wrote.
    pub title: String,
}

/// A heading of the sidebar's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ListGroup {
    /// The open conversation, if it isn't on the page of the list otherwise.
    Open,
    /// Pinned by the user.
    Pinned,
    /// When they were last active.
    Active(LastActive),
}

impl ListGroup {
    /// Returns all groups in the order of the list.
    #[must_use]
    pub fn all() -> Vec<Self> {
        [Self::Open, Self::Pinned].into_iter().chain(LastActive::ALL.map(Self::Active)).collect()
    }

    /// Returns the heading.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Open => "Open",
            Self::Pinned => "Pinned",
            Self::Active(active) => active.label(),
        }
    }
}

/// A page of the sidebar's list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConversationList {
    /// The conversations in the order of the list.
    pub conversations: Vec<(ListGroup, ConversationSummary)>,
    /// The group in which the page before this one ended, whose heading isn't repeated; `None` on the first page.
    pub continues: Option<ListGroup>,
    /// The end of this page, if another one follows.
    pub next: Option<ListPosition>,
}

/// An archived conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchivedConversation {
    /// The conversation.
    pub conversation: ConversationSummary,
    /// When it was archived.
    pub archived_at: OffsetDateTime,
}

/// A page of the archived conversations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchivedList {
    /// The conversations, the one that was archived last first.
    pub conversations: Vec<ArchivedConversation>,
    /// The end of this page, if another one follows.
    pub next: Option<ListPosition>,
}

/// A conversation on the page where it is changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EditableConversation {
    /// The conversation.
    pub conversation: ConversationSummary,
    /// Whether it is pinned.
    pub is_pinned: bool,
    /// Whether it is archived.
    pub is_archived: bool,
}

/// The last conversation of a page of a list, after which the next page begins. Written as microseconds since 1970 and the id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListPosition {
    /// The time by which the list is ordered, with the precision of Postgres.
    pub at: OffsetDateTime,
    /// The conversation.
    pub id: ConversationId,
}

impl fmt::Display for ListPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.at.unix_timestamp_nanos() / 1_000, self.id)
    }
}

/// A text that isn't a position in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidPosition;

impl FromStr for ListPosition {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, InvalidPosition> {
        let (micros, id) = text.split_once('.').ok_or(InvalidPosition)?;
        let micros: i64 = micros.parse().map_err(|_| InvalidPosition)?;
        let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1_000).map_err(|_| InvalidPosition)?;
        // Postgres has no years before 4713 BC.
        let at = Some(at).filter(|at| at.year() >= 1970).ok_or(InvalidPosition)?;
        Ok(Self { at, id: id.parse().map_err(|_| InvalidPosition)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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

    #[test]
    fn a_position_is_read_as_it_was_written() {
        let at = datetime!(2026-11-27 12:00:00.123456 UTC);
        let position = ListPosition { at, id: ConversationId::at(at) };
        assert_eq!(position.to_string().parse(), Ok(position));
        for text in ["", ".", "1", "x.y", "-1.019a0000-0000-7000-8000-000000000000", "99999999999999999999.x"] {
            assert_eq!(text.parse::<ListPosition>(), Err(InvalidPosition), "{text}");
        }
    }
}
