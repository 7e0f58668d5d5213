//! The texts of the site: the Markdown files in `content/`. They are part of the program, and rendered once when it starts.

mod fill;
mod parse;
mod unlink;

use crate::{Config, openapi};
use anyhow::{Context as _, ensure};
use app::view::content::{Entry, SiteContent};
use domain::brand;
use fill::Value;
use include_dir::{Dir, File, include_dir};
use std::cmp::Reverse;
use std::sync::Arc;

static FILES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../content");

/// The pages that have no list, in their order.
const LEGAL: [&str; 3] = ["terms", "privacy", "imprint"];

/// A part of the site with a list, which `brand.toml` may leave out.
struct Part {
    /// Path of the page that lists its texts, which are in the folder of that name.
    index: &'static str,
    /// What is between that path and the name of a text: its own page, or a place on the list.
    separator: char,
    is_on: bool,
}

const PARTS: [Part; 4] = [
    Part { index: "/help", separator: '/', is_on: brand::HELP },
    Part { index: "/blog", separator: '/', is_on: brand::BLOG },
    Part { index: "/changelog", separator: '#', is_on: brand::CHANGELOG },
    Part { index: "/status", separator: '#', is_on: brand::STATUS },
];

/// Texts of one kind.
struct Section {
    /// Path of the page that lists them; `None` without one.
    index: Option<&'static str>,
    entries: Arc<[Arc<Entry>]>,
}

/// All texts of the site, without the parts that `brand.toml` leaves out, and the page about the API.
pub(crate) struct Content(Vec<Section>);

impl Content {
    /// Renders all texts.
    ///
    /// # Errors
    /// Returns an error that names the file if one has invalid properties or an unknown placeholder.
    pub(crate) fn load(config: &Config) -> anyhow::Result<Self> {
        let values = fill::values(config);
        let mut legal = Vec::new();
        for name in LEGAL {
            let file = FILES.get_file(format!("{name}.md")).with_context(|| format!("content/{name}.md is missing"))?;
            legal.push(render(file, &values, &format!("/{name}"))?.1);
        }
        let api = Arc::new(openapi::entry(&openapi::document(config)?));
        let mut sections =
            vec![Section { index: None, entries: legal.into() }, Section { index: None, entries: [api].into() }];
        for part in PARTS.iter().filter(|part| part.is_on) {
            let entries = load_folder(part, &values)?;
            sections.push(Section { index: Some(part.index), entries });
        }
        Ok(Self(sections))
    }

    /// Returns what the page at a path shows; `None` if there is no such page.
    pub(crate) fn at(&self, path: &str) -> Option<SiteContent> {
        self.0.iter().find_map(|section| {
            let entry = section.entries.iter().find(|entry| entry.path == path).cloned();
            let is_page = section.index == Some(path) || entry.is_some();
            is_page.then(|| SiteContent { entry, all: Arc::clone(&section.entries) })
        })
    }

    /// Returns the paths of all pages, each with the day of its last change if it has one.
    pub(crate) fn pages(&self) -> Vec<(String, Option<time::Date>)> {
        let mut pages = Vec::new();
        for section in &self.0 {
            let latest = section.entries.iter().filter_map(|entry| entry.date).max();
            pages.extend(section.index.map(|index| (index.to_owned(), latest)));
            let with_page = section.entries.iter().filter(|entry| entry.fragment().is_empty());
            pages.extend(with_page.map(|entry| (entry.path.clone(), entry.date)));
        }
        pages
    }
}

/// Renders the texts of a folder: by date, the latest first, or by their order. A missing folder has none.
fn load_folder(part: &Part, values: &[Value]) -> anyhow::Result<Arc<[Arc<Entry>]>> {
    let Part { index, separator, .. } = part;
    let files = FILES.get_dir(index.trim_start_matches('/')).map(Dir::files).into_iter().flatten();
    let mut entries = Vec::new();
    for file in files.filter(|file| file.path().extension().is_some_and(|ending| ending == "md")) {
        let slug = file.path().file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let is_slug = slug.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        ensure!(is_slug, "{}: the name may have lower-case letters, digits and hyphens", name_of(file));
        entries.push(render(file, values, &format!("{index}{separator}{slug}"))?);
    }
    entries.sort_by_key(|(order, entry)| (Reverse(entry.date), *order, entry.path.clone()));
    Ok(entries.into_iter().map(|(_, entry)| entry).collect())
}

