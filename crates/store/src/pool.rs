//! The pool behind a [`crate::Db`]: what it is for, how large it is, and how it is replaced.

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use std::time::Duration;
use tokio::sync::watch;

/// Maximum time that a statement waits for a free connection.
const ACQUIRE: Duration = Duration::from_secs(5);
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

/// A pool and its state, shared by all clones of a `Db` and the watchdog.
pub(crate) struct Shared {
    pub options: PgConnectOptions,
    pub purpose: Purpose,
    pub pool: watch::Sender<PgPool>,
    /// Whether the watchdog found Postgres unreachable.
    pub down: watch::Sender<bool>,
}

impl Shared {
    /// Replaces the pool with an empty one. Statements that are waiting for a connection get one from the new pool. Statements that are
    /// running on old connections end at their deadline at the latest.
    pub fn replace_pool(&self) {
        self.pool.send_replace(new_pool(self.purpose).connect_lazy_with(self.options.clone()));
    }
}

pub(crate) fn new_pool(purpose: Purpose) -> PgPoolOptions {
    PgPoolOptions::new().max_connections(purpose.max_connections()).acquire_timeout(ACQUIRE).after_connect(
        move |connection, _| {
            Box::pin(async move { sqlx::raw_sql(purpose.settings()).execute(connection).await.map(drop) })
        },
    )
}
