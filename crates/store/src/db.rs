//! Connections to Postgres: a pool in which everything has a deadline, and which is replaced when its connections can't be trusted.
//!
//! sqlx waits for ever for an answer that doesn't come, also when it pings a connection on its way back to the pool. Where a
//! firewall or a failover leaves connections half-open, that occupies a pool until the process is restarted. So every statement here
//! has a deadline, after which its connection is closed; returning one to the pool has a deadline too; and a watchdog with a
//! connection of its own replaces the pool where old connections are dead and new ones work, and reports Postgres as down where
//! new ones fail, so that requests are refused at once instead of each waiting for itself.

use crate::{Result, StoreError, watchdog};
use futures_util::{StreamExt as _, TryStreamExt as _, future::BoxFuture, stream, stream::BoxStream};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{
    PgConnectOptions, PgConnection, PgPool, PgPoolOptions, PgQueryResult, PgRow, PgStatement, PgTypeInfo,
};
use sqlx::{Either, Error, Execute, Executor, Postgres, SqlStr};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::error::Elapsed;
use tokio::time::timeout;

/// How long a statement waits for a free connection.
const ACQUIRE: Duration = Duration::from_secs(5);
/// How long a connection may take to become reusable: a rollback, a ping.
const RELEASE: Duration = Duration::from_secs(2);

/// What a pool is for: how large it is, what its sessions may do, and how long a statement may take. The server's own limit is below
/// ours, so that Postgres itself ends a slow statement wherever it can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Requests. Planning is done once per statement and JIT is off: both cost more than these short queries do.
    Requests,
    /// The admin's tables: four connections of their own, read-only, so that they never delay a turn's queries.
    Reports,
    /// Scheduled work: two connections of their own, and statements that may take minutes.
    Jobs,
    /// Commands and tests: no limit.
    Commands,
}

impl Purpose {
    const fn max_connections(self) -> u32 {
        match self {
            Self::Requests => 20,
            Self::Reports | Self::Commands => 4,
            Self::Jobs => 2,
        }
    }

    const fn deadline(self) -> Duration {
        match self {
            Self::Requests => Duration::from_secs(10),
            Self::Reports => Duration::from_secs(12),
            Self::Jobs => Duration::from_secs(660),
            Self::Commands => Duration::from_secs(24 * 3_600),
        }
    }

    const fn settings(self) -> &'static str {
        match self {
            Self::Requests => {
                "set jit = off; set plan_cache_mode = force_generic_plan; set statement_timeout = '8s'; set idle_in_transaction_session_timeout = '60s'"
            }
            Self::Reports => {
                "set jit = off; set plan_cache_mode = force_generic_plan; set statement_timeout = '10s'; set default_transaction_read_only = on; set work_mem = '32MB'"
            }
            Self::Jobs => "set jit = off; set plan_cache_mode = force_generic_plan; set statement_timeout = '600s'",
            Self::Commands => "set jit = off; set plan_cache_mode = force_generic_plan",
        }
    }
}

/// A pool of connections for one purpose; cheap to clone.
#[derive(Clone)]
pub struct Db {
    shared: Arc<Shared>,
    deadline: Duration,
}

pub(crate) struct Shared {
    pub options: PgConnectOptions,
    purpose: Purpose,
    pool: watch::Sender<PgPool>,
    /// Whether Postgres was found unreachable.
    pub down: watch::Sender<bool>,
}

impl fmt::Debug for Db {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Db").field("purpose", &self.shared.purpose).finish_non_exhaustive()
    }
}

impl Shared {
    /// Starts anew with no connections; statements that wait for one get a new one. Statements that run on old ones end
    /// by themselves, at their deadline at the latest.
    pub fn replace_pool(&self) {
        self.pool.send_replace(new_pool(self.purpose).connect_lazy_with(self.options.clone()));
    }
}

fn new_pool(purpose: Purpose) -> PgPoolOptions {
    PgPoolOptions::new().max_connections(purpose.max_connections()).acquire_timeout(ACQUIRE).after_connect(
        move |connection, _| {
            Box::pin(async move { sqlx::raw_sql(purpose.settings()).execute(connection).await.map(drop) })
        },
    )
}

/// The error of a deadline that passed.
fn timed_out(what: &str) -> Error {
    Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, what))
}

