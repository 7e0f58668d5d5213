//! Loads what models read of attached files.

use super::image_memory;
use super::prompt::FullPrompt;
use crate::AppState;
use crate::failure::Failure;
use domain::{AttachmentId, AttachmentKind, MessageId, Model, Problem, PromptImage, Role, Viewer};
use std::collections::HashMap;
use std::sync::Arc;
use store::attachment::StoredFile;

/// Maximum number of images of a prompt and of their bytes: what one request to each provider may contain. Older images are left out.
const MAX_IMAGES: usize = 20;
const MAX_IMAGE_BYTES: u64 = 20_000_000;

/// Loads the files of a prompt: `new` ones of the question, and those of stored messages. What they add to earlier messages becomes part of
/// their text, so that it is counted, cut and summarized like any other. An estimate needs the size of images and not their bytes, which may be
/// many: they are loaded only with `with_bytes`.
///
/// # Errors
/// Returns a 404 problem if a new file isn't the viewer's or was sent before, and a problem if the model reads no images but a new file is one, or
/// if the images of other turns leave no memory for this one's.
pub(crate) async fn attach(
    app: &AppState,
    viewer: &Viewer,
    model: &Model,
    new: &[AttachmentId],
    mut full: FullPrompt,
    with_bytes: bool,
) -> Result<FullPrompt, Failure> {
    let questions = full.past.iter().filter(|message| message.role == Role::User).map(|message| message.message_id);
    let ids: Vec<MessageId> = questions.chain(full.attached.question_id).collect();
    let mut past = match ids.is_empty() {
        true => Vec::new(),
        false => store::attachment::list_of_messages(&app.db, viewer.user_id, &ids).await?,
    };
    let question_id = full.attached.question_id;
    let mut question: Vec<StoredFile> = past.extract_if(.., |file| file.message_id == question_id).collect();
    if !new.is_empty() {
        let found = store::attachment::load_for_prompt(&app.db, viewer.user_id, new, false).await?;
        if found.len() != new.len() || found.iter().any(|file| file.message_id.is_some()) {
            return Err(Problem::not_found("file").into());
        }
        if !model.takes_images && found.iter().any(is_image) {
            return Err(takes_no_images(model).into());
        }
        question.extend(found);
    }
    if past.is_empty() && question.is_empty() {
        return Ok(full);
    }
    let chosen = choose(model, &past, &question);
    let mut images: HashMap<AttachmentId, PromptImage> = match with_bytes {
        true => {
            let bytes: u64 = among(&past, &question, &chosen).map(|file| file.file.bytes).sum();
            full.attached.image_permit = Some(image_memory::take(&app.image_memory, bytes)?);
            load(app, viewer, &chosen).await?
        }
        false => among(&past, &question, &chosen).filter_map(measured).collect(),
    };
    for file in question {
        match images.remove(&file.file.id) {
            Some(image) => full.attached.question_images.push(image),
            None => full.attached.question_text.push_str(&described(&file)),
        }
    }
    for file in past {
        let Some(message) = full.past.iter_mut().find(|message| Some(message.message_id) == file.message_id) else {
            continue;
        };
        match images.remove(&file.file.id) {
            Some(image) => full.attached.past_images.entry(message.message_id).or_default().push(image),
            None => message.text.push_str(&described(&file)),
        }
    }
    Ok(full)
}

fn is_image(file: &StoredFile) -> bool {
    file.file.kind == AttachmentKind::Image
}

fn takes_no_images(model: &Model) -> Problem {
    let message = format!("{} doesn't read images. Choose another model, or remove the images.", model.label);
    Problem::invalid("attachments", message)
}

/// Chooses the images to send: as many as fit one request, the newest first.
fn choose(model: &Model, past: &[StoredFile], question: &[StoredFile]) -> Vec<AttachmentId> {
    if !model.takes_images {
        return Vec::new();
    }
    let mut bytes = 0;
    let newest_first = past.iter().chain(question).filter(|file| is_image(file)).rev().take(MAX_IMAGES);
    let fitting = newest_first.take_while(|file| {
        bytes += file.file.bytes;
        bytes <= MAX_IMAGE_BYTES
    });
    fitting.map(|file| file.file.id).collect()
}

