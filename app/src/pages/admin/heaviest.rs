//! `/admin`: who costs what.

use crate::api;
use crate::api::admin::{HeaviestView, Heavy, Order, Period};
use crate::components::chart::Share;
use crate::components::frame::Frame;
use crate::components::loaded::loaded;
use crate::pages::admin::AdminTabs;
use crate::visit::visit;
use domain::Tokens;
use leptos::prelude::*;

/// The page.
#[component]
pub fn Heaviest() -> impl IntoView {
    let (period, order) =
        (Period::parse(visit().query("period").as_deref()), Order::parse(visit().query("by").as_deref()));
    let tabs = Period::ALL
        .map(|choice| {
            let href = format!("/admin?period={}&by={}", choice.as_str(), order.as_str());
            view! { <a href=href aria-current=(choice == period).then_some("page")>{choice.label()}</a> }
        })
        .collect_view();
    view! {
        <Frame title="Heaviest users" wide=true>
            <header class="page-head split">
                <h1>"Heaviest users"</h1>
                <AdminTabs current="/admin"/>
            </header>
            <nav class="tabs period" aria-label="Period">{tabs}</nav>
            {loaded(api::admin::heaviest(period, order), move |view| view! { <HeaviestTable view period order/> })}
        </Frame>
    }
}

/// Totals and the table; also drawn on the landing page from a fixture.
#[component]
pub fn HeaviestTable(
    /// What was used.
    view: HeaviestView,
    /// How far back.
    period: Period,
    /// What it is sorted by.
    order: Order,
) -> impl IntoView {
    let HeaviestView { rows, total, people } = view;
    if rows.is_empty() {
        return view! {
            <section class="empty">
                <h2>"Nobody used anything"</h2>
                <p>{format!("No turn in the last {}. Widen the period, or wait for the first message.", period.label())}</p>
            </section>
        }
        .into_any();
    }
    let head = |label: &'static str, by: Order| {
        let sorted = (by == order).then_some("descending");
        let href = format!("/admin?period={}&by={}", period.as_str(), by.as_str());
        view! { <th scope="col" class="end" aria-sort=sorted><a href=href>{label}</a></th> }
    };
    let drawn = rows.into_iter().map(|row| draw(row, total.cost.0)).collect_view();
    view! {
        <section class="figures">
            <p class="figure"><strong>{total.cost.to_string()}</strong><span>{format!("spent in {}", period.label())}</span></p>
            <p class="figure"><strong>{total.tokens().to_string()}</strong><span>"tokens"</span></p>
            <p class="figure"><strong>{Tokens(total.requests).to_string()}</strong><span>"requests"</span></p>
            <p class="figure"><strong>{Tokens(people).to_string()}</strong><span>"people"</span></p>
        </section>
        <div class="table-scroll" tabindex="0" role="region" aria-label="Heaviest users">
            <table class="compact numbers sticky">
                <thead><tr>
                    <th scope="col">"Who"</th><th scope="col">"Plan"</th>
                    {head("Requests", Order::Requests)} {head("Tokens", Order::Tokens)} {head("Cost", Order::Cost)}
                    <th scope="col">"Share of cost"</th>
                </tr></thead>
                <tbody>{drawn}</tbody>
            </table>
        </div>
    }
    .into_any()
}

fn draw(row: Heavy, whole: i64) -> impl IntoView {
    let who = match (row.user_id, row.email) {
        (Some(id), Some(email)) => {
            view! { <a href=format!("/admin/users/{id}") title=email.clone()>{email.clone()}</a> }.into_any()
        }
        (_, Some(email)) => email.into_any(),
        (_, None) => view! { <em>"deleted account"</em> }.into_any(),
    };
    view! {
        <tr>
            <th scope="row" class="who">{who}</th>
            <td>{row.plan.map(|plan| plan.0)}</td>
            <td class="end">{Tokens(row.sum.requests).to_string()}</td>
            <td class="end">{row.sum.tokens().to_string()}</td>
            <td class="end">{row.sum.cost.to_string()}</td>
            <td><Share part=row.sum.cost.0.unsigned_abs() whole=whole.unsigned_abs()/></td>
        </tr>
    }
}
