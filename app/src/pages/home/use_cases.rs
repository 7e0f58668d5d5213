//! What the product is used for, with a message for each.

use leptos::prelude::*;

/// A use case: its name, its benefit and an example message.
const CASES: [(&str, &str, &str); 4] = [
    (
        "Write",
        "Letters, posts and replies in your tone and language, from a few notes.",
        "Turn these notes into a polite answer to our landlord, in German.",
    ),
    (
        "Understand",
        "Contracts, papers and long threads. Ask for the passage that an answer comes from.",
        "What is the earliest date on which we can end this lease? Quote the clause.",
    ),
    (
        "Build",
        "Code with an explanation, in blocks that you copy with one click.",
        "Why does this query read the whole table, and how do I rewrite it?",
    ),
    (
        "Decide",
        "Options side by side, with the pros and cons of each.",
        "Compare these three offers in a table, with the cost over two years.",
    ),
];

/// Lists the purposes.
#[component]
pub(super) fn UseCases() -> impl IntoView {
    let cases = CASES
        .map(|(purpose, text, message)| {
            view! {
                <li>
                    <h3>{purpose}</h3>
                    <p>{text}</p>
                    <p class="example">{message}</p>
                </li>
            }
        })
        .into_iter()
        .collect_view();
    view! {
        <section class="section">
            <h2>"What you can do with it"</h2>
            <ul class="cases">{cases}</ul>
        </section>
    }
}
