//! `/help` and `/help/{topic}`: how the product works, for its users.

use super::{all_entries, own_entry, text_of};
use crate::components::frame::Frame;
use crate::components::json_ld::{JsonLd, questions};
use domain::brand;
use leptos::prelude::*;

/// Questions with short answers, also for search engines.
const QUESTIONS: [(&str, &str); 6] = [
    (
        "When can I use my tokens again?",
        "24 hours after you used them, rounded up to the next half hour. Nothing resets at midnight. Your usage page lists the times.",
    ),
    (
        "What happens when I reach a limit?",
        "Your draft is kept, and a countdown shows when you can send it. You can wait, shorten the message, or choose a larger plan.",
    ),
    (
        "Does an interrupted response count?",
        "Only the tokens used before the interruption count. The text written so far is saved and marked as incomplete, and you can try again.",
    ),
    (
        "Does deleting a conversation free up tokens?",
        "No. The conversation is permanently deleted, but its usage still counts.",
    ),
    (
        "Does a new plan refill my tokens?",
        "It raises the limit at once, from your next message on. What you have used in the last 24 hours still counts.",
    ),
    (
        "Can I cancel at any time?",
        "Yes, under Settings, Billing. Your plan stays active until the end of the paid period, and you are not charged again.",
    ),
];

/// The topics and common questions.
#[component]
pub fn Help() -> impl IntoView {
    let topic = |entry: &crate::view::content::Entry| {
        view! { <li><h2><a href=entry.path.clone()>{entry.title.clone()}</a></h2><p>{entry.description.clone()}</p></li> }
    };
    let topics = all_entries().iter().map(|entry| topic(entry)).collect_view();
    let question = |(question, answer): (&'static str, &'static str)| {
        view! { <details><summary>{question}</summary><p>{answer}</p></details> }
    };
    view! {
        <Frame title="Help">
            <header class="page-head">
                <h1>"Help"</h1>
                <p>{format!("How {} works, and what to do when something doesn't.", brand::NAME)}</p>
            </header>
            <ul class="topics">{topics}</ul>
            <section class="common-questions">
                <h2>"Common questions"</h2>
                {QUESTIONS.map(question).into_iter().collect_view()}
            </section>
            <Contact/>
            <JsonLd value=questions(&QUESTIONS)/>
        </Frame>
    }
}

/// One topic.
#[component]
pub fn Topic() -> impl IntoView {
    let entry = own_entry();
    let here = entry.path.clone();
    let others = all_entries()
        .iter()
        .map(|other| {
            let is_here = other.path == here;
            view! { <li><a href=other.path.clone() aria-current=is_here.then_some("page")>{other.title.clone()}</a></li> }
        })
        .collect_view();
    view! {
        <Frame title=entry.title.clone()>
            <p class="crumb"><a href="/help">"Help"</a></p>
            <article class="text-page">
                <header class="page-head"><h1>{entry.title.clone()}</h1></header>
                {text_of(&entry)}
            </article>
            <Contact/>
            <nav class="other-topics" aria-label="Help topics"><h2>"All topics"</h2><ul>{others}</ul></nav>
        </Frame>
    }
}

/// How to reach support.
#[component]
fn Contact() -> impl IntoView {
    let href = format!("mailto:{}", brand::SUPPORT_EMAIL);
    view! { <p class="aside">"Not answered here? "<a href=href>"Contact us"</a>"."</p> }
}
