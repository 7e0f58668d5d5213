//! Questions before a visitor signs up.

use crate::components::json_ld::{JsonLd, questions};
use leptos::prelude::*;

/// The questions with their answers.
const QUESTIONS: [(&str, &str); 6] = [
    (
        "Do I need a card to start?",
        "No. The free plan needs only an email address. You enter a card when you choose a paid plan.",
    ),
    (
        "What is a token?",
        "About four characters of English text. Each message uses tokens for its text, for the conversation so far and for the answer. The chat shows them before and after you send.",
    ),
    (
        "What happens when I reach a limit?",
        "Your draft is kept, and a countdown shows when you can send it. You can wait, shorten the message, or choose another model or a larger plan.",
    ),
    (
        "When can I use my tokens again?",
        "24 hours after you used them, rounded up to the next half hour. Your usage page lists the times.",
    ),
    (
        "Can I change or cancel my plan?",
        "At any time, under Settings, Billing. A larger plan applies from your next message. A plan that you cancel stays active until the end of the paid period.",
    ),
    (
        "What happens to my messages?",
        "Your messages are sent to the provider of the model that you choose, to be answered. You delete conversations in the chat, and export or delete everything under Settings.",
    ),
];

/// Lists the questions; each opens its answer. Also for search engines.
#[component]
pub(super) fn Questions() -> impl IntoView {
    let list = QUESTIONS
        .map(|(question, answer)| view! { <details><summary>{question}</summary><p>{answer}</p></details> })
        .into_iter()
        .collect_view();
    view! {
        <section class="section questions">
            <h2>"Questions"</h2>
            {list}
            <JsonLd value=questions(&QUESTIONS)/>
        </section>
    }
}
