//! `/admin/models`: models, prices, caps, and the global switches.

use super::model_import::{Differences, ImportForm};
use super::model_test::{TestButton, TestPanel};
use super::{AdminTabs, text_field, timeouts_text};
use crate::api;
use crate::components::chart::Share;
use crate::components::duration::moment;
use crate::components::field::FormError;
use crate::components::frame::Frame;
use crate::components::loaded::loaded;
use crate::page_context::page_context;
use crate::view::admin::{ModelRow, ModelsView, PriceRow};
use crate::view::provider::{FormResult, ends_soon, path_segment};
use domain::{ModelName, OutputLimit, Picos, Thinking, WireFormat};
use leptos::prelude::*;
use time::Date;

/// Renders the models page.
#[component]
pub fn Models() -> impl IntoView {
    view! {
        <Frame title="Models" wide=true>
            <header class="page-head split">
                <h1>"Models"</h1>
                <AdminTabs current="/admin/models"/>
            </header>
            {loaded(api::admin::models(), |view| view! { <Shown view/> })}
        </Frame>
    }
}

#[component]
fn Shown(view: ModelsView) -> impl IntoView {
    let names: Vec<(ModelName, String)> =
        view.models.iter().map(|row| (row.model.name.clone(), row.model.label.clone())).collect();
    let rows = view.models.iter().map(|model| row(model.clone(), view.today)).collect_view();
    let forms = view.models.iter().map(|model| forms(model.clone(), &names)).collect_view();
    let result = match page_context().result {
        Some(FormResult::Test(test)) => view! { <TestPanel test/> }.into_any(),
        Some(FormResult::Import(import)) => view! { <Differences import/> }.into_any(),
        None => ().into_any(),
    };
    view! {
        <FormError/>
        {result}
        {global(&view)}
        <section>
            <h2>"Models"</h2>
            <div class="table-scroll" tabindex="0" role="region" aria-label="Models">
                <table class="compact numbers">
                    <thead><tr>
                        <th scope="col">"Model"</th><th scope="col">"State"</th><th scope="col">"Plans"</th>
                        <th scope="col" class="end">"Input"</th><th scope="col" class="end">"Cached input"</th>
                        <th scope="col" class="end">"Cache write"</th><th scope="col" class="end">"Longer"</th><th scope="col" class="end">"Output"</th>
                        <th scope="col" class="end">"Last 24 hours"</th><th scope="col">"Share of cap"</th><th scope="col" class="end">"Good answers"</th><th scope="col">"Fallback"</th>
                        <th scope="col">"Reasoning"</th><th scope="col">"Output limit"</th><th scope="col">"Timeouts"</th>
                    </tr></thead>
                    <tbody>{rows}</tbody>
                </table>
            </div>
            <p class="hint">"Current prices in dollars per million tokens. Past usage keeps its price. \u{201c}Longer\u{201d} is the price of cache writes with the longer lifetime."</p>
        </section>
        <section class="model-forms">
            <h2>"Edit models"</h2>
            {forms}
        </section>
        <ImportForm/>
    }
}

/// Renders the global settings: the daily spend cap and the chat switch.
fn global(view: &ModelsView) -> impl IntoView + use<> {
    let amount = |cap: Option<Picos>| cap.map(Picos::exact).unwrap_or_default();
    let cap = amount(view.daily_spend);
    let effective_cap = [view.daily_spend, view.env_spend].into_iter().flatten().min();
    let spent = view.spent;
    let usage_text = effective_cap.map_or_else(
        || format!("{spent} in the last 24 hours; no cap set."),
        |cap| format!("{spent} of {cap} in the last 24 hours."),
    );
    let env = view.env_spend.map(
        |cap| view! { <p class="hint">{format!("The environment also sets {cap} a day. The smaller cap applies.")}</p> },
    );
    let switch = if view.is_paused {
        view! {
            <p class="form-error">"Chat is switched off. Messages are refused."</p>
            <form method="post" action="/admin/global">
                <button name="state" value="on">"Switch chat on"</button>
            </form>
        }
        .into_any()
    } else {
        view! {
            <details class="confirm">
                <summary class="secondary small">"Switch chat off"</summary>
                <form method="post" action="/admin/global">
                    <p>"Switch chat off for all users? New messages are refused on every server. Responses in progress finish, and conversations can still be read."</p>
                    <button class="danger small" name="state" value="off">"Confirm"</button>
                </form>
            </details>
        }
        .into_any()
    };
    view! {
        <div class="columns">
            <section class="panel">
                <h2>"Global limits"</h2>
                <p>{usage_text}</p>
                {effective_cap.map(|cap| view! { <Share part=spent.0.unsigned_abs() whole=cap.0.unsigned_abs()/> })}
                <form method="post" action="/admin/global" class="stack">
                    <div class="field">
                        <label for="global-cap">"Daily spend cap in dollars " <span class="optional">"empty means no cap"</span></label>
                        <input id="global-cap" name="daily_spend" inputmode="decimal" autocomplete="off" value=cap/>
                    </div>
                    <button class="secondary">"Save"</button>
                </form>
                {env}
            </section>
            <section class="panel">
                <h2>"Chat"</h2>
                {switch}
            </section>
        </div>
    }
}