/// Returns the files of stored messages and of the question that were chosen.
fn among<'a>(
    past: &'a [StoredFile],
    question: &'a [StoredFile],
    chosen: &'a [AttachmentId],
) -> impl Iterator<Item = &'a StoredFile> {
    past.iter().chain(question).filter(|file| chosen.contains(&file.file.id))
}

/// Loads images.
async fn load(
    app: &AppState,
    viewer: &Viewer,
    ids: &[AttachmentId],
) -> Result<HashMap<AttachmentId, PromptImage>, Failure> {
    let mut images = HashMap::new();
    if ids.is_empty() {
        return Ok(images);
    }
    for StoredFile { file, data, .. } in store::attachment::load_for_prompt(&app.db, viewer.user_id, ids, true).await? {
        let (Some(data), Some((width, height))) = (data, file.size) else { continue };
        let data = app.files.bytes(data).await?;
        let image = PromptImage { media_type: file.media_type, width, height, data: data.as_ref().into() };
        images.insert(file.id, image);
    }
    Ok(images)
}

/// Returns an image without its bytes, to be counted.
fn measured(file: &StoredFile) -> Option<(AttachmentId, PromptImage)> {
    let (width, height) = file.file.size?;
    let media_type = file.file.media_type.clone();
    Some((file.file.id, PromptImage { media_type, width, height, data: Arc::default() }))
}

/// Returns what represents a file in a message's text: the text of a document between fences, or the name of an image that isn't sent.
fn described(file: &StoredFile) -> String {
    let name = &file.file.name;
    let Some(text) = &file.text else { return format!("\n\n[Image \"{name}\", which isn't shown here]") };
    let longest = text.lines().map(|line| line.trim_start().bytes().take_while(|byte| *byte == b'`').count()).max();
    let fence = "`".repeat(longest.unwrap_or(0).max(2) + 1);
    let what = if file.file.kind == AttachmentKind::Pdf { "The text of the attached PDF" } else { "The attached file" };
    format!("\n\n{what} \"{name}\":\n{fence}\n{text}\n{fence}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::turn::testing::model;
    use domain::{Attachment, Thinking, Tokens};
    use uuid::Uuid;

    fn file(n: u128, kind: AttachmentKind, bytes: u64, text: Option<&str>) -> StoredFile {
        StoredFile {
            file: Attachment {
                id: AttachmentId::from(Uuid::from_u128(n)),
                name: "a.md".to_owned(),
                kind,
                media_type: "image/png".to_owned(),
                bytes,
                size: Some((8, 8)),
                tokens: text.map(|_| Tokens(1)),
            },
            message_id: None,
            text: text.map(str::to_owned),
            data: None,
        }
    }

    #[test]
    fn the_newest_images_are_sent_as_far_as_they_fit() {
        let image = |n, bytes| file(n, AttachmentKind::Image, bytes, None);
        let ids = |chosen: Vec<AttachmentId>| chosen.into_iter().map(|id| Uuid::from(id).as_u128()).collect::<Vec<_>>();
        let reads_images = model(Thinking::None);
        let past = [image(1, 9_000_000), image(2, 9_000_000), file(3, AttachmentKind::Text, 1, Some("x"))];
        assert_eq!(ids(choose(&reads_images, &past, &[image(4, 2_000_000)])), [4, 2, 1]);
        assert_eq!(ids(choose(&reads_images, &past, &[image(4, 3_000_000)])), [4, 2]);
        let many: Vec<_> = (0..30).map(|n| image(n, 1)).collect();
        assert_eq!(ids(choose(&reads_images, &many, &[])).len(), MAX_IMAGES);
        let without_images = Model { takes_images: false, ..reads_images };
        assert!(choose(&without_images, &past, &[image(4, 1)]).is_empty());
    }

    #[test]
    fn texts_are_fenced_by_more_backticks_than_they_have() {
        let text = described(&file(1, AttachmentKind::Text, 1, Some("a\n````\nb")));
        assert_eq!(text, "\n\nThe attached file \"a.md\":\n`````\na\n````\nb\n`````");
        assert!(described(&file(1, AttachmentKind::Image, 1, None)).contains("\"a.md\""));
    }
}
