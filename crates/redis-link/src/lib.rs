//! The connection to Redis: one server or a cluster, shared by many calls, with a deadline per call that measures Redis and not
//! the scheduling of this process, and reconnected when it has gone bad without an error.

mod connection;
mod deadline;

pub use connection::Connection;
pub use deadline::within;
/// The client library: only this crate names it, so that all of ours speak through one connection.
pub use redis;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::cluster::{ClusterClient, ClusterConfig};
use redis::{Cmd, ErrorKind, FromRedisValue, Pipeline, RedisResult, ServerErrorKind};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long establishing a connection may take.
const CONNECT: Duration = Duration::from_millis(250);
/// A backstop far above every deadline of [`Link::query`], which is the one that counts: the client's own timer also runs while this
/// process isn't scheduled.
const RESPONSE: Duration = Duration::from_secs(5);
/// A Redis that hangs isn't reconnected to more often than this.
const RECONNECT_INTERVAL: Duration = Duration::from_millis(300);

/// A command or pipeline that got no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Redis refused the command, or the connection broke.
    #[error("redis: {0}")]
    Redis(#[from] redis::RedisError),
    /// Redis didn't answer within the deadline.
    #[error("redis didn't answer before the deadline")]
    Slow,
}

impl LinkError {
    /// Whether Redis doesn't know the script that was called by its hash.
    #[must_use]
    pub fn is_no_script(&self) -> bool {
        matches!(self, Self::Redis(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript))
    }

    /// Whether the connection should not be used again: it was silent and may be half-open, or it leads to a server that may only
    /// read, as a former master does.
    fn condemns_connection(&self) -> bool {
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
    /// Counts how often it was replaced.
    generation: u64,
    since: Instant,
}

/// The way to one Redis server or cluster. Connects lazily and reconnects by itself.
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
    /// Prepares a connection; nothing is sent before the first command. Addresses with commas between them are nodes of one cluster.
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
            // A command without an answer is refused and not tried again: a decision has its deadline.
            Client::Cluster(Box::new(ClusterClient::builder(nodes).retries(1).max_retry_wait(50).build()?))
        };
        let current = Current { connection: client.connect()?, generation: 0, since: Instant::now() };
        Ok(Self { client, current: Mutex::new(current) })
    }

    /// Sends a command and reads its answer, in as much time as is left of a deadline; see [`within`].
    ///
    /// # Errors
    /// Returns an error if Redis refuses the command, the connection breaks, or the deadline passes.
    pub async fn query<T: FromRedisValue>(&self, command: &Cmd, left: &mut Duration) -> Result<T, LinkError> {
        let (mut connection, generation) = self.connection();
        self.watched(generation, left, command.query_async(&mut connection)).await
    }

    /// Sends a pipeline in one round trip, in as much time as is left of a deadline; see [`within`].
    ///
    /// # Errors
    /// Returns an error if Redis refuses a command, the connection breaks, or the deadline passes.
    pub async fn pipeline<T: FromRedisValue>(&self, pipeline: &Pipeline, left: &mut Duration) -> Result<T, LinkError> {
        let (mut connection, generation) = self.connection();
        self.watched(generation, left, pipeline.query_async(&mut connection)).await
    }

    async fn watched<T>(
        &self,
        generation: u64,
        left: &mut Duration,
        answer: impl Future<Output = RedisResult<T>>,
    ) -> Result<T, LinkError> {
        let answer = match within(left, answer).await {
            Some(answer) => answer.map_err(LinkError::from),
            None => Err(LinkError::Slow),
        };
        if answer.as_ref().err().is_some_and(LinkError::condemns_connection) {
            self.replace(generation);
        }
        answer
    }

    /// The connection in use, and its generation.
    fn connection(&self) -> (Connection, u64) {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        (current.connection.clone(), current.generation)
    }

    /// Replaces a connection, unless that has been done or was done a moment ago.
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
