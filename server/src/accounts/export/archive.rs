//! A ZIP whose bytes are sent while it is written.

use anyhow::Context as _;
use bytes::Bytes;
use serde::Serialize;
use std::io::{self, Write};
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use time::OffsetDateTime;
use tokio::sync::mpsc;
use zip::write::{SimpleFileOptions, StreamWriter};
use zip::{CompressionMethod, DateTime, ZipWriter};

/// The client has closed its connection.
#[derive(Debug, thiserror::Error)]
#[error("the client has disconnected")]
pub(super) struct Disconnected;

/// The sink of an export.
pub(super) trait Sink: Send {
    /// Appends bytes, and waits until the client has room for them.
    fn write(&mut self, bytes: &[u8]) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// A file that is sent as it is.
pub(super) struct Plain(pub(super) mpsc::Sender<io::Result<Bytes>>);

impl Sink for Plain {
    async fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        send(&self.0, bytes.to_vec()).await
    }
}

/// Bytes that the ZIP's writer has written and that aren't sent yet.
#[derive(Clone, Default)]
struct Unsent(Arc<Mutex<Vec<u8>>>);

impl Unsent {
    fn take(&self) -> Vec<u8> {
        mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Unsent {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The archive. After each write, what was compressed is sent, and waits for the client.
pub(super) struct Archive {
    zip: ZipWriter<StreamWriter<Unsent>>,
    unsent: Unsent,
    chunks: mpsc::Sender<io::Result<Bytes>>,
    options: SimpleFileOptions,
}

impl Archive {
    /// Creates an empty archive, whose files have the time `now`.
    pub(super) fn new(chunks: mpsc::Sender<io::Result<Bytes>>, now: OffsetDateTime) -> Self {
        let unsent = Unsent::default();
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .last_modified_time(dos_time(now));
        Self { zip: ZipWriter::new_stream(unsent.clone()), unsent, chunks, options }
    }

    /// Begins a file.
    pub(super) fn begin(&mut self, name: &str) -> anyhow::Result<()> {
        self.zip.start_file(name, self.options).with_context(|| format!("beginning {name}"))
    }

    /// Adds a whole file.
    pub(super) async fn file(&mut self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        self.begin(name)?;
        self.write(bytes).await
    }

    /// Begins a file with a JSON array.
    pub(super) fn list(&mut self, name: &str) -> anyhow::Result<List> {
        self.begin(name)?;
        Ok(List::new(b"["))
    }

    /// Writes the index of the archive, and sends what isn't sent yet.
    pub(super) async fn finish(self) -> anyhow::Result<()> {
        let Self { zip, unsent, chunks, .. } = self;
        zip.finish()?;
        send(&chunks, unsent.take()).await
    }
}

/// Appends to the file that was begun last.
impl Sink for Archive {
    async fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.zip.write_all(bytes)?;
        send(&self.chunks, self.unsent.take()).await
    }
}

async fn send(chunks: &mpsc::Sender<io::Result<Bytes>>, bytes: Vec<u8>) -> anyhow::Result<()> {
    if !bytes.is_empty() {
        chunks.send(Ok(bytes.into())).await.map_err(|_| Disconnected)?;
    }
    Ok(())
}

/// A JSON array in a file, written page by page.
pub(super) struct List {
    /// What comes before the next item.
    before: Vec<u8>,
}

impl List {
    /// Creates a list after `head`, which ends with the bracket that opens the array.
    pub(super) fn new(head: &[u8]) -> Self {
        Self { before: [head, b"\n"].concat() }
    }

    /// Appends items.
    pub(super) async fn add<T: Serialize + Sync>(&mut self, file: &mut impl Sink, items: &[T]) -> anyhow::Result<()> {
        let mut json = Vec::new();
        for item in items {
            json.append(&mut mem::replace(&mut self.before, b",\n".to_vec()));
            serde_json::to_writer_pretty(&mut json, item)?;
        }
        file.write(&json).await
    }

    /// Closes the array.
    pub(super) async fn end(self, file: &mut impl Sink) -> anyhow::Result<()> {
        self.end_with(file, b"]\n").await
    }

    /// Closes the array with `tail`, which begins with the closing bracket.
    pub(super) async fn end_with(self, file: &mut impl Sink, tail: &[u8]) -> anyhow::Result<()> {
        let is_empty = self.before.as_slice() != b",\n";
        let head = if is_empty { self.before } else { b"\n".to_vec() };
        file.write(&[head.as_slice(), tail].concat()).await
    }
}

/// Returns a time as a ZIP has it, to two seconds; its earliest one for a time that it can't express.
fn dos_time(at: OffsetDateTime) -> DateTime {
    let year = u16::try_from(at.year()).unwrap_or_default();
    let found =
        DateTime::from_date_and_time(year, at.month().into(), at.day(), at.hour(), at.minute(), at.second().min(58));
    found.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::io::Read as _;
    use time::macros::datetime;

    /// Returns the files of an archive that `fill` writes.
    async fn files(fill: impl AsyncFnOnce(&mut Archive)) -> Vec<(String, String)> {
        let (chunks, mut sent) = mpsc::channel(1_000);
        let mut archive = Archive::new(chunks, datetime!(2026-11-27 12:00:01 UTC));
        fill(&mut archive).await;
        archive.finish().await.unwrap();
        let mut bytes = Vec::new();
        while let Some(chunk) = sent.recv().await {
            bytes.extend_from_slice(&chunk.unwrap());
        }
        let mut zip = zip::ZipArchive::new(io::Cursor::new(bytes)).unwrap();
        let mut files = Vec::new();
        for index in 0..zip.len() {
            let mut file = zip.by_index(index).unwrap();
            let mut text = String::new();
            file.read_to_string(&mut text).unwrap();
            files.push((file.name().to_owned(), text));
        }
        files
    }

    #[tokio::test]
    async fn files_are_read_back_as_they_were_written() {
        let found = files(async |archive: &mut Archive| {
            archive.file("a.txt", "über alles".as_bytes()).await.unwrap();
            archive.begin("ü/b.txt").unwrap();
            for _ in 0..1_000 {
                archive.write(b"0123456789").await.unwrap();
            }
        })
        .await;
        assert_eq!(found[0], ("a.txt".to_owned(), "über alles".to_owned()));
        assert_eq!(found[1], ("ü/b.txt".to_owned(), "0123456789".repeat(1_000)));
    }

    #[tokio::test]
    async fn lists_are_valid_json_whatever_their_length() {
        for pages in [vec![], vec![vec![1]], vec![vec![1, 2], vec![3]]] {
            let found = files(async |archive: &mut Archive| {
                let mut list = archive.list("list.json").unwrap();
                for page in &pages {
                    list.add(archive, page).await.unwrap();
                }
                list.end(archive).await.unwrap();
            })
            .await;
            assert_eq!(serde_json::from_str::<Value>(&found[0].1).unwrap(), json!(pages.concat()));
        }
    }

    #[tokio::test]
    async fn a_client_that_is_gone_ends_the_export() {
        let (chunks, sent) = mpsc::channel(1);
        drop(sent);
        let mut archive = Archive::new(chunks, OffsetDateTime::UNIX_EPOCH);
        let noise: Vec<u8> = (0..100_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let error = archive.file("a", &noise).await.unwrap_err();
        assert!(error.downcast_ref::<Disconnected>().is_some());
    }

    #[test]
    fn times_out_of_range_become_the_earliest() {
        assert_eq!(dos_time(OffsetDateTime::UNIX_EPOCH), DateTime::default());
        assert_eq!(dos_time(datetime!(2026-11-27 12:00:59 UTC)).year(), 2026);
    }
}
