//! Reads fields of JSON from servers that differ from their documentation. Unknown fields are ignored, and
//! null and values of an unexpected type are treated as absent, so one odd field never loses an event.

use serde_json::Value;

/// Returns the text at a JSON pointer, unless it is empty.
pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer)?.as_str().filter(|text| !text.is_empty())
}

/// Returns the name at a JSON pointer: a text, or a number as text.
pub(crate) fn name(value: &Value, pointer: &str) -> Option<String> {
    match value.pointer(pointer)? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Returns the first count above zero at any of the JSON pointers; otherwise zero, if there is a count at all.
pub(crate) fn count(value: &Value, pointers: &[&str]) -> Option<u64> {
    let mut found = None;
    for count in pointers.iter().filter_map(|pointer| value.pointer(pointer).and_then(whole)) {
        if count > 0 {
            return Some(count);
        }
        found = Some(0);
    }
    found
}

/// Reads a whole number that may be written as a fraction or as text. A negative one is treated as absent.
fn whole(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64().or_else(|| format!("{:.0}", number.as_f64()?).parse().ok()),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// Returns whether a value has content. Null, false, zero, empty texts, and lists and objects that contain nothing else, have none.
pub(crate) fn has_content(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_u64() != Some(0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => items.iter().any(has_content),
        Value::Object(fields) => fields.values().any(has_content),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn odd_types_are_read_or_nothing() {
        let odd = json!({"a": "7", "b": 8.0, "c": -3, "d": null, "e": [], "f": {"g": 0}, "h": 0, "i": 1e40, "j": ""});
        for (pointers, expected) in [
            (["/a", "/x"], Some(7)),
            (["/b", "/a"], Some(8)),
            (["/c", "/d"], None),
            (["/h", "/x"], Some(0)),
            (["/h", "/a"], Some(7)),
            (["/e", "/f"], None),
            (["/f/g", "/i"], Some(0)),
        ] {
            assert_eq!(count(&odd, &pointers), expected, "{pointers:?}");
        }
        assert_eq!((text(&odd, "/a"), text(&odd, "/b"), text(&odd, "/j")), (Some("7"), None, None));
        assert_eq!((name(&odd, "/h").as_deref(), name(&odd, "/d")), (Some("0"), None));
        assert!(!has_content(&json!({"message": "", "code": null, "param": []})) && has_content(&json!({"code": 5})));
    }
}
