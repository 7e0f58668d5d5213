//! The log, in memory and in Redis at once.

use domain::{TurnEvent, TurnId};
use futures::{Stream, StreamExt, stream};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::watch;

/// How long a log can be read past its end.
const KEEP: Duration = Duration::from_secs(600);
/// How often a reader on another server asks for more.
const POLL: Duration = Duration::from_millis(200);
/// How often in a row a reader on another server may fail.
const FAILURES: u32 = 25;
/// How often the owner asks whether somebody elsewhere pressed Stop.
const STOP_POLL: Duration = Duration::from_millis(500);

/// The log can't be read.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// Redis refused or is away.
    #[error("redis: {0}")]
    Redis(#[from] redis::RedisError),
}

/// One event with its number: 1, 2, 3 … within the turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number.
    pub id: u64,
    /// The event.
    pub event: TurnEvent,
}

/// A turn's events from some number on, to the last.
pub type Tail = Pin<Box<dyn Stream<Item = Entry> + Send>>;

struct Log {
    entries: Mutex<Vec<Entry>>,
    /// How many entries there are; readers wait on it. `u64::MAX` once the owner is gone without an end.
    length: watch::Sender<u64>,
    stop: watch::Sender<bool>,
}

/// All logs that this process owns or can reach.
#[derive(Clone)]
pub struct Relay {
    redis: ConnectionManager,
    local: Arc<Mutex<HashMap<TurnId, Arc<Log>>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while pushing leaves a whole Vec behind.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn log_key(turn: TurnId) -> String {
    format!("turn:{{{turn}}}:log")
}

fn stop_key(turn: TurnId) -> String {
    format!("turn:{{{turn}}}:stop")
}

impl Relay {
    /// Connects lazily.
    ///
    /// # Errors
    /// When the URL can't be read.
    pub fn new(redis_url: &str) -> Result<Self, RelayError> {
        let config = ConnectionManagerConfig::new()
            .set_response_timeout(Some(Duration::from_millis(200)))
            .set_connection_timeout(Some(Duration::from_millis(250)))
            .set_number_of_retries(1);
        let redis = ConnectionManager::new_lazy_with_config(redis::Client::open(redis_url)?, config)?;
        Ok(Self { redis, local: Arc::default() })
    }

    /// Begins the log of a turn that this process runs.
    #[must_use]
    pub fn open(&self, turn: TurnId) -> Writer {
        let log =
            Arc::new(Log { entries: Mutex::default(), length: watch::Sender::new(0), stop: watch::Sender::new(false) });
        lock(&self.local).insert(turn, Arc::clone(&log));
        Writer { relay: self.clone(), turn, log, ended: false }
    }

    /// The events after number `after`, then those to come, to the last. None where no log of this turn is left.
    ///
    /// # Errors
    /// When the log isn't here and Redis can't be asked.
    pub async fn tail(&self, turn: TurnId, after: u64) -> Result<Option<Tail>, RelayError> {
        let here = lock(&self.local).get(&turn).cloned();
        if let Some(log) = here {
            return Ok(Some(Box::pin(local_tail(log, after))));
        }
        let mut redis = self.redis.clone();
        let there: bool = redis::cmd("EXISTS").arg(log_key(turn)).query_async(&mut redis).await?;
        Ok(there.then(|| Box::pin(remote_tail(redis, turn, after)) as Tail))
    }

    /// Ends the log of a turn whose owner is gone, for readers that still wait.
    ///
    /// # Errors
    /// When Redis can't be told.
    pub async fn end(&self, turn: TurnId, event: &TurnEvent) -> Result<(), RelayError> {
        let Ok(text) = serde_json::to_string(event) else { return Ok(()) };
        let mut redis = self.redis.clone();
        let () = redis::pipe()
            .cmd("RPUSHX")
            .arg(log_key(turn))
            .arg(text)
            .ignore()
            .cmd("EXPIRE")
            .arg(log_key(turn))
            .arg(KEEP.as_secs())
            .ignore()
            .query_async(&mut redis)
            .await?;
        Ok(())
    }

