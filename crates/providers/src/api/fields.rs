//! Reads the fields of a JSON object by name and notes which ones were read. Null is the same as no field.

use super::error::InvalidRequest;
use serde_json::{Map, Value};
use std::ops::RangeInclusive;

/// The result of reading a field.
pub(crate) type Read<T> = Result<T, InvalidRequest>;

/// An object that is being read.
pub(crate) struct Fields<'a> {
    object: &'a Map<String, Value>,
    /// The path of the object, empty for the request itself.
    path: String,
    known: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// Begins to read an object at a path.
    pub fn new(value: &'a Value, path: impl Into<String>) -> Read<Self> {
        let path = path.into();
        match value {
            Value::Object(object) => Ok(Self { object, path, known: Vec::new() }),
            _ if path.is_empty() => {
                Err(InvalidRequest { param: None, message: "The body must be a JSON object.".into() })
            }
            _ => Err(InvalidRequest::at(path, "must be an object")),
        }
    }

    /// Returns the path of a field.
    pub fn at(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Returns an error about a field.
    pub fn invalid(&self, name: &str, message: impl Into<String>) -> InvalidRequest {
        InvalidRequest::at(self.at(name), message)
    }

    /// Returns a field's value.
    pub fn value(&mut self, name: &'static str) -> Option<&'a Value> {
        self.known.push(name);
        self.object.get(name).filter(|value| !value.is_null())
    }

    /// Notes fields that are passed on as they are.
    pub fn allow(&mut self, names: &[&'static str]) {
        self.known.extend(names);
    }

    /// Returns a text.
    pub fn text(&mut self, name: &'static str) -> Read<Option<&'a str>> {
        let Some(value) = self.value(name) else { return Ok(None) };
        value.as_str().map(Some).ok_or_else(|| self.invalid(name, "must be a string"))
    }

    /// Returns a text that must not be missing.
    pub fn required_text(&mut self, name: &'static str) -> Read<&'a str> {
        self.text(name)?.ok_or_else(|| self.invalid(name, "is required"))
    }

    /// Returns a text that must be one of the names.
    pub fn name(&mut self, name: &'static str, names: &[&str]) -> Read<Option<&'a str>> {
        match self.text(name)? {
            Some(text) if !names.contains(&text) => {
                Err(self.invalid(name, format!("must be one of: {}", names.join(", "))))
            }
            text => Ok(text),
        }
    }

    /// Returns a flag.
    pub fn flag(&mut self, name: &'static str) -> Read<Option<bool>> {
        let Some(value) = self.value(name) else { return Ok(None) };
        value.as_bool().map(Some).ok_or_else(|| self.invalid(name, "must be true or false"))
    }

    /// Returns a whole number within a range.
    pub fn whole(&mut self, name: &'static str, range: RangeInclusive<u64>) -> Read<Option<u64>> {
        let Some(value) = self.value(name) else { return Ok(None) };
        let number = value.as_u64().filter(|number| range.contains(number));
        let message = || format!("must be a whole number from {} to {}", range.start(), range.end());
        number.map(Some).ok_or_else(|| self.invalid(name, message()))
    }

    /// Returns a number within a range, as it was sent.
    pub fn number(&mut self, name: &'static str, range: RangeInclusive<f64>) -> Read<Option<&'a Value>> {
        let Some(value) = self.value(name) else { return Ok(None) };
        if value.as_f64().is_some_and(|number| range.contains(&number)) {
            return Ok(Some(value));
        }
        Err(self.invalid(name, format!("must be a number from {} to {}", range.start(), range.end())))
    }

    /// Returns a list of at most `max` values; empty if there is none.
    pub fn list(&mut self, name: &'static str, max: usize) -> Read<&'a [Value]> {
        match self.value(name) {
            None => Ok(&[]),
            Some(Value::Array(items)) if items.len() <= max => Ok(items),
            Some(Value::Array(_)) => Err(self.invalid(name, format!("must have at most {max} items"))),
            Some(_) => Err(self.invalid(name, "must be a list")),
        }
    }

    /// Returns a text or a list of texts as a list.
    pub fn texts(&mut self, name: &'static str, max: usize) -> Read<Vec<&'a str>> {
        if let Some(Value::String(text)) = self.value(name) {
            return Ok(vec![text]);
        }
        let items = self.list(name, max)?;
        let texts = items.iter().map(|item| item.as_str().ok_or_else(|| self.invalid(name, "must hold strings")));
        texts.collect()
    }

    /// Refuses a field unless it is missing, null, false or empty.
    pub fn refuse(&mut self, name: &'static str, why: &str) -> Read<()> {
        let is_empty = match self.value(name) {
            None | Some(Value::Bool(false)) => true,
            Some(Value::Array(items)) => items.is_empty(),
            Some(Value::Object(fields)) => fields.is_empty(),
            Some(_) => false,
        };
        if is_empty { Ok(()) } else { Err(self.invalid(name, format!("`{name}` is not supported: {why}"))) }
    }

    /// Refuses all fields that were not read.
    pub fn finish(&self) -> Read<()> {
        match self.rest().next() {
            None => Ok(()),
            Some((name, _)) => {
                let shown: String = name.chars().take(64).collect();
                Err(self.invalid(&shown, format!("`{shown}` is not a supported field.")))
            }
        }
    }

    /// Returns the fields that were not read, which are passed on to a provider of the same format.
    pub fn rest(&self) -> impl Iterator<Item = (&'a String, &'a Value)> {
        self.object.iter().filter(|(name, value)| !value.is_null() && !self.known.contains(&name.as_str()))
    }
}
