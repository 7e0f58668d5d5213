//! The OpenAPI document of `/v1`, and the page of the site that is rendered from it.
//!
//! The document is written by hand, because requests are read field by field (`providers::api`) and passed on or translated, so there are no
//! types from which it could be derived. Tests compare its paths with the router and its examples with answers.

mod page;

pub(crate) use page::entry;

use crate::Config;
use anyhow::Context as _;
use domain::brand;
use serde_json::{Value, json};

/// The endpoints.
const DOCUMENT: &str = include_str!("document.json");
/// The schemas, parameters and responses that endpoints refer to.
const COMPONENTS: &str = include_str!("components.json");
/// What all endpoints have in common, in Markdown.
const GUIDE: &str = include_str!("guide.md");

/// Builds the document of a deployment, with its name and address.
///
/// # Errors
/// Returns an error if one of the files isn't JSON.
pub(crate) fn document(config: &Config) -> anyhow::Result<Value> {
    let server = &config.public_url;
    let filled = |text: &str| text.replace("{server}", server);
    let mut document: Value = serde_json::from_str(&filled(DOCUMENT)).context("openapi/document.json")?;
    document["components"] = serde_json::from_str(COMPONENTS).context("openapi/components.json")?;
    document["info"]["title"] = format!("{} API", brand::NAME).into();
    document["info"]["description"] = filled(GUIDE).into();
    document["info"]["contact"] = json!({"email": brand::SUPPORT_EMAIL});
    document["servers"] = json!([{"url": server}]);
    Ok(document)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
                fields.values().for_each(|field| references(field, found));
            }
            _ => {}
        }
    }

    #[test]
    fn the_document_is_complete() {
        let base = [("DATABASE_URL", "postgres://x"), ("REDIS_URL", "redis://x"), ("PUBLIC_URL", "http://localhost")];
        let vars = base.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        let document = document(&Config::read(vars).unwrap()).unwrap();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 50, "{found:?}");
        for reference in found {
            assert!(document.pointer(reference.strip_prefix('#').unwrap()).is_some(), "{reference}");
        }
        assert!(!document.to_string().contains("{server}"));
        let page = entry(&document);
        for part in ["POST <code", "http://localhost/v1", "x-ratelimit-remaining-tokens", "Idempotency-Key"] {
            assert!(page.html.contains(part), "{part}: {}", page.html);
        }
    }
}
