//! The binary: reads the configuration, then serves the app or runs a subcommand.

use anyhow::Context as _;
use clap::Parser as _;
use server::{Config, cli::Cli};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let config = Config::from_env().context("invalid configuration")?;
    server::telemetry::log(&config);
    server::telemetry::tls();
    match cli.command {
        Some(command) => server::cli::run(command, &config, &mut std::io::stdout().lock()).await,
        None => {
            let server = server::build(config).await?;
            let listener = server.listen().await?;
            server.serve(listener, server::shutdown_signal()).await
        }
    }
}
