//! Checks Postgres once a second over its own connection.

use crate::db::Shared;
use sqlx::postgres::PgConnection;
use sqlx::{ConnectOptions as _, Connection as _, Error};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// How often it asks.
const INTERVAL: Duration = Duration::from_secs(1);
/// How often it asks while Postgres is down.
const DOWN_INTERVAL: Duration = Duration::from_millis(250);
/// How long an answer may take.
const PROBE: Duration = Duration::from_secs(2);
/// How many new connections in a row have to be silent before Postgres counts as down. A refusal counts at once.
const SILENT: u32 = 2;

/// Watches for as long as the pool is in use.
pub(crate) fn spawn(shared: &Arc<Shared>) {
    // Without a runtime nothing connects either.
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(watch(Arc::downgrade(shared)));
    }
}

async fn watch(shared: Weak<Shared>) {
    let (mut connection, mut silent): (Option<PgConnection>, u32) = (None, 0);
    loop {
        let Some(shared) = shared.upgrade() else { return };
        let was_down = *shared.down.borrow();
        let had_connection = connection.is_some();
        connection = answering(connection).await;
        if connection.is_none() {
            match timeout(PROBE, shared.options.connect()).await {
                Ok(Ok(new)) => {
                    connection = Some(new);
                    // Old connections were dead and a new one works: those of the pool are as old.
                    if had_connection || was_down {
                        tracing::warn!("connections to Postgres were lost; the pool is replaced");
                        shared.replace_pool();
                    }
                }
                Ok(Err(error)) if is_refusal(&error) => silent = SILENT,
                Ok(Err(error)) => {
                    tracing::warn!(%error, "Postgres refuses the watchdog's connection");
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
                tracing::info!("Postgres answers again");
            }
        }
        drop(shared);
        sleep(if is_down { DOWN_INTERVAL } else { INTERVAL }).await;
    }
}

/// The connection, if it still answers.
async fn answering(connection: Option<PgConnection>) -> Option<PgConnection> {
    let mut connection = connection?;
    matches!(timeout(PROBE, connection.ping()).await, Ok(Ok(()))).then_some(connection)
}

/// Whether nobody listens, or Postgres says that it is starting or stopping (57P03).
fn is_refusal(error: &Error) -> bool {
    match error {
        Error::Io(_) => true,
        Error::Database(error) => error.code().is_some_and(|code| code == "57P03" || code == "55000"),
        _ => false,
    }
}
