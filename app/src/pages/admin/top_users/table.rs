//! The table of the top users.

use super::figures::signed;
use crate::components::chart::{Line, Share};
use crate::components::duration::short_day;
use crate::components::icon::{Draw, Icon};
use crate::view::admin::TopUsersView;
use crate::view::usage_filter::href;
use domain::top_users::Order;
use domain::{ModelName, Picos, PlanId, Tokens, UsageFilter, UserUsage};
use leptos::prelude::*;
use time::Date;

/// Renders the table.
#[component]
pub fn TopUsersTable(
    /// The report.
    view: TopUsersView,
    /// The filter of the report.
    filter: UsageFilter,
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
        // The margin is sorted with the smallest first.
        let sorted = (order == filter.order).then_some(if order == Order::Margin { "ascending" } else { "descending" });
        let href = href(&UsageFilter { order, page: 1, ..filter.clone() }, "/admin");
        view! { <th scope="col" class="end" aria-sort=sorted><a href=href>{label}</a></th> }
    };
    let period = filter.period.label();
    let table = Table { whole: all_models.cost, period: &period, model: filter.model.as_ref(), line };
    let line = table.line();
    let drawn = rows.into_iter().map(|row| user_row(row, &table)).collect_view();
    view! {
        <div class="table-scroll" tabindex="0" role="region" aria-label="Top users">
            <table class="compact numbers sticky opens top-users">
                <thead><tr>
                    <th scope="col">"User"</th><th scope="col">"Plan"</th>
                    {head("Requests", Order::Requests)} {head("Tokens", Order::Tokens)} {head("Cost", Order::Cost)}
                    <th scope="col">"Share of cost"</th>
                    {line.map(|(first, last)| view! { <th scope="col">{format!("{} days", (last - first).whole_days() + 1)}</th> })}
                    {head("Margin", Order::Margin)} {head("Refused", Order::Refusals)} {head("Estimate error", Order::Estimate)}
                    <th scope="col"><span class="unseen">"Email"</span></th>
                </tr></thead>
                <tbody>{drawn}</tbody>
            </table>
        </div>
    }
    .into_any()
}

/// Formats the relative error of an estimate as a percentage with one decimal.
fn estimate_error(estimated: Tokens, actual: Tokens) -> String {
    let difference = i128::from(estimated.0) - i128::from(actual.0);
    let tenths = difference * 1000 / i128::from(actual.0.max(1));
    let sign = match tenths {
        0 => "",
        1.. => "+",
        _ => "\u{2212}",
    };
    format!("{sign}{}.{} %", tenths.abs() / 10, tenths.abs() % 10)
}

/// Values that all rows of a table share.
struct Table<'a> {
    /// Cost of all users in the period, regardless of the filter.
    whole: Picos,
    period: &'a str,
    model: Option<&'a ModelName>,
    line: Option<(Date, Date)>,
}

impl Table<'_> {
    /// Returns the first and last day of the sparklines. They cover all models, so there are none with a model filter.
    fn line(&self) -> Option<(Date, Date)> {
        self.line.filter(|_| self.model.is_none())
    }
}

/// Renders a row.
fn user_row(row: UserUsage, table: &Table<'_>) -> impl IntoView + use<> {
    let write = row.email.as_ref().map(|email| mail_link(email, &row, table));
    let line = table.line().map(|(first, last)| {
        let max = row.line.iter().zip(0_i64..).max_by_key(|(cost, n)| (**cost, *n));
        let max = max.map(|(cost, n)| format!(", most on {}: {cost}", short_day(first + time::Duration::days(n))));
        let title = format!("Cost by day from {} to {}{}", short_day(first), short_day(last), max.unwrap_or_default());
        let values = row.line.iter().map(|cost| cost.0.max(0).unsigned_abs()).collect();
        view! { <td><Line title values/></td> }
    });
    // A subscription pays for all models, so there is no margin with a model filter.
    let margin = table.model.is_none().then(|| signed(row.paid.0 - row.sum.cost.0));
    let is_demo = row.is_demo();
    let who = match (row.user_id, row.email) {
        (Some(id), Some(email)) => {
            view! { <a href=format!("/admin/users/{id}") title=email.clone()>{email.clone()}</a> }.into_any()
        }
        (_, Some(email)) => email.into_any(),
        (_, None) if is_demo => view! { <em>"Demo on the site"</em> }.into_any(),
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
            {line}
            <td class="end">{margin}</td>
            <td class="end">{Tokens(row.refusals).to_string()}</td>
            <td class="end">{estimate_error(row.estimated, row.sum.input + row.sum.cached)}</td>
            <td>{write}</td>
        </tr>
    }
}

/// Renders a `mailto:` link. The draft contains the user's share, cost and plan, for the owner to complete.
fn mail_link(email: &str, row: &UserUsage, table: &Table<'_>) -> impl IntoView + use<> {
    let plan = row.plan.as_ref().map_or("none", |plan| plan.0.as_str());
    let of = table.model.map(|model| format!(" of {model}")).unwrap_or_default();
    let share =
        u128::from(row.sum.cost.0.max(0).cast_unsigned()) * 100 / u128::from(table.whole.0.max(1).cast_unsigned());
    let body = format!(
        "Hello,\n\nThis is the usage of your account ({}): {} tokens{of} in {} requests. It cost us {}, which is {share} % of the cost of all users. Your plan: {plan}.\n\n",
        table.period,
        row.sum.tokens(),
        Tokens(row.sum.requests),
        row.sum.cost,
    );
    let coded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20");
    let to = coded(email).replace("%40", "@");
    let href = format!("mailto:{to}?subject={}&body={}", coded("Your usage"), coded(&body));
    view! { <a class="button quiet icon-button" href=href aria-label=format!("Send email to {email}") title="Send email"><Draw icon=Icon::Mail/></a> }
}