    /// Asks the owner of a turn, wherever it runs, to stop it.
    ///
    /// # Errors
    /// When it isn't here and Redis can't be told.
    pub async fn stop(&self, turn: TurnId) -> Result<(), RelayError> {
        let here = lock(&self.local).get(&turn).cloned();
        if let Some(log) = here {
            log.stop.send_replace(true);
            return Ok(());
        }
        let mut redis = self.redis.clone();
        let () = redis::cmd("SET").arg(stop_key(turn)).arg(1).arg("EX").arg(600).query_async(&mut redis).await?;
        Ok(())
    }
}

fn local_tail(log: Arc<Log>, after: u64) -> impl Stream<Item = Entry> + Send {
    let length = log.length.subscribe();
    stream::unfold((log, length, after, false), async |(log, mut length, after, done)| {
        if done {
            return None;
        }
        // Whoever has read the last event has read everything.
        if *length.borrow() <= after && lock(&log.entries).last().is_some_and(|entry| entry.event.is_last()) {
            return None;
        }
        length.wait_for(|&n| n > after).await.ok()?;
        let entries: Vec<Entry> = lock(&log.entries).iter().skip(usize::try_from(after).ok()?).cloned().collect();
        let last = entries.last()?;
        let (next, done) = (last.id, last.event.is_last());
        Some((stream::iter(entries), (log, length, next, done)))
    })
    .flatten()
}

/// Whether a log's last entry is a turn's last event.
async fn has_ended(redis: &mut ConnectionManager, turn: TurnId) -> bool {
    let last: Result<Option<String>, _> = redis::cmd("LINDEX").arg(log_key(turn)).arg(-1).query_async(redis).await;
    let event = last.ok().flatten().and_then(|text| serde_json::from_str::<TurnEvent>(&text).ok());
    event.is_some_and(|event| event.is_last())
}

fn remote_tail(redis: ConnectionManager, turn: TurnId, after: u64) -> impl Stream<Item = Entry> + Send {
    stream::unfold((redis, after, false), move |(mut redis, after, done)| async move {
        if done {
            return None;
        }
        let mut failures = 0;
        loop {
            let fetched: Result<Vec<String>, _> =
                redis::cmd("LRANGE").arg(log_key(turn)).arg(after).arg(-1).query_async(&mut redis).await;
            match fetched {
                // A Redis that is away for a moment ends nothing; one that stays away ends the reading, and readers resume.
                Err(_) if failures >= FAILURES => return None,
                Err(_) => {
                    failures += 1;
                    tokio::time::sleep(POLL).await;
                }
                Ok(texts) if texts.is_empty() => {
                    let there: Result<bool, _> = redis::cmd("EXISTS").arg(log_key(turn)).query_async(&mut redis).await;
                    if matches!(there, Ok(false)) || has_ended(&mut redis, turn).await {
                        return None;
                    }
                    tokio::time::sleep(POLL).await;
                }
                Ok(texts) => {
                    let entries: Vec<Entry> = texts
                        .iter()
                        .zip(after + 1..)
                        .filter_map(|(text, id)| Some(Entry { id, event: serde_json::from_str(text).ok()? }))
                        .collect();
                    let last = entries.last()?;
                    let (next, done) = (last.id, last.event.is_last());
                    return Some((stream::iter(entries), (redis, next, done)));
                }
            }
        }
    })
    .flatten()
}

/// The owner's end of a log.
pub struct Writer {
    relay: Relay,
    turn: TurnId,
    log: Arc<Log>,
    ended: bool,
}

impl Writer {
    /// Appends an event, in Redis first and then where local readers see it. Redis being away costs other servers'
    /// readers the event, and nothing else.
    pub async fn append(&mut self, event: TurnEvent) -> u64 {
        let id = *self.log.length.borrow() + 1;
        let last = event.is_last();
        if let Ok(text) = serde_json::to_string(&event) {
            let mut redis = self.relay.redis.clone();
            // Long past any turn while it runs, ten minutes past its end.
            let keep = if last { KEEP } else { KEEP * 6 };
            let sent: Result<(), _> = redis::pipe()
                .cmd("RPUSH")
                .arg(log_key(self.turn))
                .arg(text)
                .ignore()
                .cmd("EXPIRE")
                .arg(log_key(self.turn))
                .arg(keep.as_secs())
                .ignore()
                .query_async(&mut redis)
                .await;
            if let Err(error) = sent {
                tracing::warn!(turn = %self.turn, %error, "event not relayed");
            }
        }
        lock(&self.log.entries).push(Entry { id, event });
        self.log.length.send_replace(id);
        self.ended = last;
        id
    }

    /// Ready when somebody has pressed Stop, here or on another server.
    pub fn stopped(&self) -> impl Future<Output = ()> + Send + 'static {
        let (mut stop, mut redis, turn) = (self.log.stop.subscribe(), self.relay.redis.clone(), self.turn);
        async move {
            loop {
                if tokio::time::timeout(STOP_POLL, stop.wait_for(|&stop| stop)).await.map(|_| ()).is_ok() {
                    return;
                }
                let there: Result<bool, _> = redis::cmd("EXISTS").arg(stop_key(turn)).query_async(&mut redis).await;
                if matches!(there, Ok(true)) {
                    return;
                }
            }
        }
    }
}

impl Drop for Writer {
    /// Forgets the log ten minutes later; at once where the turn never began, so that nobody waits for an end.
    fn drop(&mut self) {
        let (local, turn) = (Arc::clone(&self.relay.local), self.turn);
        if self.ended {
            tokio::spawn(async move {
                tokio::time::sleep(KEEP).await;
                lock(&local).remove(&turn);
            });
        } else {
            lock(&local).remove(&turn);
            self.log.length.send_replace(u64::MAX);
        }
    }
}
