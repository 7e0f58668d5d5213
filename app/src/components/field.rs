//! Form fields with their labels and error messages.

use crate::page_context::page_context;
use crate::view::conversation::escaped;
use leptos::prelude::*;

/// The text below a field: its validation error, or its help text.
struct Note {
    /// Id of the element, for `aria-describedby`; `None` if there is no text.
    id: Option<String>,
    /// Whether the field is invalid.
    is_error: bool,
    /// The element.
    view: AnyView,
}

fn note(name: &'static str, hint: &'static str) -> Note {
    let id = format!("{name}-note");
    match page_context().form.error(name) {
        Some(sentence) => Note {
            id: Some(id.clone()),
            is_error: true,
            view: view! { <p class="error" id=id>{sentence}</p> }.into_any(),
        },
        None if hint.is_empty() => Note { id: None, is_error: false, view: ().into_any() },
        None => {
            Note { id: Some(id.clone()), is_error: false, view: view! { <p class="hint" id=id>{hint}</p> }.into_any() }
        }
    }
}

/// A labeled input. After a rejected form, it shows the submitted value and the validation error.
#[component]
pub fn Field(
    /// Name of the form field; also the element's id.
    name: &'static str,
    /// Visible label.
    label: &'static str,
    /// The input's type: `email` or `text`.
    kind: &'static str,
    /// Value of the `autocomplete` attribute.
    autocomplete: &'static str,
    /// The initial value, unless a rejected form has submitted another.
    #[prop(default = String::new(), into)]
    value: String,
    /// Help text under the field; replaced by the validation error, if any.
    #[prop(default = "")]
    hint: &'static str,
    /// Whether the field may be left empty.
    #[prop(default = false)]
    optional: bool,
) -> impl IntoView {
    let Note { id, is_error, view: note } = note(name, hint);
    let value = page_context().form.submitted(name).unwrap_or(value);
    view! {
        <div class="field">
            <label for=name>{label}{optional.then(|| view! { <span class="optional">" (optional)"</span> })}</label>
            <input id=name name=name type=kind autocomplete=autocomplete value=value required=!optional
                aria-invalid=is_error.then_some("true") aria-describedby=id/>
            {note}
        </div>
    }
}

/// A labeled password input. Its button shows what was entered; `public/password.js` reveals the button and makes it work, so that nothing
/// is missing without JavaScript. The script is a module, which browsers run once however many fields a page has.
#[component]
pub fn PasswordField(
    /// Name of the form field; also the element's id.
    name: &'static str,
    /// Visible label.
    label: &'static str,
    /// Value of the `autocomplete` attribute: `current-password` or `new-password`.
    autocomplete: &'static str,
    /// Help text under the field; replaced by the validation error, if any.
    #[prop(default = "")]
    hint: &'static str,
) -> impl IntoView {
    let Note { id, is_error, view: note } = note(name, hint);
    let shows = format!(" {}", label.to_lowercase());
    view! {
        <div class="field">
            <label for=name>{label}</label>
            <div class="revealable">
                <input id=name name=name type="password" autocomplete=autocomplete required spellcheck="false" autocapitalize="off"
                    aria-invalid=is_error.then_some("true") aria-describedby=id/>
                <button type="button" class="secondary" data-reveals=name aria-controls=name hidden><span>"Show"</span><span class="unseen">{shows}</span></button>
            </div>
            {note}
            <script type="module" src="/password.js" nonce=use_nonce()/>
        </div>
    }
}

/// The error message of the form as a whole, if any.
#[component]
pub fn FormError() -> impl IntoView {
    page_context().form.error("").map(|sentence| view! { <p class="form-error" role="alert">{sentence}</p> })
}

/// A labeled field for several lines of text. After a rejected form, it shows the submitted value and the validation error.
#[component]
pub fn TextArea(
    /// Name of the form field.
    name: &'static str,
    /// The element's id, unique on the page.
    id: &'static str,
    /// Visible label.
    label: &'static str,
    /// The initial value, unless a rejected form has submitted another.
    value: String,
    /// Maximum length in characters.
    max: usize,
    /// Help text under the field; replaced by the validation error, if any.
    #[prop(default = "")]
    hint: &'static str,
) -> impl IntoView {
    let Note { id: note_id, is_error, view: note } = note(name, hint);
    let value = page_context().form.submitted(name).unwrap_or(value);
    // A line break right after the tag is not a part of the value, so one is added.
    let value = format!("\n{value}");
    view! {
        <div class="field">
            <label for=id>{label}</label>
            <textarea id=id name=name rows="6" dir="auto" maxlength=max.to_string()
                aria-invalid=is_error.then_some("true") aria-describedby=note_id inner_html=escaped(&value)></textarea>
            {note}
        </div>
    }
}

/// A labeled choice. After a rejected form, it shows the submitted choice and the validation error.
#[component]
pub fn Choice(
    /// Name of the form field.
    name: &'static str,
    /// The element's id, unique on the page.
    id: &'static str,
    /// Visible label.
    label: &'static str,
    /// Values with their labels.
    options: Vec<(String, String)>,
    /// The initial value, unless a rejected form has submitted another.
    value: String,
) -> impl IntoView {
    let Note { id: note_id, is_error, view: note } = note(name, "");
    let value = page_context().form.submitted(name).unwrap_or(value);
    let options = options.into_iter().map(|(option, text)| {
        let is_selected = option == value;
        view! { <option value=option selected=is_selected>{text}</option> }
    });
    let options = options.collect_view();
    view! {
        <div class="field">
            <label for=id>{label}</label>
            <select id=id name=name translate="no" aria-invalid=is_error.then_some("true") aria-describedby=note_id>{options}</select>
            {note}
        </div>
    }
}
