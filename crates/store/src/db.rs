//! Connections to Postgres: a pool with a deadline for every operation, which is replaced when its connections no longer respond.
//!
//! sqlx has no timeout for responses, neither for statements nor for the ping when a connection returns to the pool. If a firewall or a
//! failover leaves connections half-open, they exhaust the pool until the process is restarted. Therefore:
//!
//! - Every statement has a deadline, after which its connection is closed.
//! - Returning a connection to the pool has a deadline too.
//! - A watchdog with its own connection replaces the pool when old connections no longer respond but new ones work. It reports Postgres as down when
//!   new connections fail, so that requests are refused at once instead of each waiting for its own timeout.

use crate::pool::{Connections, Leased, Purpose, Shared, new_pool};
use crate::{Result, StoreError, watchdog};
use futures_util::{StreamExt as _, TryStreamExt as _, future::BoxFuture, stream, stream::BoxStream};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{Either, Error, Execute, Executor, Postgres, SqlStr};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::error::Elapsed;
use tokio::time::timeout;

/// Maximum time for each step of returning a connection to the pool: a rollback, a ping.
const RELEASE: Duration = Duration::from_secs(2);

/// A pool of connections for one purpose; cheap to clone.
#[derive(Clone)]
pub struct Db {
    shared: Arc<Shared>,
    deadline: Duration,
}

impl fmt::Debug for Db {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Db").field("purpose", &self.shared.purpose).finish_non_exhaustive()
    }
}

/// Builds a timeout error.
fn timed_out(message: &str) -> Error {
    Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, message))
}

impl Db {
    /// Opens a pool and its first connection.
    ///
    /// # Errors
    /// Returns an error if the URL can't be parsed or no connection can be made within five seconds.
    pub async fn connect(url: &str, purpose: Purpose) -> Result<Self> {
        let db = Self::lazy(url, purpose)?;
        drop(db.lease().await?);
        Ok(db)
    }

    /// Creates a pool that connects on first use.
    ///
    /// # Errors
    /// Returns an error if the URL can't be parsed.
    pub fn lazy(url: &str, purpose: Purpose) -> Result<Self> {
        let options = PgConnectOptions::from_str(url)?.application_name("quotient");
        let pool = new_pool(purpose).connect_lazy_with(options.clone());
        let connections = watch::Sender::new(Connections::new(pool, false));
        let shared = Arc::new(Shared { options, purpose, connections, down: watch::Sender::new(false) });
        if purpose != Purpose::Commands {
            watchdog::spawn(&shared);
        }
        Ok(Self { shared, deadline: purpose.deadline() })
    }

    async fn lease(&self) -> Result<Lease, Error> {
        let mut down = self.shared.down.subscribe();
        if *down.borrow() {
            return Err(timed_out("Postgres can't be reached"));
        }
        let mut pools = self.shared.connections.subscribe();
        loop {
            let connections = pools.borrow_and_update().clone();
            return tokio::select! {
                leased = connections.acquire() => Ok(Lease::new(leased?)),
                _ = down.wait_for(|down| *down) => Err(timed_out("Postgres can't be reached")),
                Ok(()) = pools.changed() => continue,
            };
        }
    }

    pub(crate) async fn begin_with(&self, begin: &'static str) -> Result<Tx> {
        let mut lease = self.lease().await?;
        let begun = timeout(self.deadline, lease.connection()?.execute(begin)).await;
        lease.finish(begun)?;
        lease.in_transaction = true;
        Ok(Tx { lease, deadline: self.deadline })
    }

    /// Runs migrations directly on the pool, without a deadline, because they may take long.
    pub(crate) async fn migrate(&self, migrations: &sqlx::migrate::Migrator) -> Result<()> {
        let connections = self.shared.connections.borrow().clone();
        Ok(migrations.run(connections.pool()).await?)
    }
}

/// A connection taken from the pool. When dropped it is kept for the next statement if its last one succeeded, otherwise it is returned to the
/// pool, or closed if that takes too long.
struct Lease {
    leased: Option<Leased>,
    in_transaction: bool,
    /// Whether the last statement succeeded, so that nothing of it is left on the connection.
    is_clean: bool,
}

impl Lease {
    fn new(leased: Leased) -> Self {
        Self { leased: Some(leased), in_transaction: false, is_clean: true }
    }

    /// Returns the connection for a statement, whose result goes to [`Lease::finish`].
    fn connection(&mut self) -> Result<&mut PgConnection, Error> {
        self.is_clean = false;
        let leased = self.leased.as_mut().ok_or_else(|| timed_out("the connection was closed"))?;
        Ok(&mut leased.connection)
    }

