//! Finds the JSON in an uploaded file, by its content: a ZIP or the JSON itself. The limits on unpacked bytes are enforced while they are read;
//! the sizes in the ZIP's headers aren't trusted.

use super::document::read_document;
use super::reader::{MAX_UNPACKED, Reader};
use super::upload::Upload;
use super::{ImportError, Read};
use anyhow::Context as _;
use std::fs::File;
use std::io::{BufReader, Read as _, Seek as _};
use time::OffsetDateTime;
use tokio::sync::mpsc;
use zip::ZipArchive;

/// How many files a ZIP may contain. Exports with images have thousands.
const MAX_ENTRIES: usize = 50_000;
/// The first bytes of a ZIP: of a file in it, or of the end of an empty one.
const ZIP_SIGNATURES: [&[u8]; 2] = [b"PK\x03\x04", b"PK\x05\x06"];

/// Reads all conversations of a file, and sends them to `found`.
pub(super) fn read(upload: Upload, now: OffsetDateTime, found: &mpsc::Sender<Read>) -> Result<(), ImportError> {
    read_within(MAX_UNPACKED, upload, now, found)
}

fn read_within(
    unpacked: u64,
    upload: Upload,
    now: OffsetDateTime,
    found: &mpsc::Sender<Read>,
) -> Result<(), ImportError> {
    let mut file = upload.into_file().context("rewinding the upload")?;
    let mut start = [0; 4];
    let length = file.read(&mut start).context("reading the upload")?;
    file.rewind().context("rewinding the upload")?;
    let mut reader = Reader::new(unpacked, now, found);
    if ZIP_SIGNATURES.contains(&&start[..length]) {
        return read_zip(file, &mut reader);
    }
    read_document(file, &mut reader)
}

/// Returns whether a file of a ZIP has conversations, by its path: `conversations.json`, `conversations-000.json` and so on at the root or in a
/// folder, or any JSON in a folder `conversations`.
fn has_conversations(path: &str) -> bool {
    let path = path.replace('\\', "/").to_lowercase();
    let mut parts = path.rsplit('/');
    let name = parts.next().unwrap_or_default();
    name.ends_with(".json") && (name.starts_with("conversations") || parts.next() == Some("conversations"))
}

fn read_zip(file: File, reader: &mut Reader<'_>) -> Result<(), ImportError> {
    let damaged = || ImportError::refused("The ZIP is damaged. Download the export again and upload it unchanged.");
    let mut zip = ZipArchive::new(BufReader::new(file)).map_err(|_| damaged())?;
    if zip.len() > MAX_ENTRIES {
        return Err(ImportError::refused("The ZIP contains too many files."));
    }
    let names: Vec<String> = zip.file_names().filter(|name| has_conversations(name)).map(str::to_owned).collect();
    if names.is_empty() {
        return Err(ImportError::refused(
            "The ZIP has no conversations.json. Upload the export of ChatGPT, Claude or this app as you downloaded it.",
        ));
    }
    for name in names {
        let entry = zip.by_name(&name).map_err(|_| damaged())?;
        read_document(entry, reader)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use time::macros::datetime;
    use zip::write::SimpleFileOptions;

    fn read_all(bytes: &[u8], unpacked: u64) -> (Vec<Read>, Result<(), ImportError>) {
        let mut upload = Upload::new().unwrap();
        upload.push(bytes).unwrap();
        let (send, mut found) = mpsc::channel(10_000);
        let done = read_within(unpacked, upload, datetime!(2026-11-27 12:00 UTC), &send);
        drop(send);
        let mut all = Vec::new();
        while let Some(read) = found.blocking_recv() {
            all.push(read);
        }
        (all, done)
    }

    fn zip_of(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        for (name, bytes) in files {
            zip.start_file(*name, SimpleFileOptions::default()).unwrap();
            zip.write_all(bytes).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    const CLAUDE: &str =
        r#"[{"uuid":"a","name":"One","chat_messages":[{"uuid":"m","sender":"human","text":"Hello"}]}, 7]"#;

    #[test]
    fn json_is_found_by_content_in_any_file() {
        for bytes in [
            CLAUDE.as_bytes().to_vec(),
            format!("\u{feff}\n {CLAUDE}").into_bytes(),
            zip_of(&[("users.json", b"[]"), ("conversations.json", CLAUDE.as_bytes())]),
            zip_of(&[("data-2026/conversations/1.json", CLAUDE.as_bytes()), ("image.png", b"x")]),
        ] {
            let (all, done) = read_all(&bytes, MAX_UNPACKED);
            done.unwrap();
            assert!(matches!(all.as_slice(), [Read::Conversation(one), Read::Skipped] if one.title == "One"));
        }
    }

    #[test]
    fn other_files_are_refused_in_words() {
        for (bytes, message) in [
            (b"PK\x03\x04 and nothing else".to_vec(), "damaged"),
            (zip_of(&[("chat.html", b"<p>")]), "no conversations.json"),
            (b"%PDF-1.7".to_vec(), "isn't JSON"),
            (b"{\"a\":1}".to_vec(), "supported export"),
            (b"[{\"uuid\":".to_vec(), "ends too early"),
        ] {
            let (all, done) = read_all(&bytes, MAX_UNPACKED);
            let Err(ImportError::Refused(found)) = done else { panic!("{message}") };
            assert!(found.contains(message) && all.is_empty(), "{found}");
        }
    }

    /// ZIPs of some KiB, whose JSON is one endless value, or many of them.
    #[test]
    fn a_zip_bomb_is_refused_while_it_is_unpacked() {
        let mut endless = b"[\"".to_vec();
        endless.resize(17 * 1024 * 1024, b'a');
        let many = format!("[{}7]", format!("\"{}\",", "a".repeat(30_000)).repeat(40));
        for (bomb, unpacked, message) in [(endless, MAX_UNPACKED, "16 MB"), (many.into_bytes(), 1_000_000, "200 MB")] {
            let zip = zip_of(&[("conversations.json", &bomb)]);
            assert!(zip.len() < 100_000);
            let (all, done) = read_all(&zip, unpacked);
            assert!(matches!(done, Err(ImportError::Refused(found)) if found.contains(message)), "{message}");
            assert!(all.iter().all(|read| matches!(read, Read::Skipped)));
        }
    }

    #[test]
    fn files_with_conversations_are_known_by_their_path() {
        for path in
            ["conversations.json", "x/Conversations-001.json", "conversations/1.json", "a\\conversations\\b.json"]
        {
            assert!(has_conversations(path), "{path}");
        }
        for path in ["user.json", "conversations.html", "shared_conversations.json", "message_feedback.json"] {
            assert!(!has_conversations(path), "{path}");
        }
    }
}
