//! The log: in memory for readers on the owner's server, in Redis for readers on other servers, or only in memory for a single process.

use crate::Entry;
use crate::redis_log::{KEEP, RedisLog};
use domain::{TurnEvent, TurnId};
use futures::{Stream, StreamExt, stream};
use redis_link::LinkError;
use std::{
    collections::{HashMap, VecDeque},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::watch;
use tokio::time::Instant;

/// How often a reader on another server polls Redis.
const POLL: Duration = Duration::from_millis(200);
/// Maximum number of failed reads in a row for a reader on another server.
const MAX_FAILURES: u32 = 25;
/// Maximum total bytes of ended logs that are kept only in memory.
const MAX_KEPT_BYTES: usize = 64 << 20;
/// Maximum number of events that a reader copies at a time, which bounds the memory that a slow reader uses.
const READ_BATCH: usize = 64;

/// The log can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// Redis refused the command, the connection broke, or the deadline passed.
    #[error(transparent)]
    Redis(#[from] LinkError),
}

/// A stream of a turn's events from some number up to the last.
pub type Tail = Pin<Box<dyn Stream<Item = Entry> + Send>>;

pub(crate) struct Log {
    pub entries: Mutex<Vec<Entry>>,
    /// Number of entries, which readers wait on. `u64::MAX` once the owner was dropped.
    pub length: watch::Sender<u64>,
    pub stop: watch::Sender<bool>,
}

/// An ended log that is kept only in memory.
struct Kept {
    turn: TurnId,
    bytes: usize,
    until: Instant,
}

#[derive(Default)]
pub(crate) struct Local {
    pub logs: HashMap<TurnId, Arc<Log>>,
    /// Ended logs, the oldest first.
    kept: VecDeque<Kept>,
    kept_bytes: usize,
}

/// All logs that this process owns or can reach.
#[derive(Clone)]
pub struct Relay {
    pub(crate) redis: Option<Arc<RedisLog>>,
    pub(crate) local: Arc<Mutex<Local>>,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while pushing leaves the Vec intact.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Relay {
    /// Creates a relay with logs that every server can read. Connects lazily. A comma-separated list of addresses names the nodes of
    /// one cluster.
    ///
    /// # Errors
    /// Returns an error if the URL can't be parsed.
    pub fn redis(url: &str) -> Result<Self, RelayError> {
        Ok(Self { redis: Some(Arc::new(RedisLog::new(url)?)), local: Arc::default() })
    }

    /// Creates a relay with logs that only this process can read.
    #[must_use]
    pub fn memory() -> Self {
        Self { redis: None, local: Arc::default() }
    }

    /// Returns the log of a turn if this process has it in memory.
    fn local_log(&self, turn: TurnId) -> Option<Arc<Log>> {
        lock(&self.local).logs.get(&turn).cloned()
    }

    /// Streams the events after number `after`, existing and future ones, up to the last. Returns `None` if the turn has no log, or
    /// no events yet.
    ///
    /// # Errors
    /// Returns an error if this process doesn't have the log and Redis can't be reached.
    pub async fn tail(&self, turn: TurnId, after: u64) -> Result<Option<Tail>, RelayError> {
        if let Some(log) = self.local_log(turn) {
            // A turn without events may never begin.
            let has_begun = *log.length.borrow() > 0;
            return Ok(has_begun.then(|| Box::pin(local_tail(log, after)) as Tail));
        }
        let Some(redis) = &self.redis else { return Ok(None) };
        let exists = redis.exists(turn).await?;
        Ok(exists.then(|| Box::pin(remote_tail(Arc::clone(redis), turn, after)) as Tail))
    }

    /// Returns the events of a turn's log that can be read now, in order; for turns whose owner has crashed or was stopped.
    ///
    /// # Errors
    /// Returns an error if this process doesn't have the log and Redis can't be reached.
    pub async fn so_far(&self, turn: TurnId) -> Result<Vec<Entry>, RelayError> {
        if let Some(log) = self.local_log(turn) {
            return Ok(lock(&log.entries).clone());
        }
        let Some(redis) = &self.redis else { return Ok(Vec::new()) };
        let (mut entries, _) = redis.read(turn, 0).await?;
        // Skips entries that were appended twice.
        let mut seen = 0;
        entries.retain(|entry| {
            let is_next = entry.id == seen + 1;
            seen += u64::from(is_next);
            is_next
        });
        Ok(entries)
    }

    /// Ends the log of a turn whose owner has crashed or was stopped, for readers that are still waiting.
    ///
    /// # Errors
    /// Returns an error if Redis can't be reached.
    pub async fn end(&self, turn: TurnId, event: &TurnEvent) -> Result<(), RelayError> {
        match &self.redis {
            Some(redis) => Ok(redis.end(turn, event).await?),
            None => Ok(()),
        }
    }

    /// Requests that the owner of a turn stop it, on whichever server it runs.
    ///
    /// # Errors
    /// Returns an error if this process doesn't run the turn and Redis can't be reached.
    pub async fn stop(&self, turn: TurnId) -> Result<(), RelayError> {
        match (self.local_log(turn), &self.redis) {
            (Some(log), _) => drop(log.stop.send_replace(true)),
            (None, Some(redis)) => redis.stop(turn).await?,
            (None, None) => {}
        }
        Ok(())
    }
}

impl Local {
    /// Keeps an ended log for ten minutes. The oldest logs are removed earlier if all together exceed [`MAX_KEPT_BYTES`].
    pub fn keep(&mut self, turn: TurnId, bytes: usize) {
        let now = Instant::now();
        self.kept.push_back(Kept { turn, bytes, until: now + KEEP });
        self.kept_bytes += bytes;
        while let Some(kept) = self.kept.pop_front_if(|kept| kept.until <= now || self.kept_bytes > MAX_KEPT_BYTES) {
            self.kept_bytes -= kept.bytes;
            self.logs.remove(&kept.turn);
        }
    }
}

pub(crate) fn local_tail(log: Arc<Log>, after: u64) -> impl Stream<Item = Entry> + Send {
    let length = log.length.subscribe();
    stream::unfold((log, length, after, false), async |(log, mut length, after, done)| {
        if done {
            return None;
        }
        // The reader already has the last event.
        if *length.borrow() <= after && lock(&log.entries).last().is_some_and(|entry| entry.is_last) {
            return None;
        }
        length.wait_for(|&n| n > after).await.ok()?;
        let from = usize::try_from(after).ok()?;
        let entries: Vec<Entry> = lock(&log.entries).iter().skip(from).take(READ_BATCH).cloned().collect();
        let last = entries.last()?;
        let (next, done) = (last.id, last.is_last);
        Some((stream::iter(entries), (log, length, next, done)))
    })
    .flatten()
}

/// The position of a reader on another server.
struct Remote {
    redis: Arc<RedisLog>,
    turn: TurnId,
    /// The last number that the reader already has.
    after: u64,
    /// The last number that was read. Starts at 0 whatever `after` is, because the list begins at 1.
    seen: u64,
    /// The next index in the list.
    index: usize,
    done: bool,
}

impl Remote {
    /// Returns the next events; `None` at the end, if the log no longer exists, or if a number is missing. The transcript then has the rest.
    async fn next(&mut self) -> Option<Vec<Entry>> {
        let mut failures = 0;
        while !self.done {
            match self.redis.read(self.turn, self.index).await {
                Ok((entries, index)) if index > self.index => {
                    self.index = index;
                    let fresh: Vec<Entry> = entries.into_iter().filter_map(|entry| self.take(entry)).collect();
                    if !fresh.is_empty() {
                        return Some(fresh);
                    }
                }
                Ok(_) if matches!(self.redis.exists(self.turn).await, Ok(false)) => return None,
                Ok(_) => tokio::time::sleep(POLL).await,
                // A short outage of Redis is retried. A longer one ends the stream, and readers resume.
                Err(_) if failures >= MAX_FAILURES => return None,
                Err(_) => {
                    failures += 1;
                    tokio::time::sleep(POLL).await;
                }
            }
        }
        None
    }

    /// Returns the entry if it is the next one and new to the reader. Skips entries that were appended twice; a gap ends the stream.
    fn take(&mut self, entry: Entry) -> Option<Entry> {
        if self.done || entry.id <= self.seen {
            return None;
        }
        self.done = entry.is_last || entry.id > self.seen + 1;
        if entry.id > self.seen + 1 {
            return None;
        }
        self.seen = entry.id;
        (entry.id > self.after).then_some(entry)
    }
}

fn remote_tail(redis: Arc<RedisLog>, turn: TurnId, after: u64) -> impl Stream<Item = Entry> + Send {
    let remote = Remote { redis, turn, after, seen: 0, index: 0, done: false };
    stream::unfold(remote, async |mut remote| remote.next().await.map(|entries| (stream::iter(entries), remote)))
        .flatten()
}
