//! The server process. `build` is the entry point for `main` and for tests.

// Pages are deeply nested view types that exceed the default recursion limit.
#![recursion_limit = "512"]

mod accounts;
mod admin;
mod billing;
mod brand_images;
pub mod cli;
mod config;
mod content;
mod failure;
mod fault;
mod files;
mod http;
mod identity;
mod import;
mod jobs;
mod mail;
mod openapi;
mod protection;
mod schema;
mod share;
mod state;
pub mod telemetry;
mod turn;
mod usage_csv;

pub use config::Config;
pub use http::admin_paths;
pub use state::AppState;

use anyhow::Context as _;
use std::{future::Future, time::Duration};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Time that running turns have to finish after shutdown begins. Turns that are still running then are canceled.
const DRAIN: Duration = Duration::from_secs(22);

/// Time to record canceled turns, even if the databases don't respond.
const CANCEL: Duration = Duration::from_secs(4);

/// Time for clients to read the last events and for counters to be saved. `DRAIN`, `CANCEL` and `FLUSH` together stay below the 30 s or more
/// that process managers wait before killing a process.
const FLUSH: Duration = Duration::from_secs(2);

/// A server that is fully built but doesn't serve requests yet.
pub struct Server {
    app: AppState,
    router: http::Router,
}

/// Connects to Postgres, runs migrations, and builds the router.
///
/// # Errors
/// Returns an error if Postgres can't be reached or a migration fails. Redis may become available later.
pub async fn build(config: Config) -> anyhow::Result<Server> {
    telemetry::tls();
    #[cfg(debug_assertions)]
    if let Some(point) = config.dies_at.clone() {
        let _ = fault::DIES_AT.set(point);
    }
    #[cfg(debug_assertions)]
    if config.clock_offset_s != 0 {
        let _ = fault::CLOCK_OFFSET.set(time::Duration::seconds(config.clock_offset_s));
    }
    // Page rendering uses tokio as its executor. Calling this again has no effect.
    let _ = any_spawner::Executor::init_tokio();
    schema::migrate(&config).await?;
    let db = store::Db::connect(&config.database_url, store::Purpose::Requests)
        .await
        .context("can't connect to Postgres at DATABASE_URL")?;
    let app = AppState::new(config, db)?;
    for provider in store::provider::list(&app.db).await.context("providers")? {
        app.providers.register(&provider);
    }
    jobs::subjects::separate(&app).await.context("subjects of accounts")?;
    let router = http::router(&app);
    Ok(Server { app, router })
}

impl Server {
    /// Binds the configured listen address.
    ///
    /// # Errors
    /// Returns an error if the address can't be bound, for example because it is in use.
    pub async fn listen(&self) -> anyhow::Result<TcpListener> {
        let addr = self.app.config.listen_addr;
        TcpListener::bind(addr).await.with_context(|| format!("can't bind {addr}; set LISTEN_ADDR to another address"))
    }

    /// Serves until `shutdown` completes, then waits for running turns, cancels those that take too long, and returns within 30 seconds
    /// even if the databases don't respond. Turns that couldn't be recorded by then are reaped by another server.
    ///
    /// # Errors
    /// Returns an error if the listener's address can't be read.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> anyhow::Result<()> {
        let Self { app, router } = self;
        tracing::info!(address = %listener.local_addr()?, public_url = app.config.public_url, "serving");
        let mut background = jobs::spawn(&app);
        let metrics = app.config.metrics_addr.map(|addr| tokio::spawn(http::serve_metrics(addr)));
        // The server keeps accepting requests until every turn has ended; meanwhile `/readyz` reports it as not ready for new traffic.
        let drained = CancellationToken::new();
        let serving = http::serve(listener, router, app.config.max_connections, drained.cancelled());
        let draining = async {
            shutdown.await;
            drain(&app).await;
            drained.cancel();
        };
        // Clients that follow a turn of another server don't delay the shutdown.
        let last_events = async {
            drained.cancelled().await;
            tokio::time::sleep(FLUSH).await;
        };
        tokio::select! {
            _ = async { tokio::join!(draining, serving) } => {}
            () = last_events => {}
        }
        background.abort_all();
        if let Some(metrics) = metrics {
            metrics.abort();
        }
        let flush = async {
            app.flush_settled().await;
            app.flush_refusals().await;
        };
        let _ = tokio::time::timeout(FLUSH, flush).await;
        Ok(())
    }
}

/// Waits for running turns, cancels those that exceed `DRAIN`, and waits up to `CANCEL` for them to be recorded.
async fn drain(app: &AppState) {
    tracing::info!(turns = app.turns.len(), "draining");
    app.draining.cancel();
    fault::point("draining");
    app.turns.close();
    if tokio::time::timeout(DRAIN, app.turns.wait()).await.is_err() {
        app.cancel_turns.cancel();
        if tokio::time::timeout(CANCEL, app.turns.wait()).await.is_err() {
            tracing::error!(turns = app.turns.len(), "turns not recorded in time; another server will reap them");
        }
    }
}

/// Completes on Ctrl-C or SIGTERM.
pub async fn shutdown_signal() {
    let mut term = match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(term) => term,
        Err(error) => {
            tracing::error!(%error, "can't install the SIGTERM handler");
            return std::future::pending().await;
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = term.recv() => {}
    }
}