fn row(row: ModelRow, today: Date) -> impl IntoView {
    let model = row.model;
    let state = match (row.is_on, row.is_connected, &row.price) {
        (false, ..) => "Off",
        (_, _, None) => "No price: unavailable",
        // The demo model needs no API key; it is inactive while a provider has one.
        (_, false, _) if model.provider.wire_format == WireFormat::Demo => "Inactive while a provider has a key",
        (_, false, _) => "No API key",
        _ => "On",
    };
    let end = model.ends_at.map(|day| {
        let class = if ends_soon(Some(day), today) { "tag warn" } else { "tag" };
        let text = if day <= today { format!("Ended on {day}") } else { format!("Ends on {day}") };
        view! { <br/><span class=class>{text}</span> }
    });
    let PriceRow { input, cache_read, cache_write, cache_write_long, output } = row.price.unwrap_or_default();
    let next = row.next_price.as_ref().map(|(input, output, at)| {
        view! { <br/><small>{format!("${input} input, ${output} output from {}", moment(*at))}</small> }
    });
    let reasoning = match model.thinking {
        Thinking::None => "No",
        Thinking::Optional => "May",
        Thinking::Always => "Always",
    };
    let efforts = (!model.efforts.is_empty()).then(|| view! { <br/><small>{model.efforts.join(", ")}</small> });
    let timeouts = timeouts_text(&[("first byte", model.first_byte_timeout_ms), ("silence", model.idle_timeout_ms)]);
    let hedge = model
        .hedge_after_ms
        .map(|ms| view! { <br/><small>{format!("also after {} s of silence", ms.div_ceil(1_000))}</small> });
    view! {
        <tr>
            <th scope="row">{model.label}<br/><code>{model.name.0}</code><br/><small>{model.provider.label}</small>{next}</th>
            <td>{state}{end}</td>
            <td>{row.plans.join(", ")}</td>
            <td class="end">{input}</td>
            <td class="end">{cache_read}</td>
            <td class="end">{cache_write}</td>
            <td class="end">{cache_write_long}</td>
            <td class="end">{output}</td>
            <td class="end">{row.spent.to_string()}</td>
            <td>{row.daily_spend.map(|cap| view! { <Share part=row.spent.0.unsigned_abs() whole=cap.0.unsigned_abs()/> })}</td>
            <td class="end">{rating(row.good, row.rated)}</td>
            <td>{model.fallback.map(|name| name.0)}{hedge}</td>
            <td>{reasoning}{efforts}</td>
            <td>{model.output_limit.map_or("auto", OutputLimit::as_str)}</td>
            <td>{timeouts}</td>
        </tr>
    }
}

/// Formats the share of responses that were rated as good, and the number of ratings; empty without ratings.
fn rating(good: u64, rated: u64) -> String {
    match (good * 100 + rated / 2).checked_div(rated) {
        Some(percent) => format!("{percent} % of {rated}"),
        None => String::new(),
    }
}

/// Renders the forms of a model: a test call, on/off switch, spend cap, fallback and hedging, how it is called, and a price that applies
/// from a date.
fn forms(row: ModelRow, names: &[(ModelName, String)]) -> impl IntoView + use<> {
    let path = format!("/admin/models/{}", path_segment(&row.model.name.0));
    let label = row.model.label.clone();
    let switch = if row.is_on {
        view! {
            <p>"On. When switched off, new messages to it are refused; responses in progress finish."</p>
            <button class="secondary" name="state" value="off">{format!("Switch {label} off")}</button>
        }
        .into_any()
    } else {
        view! { <p>"Off: it can't be used."</p> <button name="state" value="on">{format!("Switch {label} on")}</button> }.into_any()
    };
    let size = format!("Context {} tokens, at most {} of output.", row.model.context, row.model.max_output);
    view! {
        <details class="model-form">
            <summary>{label.clone()}</summary>
            <p class="hint">{size}</p>
            <TestButton model=row.model.name.clone() label=label.clone() on="models"/>
            <div class="columns">
                <div class="stack">
                    <form method="post" action=path.clone() class="stack" aria-label=format!("Switch of {label}")>
                        {switch}
                    </form>
                    {rules_form(&row, names, &path)}
                    {calls_form(&row, &path)}
                </div>
                {price_form(&row, &path)}
            </div>
        </details>
    }
}

/// Returns an element id that is unique to a model.
fn element_id(what: &str, model: &ModelName) -> String {
    format!("{what}-{}", model.0.replace(['.', '/', ':'], "-"))
}

