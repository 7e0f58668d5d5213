//! The browser's clock and time zone.

use js_sys::{Date, Object, Reflect};
use time::OffsetDateTime;
use wasm_bindgen::JsValue;

/// Returns the current time in milliseconds since the Unix epoch.
#[must_use]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the clock is between 1970 and 2200")]
pub fn now_ms() -> u64 {
    Date::now() as u64
}

/// Returns the current time, for generating ids.
#[must_use]
pub fn now() -> OffsetDateTime {
    let nanos = i128::from(now_ms()) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// Returns the browser's time zone as a name from the IANA time zone database, or an empty string if unknown.
#[must_use]
pub fn zone() -> String {
    let format = js_sys::Intl::DateTimeFormat::new(&js_sys::Array::new(), &Object::new());
    Reflect::get(&format.resolved_options(), &"timeZone".into())
        .ok()
        .and_then(|zone| zone.as_string())
        .unwrap_or_default()
}

/// Formats the time of day `ms` milliseconds from now in the user's locale: "14:20".
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "milliseconds since 1970 are exact in a double")]
pub fn time_in(ms: u64) -> String {
    let date = Date::new(&JsValue::from_f64((now_ms() + ms) as f64));
    let options = Object::new();
    for field in ["hour", "minute"] {
        // Setting a field of a fresh object can't fail.
        let _ = Reflect::set(&options, &field.into(), &"2-digit".into());
    }
    date.to_locale_time_string("default").into()
}
