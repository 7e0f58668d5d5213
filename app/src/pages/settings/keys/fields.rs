//! The fields of an API key, for a new one and for changing one.

use crate::components::field::Field;
use crate::page_context::page_context;
use domain::{ApiEndpoint, ApiKey, ModelName, Tokens};
use leptos::prelude::*;

/// The fields. After a rejected form they show what was submitted, else the key's values.
#[component]
pub fn KeyFields(
    /// The models that can be chosen.
    models: Vec<ModelName>,
    /// The key that is changed; `None` for a new one, whose expiry can be chosen.
    #[prop(optional_no_strip)]
    key: Option<ApiKey>,
) -> impl IntoView {
    let number = |value: Option<u64>| value.map(|n| n.to_string()).unwrap_or_default();
    let of = |value: fn(&ApiKey) -> Option<u64>| number(key.as_ref().and_then(value));
    let requests = of(|key| key.requests_per_minute);
    let tokens = of(|key| key.tokens_per_day.map(|Tokens(tokens)| tokens));
    let monthly = key.as_ref().and_then(|key| key.monthly).map(domain::Picos::exact).unwrap_or_default();
    let form = page_context().form;
    let has_error = ["requests_per_minute", "tokens_per_day", "dollars_per_month", "allowed_origins"]
        .into_iter()
        .any(|field| form.error(field).is_some());
    let is_open = key.is_some() || has_error;
    let name = key.as_ref().map(|key| key.name.clone()).unwrap_or_default();
    view! {
        <Field name="name" label="Name" kind="text" autocomplete="off" value=name hint="Where you use it, such as the name of an editor or a server."/>
        {key.is_none().then(|| view! { <Expiry/> })}
        <details class="key-scope" open=is_open>
            <summary>"Limits and access (optional)"</summary>
            <div class="stack">
                <Field name="requests_per_minute" label="Requests per minute" kind="text" autocomplete="off" value=requests optional=true
                    hint="Empty uses your plan's limit."/>
                <Field name="tokens_per_day" label="Tokens per day" kind="text" autocomplete="off" value=tokens optional=true
                    hint="In any 24 hours. Empty uses your plan's limit."/>
                <Field name="dollars_per_month" label="Dollars per month" kind="text" autocomplete="off" value=monthly optional=true
                    hint="At model prices, in any 30 days. Empty sets no cap."/>
                <Models models chosen=key.as_ref().and_then(|key| key.models.clone())/>
                <Endpoints chosen=key.as_ref().and_then(|key| key.endpoints.clone())/>
                <Origins origins=key.map(|key| key.allowed_origins).unwrap_or_default()/>
            </div>
        </details>
    }
}

/// Returns whether a checkbox is checked: as it was submitted, or else as it is stored.
fn is_checked(field: &str, value: &str, is_stored: bool) -> bool {
    let form = page_context().form;
    match form.values.is_empty() {
        true => is_stored,
        false => form.values.iter().any(|(name, submitted)| *name == field && submitted == value),
    }
}

#[component]
fn Models(models: Vec<ModelName>, chosen: Option<Vec<ModelName>>) -> impl IntoView {
    let boxes = models.into_iter().map(|model| {
        let checked = is_checked("model", &model.0, chosen.as_ref().is_some_and(|chosen| chosen.contains(&model)));
        view! { <label class="check"><input type="checkbox" name="model" value=model.0.clone() checked=checked/>{model.0.clone()}</label> }
    });
    view! {
        <fieldset>
            <legend>"Models"</legend>
            <p class="hint">"Select none to allow all models of your plan."</p>
            {boxes.collect_view()}
        </fieldset>
    }
}

#[component]
fn Endpoints(chosen: Option<Vec<ApiEndpoint>>) -> impl IntoView {
    let boxes = ApiEndpoint::ALL.map(|endpoint| {
        let name = endpoint.as_str();
        let checked = is_checked("endpoint", name, chosen.as_ref().is_some_and(|chosen| chosen.contains(&endpoint)));
        view! { <label class="check"><input type="checkbox" name="endpoint" value=name checked=checked/><code>{endpoint.path()}</code></label> }
    });
    view! {
        <fieldset>
            <legend>"Endpoints"</legend>
            <p class="hint">"Select none to allow all."</p>
            {boxes.collect_view()}
        </fieldset>
    }
}

#[component]
fn Origins(origins: Vec<String>) -> impl IntoView {
    let form = page_context().form;
    let text = form.submitted("allowed_origins").unwrap_or_else(|| origins.join("\n"));
    let error = form.error("allowed_origins");
    let is_invalid = error.is_some().then_some("true");
    let note = match error {
        Some(sentence) => view! { <p class="error" id="allowed_origins-note">{sentence}</p> }.into_any(),
        None => view! {
            <p class="hint" id="allowed_origins-note">"Web pages that may call with this key, one per line, like https://app.example.com. Everyone who opens such a page can read the key. Empty allows none; programs and servers need no entry."</p>
        }
        .into_any(),
    };
    view! {
        <div class="field">
            <label for="allowed_origins">"Web pages"<span class="optional">" (optional)"</span></label>
            <textarea id="allowed_origins" name="allowed_origins" rows="2" spellcheck="false" autocapitalize="off" aria-invalid=is_invalid
                aria-describedby="allowed_origins-note">{text}</textarea>
            {note}
        </div>
    }
}

#[component]
fn Expiry() -> impl IntoView {
    let submitted = page_context().form.submitted("expires").unwrap_or_default();
    let options = [("", "Never"), ("30", "In 30 days"), ("90", "In 90 days"), ("365", "In a year")]
        .map(|(value, label)| view! { <option value=value selected=value == submitted>{label}</option> });
    view! {
        <div class="field">
            <label for="expires">"Expires"</label>
            <select id="expires" name="expires">{options.collect_view()}</select>
        </div>
    }
}
