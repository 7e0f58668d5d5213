//! The log in Redis: a list of lines per turn, and a flag that requests a stop. Both keys of a turn are in one cluster slot.

use crate::Entry;
use domain::TurnId;
use redis_link::redis::{self, Cmd, FromRedisValue};
use redis_link::{Link, LinkError};
use std::time::Duration;

/// How long a log is kept after its end.
pub(crate) const KEEP: Duration = Duration::from_secs(600);
/// How long a log without an end is kept: longer than any turn.
const KEEP_RUNNING: Duration = Duration::from_secs(6 * 3_600);
/// Deadline of one Redis call.
const RESPONSE: Duration = Duration::from_millis(200);

/// The logs stored in one Redis server or cluster.
pub(crate) struct RedisLog {
    link: Link,
}

fn log_key(turn: TurnId) -> String {
    format!("turn:{{{turn}}}:log")
}

fn stop_key(turn: TurnId) -> String {
    format!("turn:{{{turn}}}:stop")
}

impl RedisLog {
    /// Creates a lazily connected client. A comma-separated list of addresses names the nodes of one cluster.
    pub fn new(url: &str) -> Result<Self, LinkError> {
        Ok(Self { link: Link::new(url)? })
    }

    async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, LinkError> {
        self.link.query(command, &mut { RESPONSE }).await
    }

    /// Appends entries in one round trip. Sets the expiry with the first and the last entry.
    pub async fn append(&self, turn: TurnId, entries: &[Entry]) -> Result<(), LinkError> {
        let key = log_key(turn);
        let mut push = redis::cmd("RPUSH");
        push.arg(&key).arg(entries.iter().map(Entry::line).collect::<Vec<_>>());
        let ends = entries.iter().any(|entry| entry.is_last);
        if !ends && entries.iter().all(|entry| entry.id > 1) {
            return self.query(&push).await;
        }
        let keep = if ends { KEEP } else { KEEP_RUNNING };
        let mut both = redis::pipe();
        both.add_command(push).ignore().cmd("EXPIRE").arg(&key).arg(keep.as_secs()).ignore();
        self.link.pipeline(&both, &mut { RESPONSE }).await
    }

    /// Appends the last event of a turn whose owner has crashed or was stopped. Does nothing if the log is missing or has already ended.
    pub async fn end(&self, turn: TurnId, event: &domain::TurnEvent) -> Result<(), LinkError> {
        let last: Option<String> = self.query(redis::cmd("LINDEX").arg(log_key(turn)).arg(-1)).await?;
        match last.as_deref().and_then(Entry::from_line) {
            Some(last) if !last.is_last => self.append(turn, &[Entry::new(last.id + 1, event)]).await,
            _ => Ok(()),
        }
    }

    pub async fn exists(&self, turn: TurnId) -> Result<bool, LinkError> {
        self.query(redis::cmd("EXISTS").arg(log_key(turn))).await
    }

    /// Returns the entries from an index of the list on, and the next index.
    pub async fn read(&self, turn: TurnId, index: usize) -> Result<(Vec<Entry>, usize), LinkError> {
        let lines: Vec<String> = self.query(redis::cmd("LRANGE").arg(log_key(turn)).arg(index).arg(-1)).await?;
        let next = index + lines.len();
        Ok((lines.iter().filter_map(|line| Entry::from_line(line)).collect(), next))
    }

    pub async fn stop(&self, turn: TurnId) -> Result<(), LinkError> {
        self.query(redis::cmd("SET").arg(stop_key(turn)).arg(1).arg("EX").arg(KEEP.as_secs())).await
    }

    pub async fn is_stopped(&self, turn: TurnId) -> Result<bool, LinkError> {
        self.query(redis::cmd("EXISTS").arg(stop_key(turn))).await
    }
}
