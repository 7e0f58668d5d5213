//! The models that can be used now, with their prices.

use crate::view::home::ModelPrice;
use domain::MicrosPerMillion;
use leptos::prelude::*;

/// Tokens of which the price is shown.
const MILLION: u64 = 1_000_000;
/// A typical message and its answer: about a page of text to read, and half a page to write.
const PAGE: (u64, u64) = (900, 350);

/// Lists the models. Renders nothing while there is none.
#[component]
pub(super) fn Models(
    /// The models, in the order of the model picker.
    models: Vec<ModelPrice>,
) -> impl IntoView {
    (!models.is_empty()).then(|| {
        view! {
            <section class="section">
                <h2>"Models you can use today"</h2>
                <p class="lead">"Choose a model for each message, and regenerate any answer with another one."</p>
                <div class="table-scroll" tabindex="0" role="region" aria-label="Models and prices">
                    <table class="compact numbers">
                        <thead><tr>
                            <th scope="col">"Model"</th><th scope="col">"Plans"</th>
                            <th scope="col" class="end">"Per million tokens read"</th>
                            <th scope="col" class="end">"Per million tokens written"</th>
                            <th scope="col" class="end">"One page and its answer"</th>
                        </tr></thead>
                        <tbody>{models.into_iter().map(row).collect_view()}</tbody>
                    </table>
                </div>
            </section>
        }
    })
}

fn row(model: ModelPrice) -> impl IntoView {
    let of_million = |price: MicrosPerMillion| price.of(MILLION).to_string();
    let page = model.input.of(PAGE.0).plus(model.output.of(PAGE.1));
    view! {
        <tr>
            <th scope="row" translate="no">{model.label}</th>
            <td>{model.plans.join(", ")}</td>
            <td class="end">{of_million(model.input)}</td>
            <td class="end">{of_million(model.output)}</td>
            <td class="end">{page.to_string()}</td>
        </tr>
    }
}
