//! The way to Redis: one server or a cluster, made anew where it has gone bad without saying so.

use redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig};
use redis::cluster::{ClusterClient, ClusterConfig};
use redis::cluster_async::ClusterConnection;
use redis::{Cmd, ErrorKind, Pipeline, RedisFuture, RedisResult, ServerErrorKind, Value};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Until Redis answers.
const RESPONSE: Duration = Duration::from_millis(200);
/// Until a connection stands.
const CONNECT: Duration = Duration::from_millis(250);
/// A Redis that hangs isn't knocked at more often than this.
const RENEW: Duration = Duration::from_millis(300);

/// A connection that many calls share.
#[derive(Clone)]
pub(crate) enum Connection {
    Server(ConnectionManager),
    Cluster(ClusterConnection),
}

enum Redis {
    Server(redis::Client, Box<ConnectionManagerConfig>),
    Cluster(ClusterClient),
}

struct Current {
    connection: Connection,
    /// Counts how often it was made anew.
    made: u64,
    at: Instant,
}

pub(crate) struct Link {
    redis: Redis,
    current: Mutex<Current>,
}

impl Redis {
    fn connect(&self) -> RedisResult<Connection> {
        Ok(match self {
            Self::Server(client, config) => {
                Connection::Server(ConnectionManager::new_lazy_with_config(client.clone(), (**config).clone())?)
            }
            Self::Cluster(client) => {
                let config = ClusterConfig::new().set_connection_timeout(CONNECT).set_response_timeout(RESPONSE);
                Connection::Cluster(client.get_pending_async_connection_with_config(config))
            }
        })
    }
}

impl Link {
    /// Connects lazily; addresses with commas between them are nodes of one cluster.
    pub fn new(url: &str) -> RedisResult<Self> {
        let nodes: Vec<&str> = url.split(',').map(str::trim).collect();
        let redis = if let [one] = nodes[..] {
            let config = ConnectionManagerConfig::new()
                .set_response_timeout(Some(RESPONSE))
                .set_connection_timeout(Some(CONNECT))
                .set_number_of_retries(1)
                .set_max_delay(Duration::from_millis(50));
            Redis::Server(redis::Client::open(one)?, Box::new(config))
        } else {
            // What isn't answered is refused, not tried again: a decision has its bound.
            Redis::Cluster(ClusterClient::builder(nodes).retries(1).max_retry_wait(50).build()?)
        };
        let current = Current { connection: redis.connect()?, made: 0, at: Instant::now() };
        Ok(Self { redis, current: Mutex::new(current) })
    }

    /// The connection of now, and which one it is.
    pub fn connection(&self) -> (Connection, u64) {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        (current.connection.clone(), current.made)
    }

    /// Tells how a call over a connection went. One that was silent may be half-open, and one that may only read leads to a
    /// master that is none any more: both would stay so, and are made anew.
    pub fn went(&self, made: u64, error: Option<&redis::RedisError>) {
        let is_bad = error
            .is_none_or(|error| error.is_timeout() || error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly));
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if is_bad
            && current.made == made
            && current.at.elapsed() >= RENEW
            && let Ok(connection) = self.redis.connect()
        {
            *current = Current { connection, made: made + 1, at: Instant::now() };
        }
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
        match self {
            Self::Server(connection) => connection.get_db(),
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}
