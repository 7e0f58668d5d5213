//! The browser's clock and time zone, and an estimate of the server's clock.

use super::json::Json;
use js_sys::{Date, Object, Reflect};
use std::cell::Cell;
use time::OffsetDateTime;
use wasm_bindgen::JsValue;

thread_local! {
    /// Offset of the server's clock from the browser's, in milliseconds.
    static OFFSET_MS: Cell<f64> = const { Cell::new(0.0) };
}

/// Difference in milliseconds above which the time of a response replaces the known offset. Its header has whole seconds, and responses
/// take a while to arrive.
const MAX_DRIFT_MS: f64 = 20_000.0;

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the clock is between 1970 and 2200")]
fn whole(ms: f64) -> u64 {
    ms as u64
}

#[allow(clippy::cast_precision_loss, reason = "milliseconds since 1970 are exact in a double")]
fn exact(ms: u64) -> f64 {
    ms as f64
}

/// Returns the current time in milliseconds since the Unix epoch, by the browser's clock.
#[must_use]
pub fn now_ms() -> u64 {
    whole(Date::now())
}

/// Returns the current time by the server's clock, for generating ids.
#[must_use]
pub fn server_now() -> OffsetDateTime {
    let nanos = i128::from(whole(Date::now() + OFFSET_MS.get())) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// Returns the milliseconds since the page's response began to arrive; 0 if the browser doesn't report it.
fn page_age_ms() -> f64 {
    let Some(performance) = web_sys::window().and_then(|window| window.performance()) else { return 0.0 };
    let navigation = performance.get_entries_by_type("navigation").iter().next().unwrap_or(JsValue::UNDEFINED);
    let began = Reflect::get(&navigation, &JsValue::from_str("responseStart")).ok().and_then(|began| began.as_f64());
    began.map_or(0.0, |began| performance.now() - began)
}

/// Sets the server's clock from the time at which the page was rendered.
pub fn learn_from_page(rendered_ms: u64) {
    OFFSET_MS.set(exact(rendered_ms) + page_age_ms() - Date::now());
}

/// Corrects the server's clock by a response's `Date` header, in case the browser's clock was changed.
pub(super) fn learn_from_response(date: &str) {
    let difference = Date::parse(date) - Date::now();
    if difference.is_finite() && (difference - OFFSET_MS.get()).abs() > MAX_DRIFT_MS {
        OFFSET_MS.set(difference);
    }
}

/// Returns the browser's time zone as a name from the IANA time zone database, or an empty string if unknown.
#[must_use]
pub fn zone() -> String {
    let format = js_sys::Intl::DateTimeFormat::new(&js_sys::Array::new(), &Object::new());
    Json::from_js(format.resolved_options().into()).text("timeZone").unwrap_or_default()
}

fn date_in(ms: u64) -> Date {
    Date::new(&JsValue::from_f64(exact(now_ms().saturating_add(ms))))
}

fn options(fields: &[(&str, &str)]) -> JsValue {
    let options = Object::new();
    for (field, value) in fields {
        // Setting a field of a fresh object can't fail.
        let _ = Reflect::set(&options, &JsValue::from_str(field), &JsValue::from_str(value));
    }
    options.into()
}

/// Formats the time of day `ms` milliseconds from now in the user's locale: "14:20".
#[must_use]
pub fn time_in(ms: u64) -> String {
    let format = options(&[("hour", "2-digit"), ("minute", "2-digit")]);
    date_in(ms).to_locale_time_string_with_options("default", &format).into()
}

/// Formats the moment `ms` milliseconds from now for the end of a sentence: "at 14:20", "tomorrow at 14:20", "on 3 March at 14:20".
#[must_use]
pub fn moment_in(ms: u64) -> String {
    const DAY_MS: u64 = 24 * 60 * 60 * 1000;
    let day = |ms: u64| String::from(date_in(ms).to_date_string());
    let (at, target) = (time_in(ms), day(ms));
    if target == day(0) {
        return format!("at {at}");
    }
    if target == day(DAY_MS) {
        return format!("tomorrow at {at}");
    }
    let format = options(&[("day", "numeric"), ("month", "long")]);
    let date = String::from(date_in(ms).to_locale_date_string("default", &format));
    format!("on {date} at {at}")
}
