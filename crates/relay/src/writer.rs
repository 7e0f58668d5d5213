//! The owner's end of a log: it appends events to Redis and then shows them to readers in this process.

use crate::Entry;
use crate::log::{Log, Relay, Tail, local_tail, lock};
use crate::redis_log::RedisLog;
use domain::{TurnEvent, TurnId};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use redis_link::LinkError;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// How often the owner checks whether another server has requested a stop.
const STOP_POLL: Duration = Duration::from_millis(500);
/// Maximum number of bytes that a turn writes to Redis; the rest is only in memory and in the transcript. Hardly any response is that long.
const MAX_BYTES: usize = 8 << 20;

/// Retries sending the unsent entries of an ended log, for about 25 seconds.
async fn finish(redis: Arc<RedisLog>, turn: TurnId, unsent: Vec<Entry>) {
    for attempt in 0..8 {
        tokio::time::sleep(Duration::from_millis(100 << attempt)).await;
        if redis.append(turn, &unsent).await.is_ok() {
            return;
        }
    }
}

/// An append to Redis that is in progress.
struct Appending {
    /// The mutex is never locked: it makes the writer `Sync`.
    done: Mutex<BoxFuture<'static, Result<(), LinkError>>>,
    /// The entries that local readers see once it is done.
    entries: Vec<Entry>,
}

/// The handle with which the owner appends to a log.
pub struct Writer {
    relay: Relay,
    turn: TurnId,
    log: Arc<Log>,
    /// Events that wait for the append in progress. They have no numbers yet.
    queued: Vec<TurnEvent>,
    appending: Option<Appending>,
    /// Entries that Redis hasn't accepted yet.
    unsent: Vec<Entry>,
    bytes: usize,
    ended: bool,
    /// Whether Redis has the complete log.
    is_kept: bool,
}

impl Relay {
    /// Opens the log of a turn that this process runs.
    #[must_use]
    pub fn open(&self, turn: TurnId) -> Writer {
        let log =
            Arc::new(Log { entries: Mutex::default(), length: watch::Sender::new(0), stop: watch::Sender::new(false) });
        lock(&self.local).logs.insert(turn, Arc::clone(&log));
        Writer::new(self.clone(), turn, log)
    }
}

impl Writer {
    fn new(relay: Relay, turn: TurnId, log: Arc<Log>) -> Self {
        let (queued, unsent) = (Vec::new(), Vec::new());
        Self { relay, turn, log, queued, appending: None, unsent, bytes: 0, ended: false, is_kept: false }
    }

    /// Records the turn's first event. Local readers see it at once, other servers with the first token, because there is nothing to
    /// resume before that.
    pub fn begin(&mut self, event: &TurnEvent) {
        let entry = Entry::new(1, event);
        if self.relay.redis.is_some() {
            self.unsent.push(entry.clone());
        }
        lock(&self.log.entries).push(entry);
        self.log.length.send_replace(1);
    }

    /// Queues events for [`Writer::flush`]. Text that follows queued text becomes part of its event.
    pub fn push(&mut self, events: Vec<TurnEvent>) {
        events.into_iter().for_each(|event| event.join_to(&mut self.queued));
    }

    /// Returns whether events are queued or being appended.
    #[must_use]
    pub fn has_queued(&self) -> bool {
        self.appending.is_some() || !self.queued.is_empty()
    }

    /// Appends the queued events to Redis first and then for local readers, so that a reader that has an event can resume after it on any
    /// server. Entries that Redis doesn't accept are sent again with the next append. An outage only delays readers on other servers.
    ///
    /// If the future is dropped, the next call continues. Events that are queued meanwhile are appended together, so that a fast stream
    /// takes fewer round trips than it has events.
    pub async fn flush(&mut self) {
        while self.appending.is_some() || self.begin_append() {
            let Some(appending) = &mut self.appending else { continue };
            let appended = appending.done.get_mut().unwrap_or_else(PoisonError::into_inner).await;
            let Some(Appending { entries, .. }) = self.appending.take() else { continue };
            match appended {
                Ok(()) => {
                    self.unsent.clear();
                    self.is_kept = entries.last().is_some_and(|last| last.is_last) && self.bytes <= MAX_BYTES;
                }
                Err(error) => tracing::warn!(turn = %self.turn, %error, "appending to Redis failed; will retry"),
            }
            self.publish(entries);
        }
    }

