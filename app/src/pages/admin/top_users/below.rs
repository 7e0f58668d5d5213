//! The tables below the top users: models, tokens by kind, and refusals.

use crate::components::chart::Share;
use crate::view::admin::{ModelUse, TopUsersView};
use domain::{Tokens, UsageFilter};
use leptos::prelude::*;

/// Renders usage by model: calls, cost, time to first token, and errors.
#[component]
pub(super) fn ByModel(
    /// The report.
    view: TopUsersView,
    /// Suffix of headings: which users the table covers, if the filter doesn't apply to it.
    of: &'static str,
) -> impl IntoView {
    let whole = view.all_models.cost;
    let row = |name: String, used: ModelUse| {
        let (p50, p95) = used.ttft_ms.unzip();
        view! {
            <tr>
                <th scope="row">{name}</th>
                <td class="end">{Tokens(used.calls).to_string()}</td>
                <td class="end">{used.cost.to_string()}</td>
                <td><Share part=used.cost.0.max(0).cast_unsigned() whole=whole.0.max(0).cast_unsigned()/></td>
                <td class="end">{seconds(p50)}</td>
                <td class="end">{seconds(p95)}</td>
                <td class="end">{Tokens(used.failed).to_string()}</td>
                <td class="end">{per_cent(used.failed, used.calls)}</td>
            </tr>
        }
    };
    let total = (view.by_model.len() > 1).then(|| row("Total".to_owned(), view.all_models.clone()));
    let rows = view.by_model.into_iter().map(|(model, used)| row(model.0, used)).collect_view();
    view! {
        <section>
            <h2>{format!("By model{of}")}</h2>
            <div class="table-scroll" tabindex="0" role="region" aria-label="By model">
                <table class="compact numbers">
                    <thead><tr>
                        <th scope="col">"Model"</th><th scope="col" class="end">"Calls"</th><th scope="col" class="end">"Cost"</th>
                        <th scope="col">"Share of cost"</th>
                        <th scope="col" class="end">"Time to first token, p50"</th><th scope="col" class="end">"p95"</th>
                        <th scope="col" class="end">"Errors"</th><th scope="col" class="end">"Error rate"</th>
                    </tr></thead>
                    <tbody>{rows}</tbody>
                    <tfoot>{total}</tfoot>
                </table>
            </div>
            <p class="hint">
                "Time to first token is measured from sending the request to the provider."
            </p>
        </section>
    }
}

/// Formats milliseconds to two significant digits, which is their precision; a dash for `None`.
fn seconds(ms: Option<i32>) -> String {
    match ms {
        None => "\u{2013}".to_owned(),
        Some(ms) if ms < 1_000 => format!("{ms} ms"),
        Some(ms) if ms < 10_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        Some(ms) => format!("{} s", ms / 1_000),
    }
}

/// Formats a ratio as a percentage with one decimal.
fn per_cent(part: u64, whole: u64) -> String {
    let tenths = u128::from(part) * 1_000 / u128::from(whole.max(1));
    format!("{}.{} %", tenths / 10, tenths % 10)
}

/// Renders the tokens by kind and the refusals by reason.
#[component]
pub(super) fn TokensAndRefusals(
    /// The report.
    view: TopUsersView,
    /// The filter of the report.
    filter: UsageFilter,
    /// Suffix of headings: which users the table covers, if the filter doesn't apply to it.
    of: &'static str,
) -> impl IntoView {
    let (total, models) = (view.total, &view.all_models);
    let all = total.tokens();
    // These parts aren't recorded per user, so they are unknown for a filtered set of users.
    let part = |tokens: Tokens| filter.is_whole().then_some(tokens);
    let kinds = [
        ("Input", Some(total.input)),
        ("Cached input", Some(total.cached)),
        ("Cache writes (included in cached input)", part(models.cache_write)),
        ("Cache writes, longer lifetime (included in cache writes)", part(models.cache_write_long)),
        ("Output", Some(total.output)),
        ("Reasoning (included in output)", part(models.reasoning)),
    ];
    let kinds = kinds
        .into_iter()
        .filter_map(|(kind, tokens)| Some((kind, tokens?)))
        .map(|(kind, tokens)| {
            view! {
                <tr><th scope="row" class="wraps">{kind}</th><td class="end">{tokens.to_string()}</td><td><Share part=tokens.0 whole=all.0/></td></tr>
            }
        })
        .collect_view();
    let refused: u64 = view.refusals.iter().map(|(_, n)| n).sum();
    let refusals = view
        .refusals
        .iter()
        .map(|(kind, n)| {
            let kind = kind.replace('_', " ");
            view! { <tr><th scope="row">{kind}</th><td class="end">{Tokens(*n).to_string()}</td><td><Share part=*n whole=refused/></td></tr> }
        })
        .collect_view();
    let none = view.refusals.is_empty().then(|| view! { <p class="hint">"No requests were refused."</p> });
    view! {
        <div class="columns">
            <section>
                <h2>"Tokens by kind"</h2>
                <table class="compact numbers"><tbody>{kinds}</tbody></table>
            </section>
            <section>
                <h2>{format!("Refusals by reason{of}")}</h2>
                {none}
                <table class="compact numbers"><tbody>{refusals}</tbody></table>
            </section>
        </div>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_two_significant_digits() {
        for (ms, text) in [
            (Some(7), "7 ms"),
            (Some(950), "950 ms"),
            (Some(1_400), "1.4 s"),
            (Some(23_000), "23 s"),
            (None, "\u{2013}"),
        ] {
            assert_eq!(seconds(ms), text);
        }
    }
}
