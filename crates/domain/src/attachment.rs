//! Files that users attach to messages.

use crate::{AttachmentId, Tokens};
use serde::{Deserialize, Serialize};

/// Maximum size of a file, in bytes.
pub const MAX_FILE_BYTES: u64 = 20_000_000;
/// Maximum number of files of one message.
pub const MAX_FILES: usize = 10;

/// The kind of a file, by its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttachmentKind {
    /// An image, which models see.
    Image,
    /// A PDF, of which models read the text.
    Pdf,
    /// A text file of any kind, code included.
    Text,
}

impl AttachmentKind {
    /// Returns the name used in the `attachment` table.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Pdf => "pdf",
            Self::Text => "text",
        }
    }

    /// Parses a name that `as_str` returns; anything else becomes [`Self::Text`], which is never shown as anything but text.
    #[must_use]
    pub fn from_db(text: &str) -> Self {
        [Self::Image, Self::Pdf].into_iter().find(|kind| kind.as_str() == text).unwrap_or(Self::Text)
    }
}

/// An attached file as pages show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// Its id.
    pub id: AttachmentId,
    /// Its name, without a path.
    pub name: String,
    /// What it is.
    pub kind: AttachmentKind,
    /// Its media type.
    pub media_type: String,
    /// Its size as it is stored, in bytes.
    pub bytes: u64,
    /// Width and height of an image, in pixels.
    pub size: Option<(u32, u32)>,
    /// Tokens of its text in the o200k vocabulary; `None` for an image.
    pub tokens: Option<Tokens>,
}

/// Formats a number of bytes as users read it, such as `1.2 MB`.
#[must_use]
pub fn format_bytes(bytes: u64) -> String {
    let (unit, name) = match bytes {
        0..1_000 => return format!("{bytes} B"),
        1_000..1_000_000 => (1_000, "kB"),
        1_000_000..1_000_000_000 => (1_000_000, "MB"),
        _ => (1_000_000_000, "GB"),
    };
    let tenths = bytes.saturating_mul(10).div_ceil(unit);
    match tenths {
        0..100 if !tenths.is_multiple_of(10) => format!("{}.{} {name}", tenths / 10, tenths % 10),
        _ => format!("{} {name}", tenths.div_ceil(10)),
    }
}

#[cfg(test)]
mod tests {
    use super::format_bytes;

    #[test]
    fn sizes_are_rounded_up() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1 kB"),
            (1_001, "1.1 kB"),
            (48_200, "49 kB"),
            (20_000_000, "20 MB"),
            (2_000_000_000, "2 GB"),
        ] {
            assert_eq!(format_bytes(bytes), text);
        }
    }
}
