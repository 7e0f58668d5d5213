//! `/settings/import`: imports conversations from a file.

use super::Tabs;
use crate::api;
use crate::components::duration::moment;
use crate::components::field::FormError;
use crate::components::frame::Frame;
use crate::components::icon::{Draw, Icon};
use crate::components::loaded::loaded;
use crate::page_context::page_context;
use crate::view::import::ImportRow;
use domain::money::count;
use leptos::prelude::*;

/// Renders the page that imports conversations.
#[component]
pub fn Import() -> impl IntoView {
    view! {
        <Frame title="Import conversations">
            <header class="page-head split"><h1>"Import conversations"</h1><Tabs/></header>
            <FormError/>
            <section class="setting">
                <h2>"File"</h2>
                <div class="stack">
                    <p>"The ZIP or the conversations.json that ChatGPT or Claude sent you, or an export of this app. Importing is free and uses no tokens. The text counts toward your storage."</p>
                    <FileForm/>
                </div>
            </section>
            {loaded(api::import::own(), |imports| view! { <Imports imports/> })}
        </Frame>
    }
}

#[component]
fn FileForm() -> impl IntoView {
    let error = page_context().form.error("file");
    let is_invalid = error.is_some().then_some("true");
    let note = match error {
        Some(sentence) => view! { <p class="error" id="file-note">{sentence}</p> }.into_any(),
        None => {
            view! { <p class="hint" id="file-note">"At most 50 MB. Text is imported with all versions of your messages; images and files are listed by name only."</p> }
                .into_any()
        }
    };
    view! {
        <form method="post" action="/settings/import" enctype="multipart/form-data" class="stack">
            <div class="field">
                <label for="file">"Export file"</label>
                <input id="file" name="file" type="file" accept=".zip,.json,application/zip,application/json" required
                    aria-invalid=is_invalid aria-describedby="file-note"/>
                {note}
            </div>
            <button>"Import"</button>
        </form>
    }
}

#[component]
fn Imports(imports: Vec<ImportRow>) -> impl IntoView {
    let is_running = imports.iter().any(|import| import.is_running);
    let refresh = is_running.then(|| view! { <a class="button secondary" href="/settings/import">"Refresh"</a> });
    (!imports.is_empty()).then(|| {
        view! {
            <section class="setting">
                <h2>"Imports"</h2>
                <div class="stack">
                    <ul class="entries">{imports.into_iter().map(row).collect_view()}</ul>
                    {refresh}
                </div>
            </section>
        }
    })
}

/// Describes what an import has done.
fn sentence(import: &ImportRow) -> String {
    let done = format!(
        "{} with {}",
        count(import.conversations, "conversation", "conversations"),
        count(import.messages, "message", "messages"),
    );
    let imported = if import.is_running { format!("In progress: {done} so far.") } else { format!("Imported {done}.") };
    let also = [
        (import.duplicates, "already here", "already here"),
        (
            import.skipped,
            "skipped because it is empty or can't be read",
            "skipped because they are empty or can't be read",
        ),
    ];
    let also = also.into_iter().filter(|(n, _, _)| *n > 0).map(|(n, one, many)| format!(" {}.", count(n, one, many)));
    imported + &also.collect::<String>()
}

fn row(import: ImportRow) -> impl IntoView {
    let text = sentence(&import);
    let error = import.error.map(|error| view! { <p><Draw icon=Icon::Alert/>{error}</p> });
    view! {
        <li>
            <div role="status">
                <p><strong>{text}</strong></p>
                {error}
                <p class="hint">{format!("{} UTC", moment(import.created_at))}</p>
            </div>
        </li>
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::OffsetDateTime;

    #[test]
    fn a_sentence_says_what_was_imported() {
        let import = ImportRow {
            is_running: false,
            error: None,
            conversations: 1,
            messages: 2,
            duplicates: 3,
            skipped: 0,
            created_at: OffsetDateTime::UNIX_EPOCH,
        };
        assert_eq!(sentence(&import), "Imported 1 conversation with 2 messages. 3 already here.");
    }
}
