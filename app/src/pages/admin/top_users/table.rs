//! The table of the top users.

use super::{day_of, signed};
use crate::components::chart::{Line, Share};
use crate::view::admin::{TopUsersView, UserUsage};
use crate::view::usage_filter::{Order, UsageFilter};
use domain::{ModelName, Picos, PlanId, Tokens};
use leptos::prelude::*;
use time::Date;

/// The table; also drawn on the landing page from a fixture, with fewer columns.
#[component]
pub fn TopUsersTable(
    /// What was used.
    view: TopUsersView,
    /// Which part of it.
    filter: UsageFilter,
    /// Every column, and what can be done.
    full: bool,
) -> impl IntoView {
    let TopUsersView { rows, all_models, line, .. } = view;
    if rows.is_empty() {
        return view! {
            <section class="empty">
                <h2>"No usage"</h2>
                <p>{format!("No usage in {} matches. Choose a longer period or remove a filter.", filter.period.label())}</p>
            </section>
        }
        .into_any();
    }
    let head = |label: &'static str, order: Order| {
        // The margin is listed from the least on.
        let sorted = (order == filter.order).then_some(if order == Order::Margin { "ascending" } else { "descending" });
        let href = UsageFilter { order, page: 1, ..filter.clone() }.href("/admin");
        view! { <th scope="col" class="end" aria-sort=sorted><a href=href>{label}</a></th> }
    };
    let period = filter.period.label();
    let table = Table { whole: all_models.cost, period: &period, model: filter.model.as_ref(), line, full };
    let line = table.line();
    let drawn = rows.into_iter().map(|row| draw(row, &table)).collect_view();
    view! {
        <div class="table-scroll" tabindex="0" role="region" aria-label="Top users">
            <table class="compact numbers sticky">
                <thead><tr>
                    <th scope="col">"User"</th><th scope="col">"Plan"</th>
                    {head("Requests", Order::Requests)} {head("Tokens", Order::Tokens)} {head("Cost", Order::Cost)}
                    <th scope="col">"Share of cost"</th>
                    {full.then(|| view! {
                        {line.map(|(first, last)| view! { <th scope="col">{format!("{} days", (last - first).whole_days() + 1)}</th> })}
                        {head("Margin", Order::Margin)} {head("Refused", Order::Refusals)} {head("Estimate error", Order::Estimate)}
                        <th scope="col"><span class="unseen">"Email"</span></th>
                    })}
                </tr></thead>
                <tbody>{drawn}</tbody>
            </table>
        </div>
    }
    .into_any()
}

/// How far an estimate was off, in tenths of a per cent.
fn off(estimated: Tokens, real: Tokens) -> String {
    let difference = i128::from(estimated.0) - i128::from(real.0);
    let tenths = difference * 1000 / i128::from(real.0.max(1));
    let sign = match tenths {
        0 => "",
        1.. => "+",
        _ => "\u{2212}",
    };
    format!("{sign}{}.{} %", tenths.abs() / 10, tenths.abs() % 10)
}

/// What every row of a table has in common.
struct Table<'a> {
    /// What everybody cost in the period, whoever the table shows.
    whole: Picos,
    period: &'a str,
    model: Option<&'a ModelName>,
    line: Option<(Date, Date)>,
    full: bool,
}

impl Table<'_> {
    /// The days of each line. Users' days aren't kept model by model.
    fn line(&self) -> Option<(Date, Date)> {
        self.line.filter(|_| self.full && self.model.is_none())
    }
}

fn draw(row: UserUsage, table: &Table<'_>) -> impl IntoView + use<> {
    let write = row.email.as_ref().map(|email| write_to(email, &row, table));
    let line = table.line().map(|(first, last)| {
        let most = row.line.iter().zip(0_i64..).max_by_key(|(cost, n)| (**cost, *n));
        let most = most.map(|(cost, n)| format!(", most on {}: {cost}", day_of(first + time::Duration::days(n))));
        let title = format!("Cost by day from {} to {}{}", day_of(first), day_of(last), most.unwrap_or_default());
        let values = row.line.iter().map(|cost| cost.0.max(0).unsigned_abs()).collect();
        view! { <td><Line title values/></td> }
    });
    let more = table.full.then(|| {
        // A subscription says nothing beside one model's part of the cost.
        let margin = table.model.is_none().then(|| signed(row.paid.0 - row.sum.cost.0));
        view! {
            {line}
            <td class="end">{margin}</td>
            <td class="end">{Tokens(row.refusals).to_string()}</td>
            <td class="end">{off(row.estimated, row.sum.input + row.sum.cached)}</td>
            <td>{write}</td>
        }
    });
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
            <td>{row.plan.map(|plan: PlanId| plan.0)}</td>
            <td class="end">{Tokens(row.sum.requests).to_string()}</td>
            <td class="end">{row.sum.tokens().to_string()}</td>
            <td class="end">{row.sum.cost.to_string()}</td>
            <td><Share part=row.sum.cost.0.max(0).cast_unsigned() whole=table.whole.0.max(0).cast_unsigned()/></td>
            {more}
        </tr>
    }
}

/// A letter with share, cost and plan filled in, for the owner to finish.
fn write_to(email: &str, row: &UserUsage, table: &Table<'_>) -> impl IntoView + use<> {
    let plan = row.plan.as_ref().map_or("none", |plan| plan.0.as_str());
    let of = table.model.map(|model| format!(" of {model}")).unwrap_or_default();
    let share =
        u128::from(row.sum.cost.0.max(0).cast_unsigned()) * 100 / u128::from(table.whole.0.max(1).cast_unsigned());
    let body = format!(
        "Hello,\n\nin {} your account used {} tokens{of} in {} requests. That cost us {}, {share} % of what everybody cost, on the plan \"{plan}\".\n\n",
        table.period,
        row.sum.tokens(),
        Tokens(row.sum.requests),
        row.sum.cost,
    );
    let coded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20");
    let to = coded(email).replace("%40", "@");
    let href = format!("mailto:{to}?subject={}&body={}", coded("Your usage"), coded(&body));
    view! { <a href=href>"Send email"</a> }
}
