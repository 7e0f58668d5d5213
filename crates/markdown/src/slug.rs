//! Ids of headings.

/// Returns the id of a heading from its HTML: the letters and digits of its text in lower case, joined by hyphens.
pub(crate) fn slug(html: &str) -> String {
    let (mut text, mut in_tag) = (String::with_capacity(html.len()), false);
    for c in html.chars() {
        match c {
            '<' => in_tag = true,
            '>' => in_tag = false,
            _ if in_tag => {}
            // "don't" is one word.
            '\'' | '’' => {}
            c if c.is_alphanumeric() => text.extend(c.to_lowercase()),
            _ => text.push('-'),
        }
    }
    text.split('-').filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::slug;

    #[test]
    fn ids_are_words_joined_by_hyphens() {
        assert_eq!(slug("What happens at a limit?"), "what-happens-at-a-limit");
        assert_eq!(slug("Don't use <code dir=\"ltr\">sk-…</code>, Über"), "dont-use-sk-über");
    }
}
