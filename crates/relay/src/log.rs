//! The log, in memory for readers on the owner's server, and in Redis for all others; in memory alone for a single process.

use crate::Entry;
use crate::redis_log::{KEEP, RedisLog};
use domain::{TurnEvent, TurnId};
use futures::{Stream, StreamExt, stream};
use std::{
    collections::{HashMap, VecDeque},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::watch;
use tokio::time::Instant;

/// How often a reader on another server asks for more.
const POLL: Duration = Duration::from_millis(200);
/// How often in a row a reader on another server may fail.
const FAILURES: u32 = 25;
/// How often the owner asks whether somebody elsewhere pressed Stop.
const STOP_POLL: Duration = Duration::from_millis(500);
/// What a turn may write to Redis; what comes after it stands in the transcript alone. No answer of a model is as long.
const MOST_BYTES: usize = 8 << 20;
/// What ended logs may take together where only memory keeps them.
const MOST_KEPT_BYTES: usize = 64 << 20;
/// How many events a reader takes at a time: what it hasn't sent is not its own, however slow it is.
const AT_ONCE: usize = 64;

/// The log can't be read.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// Redis refused or is away.
    #[error(transparent)]
    Redis(#[from] redis_link::LinkError),
}

/// A turn's events from some number on, to the last.
pub type Tail = Pin<Box<dyn Stream<Item = Entry> + Send>>;

struct Log {
    entries: Mutex<Vec<Entry>>,
    /// How many entries there are; readers wait on it. `u64::MAX` once the owner is gone.
    length: watch::Sender<u64>,
    stop: watch::Sender<bool>,
}

/// An ended log that only memory keeps.
struct Kept {
    turn: TurnId,
    bytes: usize,
    until: Instant,
}

#[derive(Default)]
struct Local {
    logs: HashMap<TurnId, Arc<Log>>,
    /// Ended ones, the oldest first.
    kept: VecDeque<Kept>,
    kept_bytes: usize,
}

/// All logs that this process owns or can reach.
#[derive(Clone)]
pub struct Relay {
    redis: Option<Arc<RedisLog>>,
    local: Arc<Mutex<Local>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while pushing leaves a whole Vec behind.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Relay {
    /// Logs that every server reaches; connects lazily. Addresses with commas between them are nodes of one cluster.
    ///
    /// # Errors
    /// Returns an error if the URL can't be parsed.
    pub fn redis(url: &str) -> Result<Self, RelayError> {
        Ok(Self { redis: Some(Arc::new(RedisLog::new(url)?)), local: Arc::default() })
    }

    /// Logs of this process alone.
    #[must_use]
    pub fn memory() -> Self {
        Self { redis: None, local: Arc::default() }
    }

    /// Begins the log of a turn that this process runs.
    #[must_use]
    pub fn open(&self, turn: TurnId) -> Writer {
        let log =
            Arc::new(Log { entries: Mutex::default(), length: watch::Sender::new(0), stop: watch::Sender::new(false) });
        lock(&self.local).logs.insert(turn, Arc::clone(&log));
        Writer { relay: self.clone(), turn, log, unsent: Vec::new(), bytes: 0, ended: false, is_kept: false }
    }

    fn here(&self, turn: TurnId) -> Option<Arc<Log>> {
        lock(&self.local).logs.get(&turn).cloned()
    }

    /// The events after number `after`, then those to come, to the last. None where no log of this turn is left.
    ///
    /// # Errors
    /// Returns an error if this process doesn't have the log and Redis can't be reached.
    pub async fn tail(&self, turn: TurnId, after: u64) -> Result<Option<Tail>, RelayError> {
        if let Some(log) = self.here(turn) {
            // Nothing is said yet, and it may never begin.
            let has_begun = *log.length.borrow() > 0;
            return Ok(has_begun.then(|| Box::pin(local_tail(log, after)) as Tail));
        }
        let Some(redis) = &self.redis else { return Ok(None) };
        let there = redis.exists(turn).await?;
        Ok(there.then(|| Box::pin(remote_tail(Arc::clone(redis), turn, after)) as Tail))
    }

    /// What of a turn's log can be read now, in order; for turns whose owner is gone.
    ///
    /// # Errors
    /// Returns an error if this process doesn't have the log and Redis can't be reached.
    pub async fn so_far(&self, turn: TurnId) -> Result<Vec<Entry>, RelayError> {
        if let Some(log) = self.here(turn) {
            return Ok(lock(&log.entries).clone());
        }
        let Some(redis) = &self.redis else { return Ok(Vec::new()) };
        let (mut entries, _) = redis.read(turn, 0).await?;
        // What was appended twice counts once.
        let mut seen = 0;
        entries.retain(|entry| {
            let is_next = entry.id == seen + 1;
            seen += u64::from(is_next);
            is_next
        });
        Ok(entries)
    }

    /// Ends the log of a turn whose owner is gone, for readers that still wait.
    ///
    /// # Errors
    /// Returns an error if Redis can't be reached.
    pub async fn end(&self, turn: TurnId, event: &TurnEvent) -> Result<(), RelayError> {
        match &self.redis {
            Some(redis) => Ok(redis.end(turn, event).await?),
            None => Ok(()),
        }
    }

    /// Asks the owner of a turn, wherever it runs, to stop it.
    ///
    /// # Errors
    /// Returns an error if this process doesn't run the turn and Redis can't be reached.
    pub async fn stop(&self, turn: TurnId) -> Result<(), RelayError> {
        match (self.here(turn), &self.redis) {
            (Some(log), _) => drop(log.stop.send_replace(true)),
            (None, Some(redis)) => redis.stop(turn).await?,
            (None, None) => {}
        }
        Ok(())
    }
}

impl Local {
    /// Keeps an ended log for ten minutes, and the oldest for less where they come to too much.
    fn keep(&mut self, turn: TurnId, bytes: usize) {
        let now = Instant::now();
        self.kept.push_back(Kept { turn, bytes, until: now + KEEP });
        self.kept_bytes += bytes;
        while let Some(kept) = self.kept.pop_front_if(|kept| kept.until <= now || self.kept_bytes > MOST_KEPT_BYTES) {
            self.kept_bytes -= kept.bytes;
            self.logs.remove(&kept.turn);
        }
    }
}

fn local_tail(log: Arc<Log>, after: u64) -> impl Stream<Item = Entry> + Send {
    let length = log.length.subscribe();
    stream::unfold((log, length, after, false), async |(log, mut length, after, done)| {
        if done {
            return None;
        }
        // Whoever has read the last event has read everything.
        if *length.borrow() <= after && lock(&log.entries).last().is_some_and(|entry| entry.is_last) {
            return None;
        }
        length.wait_for(|&n| n > after).await.ok()?;
        let from = usize::try_from(after).ok()?;
        let entries: Vec<Entry> = lock(&log.entries).iter().skip(from).take(AT_ONCE).cloned().collect();
        let last = entries.last()?;
        let (next, done) = (last.id, last.is_last);
        Some((stream::iter(entries), (log, length, next, done)))
    })
    .flatten()
}

/// Where a reader on another server is.
struct Remote {
    redis: Arc<RedisLog>,
    turn: TurnId,
    /// What the reader has already.
    after: u64,
    /// The last number that was seen; the list begins at 1, wherever this reader does.
    seen: u64,
    /// The next place in the list.
    place: usize,
    done: bool,
}

impl Remote {
    /// The next events. None at the end, where the log is gone, and where a number is missing: then the transcript has the rest.
    async fn next(&mut self) -> Option<Vec<Entry>> {
        let mut failures = 0;
        while !self.done {
            match self.redis.read(self.turn, self.place).await {
                Ok((entries, place)) if place > self.place => {
                    self.place = place;
                    let fresh: Vec<Entry> = entries.into_iter().filter_map(|entry| self.take(entry)).collect();
                    if !fresh.is_empty() {
                        return Some(fresh);
                    }
                }
                Ok(_) if matches!(self.redis.exists(self.turn).await, Ok(false)) => return None,
                Ok(_) => tokio::time::sleep(POLL).await,
                // A Redis that is away for a moment ends nothing; one that stays away ends the reading, and readers resume.
                Err(_) if failures >= FAILURES => return None,
                Err(_) => {
                    failures += 1;
                    tokio::time::sleep(POLL).await;
                }
            }
        }
        None
    }

    /// An entry that is the next one and new to the reader. One that was appended twice is passed over.
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
    let remote = Remote { redis, turn, after, seen: 0, place: 0, done: false };
    stream::unfold(remote, async |mut remote| remote.next().await.map(|entries| (stream::iter(entries), remote)))
        .flatten()
}

/// Sends what a log's end still owes, for as long as a short outage lasts.
async fn finish(redis: Arc<RedisLog>, turn: TurnId, unsent: Vec<Entry>) {
    for tried in 0..8 {
        tokio::time::sleep(Duration::from_millis(100 << tried)).await;
        if redis.append(turn, &unsent).await.is_ok() {
            return;
        }
    }
}

/// The owner's end of a log.
pub struct Writer {
    relay: Relay,
    turn: TurnId,
    log: Arc<Log>,
    /// What Redis didn't take yet.
    unsent: Vec<Entry>,
    bytes: usize,
    ended: bool,
    /// Whether Redis has the whole of it.
    is_kept: bool,
}

impl Writer {
    /// Says that the turn has begun, here at once and elsewhere with the time to first token: a beginning without words is nothing to take up.
    pub fn begin(&mut self, event: &TurnEvent) {
        let entry = Entry::new(1, event);
        if self.relay.redis.is_some() {
            self.unsent.push(entry.clone());
        }
        lock(&self.log.entries).push(entry);
        self.log.length.send_replace(1);
    }

    /// Appends events, in Redis first and then where local readers see them: whoever has an event, on any server, finds what follows it.
    /// What Redis doesn't take is sent again with what comes next; its being away costs other servers' readers time, and nothing else.
    pub async fn append(&mut self, events: &[TurnEvent]) {
        let first = *self.log.length.borrow() + 1;
        let entries: Vec<Entry> = events.iter().zip(first..).map(|(event, id)| Entry::new(id, event)).collect();
        let Some(last) = entries.last() else { return };
        let (length, is_last) = (last.id, last.is_last);
        self.bytes += entries.iter().map(|entry| entry.data.len()).sum::<usize>();
        if let Some(redis) = &self.relay.redis {
            if self.bytes <= MOST_BYTES || is_last {
                self.unsent.extend_from_slice(&entries);
            }
            match redis.append(self.turn, &self.unsent).await {
                Ok(()) => {
                    self.unsent.clear();
                    self.is_kept = is_last;
                }
                Err(error) => tracing::warn!(turn = %self.turn, %error, "events not relayed yet"),
            }
        }
        lock(&self.log.entries).extend(entries);
        self.log.length.send_replace(length);
        self.ended = is_last;
    }

    /// Its events from the first.
    #[must_use]
    pub fn tail(&self) -> Tail {
        Box::pin(local_tail(Arc::clone(&self.log), 0))
    }

    /// Ready when somebody has pressed Stop, here or on another server.
    pub fn stopped(&self) -> impl Future<Output = ()> + Send + 'static {
        let (mut stop, redis, turn) = (self.log.stop.subscribe(), self.relay.redis.clone(), self.turn);
        async move {
            loop {
                if tokio::time::timeout(STOP_POLL, stop.wait_for(|&stop| stop)).await.is_ok() {
                    return;
                }
                if let Some(redis) = &redis
                    && matches!(redis.is_stopped(turn).await, Ok(true))
                {
                    return;
                }
            }
        }
    }
}

impl Drop for Writer {
    /// An ended log goes at once where Redis has it, ten minutes later where only memory does; one that never ended goes at once, so
    /// that nobody waits for an end.
    fn drop(&mut self) {
        let mut local = lock(&self.relay.local);
        if self.ended && !self.is_kept {
            local.keep(self.turn, self.bytes);
        } else if local.logs.get(&self.turn).is_some_and(|log| Arc::ptr_eq(log, &self.log)) {
            // Another copy of the turn may have begun a log of its own.
            local.logs.remove(&self.turn);
        }
        drop(local);
        self.log.length.send_replace(u64::MAX);
        if let (true, false, Some(redis)) = (self.ended, self.is_kept, self.relay.redis.clone()) {
            // Readers elsewhere wait for the end.
            tokio::spawn(finish(redis, self.turn, std::mem::take(&mut self.unsent)));
        }
    }
}
