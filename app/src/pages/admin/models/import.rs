//! The import of prices from a catalogue: the form that compares it, and the differences to choose from.

use crate::page_context::page_context;
use crate::view::provider::ImportView;
use domain::catalogue::{Difference, PriceChange};
use domain::money::count;
use domain::{MicrosPerMillion, Tokens};
use leptos::prelude::*;

/// The form that compares a catalogue with the models that are here.
#[component]
pub fn ImportForm() -> impl IntoView {
    let error = page_context().form.error("catalogue");
    let has_error = error.is_some();
    view! {
        <section class="model-forms">
            <h2>"Import prices"</h2>
            <p class="hint">"Compares LiteLLM's price catalogue (model_prices_and_context_window.json) with the models here. Nothing is fetched, and nothing changes before you choose."</p>
            <form method="post" action="/admin/models/import" enctype="multipart/form-data" class="stack" aria-label="Price catalogue">
                {error.map(|sentence| view! { <p class="form-error" role="alert" id="catalogue-note">{sentence}</p> })}
                <div class="field">
                    <label for="catalogue-file">"File " <span class="optional">"at most 4 MiB"</span></label>
                    <input id="catalogue-file" name="file" r#type="file" accept=".json,application/json"/>
                </div>
                <div class="field">
                    <label for="catalogue">"Or its JSON " <span class="optional">"only the models you need"</span></label>
                    <textarea id="catalogue" name="catalogue" rows="4" spellcheck="false" aria-invalid=has_error.then_some("true")
                        aria-describedby=has_error.then_some("catalogue-note")></textarea>
                </div>
                <button class="secondary">"Compare"</button>
            </form>
        </section>
    }
}

/// The differences between a catalogue and the models that are here. Chosen prices apply from a date on.
#[component]
pub fn Differences(
    /// The differences.
    import: ImportView,
) -> impl IntoView {
    let ImportView { models, differences, today } = import;
    let known = count(u64::try_from(models).unwrap_or(u64::MAX), "model", "models");
    if differences.is_empty() {
        return view! {
            <section class="panel" aria-label="Price catalogue">
                <h2>"Price catalogue"</h2>
                <p>{format!("The catalogue lists {known}. It agrees with all prices and end dates here.")}</p>
            </section>
        }
        .into_any();
    }
    let rows = differences.into_iter().map(|(difference, text)| row(difference, text)).collect_view();
    view! {
        <section class="panel import" aria-label="Price catalogue">
            <h2>"Price catalogue"</h2>
            <p>{format!("The catalogue lists {known}. It differs from these models; choose the changes to apply.")}</p>
            <form method="post" action="/admin/models/import/apply" class="stack" aria-label="Differences">
                <ul class="differences">{rows}</ul>
                <div class="field">
                    <label for="import-from">"Prices apply from 00:00 UTC on " <span class="optional">"empty: now"</span></label>
                    <input id="import-from" name="effective_at" r#type="date" min=today.to_string()/>
                </div>
                <button>"Apply"</button>
            </form>
        </section>
    }
    .into_any()
}

fn row(difference: Difference, text: String) -> AnyView {
    let name = difference.model.0;
    let head = match difference.error {
        Some(reason) => view! { <p><code>{name}</code>{format!(": {reason}. It can't be imported.")}</p> }.into_any(),
        None => view! { <label class="check"><input type="checkbox" name="choose" value=text/>" "<code>{name}</code></label> }.into_any(),
    };
    let prices: Vec<String> = difference.prices.iter().flat_map(price_lines).collect();
    let end = difference.ends_at.map(|end| match end.old {
        Some(old) => format!("ends on {} instead of {old}", end.new),
        None => format!("ends on {}", end.new),
    });
    let lines = prices.into_iter().chain(end).map(|line| view! { <li>{line}</li> }).collect_view();
    view! { <li>{head}<ul>{lines}</ul></li> }.into_any()
}

/// Describes each price of a tier that differs.
fn price_lines(change: &PriceChange) -> Vec<String> {
    let usd = |price: MicrosPerMillion| format!("${}", price.to_usd());
    let tier = change.new.above.map(|above| format!(" above {} tokens", Tokens(above))).unwrap_or_default();
    let line = |line: domain::catalogue::PriceLine| {
        let old = line.old.map_or_else(|| "no price".to_owned(), usd);
        format!("{}{tier}: {old} \u{2192} {} per million tokens", line.what, usd(line.new))
    };
    change.lines().into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::catalogue::CatalogueTier;

    #[test]
    fn only_prices_that_differ_are_described() {
        let tier = |above, input| CatalogueTier {
            above,
            input: MicrosPerMillion(input),
            cache_read: None,
            cache_write: Some(MicrosPerMillion(1_250_000)),
            cache_write_long: None,
            output: MicrosPerMillion(5_000_000),
        };
        let change = PriceChange { old: Some(tier(None, 1_000_000)), new: tier(Some(200_000), 2_500_000) };
        let expected = [
            "input above 200,000 tokens: $1 \u{2192} $2.5 per million tokens",
            "cache read above 200,000 tokens: $1 \u{2192} $2.5 per million tokens",
        ];
        assert_eq!(price_lines(&change), expected);
        let first = PriceChange { old: None, new: tier(None, 1_000_000) };
        assert_eq!(price_lines(&first)[0], "input: no price \u{2192} $1 per million tokens");
    }
}
