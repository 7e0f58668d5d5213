//! The path that a visitor returns to after signing in.

use axum::extract::Request;
use http::{HeaderMap, Method, Uri, header};
use std::fmt::Write as _;

/// Maximum length of a path to return to, in bytes.
const MAX: usize = 2_048;

/// Returns the path if it is on this site, no browser would treat it as another site's, and it isn't too long to be stored.
pub(crate) fn local(next: &str) -> Option<&str> {
    let is_path = next.starts_with('/') && !next.starts_with("//") && next.len() <= MAX;
    let is_plain = !next.contains('\\') && !next.chars().any(char::is_control);
    (is_path && is_plain).then_some(next)
}

/// Maximum length of the path of a chosen plan.
const MAX_PLAN_PATH: usize = 120;

/// Returns the path if it is that of the pricing page with a chosen plan. It is kept until the email address is confirmed.
pub(crate) fn chosen_plan(next: &str) -> Option<&str> {
    local(next).filter(|next| next.starts_with("/pricing?plan=") && next.len() <= MAX_PLAN_PATH)
}

/// Returns a page's URL with the path to return to.
pub(crate) fn with_next(page: &str, next: Option<&str>) -> String {
    match next {
        Some(next) => format!("{page}?next={}", encoded(next)),
        None => page.to_owned(),
    }
}

/// Returns the path of the page for the second factor, which then leads to `next`, or to the default page if that is empty.
pub(crate) fn second_factor_page(next: &str) -> String {
    with_next("/sign-in/second", Some(next).filter(|next| !next.is_empty()))
}

/// Returns the path that leads back to what a request was for: its own URL, or for a form, which another method can't repeat, the page that
/// it was sent from (field note 72).
pub(crate) fn return_path(request: &Request) -> Option<String> {
    let path = match *request.method() {
        Method::GET | Method::HEAD => request.uri().path_and_query().map(|path| path.as_str().to_owned()),
        _ => referring_path(request.headers()),
    };
    path.filter(|path| local(path).is_some())
}

/// Returns path and query of the page that a request was sent from, if it is one of ours.
fn referring_path(headers: &HeaderMap) -> Option<String> {
    let referer = headers.get(header::REFERER)?.to_str().ok()?.parse::<Uri>().ok()?;
    let host = headers.get(header::HOST)?.to_str().ok()?;
    let is_ours = referer.authority().is_some_and(|authority| authority.as_str().eq_ignore_ascii_case(host));
    let path = referer.path_and_query().filter(|_| is_ours)?;
    Some(path.as_str().to_owned())
}

/// Percent-encodes a path as the value of a query parameter. Slashes stay readable.
fn encoded(path: &str) -> String {
    let mut encoded = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use proptest::prelude::*;

    #[test]
    fn only_local_paths_are_redirected_to() {
        assert_eq!(local("/usage?days=7"), Some("/usage?days=7"));
        for bad in ["", "https://evil.example", "//evil.example", "/\\evil.example", "/a\nb", "javascript:alert(1)"] {
            assert_eq!(local(bad), None, "{bad}");
        }
        let long = format!("/{}", "x".repeat(MAX));
        assert!(local(&long).is_none() && local(&long[..MAX]).is_some());
    }

    #[test]
    fn only_a_plan_of_the_pricing_page_is_kept() {
        let path = "/pricing?plan=pro&interval=year";
        assert_eq!(chosen_plan(path), Some(path));
        for other in ["", "/pricing", "/usage?plan=pro", "//pricing?plan=pro", &format!("{path}{}", "x".repeat(120))] {
            assert_eq!(chosen_plan(other), None, "{other}");
        }
    }

    /// Field note 72: a form that was left signed out leads back to its page, with the query.
    #[test]
    fn requests_return_to_a_page_that_answers_get() {
        let path = |method: &str, uri: &str, referer: &str| {
            let request = http::Request::builder().method(method).uri(uri).header("host", "chat.example:8080");
            return_path(&request.header("referer", referer).body(Body::empty()).unwrap())
        };
        assert_eq!(path("GET", "/usage?days=7", "").as_deref(), Some("/usage?days=7"));
        let form = |referer| path("POST", "/billing/checkout", referer);
        assert_eq!(form("http://chat.example:8080/pricing?plan=pro").as_deref(), Some("/pricing?plan=pro"));
        for other in ["", "http://evil.example/pricing", "/pricing", "http://chat.example:8080//evil.example", "x y"] {
            assert_eq!(form(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn an_encoded_path_is_decoded_by_a_form_parser(path in "/\\PC{0,60}") {
            let query = with_next("", Some(&path));
            let pairs: Vec<_> = form_urlencoded::parse(query.trim_start_matches('?').as_bytes()).into_owned().collect();
            prop_assert_eq!(pairs, vec![("next".to_owned(), path)]);
        }

        #[test]
        fn no_text_leads_to_another_site(text in "\\PC{0,60}") {
            let next = local(&text);
            prop_assert!(next.is_none_or(|next| next.starts_with('/') && next.as_bytes().get(1) != Some(&b'/')));
        }
    }
}
