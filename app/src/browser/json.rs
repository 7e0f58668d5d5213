//! Small typed readers of JSON, on top of the browser's own parser.

use js_sys::{Array, JSON, Object, Reflect};
use wasm_bindgen::{JsCast as _, JsValue};

/// A JSON value. A missing field is an empty value: it has no text, number or items.
#[derive(Clone, Debug)]
pub struct Json(JsValue);

impl Json {
    /// Parses a text. Returns `None` if it isn't valid JSON.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        JSON::parse(text).ok().map(Self)
    }

    /// Wraps a JavaScript value that consists of plain objects, such as a message of a channel.
    pub(super) fn from_js(value: JsValue) -> Self {
        Self(value)
    }

    /// Returns a field of an object.
    #[must_use]
    pub fn field(&self, key: &str) -> Self {
        Self(Reflect::get(&self.0, &JsValue::from_str(key)).unwrap_or(JsValue::UNDEFINED))
    }

    /// Returns whether it is neither missing nor null.
    #[must_use]
    pub fn is_present(&self) -> bool {
        !self.0.is_undefined() && !self.0.is_null()
    }

    /// Returns a field's text.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<String> {
        self.field(key).0.as_string()
    }

    /// Returns a field's whole number; `None` if it is missing, null or negative.
    #[must_use]
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked; whole numbers of the server are below 2^53"
    )]
    pub fn number(&self, key: &str) -> Option<u64> {
        self.field(key).0.as_f64().filter(|number| *number >= 0.0).map(|number| number as u64)
    }

    /// Returns a field's boolean; `false` if it is missing.
    #[must_use]
    pub fn flag(&self, key: &str) -> bool {
        self.field(key).0.as_bool().unwrap_or(false)
    }

    /// Returns the bytes of a field that is a typed array.
    pub(super) fn bytes(&self, key: &str) -> Vec<u8> {
        js_sys::Uint8Array::new(&self.field(key).0).to_vec()
    }

    /// Returns a field's items; none if it isn't an array.
    #[must_use]
    pub fn items(&self, key: &str) -> Vec<Self> {
        self.field(key).0.dyn_into::<Array>().map(|items| items.iter().map(Self).collect()).unwrap_or_default()
    }
}

/// A JSON object to send.
#[derive(Debug)]
pub struct JsonObject(Object);

impl JsonObject {
    /// Creates an object without fields.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "it is a JavaScript object, which exists in the browser only")]
    pub fn new() -> Self {
        Self(Object::new())
    }

    /// Adds a text field; `None` leaves it out.
    #[must_use]
    pub fn with(self, key: &str, value: Option<&str>) -> Self {
        if let Some(value) = value {
            // Setting a field of a fresh object can't fail.
            let _ = Reflect::set(&self.0, &JsValue::from_str(key), &JsValue::from_str(value));
        }
        self
    }

    /// Adds a field that is a list of texts; an empty list is left out.
    #[must_use]
    pub fn with_list(self, key: &str, values: &[String]) -> Self {
        if !values.is_empty() {
            let list: Array = values.iter().map(|value| JsValue::from_str(value)).collect();
            let _ = Reflect::set(&self.0, &JsValue::from_str(key), &list);
        }
        self
    }

    /// Returns the object as a JavaScript value.
    pub(super) fn into_js(self) -> JsValue {
        self.0.into()
    }

    /// Writes it as JSON.
    #[must_use]
    pub fn to_text(&self) -> String {
        JSON::stringify(&self.0).map(String::from).unwrap_or_default()
    }
}
