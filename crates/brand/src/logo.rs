//! The logo: a square SVG that can be put into a page.

use roxmltree::{Document, Node};

const NAMESPACE: &str = "http://www.w3.org/2000/svg";
/// Elements that do something, load something, or need what the pages' content security policy forbids.
const FORBIDDEN: [&str; 8] = ["script", "style", "foreignObject", "image", "a", "animate", "set", "text"];
/// Attributes of the root that concern the file, not the picture.
const OF_THE_FILE: [&str; 9] = ["viewBox", "width", "height", "x", "y", "version", "id", "class", "role"];

/// A logo. `body` is the picture without the root element, whose colors it keeps.
pub(crate) struct Logo {
    pub(crate) svg: String,
    pub(crate) view_box: String,
    pub(crate) body: String,
}

impl Logo {
    /// Parses an SVG file.
    ///
    /// # Errors
    /// Returns what is wrong, as the rest of a sentence that begins with "logo".
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim().trim_start_matches('\u{feff}');
        let document = Document::parse(text).map_err(|error| format!("is not an SVG file: {error}"))?;
        let root = document.root_element();
        if root.tag_name().name() != "svg" {
            return Err("is not an SVG file".to_owned());
        }
        let view_box = root.attribute("viewBox").map(str::trim).unwrap_or_default();
        if !is_square(view_box) {
            return Err(format!("must have a square viewBox such as \"0 0 24 24\", not \"{view_box}\""));
        }
        for node in root.descendants().filter(Node::is_element) {
            check(node)?;
        }
        let colors: String = root
            .attributes()
            .filter(|attribute| !OF_THE_FILE.contains(&attribute.name()))
            .filter_map(|attribute| text.get(attribute.range()))
            .map(|attribute| format!(" {attribute}"))
            .collect();
        let (first, last) = (root.first_child(), root.last_child());
        let inside = first.zip(last).and_then(|(first, last)| text.get(first.range().start..last.range().end));
        let inside = inside.map(str::trim).filter(|inside| !inside.is_empty()).ok_or("is an empty picture")?;
        let body = format!("<g{colors}>{inside}</g>");
        Ok(Self { svg: text.to_owned(), view_box: view_box.to_owned(), body })
    }
}

/// Rejects elements and attributes that a page can't contain.
fn check(node: Node<'_, '_>) -> Result<(), String> {
    let name = node.tag_name();
    if name.namespace() != Some(NAMESPACE) || FORBIDDEN.contains(&name.name()) {
        return Err(format!("has an element <{}>; export it as plain SVG, with texts as paths", name.name()));
    }
    for attribute in node.attributes() {
        let (name, value) = (attribute.name(), attribute.value());
        let is_elsewhere = name == "href" && !value.starts_with('#');
        if attribute.namespace().is_some() || name == "style" || name.starts_with("on") || is_elsewhere {
            return Err(format!(
                "has an attribute {name}=\"{value}\"; export it as plain SVG with presentation attributes"
            ));
        }
    }
    Ok(())
}

/// Returns whether a view box is as wide as it is high.
fn is_square(view_box: &str) -> bool {
    let numbers: Vec<f64> = view_box.split([' ', ',']).filter_map(|number| number.parse().ok()).collect();
    matches!(numbers[..], [_, _, width, height] if width > 0.0 && (width - height).abs() < 1e-6)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn svg(root: &str, inside: &str) -> String {
        format!("<svg xmlns=\"{NAMESPACE}\" {root}>{inside}</svg>")
    }

    #[test]
    fn the_root_leaves_its_colors_to_the_body() {
        let text = svg("viewBox=\"0 0 8 8\" width=\"8\" fill=\"none\" stroke='red'", "<path d=\"M0 0h8\"/>");
        let logo = Logo::parse(&text).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(logo.body, "<g fill=\"none\" stroke='red'><path d=\"M0 0h8\"/></g>");
        assert_eq!((logo.view_box.as_str(), logo.svg.as_str()), ("0 0 8 8", text.as_str()));
    }

    #[test]
    fn what_a_page_cannot_contain_is_rejected() {
        let square = "viewBox=\"0 0 8 8\"";
        for (root, inside, named) in [
            ("viewBox=\"0 0 8 9\"", "<path/>", "viewBox"),
            ("", "<path/>", "viewBox"),
            (square, "<script/>", "script"),
            (square, "<style>path{}</style>", "style"),
            (square, "<path style=\"fill:red\"/>", "style"),
            (square, "<path onclick=\"x()\"/>", "onclick"),
            (square, "<use href=\"https://evil.example/a.svg\"/>", "href"),
            (square, "", "empty"),
        ] {
            let problem = Logo::parse(&svg(root, inside)).err().unwrap_or_default();
            assert!(problem.contains(named), "{root} {inside}: {problem}");
        }
        assert!(Logo::parse("no picture").is_err() && Logo::parse("<html/>").is_err());
    }
}