    /// Appends events, each as an entry of its own.
    pub async fn append(&mut self, events: &[TurnEvent]) {
        self.queued.extend_from_slice(events);
        self.flush().await;
    }

    /// Numbers the queued events and begins to append them to Redis. Publishes them if there is no Redis, or they exceed [`MAX_BYTES`]. Returns
    /// false if there are none.
    fn begin_append(&mut self) -> bool {
        let first = *self.log.length.borrow() + 1;
        let numbered = std::mem::take(&mut self.queued).into_iter().zip(first..);
        let entries: Vec<Entry> = numbered.map(|(event, id)| Entry::new(id, &event)).collect();
        let Some(is_last) = entries.last().map(|last| last.is_last) else { return false };
        self.bytes += entries.iter().map(|entry| entry.data.len()).sum::<usize>();
        let Some(redis) = self.relay.redis.clone() else {
            self.publish(entries);
            return true;
        };
        if self.bytes <= MAX_BYTES || is_last {
            self.unsent.extend_from_slice(&entries);
        }
        if self.unsent.is_empty() {
            self.publish(entries);
            return true;
        }
        let (turn, unsent) = (self.turn, self.unsent.clone());
        let done = async move { redis.append(turn, &unsent).await }.boxed();
        self.appending = Some(Appending { done: Mutex::new(done), entries });
        true
    }

    /// Shows entries to local readers.
    fn publish(&mut self, entries: Vec<Entry>) {
        let Some(last) = entries.last() else { return };
        let (length, is_last) = (last.id, last.is_last);
        lock(&self.log.entries).extend(entries);
        self.log.length.send_replace(length);
        self.ended = is_last;
    }

    /// Streams the log's events from the first.
    #[must_use]
    pub fn tail(&self) -> Tail {
        Box::pin(local_tail(Arc::clone(&self.log), 0))
    }

    /// Completes when a stop is requested, here or on another server.
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
    /// Removes the log from memory. An ended log is removed at once if Redis has it, and after ten minutes if only memory does. A log
    /// that never ended is removed at once, so that no reader waits for its end.
    fn drop(&mut self) {
        let mut local = lock(&self.relay.local);
        if self.ended && !self.is_kept {
            local.keep(self.turn, self.bytes);
        } else if local.logs.get(&self.turn).is_some_and(|log| Arc::ptr_eq(log, &self.log)) {
            // Another run of the turn may have opened its own log.
            local.logs.remove(&self.turn);
        }
        drop(local);
        self.log.length.send_replace(u64::MAX);
        let is_due = self.ended && !self.is_kept && !self.unsent.is_empty();
        if let Some(redis) = self.relay.redis.clone().filter(|_| is_due) {
            // Readers on other servers are waiting for the end.
            tokio::spawn(finish(redis, self.turn, std::mem::take(&mut self.unsent)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::Problem;
    use uuid::Uuid;

    /// Redis refuses an append without entries.
    #[tokio::test]
    async fn what_exceeds_the_maximum_is_not_sent() {
        // Nothing listens there, and the appends aren't awaited.
        let relay = Relay::redis("redis://127.0.0.1:1").unwrap();
        let mut log = relay.open(TurnId::from(Uuid::now_v7()));
        log.bytes = MAX_BYTES;
        log.push(vec![TurnEvent::Delta { text: "a".into() }]);
        assert!(log.begin_append() && log.appending.is_none());
        assert_eq!(*log.log.length.borrow(), 1, "readers here have it");
        log.push(vec![TurnEvent::Failed { problem: Problem::model_failed() }]);
        assert!(log.begin_append() && log.appending.is_some(), "readers elsewhere get the end");
    }
}
