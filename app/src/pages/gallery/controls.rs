//! Buttons, icons and fields.

use crate::components::copy_button::CopyButton;
use crate::components::field::{Field, FormError, PasswordField};
use crate::components::icon::{Draw, Icon, Mark};
use crate::components::theme::ThemeSwitch;
use crate::components::time_zone::TimeZoneField;
use crate::page_context::{FailedForm, PageContext, page_context};
use leptos::context::Provider;
use leptos::prelude::*;

/// Buttons of each kind and size, and tags.
#[component]
pub(super) fn Buttons() -> impl IntoView {
    let kinds = ["", "secondary", "quiet", "danger"].map(|kind| {
        let name = if kind.is_empty() { "Main" } else { kind };
        view! {
            <div class="row-actions">
                <button type="button" class=format!("{kind} large")>{name}" large"</button>
                <button type="button" class=kind>{name}</button>
                <button type="button" class=format!("{kind} small")>{name}" small"</button>
                <button type="button" class=kind disabled=true>{name}" disabled"</button>
                <a class=format!("button {kind}") href="/dev/gallery">{name}" link"</a>
            </div>
        }
    });
    view! {
        <section>
            <h2>"Buttons and tags"</h2>
            <div class="stack">
                {kinds.into_iter().collect_view()}
                <div class="row-actions">
                    <button type="button" class="quiet icon-button" aria-label="Copy" title="Copy">
                        <Draw icon=Icon::Copy/><span class="when-done"><Draw icon=Icon::Check/></span>
                    </button>
                    <button type="button" class="quiet icon-button" aria-label="Copied" data-done="">
                        <Draw icon=Icon::Copy/><span class="when-done"><Draw icon=Icon::Check/></span>
                    </button>
                    <span id="copied-example">"A text to copy"</span><CopyButton of="copied-example" what="the text"/>
                    <span class="tag">"Trial"</span>
                    <span class="tag warn">"not set"</span>
                </div>
                <div class="row-actions"><ThemeSwitch/></div>
            </div>
        </section>
    }
}

const ICONS: [Icon; 28] = [
    Icon::ArrowUp,
    Icon::ArrowDown,
    Icon::ArrowRight,
    Icon::Check,
    Icon::Alert,
    Icon::Danger,
    Icon::Clock,
    Icon::Close,
    Icon::Mail,
    Icon::Menu,
    Icon::Monitor,
    Icon::Moon,
    Icon::Sun,
    Icon::ChevronDown,
    Icon::ChevronsUpDown,
    Icon::Copy,
    Icon::Keyboard,
    Icon::Pen,
    Icon::Square,
    Icon::Trash,
    Icon::Retry,
    Icon::ThumbsDown,
    Icon::ThumbsUp,
    Icon::Archive,
    Icon::Ellipsis,
    Icon::PanelLeft,
    Icon::Pin,
    Icon::Search,
];

/// The icons in both sizes, and the mark.
#[component]
pub(super) fn Icons() -> impl IntoView {
    let all = |size: u8| ICONS.map(|icon| view! { <Draw icon size/> }).into_iter().collect_view();
    view! {
        <section>
            <h2>"Icons"</h2>
            <div class="stack">
                <div class="row-actions">{all(16)}</div>
                <div class="row-actions">{all(20)}</div>
                <div class="row-actions"><Mark/><Mark size=32/></div>
            </div>
        </section>
    }
}

/// Fields as they are filled in, and after a rejected form.
#[component]
pub(super) fn Fields() -> impl IntoView {
    let failed = FailedForm {
        values: vec![("gallery-wrong", "ann@".to_owned()), ("zone", "Mars/Base".to_owned())],
        errors: vec![
            ("", "Incorrect email or password.".to_owned()),
            ("gallery-wrong", "Enter a valid email address.".to_owned()),
            ("gallery-weak", "Use at least 12 characters.".to_owned()),
            ("zone", "Choose a time zone from the list.".to_owned()),
        ],
    };
    let rejected = PageContext { form: failed, ..page_context() };
    view! {
        <section>
            <h2>"Fields"</h2>
            <div class="columns">
                <form class="stack" aria-label="Filled in">
                    <Field name="gallery-name" label="Name" kind="text" autocomplete="off" optional=true hint="Shown only to you."/>
                    <Field name="gallery-email" label="Email" kind="email" autocomplete="off" value="ann@example.com"/>
                    <PasswordField name="gallery-password" label="Password" autocomplete="new-password" hint="At least 12 characters."/>
                    <div class="field">
                        <label for="gallery-plan">"Plan"</label>
                        <select id="gallery-plan"><option>"Free"</option><option>"Pro"</option></select>
                    </div>
                    <div class="field">
                        <label for="gallery-reason">"Reason"</label>
                        <textarea id="gallery-reason" rows="3"></textarea>
                    </div>
                    <div class="field">
                        <label for="gallery-key">"Key"</label>
                        <input id="gallery-key" readonly value="sk-test"/>
                    </div>
                    <label class="check"><input type="checkbox" checked=true/>"Send when possible"</label>
                    <label class="check"><input type="radio" name="gallery-radio"/>"Monthly"</label>
                </form>
                <Provider value=rejected>
                    <form class="stack" aria-label="Rejected">
                        <FormError/>
                        <Field name="gallery-wrong" label="Email" kind="email" autocomplete="off"/>
                        <PasswordField name="gallery-weak" label="Password" autocomplete="new-password"/>
                        <TimeZoneField value="UTC".to_owned()/>
                    </form>
                </Provider>
            </div>
        </section>
    }
}
