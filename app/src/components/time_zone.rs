//! The field for a time zone: a text input that suggests the names of the time zone database.

use crate::page_context::page_context;
use leptos::prelude::*;

/// Names of zones, one per line: `zone.tab` of the time zone database (public domain, <https://www.iana.org/time-zones>), and UTC.
const ZONES: &str = include_str!("time_zones.txt");

/// A labeled input whose suggestions can be searched by typing, without script. After a rejected form, it shows the submitted value and
/// the validation error.
#[component]
pub fn TimeZoneField(
    /// The current time zone.
    value: String,
) -> impl IntoView {
    let form = page_context().form;
    let error = form.error("zone");
    let is_error = error.is_some();
    let value = form.submitted("zone").unwrap_or(value);
    let note = match error {
        Some(sentence) => view! { <p class="error" id="zone-note">{sentence}</p> }.into_any(),
        None => {
            view! { <p class="hint" id="zone-note">"Your days and hours on the usage page. To search, clear the field and type a city or region."</p> }
                .into_any()
        }
    };
    let options = ZONES.lines().map(|zone| view! { <option value=zone label=label(zone)></option> }).collect_view();
    view! {
        <div class="field">
            <label for="zone">"Time zone"</label>
            <input id="zone" name="zone" type="text" list="zones" value=value required maxlength="64" autocomplete="off"
                spellcheck="false" autocapitalize="off" aria-invalid=is_error.then_some("true") aria-describedby="zone-note"/>
            {note}
            <datalist id="zones">{options}</datalist>
        </div>
    }
}

/// Returns how users write a zone whose name has underscores, so that "New York" finds `America/New_York`.
fn label(zone: &str) -> Option<String> {
    zone.contains('_').then(|| zone.replace('_', " "))
}

#[cfg(test)]
mod tests {
    use super::{ZONES, label};

    #[test]
    fn zones_are_sorted_unique_names() {
        let zones: Vec<&str> = ZONES.lines().collect();
        assert!(zones.len() > 400 && zones.is_sorted() && zones.windows(2).all(|pair| pair[0] != pair[1]));
        for zone in ["Europe/Berlin", "Asia/Kathmandu", "America/New_York", "UTC"] {
            assert!(zones.contains(&zone), "{zone}");
        }
        assert_eq!(label("America/New_York").as_deref(), Some("America/New York"));
        assert_eq!(label("Europe/Berlin"), None);
    }
}
