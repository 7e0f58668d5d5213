//! Text files: UTF-8, or UTF-16 with a byte order mark.

use crate::refused::Refused;
use std::borrow::Cow;

/// Maximum length of the text of one file, in bytes: some 500 000 tokens. No model reads more.
pub const MAX_TEXT: usize = 2_000_000;
/// Size of a file above which it has more text in any encoding: ASCII in UTF-16 has twice its length.
const MAX_BYTES: usize = 2 * MAX_TEXT + 4;
/// Share of control characters above which a file isn't text: one in this many.
const CONTROLS: usize = 100;

/// Returns whether a file is text. Only the beginning of a file above the size limit is checked, so that its size costs no memory.
pub(crate) fn is_text(bytes: &[u8]) -> bool {
    decoded(beginning(bytes)).is_some_and(|text| {
        let controls =
            text.chars().filter(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t' | '\u{c}' | '\u{1b}')).count();
        !text.contains('\0') && controls * CONTROLS <= text.len()
    })
}

/// Returns the text of a file with LF as line ends.
pub(crate) fn decode(bytes: &[u8]) -> Result<String, Refused> {
    if bytes.len() > MAX_BYTES {
        return Err(Refused::TooMuchText);
    }
    bounded(&decoded(bytes).ok_or(Refused::Unsupported)?, Refused::Empty)
}

/// Returns the part that [`is_text`] checks: the file, or its first bytes without a truncated character.
fn beginning(bytes: &[u8]) -> &[u8] {
    let Some(head) = bytes.get(..MAX_BYTES) else { return bytes };
    match std::str::from_utf8(head) {
        Err(error) if error.error_len().is_none() => &head[..error.valid_up_to()],
        _ => head,
    }
}

/// Returns a text with LF as line ends and without characters that can't be stored or shown. If nothing is left, returns the error
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

fn decoded(bytes: &[u8]) -> Option<Cow<'_, str>> {
    let utf16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]])).collect();
        (bytes.len().is_multiple_of(2)).then(|| String::from_utf16(&units).ok().map(Cow::Owned)).flatten()
    };
    let utf8 = |bytes| std::str::from_utf8(bytes).ok().map(Cow::Borrowed);
    match bytes {
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => utf8(rest),
        bytes => utf8(bytes),
    }
}
