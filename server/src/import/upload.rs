//! The uploaded file: on disk without a name, so that it is deleted as soon as nothing reads it, also after a crash.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use uuid::Uuid;

/// Maximum size of an uploaded file.
pub(crate) const MAX_UPLOAD: usize = 50 * 1024 * 1024;

/// A file while it is uploaded and read.
pub(crate) struct Upload {
    file: File,
    bytes: usize,
}

/// Why a chunk can't be added.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UploadError {
    /// The file would be larger than [`MAX_UPLOAD`].
    #[error("the file is too large")]
    TooLarge,
    /// It can't be written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Upload {
    /// Creates an empty file.
    ///
    /// # Errors
    /// Returns an error if the folder for temporary files can't be written to.
    pub(crate) fn new() -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("import-{}", Uuid::new_v4().simple()));
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&path)?;
        std::fs::remove_file(&path)?;
        Ok(Self { file, bytes: 0 })
    }

    /// Appends a chunk. A chunk is small, and the disk's cache takes it at once.
    ///
    /// # Errors
    /// Returns an error if the file becomes too large, or can't be written.
    pub(crate) fn push(&mut self, chunk: &[u8]) -> Result<(), UploadError> {
        self.bytes += chunk.len();
        if self.bytes > MAX_UPLOAD {
            return Err(UploadError::TooLarge);
        }
        Ok(self.file.write_all(chunk)?)
    }

    /// Returns whether nothing was uploaded.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Returns the file at its start.
    pub(super) fn into_file(mut self) -> io::Result<File> {
        self.file.seek(SeekFrom::Start(0))?;
        Ok(self.file)
    }
}
