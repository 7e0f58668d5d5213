//! Detects the type of a file by its first bytes.

use crate::refused::Refused;
use crate::text;
use image::ImageFormat;

/// The type of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detected {
    /// An image of this format.
    Image(ImageFormat),
    /// A PDF.
    Pdf,
    /// Text in an encoding that is read.
    Text,
}

/// Number of bytes in which the beginning of an SVG image is looked for.
const HEAD: usize = 4_096;

/// Returns the type of a file. If the content fits several types, the first bytes decide.
pub(crate) fn detect(bytes: &[u8]) -> Result<Detected, Refused> {
    if bytes.is_empty() {
        return Err(Refused::Empty);
    }
    if let Some(format) = image_format(bytes) {
        Ok(Detected::Image(format))
    } else if bytes.starts_with(b"%PDF-") {
        Ok(Detected::Pdf)
    } else if is_svg(bytes) {
        Err(Refused::Svg)
    } else if text::is_text(bytes) {
        Ok(Detected::Text)
    } else {
        Err(Refused::Unsupported)
    }
}

/// Returns the format of an image.
pub(crate) fn image_format(bytes: &[u8]) -> Option<ImageFormat> {
    let is_riff_webp = bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP");
    match bytes {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some(ImageFormat::Png),
        [0xff, 0xd8, 0xff, ..] => Some(ImageFormat::Jpeg),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(ImageFormat::Gif),
        _ => is_riff_webp.then_some(ImageFormat::WebP),
    }
}

/// Returns whether a file begins as an SVG image does: with its element, after an XML declaration, comments and a document type.
fn is_svg(bytes: &[u8]) -> bool {
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(HEAD)]).to_ascii_lowercase();
    let mut rest = head.trim_start_matches('\u{feff}').trim_start();
    loop {
        let end = match rest {
            _ if rest.starts_with("<?") => "?>",
            _ if rest.starts_with("<!--") => "-->",
            _ if rest.starts_with("<!doctype svg") => return true,
            _ => {
                return rest.starts_with("<svg")
                    || (rest.starts_with('<') && rest.contains("http://www.w3.org/2000/svg") && rest.contains(":svg"));
            }
        };
        match rest.split_once(end) {
            Some((_, after)) => rest = after.trim_start(),
            None => return rest.contains("<svg"),
        }
    }
}
