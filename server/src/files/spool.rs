//! Receives a body into a temporary file without a name, so that an upload needs no memory and is deleted when it is closed.

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use std::fs::File;
use std::io::Seek as _;
use tokio::io::AsyncWriteExt as _;

/// Why a body wasn't received.
#[derive(Debug)]
pub(crate) enum NotReceived {
    /// It has more bytes than allowed.
    TooLarge,
    /// The client stopped sending, or took too long.
    BrokenOff,
    /// The file can't be written.
    Io(std::io::Error),
}

impl From<std::io::Error> for NotReceived {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

/// Writes a body of at most `max` bytes to a temporary file. Returns it from its beginning.
///
/// # Errors
/// Returns why the body wasn't received.
pub(crate) async fn spool<E>(
    body: &mut (impl Stream<Item = Result<Bytes, E>> + Unpin),
    max: u64,
) -> Result<File, NotReceived> {
    let mut file = tokio::fs::File::from_std(tempfile::tempfile()?);
    let mut received = 0;
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|_| NotReceived::BrokenOff)?;
        received += piece.len() as u64;
        if received > max {
            return Err(NotReceived::TooLarge);
        }
        file.write_all(&piece).await?;
    }
    file.flush().await?;
    let mut file = file.into_std().await;
    file.rewind()?;
    Ok(file)
}

/// Reads and drops what is left of a body, up to `max` bytes: a client that is still sending would not see the response otherwise.
pub(crate) async fn discard<E>(mut body: impl Stream<Item = Result<Bytes, E>> + Unpin, max: u64) {
    let mut dropped = 0;
    while let Some(Ok(piece)) = body.next().await {
        dropped += piece.len() as u64;
        if dropped > max {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    #[tokio::test]
    async fn a_body_is_bounded_and_read_from_its_beginning() {
        let pieces = |broken: bool| {
            let end = if broken { Err(()) } else { Ok(Bytes::from_static(b"cd")) };
            futures::stream::iter([Ok(Bytes::from_static(b"ab")), end])
        };
        let mut text = String::new();
        spool(&mut pieces(false), 4).await.unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "abcd");
        assert!(matches!(spool(&mut pieces(false), 3).await, Err(NotReceived::TooLarge)));
        assert!(matches!(spool(&mut pieces(true), 4).await, Err(NotReceived::BrokenOff)));
    }
}
