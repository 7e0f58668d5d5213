//! Notices: confirmations, warnings, refusals, and the ways in which responses end.

use crate::components::error_page::ErrorPage;
use crate::components::icon::{Draw, Icon};
use crate::components::outcome::{HistoryNote, Reasoning, StatusNote, note};
use crate::components::refusal_card::RefusalCard;
use domain::{HistoryCut, MessageStatus, Problem, ProblemKind};
use leptos::prelude::*;

/// Confirmations, warnings, empty and error states.
#[component]
pub(super) fn Notices() -> impl IntoView {
    view! {
        <section>
            <h2>"Notices"</h2>
            <div class="stack">
                <p class="done"><Draw icon=Icon::Check/>"Your name was changed."</p>
                <p class="form-error">"Incorrect email or password."</p>
                <p class="note">"Test mode: no money moves."</p>
                <p class="hint">"Changes apply from the next message."</p>
                <ul class="warnings">
                    <li><Draw icon=Icon::Alert/><span>"A model ends on 2026-12-11."</span></li>
                    <li><Draw icon=Icon::Danger/><span>"A provider rejects the API key."</span></li>
                </ul>
                <div class="toast"><Draw icon=Icon::Alert/><span data-slot="text">"80 % of today's tokens used."</span>
                    <button type="button" class="quiet small" aria-label="Close"><Draw icon=Icon::Close/></button></div>
                <section class="danger-zone">
                    <h2><Draw icon=Icon::Danger size=20/>"Delete account"</h2>
                    <p>"This can't be undone."</p>
                    <div class="row-actions"><button type="button" class="danger">"Permanently delete my account"</button></div>
                </section>
                <section class="empty"><h2>"No usage yet"</h2><p>"Your first response appears here as soon as it ends."</p></section>
            </div>
            <ErrorPage problem=Problem::not_found("page")/>
            <ErrorPage problem=Problem::new(ProblemKind::Internal, "Something went wrong on our side.")/>
        </section>
    }
}

/// Kinds of refusals that are shown; the others look alike. The style sheet keeps the parts of the named kind.
const REFUSALS: [(&str, &str); 3] = [
    ("gallery-refusal tokens", "You have 120 tokens left today, and this message needs 4,300."),
    ("gallery-refusal too-large", "The message is longer than the model can read."),
    ("gallery-refusal internal", "The response couldn't be started. Nothing was charged."),
];

/// Refusal cards, and the notes of responses that are incomplete.
#[component]
pub(super) fn Endings() -> impl IntoView {
    let refusals = REFUSALS.map(|(class, sentence)| {
        view! { <div class=class><p class="hint">{sentence}</p><RefusalCard/></div> }
    });
    let notes = MessageStatus::ALL
        .map(|status| note(status, "text", "").map(|sentence| view! { <StatusNote status sentence/> }));
    view! {
        <section>
            <h2>"Refusals and endings"</h2>
            <div class="columns">{refusals.into_iter().collect_view()}</div>
            <div class="answer">
                <HistoryNote cut=HistoryCut::Summarized/>
                <HistoryNote cut=HistoryCut::Dropped/>
                <Reasoning text="First, the clauses. Then, the dates.".to_owned()/>
                {notes.into_iter().collect_view()}
            </div>
        </section>
    }
}
