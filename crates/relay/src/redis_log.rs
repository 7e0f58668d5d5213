//! The log in Redis: a list of lines per turn, and a flag that somebody pressed Stop. One turn's keys are in one slot.

use crate::Entry;
use domain::TurnId;
use redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig};
use redis::cluster::{ClusterClient, ClusterConfig};
use redis::cluster_async::ClusterConnection;
use redis::{Cmd, ErrorKind, FromRedisValue, Pipeline, RedisFuture, RedisResult, ServerErrorKind, Value};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a log can be read past its end.
pub(crate) const KEEP: Duration = Duration::from_secs(600);
/// How long a log lives without an end: longer than any turn.
const KEEP_RUNNING: Duration = Duration::from_secs(6 * 3_600);
const RESPONSE: Duration = Duration::from_millis(200);
const CONNECT: Duration = Duration::from_millis(250);
/// A Redis that hangs isn't knocked at more often than this.
const RENEW: Duration = Duration::from_millis(300);

#[derive(Clone)]
enum Connection {
    Server(ConnectionManager),
    Cluster(ClusterConnection),
}

enum Client {
    Server(Box<redis::Client>),
    Cluster(Box<ClusterClient>),
}

/// The way to Redis.
pub(crate) struct RedisLog {
    client: Client,
    current: Mutex<(Connection, Instant)>,
}

fn log_key(turn: TurnId) -> String {
    format!("turn:{{{turn}}}:log")
}

fn stop_key(turn: TurnId) -> String {
    format!("turn:{{{turn}}}:stop")
}

impl Client {
    fn connect(&self) -> RedisResult<Connection> {
        Ok(match self {
            Self::Server(client) => {
                let config = ConnectionManagerConfig::new()
                    .set_response_timeout(Some(RESPONSE))
                    .set_connection_timeout(Some(CONNECT))
                    .set_number_of_retries(1);
                Connection::Server(ConnectionManager::new_lazy_with_config((**client).clone(), config)?)
            }
            Self::Cluster(client) => {
                let config = ClusterConfig::new().set_connection_timeout(CONNECT).set_response_timeout(RESPONSE);
                Connection::Cluster(client.get_pending_async_connection_with_config(config))
            }
        })
    }
}

impl RedisLog {
    /// Connects lazily; addresses with commas between them are nodes of one cluster.
    pub fn new(url: &str) -> RedisResult<Self> {
        let nodes: Vec<&str> = url.split(',').map(str::trim).collect();
        let client = match nodes[..] {
            [one] => Client::Server(Box::new(redis::Client::open(one)?)),
            _ => Client::Cluster(Box::new(ClusterClient::builder(nodes).retries(1).build()?)),
        };
        let current = Mutex::new((client.connect()?, Instant::now()));
        Ok(Self { client, current })
    }

    fn connection(&self) -> Connection {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    /// A connection that is silent or leads to a master that is none any more is made anew.
    fn went<T>(&self, result: RedisResult<T>) -> RedisResult<T> {
        let is_bad = |error: &redis::RedisError| {
            error.is_timeout() || error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly)
        };
        if result.as_ref().err().is_some_and(is_bad) {
            let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
            if current.1.elapsed() >= RENEW {
                *current = (self.client.connect()?, Instant::now());
            }
        }
        result
    }

    async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        let mut connection = self.connection();
        self.went(command.query_async(&mut connection).await)
    }

    /// Appends, in one round trip.
    pub async fn append(&self, turn: TurnId, entries: &[Entry]) -> RedisResult<()> {
        let key = log_key(turn);
        let mut push = redis::cmd("RPUSH");
        push.arg(&key).arg(entries.iter().map(Entry::line).collect::<Vec<_>>());
        let ends = entries.iter().any(|entry| entry.is_last);
        if !ends && entries.iter().all(|entry| entry.id > 1) {
            return self.ask(&push).await;
        }
        let keep = if ends { KEEP } else { KEEP_RUNNING };
        let mut connection = self.connection();
        let mut both = redis::pipe();
        both.add_command(push).ignore().cmd("EXPIRE").arg(&key).arg(keep.as_secs()).ignore();
        self.went(both.query_async(&mut connection).await)
    }

    /// Appends behind whatever stands there, if anything does: the end of a turn whose owner is gone.
    pub async fn end(&self, turn: TurnId, event: &domain::TurnEvent) -> RedisResult<()> {
        let last: Option<String> = self.ask(redis::cmd("LINDEX").arg(log_key(turn)).arg(-1)).await?;
        match last.as_deref().and_then(Entry::from_line) {
            Some(last) if !last.is_last => self.append(turn, &[Entry::new(last.id + 1, event)]).await,
            _ => Ok(()),
        }
    }

    pub async fn exists(&self, turn: TurnId) -> RedisResult<bool> {
        self.ask(redis::cmd("EXISTS").arg(log_key(turn))).await
    }

    /// The entries from a place in the list on, and the next place.
    pub async fn read(&self, turn: TurnId, place: usize) -> RedisResult<(Vec<Entry>, usize)> {
        let lines: Vec<String> = self.ask(redis::cmd("LRANGE").arg(log_key(turn)).arg(place).arg(-1)).await?;
        let next = place + lines.len();
        Ok((lines.iter().filter_map(|line| Entry::from_line(line)).collect(), next))
    }

    pub async fn stop(&self, turn: TurnId) -> RedisResult<()> {
        self.ask(redis::cmd("SET").arg(stop_key(turn)).arg(1).arg("EX").arg(KEEP.as_secs())).await
    }

    pub async fn is_stopped(&self, turn: TurnId) -> RedisResult<bool> {
        self.ask(redis::cmd("EXISTS").arg(stop_key(turn))).await
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Server(connection) => connection.req_packed_command(cmd),
            Self::Cluster(connection) => connection.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Server(connection) => connection.req_packed_commands(pipeline, offset, count),
            Self::Cluster(connection) => connection.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        0
    }
}
