//! Files that users attach: received into a temporary file, read by a process of its own, and stored in Postgres or in an object store.

mod objects;
mod reader;
mod spool;
pub(crate) mod upload;

use crate::config::Config;
use crate::protection::slots::{UserSlot, UserSlots};
use bytes::Bytes;
use domain::UserId;
use futures::stream::{BoxStream, StreamExt as _, TryStreamExt as _};
use objects::Objects;
use reader::Reader;
use std::sync::Arc;
use std::time::Duration;
use store::deleted_object::{self, DeletedObject};
use tokio::sync::Semaphore;

/// Maximum number of uploads at once: of all users while they are received, and of one until they are stored. Each has a temporary file and needs no
/// memory.
const UPLOADS: usize = 256;
const UPLOADS_PER_USER: u64 = 64;
/// Maximum number of files that are read and stored at once. Each is held in memory once.
const READINGS: usize = 2;
/// Pause after which an upload looks again whether another file of its user is still being read.
const POLL: Duration = Duration::from_millis(20);
/// Number of deleted objects per query.
const DELETED: i64 = 500;
/// Number of objects in a row that can't be deleted at which the store counts as unavailable until the next time.
const MAX_FAILED: usize = 10;

/// Reads and stores files.
pub(crate) struct Files {
    reader: Reader,
    /// The object store; `None` stores files in Postgres.
    objects: Option<Objects>,
    uploads: Semaphore,
    user_uploads: Arc<UserSlots>,
    readings: Semaphore,
    user_readings: Arc<UserSlots>,
}

impl Files {
    /// Creates it as configured.
    ///
    /// # Errors
    /// Returns an error if the object store's client can't be created.
    pub(crate) fn new(config: &Config) -> anyhow::Result<Self> {
        Ok(Self {
            reader: Reader::new(config.file_reader.clone())?,
            objects: config.object_store.as_ref().map(Objects::new).transpose()?,
            uploads: Semaphore::new(UPLOADS),
            user_uploads: Arc::default(),
            readings: Semaphore::new(READINGS),
            user_readings: Arc::default(),
        })
    }

    /// Waits until no other file of a user is being read: files that take long to read delay only their own user's.
    async fn wait_for_reading(&self, user: UserId) -> UserSlot {
        loop {
            if let Some(slot) = self.user_readings.take(user, 1) {
                return slot;
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Returns the bytes of a stored file.
    ///
    /// # Errors
    /// Returns an error if they can't be loaded.
    pub(crate) async fn bytes(&self, data: store::attachment::Bytes) -> anyhow::Result<Bytes> {
        match (data, &self.objects) {
            (store::attachment::Bytes::Here(bytes), _) => Ok(bytes.into()),
            (store::attachment::Bytes::Object(key), Some(objects)) => objects.get(&key).await,
            (store::attachment::Bytes::Object(_), None) => {
                anyhow::bail!("a file is in the object store, but OBJECT_STORE_URL isn't set")
            }
        }
    }

    /// Returns the bytes of a user's file in pieces, so that a client that reads slowly takes no memory. The file was loaded without its bytes.
    ///
    /// # Errors
    /// Returns an error if the object store has no such file.
    pub(crate) async fn stream(
        &self,
        db: &store::Db,
        owner: UserId,
        found: store::attachment::StoredFile,
    ) -> anyhow::Result<BoxStream<'static, anyhow::Result<Bytes>>> {
        if let (Some(store::attachment::Bytes::Object(key)), Some(objects)) = (&found.data, &self.objects) {
            return Ok(objects.stream(key).await?.map_err(anyhow::Error::from).boxed());
        }
        let (db, id) = (db.clone(), found.file.id);
        let pieces = futures::stream::try_unfold(0_i32, move |offset| {
            let db = db.clone();
            async move {
                let piece = store::attachment_data::load_piece(&db, owner, id, offset).await?;
                anyhow::Ok(piece.filter(|piece| !piece.is_empty()).map(|piece| {
                    let next = offset.saturating_add(i32::try_from(piece.len()).unwrap_or(i32::MAX));
                    (Bytes::from(piece), next)
                }))
            }
        });
        Ok(pieces.boxed())
    }

    /// Deletes objects whose rows were deleted. One that can't be deleted is skipped and tried again later, at growing intervals.
    ///
    /// # Errors
    /// Returns an error if a query fails, or if many deletions in a row fail.
    pub(crate) async fn delete_objects(&self, db: &store::Db) -> anyhow::Result<()> {
        let Some(objects) = &self.objects else { return Ok(()) };
        loop {
            let due = deleted_object::list_due(db, DELETED).await?;
            if due.is_empty() {
                return Ok(());
            }
            let (mut deleted, mut failed, mut in_a_row) = (Vec::new(), Vec::new(), 0);
            for DeletedObject { object_key, attempts } in due {
                match objects.delete(&object_key).await {
                    Ok(()) => {
                        deleted.push(object_key);
                        in_a_row = 0;
                    }
                    Err(error) => {
                        // Logged once: it is tried again for as long as it takes.
                        if attempts == 0 {
                            tracing::warn!(object_key, "an object can't be deleted: {error:#}");
                        }
                        failed.push(object_key);
                        in_a_row += 1;
                    }
                }
                if in_a_row == MAX_FAILED {
                    break;
                }
            }
            deleted_object::delete(db, &deleted).await?;
            deleted_object::postpone(db, &failed).await?;
            anyhow::ensure!(in_a_row < MAX_FAILED, "the object store deletes nothing");
        }
    }
}
