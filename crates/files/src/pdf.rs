//! The text of PDFs.

use crate::refused::Refused;
use crate::text::{MAX_TEXT, bounded};
use lopdf::{Dictionary, Document, Object};

/// Maximum size of a page's content once it is decompressed, in bytes.
const MAX_CONTENT: usize = 8 << 20;

/// Returns the text of all pages, with an empty line between them.
pub(crate) fn text(bytes: &[u8]) -> Result<String, Refused> {
    let document = Document::load_mem(bytes).map_err(|error| problem(bytes, &error))?;
    if document.is_encrypted() {
        return Err(Refused::EncryptedPdf);
    }
    if document.objects.values().any(runs_something) || document.trailer.iter().any(|(_, value)| runs_something(value))
    {
        return Err(Refused::ScriptedPdf);
    }
    let mut text = String::new();
    for page in document.get_pages().keys() {
        // A page that can't be read doesn't hide the others.
        if let Ok(page) = document.extract_text_with_limit(&[*page], MAX_CONTENT) {
            text.push_str(page.trim());
            text.push_str("\n\n");
        }
        if text.len() > MAX_TEXT * 2 {
            return Err(Refused::TooMuchText);
        }
    }
    bounded(&text, Refused::NoText)
}

fn problem(bytes: &[u8], error: &lopdf::Error) -> Refused {
    let is_encrypted = matches!(error, lopdf::Error::Decryption(_) | lopdf::Error::InvalidPassword)
        || bytes.windows(8).any(|window| window == b"/Encrypt");
    if is_encrypted { Refused::EncryptedPdf } else { Refused::BrokenPdf }
}

/// Returns whether an object holds a script, or an action that starts a program.
fn runs_something(object: &Object) -> bool {
    match object {
        Object::Dictionary(dictionary) => is_action(dictionary),
        Object::Stream(stream) => is_action(&stream.dict),
        Object::Array(items) => items.iter().any(runs_something),
        _ => false,
    }
}

fn is_action(dictionary: &Dictionary) -> bool {
    let kind = dictionary.get(b"S").ok().and_then(|kind| kind.as_name().ok());
    matches!(kind, Some(b"JavaScript" | b"Launch"))
        || dictionary.has(b"JS")
        || dictionary.has(b"JavaScript")
        || dictionary.iter().any(|(_, value)| runs_something(value))
}
