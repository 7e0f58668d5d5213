//! One type per identifier, so that a turn id can't be passed as a user id.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::{NoContext, Timestamp, Uuid};

macro_rules! id {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Creates an id for the time `now`. It is a UUID v7, so ids sort by time.
            #[must_use]
            pub fn at(now: OffsetDateTime) -> Self {
                let seconds = u64::try_from(now.unix_timestamp()).unwrap_or(0);
                Self(Uuid::new_v7(Timestamp::from_unix(NoContext, seconds, now.nanosecond())))
            }

            /// Returns the creation time that the id contains; `None` if it isn't a UUID v7.
            #[must_use]
            pub fn made_at(self) -> Option<OffsetDateTime> {
                let (seconds, nanos) = self.0.get_timestamp()?.to_unix();
                let whole = OffsetDateTime::from_unix_timestamp(i64::try_from(seconds).ok()?).ok()?;
                whole.replace_nanosecond(nanos).ok().filter(|_| self.0.get_version_num() == 7)
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self { Self(id) }
        }
        impl From<$name> for Uuid {
            fn from(id: $name) -> Uuid { id.0 }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { self.0.fmt(f) }
        }
        impl std::str::FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> { text.parse().map(Self) }
        }
    )*};
}

id! {
    /// A user with an account.
    UserId
    /// A conversation of one user.
    ConversationId
    /// One message of a conversation.
    MessageId
    /// A file that a user attached to a message, or is about to.
    AttachmentId
    /// One message and its response; the idempotency key of `POST /api/chat`.
    TurnId
    /// A read-only link to a copy of a conversation.
    ShareId
    /// One import of conversations from a file.
    ImportId
    /// One row of the ledger.
    AiUsageId
    /// One price of one model, effective from a date.
    ModelPriceId
    /// Settings that a user has saved under a name.
    PresetId
    /// One API key of one user.
    ApiKeyId
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn id_contains_its_creation_time() {
        let now = datetime!(2026-11-23 12:00:00.25 UTC);
        assert_eq!(TurnId::at(now).made_at(), Some(now));
        assert_eq!(TurnId::from(Uuid::new_v4()).made_at(), None);
    }
}
