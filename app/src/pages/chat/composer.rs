//! The message box, the model picker, Send and Stop.

use crate::components::icon::{Draw, Icon};
use crate::components::meter::Meter;
use crate::view::conversation::AvailableModel;
use domain::Quota;
use leptos::{ev::KeyboardEvent, html, prelude::*};

/// The composer. The text box is uncontrolled, so text typed before hydration is kept.
#[component]
pub(super) fn Composer(
    /// The text box.
    node: NodeRef<html::Textarea>,
    /// Available models, the default first.
    models: Vec<AvailableModel>,
    /// Name of the selected model.
    model: RwSignal<String>,
    /// The selected reasoning effort; empty leaves it to the model.
    effort: RwSignal<String>,
    /// Whether a response is in progress.
    #[prop(into)]
    running: Signal<bool>,
    /// Whether the text box contains a message to send.
    #[prop(into)]
    can_send: Signal<bool>,
    /// The remaining quota; `None` if it can't be loaded.
    #[prop(into)]
    quota: Signal<Option<Quota>>,
    /// Local time at which the next tokens become available; empty if unknown.
    #[prop(into)]
    back_at: Signal<String>,
    /// Called when the text changes.
    #[prop(into)]
    on_type: Callback<()>,
    /// Called to send the message.
    #[prop(into)]
    on_send: Callback<()>,
    /// Called to stop the response in progress.
    #[prop(into)]
    on_stop: Callback<()>,
) -> impl IntoView {
    let key = move |event: KeyboardEvent| {
        // While an input method is composing, Enter confirms the composition.
        if event.key() == "Enter" && !event.shift_key() && !event.is_composing() {
            event.prevent_default();
            on_send.run(());
        }
    };
    let demo: Vec<String> = models.iter().filter(|choice| choice.is_demo).map(|choice| choice.name.0.clone()).collect();
    let is_demo = move || demo.contains(&model.get());
    let efforts = StoredValue::new(models.clone());
    let options = models
        .into_iter()
        .map(|choice| {
            let label = if choice.allowed { choice.label } else { format!("{} (larger plan)", choice.label) };
            let picked = choice.name.0 == model.get_untracked();
            view! { <option value=choice.name.0 selected=picked>{label}</option> }
        })
        .collect_view();
    view! {
        <form class="composer" on:submit=move |event| { event.prevent_default(); on_send.run(()); }>
            <label class="unseen" for="question">"Message"</label>
            <textarea id="question" name="text" rows="1" placeholder="Ask anything" node_ref=node
                on:input=move |_| on_type.run(()) on:keydown=key></textarea>
            <div class="composer-foot">
                <label class="unseen" for="model">"Model"</label>
                <select id="model" on:change=move |event| model.set(event_target_value(&event))>{options}</select>
                {move || effort_picker(efforts, &model.get(), effort)}
                {move || is_demo().then(|| view! { <span class="tag">"demo model"</span> })}
                <Meter quota back_at/>
                {move || if running.get() {
                    view! { <button type="button" class="send" aria-label="Stop" on:click=move |_| on_stop.run(())><Draw icon=Icon::Square/></button> }.into_any()
                } else {
                    view! { <button type="submit" class="send" aria-label="Send" disabled=move || !can_send.get()><Draw icon=Icon::ArrowUp/></button> }.into_any()
                }}
            </div>
        </form>
    }
}

/// Renders the picker of the reasoning effort; nothing if the model has no such setting.
fn effort_picker(
    models: StoredValue<Vec<AvailableModel>>,
    model: &str,
    effort: RwSignal<String>,
) -> Option<impl IntoView + use<>> {
    let of_model = |all: &Vec<AvailableModel>| {
        all.iter().find(|choice| choice.name.0 == model).map(|choice| choice.efforts.clone())
    };
    let efforts = models.with_value(of_model).filter(|efforts| !efforts.is_empty())?;
    let picked = effort.get_untracked();
    let options = efforts
        .into_iter()
        .map(|effort| view! { <option value=effort.clone() selected=effort == picked>{format!("{effort} effort")}</option> })
        .collect_view();
    Some(view! {
        <label class="unseen" for="effort">"Reasoning effort"</label>
        <select id="effort" on:change=move |event| effort.set(event_target_value(&event))>
            <option value="">"default effort"</option>
            {options}
        </select>
    })
}
