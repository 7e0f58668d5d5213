//! The connection to Redis, a single server or a cluster, shared by many calls. Each call has a deadline that measures Redis and not
//! the scheduling of this process. Connections that have failed without an error are replaced.

mod connection;
mod deadline;

pub use connection::Connection;
pub use deadline::within;
/// The client library. Only this crate depends on it, so that all crates use the same connection.
pub use redis;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::cluster::{ClusterClient, ClusterConfig};
use redis::{Cmd, ErrorKind, FromRedisValue, Pipeline, RedisResult, ServerErrorKind};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Maximum time to establish a connection.
const CONNECT: Duration = Duration::from_millis(250);
/// A backstop far above every deadline of [`Link::query`], which takes precedence: the client's own timer also runs while this process
/// isn't scheduled, or the machine is paused.
const RESPONSE: Duration = Duration::from_secs(60);
/// Minimum time between reconnections while Redis hangs.
const RECONNECT_INTERVAL: Duration = Duration::from_millis(300);

/// A command or pipeline failed.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Redis refused the command, or the connection broke.
    #[error("redis: {0}")]
    Redis(#[from] redis::RedisError),
    /// Redis didn't reply within the deadline.
    #[error("redis didn't reply before the deadline")]
    Slow,
}

impl LinkError {
    /// Whether Redis has no script with the hash that was called (`NOSCRIPT`).
    #[must_use]
    pub fn is_no_script(&self) -> bool {
        matches!(self, Self::Redis(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript))
    }

    /// Whether the connection must be replaced: it was silent and may be half-open, or it leads to a read-only server, such as a
    /// former master.
    fn requires_reconnect(&self) -> bool {
        match self {
            Self::Redis(error) => error.is_timeout() || error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly),
            Self::Slow => true,
        }
    }
}

enum Client {
    Server(Box<redis::Client>, Box<ConnectionManagerConfig>),
    Cluster(Box<ClusterClient>),
}

struct Current {
    connection: Connection,
    /// Number of times that the connection was replaced.
    generation: u64,
    since: Instant,
}

/// A connection to one Redis server or cluster. Connects lazily and reconnects automatically.
pub struct Link {
    client: Client,
    current: Mutex<Current>,
}

impl Client {
    fn connect(&self) -> RedisResult<Connection> {
        Ok(match self {
            Self::Server(client, config) => {
                Connection::Server(ConnectionManager::new_lazy_with_config((**client).clone(), (**config).clone())?)
            }
            Self::Cluster(client) => {
                let config = ClusterConfig::new().set_connection_timeout(CONNECT).set_response_timeout(RESPONSE);
                Connection::Cluster(client.get_pending_async_connection_with_config(config))
            }
        })
    }
}

impl Link {
    /// Creates a link; nothing is sent before the first command. A comma-separated list of addresses names the nodes of one cluster.
    ///
    /// # Errors
    /// Returns an error if an address can't be parsed.
    pub fn new(url: &str) -> Result<Self, LinkError> {
        let nodes: Vec<&str> = url.split(',').map(str::trim).collect();
        let client = if let [one] = nodes[..] {
            let config = ConnectionManagerConfig::new()
                .set_response_timeout(Some(RESPONSE))
                .set_connection_timeout(Some(CONNECT))
                .set_number_of_retries(1)
                .set_max_delay(Duration::from_millis(50));
            Client::Server(Box::new(redis::Client::open(one)?), Box::new(config))
        } else {
            // Retries are limited, because the caller has a deadline.
            Client::Cluster(Box::new(ClusterClient::builder(nodes).retries(1).max_retry_wait(50).build()?))
        };
        let current = Current { connection: client.connect()?, generation: 0, since: Instant::now() };
        Ok(Self { client, current: Mutex::new(current) })
    }

    /// Sends a command and reads its reply within the time left of a deadline; see [`within`].
    ///
    /// # Errors
    /// Returns an error if Redis refuses the command, the connection breaks, or the deadline passes.
    pub async fn query<T: FromRedisValue>(&self, command: &Cmd, left: &mut Duration) -> Result<T, LinkError> {
        let (mut connection, generation) = self.connection();
        self.await_reply(generation, left, command.query_async(&mut connection)).await
    }

    /// Sends a pipeline in one round trip within the time left of a deadline; see [`within`].
    ///
    /// # Errors
    /// Returns an error if Redis refuses a command, the connection breaks, or the deadline passes.
    pub async fn pipeline<T: FromRedisValue>(&self, pipeline: &Pipeline, left: &mut Duration) -> Result<T, LinkError> {
        let (mut connection, generation) = self.connection();
        self.await_reply(generation, left, pipeline.query_async(&mut connection)).await
    }

    /// Waits for a reply within the deadline, and replaces the connection if its failure requires it.
    async fn await_reply<T>(
        &self,
        generation: u64,
        left: &mut Duration,
        reply: impl Future<Output = RedisResult<T>>,
    ) -> Result<T, LinkError> {
        let reply = match within(left, reply).await {
            Some(reply) => reply.map_err(LinkError::from),
            None => Err(LinkError::Slow),
        };
        if reply.as_ref().err().is_some_and(LinkError::requires_reconnect) {
            self.replace(generation);
        }
        reply
    }

    /// Returns the current connection and its generation.
    fn connection(&self) -> (Connection, u64) {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        (current.connection.clone(), current.generation)
    }

    /// Replaces a connection, unless it has already been replaced or is younger than [`RECONNECT_INTERVAL`].
    fn replace(&self, generation: u64) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.generation == generation
            && current.since.elapsed() >= RECONNECT_INTERVAL
            && let Ok(connection) = self.client.connect()
        {
            *current = Current { connection, generation: generation + 1, since: Instant::now() };
        }
    }
}
