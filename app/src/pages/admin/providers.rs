//! `/admin/providers`: the APIs that models are called through.

use super::model_test::{TestButton, TestPanel};
use super::{AdminTabs, Saved, timeouts_text};
use crate::api;
use crate::components::duration::wait;
use crate::components::field::FormError;
use crate::components::frame::Frame;
use crate::components::icon::{Draw, Icon};
use crate::components::loaded::loaded;
use crate::page_context::{FailedForm, page_context};
use crate::view::provider::{FormResult, ProviderRow, path_segment};
use domain::{Provider, WireFormat};
use leptos::prelude::*;

/// Renders the providers page.
#[component]
pub fn Providers() -> impl IntoView {
    view! {
        <Frame title="Providers" wide=true>
            <header class="page-head split">
                <h1>"Providers"</h1>
                <AdminTabs current="/admin/providers"/>
            </header>
            {loaded(api::admin::providers(), |providers| view! { <Shown providers/> })}
        </Frame>
    }
}

#[component]
fn Shown(providers: Vec<ProviderRow>) -> impl IntoView {
    let result = match page_context().result {
        Some(FormResult::Test(test)) => Some(view! { <TestPanel test/> }),
        _ => None,
    };
    let edited = edited().map(|name| {
        let found = providers.iter().find(|row| row.provider.name.0 == name && is_changeable(row));
        match found {
            Some(row) => details(row.clone()).into_any(),
            None => view! { <section class="panel"><h2>"Add a provider"</h2>{form(None, None)}</section> }.into_any(),
        }
    });
    let rows = providers.into_iter().map(row).collect_view();
    view! {
        <FormError/>
        <Saved sentence="Saved. Changes apply to the next call."/>
        {result}
        {edited}
        <div class="table-scroll" tabindex="0" role="region" aria-label="Providers">
            <table class="compact stacks">
                <thead><tr>
                    <th scope="col">"Provider"</th><th scope="col">"Base URL"</th><th scope="col">"API key"</th>
                    <th scope="col">"State"</th><th scope="col">"Models"</th><th scope="col">"Timeouts"</th><th scope="col" class="end">"Calls at once"</th>
                    <th scope="col"><span class="unseen">"Edit"</span></th>
                </tr></thead>
                <tbody>{rows}</tbody>
            </table>
        </div>
        <p class="hint">"Keys are read from the environment when the server starts. This page names only the variables."</p>
        <p class="actions"><a class="button secondary" href="/admin/providers?edit=">"Add a provider"</a></p>
    }
}

/// Returns the name of the provider whose form is shown, empty for a new one: that of a rejected form, or of the query.
fn edited() -> Option<String> {
    let context = page_context();
    let is_rejected = context.form.errors.iter().any(|(field, _)| !field.is_empty());
    if is_rejected { Some(context.form.value("current")) } else { context.query("edit") }
}

/// Returns whether there is anything to configure: not for the built-in demo.
fn is_changeable(row: &ProviderRow) -> bool {
    row.provider.wire_format != WireFormat::Demo
}

