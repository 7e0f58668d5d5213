//! An upload, from its first byte to its row.

use super::UPLOADS_PER_USER;
use super::spool::{NotReceived, discard, spool};
use crate::AppState;
use crate::failure::{Failure, internal};
use crate::turn::prompt::run_counting;
use bytes::Bytes;
use domain::attachment::{MAX_FILE_BYTES, format_bytes};
use domain::{Attachment, AttachmentId, AttachmentKind, Model, Problem, ProblemKind, Tokens, Viewer};
use files::Reading;
use futures::Stream;
use providers::estimate;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::sync::Arc;
use store::attachment::{NewAttachment, StorageUse, Stored};

/// Maximum number of bytes of a refused file that are read and dropped, so that the client sees why.
const MAX_DISCARDED: u64 = 2 * MAX_FILE_BYTES;

/// The name and media type that a client sends with an upload.
pub(crate) struct Upload {
    /// The file's name.
    pub name: String,
    /// Its size, if it is announced.
    pub announced: Option<u64>,
}

/// A file that was uploaded.
#[derive(Serialize)]
pub(crate) struct Uploaded {
    attachment_id: AttachmentId,
    name: String,
    kind: AttachmentKind,
    media_type: String,
    bytes: u64,
    width: Option<u32>,
    height: Option<u32>,
    /// Estimated tokens by the name of each model of the plan that reads the file.
    tokens: BTreeMap<String, Tokens>,
}

/// Receives, reads and stores a file.
///
/// # Errors
/// Returns a problem with the reason if the file isn't accepted.
pub(crate) async fn upload<E>(
    app: &AppState,
    viewer: &Viewer,
    upload: Upload,
    mut body: impl Stream<Item = Result<Bytes, E>> + Unpin,
) -> Result<Uploaded, Failure> {
    if let Err(failure) = check(app, viewer, upload.announced).await {
        discard(body, MAX_DISCARDED).await;
        return Err(failure);
    }
    // Held until the file is stored: a user's files that wait to be read are temporary files, too.
    let taken = app.files.user_uploads.take(viewer.user_id, UPLOADS_PER_USER);
    let _user_slot = taken.ok_or_else(too_many)?;
    let upload_slot = app.files.uploads.acquire().await;
    let file = match spool(&mut body, MAX_FILE_BYTES).await {
        Ok(file) => file,
        Err(error) => {
            discard(body, MAX_DISCARDED).await;
            return Err(not_received(error).into());
        }
    };
    drop(upload_slot);
    let _turn = app.files.wait_for_reading(viewer.user_id).await;
    let _slot = app.files.readings.acquire().await;
    let reading = app.files.reader.read(file.try_clone().map_err(|error| internal(&error))?).await?;
    let reading = reading.map_err(|refused| Problem::invalid("file", refused.to_string()))?;
    let models = store::model::list(&app.db).await?;
    let models: Vec<Model> = models.into_iter().filter(|model| viewer.plan.allows(&model.name)).collect();
    let (text, tokens, by_model) = count(app, viewer, reading.text.clone(), &reading, models).await?;
    let (data, sha256) = tokio::task::spawn_blocking(move || data(file, reading.data))
        .await
        .map_err(|error| internal(&error))?
        .map_err(|error| internal(&error))?;
    let file = Attachment {
        id: AttachmentId::at(AppState::now()),
        name: files::clean_name(&upload.name),
        kind: reading.kind,
        media_type: reading.media_type,
        bytes: data.len() as u64,
        size: reading.size,
        tokens,
    };
    store(app, viewer, &file, text.as_deref().map(String::as_str), data, &sha256).await?;
    Ok(Uploaded {
        attachment_id: file.id,
        name: file.name,
        kind: file.kind,
        media_type: file.media_type,
        bytes: file.bytes,
        width: file.size.map(|(width, _)| width),
        height: file.size.map(|(_, height)| height),
        tokens: by_model,
    })
}

/// Refuses an upload before anything of it is received. The size that counts toward the storage is known only once the file is read.
async fn check(app: &AppState, viewer: &Viewer, announced: Option<u64>) -> Result<(), Failure> {
    if viewer.is_paused {
        return Err(Problem::paused().into());
    }
    if announced.is_some_and(|bytes| bytes > MAX_FILE_BYTES) {
        return Err(too_large().into());
    }
    let storage = store::attachment::storage(&app.db, viewer.user_id).await?;
    match storage.has_room(1) {
        true => Ok(()),
        false => Err(full(app, viewer, storage).await?.into()),
    }
}

