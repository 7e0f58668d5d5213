//! What search engines and link previews read of a page.

use super::json_ld::{JsonLd, site};
use crate::page_context::{PageContext, page_context};
use domain::brand;
use leptos::prelude::*;

/// Metadata of a public page for its head.
struct About {
    title: String,
    description: String,
    /// The path, without a query.
    path: String,
    /// Name of the preview image.
    og: String,
}

/// Returns the metadata of a page; `None` if search engines shouldn't index it.
fn about(context: &PageContext) -> Option<About> {
    if context.problem.is_some() {
        return None;
    }
    let path = context.path.clone();
    let og = match path.split('/').nth(1) {
        None | Some("") => "home".to_owned(),
        Some(first) => first.to_owned(),
    };
    if let Some(entry) = context.content.as_ref().and_then(|content| content.entry.as_ref()) {
        return Some(About { title: entry.title.clone(), description: entry.description.clone(), path, og });
    }
    let name = brand::NAME;
    let (title, description) = match path.as_str() {
        "/" => (name.to_owned(), brand::DESCRIPTION.to_owned()),
        "/pricing" => (
            "Pricing".to_owned(),
            format!(
                "The plans of {name}, with their models, limits and prices. Start free, upgrade or cancel at any time."
            ),
        ),
        "/sign-up" => {
            ("Create account".to_owned(), format!("Create your {name} account. The free plan needs no card."))
        }
        "/sign-in" => {
            ("Sign in".to_owned(), format!("Sign in to {name} with your email, a passkey or another account."))
        }
        "/help" => (
            "Help".to_owned(),
            format!(
                "How {name} works: limits, models, billing, privacy, your account, and what to do when something fails."
            ),
        ),
        "/blog" => ("Blog".to_owned(), format!("What we learn and build at {name}.")),
        "/changelog" => ("Changelog".to_owned(), format!("What is new in {name}, the latest changes first.")),
        "/status" => (
            "Status".to_owned(),
            format!(
                "Whether {name} and its model providers work right now, with the last 24 hours and past incidents."
            ),
        ),
        _ => return None,
    };
    Some(About { title, description, path, og })
}

/// The head's part about the page, by the request: its description, its own URL and its preview, or that search engines shouldn't list it.
#[component]
pub fn AboutPage() -> impl IntoView {
    match about(&page_context()) {
        Some(About { title, description, path, og }) => view! { <PageHead title description path og/> }.into_any(),
        None => view! { <meta name="robots" content="noindex"/> }.into_any(),
    }
}

/// The description of a page, its canonical URL, and its preview in other apps.
#[component]
pub fn PageHead(
    /// The title, without the product's name.
    title: String,
    /// One sentence about the page.
    description: String,
    /// The path, without a query.
    path: String,
    /// Name of the preview image.
    og: String,
) -> impl IntoView {
    let context = page_context();
    let url = format!("{}{path}", context.site_url);
    let is_post = path.starts_with("/blog/");
    let entry = context.content.as_ref().and_then(|content| content.entry.as_ref());
    let date = entry.and_then(|entry| entry.date).filter(|_| is_post);
    let feed = (brand::CHANGELOG && path == "/changelog").then(|| {
        view! { <link rel="alternate" r#type="application/rss+xml" title="Changelog" href="/changelog.xml"/> }
    });
    let site = (path == "/").then(|| view! { <JsonLd value=site()/> });
    let og_type = if is_post { "article" } else { "website" };
    view! {
        <meta name="description" content=description.clone()/>
        <link rel="canonical" href=url.clone()/>
        {preview("og:type", og_type.to_owned())}
        {preview("og:site_name", brand::NAME.to_owned())}
        {preview("og:title", title)}
        {preview("og:description", description)}
        {preview("og:url", url)}
        {preview("og:image", format!("{}/og/{og}.png", context.site_url))}
        {preview("og:image:width", "1200".to_owned())}
        {preview("og:image:height", "630".to_owned())}
        <meta name="twitter:card" content="summary_large_image"/>
        {date.map(|date| preview("article:published_time", date.to_string()))}
        {feed}
        {site}
    }
}

/// A property of the link preview. `view!` doesn't support the attribute.
fn preview(property: &'static str, content: String) -> impl IntoView {
    leptos::html::meta().content(content).attr("property", property)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::content::{Entry, SiteContent};
    use domain::Problem;
    use std::sync::Arc;

    fn of(path: &str) -> PageContext {
        PageContext { path: path.to_owned(), ..PageContext::default() }
    }

    #[test]
    fn only_pages_for_everyone_are_listed() {
        for (path, og) in [("/", "home"), ("/pricing", "pricing"), ("/help", "help"), ("/sign-in", "sign-in")] {
            let about = about(&of(path)).unwrap();
            assert_eq!((about.path.as_str(), about.og.as_str()), (path, og));
            let length = about.description.chars().count();
            assert!((20..=160).contains(&length), "{path}: {length}");
        }
        for path in ["/chat", "/chat/x", "/usage", "/settings", "/admin", "/verify", "/forgot", "/help/nothing", ""] {
            assert!(about(&of(path)).is_none(), "{path}");
        }
        let missing = PageContext { problem: Some(Problem::not_found("page")), ..of("/pricing") };
        assert!(about(&missing).is_none());
    }

    #[test]
    fn a_text_describes_its_page() {
        let entry = Entry { title: "Limits".to_owned(), description: "How they work.".to_owned(), ..Entry::default() };
        let content = SiteContent { entry: Some(Arc::new(entry)), all: Arc::new([]) };
        let about = about(&PageContext { content: Some(content), ..of("/help/limits") }).unwrap();
        assert_eq!(
            (about.title.as_str(), about.description.as_str(), about.og.as_str()),
            ("Limits", "How they work.", "help")
        );
    }
}
