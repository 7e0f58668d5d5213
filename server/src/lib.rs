//! The server process. `build` is the entry point for `main` and for tests.

// Pages are types that nest deeper than the default.
#![recursion_limit = "512"]

mod admin;
mod alerts;
mod auth;
mod billing;
mod chat;
mod circuit;
pub mod cli;
mod config;
mod error;
mod export;
mod fault;
mod http;
mod jobs;
mod mail;
mod meters;
#[cfg(debug_assertions)]
mod outbox;
mod pages;
mod provider;
mod routes;
#[cfg(debug_assertions)]
mod seed;
mod settings;
mod state;
mod tasks;
pub mod telemetry;

pub use config::Config;
pub use routes::admin_paths;
pub use state::AppState;

use anyhow::Context as _;
use std::{future::Future, time::Duration};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// How long running turns may take to end by themselves once a shutdown begins; then they are cut.
const DRAIN: Duration = Duration::from_secs(22);

/// How long cut turns have to be recorded, whatever the databases do.
const CUT: Duration = Duration::from_secs(4);

/// How long readers have to read the last events, and counters to be written. All three together are below the 30 s and more that
/// process managers wait before they kill.
const FLUSH: Duration = Duration::from_secs(2);

/// Everything built, nothing served yet.
pub struct Server {
    app: AppState,
    router: axum::Router,
}

/// Connects, migrates, and builds the router.
///
/// # Errors
/// Returns an error if Postgres can't be reached or a migration fails. Redis may come later.
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
    // Pages are drawn on tokio; a second call changes nothing.
    let _ = any_spawner::Executor::init_tokio();
    let db = store::Db::connect(&config.database_url, store::Purpose::Requests)
        .await
        .context("Postgres doesn't answer at DATABASE_URL")?;
    store::migrate(&db).await.context("migrations")?;
    let app = AppState::new(config, db)?;
    let router = routes::router(&app);
    Ok(Server { app, router })
}

impl Server {
    /// Takes the address that the configuration names.
    ///
    /// # Errors
    /// When it is taken.
    pub async fn listen(&self) -> anyhow::Result<TcpListener> {
        let addr = self.app.config.listen_addr;
        TcpListener::bind(addr).await.with_context(|| format!("{addr} is taken; set LISTEN_ADDR to another address"))
    }

    /// Serves until `shutdown`, then lets running turns end, then cuts them, and ends within half a minute whatever the databases do.
    /// Turns that couldn't be recorded by then are ended by the reaper of another server.
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
        let mut background = tasks::spawn(&app);
        let metrics = app.config.metrics_addr.map(|addr| tokio::spawn(routes::serve_metrics(addr)));
        // Until every turn has ended this server answers, and says at `/readyz` that nothing new should come here.
        let drained = CancellationToken::new();
        let serving = http::serve(listener, router, app.config.max_connections, drained.cancelled());
        let draining = async {
            shutdown.await;
            drain(&app).await;
            drained.cancel();
        };
        // A reader of another server's turn keeps nothing waiting here.
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

/// Waits for running turns, cuts those that take too long, and waits a little for these to be recorded.
async fn drain(app: &AppState) {
    tracing::info!(turns = app.turns.len(), "draining");
    app.draining.cancel();
    fault::point("draining");
    app.turns.close();
    if tokio::time::timeout(DRAIN, app.turns.wait()).await.is_err() {
        app.cut.cancel();
        if tokio::time::timeout(CUT, app.turns.wait()).await.is_err() {
            tracing::error!(
                turns = app.turns.len(),
                "turns couldn't be recorded in time; another server's reaper ends them"
            );
        }
    }
}

/// Ready on Ctrl-C or SIGTERM.
pub async fn shutdown_signal() {
    let mut term = match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(term) => term,
        Err(error) => {
            tracing::error!(%error, "SIGTERM can't be heard");
            return std::future::pending().await;
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = term.recv() => {}
    }
}
