//! `/admin`: who costs what, and whether they pay for it.

use crate::api;
use crate::api::admin::{Asked, HeaviestView, Heavy, ModelUse, Order, Period};
use crate::components::chart::{Bar, Line, Share, Stack, Stacks};
use crate::components::duration::day;
use crate::components::frame::{Frame, Refused};
use crate::components::loaded::loaded;
use crate::pages::admin::{AdminTabs, Pager};
use crate::visit::visit;
use domain::{ModelName, Picos, PlanId, Problem, Tokens};
use leptos::prelude::*;
use time::Date;

/// The page.
#[component]
pub fn Heaviest() -> impl IntoView {
    let visit = visit();
    let shown = match Asked::parse(|name| visit.query(name)) {
        Ok(asked) => {
            let again = asked.clone();
            loaded(api::admin::heaviest(asked), move |view| view! { <Shown view asked=again.clone()/> }).into_any()
        }
        Err(why) => view! { <Refused problem=Problem::invalid("period", why)/> }.into_any(),
    };
    view! {
        <Frame title="Heaviest users" wide=true>
            <header class="page-head split">
                <h1>"Heaviest users"</h1>
                <AdminTabs current="/admin"/>
            </header>
            {shown}
        </Frame>
    }
}

#[component]
fn Shown(view: HeaviestView, asked: Asked) -> impl IntoView {
    let choices = Period::ALL
        .map(|period| {
            let href = Asked { period, page: 1, ..asked.clone() }.href("/admin");
            let current = (period == asked.period).then_some("page");
            view! { <a href=href aria-current=current>{period.label()}</a> }
        })
        .collect_view();
    let of = if asked.is_whole() { "" } else { ", everybody" };
    let pages = view.people.div_ceil(u64::from(Asked::ROWS));
    let (path, page) = (asked.clone(), asked.page);
    let export = ["csv", "json"].map(|kind| {
        let href = Asked { page: 1, ..asked.clone() }.href(&format!("/admin/export.{kind}"));
        view! { <a class="secondary small" href=href download>{format!("{} of every call", kind.to_uppercase())}</a> }
    });
    view! {
        <nav class="tabs period" aria-label="Period">{choices}</nav>
        {(view.people > 0).then(|| view! { <Figures view=view.clone() asked=asked.clone() full=true/> })}
        <Now view=view.clone()/>
        <CostByDay view=view.clone() asked=asked.clone() of/>
        <Filter view=view.clone() asked=asked.clone()/>
        <HeaviestTable view=view.clone() asked=asked.clone() full=true/>
        <Pager page pages href=move |page| Asked { page, ..path.clone() }.href("/admin")/>
        <ByModel view=view.clone() of=of/>
        <Around view=view.clone() asked=asked.clone() of=of/>
        <p class="actions">{export.into_iter().collect_view()}</p>
        {view.kept_from.map(|from| view! {
            <p class="hint">{format!("Single calls are kept since {}; older ones are in the figures above, not in the files.", day(from))}</p>
        })}
    }
}

/// What runs and what is spent at this moment.
#[component]
fn Now(view: HeaviestView) -> impl IntoView {
    let (spent, cap) = view.today;
    let of = cap.map_or_else(|| "no cap holds".to_owned(), |cap| format!("of {cap} that may be"));
    let (running, reserved) = (Tokens(view.running), view.reserved);
    view! {
        <p class="hint live">
            <strong>"Now: "</strong>
            {format!("{running} answers running, {reserved} tokens held for them, at least {spent} spent in 24 hours, {of}.")}
        </p>
    }
}

