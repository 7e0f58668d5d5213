//! The process. `build` is the one door, for `main` and for tests alike.

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
mod house;
mod jobs;
mod mail;
mod meters;
#[cfg(debug_assertions)]
mod outbox;
mod pages;
mod routes;
#[cfg(debug_assertions)]
mod seed;
mod settings;
mod tasks;
pub mod telemetry;
mod vendor;

pub use config::Config;
pub use house::House;
pub use routes::admin_paths;

use anyhow::Context as _;
use std::{future::Future, net::SocketAddr, time::Duration};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// How long running turns may take to end once we are told to go.
const DRAIN: Duration = Duration::from_secs(25);

/// How long readers have for the last events once every turn has ended.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Everything built, nothing served yet.
pub struct Server {
    house: House,
    router: axum::Router,
}

/// Connects, migrates, and builds the router.
///
/// # Errors
/// When Postgres doesn't answer or a migration fails. Redis may come later.
pub async fn build(config: Config) -> anyhow::Result<Server> {
    telemetry::tls();
    #[cfg(debug_assertions)]
    if let Some(point) = config.dies_at.clone() {
        let _ = fault::DIES_AT.set(point);
    }
    // Pages are drawn on tokio; a second call changes nothing.
    let _ = any_spawner::Executor::init_tokio();
    let db = store::connect(&config.database_url, 20).await.context("Postgres doesn't answer at DATABASE_URL")?;
    store::migrate(&db).await.context("migrations")?;
    let house = House::new(config, db)?;
    let router = routes::router(&house);
    Ok(Server { house, router })
}

impl Server {
    /// Takes the address that the configuration names.
    ///
    /// # Errors
    /// When it is taken.
    pub async fn listen(&self) -> anyhow::Result<TcpListener> {
        let addr = self.house.config.listen_addr;
        TcpListener::bind(addr).await.with_context(|| format!("{addr} is taken; set LISTEN_ADDR to another address"))
    }

    /// Serves until `shutdown`, then lets running turns end, then cuts them: each is recorded.
    ///
    /// # Errors
    /// When the socket breaks.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> anyhow::Result<()> {
        let Self { house, router } = self;
        tracing::info!(address = %listener.local_addr()?, public_url = house.config.public_url, "serving");
        let mut background = tasks::spawn(&house);
        let metrics = house.config.metrics_addr.map(|addr| tokio::spawn(routes::serve_metrics(addr)));
        let listener = axum::serve::ListenerExt::tap_io(listener, |stream| {
            let _ = stream.set_nodelay(true);
        });
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        let (cut, turns, told) = (house.cut.clone(), house.turns.clone(), house.draining.clone());
        let drained = CancellationToken::new();
        let done = drained.clone().drop_guard();
        tokio::spawn(async move {
            let _done = done;
            shutdown.await;
            tracing::info!("draining");
            told.cancel();
            fault::point("draining");
            turns.close();
            if tokio::time::timeout(DRAIN, turns.wait()).await.is_err() {
                cut.cancel();
                turns.wait().await;
            }
        });
        // Until every turn has ended we answer, and say at `/readyz` that nothing new should come here.
        let closing = drained.clone().cancelled_owned();
        // A reader of another server's turn keeps nobody here.
        let last_words = async {
            drained.cancelled().await;
            tokio::time::sleep(LAST_WORDS).await;
        };
        tokio::select! {
            served = axum::serve(listener, service).with_graceful_shutdown(closing) => served?,
            () = last_words => {}
        }
        // Turns that nobody is watching run on as well; what begins in this very moment ends with us.
        drained.cancelled().await;
        house.cut.cancel();
        house.turns.wait().await;
        background.abort_all();
        if let Some(metrics) = metrics {
            metrics.abort();
        }
        house.flush_settled().await;
        house.flush_refusals().await;
        Ok(())
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
