//! The models that can be used now, with their prices.

use crate::view::home::ModelPrice;
use domain::MicrosPerMillion;
use leptos::prelude::*;

/// Tokens of which the price is shown.
const MILLION: u64 = 1_000_000;
/// A typical message and its answer: about a page of text to read, and half a page to write.
const PAGE: (u64, u64) = (900, 350);

/// Heads of the columns with numbers. On phones they are shown beside the numbers.
const READ: &str = "Per million tokens read";
const WRITTEN: &str = "Per million tokens written";
const BOTH: &str = "One page and its answer";

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
                    <table class="compact numbers stacks">
                        <thead><tr>
                            <th scope="col">"Model"</th><th scope="col">"Plans"</th>
                            <th scope="col" class="end wraps">{READ}</th>
                            <th scope="col" class="end wraps">{WRITTEN}</th>
                            <th scope="col" class="end wraps">{BOTH}</th>
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
            <td data-label="Plans">{model.plans.join(", ")}</td>
            <td class="end" data-label=READ>{of_million(model.input)}</td>
            <td class="end" data-label=WRITTEN>{of_million(model.output)}</td>
            <td class="end" data-label=BOTH>{page.to_string()}</td>
        </tr>
    }
}