impl Db {
    /// Opens a pool and its first connection.
    ///
    /// # Errors
    /// Returns an error if the URL can't be parsed or the database doesn't answer within five seconds.
    pub async fn connect(url: &str, purpose: Purpose) -> Result<Self> {
        let db = Self::lazy(url, purpose)?;
        drop(db.lease().await?);
        Ok(db)
    }

    /// Opens a pool that connects when it is first used.
    ///
    /// # Errors
    /// Returns an error if the URL can't be parsed.
    pub fn lazy(url: &str, purpose: Purpose) -> Result<Self> {
        let options = PgConnectOptions::from_str(url)?.application_name("quotient");
        let pool = watch::Sender::new(new_pool(purpose).connect_lazy_with(options.clone()));
        let shared = Arc::new(Shared { options, purpose, pool, down: watch::Sender::new(false) });
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
        let mut pools = self.shared.pool.subscribe();
        loop {
            let pool = pools.borrow_and_update().clone();
            return tokio::select! {
                connection = pool.acquire() => Ok(Lease { connection: Some(connection?), in_transaction: false }),
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

    /// Runs migrations over the pool itself: they may take long.
    pub(crate) async fn migrate(&self, migrations: &sqlx::migrate::Migrator) -> Result<()> {
        let pool = self.shared.pool.borrow().clone();
        Ok(migrations.run(&pool).await?)
    }
}

/// A connection on loan. Dropped, it goes back to the pool, or is closed where that takes too long.
struct Lease {
    connection: Option<PoolConnection<Postgres>>,
    in_transaction: bool,
}

impl Lease {
    fn connection(&mut self) -> Result<&mut PgConnection, Error> {
        self.connection.as_deref_mut().ok_or_else(|| timed_out("the connection was closed"))
    }

    /// The outcome of a statement. One that ran into its deadline closes the connection, which frees its place in the pool.
    fn finish<T>(&mut self, done: Result<Result<T, Error>, Elapsed>) -> Result<T, Error> {
        done.unwrap_or_else(|_| {
            drop(self.connection.take().map(PoolConnection::detach));
            Err(timed_out("a statement wasn't answered in time"))
        })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            drop(connection.detach());
            return;
        };
        let in_transaction = self.in_transaction;
        runtime.spawn(async move {
            if in_transaction && !matches!(timeout(RELEASE, connection.execute("rollback")).await, Ok(Ok(_))) {
                drop(connection.detach());
                return;
            }
            // Where this doesn't end in time the connection is dropped with it, and so closed.
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
    /// Commits.
    ///
    /// # Errors
    /// Returns an error if Postgres refuses, or doesn't answer in time: then it isn't known whether the transaction happened.
    pub async fn commit(mut self) -> Result<()> {
        let done = timeout(self.deadline, self.lease.connection()?.execute("commit")).await;
        self.lease.finish(done)?;
        self.lease.in_transaction = false;
        Ok(())
    }
}

/// Collects a statement's results before they are passed on, since a stream that nobody reads would have no deadline. Nothing here
/// streams: large exports read in pages.
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

            // Asked for by sqlx's macros at compile time alone.
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
    /// The same database, for code that has a pool of its own: tests and benchmarks.
    fn from(pool: &PgPool) -> Self {
        let options = (*pool.connect_options()).clone();
        let shared = Arc::new(Shared {
            options,
            purpose: Purpose::Commands,
            pool: watch::Sender::new(pool.clone()),
            down: watch::Sender::new(false),
        });
        Self { shared, deadline: Purpose::Commands.deadline() }
    }
}

impl StoreError {
    /// Whether Postgres can't be reached, is starting or stopping, has no connection to spare, or took too long. The same request may
    /// succeed in a moment.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::Sql(
                Error::Io(_) | Error::Tls(_) | Error::PoolTimedOut | Error::PoolClosed | Error::WorkerCrashed,
            ) => true,
            // https://www.postgresql.org/docs/current/errcodes-appendix.html: connection exceptions, insufficient resources, operator
            // intervention, a server that became a replica, and a database that takes no connections.
            Self::Sql(Error::Database(error)) => error.code().is_some_and(|code| {
                ["08", "53", "57"].iter().any(|class| code.starts_with(class)) || code == "25006" || code == "55000"
            }),
            _ => false,
        }
    }
}
