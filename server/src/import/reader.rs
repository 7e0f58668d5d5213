//! The bounds of an import, enforced on what is read.

use super::{ImportError, Read};
use std::cell::Cell;
use std::io;
use std::rc::Rc;
use time::OffsetDateTime;
use tokio::sync::mpsc;

/// How many bytes all JSON of a file may have, unpacked.
pub(super) const MAX_UNPACKED: u64 = 200 * 1024 * 1024;
/// Maximum number of conversations and of messages in a file.
const MAX_CONVERSATIONS: usize = 10_000;
const MAX_MESSAGES: usize = 200_000;
/// Maximum size of the JSON of one conversation.
const MAX_CONVERSATION: u64 = 16 * 1024 * 1024;

/// Texts of the errors that end reading because of a bound.
pub(super) const TOO_LARGE_FILE: &str = "the unpacked file is too large";
pub(super) const TOO_LARGE_CONVERSATION: &str = "the conversation is too large";

/// How many bytes may still be read: of the file, and of the conversation that is being read.
#[derive(Clone)]
pub(super) struct Budget(Rc<Left>);

struct Left {
    file: Cell<u64>,
    conversation: Cell<u64>,
}

impl Budget {
    fn new(unpacked: u64) -> Self {
        Self(Rc::new(Left { file: Cell::new(unpacked), conversation: Cell::new(MAX_CONVERSATION) }))
    }

    /// Allows the next conversation its maximum.
    pub(super) fn begin_conversation(&self) {
        self.0.conversation.set(MAX_CONVERSATION);
    }

    fn take(&self, bytes: u64) -> io::Result<()> {
        for (left, message) in [(&self.0.file, TOO_LARGE_FILE), (&self.0.conversation, TOO_LARGE_CONVERSATION)] {
            left.set(left.get().checked_sub(bytes).ok_or_else(|| io::Error::other(message))?);
        }
        Ok(())
    }
}

/// A reader that charges what it reads to a budget.
pub(super) struct Counted<R> {
    pub inner: R,
    pub budget: Budget,
}

impl<R: io::Read> io::Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.budget.take(u64::try_from(length).unwrap_or(u64::MAX))?;
        Ok(length)
    }
}

/// What is left of the bounds of an import, and where its conversations go.
pub(super) struct Reader<'a> {
    /// Bytes that may still be unpacked.
    pub budget: Budget,
    /// When the import began: nothing in the file is newer.
    pub now: OffsetDateTime,
    found: &'a mpsc::Sender<Read>,
    conversations: usize,
    messages: usize,
}

impl<'a> Reader<'a> {
    /// Creates the bounds of an import that began at `now`, with a maximum of unpacked bytes.
    pub(super) fn new(unpacked: u64, now: OffsetDateTime, found: &'a mpsc::Sender<Read>) -> Self {
        Self { budget: Budget::new(unpacked), now, found, conversations: 0, messages: 0 }
    }

    /// Passes on a conversation, or that there is one that can't be read.
    pub(super) fn pass(&mut self, read: Read) -> Result<(), ImportError> {
        self.conversations += 1;
        if let Read::Conversation(conversation) = &read {
            self.messages += conversation.messages.len();
        }
        if self.conversations > MAX_CONVERSATIONS || self.messages > MAX_MESSAGES {
            return Err(ImportError::refused(
                "The file has more than 10,000 conversations or 200,000 messages. The first ones were imported.",
            ));
        }
        // There is no receiver if a query has failed.
        self.found.blocking_send(read).map_err(|_| anyhow::anyhow!("the import has ended").into())
    }
}
