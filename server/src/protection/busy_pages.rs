//! Keeps the rendered pages that refuse sign-ins and sign-ups while too many passwords wait to be hashed. Each is rendered at most about once
//! a second, so that a refusal costs next to nothing.

use app::view::theme::Theme;
use bytes::Bytes;
use http::HeaderMap;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a rendered page is sent. Its responses have one nonce meanwhile, which is harmless: they contain nothing that a visitor sent.
const MAX_AGE: Duration = Duration::from_secs(1);

/// A rendered page.
#[derive(Clone, Debug)]
pub(crate) struct RenderedPage {
    /// Headers of its response, the content security policy with the page's nonce among them.
    pub headers: HeaderMap,
    /// The document.
    pub html: Bytes,
}

/// Pages by path and theme, each with the time at which it was rendered.
type Rendered = HashMap<(&'static str, &'static str), (Instant, RenderedPage)>;

/// The pages by path and theme.
#[derive(Debug, Default)]
pub(crate) struct BusyPages {
    rendered: Mutex<Rendered>,
}

impl BusyPages {
    /// Returns the page of a path in a theme, unless it must be rendered again.
    pub(crate) fn get(&self, path: &'static str, theme: Theme, now: Instant) -> Option<RenderedPage> {
        let pages = self.lock();
        let (at, page) = pages.get(&(path, theme.as_str()))?;
        (now.saturating_duration_since(*at) < MAX_AGE).then(|| page.clone())
    }

    /// Stores a rendered page.
    pub(crate) fn put(&self, path: &'static str, theme: Theme, page: RenderedPage, now: Instant) {
        self.lock().insert((path, theme.as_str()), (now, page));
    }

    fn lock(&self) -> MutexGuard<'_, Rendered> {
        self.rendered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_kept_for_a_second_by_path_and_theme() {
        let (pages, now) = (BusyPages::default(), Instant::now());
        let page = RenderedPage { headers: HeaderMap::new(), html: Bytes::from_static(b"busy") };
        assert!(pages.get("/sign-in", Theme::Dark, now).is_none());
        pages.put("/sign-in", Theme::Dark, page, now);
        let found = |path: &'static str, theme: Theme, ms: u64| {
            pages.get(path, theme, now + Duration::from_millis(ms)).map(|page| page.html)
        };
        assert_eq!(found("/sign-in", Theme::Dark, 999).as_deref(), Some(&b"busy"[..]));
        for (path, theme, ms) in
            [("/sign-in", Theme::Dark, 1_000), ("/sign-in", Theme::Light, 0), ("/sign-up", Theme::Dark, 0)]
        {
            assert_eq!(found(path, theme, ms), None, "{path} {theme:?} {ms}");
        }
    }
}
