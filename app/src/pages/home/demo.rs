//! The live demo of the landing page: one short answer to a question, without an account. `public/demo.js` sends the question and shows the
//! answer; without it the form leads to the sign-up. Sends no wasm.

use crate::components::icon::{Draw, Icon};
use leptos::prelude::*;

/// Questions to begin with.
const QUESTIONS: [&str; 3] = [
    "Write a friendly reminder about an unpaid invoice",
    "Compare renting and buying a home in a table",
    "Explain recursion with a short Python example",
];

/// The example that is shown until a question is asked: a question, and what each choice costs. Short enough to be seen whole on a phone.
const EXAMPLE: &str = "Rent or buy a bicycle for two years?";
const COSTS: [(&str, &str, &str); 2] = [("Price", "$480", "$600"), ("Repairs", "included", "$120")];

/// The demo: the answer, suggested questions, and the field for another one.
#[component]
pub(super) fn Demo() -> impl IntoView {
    let suggestions = QUESTIONS
        .map(|question| view! { <button class="secondary small" data-question=question>{question}</button> })
        .into_iter()
        .collect_view();
    view! {
        <section class="demo" aria-labelledby="demo-title">
            <h2 id="demo-title">"Try it now"</h2>
            <p class="hint">"Ask a question and read the answer as it is written. No account needed."</p>
            <div id="demo-thread" class="demo-thread" tabindex="0" role="region" aria-label="Answer">
                <Example/>
            </div>
            <form id="demo-form" class="demo-form" action="/sign-up">
                <div class="demo-suggestions" role="group" aria-label="Suggested questions">{suggestions}</div>
                <div class="demo-field">
                    <label class="unseen" for="demo-question">"Your question"</label>
                    <textarea id="demo-question" rows="1" maxlength="500" placeholder="Ask anything" autocomplete="off"></textarea>
                    <button id="demo-send" class="icon-button" aria-label="Send" title="Send"><Draw icon=Icon::ArrowUp/></button>
                </div>
            </form>
            <p class="hint">"One short answer per question. Don't enter anything secret."<noscript>" The demo needs JavaScript."</noscript></p>
            <p id="demo-status" class="unseen" role="status"></p>
            <template id="demo-parts">
                <p class="demo-question" data-part="question"></p>
                <div class="markdown" data-part="answer"></div>
                <p class="demo-model" data-part="model" translate="no"></p>
                <p class="demo-more" data-part="more"><span data-slot="sentence">"Want to continue? With an account you can keep your conversations and choose from all models."</span>" "<a class="button small" href="/sign-up">"Create account"</a></p>
                <p data-part="writing">"The answer is being written."</p>
                <p data-part="complete">"The answer is complete."</p>
                <p data-part="offline">"The connection was lost. Try again."</p>
            </template>
            <script type="module" src="/demo.js" nonce=use_nonce()/>
        </section>
    }
}

/// A question and its answer, as the demo shows them.
#[component]
fn Example() -> impl IntoView {
    let rows = COSTS
        .map(|(what, rent, buy)| {
            view! { <tr><th scope="row">{what}</th><td>{rent}</td><td>{buy}</td></tr> }
        })
        .into_iter()
        .collect_view();
    view! {
        <p class="demo-model">"Example"</p>
        <p class="demo-question">{EXAMPLE}</p>
        <div class="markdown">
            <table>
                <thead><tr><th scope="col">"Cost"</th><th scope="col">"Rent"</th><th scope="col">"Buy"</th></tr></thead>
                <tbody>{rows}</tbody>
            </table>
            <p><strong>"Rent"</strong>" if you are unsure: you can stop at any time. A bicycle that you buy can be sold again."</p>
        </div>
    }
}
