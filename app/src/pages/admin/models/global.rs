//! The global limits: the daily spend cap and the chat switch.

use crate::components::chart::Share;
use crate::page_context::page_context;
use crate::view::admin::ModelsView;
use domain::Picos;
use leptos::prelude::*;

/// Renders the global settings: the daily spend cap and the chat switch.
pub(super) fn global(view: &ModelsView) -> impl IntoView + use<> {
    let amount = |cap: Option<Picos>| cap.map(Picos::exact).unwrap_or_default();
    let cap = page_context().form.submitted("global_spend").unwrap_or_else(|| amount(view.daily_spend));
    let effective_cap = [view.daily_spend, view.env_spend].into_iter().flatten().min();
    let spent = view.spent;
    let usage_text = effective_cap.map_or_else(
        || format!("{spent} in the last 24 hours; no cap set."),
        |cap| format!("{spent} of {cap} in the last 24 hours."),
    );
    let env = view.env_spend.map(
        |cap| view! { <p class="hint">{format!("The environment also sets {cap} a day. The smaller cap applies.")}</p> },
    );
    let switch = if view.is_paused {
        view! {
            <p class="form-error">"Chat is switched off. Messages are refused."</p>
            <form method="post" action="/admin/global">
                <button name="state" value="on">"Switch chat on"</button>
            </form>
        }
        .into_any()
    } else {
        view! {
            <details class="confirm">
                <summary class="secondary small">"Switch chat off"</summary>
                <form method="post" action="/admin/global">
                    <p>"Switch chat off for all users? New messages are refused on every server. Responses in progress finish, and conversations can still be read."</p>
                    <button class="danger small" name="state" value="off">"Confirm"</button>
                </form>
            </details>
        }
        .into_any()
    };
    view! {
        <div class="columns">
            <section class="panel">
                <h2>"Spending of all users"</h2>
                <p>{usage_text}</p>
                {effective_cap.map(|cap| view! { <Share part=spent.0.unsigned_abs() whole=cap.0.unsigned_abs()/> })}
                <form method="post" action="/admin/global" class="stack">
                    <div class="field">
                        <label for="global-cap">"Daily spend cap in dollars " <span class="optional">"empty means no cap"</span></label>
                        <input id="global-cap" name="daily_spend" inputmode="decimal" autocomplete="off" value=cap/>
                    </div>
                    <button class="secondary">"Save"</button>
                </form>
                {env}
            </section>
            <section class="panel">
                <h2>"Chat"</h2>
                {switch}
            </section>
        </div>
    }
}
