//! Stripe's form encoding with nested names: `items[0][price]=price_1`.

use serde_json::{Map, Value};

/// Parses a form or query into nested objects; lists become objects with the keys 0, 1, 2.
pub(super) fn read(text: &str) -> Value {
    let mut root = Map::new();
    for (name, value) in form_urlencoded::parse(text.as_bytes()) {
        let (head, rest) = name.split_once('[').map_or((name.as_ref(), ""), |(head, rest)| (head, rest));
        let mut path = vec![head.to_owned()];
        path.extend(rest.split('[').filter(|part| !part.is_empty()).map(|part| part.trim_end_matches(']').to_owned()));
        set(&mut root, &path, &value);
    }
    Value::Object(root)
}

fn set(map: &mut Map<String, Value>, path: &[String], value: &str) {
    let Some((head, rest)) = path.split_first() else { return };
    // `lookup_keys[]=a` takes the next free index.
    let key = if head.is_empty() { map.len().to_string() } else { head.clone() };
    if rest.is_empty() {
        map.insert(key, Value::String(value.to_owned()));
        return;
    }
    let inner = map.entry(key).or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(inner) = inner {
        set(inner, rest, value);
    }
}

/// Returns a list's values in order, sent as `a[0]` or as `a[]`; empty if it is missing.
pub(super) fn list(value: &Value) -> Vec<&Value> {
    let Some(map) = value.as_object() else { return Vec::new() };
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_by_key(|(key, _)| key.parse::<usize>().unwrap_or(usize::MAX));
    entries.into_iter().map(|(_, value)| value).collect()
}

/// Parses a form value as an integer.
pub(super) fn number(value: &Value) -> Option<i64> {
    value.as_str()?.parse().ok()
}

/// Parses a form value as `true` or `false`.
pub(super) fn flag(value: &Value) -> Option<bool> {
    value.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bracketed_names_become_nested_objects() {
        let form = read("items%5B0%5D%5Bprice%5D=p1&items[1][price]=p2&k[]=a&k[]=b&plain=1");
        assert_eq!(form["items"]["1"]["price"], "p2");
        assert_eq!(list(&form["items"])[0]["price"], "p1");
        assert_eq!(list(&form["k"]), ["a", "b"]);
        assert_eq!(number(&form["plain"]), Some(1));
    }
}
