//! The pictures that other sites show beside a link to a page (Open Graph, <https://ogp.me>).

use super::{FONT_FAMILY, Kept, draw, logo};
use bytes::Bytes;
use domain::brand;

const WIDTH: u32 = 1200;
const HEIGHT: u32 = 630;
/// Characters of the title and of the tagline that fit in a line, in a font whose letters are half as wide as high on average.
const TITLE_LINE: usize = 28;
const TAGLINE_LINE: usize = 66;

/// A page with a picture of its own.
struct Page {
    name: &'static str,
    title: &'static str,
    png: Kept,
}

impl Page {
    const fn new(name: &'static str, title: &'static str) -> Self {
        Self { name, title, png: Kept::new() }
    }
}

/// All pages that have a picture. `/og/home.png` is that of every other page.
static PAGES: [Page; 12] = [
    Page::new("home", brand::HERO_TITLE),
    Page::new("pricing", "Plans and prices"),
    Page::new("sign-up", "Create your account"),
    Page::new("sign-in", "Welcome back"),
    Page::new("help", "Help"),
    Page::new("blog", "Blog"),
    Page::new("changelog", "What is new"),
    Page::new("status", "Status"),
    Page::new("docs", "API"),
    Page::new("terms", "Terms of service"),
    Page::new("privacy", "Privacy policy"),
    Page::new("imprint", "Imprint"),
];

/// Returns the picture of a page in PNG format; `None` if there is no such page.
///
/// # Errors
/// Returns an error if the picture can't be drawn.
pub(crate) async fn png(name: &str) -> anyhow::Result<Option<Bytes>> {
    let Some(page) = PAGES.iter().find(|page| page.name == name) else { return Ok(None) };
    let title = page.title;
    page.png.get(move || draw(&svg(title), WIDTH, HEIGHT)).await.map(Some)
}

/// Writes the picture: logo and name, the title in large letters, and the tagline.
fn svg(title: &str) -> String {
    let text = |left: u32, top: usize, size: u32, color: &str, text: &str| {
        let text = escaped(text);
        format!("<text x=\"{left}\" y=\"{top}\" font-size=\"{size}\" fill=\"{color}\">{text}</text>")
    };
    let titles = lines(title, TITLE_LINE).into_iter().take(4).enumerate();
    let titles: String = titles.map(|(n, line)| text(80, 260 + 78 * n, 66, brand::INK_COLOR_LIGHT, &line)).collect();
    let taglines = lines(brand::TAGLINE, TAGLINE_LINE).into_iter().take(2).enumerate();
    let taglines: String =
        taglines.map(|(n, line)| text(80, 554 + 38 * n, 28, brand::MUTED_COLOR_LIGHT, &line)).collect();
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" font-family=\"{FONT_FAMILY}\" font-weight=\"600\">\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"{}\"/><rect width=\"12\" height=\"{HEIGHT}\" fill=\"{}\"/>{}{}{titles}{taglines}</svg>",
        brand::THEME_COLOR_LIGHT,
        brand::ACCENT_COLOR_LIGHT,
        logo(80, 72, 64, brand::ACCENT_COLOR_LIGHT),
        text(164, 119, 42, brand::INK_COLOR_LIGHT, brand::NAME),
    )
}

/// Breaks a text into lines of at most `max` characters; a longer word has a line of its own.
fn lines(text: &str, max: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= max => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_are_broken_between_words() {
        assert_eq!(lines("Twelve letters and a half one", 22), ["Twelve letters and a", "half one"]);
        assert_eq!(lines("a verylongword b", 5), ["a", "verylongword", "b"]);
        assert!(lines(" ", 5).is_empty());
    }

    #[test]
    fn a_picture_shows_its_title() {
        let one = draw(&svg("One & two <three>"), WIDTH, HEIGHT).unwrap();
        assert_ne!(one, draw(&svg("Another title"), WIDTH, HEIGHT).unwrap());
    }
}
