//! `/`: the landing page, which shows the product's components with example data.

use crate::api;
use crate::components::frame::Frame;
use crate::components::icon::{Draw, Icon};
use crate::components::loaded::loaded;
use crate::components::meter::Meter;
use crate::page_context::page_context;
use crate::pages::admin::top_users::{Figures, TopUsersTable};
use crate::pages::pricing::Offers;
use crate::view::admin::{ModelUse, TopUsersView};
use domain::{Picos, PlanId, Quota, Tokens, UsageFilter, UsageSum, UserUsage, quota};
use leptos::prelude::*;

/// HTML as `crates/markdown` renders it.
const RESPONSE: &str = r#"<p dir="auto">The notice period is <strong>three months</strong> to the end of a quarter (§ 14.2). If your notice arrives by 30 September, the lease ends on 31 December.</p>
<div class="table-scroll" tabindex="0"><table><thead><tr><th dir="auto">Clause</th><th dir="auto">Requirement</th></tr></thead><tbody><tr><td dir="auto">§ 14.1</td><td dir="auto">Notice in writing, signed</td></tr><tr><td dir="auto">§ 14.2</td><td dir="auto">Three months, to the end of a quarter</td></tr></tbody></table></div>"#;

/// Renders the landing page.
#[component]
pub fn Home() -> impl IntoView {
    let action = if page_context().viewer.is_some() { ("/chat", "Open the chat") } else { ("/sign-up", "Start free") };
    view! {
        <Frame title="" wide=true>
            <section class="hero">
                <h1>"AI chat with clear limits"</h1>
                <p>"Chat with AI models and always see how much of your plan is left."</p>
                <p><a class="button large" href=action.0>{action.1}<Draw icon=Icon::ArrowRight/></a></p>
            </section>
            <Panel/>
            <section class="section">
                <h2>"How it works"</h2>
                <ol class="steps">
                    <li><h3>"Checked before sending"</h3><p>"The tokens of your message and of the longest possible response are reserved from your plan. If too few are left, you see when you can send it."</p></li>
                    <li><h3>"Streamed as it is written"</h3><p>"The response appears word by word and continues if you close the tab. You can stop it at any time. What the provider bills for it counts."</p></li>
                    <li><h3>"Settled when it ends"</h3><p>"The tokens that were used are recorded with their exact cost. The rest of the reservation is available again immediately."</p></li>
                </ol>
            </section>
            <section class="section">
                <h2>"What a message costs"</h2>
                <div class="table-scroll" tabindex="0" role="region" aria-label="Cost of example messages">
                    <table class="compact numbers">
                        <thead><tr><th scope="col">"One message to Claude Haiku 5.5"</th><th scope="col" class="end">"Input + output tokens"</th><th scope="col" class="end">"Cost"</th></tr></thead>
                        <tbody>{EXAMPLES.map(example).into_iter().collect_view()}</tbody>
                    </table>
                </div>
                <p class="aside">"Each of these is one request. That is why plans limit tokens as well as requests."</p>
            </section>
            <section class="section">
                <h2>"Plans"</h2>
                {loaded(api::plan::catalog(), |shop| view! { <Offers shop/> })}
            </section>
            <section class="section questions">
                <h2>"Questions"</h2>
                <details><summary>"When can I use my tokens again?"</summary><p>"24 hours after you used them, rounded up to the next half hour. Nothing resets at midnight. Your usage page lists the times."</p></details>
                <details><summary>"What happens when I reach a limit?"</summary><p>"Your draft is kept, and a countdown shows when you can send it. You can wait, shorten the message, or choose another model or a larger plan."</p></details>
                <details><summary>"Does an interrupted response count?"</summary><p>"Only the tokens used before the interruption count. The text written so far is saved and marked as incomplete, and you can try again."</p></details>
                <details><summary>"Does deleting a conversation free up tokens?"</summary><p>"No. The conversation is permanently deleted, but its usage still counts."</p></details>
            </section>
        </Frame>
    }
}

/// Example messages: description, input tokens and output tokens. Priced below with the seeded prices.
const EXAMPLES: [(&str, u64, u64); 3] =
    [("\u{201c}hi\u{201d}", 40, 12), ("A page to summarise", 700, 250), ("A pasted 60-page document", 28_000, 400)];

fn example((what, input, output): (&'static str, u64, u64)) -> impl IntoView {
    // Prices in micro-dollars per million tokens, as seeded by migration 0010.
    let cost = domain::MicrosPerMillion(100_000).of(input).plus(domain::MicrosPerMillion(500_000).of(output));
    view! {
        <tr><th scope="row">{what}</th><td class="end">{format!("{} + {}", Tokens(input), Tokens(output))}</td><td class="end">{cost.to_string()}</td></tr>
    }
}

/// Renders the product with example data: a conversation with its meter, next to the owner's table of top users.
#[component]
fn Panel() -> impl IntoView {
    let quota = Quota {
        plan: "free".into(),
        requests: quota::Requests { limit: 10, remaining: 8, reset_ms: Some(41_000) },
        tokens: quota::TokensLeft {
            limit: 50_000,
            used: 28_412,
            reserved: 4_096,
            remaining: 17_492,
            next_free_ms: Some(11_520_000),
        },
        in_flight: quota::InFlight { limit: 2, now: 1 },
    };
    view! {
        <section class="showcase" aria-label="Preview with example data">
            <div class="showcase-chat">
                <div class="user-message"><p>"What is the earliest date on which we can end the lease? The contract is pasted above."</p></div>
                <div class="answer"><div class="markdown" inner_html=RESPONSE></div></div>
                <div class="showcase-foot"><Meter quota=Some(quota)/></div>
            </div>
            <div class="showcase-owner">
                <p class="showcase-label">"What the owner sees"</p>
                <Figures view=fixture() filter=UsageFilter::default() full=false/>
                <TopUsersTable view=fixture() filter=UsageFilter::default() full=false/>
            </div>
        </section>
    }
}

fn fixture() -> TopUsersView {
    let row = |email: &str, plan: &str, requests, input, output, picos| UserUsage {
        email: Some(email.to_owned()),
        plan: Some(PlanId(plan.to_owned())),
        sum: UsageSum { requests, input: Tokens(input), cached: Tokens(0), output: Tokens(output), cost: Picos(picos) },
        estimated: Tokens(input),
        ..UserUsage::default()
    };
    let rows = vec![
        row("ines@example.com", "max", 212, 1_904_000, 88_000, 7_032_000_000_000),
        row("tom@example.com", "pro", 96, 401_000, 52_000, 1_983_000_000_000),
        row("ada@example.com", "free", 31, 38_100, 9_400, 85_100_000_000),
    ];
    let total = rows.iter().fold(UsageSum::default(), |total, row| total.plus(row.sum));
    let all_models = ModelUse { cost: total.cost, ..ModelUse::default() };
    TopUsersView { rows, total, users: 3, all_models, ..TopUsersView::default() }
}
