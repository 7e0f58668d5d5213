//! The test call of a model: its button, and the panel with its result.

use crate::view::provider::{ModelTest, TestResponse, path_segment};
use domain::{ModelName, UsageSource};
use leptos::prelude::*;

/// A button that sends a short request to a model.
#[component]
pub fn TestButton(
    /// The model's name.
    model: ModelName,
    /// The model's display name.
    label: String,
    /// The page that the button is on and that shows the result: `models` or `providers`.
    on: &'static str,
) -> impl IntoView {
    let action = format!("/admin/models/{}/test?on={on}", path_segment(&model.0));
    view! {
        <form method="post" action=action class="test">
            <button class="secondary small" aria-label=format!("Test {label}")>"Test"</button>
        </form>
    }
}

/// The result of a test call.
#[component]
pub fn TestPanel(
    /// The result.
    test: ModelTest,
) -> impl IntoView {
    let result = match test.response {
        Ok(response) => shown(response).into_any(),
        Err(reason) => view! { <p class="form-error" role="alert">{reason}</p> }.into_any(),
    };
    view! {
        <section class="panel test-result" aria-label="Test result">
            <h2>{format!("Test of {}", test.model)}</h2>
            {result}
        </section>
    }
}

fn shown(response: TestResponse) -> impl IntoView {
    let TestResponse { text, ttft_ms, total_ms, usage, source, cost } = response;
    let first = ttft_ms.map_or_else(|| "\u{2013}".to_owned(), |ms| format!("{ms} ms"));
    let cost = cost.map_or_else(|| "no price in force".to_owned(), |cost| format!("${}", cost.exact()));
    let source = match source {
        UsageSource::Exact => "reported by the provider",
        UsageSource::Estimated => "estimated: the provider reported no consistent usage",
    };
    let kinds = [
        ("Input", usage.input),
        ("Cache read", usage.cache_read),
        ("Cache write", usage.cache_write),
        ("Cache write, longer lifetime (included)", usage.cache_write_long),
        ("Output", usage.output),
        ("Reasoning (included in output)", usage.reasoning),
    ];
    let kinds = kinds.into_iter().enumerate().filter(|(n, (_, tokens))| matches!(n, 0 | 4) || !tokens.is_zero());
    let kinds = kinds
        .map(|(_, (kind, tokens))| view! { <div><dt>{kind}</dt><dd>{format!("{tokens} tokens")}</dd></div> })
        .collect_view();
    view! {
        <dl>
            <div><dt>"Time to first token"</dt><dd>{first}</dd></div>
            <div><dt>"Total time"</dt><dd>{format!("{total_ms} ms")}</dd></div>
            {kinds}
            <div><dt>"Usage"</dt><dd>{source}</dd></div>
            <div><dt>"Cost, not in the ledger"</dt><dd>{cost}</dd></div>
            <div><dt>"Response"</dt><dd>{text}</dd></div>
        </dl>
    }
}