/// Search, plan, model, and a period of one's own.
#[component]
fn Filter(view: HeaviestView, asked: Asked) -> impl IntoView {
    let option = |value: &str, label: String, chosen: bool| view! { <option value=value.to_owned() selected=chosen>{label}</option> };
    let plans =
        view.plans.iter().map(|plan| option(&plan.0, plan.0.clone(), asked.plan.as_ref() == Some(plan))).collect_view();
    let models = view
        .models
        .iter()
        .map(|model| option(&model.0, model.0.clone(), asked.model.as_ref() == Some(model)))
        .collect_view();
    let (from, to) = match asked.period {
        Period::Custom(from, to) => (from.to_string(), to.to_string()),
        _ => (String::new(), String::new()),
    };
    let is_custom = matches!(asked.period, Period::Custom(..));
    let is_set = is_custom || asked.plan.is_some() || asked.model.is_some() || !asked.search.is_empty();
    view! {
        <details class="filters" open=is_set>
            <summary>"Search and filter"</summary>
            <form method="get" action="/admin" class="filter" role="search">
                <input type="hidden" name="by" value=asked.order.as_str()/>
                <label>"Address" <input type="search" name="q" value=asked.search.clone() maxlength="200" placeholder="part of it"/></label>
                <label>"Plan" <select name="plan"><option value="">"every plan"</option>{plans}</select></label>
                <label>"Model" <select name="model"><option value="">"every model"</option>{models}</select></label>
                <label>"Period"
                    <select name="period">
                        {Period::ALL.map(|period| option(period.as_str(), period.label(), period == asked.period)).collect_view()}
                        {option("custom", "from … to …".to_owned(), is_custom)}
                    </select>
                </label>
                <label>"From" <input type="date" name="from" value=from/></label>
                <label>"To" <input type="date" name="to" value=to/></label>
                <button class="secondary">"Show"</button>
            </form>
        </details>
    }
}

/// The numbers that matter: what was spent, with its change, and what it was for; on the landing page from a fixture, with fewer of them.
#[component]
pub fn Figures(
    /// What was used.
    view: HeaviestView,
    /// Which part of it.
    asked: Asked,
    /// Also what is paid for it.
    full: bool,
) -> impl IntoView {
    let HeaviestView { total, before, people, revenue, other_currencies, .. } = view;
    let period = asked.period.label();
    // What everybody pays says nothing beside what some of them cost.
    let change = if asked.is_whole() { change(total.cost, before) } else { String::new() };
    let more = (full && asked.is_whole()).then(|| {
        view! {
            <p class="figure"><strong>{revenue.to_string()}</strong><span>"subscriptions pay for it"</span></p>
            <p class="figure"><strong>{signed(revenue.0 - total.cost.0)}</strong><span>"left of that"</span></p>
            {(other_currencies > 0).then(|| view! {
                <p class="figure"><strong>{Tokens(other_currencies).to_string()}</strong><span>"subscriptions not in dollars, left out"</span></p>
            })}
        }
    });
    view! {
        <section class="figures">
            <p class="figure"><strong>{total.cost.to_string()}</strong><span>{format!("spent in {period}{change}")}</span></p>
            <p class="figure"><strong>{total.tokens().to_string()}</strong><span>"tokens"</span></p>
            <p class="figure"><strong>{Tokens(total.requests).to_string()}</strong><span>"requests"</span></p>
            <p class="figure"><strong>{Tokens(people).to_string()}</strong><span>"people"</span></p>
            {more}
        </section>
    }
}

/// How what was spent differs from the period before, in per cent; nothing where that had nothing.
fn change(now: Picos, before: Option<Picos>) -> String {
    let Some(before) = before.filter(|before| before.0 > 0) else { return String::new() };
    let percent = (i128::from(now.0) - i128::from(before.0)) * 100 / i128::from(before.0);
    match percent {
        0 => ", as before".to_owned(),
        1.. => format!(", +{percent} % on the time before"),
        _ => format!(", \u{2212}{} % on the time before", -percent),
    }
}

