//! Files that users attach. The input is untrusted: a file's type is detected from its content, and its name and media type are ignored.
//! The server calls [`read`] in a process of its own with a limit of memory and time, so code that reads a hostile file can't harm it.
//!
//! A file goes through `detect` (what it is) → `picture` (decoded, scaled and encoded again, without metadata), `pdf` (its text) or `text`.
//! [`protocol`] carries the result out of the process.

mod detect;
mod name;
mod pdf;
mod picture;
pub mod protocol;
mod refused;
mod text;

pub use name::clean_name;
pub use picture::{MAX_EDGE, MAX_PIXELS};
pub use refused::Refused;
pub use text::MAX_TEXT;

use detect::Detected;
use domain::AttachmentKind;

/// The result of reading a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// What it is.
    pub kind: AttachmentKind,
    /// Its media type by its content.
    pub media_type: String,
    /// Width and height of an image, in pixels.
    pub size: Option<(u32, u32)>,
    /// The text of a PDF or a text file.
    pub text: Option<String>,
    /// The bytes to store in place of the file's: an image as it was encoded again. `None` stores the file as it is.
    pub data: Option<Vec<u8>>,
}

/// Reads a file.
///
/// # Errors
/// Returns why it isn't accepted.
pub fn read(bytes: &[u8]) -> Result<Reading, Refused> {
    match detect::detect(bytes)? {
        Detected::Image(format) => {
            let picture = picture::encode_again(bytes, format)?;
            Ok(Reading {
                kind: AttachmentKind::Image,
                media_type: picture.media_type.to_owned(),
                size: Some((picture.width, picture.height)),
                text: None,
                data: Some(picture.data),
            })
        }
        Detected::Pdf => Ok(document(AttachmentKind::Pdf, "application/pdf", pdf::text(bytes)?)),
        Detected::Text => Ok(document(AttachmentKind::Text, "text/plain; charset=utf-8", text::decode(bytes)?)),
    }
}

/// Returns whether a file is an image by its first bytes. Decoding one takes more memory than reading any other file.
#[must_use]
pub fn is_image(bytes: &[u8]) -> bool {
    detect::image_format(bytes).is_some()
}

fn document(kind: AttachmentKind, media_type: &str, text: String) -> Reading {
    Reading { kind, media_type: media_type.to_owned(), size: None, text: Some(text), data: None }
}

#[cfg(test)]
mod tests;
