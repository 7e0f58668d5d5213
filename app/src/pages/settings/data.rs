//! `/settings/data`: the export of everything, and the deletion of the account.

use super::Tabs;
use super::password::CurrentPassword;
use crate::api;
use crate::components::field::FormError;
use crate::components::frame::Frame;
use crate::components::icon::{Draw, Icon};
use crate::components::loaded::loaded;
use crate::view::storage::StorageView;
use domain::attachment::format_bytes;
use domain::money::count;
use leptos::prelude::*;

/// Renders the data page.
#[component]
pub fn Data() -> impl IntoView {
    view! {
        <Frame title="Data">
            <header class="page-head split"><h1>"Data"</h1><Tabs/></header>
            <FormError/>
            <section class="setting">
                <h2>"Export"</h2>
                <form method="post" action="/settings/data/export" class="stack">
                    <p>"Everything that belongs to your account in one ZIP: conversations as text and as data, attached files, usage, sign-in methods, sessions, activity and invoices."</p>
                    <button class="secondary">"Download ZIP"</button>
                </form>
            </section>
            {loaded(api::storage::storage(), |storage| view! { <Storage storage/> })}
            <section class="setting">
                <h2>"Conversations"</h2>
                <div class="stack">
                    <p>"All conversations as Markdown and JSON in one ZIP, which can be imported here and elsewhere."</p>
                    <form method="post" action="/settings/data/conversations.zip"><button class="secondary">"Download conversations"</button></form>
                    <p>"Bring your conversations from ChatGPT, Claude or another account."</p>
                    <a class="button secondary" href="/settings/import">"Import conversations"</a>
                    <p>"Read-only links to copies of your conversations."</p>
                    <a class="button secondary" href="/settings/shares">"Shared links"</a>
                </div>
            </section>
            <section class="setting">
                <h2>"Usage"</h2>
                <div class="stack">
                    <p>"Every response of the last 90 days with its model, tokens and time, as a table."</p>
                    <p class="actions">
                        <a class="button secondary" href="/usage.csv?days=90" download>"Download CSV"</a>
                        <a class="button secondary" href="/usage.csv?days=90&bom=1" download>"CSV for Excel"</a>
                    </p>
                </div>
            </section>
            <section class="setting">
                <h2>"Retention"</h2>
                <div class="stack">
                    {loaded(api::chat_settings::retention(), |days| view! { <p>{retention(days)}</p> })}
                    <p>"Temporary chats are deleted a day after their last message, or when you end them."</p>
                </div>
            </section>
            <section class="danger-zone">
                <h2><Draw icon=Icon::Danger size=20/>"Delete account"</h2>
                <p>"This can't be undone."</p>
                <ul>
                    <li>"Your conversations and files are deleted immediately."</li>
                    <li>"Any subscription is cancelled immediately, without a refund."</li>
                    <li>"You are signed out everywhere."</li>
                    <li>"Usage records are kept for accounting, without your name."</li>
                </ul>
                <form method="post" action="/settings/delete" class="stack">
                    <CurrentPassword label="Confirm with your password"/>
                    <button class="danger">"Permanently delete my account"</button>
                </form>
            </section>
        </Frame>
    }
}

/// Describes how long conversations are kept.
fn retention(days: Option<u32>) -> String {
    match days {
        None => "Your conversations are kept until you delete them.".to_owned(),
        Some(days) => format!(
            "A conversation is permanently deleted {} after its last message. Its usage still counts.",
            count(days.into(), "day", "days")
        ),
    }
}

/// How much of the plan's storage is used.
#[component]
fn Storage(
    /// The use of storage.
    storage: StorageView,
) -> impl IntoView {
    let StorageView { used, limit } = storage;
    let (text, max) = (format!("{} of {} used", format_bytes(used), format_bytes(limit)), limit.max(1).to_string());
    view! {
        <section class="setting">
            <h2>"Storage"</h2>
            <div class="stack">
                <p>"Files that you attach, the text of imported conversations and the copies of shared links. Files are deleted with their conversation."</p>
                <progress max=max value=used.to_string() aria-labelledby="storage-used"></progress>
                <p id="storage-used" translate="no">{text}</p>
            </div>
        </section>
    }
}