/// Renders the form of a model's spend cap, fallback and hedging.
fn rules_form(row: &ModelRow, names: &[(ModelName, String)], path: &str) -> impl IntoView + use<> {
    let model = &row.model;
    let id = |what: &str| element_id(what, &model.name);
    let (other_id, hedge_id) = (id("other"), id("hedge"));
    let others = names.iter().filter(|(name, _)| *name != model.name).map(|(name, label)| {
        let picked = model.fallback.as_ref() == Some(name);
        view! { <option value=name.0.clone() selected=picked>{label.clone()}</option> }
    });
    let others = others.collect_view();
    let cap = row.daily_spend.map(Picos::exact).unwrap_or_default();
    let hedge_after_s = model.hedge_after_ms.map(|ms| ms.div_ceil(1_000));
    view! {
        <form method="post" action=path.to_owned() class="stack" aria-label=format!("Rules of {}", model.label)>
            {text_field(id("cap"), "daily_spend", "Daily spend cap in dollars", "empty means no cap", "decimal", cap)}
            <div class="field">
                <label for=other_id.clone()>"Fallback if unavailable"</label>
                <select id=other_id name="fallback"><option value="">"None"</option>{others}</select>
            </div>
            <div class="field">
                <label for=hedge_id.clone()>"Hedge: also call the fallback after this many seconds of silence " <span class="optional">"empty means never"</span></label>
                <input id=hedge_id name="hedge_after" inputmode="numeric" autocomplete="off" value=hedge_after_s/>
                <small>"The first response is used. The input of the other call is charged too and counts toward the user's tokens."</small>
            </div>
            <button class="secondary">"Save"</button>
        </form>
    }
}

/// Renders the form of how a model is called: the name of its output limit, its timeouts, and the day on which it ends.
fn calls_form(row: &ModelRow, path: &str) -> impl IntoView + use<> {
    let model = &row.model;
    let id = |what: &str| element_id(what, &model.name);
    let (limit_id, end_id) = (id("limit"), id("end"));
    let limits = [OutputLimit::MaxTokens, OutputLimit::MaxCompletionTokens].map(|limit| {
        let picked = model.output_limit == Some(limit);
        view! { <option value=limit.as_str() selected=picked>{limit.as_str()}</option> }
    });
    let ms = |ms: Option<u32>| ms.map(|ms| ms.to_string()).unwrap_or_default();
    view! {
        <form method="post" action=path.to_owned() class="stack" aria-label=format!("Calls of {}", model.label)>
            <div class="field">
                <label for=limit_id.clone()>"Request field for the output limit"</label>
                <select id=limit_id name="output_limit"><option value="">"auto: learned from the first refusal"</option>{limits.into_iter().collect_view()}</select>
            </div>
            {text_field(id("first-byte"), "first_byte_timeout_ms", "Timeout to the first byte in milliseconds", "empty: the provider's", "numeric", ms(model.first_byte_timeout_ms))}
            {text_field(id("idle"), "idle_timeout_ms", "Longest silence in milliseconds", "empty: the provider's", "numeric", ms(model.idle_timeout_ms))}
            <div class="field">
                <label for=end_id.clone()>"Ends on " <span class="optional">"empty: no end is announced"</span></label>
                <input id=end_id name="ends_at" r#type="date" value=model.ends_at.map(|day| day.to_string())/>
            </div>
            <button class="secondary">"Save"</button>
        </form>
    }
}

/// Renders the form of a price that applies from a date.
fn price_form(row: &ModelRow, path: &str) -> impl IntoView + use<> {
    let model = &row.model;
    let id = |what: &str| element_id(what, &model.name);
    let from_id = id("from");
    let PriceRow { input, cache_read, cache_write, cache_write_long, output } = row.price.clone().unwrap_or_default();
    let or_empty = Option::unwrap_or_default;
    view! {
        <form method="post" action=format!("{path}/price") class="stack" aria-label=format!("A new price of {}", model.label)>
            {text_field(id("in"), "input", "Input, dollars per million tokens", "", "decimal", input)}
            {text_field(id("cached"), "cache_read", "Cache read", "empty: same as input", "decimal", or_empty(cache_read))}
            {text_field(id("write"), "cache_write", "Cache write", "empty: same as input", "decimal", or_empty(cache_write))}
            {text_field(id("long"), "cache_write_long", "Cache write, longer lifetime", "empty: same as cache write", "decimal", or_empty(cache_write_long))}
            {text_field(id("out"), "output", "Output, dollars per million tokens", "", "decimal", output)}
            {text_field(id("above"), "above", "For prompts above this many tokens", "empty: all prompts", "numeric", String::new())}
            <div class="field">
                <label for=from_id.clone()>"Effective from, UTC " <span class="optional">"empty: now"</span></label>
                <input id=from_id name="effective_at" r#type="datetime-local"/>
            </div>
            <button class="secondary">"Add price"</button>
        </form>
    }
}