/// The table; also drawn on the landing page from a fixture, with fewer columns.
#[component]
pub fn HeaviestTable(
    /// What was used.
    view: HeaviestView,
    /// Which part of it.
    asked: Asked,
    /// Every column, and what can be done.
    full: bool,
) -> impl IntoView {
    let HeaviestView { rows, house, line, .. } = view;
    if rows.is_empty() {
        return view! {
            <section class="empty">
                <h2>"Nobody used anything"</h2>
                <p>{format!("No turn in {} that fits. Widen the period or the filter, or wait for the first message.", asked.period.label())}</p>
            </section>
        }
        .into_any();
    }
    let head = |label: &'static str, order: Order| {
        let sorted = (order == asked.order).then_some("descending");
        let href = Asked { order, page: 1, ..asked.clone() }.href("/admin");
        view! { <th scope="col" class="end" aria-sort=sorted><a href=href>{label}</a></th> }
    };
    let period = asked.period.label();
    let table = Table { whole: house.cost, period: &period, model: asked.model.as_ref(), line, full };
    let line = table.line();
    let drawn = rows.into_iter().map(|row| draw(row, &table)).collect_view();
    view! {
        <div class="table-scroll" tabindex="0" role="region" aria-label="Heaviest users">
            <table class="compact numbers sticky">
                <thead><tr>
                    <th scope="col">"Who"</th><th scope="col">"Plan"</th>
                    {head("Requests", Order::Requests)} {head("Tokens", Order::Tokens)} {head("Cost", Order::Cost)}
                    <th scope="col">"Share of cost"</th>
                    {full.then(|| view! {
                        {line.map(|(first, last)| view! { <th scope="col">{format!("{} days", (last - first).whole_days() + 1)}</th> })}
                        {head("Margin", Order::Margin)} {head("Refused", Order::Refusals)} {head("Estimate off", Order::Estimate)}
                        <th scope="col"><span class="unseen">"Write"</span></th>
                    })}
                </tr></thead>
                <tbody>{drawn}</tbody>
            </table>
        </div>
    }
    .into_any()
}

/// Money that may be less than nothing.
fn signed(picos: i64) -> String {
    let amount = Picos(picos.saturating_abs()).to_string();
    if picos < 0 { format!("\u{2212}{amount}") } else { amount }
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
    /// The days of each line. People's days aren't kept model by model.
    fn line(&self) -> Option<(Date, Date)> {
        self.line.filter(|_| self.full && self.model.is_none())
    }
}

fn draw(row: Heavy, table: &Table<'_>) -> impl IntoView + use<> {
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
        let margin = table.model.is_none().then(|| signed(row.pays.0 - row.sum.cost.0));
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
            <td><Share part=row.sum.cost.0.unsigned_abs() whole=table.whole.0.unsigned_abs()/></td>
            {more}
        </tr>
    }
}

/// A letter with share, cost and plan filled in, for the owner to finish.
fn write_to(email: &str, row: &Heavy, table: &Table<'_>) -> impl IntoView + use<> {
    let plan = row.plan.as_ref().map_or("none", |plan| plan.0.as_str());
    let of = table.model.map(|model| format!(" of {model}")).unwrap_or_default();
    let share = u128::from(row.sum.cost.0.unsigned_abs()) * 100 / u128::from(table.whole.0.unsigned_abs().max(1));
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
    view! { <a href=href>"Write to them"</a> }
}

/// A day in a chart: 3 Mar.
fn day_of(day: Date) -> String {
    format!("{} {}", day.day(), &day.month().to_string()[..3])
}

/// What each model cost on each day.
#[component]
fn CostByDay(view: HeaviestView, asked: Asked, of: &'static str) -> impl IntoView {
    let stacks: Vec<Stack> = view
        .days
        .iter()
        .map(|(date, models)| Stack {
            label: day_of(*date),
            parts: models
                .iter()
                .map(|(model, cost)| Bar {
                    label: model.to_string(),
                    value: cost.0.unsigned_abs(),
                    text: cost.to_string(),
                })
                .collect(),
        })
        .collect();
    view! {
        <section>
            <h2>{format!("Cost by day and model{of}")}</h2>
            <Stacks title=format!("Cost by day and model, {}, in UTC", asked.period.label()) stacks/>
        </section>
    }
}

