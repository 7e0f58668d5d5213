//! The table of spend caps and fallbacks, edited in its rows.

use super::head::{element_id, field_value, model_head};
use crate::components::chart::Share;
use crate::view::admin::ModelRow;
use crate::view::provider::path_segment;
use domain::{ModelName, Picos};
use leptos::prelude::*;

/// Renders the table.
#[component]
pub(super) fn RuleTable(
    /// All models.
    models: Vec<ModelRow>,
) -> impl IntoView {
    let names: Vec<(ModelName, String)> =
        models.iter().map(|row| (row.model.name.clone(), row.model.label.clone())).collect();
    let rows = models.iter().map(|model| row(model, &names)).collect_view();
    view! {
        <section>
            <h2>"Spend caps and fallbacks"</h2>
            <div class="table-scroll" tabindex="0" role="region" aria-label="Spend caps and fallbacks">
                <table class="compact numbers fields">
                    <thead><tr>
                        <th scope="col">"Model"</th><th scope="col" class="end">"Last 24 hours"</th><th scope="col" class="end">"Daily cap, $"</th>
                        <th scope="col">"Share of cap"</th><th scope="col">"Fallback"</th><th scope="col" class="end">"Hedge after, s"</th>
                        <th scope="col"><span class="unseen">"Save"</span></th>
                    </tr></thead>
                    <tbody>{rows}</tbody>
                </table>
            </div>
            <p class="hint">"An empty cap is no cap. The fallback answers if the model is unavailable. With hedging it is also called after that many seconds of silence: the first response is used, and the input of the other call is charged too and counts toward the user's tokens."</p>
        </section>
    }
}

fn row(row: &ModelRow, names: &[(ModelName, String)]) -> impl IntoView + use<> {
    let (model, label) = (&row.model, row.model.label.as_str());
    let form = element_id("rules", &model.name);
    let action = format!("/admin/models/{}", path_segment(&model.name.0));
    let value = |field: &str, stored: String| field_value(&model.name, field, stored);
    let fallback = value("fallback", model.fallback.as_ref().map(|name| name.0.clone()).unwrap_or_default());
    let others = names.iter().filter(|(name, _)| *name != model.name).map(|(name, label)| {
        let is_picked = name.0 == fallback;
        view! { <option value=name.0.clone() selected=is_picked>{label.clone()}</option> }
    });
    let others = others.collect_view();
    let cap = value("daily_spend", row.daily_spend.map(Picos::exact).unwrap_or_default());
    let share =
        row.daily_spend.map(|cap| view! { <Share part=row.spent.0.unsigned_abs() whole=cap.0.unsigned_abs()/> });
    let hedge = model.hedge_after_ms.map(|ms| ms.div_ceil(1_000).to_string()).unwrap_or_default();
    let hedge = value("hedge_after", hedge);
    view! {
        <tr>
            {model_head(row)}
            <td class="end">{row.spent.to_string()}</td>
            <td><input form=form.clone() name="daily_spend" inputmode="decimal" autocomplete="off" placeholder="none" value=cap aria-label=format!("Daily cap of {label} in dollars")/></td>
            <td>{share}</td>
            <td>
                <select form=form.clone() name="fallback" aria-label=format!("Fallback of {label}")><option value="">"None"</option>{others}</select>
            </td>
            <td><input form=form.clone() name="hedge_after" inputmode="numeric" autocomplete="off" placeholder="never" value=hedge aria-label=format!("Hedge {label} after seconds")/></td>
            <td class="end">
                <form id=form method="post" action=action><button class="secondary small" aria-label=format!("Save the rules of {label}")>"Save"</button></form>
            </td>
        </tr>
    }
}
