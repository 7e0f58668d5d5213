//! The pool behind a [`crate::Db`]: what it is for, how large it is, and how it is replaced.
//!
//! sqlx pings a connection when it is taken and again when it is given back, which are two more round trips per statement. A connection whose
//! statement has just succeeded needs neither: it is kept outside of the pool for the next statement.

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{Connection as _, Error, Postgres};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

/// Maximum time that a statement waits for a free connection.
const ACQUIRE: Duration = Duration::from_secs(5);
/// How long a connection may be unused and is used again without a ping.
const FRESH: Duration = Duration::from_secs(1);
/// Maximum time of that ping.
const PING: Duration = Duration::from_secs(2);
/// Number of statements after which a connection is given back to the pool, which closes it at its maximum age.
const MAX_USES: u32 = 1_000;

/// Purpose of a pool, which decides its size, its session settings and its statement deadline. Postgres' `statement_timeout` is shorter
/// than the deadline, so that Postgres itself ends a slow statement as long as it is reachable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// HTTP requests. Statements are planned once and JIT is off, because both would take longer than these short queries.
    Requests,
    /// Admin pages: four read-only connections of their own, so that they never delay a turn's queries.
    Reports,
    /// Scheduled work: two connections of its own, whose statements may take minutes.
    Jobs,
    /// Command-line tools and tests: no statement timeout, and a deadline of 24 hours.
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

    pub(crate) const fn deadline(self) -> Duration {
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

/// A pool, and connections of it that wait for the next statement.
pub(crate) struct Connections {
    pool: PgPool,
    ready: Mutex<Vec<Leased>>,
    /// Whether others use the pool too. Then every connection is given back to it.
    is_shared: bool,
    /// Number of statements that wait for a connection of the pool.
    waiting: AtomicUsize,
}

/// A connection of the pool, and the pool that it belongs to.
pub(crate) struct Leased {
    pub connection: PoolConnection<Postgres>,
    pub home: Arc<Connections>,
    uses: u32,
    used_at: Instant,
}

impl Connections {
    /// Wraps a pool. `is_shared` is whether others use it too.
    pub fn new(pool: PgPool, is_shared: bool) -> Arc<Self> {
        Arc::new(Self { pool, ready: Mutex::default(), is_shared, waiting: AtomicUsize::new(0) })
    }

    /// Returns the pool.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    fn ready(&self) -> MutexGuard<'_, Vec<Leased>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the connections that wait. They refer to the pool, which refers to them, so they would never be dropped.
    fn close_ready(&self) {
        self.ready().drain(..).for_each(|leased| drop(leased.connection.detach()));
    }

    /// Takes a connection that is known to work.
    ///
    /// # Errors
    /// Returns an error if none becomes free in time, or no connection can be made.
    pub async fn acquire(self: &Arc<Self>) -> Result<Leased, Error> {
        if let Some(leased) = self.take_ready().await {
            return Ok(leased);
        }
        // Counted before looking again: a connection that becomes free from here on goes to the pool.
        let _waiting = Waiting::new(&self.waiting);
        if let Some(leased) = self.take_ready().await {
            return Ok(leased);
        }
        let connection = self.pool.acquire().await?;
        Ok(Leased { connection, home: Arc::clone(self), uses: 0, used_at: Instant::now() })
    }

    /// Takes a connection that waits. Closes those that don't work any more.
    async fn take_ready(&self) -> Option<Leased> {
        loop {
            let mut leased = self.ready().pop()?;
            if leased.used_at.elapsed() < FRESH || matches!(timeout(PING, leased.connection.ping()).await, Ok(Ok(()))) {
                return Some(leased);
            }
            drop(leased.connection.detach());
        }
    }
}

impl Leased {
    /// Keeps the connection for the next statement. Returns it if it must be given back to the pool, because others wait there or it has been
    /// used often.
    pub fn keep(mut self) -> Option<Self> {
        (self.uses, self.used_at) = (self.uses + 1, Instant::now());
        if self.home.is_shared || self.uses >= MAX_USES || self.home.pool.is_closed() {
            return Some(self);
        }
        let home = Arc::clone(&self.home);
        home.ready().push(self);
        if home.waiting.load(Ordering::SeqCst) == 0 { None } else { home.ready().pop() }
    }
}

/// A statement that waits for the pool.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A pool and its state, shared by all clones of a `Db` and the watchdog.
pub(crate) struct Shared {
    pub options: PgConnectOptions,
    pub purpose: Purpose,
    pub connections: watch::Sender<Arc<Connections>>,
    /// Whether the watchdog found Postgres unreachable.
    pub down: watch::Sender<bool>,
}

impl Shared {
    /// Replaces the pool with an empty one. Statements that are waiting for a connection get one from the new pool. Statements that are
    /// running on old connections end at their deadline at the latest.
    pub fn replace_pool(&self) {
        let pool = new_pool(self.purpose).connect_lazy_with(self.options.clone());
        self.connections.send_replace(Connections::new(pool, false)).close_ready();
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.connections.borrow().close_ready();
    }
}

pub(crate) fn new_pool(purpose: Purpose) -> PgPoolOptions {
    PgPoolOptions::new().max_connections(purpose.max_connections()).acquire_timeout(ACQUIRE).after_connect(
        move |connection, _| {
            Box::pin(async move { sqlx::raw_sql(purpose.settings()).execute(connection).await.map(drop) })
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn postgres_ends_a_statement_before_our_deadline() {
        for purpose in [Purpose::Requests, Purpose::Reports, Purpose::Jobs] {
            let (_, setting) = purpose.settings().split_once("statement_timeout = '").unwrap();
            let seconds = setting.split_once("s'").unwrap().0.parse().unwrap();
            assert!(Duration::from_secs(seconds) < purpose.deadline(), "{purpose:?}");
        }
    }
}
