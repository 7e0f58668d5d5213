//! Distinguishes a stream of events, a JSON body, a web page and other text by the first bytes of a body.

/// The kind of a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Sniffed {
    /// More bytes are needed.
    Undecided,
    /// Server-sent events.
    Events,
    /// One JSON value.
    Json,
    /// Nothing that can be read.
    Foreign(&'static str),
}

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";
/// The fields of server-sent events. A comment has an empty name.
const FIELDS: [&str; 5] = ["data", "event", "id", "retry", ""];

/// Removes a byte order mark and whitespace from the beginning of a body.
pub(crate) fn trimmed(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes).trim_ascii_start()
}

/// Detects the kind of a body; `is_whole` is whether these are all of its bytes.
pub(crate) fn sniff(bytes: &[u8], is_whole: bool) -> Sniffed {
    let text = trimmed(bytes);
    let may_go_on = !is_whole && (text.is_empty() || BYTE_ORDER_MARK.starts_with(bytes));
    match text.first() {
        _ if may_go_on => Sniffed::Undecided,
        None => Sniffed::Foreign("empty response"),
        Some(b'{' | b'[') => Sniffed::Json,
        Some(b'<') => Sniffed::Foreign("a web page"),
        Some(_) => {
            let end = text.iter().position(|byte| b":\r\n".contains(byte));
            let name = &text[..end.unwrap_or(text.len())];
            let is_field = FIELDS.iter().any(|field| field.as_bytes() == name);
            if is_field && (end.is_some() || is_whole) {
                Sniffed::Events
            } else if end.is_none() && !is_whole && FIELDS.iter().any(|field| field.as_bytes().starts_with(name)) {
                Sniffed::Undecided
            } else {
                Sniffed::Foreign("text that is no stream of events")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Field note 52: bodies with status 200 that are no stream.
    #[test]
    fn bodies_are_recognized_by_their_first_bytes() {
        for (body, expected) in [
            (": comment\n\n", Sniffed::Events),
            ("\u{feff}\r\n event: message_start", Sniffed::Events),
            ("data", Sniffed::Events),
            ("data:{}", Sniffed::Events),
            (" \n{\"error\":", Sniffed::Json),
            ("[{", Sniffed::Json),
            ("<!DOCTYPE html>", Sniffed::Foreign("a web page")),
            ("upstream error: timeout", Sniffed::Foreign("text that is no stream of events")),
            ("database is down", Sniffed::Foreign("text that is no stream of events")),
            (" \n", Sniffed::Foreign("empty response")),
            ("", Sniffed::Foreign("empty response")),
        ] {
            assert_eq!(sniff(body.as_bytes(), true), expected, "{body:?}");
            for length in 0..body.len() {
                let part = sniff(&body.as_bytes()[..length], false);
                assert!(part == Sniffed::Undecided || part == expected, "{body:?} cut at {length}: {part:?}");
            }
        }
    }
}
