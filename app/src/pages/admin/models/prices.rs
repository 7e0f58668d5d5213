//! The table of current prices, with the form of a new price.

use super::head::{element_id, model_head};
use crate::components::duration::moment;
use crate::page_context::page_context;
use crate::pages::admin::text_field;
use crate::view::admin::{ModelRow, PriceRow};
use crate::view::provider::path_segment;
use leptos::prelude::*;

/// Renders the table.
#[component]
pub(super) fn PriceTable(
    /// All models.
    models: Vec<ModelRow>,
) -> impl IntoView {
    let rows = models.iter().map(row).collect_view();
    view! {
        <section>
            <h2>"Prices"</h2>
            <div class="table-scroll" tabindex="0" role="region" aria-label="Prices">
                <table class="compact numbers fields">
                    <thead><tr>
                        <th scope="col">"Model"</th><th scope="col" class="end">"Input"</th><th scope="col" class="end">"Cached input"</th>
                        <th scope="col" class="end">"Cache write"</th><th scope="col" class="end">"Longer"</th><th scope="col" class="end">"Output"</th>
                        <th scope="col">"Next price"</th><th scope="col"><span class="unseen">"New price"</span></th>
                    </tr></thead>
                    <tbody>{rows}</tbody>
                </table>
            </div>
            <p class="hint">"Dollars per million tokens. Past usage keeps its price. \u{201c}Longer\u{201d} is the price of cache writes with the longer lifetime."</p>
        </section>
    }
}

fn row(row: &ModelRow) -> impl IntoView + use<> {
    let PriceRow { input, cache_read, cache_write, cache_write_long, output } = row.price.clone().unwrap_or_default();
    let next = row.next_price.as_ref().map(|(input, output, at)| {
        view! { <small>{format!("${input} input, ${output} output from {}", moment(*at))}</small> }
    });
    let id = element_id("price", &row.model.name);
    let label = format!("New price of {}", row.model.label);
    view! {
        <tr>
            {model_head(row)}
            <td class="end">{input}</td>
            <td class="end">{cache_read}</td>
            <td class="end">{cache_write}</td>
            <td class="end">{cache_write_long}</td>
            <td class="end">{output}</td>
            <td>{next}</td>
            <td class="end">
                <button type="button" class="secondary small" popovertarget=id.clone() aria-label=label.clone()>"New price"</button>
                <div id=id class="popup form-popup" popover="auto" role="group" aria-label=label>{form(row)}</div>
            </td>
        </tr>
    }
}

/// Renders the form of a price that applies from a date. After a rejection it shows what was typed.
fn form(row: &ModelRow) -> impl IntoView + use<> {
    let model = &row.model;
    let id = |what: &str| element_id(what, &model.name);
    let from_id = id("from");
    let path = format!("/admin/models/{}", path_segment(&model.name.0));
    let PriceRow { input, cache_read, cache_write, cache_write_long, output } = row.price.clone().unwrap_or_default();
    let rejected = Some(page_context().form).filter(|form| form.submitted("price").as_ref() == Some(&model.name.0));
    let value = |name: &str, stored: Option<String>| {
        rejected.as_ref().and_then(|rejected| rejected.submitted(name)).or(stored).unwrap_or_default()
    };
    view! {
        <form method="post" action=format!("{path}/price") class="stack" aria-label=format!("A new price of {}", model.label)>
            {text_field(id("in"), "input", "Input, dollars per million tokens", "", "decimal", value("input", Some(input)))}
            {text_field(id("cached"), "cache_read", "Cache read", "empty: same as input", "decimal", value("cache_read", cache_read))}
            {text_field(id("write"), "cache_write", "Cache write", "empty: same as input", "decimal", value("cache_write", cache_write))}
            {text_field(id("long"), "cache_write_long", "Cache write, longer lifetime", "empty: same as cache write", "decimal", value("cache_write_long", cache_write_long))}
            {text_field(id("out"), "output", "Output, dollars per million tokens", "", "decimal", value("output", Some(output)))}
            {text_field(id("above"), "above", "For prompts above this many tokens", "empty: all prompts", "numeric", value("above", None))}
            <div class="field">
                <label for=from_id.clone()>"Effective from, UTC " <span class="optional">"empty: now"</span></label>
                <input id=from_id name="effective_at" r#type="datetime-local" value=value("effective_at", None)/>
            </div>
            <button>"Add price"</button>
        </form>
    }
}