fn row(row: ProviderRow) -> impl IntoView {
    let edit = is_changeable(&row).then(|| {
        let (name, label) = (path_segment(&row.provider.name.0), format!("Edit {}", row.provider.label));
        view! { <a class="button secondary small" href=format!("/admin/providers?edit={name}") aria-label=label>"Edit"</a> }
    });
    let ProviderRow { provider, has_key, env_base_url, models, open_ms } = row;
    let key = match (provider.key_variable, has_key) {
        (Some(name), Some(true)) => view! { <code>{name}</code>" is set" }.into_any(),
        (Some(name), _) => view! { <code>{name}</code>" "<span class="tag warn">"not set"</span> }.into_any(),
        (None, _) => "none".into_any(),
    };
    let base_url = match env_base_url {
        Some((variable, url)) => {
            view! { {url}<br/><small>"Set by "<code>{variable}</code>" in the environment"</small> }.into_any()
        }
        None => provider.base_url.unwrap_or_else(|| "default".to_owned()).into_any(),
    };
    let state = match open_ms {
        None => "Available".to_owned(),
        Some(0) => "Circuit open: retried with the next request".to_owned(),
        Some(ms) => format!("Circuit open: retried in {}", wait(ms)),
    };
    let models: Vec<String> =
        models.into_iter().map(|(_, label, is_on)| if is_on { label } else { format!("{label} (off)") }).collect();
    let timeouts = timeouts_text(&[
        ("connect", provider.connect_timeout_ms),
        ("first byte", provider.first_byte_timeout_ms),
        ("silence", provider.idle_timeout_ms),
    ]);
    let wire_format = format!("{} format", provider.wire_format.as_str());
    view! {
        <tr>
            <th scope="row"><span>{provider.label}<br/><code>{provider.name.0}</code><br/><small>{wire_format}</small></span></th>
            <td class="text" data-label="Base URL"><span>{base_url}</span></td>
            <td data-label="API key"><span>{key}</span></td>
            <td class="text short" data-label="State">{state}</td>
            <td class="text" data-label="Models"><span>{models.join(", ")}</span></td>
            <td class="text short" data-label="Timeouts">{timeouts}</td>
            <td class="end" data-label="Calls at once">{provider.max_in_flight.map_or_else(|| "unlimited".to_owned(), |max| max.to_string())}</td>
            <td class="end">{edit}</td>
        </tr>
    }
}

/// Returns whether the form of this provider was rejected; the form of a new one has no name.
fn is_failed(name: &str) -> bool {
    let failed = page_context().form;
    failed.errors.iter().any(|(field, _)| !field.is_empty()) && failed.value("current") == name
}

/// Renders a provider's form, its tests, and its removal.
fn details(row: ProviderRow) -> impl IntoView {
    let ProviderRow { provider, models, env_base_url, .. } = row;
    let overriding = env_base_url.map(|(variable, _)| variable);
    let (name, label) = (provider.name.0.clone(), provider.label.clone());
    let tests = models.iter().map(|(model, label, _)| {
        view! { <div class="test-row"><span>{label.clone()}</span><TestButton model=model.clone() label=label.clone() on="providers"/></div> }
    });
    let tests = tests.collect_view();
    view! {
        <div class="columns">
            <section class="panel">
                <h2>{format!("Edit {label}")}</h2>
                {form(Some(&provider), overriding)}
            </section>
            <div class="stack">
                <section class="panel">
                    <h2>"Test calls"</h2>
                    {tests}
                    <p class="hint">"Each sends one short request. Its cost isn't in the ledger."</p>
                </section>
                <section class="danger-zone">
                    <h2><Draw icon=Icon::Danger size=20/>{format!("Remove {label}")}</h2>
                    <p>"Refused while models use it."</p>
                    <form method="post" action=format!("/admin/providers/{name}/remove")>
                        <button class="danger small">{format!("Remove {label}")}</button>
                    </form>
                </section>
            </div>
        </div>
    }
}

