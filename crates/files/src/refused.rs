//! Why a file isn't accepted.

use serde::{Deserialize, Serialize};

/// Why a file isn't accepted. The message is for users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Refused {
    /// It has no bytes, or no text.
    #[error("This file is empty.")]
    Empty,
    /// It is none of the types that are read.
    #[error("This type of file isn't supported. Attach a PNG, JPEG, WebP or GIF image, a PDF, or a text file.")]
    Unsupported,
    /// It is an SVG image.
    #[error("SVG images can contain scripts, so they aren't accepted. Save the image as PNG and attach that.")]
    Svg,
    /// An image that can't be decoded.
    #[error("This image can't be read. It may be damaged.")]
    BrokenImage,
    /// An image above [`crate::MAX_PIXELS`].
    #[error("This image has more than 50 megapixels. Scale it down and attach it again.")]
    TooManyPixels,
    /// A PDF that can't be parsed.
    #[error("This PDF can't be read. It may be damaged.")]
    BrokenPdf,
    /// A PDF that needs a password.
    #[error("This PDF is protected by a password. Remove the protection and attach it again.")]
    EncryptedPdf,
    /// A PDF that runs scripts or starts programs.
    #[error("This PDF contains scripts, so it isn't accepted. Print it to a new PDF and attach that.")]
    ScriptedPdf,
    /// A PDF without text.
    #[error("This PDF contains no text, perhaps because it is a scan. Attach its pages as images.")]
    NoText,
    /// A file above [`crate::MAX_TEXT`].
    #[error("This file contains more than 2 MB of text, which no model can read at once. Attach a part of it.")]
    TooMuchText,
    /// It needs more memory or time than a file may take.
    #[error("This file can't be read within the limits of memory and time, so it isn't accepted. It may be damaged.")]
    TooComplex,
}
