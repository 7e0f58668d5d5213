//! URLs of the top users: a filter as a query string.

use domain::{Problem, UsageFilter};

/// Parses a URL-encoded query string.
///
/// # Errors
/// Returns a problem if the dates are no valid period.
pub fn of_query(query: &str) -> Result<UsageFilter, Problem> {
    let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    UsageFilter::parse(|name| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone()))
}

/// Returns a URL with a filter as its query string, for the page at `path` or its export.
#[must_use]
pub fn href(filter: &UsageFilter, path: &str) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(filter.query());
    format!("{path}?{}", query.finish())
}
