//! Meters, charts and tables, with example data.

use crate::components::chart::{Bar, Bars, Line, Share, Stack, Stacks, Unit};
use crate::components::meter::{Meter, Ring};
use crate::pages::admin::Pager;
use crate::pages::admin::audit::AuditTable;
use crate::pages::admin::top_users::{Figures, TopUsersTable};
use crate::view::admin::{ModelUse, TopUsersView};
use domain::{AuditEntry, Picos, PlanId, Quota, Tokens, UsageFilter, UsageSum, UserUsage, quota};
use leptos::prelude::*;
use time::macros::datetime;

/// An address that is too long for any column.
const LONG: &str = "a.name.that.is.far.too.long.for.any.column.of.any.table@a-department.of-a-company.example.com";
/// Picodollars of a cent.
const CENT: i64 = 10_000_000_000;

fn quota(used: u64, reserved: u64, requests: u64) -> Quota {
    Quota {
        plan: "free".to_owned(),
        requests: quota::Requests { limit: 10, remaining: requests, reset_ms: Some(41_000) },
        tokens: quota::TokensLeft {
            limit: 50_000,
            used,
            reserved,
            remaining: 50_000_u64.saturating_sub(used + reserved),
            next_free_ms: Some(11_520_000),
        },
        in_flight: quota::InFlight { limit: 2, now: u64::from(reserved > 0) },
    }
}

/// Meters with nothing used, with a reservation, nearly used up, used up, and unavailable; the ring of the message box.
#[component]
pub(super) fn Meters() -> impl IntoView {
    let states = [
        Some(quota(0, 0, 10)),
        Some(quota(12_500, 4_096, 8)),
        Some(quota(46_000, 0, 3)),
        Some(quota(50_000, 0, 0)),
        None,
    ];
    let meters = states.map(|quota| view! { <div class="panel"><Meter quota/></div> });
    view! {
        <section>
            <h2>"Meters"</h2>
            <div class="columns">{meters.into_iter().collect_view()}</div>
            <div class="row-actions"><Ring quota=Some(quota(40_500, 4_096, 8))/></div>
        </section>
    }
}

fn bars(count: u64, largest: u64) -> Vec<Bar> {
    let bar = |n: u64| {
        let value = n * 7 % 11 * largest / 10;
        Bar { label: format!("{} Mar", n + 1), value, text: format!("{} tokens", Tokens(value)) }
    };
    (0..count).map(bar).collect()
}

fn stacks(count: u64, series: u64) -> Vec<Stack> {
    let part = |day: u64, n: u64| (format!("model-{n}"), (day + 3 * n) % 7 * 1_000_000_000_000 / (n + 1));
    let stack =
        |day: u64| Stack { label: format!("{} Mar", day + 1), parts: (0..series).map(|n| part(day, n)).collect() };
    (0..count).map(stack).collect()
}

/// Charts with no, one, a few and many bars, with one series and with more than have a color, and the small charts of tables.
#[component]
pub(super) fn Charts() -> impl IntoView {
    let values: Vec<u64> = (0..30).map(|n: u64| n * 7 % 11).collect();
    view! {
        <section>
            <h2>"Charts"</h2>
            <div class="columns">
                <Bars title="No bars" bars=Vec::new() unit=Unit::Tokens/>
                <Bars title="One bar" bars=vec![Bar { label: "Today".to_owned(), value: 3, text: "3 tokens".to_owned() }] unit=Unit::Tokens/>
                <Bars title="Seven bars" bars=bars(7, 12_000) unit=Unit::Tokens/>
                <Bars title="Ninety bars" bars=bars(90, 4_000_000) unit=Unit::Tokens/>
            </div>
            <Stacks title="One series" stacks=stacks(30, 1) unit=Unit::Money/>
            <Stacks title="Eleven series" stacks=stacks(30, 11) unit=Unit::Money/>
            <div class="row-actions">
                <Line title="A line" values/> <Line title="One value" values=vec![1]/> <Line title="No values" values=Vec::new()/>
                <Share part=0 whole=0/> <Share part=37 whole=100/> <Share part=200 whole=100/>
            </div>
        </section>
    }
}

fn user(email: &str, n: i32) -> UserUsage {
    let tokens = Tokens(123_456 * u64::from(n.unsigned_abs()));
    UserUsage {
        subject_id: n,
        email: Some(email.to_owned()),
        plan: Some(PlanId("pro".to_owned())),
        sum: UsageSum {
            requests: 96,
            input: tokens,
            output: Tokens(52_000),
            cost: Picos(CENT * 123 * i64::from(n)),
            ..UsageSum::default()
        },
        estimated: tokens,
        refusals: 3,
        paid: Picos(CENT * 2_000),
        ..UserUsage::default()
    }
}

fn report(rows: Vec<UserUsage>) -> TopUsersView {
    let total = rows.iter().fold(UsageSum::default(), |total, row| total.plus(row.sum));
    let all_models = ModelUse { cost: total.cost, ..ModelUse::default() };
    TopUsersView { users: 3, total, all_models, rows, ..TopUsersView::default() }
}

/// Tables without rows, with one, and with too long names; the pager; the figures.
#[component]
pub(super) fn Tables() -> impl IntoView {
    let many = report(vec![user("ines@example.com", 3), user(LONG, 2), UserUsage { email: None, ..user("", 1) }]);
    let entry = |before: Option<&str>, after: Option<&str>, why: &str| AuditEntry {
        at: datetime!(2026-11-27 10:30 UTC),
        actor: Some(LONG.to_owned()),
        target: Some("ann@example.com".to_owned()),
        target_user_id: None,
        action: "set_plan".to_owned(),
        before: before.map(str::to_owned),
        after: after.map(str::to_owned),
        why: Some(why.to_owned()),
    };
    let entries = vec![
        entry(Some("free"), Some("pro"), "A trial"),
        entry(None, Some("10 requests a minute, 50,000 tokens a day"), &"A reason of some length. ".repeat(8)),
        entry(Some("admin"), None, "Done"),
    ];
    view! {
        <section>
            <h2>"Tables"</h2>
            <Figures view=many.clone() filter=UsageFilter::default()/>
            <TopUsersTable view=many filter=UsageFilter::default()/>
            <TopUsersTable view=report(vec![user("one@example.com", 1)]) filter=UsageFilter::default()/>
            <TopUsersTable view=report(Vec::new()) filter=UsageFilter::default()/>
            <Pager page=2 pages=3 href=|page| format!("/dev/gallery?page={page}")/>
            <AuditTable rows=entries/>
            <AuditTable rows=Vec::new()/>
        </section>
    }
}