    /// Unwraps the result of a statement. If the statement exceeded its deadline the connection is closed, which frees its slot in the
    /// pool.
    fn finish<T>(&mut self, done: Result<Result<T, Error>, Elapsed>) -> Result<T, Error> {
        self.is_clean = matches!(done, Ok(Ok(_)));
        done.unwrap_or_else(|_| {
            drop(self.leased.take().map(|leased| leased.connection.detach()));
            Err(timed_out("the statement exceeded its deadline"))
        })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(leased) = self.leased.take() else { return };
        let (is_clean, in_transaction) = (self.is_clean, self.in_transaction);
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            drop(leased.connection.detach());
            return;
        };
        let leased = if is_clean && !in_transaction { leased.keep() } else { Some(leased) };
        let Some(Leased { mut connection, .. }) = leased else { return };
        runtime.spawn(async move {
            if in_transaction && !matches!(timeout(RELEASE, connection.execute("rollback")).await, Ok(Ok(_))) {
                drop(connection.detach());
                return;
            }
            // If this times out the future is dropped, and the connection with it, which closes it.
            let _ = timeout(RELEASE, connection.return_to_pool()).await;
        });
    }
}

/// An open transaction; rolled back when dropped.
pub struct Tx {
    lease: Lease,
    deadline: Duration,
}

impl fmt::Debug for Tx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tx").finish_non_exhaustive()
    }
}

impl Tx {
    /// Commits the transaction.
    ///
    /// # Errors
    /// Returns an error if Postgres refuses the commit or doesn't respond in time. After a timeout it is unknown whether the transaction
    /// was committed.
    pub async fn commit(mut self) -> Result<()> {
        let done = timeout(self.deadline, self.lease.connection()?.execute("commit")).await;
        self.lease.finish(done)?;
        self.lease.in_transaction = false;
        Ok(())
    }
}

/// Implements [`Executor`] with a deadline. All rows are collected before they are returned, because a stream that is read slowly could
/// exceed any deadline. Nothing in this crate streams: large exports are paginated.
macro_rules! bounded_executor {
    ($lifetime:lifetime, $executor:ty, $self:ident, $lease:expr) => {
        impl<$lifetime> Executor<$lifetime> for $executor {
            type Database = Postgres;

            fn fetch_many<'e, 'q: 'e, E>($self, query: E) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, Error>>
            where
                $lifetime: 'e,
                E: 'q + Execute<'q, Postgres>,
            {
                let deadline = $self.deadline;
                let all = async move {
                    #[allow(unused_mut)]
                    let mut lease = $lease;
                    let all = lease.connection()?.fetch_many(query).try_collect::<Vec<_>>();
                    let done = timeout(deadline, all).await;
                    lease.finish(done)
                };
                stream::once(all).map_ok(|all| stream::iter(all.into_iter().map(Ok))).try_flatten().boxed()
            }

            fn fetch_optional<'e, 'q: 'e, E>($self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, Error>>
            where
                $lifetime: 'e,
                E: 'q + Execute<'q, Postgres>,
            {
                let deadline = $self.deadline;
                Box::pin(async move {
                    #[allow(unused_mut)]
                    let mut lease = $lease;
                    let done = timeout(deadline, lease.connection()?.fetch_optional(query)).await;
                    lease.finish(done)
                })
            }

            fn prepare_with<'e>($self, sql: SqlStr, parameters: &'e [PgTypeInfo]) -> BoxFuture<'e, Result<PgStatement, Error>>
            where
                $lifetime: 'e,
            {
                let deadline = $self.deadline;
                Box::pin(async move {
                    #[allow(unused_mut)]
                    let mut lease = $lease;
                    let done = timeout(deadline, lease.connection()?.prepare_with(sql, parameters)).await;
                    lease.finish(done)
                })
            }

            // Called only by sqlx's macros at compile time.
            fn describe<'e>($self, sql: SqlStr) -> BoxFuture<'e, Result<sqlx::Describe<Postgres>, Error>>
            where
                $lifetime: 'e,
            {
                let deadline = $self.deadline;
                Box::pin(async move {
                    #[allow(unused_mut)]
                    let mut lease = $lease;
                    let done = timeout(deadline, lease.connection()?.describe(sql)).await;
                    lease.finish(done)
                })
            }
        }
    };
}

bounded_executor!('d, &'d Db, self, self.lease().await?);
bounded_executor!('t, &'t mut Tx, self, &mut self.lease);

impl From<&PgPool> for Db {
    /// Wraps an existing pool, without a watchdog. For tests and benchmarks.
    fn from(pool: &PgPool) -> Self {
        let options = (*pool.connect_options()).clone();
        let shared = Arc::new(Shared {
            options,
            purpose: Purpose::Commands,
            connections: watch::Sender::new(Connections::new(pool.clone(), true)),
            down: watch::Sender::new(false),
        });
        Self { shared, deadline: Purpose::Commands.deadline() }
    }
}

impl StoreError {
    /// Returns whether the error is temporary: Postgres can't be reached, is starting or stopping, has no free connection, or took too
    /// long. The same request may succeed when retried.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::Sql(
                Error::Io(_) | Error::Tls(_) | Error::PoolTimedOut | Error::PoolClosed | Error::WorkerCrashed,
            ) => true,
            // https://www.postgresql.org/docs/current/errcodes-appendix.html: connection exceptions (08), insufficient resources (53),
            // operator intervention (57), a server that became a read-only replica (25006), and a database that accepts no connections
            // (55000).
            Self::Sql(Error::Database(error)) => error.code().is_some_and(|code| {
                ["08", "53", "57"].iter().any(|class| code.starts_with(class)) || code == "25006" || code == "55000"
            }),
            _ => false,
        }
    }
}
