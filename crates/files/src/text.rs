//! Text files: UTF-8, or UTF-16 with a byte order mark.

use crate::refused::Refused;

/// Maximum length of the text of one file, in bytes: some 500 000 tokens. No model reads more.
pub const MAX_TEXT: usize = 2_000_000;
/// Share of control characters above which a file isn't text: one in this many.
const CONTROLS: usize = 100;

/// Returns whether a file is text.
pub(crate) fn is_text(bytes: &[u8]) -> bool {
    decoded(bytes).is_some_and(|text| {
        let controls =
            text.chars().filter(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t' | '\u{c}' | '\u{1b}')).count();
        !text.contains('\0') && controls * CONTROLS <= text.len()
    })
}

/// Returns the text of a file with LF as line ends.
pub(crate) fn decode(bytes: &[u8]) -> Result<String, Refused> {
    bounded(&decoded(bytes).ok_or(Refused::Unsupported)?, Refused::Empty)
}

/// Returns a text with LF as line ends and without characters that can't be stored or shown. A text without any other is refused as
/// `if_blank`.
pub(crate) fn bounded(text: &str, if_blank: Refused) -> Result<String, Refused> {
    let lines = text.replace("\r\n", "\n").replace('\r', "\n");
    let text: String = lines.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect();
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Err(if_blank);
    }
    if trimmed.len() > MAX_TEXT {
        return Err(Refused::TooMuchText);
    }
    Ok(trimmed.to_owned())
}

fn decoded(bytes: &[u8]) -> Option<String> {
    let utf16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]])).collect();
        (bytes.len().is_multiple_of(2)).then(|| String::from_utf16(&units).ok()).flatten()
    };
    match bytes {
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8(rest.to_vec()).ok(),
        bytes => String::from_utf8(bytes.to_vec()).ok(),
    }
}
