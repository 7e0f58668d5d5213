//! `/`: the landing page, which shows the product's components with example data.

use crate::api;
use crate::components::frame::Frame;
use crate::components::icon::{Draw, Icon};
use crate::components::loaded::loaded;
use crate::components::markdown::Markdown;
use crate::components::meter::Meter;
use crate::page_context::page_context;
use crate::pages::admin::top_users::{Figures, TopUsersTable};
use crate::pages::pricing::Offers;
use crate::view::admin::{ModelUse, TopUsersView, UserUsage};
use crate::view::usage::Sum;
use crate::view::usage_filter::UsageFilter;
use domain::{Picos, PlanId, Quota, Tokens, quota};
use leptos::prelude::*;

const ANSWER: &str = "The notice period is **three months** to the end of a quarter (§ 14.2), so a letter that arrives by 30 September ends the lease on 31 December.

| Clause | Says |
|---|---|
| § 14.1 | in writing, signed |
| § 14.2 | three months, to a quarter's end |";

/// Renders the landing page.
#[component]
pub fn Home() -> impl IntoView {
    let action = if page_context().viewer.is_some() { ("/chat", "Open the chat") } else { ("/sign-up", "Start free") };
    view! {
        <Frame title="" wide=true>
            <section class="hero">
                <h1>"A good model, and an honest meter"</h1>
                <p>"Chat with a language model and always see what is left of your plan, before it runs out."</p>
                <p><a class="button large" href=action.0>{action.1}<Draw icon=Icon::ArrowRight/></a></p>
            </section>
            <Panel/>
            <section class="section">
                <h2>"How it works"</h2>
                <ol class="steps">
                    <li><h3>"Held before"</h3><p>"Each message is counted before it is sent, and the longest answer it may get is held on your meter. If it can't fit, you hear so at once, and when it will."</p></li>
                    <li><h3>"Streamed"</h3><p>"The answer arrives word by word and runs on if your tab closes. Stop it when you have enough: what wasn't said isn't charged."</p></li>
                    <li><h3>"Settled after"</h3><p>"What the model really used is written down to the token and priced to the last digit. The rest of the hold comes back the same moment."</p></li>
                </ol>
            </section>
            <section class="section">
                <h2>"Limits and cost in numbers"</h2>
                <div class="table-scroll" tabindex="0" role="region" aria-label="What messages cost">
                    <table class="compact numbers">
                        <thead><tr><th scope="col">"One message to Claude Haiku 5.5"</th><th scope="col" class="end">"Tokens in and out"</th><th scope="col" class="end">"Costs"</th></tr></thead>
                        <tbody>{EXAMPLES.map(example).into_iter().collect_view()}</tbody>
                    </table>
                </div>
                <p class="aside">"All of them are one request. That is why plans count tokens too."</p>
            </section>
            <section class="section">
                <h2>"Plans"</h2>
                {loaded(api::plan::catalog(), |shop| view! { <Offers shop/> })}
            </section>
            <section class="section questions">
                <h2>"Questions"</h2>
                <details><summary>"When do my tokens come back?"</summary><p>"Piece by piece, 24 hours after you used each, give or take a quarter of an hour. Nothing resets at midnight, and the meter says when the next piece returns."</p></details>
                <details><summary>"What happens when I reach the limit?"</summary><p>"Your draft is kept, a card says when this very message fits, counting down, and you can wait, shorten it, pick another model or a larger plan."</p></details>
                <details><summary>"Am I charged for an answer that broke off?"</summary><p>"You are counted for what the model wrote until then, and never for more. The part that came is kept, marked, and you can try again."</p></details>
                <details><summary>"Does deleting a conversation give tokens back?"</summary><p>"No. It removes the words and nothing else."</p></details>
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

/// Shows the product on example data: a conversation with its meter, next to the owner's table of top users.
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
        <section class="showcase" aria-label="The product, on example data">
            <div class="showcase-chat">
                <div class="user-message"><p>"When can we end the lease at the earliest? It is in the contract I pasted."</p></div>
                <div class="answer"><Markdown text=Signal::stored(ANSWER.to_owned())/></div>
                <div class="showcase-foot"><Meter quota=Signal::stored(Some(quota))/></div>
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
        user_id: None,
        email: Some(email.to_owned()),
        plan: Some(PlanId(plan.to_owned())),
        sum: Sum { requests, input: Tokens(input), cached: Tokens(0), output: Tokens(output), cost: Picos(picos) },
        estimated: Tokens(input),
        refusals: 0,
        paid: Picos(0),
        line: Vec::new(),
    };
    let rows = vec![
        row("ines@example.com", "max", 212, 1_904_000, 88_000, 7_032_000_000_000),
        row("tom@example.com", "pro", 96, 401_000, 52_000, 1_983_000_000_000),
        row("ada@example.com", "free", 31, 38_100, 9_400, 85_100_000_000),
    ];
    let total = rows.iter().fold(Sum::default(), |total, row| total.plus(row.sum));
    let all_models = ModelUse { cost: total.cost, ..ModelUse::default() };
    TopUsersView { rows, total, users: 3, all_models, ..TopUsersView::default() }
}