/// Counts a file's tokens: those of its text in the o200k vocabulary, and those that each model is expected to count.
async fn count(
    app: &AppState,
    viewer: &Viewer,
    text: Option<String>,
    reading: &Reading,
    models: Vec<Model>,
) -> Result<(Option<Arc<String>>, Option<Tokens>, BTreeMap<String, Tokens>), Failure> {
    let Some(text) = text.map(Arc::new) else {
        let (width, height) = reading.size.unwrap_or_default();
        let with_images = models.into_iter().filter(|model| model.takes_images);
        let by_model = with_images.map(|model| (model.name.0.clone(), estimate::image(&model, width, height)));
        return Ok((None, None, by_model.collect()));
    };
    let counted = Arc::clone(&text);
    let counting = move || {
        let tokens = estimate::text(&counted);
        let by_model = models.into_iter().map(|model| {
            let estimated = estimate::part(&model, &counted, tokens);
            (model.name.0, estimated)
        });
        (tokens, by_model.collect::<BTreeMap<_, _>>())
    };
    let (tokens, by_model) = run_counting(app, viewer.user_id, text.len(), counting).await?;
    Ok((Some(text), Some(tokens), by_model))
}

/// Returns the bytes to store and their hash: those that replace the file's, or the file's own.
fn data(mut file: File, replaced: Option<Vec<u8>>) -> std::io::Result<(Vec<u8>, [u8; 32])> {
    let data = match replaced {
        Some(data) => data,
        None => {
            let mut data = Vec::new();
            file.rewind()?;
            file.take(MAX_FILE_BYTES).read_to_end(&mut data)?;
            data
        }
    };
    let sha256 = Sha256::digest(&data).into();
    Ok((data, sha256))
}

/// Stores a file. Its row is written first, so that an object without a row is never left behind.
async fn store(
    app: &AppState,
    viewer: &Viewer,
    file: &Attachment,
    text: Option<&str>,
    data: Vec<u8>,
    sha256: &[u8],
) -> Result<(), Failure> {
    let key = app.files.objects.as_ref().map(|_| file.id.to_string());
    let new = NewAttachment {
        file,
        text,
        sha256,
        data: key.is_none().then_some(data.as_slice()),
        object_key: key.as_deref(),
    };
    match store::attachment::add(&app.db, viewer.user_id, &new, AppState::now()).await? {
        Stored::Yes => {}
        Stored::Full(storage) => return Err(full(app, viewer, storage).await?.into()),
    }
    if let (Some(objects), Some(key)) = (&app.files.objects, &key)
        && let Err(error) = objects.put(key, data.into()).await
    {
        store::attachment::delete_unsent(&app.db, viewer.user_id, file.id).await?;
        return Err(error.into());
    }
    Ok(())
}

fn too_many() -> Problem {
    Problem::attempts_limit("Too many files are being uploaded. Wait until some are done.", 1_000)
}

fn too_large() -> Problem {
    let message = format!("This file is larger than {}. Attach a smaller one.", format_bytes(MAX_FILE_BYTES));
    Problem { max: Some(MAX_FILE_BYTES), ..Problem::new(ProblemKind::TooLarge, message) }
}

fn not_received(error: NotReceived) -> Problem {
    match error {
        NotReceived::TooLarge => too_large(),
        NotReceived::BrokenOff => Problem::invalid("file", "The file didn't arrive completely. Attach it again."),
        NotReceived::Io(error) => internal(&error),
    }
}

/// The problem of what the plan's storage has no room for: a file, a shared copy or imported conversations.
pub(crate) async fn full(app: &AppState, viewer: &Viewer, storage: StorageUse) -> Result<Problem, Failure> {
    let upgrade = crate::turn::prompt::larger(app, &viewer.plan, |plan| plan.storage_bytes > storage.limit).await?;
    let message = format!(
        "Your storage is full: {} of {} are used. Delete conversations with files, imported ones or shared links{}.",
        format_bytes(storage.used),
        format_bytes(storage.limit),
        if upgrade.is_some() { ", or upgrade" } else { "" },
    );
    Ok(Problem { max: Some(storage.limit), upgrade, ..Problem::new(ProblemKind::TooLarge, message) })
}
