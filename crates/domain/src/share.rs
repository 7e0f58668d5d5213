//! Shared copies of conversations.

use crate::Role;
use serde::{Deserialize, Serialize};

/// A message of a shared copy, as it was when the link was created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedMessage {
    /// The author.
    pub role: Role,
    /// The text, in Markdown.
    pub text: String,
    /// The text as HTML.
    pub html: String,
    /// Display name of the model that responded; `None` for a user's message.
    pub model: Option<String>,
    /// Names of the files that were sent with the message. The files themselves aren't shared.
    pub files: Vec<String>,
}