/// Renders a file. Returns its order among entries without a date, and the entry.
fn render(file: &File<'_>, values: &[Value], path: &str) -> anyhow::Result<(u16, Arc<Entry>)> {
    let text = file.contents_utf8().with_context(|| format!("{} isn't UTF-8", name_of(file)))?;
    let entry = entry(text, values, path).with_context(|| name_of(file))?;
    Ok((entry.0, Arc::new(entry.1)))
}

fn name_of(file: &File<'_>) -> String {
    format!("content/{}", file.path().display())
}

fn entry(text: &str, values: &[Value], path: &str) -> anyhow::Result<(u16, Entry)> {
    let (properties, text) = parse::parse(text)?;
    let html = markdown::render_page(&fill::fill(&text, values)?);
    let left_out: Vec<&str> = PARTS.iter().filter(|part| !part.is_on).map(|part| part.index).collect();
    let entry = Entry {
        path: path.to_owned(),
        title: fill::fill(&properties.title, values)?,
        description: fill::fill(&properties.description, values)?,
        date: properties.date()?,
        state: properties.state,
        html: unlink::unlink(&html, &left_out),
    };
    Ok((properties.order, entry))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn content() -> Content {
        let base = [("DATABASE_URL", "postgres://x"), ("REDIS_URL", "redis://x"), ("PUBLIC_URL", "http://localhost")];
        let vars = base.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        Content::load(&Config::read(vars).unwrap()).unwrap()
    }

    /// Every file is valid: its properties, its placeholders, and one title and description each.
    #[test]
    fn every_text_is_complete() {
        let content = content();
        let entries: Vec<&Entry> =
            content.0.iter().flat_map(|section| &*section.entries).map(|entry| &**entry).collect();
        assert!(entries.len() > 8, "{}", entries.len());
        for entry in entries {
            assert!(!entry.title.is_empty() && !entry.html.is_empty(), "{}", entry.path);
            assert!(!entry.html.contains("{{") && !entry.html.contains("<h1"), "{}", entry.path);
            if entry.fragment().is_empty() {
                let length = entry.description.chars().count();
                assert!((50..=160).contains(&length), "{}: a description of {length} characters", entry.path);
            }
            let ids: Vec<&str> = entry.html.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
            assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len(), "{}: {ids:?}", entry.path);
        }
    }

    /// Links between the texts lead to pages that exist, and their fragments to headings.
    #[test]
    fn links_between_texts_lead_somewhere() {
        const ELSEWHERE: &[&str] = &[
            "/",
            "/pricing",
            "/sign-up",
            "/sign-in",
            "/forgot",
            "/chat",
            "/usage",
            "/chat/archived",
            "/openapi.json",
            "/search",
            "/settings",
            "/settings/chat",
            "/settings/security",
            "/settings/keys",
            "/settings/billing",
            "/settings/data",
            "/settings/import",
            "/settings/shares",
        ];
        let content = content();
        for entry in content.0.iter().flat_map(|section| section.entries.iter()) {
            for link in entry.html.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
                let (path, fragment) = link.split_once('#').unwrap_or((link, ""));
                if !link.starts_with(['/', '#']) || ELSEWHERE.contains(&path) {
                    continue;
                }
                let path = if path.is_empty() { entry.path.as_str() } else { path };
                let found = content.at(path).unwrap_or_else(|| panic!("{}: {link}", entry.path));
                let html = found.entry.map(|entry| entry.html.clone()).unwrap_or_default();
                assert!(fragment.is_empty() || html.contains(&format!(" id=\"{fragment}\"")), "{}: {link}", entry.path);
            }
        }
    }

    #[test]
    fn pages_are_found_by_their_path() {
        let content = content();
        assert_eq!(content.at("/terms").and_then(|found| found.entry).unwrap().path, "/terms");
        let help = content.at("/help").unwrap();
        assert!(help.entry.is_none() && help.all.len() >= 6);
        let dates: Vec<_> = content.at("/changelog").unwrap().all.iter().map(|entry| entry.date).collect();
        assert!(dates.is_sorted_by(|a, b| a >= b) && dates.iter().all(Option::is_some), "{dates:?}");
        for none in ["/", "/help/", "/help/nothing", "/README", "/changelog#x", "/content/terms"] {
            assert!(content.at(none).is_none(), "{none}");
        }
        let pages = content.pages();
        assert!(
            pages.iter().any(|(path, _)| path == "/help/limits") && !pages.iter().any(|(path, _)| path.contains('#'))
        );
    }
}
