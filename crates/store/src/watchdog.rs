//! A watchdog that probes Postgres once a second over a connection of its own.

use crate::pool::Shared;
use sqlx::postgres::PgConnection;
use sqlx::{ConnectOptions as _, Connection as _, Error};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Pause between probes.
const INTERVAL: Duration = Duration::from_secs(1);
/// Pause between probes while Postgres is down.
const DOWN_INTERVAL: Duration = Duration::from_millis(250);
/// Maximum time that a probe or a new connection may take.
const PROBE: Duration = Duration::from_secs(2);
/// Number of consecutive new connections that must time out or fail before Postgres counts as down. A refused connection counts at once.
const SILENT: u32 = 2;

/// Starts the watchdog, which runs for as long as the pool is in use.
pub(crate) fn spawn(shared: &Arc<Shared>) {
    // Without a runtime no connection can be made, so there is nothing to watch.
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(watch(Arc::downgrade(shared)));
    }
}

async fn watch(shared: Weak<Shared>) {
    let (mut connection, mut silent): (Option<PgConnection>, u32) = (None, 0);
    // Whether the watchdog's connection was lost since the pool was made.
    let mut is_lost = false;
    loop {
        let Some(shared) = shared.upgrade() else { return };
        let was_down = *shared.down.borrow();
        let had_connection = connection.is_some();
        connection = probe(connection).await;
        if connection.is_none() {
            is_lost |= had_connection;
            match timeout(PROBE, shared.options.connect()).await {
                Ok(Ok(new)) => {
                    connection = Some(new);
                    // The old connection doesn't respond and a new one works: the pool's connections are as old and probably fail too.
                    if is_lost || was_down {
                        tracing::warn!("connections to Postgres were lost; replacing the pool");
                        shared.replace_pool();
                        is_lost = false;
                    }
                }
                Ok(Err(error)) if is_refusal(&error) => silent = SILENT,
                Ok(Err(error)) => {
                    tracing::warn!(%error, "Postgres refused the watchdog's connection");
                    silent += 1;
                }
                Err(_) => silent += 1,
            }
        }
        if connection.is_some() {
            silent = 0;
        }
        let is_down = silent >= SILENT;
        if shared.down.send_replace(is_down) != is_down {
            if is_down {
                tracing::error!("Postgres can't be reached");
            } else {
                tracing::info!("Postgres is reachable again");
            }
        }
        drop(shared);
        sleep(if is_down { DOWN_INTERVAL } else { INTERVAL }).await;
    }
}

/// Pings a connection and returns it if it responds in time.
async fn probe(connection: Option<PgConnection>) -> Option<PgConnection> {
    let mut connection = connection?;
    matches!(timeout(PROBE, connection.ping()).await, Ok(Ok(()))).then_some(connection)
}

/// Returns whether the connection failed with an I/O error, such as a closed port, or Postgres doesn't accept connections now: 57P03
/// (starting or stopping) or 55000.
fn is_refusal(error: &Error) -> bool {
    match error {
        Error::Io(_) => true,
        Error::Database(error) => error.code().is_some_and(|code| code == "57P03" || code == "55000"),
        _ => false,
    }
}
