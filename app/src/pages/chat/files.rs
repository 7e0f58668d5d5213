//! Attached files: below the message box until they are sent, then above their message. Rendered by the server, and cloned by the island.

use crate::components::icon::{Draw, Icon};
use domain::attachment::{MAX_FILE_BYTES, MAX_FILES, format_bytes};
use domain::{Attachment, AttachmentKind};
use leptos::prelude::*;

/// What the file picker offers. Any file can be dropped or pasted; the server decides by its content.
const ACCEPTED: &str = "image/png,image/jpeg,image/webp,image/gif,application/pdf,text/*,.md,.csv,.json,.yaml,.yml,.toml,.xml,.log,.rs,.py,\
                        .js,.mjs,.ts,.tsx,.jsx,.go,.java,.kt,.swift,.c,.h,.cpp,.cs,.rb,.php,.sh,.sql,.html,.css";

/// The files of a message, as links to them. Images are shown small.
#[component]
pub(super) fn SentFiles(
    /// The files, in order.
    files: Vec<Attachment>,
) -> impl IntoView {
    let links = files.into_iter().map(|file| {
        let (href, details) = (format!("/attachments/{}", file.id), format_bytes(file.bytes));
        let is_image = file.kind == AttachmentKind::Image;
        let (width, height) = file.size.unwrap_or_default();
        let picture = is_image.then(|| {
            let (src, alt) = (href.clone(), file.name.clone());
            view! { <img src=src alt=alt width=width.to_string() height=height.to_string() loading="lazy"/> }
        });
        let named = (!is_image).then(|| {
            view! { <Draw icon=Icon::File/><span class="file-name">{file.name.clone()}</span><span class="file-details">{details}</span> }
        });
        view! { <a class="sent-file" class:sent-image=is_image href=href target="_blank">{picture}{named}</a> }
    });
    let links: Vec<_> = links.collect();
    (!links.is_empty()).then(|| view! { <div class="sent-files">{links}</div> })
}

/// The files that will be sent with the message, and notes about them. Empty until files are chosen, dropped or pasted.
#[component]
pub(super) fn ChosenFiles() -> impl IntoView {
    let too_many = format!("A message can have at most {MAX_FILES} files.");
    let too_large = format!("Larger than {}.", format_bytes(MAX_FILE_BYTES));
    view! {
        <ul id="files" class="files" aria-label="Attached files" data-too-large=too_large hidden=true></ul>
        <div id="file-notes" class="file-notes" role="status">
            <p data-note="no-images" hidden=true><span data-slot="model"></span>" doesn't read images. Choose another model, or remove the images."</p>
            <p data-note="too-many" hidden=true>{too_many}</p>
            <p data-note="uploading" hidden=true>"Wait until all files are uploaded."</p>
            <p data-note="failed" hidden=true>"Remove the files that couldn't be attached."</p>
            <p data-note="busy" hidden=true>"Files can be sent once the response is complete."</p>
        </div>
        <input type="file" id="file-picker" multiple=true accept=ACCEPTED hidden=true tabindex="-1" aria-label="Files"/>
    }
}

/// The button that opens the file picker.
#[component]
pub(super) fn AttachButton() -> impl IntoView {
    view! {
        <button type="button" id="attach" class="quiet icon-button" aria-label="Attach files" title="Attach files" disabled=true><Draw icon=Icon::Paperclip/></button>
    }
}

/// What the island clones: a file below the message box, and a file above a message that was just sent.
#[component]
pub(super) fn FileTemplates() -> impl IntoView {
    view! {
        <template id="chosen-file">
            <li class="file">
                <img class="file-preview" data-slot="preview" src="data:," alt="" hidden=true/>
                <span class="file-icon" data-slot="icon"><Draw icon=Icon::File/></span>
                <span class="file-text"><span class="file-name" data-slot="name"></span><span class="file-details" data-slot="details" translate="no"></span></span>
                <progress data-slot="progress" max="100" value="0" aria-label="Upload"></progress>
                <button type="button" class="quiet small" data-slot="as-text" hidden=true>"Paste as text"</button>
                <button type="button" class="quiet icon-button" data-slot="remove"><Draw icon=Icon::Close/></button>
            </li>
        </template>
        <template id="sent-file">
            <a class="sent-file" href="/chat" target="_blank"><Draw icon=Icon::File/><span class="file-name" data-slot="name"></span><span class="file-details" data-slot="details"></span></a>
        </template>
        <template id="sent-image">
            <a class="sent-file sent-image" href="/chat" target="_blank"><img data-slot="image" src="data:," alt=""/></a>
        </template>
    }
}
