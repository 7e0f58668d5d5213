//! A form field with its label and error message.

use crate::page_context::page_context;
use leptos::prelude::*;

/// A labelled input that shows what was typed before, and what is wrong with it.
#[component]
pub fn Field(
    /// The name it is sent under.
    name: &'static str,
    /// What users read.
    label: &'static str,
    /// `email`, `password`, `text`.
    kind: &'static str,
    /// For the browser's own help.
    autocomplete: &'static str,
    /// A word of advice under the field.
    #[prop(default = "")]
    hint: &'static str,
    /// Whether it may stay empty.
    #[prop(default = false)]
    optional: bool,
) -> impl IntoView {
    let form = page_context().form;
    let error = form.error(name);
    let note_id = format!("{name}-note");
    let has_note = error.is_some() || !hint.is_empty();
    let note = match &error {
        Some(sentence) => view! { <p class="error" id=note_id.clone()>{sentence.clone()}</p> }.into_any(),
        None if !hint.is_empty() => view! { <p class="hint" id=note_id.clone()>{hint}</p> }.into_any(),
        None => ().into_any(),
    };
    view! {
        <div class="field">
            <label for=name>{label}{optional.then(|| view! { <span class="optional">" (optional)"</span> })}</label>
            <input id=name name=name type=kind autocomplete=autocomplete value=form.typed(name) required=!optional
                aria-invalid=error.is_some().then_some("true")
                aria-describedby=has_note.then_some(note_id)/>
            {note}
        </div>
    }
}

/// What is wrong with the form as a whole.
#[component]
pub fn FormError() -> impl IntoView {
    page_context().form.error("").map(|sentence| view! { <p class="form-error" role="alert">{sentence}</p> })
}