/// What each model did: calls, cost, how long the first words took, and what its vendor left unanswered.
#[component]
fn ByModel(view: HeaviestView, of: &'static str) -> impl IntoView {
    let whole = view.house.cost;
    let row = |name: String, used: ModelUse| {
        let (half, most) = used.first_words_ms.unzip();
        view! {
            <tr>
                <th scope="row">{name}</th>
                <td class="end">{Tokens(used.calls).to_string()}</td>
                <td class="end">{used.cost.to_string()}</td>
                <td><Share part=used.cost.0.unsigned_abs() whole=whole.0.unsigned_abs()/></td>
                <td class="end">{seconds(half)}</td>
                <td class="end">{seconds(most)}</td>
                <td class="end">{Tokens(used.failed).to_string()}</td>
                <td class="end">{per_cent(used.failed, used.calls)}</td>
            </tr>
        }
    };
    let together = (view.by_model.len() > 1).then(|| row("Together".to_owned(), view.house.clone()));
    let rows = view.by_model.into_iter().map(|(model, used)| row(model.0, used)).collect_view();
    view! {
        <section>
            <h2>{format!("By model{of}")}</h2>
            <div class="table-scroll" tabindex="0" role="region" aria-label="By model">
                <table class="compact numbers">
                    <thead><tr>
                        <th scope="col">"Model"</th><th scope="col" class="end">"Calls"</th><th scope="col" class="end">"Cost"</th>
                        <th scope="col">"Share of cost"</th>
                        <th scope="col" class="end">"First words, half"</th><th scope="col" class="end">"95 %"</th>
                        <th scope="col" class="end">"Vendor failed"</th><th scope="col" class="end">"Of calls"</th>
                    </tr></thead>
                    <tbody>{rows}</tbody>
                    <tfoot>{together}</tfoot>
                </table>
            </div>
            <p class="hint">
                "First words: half of all answers began within the first time, 95 of a hundred within the second."
                {view.lacks_first_words.then_some(" Calls that aren't added up yet are left out.")}
            </p>
        </section>
    }
}

/// Milliseconds as seconds, of which two digits are known.
fn seconds(ms: Option<i32>) -> String {
    match ms {
        None => "\u{2013}".to_owned(),
        Some(ms) if ms < 1_000 => format!("{ms} ms"),
        Some(ms) if ms < 10_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        Some(ms) => format!("{} s", ms / 1_000),
    }
}

/// A part of a whole in tenths of a per cent.
fn per_cent(part: u64, whole: u64) -> String {
    let tenths = u128::from(part) * 1_000 / u128::from(whole.max(1));
    format!("{}.{} %", tenths / 10, tenths % 10)
}

/// What stands below the table: tokens by kind, refusals by reason.
#[component]
fn Around(view: HeaviestView, asked: Asked, of: &'static str) -> impl IntoView {
    let (total, [.., reasoning]) = (view.total, view.house.kinds);
    let all = total.tokens();
    // Which part of somebody's output was reasoning isn't kept person by person.
    let reasoning = asked.is_whole().then_some(("of which reasoning", reasoning));
    let kinds = [("Input", total.input), ("Cached input", total.cached), ("Output", total.output)]
        .into_iter()
        .chain(reasoning)
        .map(|(kind, tokens)| {
            view! {
                <tr><th scope="row">{kind}</th><td class="end">{tokens.to_string()}</td><td><Share part=tokens.0 whole=all.0/></td></tr>
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
    let none = view.refusals.is_empty().then(|| view! { <p class="hint">"Nobody was refused anything."</p> });
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
    fn a_change_is_told_in_whole_per_cent() {
        for (now, before, said) in [
            (150, Some(100), ", +50 % on the time before"),
            (50, Some(100), ", \u{2212}50 % on the time before"),
            (1_001, Some(1_000), ", as before"),
            (5, Some(0), ""),
            (5, None, ""),
            (i64::MAX, Some(1), ", +922337203685477580600 % on the time before"),
        ] {
            assert_eq!(change(Picos(now), before.map(Picos)), said);
        }
    }

    #[test]
    fn times_are_told_in_two_digits() {
        for (ms, said) in [
            (Some(7), "7 ms"),
            (Some(950), "950 ms"),
            (Some(1_400), "1.4 s"),
            (Some(23_000), "23 s"),
            (None, "\u{2013}"),
        ] {
            assert_eq!(seconds(ms), said);
        }
    }
}
