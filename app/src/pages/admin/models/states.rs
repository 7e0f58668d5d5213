//! The table of all models: which can be used, by whom, and how their responses are rated.

use super::head::model_head;
use crate::pages::admin::model_test::TestButton;
use crate::view::admin::ModelRow;
use crate::view::provider::{ends_soon, path_segment};
use domain::WireFormat;
use leptos::prelude::*;
use time::Date;

/// Renders the table.
#[component]
pub(super) fn StateTable(
    /// All models.
    models: Vec<ModelRow>,
    /// The current day in UTC.
    today: Date,
) -> impl IntoView {
    let rows = models.iter().map(|model| row(model, today)).collect_view();
    view! {
        <section>
            <h2>"Models"</h2>
            <div class="table-scroll" tabindex="0" role="region" aria-label="Models">
                <table class="compact numbers fields">
                    <thead><tr>
                        <th scope="col">"Model"</th><th scope="col">"Provider"</th><th scope="col">"State"</th><th scope="col">"Plans"</th>
                        <th scope="col" class="end">"Good answers"</th><th scope="col"><span class="unseen">"Actions"</span></th>
                    </tr></thead>
                    <tbody>{rows}</tbody>
                </table>
            </div>
            <p class="hint">"A test sends one short request. Its cost isn't in the ledger. When a model is switched off, new messages to it are refused; responses in progress finish."</p>
        </section>
    }
}

fn row(row: &ModelRow, today: Date) -> impl IntoView + use<> {
    let model = &row.model;
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
        view! { " " <span class=class>{text}</span> }
    });
    let (value, verb) = if row.is_on { ("off", "Switch off") } else { ("on", "Switch on") };
    let action = format!("/admin/models/{}", path_segment(&model.name.0));
    let (name, label) = (model.name.clone(), model.label.clone());
    view! {
        <tr>
            {model_head(row)}
            <td>{model.provider.label.clone()}</td>
            <td>{state}{end}</td>
            <td class="text">{row.plans.join(", ")}</td>
            <td class="end">{rating(row.good, row.rated)}</td>
            <td>
                <div class="row-actions">
                    <form method="post" action=action>
                        <button class="secondary small" name="state" value=value aria-label=format!("{verb}: {label}")>{verb}</button>
                    </form>
                    <TestButton model=name label on="models"/>
                </div>
            </td>
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
