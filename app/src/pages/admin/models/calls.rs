//! The table of how models are called, edited in its rows.

use super::head::{element_id, model_head};
use crate::view::admin::ModelRow;
use crate::view::provider::path_segment;
use domain::{OutputLimit, Thinking};
use leptos::prelude::*;

/// Renders the table.
#[component]
pub(super) fn CallTable(
    /// All models.
    models: Vec<ModelRow>,
) -> impl IntoView {
    let rows = models.iter().map(row).collect_view();
    view! {
        <section>
            <h2>"Calls"</h2>
            <div class="table-scroll" tabindex="0" role="region" aria-label="Calls">
                <table class="compact numbers fields">
                    <thead><tr>
                        <th scope="col">"Model"</th><th scope="col">"Size, tokens"</th><th scope="col">"Reasoning"</th><th scope="col">"Images"</th><th scope="col">"Output limit"</th>
                        <th scope="col" class="end">"First byte, ms"</th><th scope="col" class="end">"Silence, ms"</th><th scope="col">"Ends on"</th>
                        <th scope="col"><span class="unseen">"Save"</span></th>
                    </tr></thead>
                    <tbody>{rows}</tbody>
                </table>
            </div>
            <p class="hint">"Output limit: the request field that holds it; \u{201c}auto\u{201d} is learned from the first refusal. Empty timeouts are the provider's. A model's end is announced on the overview thirty days ahead."</p>
        </section>
    }
}

fn row(row: &ModelRow) -> impl IntoView + use<> {
    let (model, label) = (&row.model, row.model.label.as_str());
    let form = element_id("calls", &model.name);
    let action = format!("/admin/models/{}", path_segment(&model.name.0));
    let reasoning = match model.thinking {
        Thinking::None => "No",
        Thinking::Optional => "May",
        Thinking::Always => "Always",
    };
    let efforts = (!model.efforts.is_empty()).then(|| view! { <br/><small>{model.efforts.join(", ")}</small> });
    let limits = [OutputLimit::MaxTokens, OutputLimit::MaxCompletionTokens].map(|limit| {
        let is_picked = model.output_limit == Some(limit);
        view! { <option value=limit.as_str() selected=is_picked>{limit.as_str()}</option> }
    });
    let limits = limits.into_iter().collect_view();
    let ms = |ms: Option<u32>| ms.map(|ms| ms.to_string()).unwrap_or_default();
    let (first_byte, idle) = (ms(model.first_byte_timeout_ms), ms(model.idle_timeout_ms));
    let end = model.ends_at.map(|day| day.to_string());
    view! {
        <tr>
            {model_head(row)}
            <td>{format!("{} context", model.context)}<br/><small>{format!("{} output", model.max_output)}</small></td>
            <td>{reasoning}{efforts}</td>
            <td>
                <select form=form.clone() name="takes_images" aria-label=format!("Whether {label} reads images")>
                    <option value="on" selected=model.takes_images>"yes"</option>
                    <option value="off" selected=!model.takes_images>"no"</option>
                </select>
            </td>
            <td>
                <select form=form.clone() name="output_limit" aria-label=format!("Output limit of {label}")><option value="">"auto"</option>{limits}</select>
            </td>
            <td><input form=form.clone() name="first_byte_timeout_ms" inputmode="numeric" autocomplete="off" value=first_byte aria-label=format!("Timeout to the first byte of {label} in milliseconds")/></td>
            <td><input form=form.clone() name="idle_timeout_ms" inputmode="numeric" autocomplete="off" value=idle aria-label=format!("Longest silence of {label} in milliseconds")/></td>
            <td><input form=form.clone() name="ends_at" r#type="date" value=end aria-label=format!("Day on which {label} ends")/></td>
            <td class="end">
                <form id=form method="post" action=action><button class="secondary small" aria-label=format!("Save the calls of {label}")>"Save"</button></form>
            </td>
        </tr>
    }
}
