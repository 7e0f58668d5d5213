//! Which characters names may have.

/// Returns whether a character may be in a name that others see, such as a display name: no control character, no line separator, and none that
/// is invisible or changes the direction of the text around it (field note 93). The joiners U+200C and U+200D are allowed, because words of Persian, of
/// languages of India and some emoji need them; they change no direction.
#[must_use]
pub fn is_name_character(c: char) -> bool {
    let is_separator = matches!(c, '\u{2028}' | '\u{2029}');
    !c.is_control() && !is_separator && (!is_format_character(c) || is_joiner(c))
}

/// Returns a name without spaces and joiners at its ends, so that one of them alone is empty: they join nothing there and are invisible.
#[must_use]
pub fn trim_name(name: &str) -> &str {
    name.trim_matches(|c: char| c.is_whitespace() || is_joiner(c))
}

fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}')
}

/// Returns whether a character is of the category Cf (format) of Unicode 17:
/// <https://www.unicode.org/Public/17.0.0/ucd/extracted/DerivedGeneralCategory.txt>.
#[must_use]
pub fn is_format_character(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{600}'..='\u{605}'
            | '\u{61c}'
            | '\u{6dd}'
            | '\u{70f}'
            | '\u{890}'..='\u{891}'
            | '\u{8e2}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{2064}'
            | '\u{2066}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{110bd}'
            | '\u{110cd}'
            | '\u{13430}'..='\u{1343f}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0001}'
            | '\u{e0020}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_no_invisible_or_direction_changing_characters() {
        for name in
            ["Ann Lee", "J\u{fc}rgen", "\u{5d0}\u{5d1}", "\u{645}\u{6cc}\u{200c}\u{62e}", "\u{1f469}\u{200d}\u{1f4bb}"]
        {
            assert!(name.chars().all(is_name_character), "{name}");
        }
        let refused = [
            '\u{202e}',
            '\u{2066}',
            '\u{200f}',
            '\u{200b}',
            '\u{feff}',
            '\u{ad}',
            '\u{e0041}',
            '\u{7}',
            '\n',
            '\u{2028}',
        ];
        for c in refused {
            assert!(!is_name_character(c), "{c:?}");
        }
        assert_eq!(trim_name(" \u{200d}Ann\u{200c}Lee\u{200d} "), "Ann\u{200c}Lee");
        assert_eq!(trim_name("\u{200d} \u{200c}"), "");
    }
}
