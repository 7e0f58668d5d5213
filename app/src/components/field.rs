//! A form field with its label and error message.

use crate::page_context::page_context;
use leptos::prelude::*;

/// A labeled input. After a rejected form, it shows the submitted value and the validation error.
#[component]
pub fn Field(
    /// Name of the form field; also the element's id.
    name: &'static str,
    /// Visible label.
    label: &'static str,
    /// The input's type: `email`, `password` or `text`.
    kind: &'static str,
    /// Value of the `autocomplete` attribute.
    autocomplete: &'static str,
    /// Help text under the field; replaced by the validation error, if any.
    #[prop(default = "")]
    hint: &'static str,
    /// Whether the field may be left empty.
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
            <input id=name name=name type=kind autocomplete=autocomplete value=form.value(name) required=!optional
                aria-invalid=error.is_some().then_some("true")
                aria-describedby=has_note.then_some(note_id)/>
            {note}
        </div>
    }
}

/// The error message of the form as a whole, if any.
#[component]
pub fn FormError() -> impl IntoView {
    page_context().form.error("").map(|sentence| view! { <p class="form-error" role="alert">{sentence}</p> })
}
