//! How long conversations are kept, on the page of the plans.

use crate::page_context::page_context;
use crate::view::chat_settings::RetentionView;
use leptos::prelude::*;

/// Renders the days of all plans together and of each one, each in a form of its own.
#[component]
pub(super) fn Retention(
    /// The days.
    view: RetentionView,
) -> impl IntoView {
    let all = row(String::new(), "All plans".to_owned(), view.all);
    let plans = view.plans.into_iter().map(|(plan, name, days)| row(plan.0, name, days)).collect_view();
    view! {
        <section>
            <h2>"Retention of conversations"</h2>
            <div class="table-scroll" tabindex="0" role="region" aria-label="Retention of conversations">
                <table class="compact numbers fields">
                    <thead><tr>
                        <th scope="col">"Plan"</th><th scope="col" class="end">"Days after the last message"</th>
                        <th scope="col"><span class="unseen">"Save"</span></th>
                    </tr></thead>
                    <tbody>{all}{plans}</tbody>
                </table>
            </div>
            <p class="hint">"Older conversations are permanently deleted within an hour. Empty keeps them. If both are set, the smaller number applies. Usage records are not affected."</p>
        </section>
    }
}

fn row(plan: String, name: String, days: Option<u32>) -> impl IntoView {
    let form = format!("retention-{}", if plan.is_empty() { "all" } else { &plan });
    let failed = page_context().form;
    let typed = failed.submitted("days").filter(|_| failed.submitted("retention").as_ref() == Some(&plan));
    let days = typed.unwrap_or_else(|| days.map(|days| days.to_string()).unwrap_or_default());
    view! {
        <tr>
            <th scope="row">{name.clone()}</th>
            <td class="end">
                <input form=form.clone() name="days" inputmode="numeric" pattern="[0-9]*" autocomplete="off" placeholder="kept" value=days aria-label=format!("Retention in days of {name}")/>
            </td>
            <td class="end">
                <form id=form method="post" action="/admin/retention">
                    <input type="hidden" name="plan" value=plan/>
                    <button class="secondary small" aria-label=format!("Save retention of {name}")>"Save"</button>
                </form>
            </td>
        </tr>
    }
}
