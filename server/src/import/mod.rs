//! Imports conversations from a file that the user uploads: an export of this app, of ChatGPT or of Claude. The file is on disk while it is
//! read, and conversations are read and written one after the other, so an import needs the memory of its largest conversation.
//!
//! `archive` finds the JSON in the file, `document` reads conversations from it, `chatgpt`, `claude` and `own` parse the formats, `tree`
//! turns each into messages of this app, and `reader` has the bounds.

mod archive;
mod chatgpt;
mod claude;
mod document;
mod own;
mod reader;
mod text;
mod tree;
mod upload;

pub(crate) use upload::{MAX_UPLOAD, Upload, UploadError};

use crate::AppState;
use crate::failure::{Failure, internal};
use crate::files::upload::full;
use domain::{ImportId, Problem, ProblemKind, Viewer};
use std::sync::LazyLock;
use store::attachment::StorageUse;
use store::import::{ImportCounts, ImportedConversation, WriteOutcome};
use time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::interval;

/// How long an import may be silent before it counts as interrupted.
const LEASE: Duration = Duration::seconds(60);
/// How often a running import extends its lease and stores its progress.
const PROGRESS: std::time::Duration = std::time::Duration::from_secs(2);
/// Conversations that are written in one transaction: their maximum number, and their bytes, which the last conversation may exceed.
const BATCH: usize = 50;
const BATCH_BYTES: usize = 1024 * 1024;

/// Imports of this process, which run one at a time, because each may take the memory of a large conversation.
static RUNNING: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(1));

/// Why a file can't be imported.
#[derive(Debug, thiserror::Error)]
enum ImportError {
    /// The file is refused; the text is the reason.
    #[error("{0}")]
    Refused(String),
    /// Something failed that isn't about the file.
    #[error(transparent)]
    Failed(#[from] anyhow::Error),
}

impl From<store::StoreError> for ImportError {
    fn from(error: store::StoreError) -> Self {
        Self::Failed(error.into())
    }
}

impl ImportError {
    fn refused(message: impl Into<String>) -> Self {
        Self::Refused(message.into())
    }

    /// Returns the message for the user. A failure is logged.
    fn message(&self) -> String {
        match self {
            Self::Refused(message) => message.clone(),
            Self::Failed(error) => {
                let incident = internal(&format!("{error:#}")).incident;
                let incident =
                    incident.map(|incident| format!(" The incident's id is {incident}.")).unwrap_or_default();
                format!("Something went wrong on our side. Upload the file again to import the rest.{incident}")
            }
        }
    }
}

/// The error of conversations for which the plan's storage has no room.
async fn full_storage(app: &AppState, viewer: &Viewer, storage: StorageUse) -> ImportError {
    match full(app, viewer, storage).await {
        Ok(problem) => ImportError::refused(format!(
            "{} What was imported so far is kept. Upload the file again afterwards to import the rest.",
            problem.message
        )),
        Err(Failure(problem)) => ImportError::Refused(problem.message),
    }
}

/// The progress of reading a file.
enum Read {
    /// A conversation.
    Conversation(Box<ImportedConversation>),
    /// A conversation that couldn't be read or has no messages.
    Skipped,
}

/// Starts the import of an uploaded file in the background. The returned task ends with it.
///
/// # Errors
/// Returns a problem if the user has another import in progress, or a query fails.
pub(crate) async fn start(
    app: &AppState,
    viewer: &Viewer,
    upload: Upload,
) -> Result<tokio::task::JoinHandle<()>, Problem> {
    let now = AppState::now();
    let id = ImportId::at(now);
    let started =
        store::import::start(&app.db, viewer.user_id, id, LEASE, now).await.map_err(|error| internal(&error))?;
    if !started {
        return Err(Problem::new(ProblemKind::Conflict, "An import is in progress. Wait until it finishes."));
    }
    let (app, viewer) = (app.clone(), viewer.clone());
    Ok(tokio::spawn(async move {
        let mut import = Import { app, viewer, id, counts: ImportCounts::default(), batch: Vec::new(), batch_bytes: 0 };
        let done = import.run(upload).await;
        let error = done.err().map(|error| error.message());
        let Import { app, viewer, counts, .. } = import;
        if let Err(error) = store::import::finish(&app.db, viewer.user_id, id, counts, error.as_deref()).await {
            internal(&error);
        }
    }))
}

/// An import in progress.
struct Import {
    app: AppState,
    viewer: Viewer,
    id: ImportId,
    counts: ImportCounts,
    /// Conversations that wait to be written, and the bytes of their text.
    batch: Vec<ImportedConversation>,
    batch_bytes: usize,
}

impl Import {
    async fn run(&mut self, upload: Upload) -> Result<(), ImportError> {
        let mut tick = interval(PROGRESS);
        let turn = RUNNING.acquire();
        tokio::pin!(turn);
        let _turn = loop {
            tokio::select! {
                turn = &mut turn => break turn,
                _ = tick.tick() => self.progress().await?,
            }
        };
        let (read, mut found) = mpsc::channel(1);
        let now = AppState::now();
        let reading = tokio::task::spawn_blocking(move || archive::read(upload, now, &read));
        loop {
            tokio::select! {
                next = found.recv() => match next {
                    Some(Read::Conversation(conversation)) => self.add(*conversation).await?,
                    Some(Read::Skipped) => self.counts.skipped = self.counts.skipped.saturating_add(1),
                    None => break,
                },
                _ = tick.tick() => self.progress().await?,
            }
        }
        self.write().await?;
        reading.await.map_err(anyhow::Error::from)?
    }

    async fn progress(&self) -> Result<(), ImportError> {
        Ok(store::import::progress(&self.app.db, self.viewer.user_id, self.id, self.counts, LEASE).await?)
    }

    /// Adds a conversation to the batch, and writes the batch once it is large enough.
    async fn add(&mut self, conversation: ImportedConversation) -> Result<(), ImportError> {
        self.batch_bytes += conversation.bytes();
        self.batch.push(conversation);
        if self.batch.len() >= BATCH || self.batch_bytes >= BATCH_BYTES {
            self.write().await?;
        }
        Ok(())
    }

    /// Writes the batch, without what is in the account already.
    async fn write(&mut self) -> Result<(), ImportError> {
        let (db, owner) = (&self.app.db, self.viewer.user_id);
        let batch = std::mem::take(&mut self.batch);
        self.batch_bytes = 0;
        if batch.is_empty() {
            return Ok(());
        }
        let all = batch.len();
        let present = store::import::list_present(db, owner, &batch).await?;
        let new: Vec<ImportedConversation> =
            batch.into_iter().filter(|found| found.exported_id.is_none_or(|id| !present.contains(&id))).collect();
        let written = match store::import::write(db, owner, &new).await? {
            WriteOutcome::Written(written) => written,
            WriteOutcome::Full(storage) => return Err(full_storage(&self.app, &self.viewer, storage).await),
        };
        let messages: usize =
            new.iter().filter(|found| written.contains(&found.id)).map(|found| found.messages.len()).sum();
        let add = |sum: &mut i32, more: usize| *sum = sum.saturating_add(i32::try_from(more).unwrap_or(i32::MAX));
        add(&mut self.counts.conversations, written.len());
        add(&mut self.counts.messages, messages);
        add(&mut self.counts.duplicates, all - written.len());
        Ok(())
    }
}
