//! The table of how models are called, edited in its rows.

use super::head::{element_id, field_value, model_head};
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
                        <th scope="col">"Model"</th><th scope="col">"Size, tokens"</th><th scope="col">"Reasoning"</th><th scope="col">"Efforts"</th><th scope="col">"Images"</th>
                        <th scope="col">"Output limit"</th><th scope="col" class="end">"Cached from, tokens"</th>
                        <th scope="col" class="end">"First byte, ms"</th><th scope="col" class="end">"Silence, ms"</th><th scope="col">"Ends on"</th>
                        <th scope="col"><span class="unseen">"Save"</span></th>
                    </tr></thead>
                    <tbody>{rows}</tbody>
                </table>
            </div>
            <p class="hint">"Efforts: the reasoning efforts that users can choose, lowest first, separated by commas. Output limit: the request field that holds it; \u{201c}auto\u{201d} is learned from the first refusal. Cached from: the smallest prompt that an Anthropic-compatible provider caches; empty requests no caching. Leave a timeout empty to use the provider's. A model's end is announced on the overview thirty days ahead."</p>
        </section>
    }
}

fn row(row: &ModelRow) -> impl IntoView + use<> {
    let (model, label) = (&row.model, row.model.label.as_str());
    let form = element_id("calls", &model.name);
    let action = format!("/admin/models/{}", path_segment(&model.name.0));
    let value = |field: &str, stored: String| field_value(&model.name, field, stored);
    let thinking = value("thinking", model.thinking.as_str().to_owned());
    let reasoning = [(Thinking::None, "no"), (Thinking::Optional, "may"), (Thinking::Always, "always")];
    let reasoning = reasoning.map(|(option, text)| {
        let is_picked = option.as_str() == thinking;
        view! { <option value=option.as_str() selected=is_picked>{text}</option> }
    });
    let reasoning = reasoning.into_iter().collect_view();
    let efforts = value("efforts", model.efforts.join(", "));
    let takes_images = value("takes_images", if model.takes_images { "on" } else { "off" }.to_owned()) == "on";
    let limit = value("output_limit", model.output_limit.map(OutputLimit::as_str).unwrap_or_default().to_owned());
    let limits = [OutputLimit::MaxTokens, OutputLimit::MaxCompletionTokens].map(|option| {
        let is_picked = option.as_str() == limit;
        view! { <option value=option.as_str() selected=is_picked>{option.as_str()}</option> }
    });
    let limits = limits.into_iter().collect_view();
    let min_cacheable = value("min_cacheable", model.min_cacheable.map(|min| min.0.to_string()).unwrap_or_default());
    let ms = |field: &str, ms: Option<u32>| value(field, ms.map(|ms| ms.to_string()).unwrap_or_default());
    let first_byte = ms("first_byte_timeout_ms", model.first_byte_timeout_ms);
    let idle = ms("idle_timeout_ms", model.idle_timeout_ms);
    let end = value("ends_at", model.ends_at.map(|day| day.to_string()).unwrap_or_default());
    view! {
        <tr>
            {model_head(row)}
            <td>{format!("{} context", model.context)}<br/><small>{format!("{} output", model.max_output)}</small></td>
            <td><select form=form.clone() name="thinking" aria-label=format!("Whether {label} reasons")>{reasoning}</select></td>
            <td><input form=form.clone() name="efforts" autocomplete="off" spellcheck="false" placeholder="none" value=efforts aria-label=format!("Reasoning efforts of {label}")/></td>
            <td>
                <select form=form.clone() name="takes_images" aria-label=format!("Whether {label} reads images")>
                    <option value="on" selected=takes_images>"yes"</option>
                    <option value="off" selected=!takes_images>"no"</option>
                </select>
            </td>
            <td>
                <select form=form.clone() name="output_limit" aria-label=format!("Output limit of {label}")><option value="">"auto"</option>{limits}</select>
            </td>
            <td><input form=form.clone() name="min_cacheable" inputmode="numeric" autocomplete="off" placeholder="never" value=min_cacheable aria-label=format!("Smallest prompt of {label} that is cached, in tokens")/></td>
            <td><input form=form.clone() name="first_byte_timeout_ms" inputmode="numeric" autocomplete="off" value=first_byte aria-label=format!("Timeout to the first byte of {label} in milliseconds")/></td>
            <td><input form=form.clone() name="idle_timeout_ms" inputmode="numeric" autocomplete="off" value=idle aria-label=format!("Longest silence of {label} in milliseconds")/></td>
            <td><input form=form.clone() name="ends_at" r#type="date" value=end aria-label=format!("Day on which {label} ends")/></td>
            <td class="end">
                <form id=form method="post" action=action><button class="secondary small" aria-label=format!("Save the calls of {label}")>"Save"</button></form>
            </td>
        </tr>
    }
}