/// Renders the form of a provider, or of a new one. After a rejection it shows what was typed. `overriding` is the environment variable
/// whose base URL is used in place of the stored one.
fn form(provider: Option<&Provider>, overriding: Option<String>) -> impl IntoView + use<> {
    let name = provider.map(|provider| provider.name.0.clone()).unwrap_or_default();
    let failed = if is_failed(&name) { Some(page_context().form) } else { None };
    let stored = |field: &str| provider.map(|provider| stored_value(provider, field)).unwrap_or_default();
    let value = |field: &str| failed.as_ref().map_or_else(|| stored(field), |failed| failed.value(field));
    let text = |field: &'static str, label: &'static str, note: &'static str| {
        input(&name, field, label, note, value(field), failed.as_ref())
    };
    let format_id = format!("format-{name}");
    let formats = [(WireFormat::OpenAi, "OpenAI chat completions"), (WireFormat::Anthropic, "Anthropic Messages")];
    let formats = formats.map(|(format, label)| {
        let picked = value("format") == format.as_str();
        view! { <option value=format.as_str() selected=picked>{label}</option> }
    });
    let identity = if provider.is_none() {
        text("name", "Name", "lower-case letters, digits, dots, dashes and underscores, like openrouter")
    } else {
        ().into_any()
    };
    let overriding = overriding.map(|variable| {
        view! { <p class="hint"><code>{variable}</code>" is set in the environment and used in place of this base URL."</p> }
    });
    let button = if provider.is_some() { "Save" } else { "Add provider" };
    let heading = if name.is_empty() { "New provider".to_owned() } else { format!("Provider {name}") };
    view! {
        <form method="post" action="/admin/providers" class="stack" aria-label=heading>
            <input type="hidden" name="current" value=name.clone()/>
            {identity}
            {text("label", "Display name", "")}
            <div class="field">
                <label for=format_id.clone()>"Wire format"</label>
                <select id=format_id name="format">{formats.into_iter().collect_view()}</select>
            </div>
            {text("base_url", "Base URL", "empty: the format's own; for example https://openrouter.ai/api/v1")}
            {overriding}
            {text("key_variable", "Variable of the API key", "ends in _API_KEY; empty: no key is sent")}
            {text("connect_timeout_ms", "Timeout to connect in milliseconds", "empty: PROVIDER_CONNECT_TIMEOUT_MS")}
            {text("first_byte_timeout_ms", "Timeout to the first byte in milliseconds", "empty: PROVIDER_FIRST_BYTE_TIMEOUT_MS")}
            {text("idle_timeout_ms", "Longest silence in milliseconds", "empty: PROVIDER_IDLE_TIMEOUT_MS")}
            {text("max_in_flight", "Calls at once per server", "empty: unlimited")}
            <div class="row-actions"><button>{button}</button><a class="button quiet" href="/admin/providers">"Cancel"</a></div>
        </form>
    }
}

/// Renders a text field of a provider's form with its note or its error.
fn input(
    provider: &str,
    field: &'static str,
    label: &'static str,
    note: &'static str,
    value: String,
    failed: Option<&FailedForm>,
) -> AnyView {
    let id = format!("{field}-{provider}");
    let note_id = format!("{id}-note");
    let error = failed.and_then(|failed| failed.error(field));
    let is_invalid = error.is_some();
    let has_note = is_invalid || !note.is_empty();
    let note = match error {
        Some(sentence) => view! { <p class="error" id=note_id.clone()>{sentence}</p> }.into_any(),
        None if has_note => view! { <p class="hint" id=note_id.clone()>{note}</p> }.into_any(),
        None => ().into_any(),
    };
    view! {
        <div class="field">
            <label for=id.clone()>{label}</label>
            <input id=id name=field autocomplete="off" spellcheck="false" value=value aria-invalid=is_invalid.then_some("true")
                aria-describedby=has_note.then_some(note_id)/>
            {note}
        </div>
    }
    .into_any()
}

/// Returns the stored value of a form field.
fn stored_value(provider: &Provider, field: &str) -> String {
    let number = |n: Option<u32>| n.map(|n| n.to_string()).unwrap_or_default();
    match field {
        "name" => provider.name.0.clone(),
        "label" => provider.label.clone(),
        "format" => provider.wire_format.as_str().to_owned(),
        "base_url" => provider.base_url.clone().unwrap_or_default(),
        "key_variable" => provider.key_variable.clone().unwrap_or_default(),
        "connect_timeout_ms" => number(provider.connect_timeout_ms),
        "first_byte_timeout_ms" => number(provider.first_byte_timeout_ms),
        "idle_timeout_ms" => number(provider.idle_timeout_ms),
        "max_in_flight" => number(provider.max_in_flight),
        _ => String::new(),
    }
}
