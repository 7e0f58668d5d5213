//! Changes values of a brand file and keeps the rest of it: order, comments and spaces.

use crate::error::BrandError;
use toml_edit::{DocumentMut, Item, Value};

/// Returns the file with new values. A key is a path such as `look.hue`; its value keeps its type.
///
/// # Errors
/// Returns an error if the file can't be parsed, or if a key doesn't exist or has a value of another type.
pub fn with_values(text: &str, values: &[(String, String)]) -> Result<String, BrandError> {
    let mut document = parse(text)?;
    for (key, new) in values {
        let mut item = document.as_item_mut();
        for part in key.split('.') {
            let table = item.as_table_like_mut();
            item = table.and_then(|table| table.get_mut(part)).ok_or_else(|| BrandError::of(key, "doesn't exist"))?;
        }
        set(key, item, new)?;
    }
    Ok(document.to_string())
}

/// Returns a value as text. A key is a path such as `look.hue`.
///
/// # Errors
/// Returns an error if the file can't be parsed, or if the key doesn't exist or has parts.
pub fn value(text: &str, key: &str) -> Result<String, BrandError> {
    let document = parse(text)?;
    let missing = || BrandError::of(key, "doesn't exist");
    let mut item: &Item = document.as_item();
    for part in key.split('.') {
        item = item.as_table_like().and_then(|table| table.get(part)).ok_or_else(missing)?;
    }
    match item.as_value() {
        Some(Value::String(text)) => Ok(text.value().clone()),
        Some(Value::Integer(number)) => Ok(number.value().to_string()),
        Some(Value::Boolean(flag)) => Ok(flag.value().to_string()),
        _ => Err(BrandError::of(key, "is no single value")),
    }
}

fn parse(text: &str) -> Result<DocumentMut, BrandError> {
    text.parse::<DocumentMut>()
        .map_err(|error| BrandError::new(format!("brand.toml: {}.", error.message().replace('\n', ", "))))
}

fn set(key: &str, item: &mut Item, new: &str) -> Result<(), BrandError> {
    let old = item.as_value_mut().ok_or_else(|| BrandError::of(key, "is no single value"))?;
    let decor = old.decor().clone();
    let mut value = match old {
        Value::Integer(_) => {
            new.parse::<i64>().map(Value::from).map_err(|_| BrandError::of(key, "must be a number"))?
        }
        Value::Boolean(_) => {
            new.parse::<bool>().map(Value::from).map_err(|_| BrandError::of(key, "must be true or false"))?
        }
        Value::String(_) => Value::from(new),
        _ => return Err(BrandError::of(key, "is no single value")),
    };
    *value.decor_mut() = decor;
    *old = value;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# who\nname = \"One\" # short\n\n[look]\nhue = 160\n[features]\ndemo = true\n";

    fn changed(key: &str, new: &str) -> Result<String, BrandError> {
        with_values(FILE, &[(key.to_owned(), new.to_owned())])
    }

    #[test]
    fn only_the_value_changes() {
        let expected = FILE.replace("\"One\"", "\"Two \\\"2\\\"\"");
        let two = changed("name", "Two \"2\"").unwrap_or_else(|error| panic!("{error}"));
        assert!(two == expected || two == FILE.replace("\"One\"", "'Two \"2\"'"), "{two}");
        assert_eq!(value(&two, "name").ok().as_deref(), Some("Two \"2\""));
        assert_eq!(changed("look.hue", "20").ok(), Some(FILE.replace("160", "20")));
        assert_eq!(changed("features.demo", "false").ok(), Some(FILE.replace("true", "false")));
    }

    #[test]
    fn an_unknown_key_or_another_type_is_an_error() {
        for (key, new) in [("title", "x"), ("look.hue", "green"), ("features.demo", "maybe"), ("look", "x")] {
            assert!(changed(key, new).err().is_some_and(|error| error.to_string().contains(key)), "{key}");
        }
        assert_eq!(value(FILE, "look.hue").ok().as_deref(), Some("160"));
    }
}
