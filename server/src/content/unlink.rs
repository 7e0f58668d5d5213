//! Links to parts of the site that `brand.toml` leaves out.

/// Replaces the links to pages below these paths by their text.
pub(super) fn unlink(html: &str, left_out: &[&str]) -> String {
    let (mut text, mut rest) = (String::with_capacity(html.len()), html);
    while let Some((before, link)) = rest.split_once("<a href=\"") {
        let parts = link.split_once("\">").and_then(|(target, after)| Some((target, after.split_once("</a>")?)));
        let Some((target, (label, after))) = parts else { break };
        text.push_str(before);
        let is_left_out = left_out.iter().any(|path| {
            target.strip_prefix(path).is_some_and(|below| below.is_empty() || below.starts_with(['/', '#', '.']))
        });
        match is_left_out {
            true => text.push_str(label),
            false => text.push_str(&format!("<a href=\"{target}\">{label}</a>")),
        }
        rest = after;
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::unlink;

    #[test]
    fn links_to_what_is_left_out_become_text() {
        let html =
            "<p><a href=\"/help/limits\">limits</a>, <a href=\"/helper\">x</a> and <a href=\"/status\">s</a></p>";
        assert_eq!(
            unlink(html, &["/help", "/blog"]),
            "<p>limits, <a href=\"/helper\">x</a> and <a href=\"/status\">s</a></p>"
        );
        assert_eq!(unlink(html, &[]), html);
        assert_eq!(unlink("<a href=\"/changelog.xml\">RSS</a>", &["/changelog"]), "RSS");
    }
}
