//! The binary: reads the configuration, then serves the app or runs a subcommand.

use anyhow::Context as _;
use clap::Parser as _;
use server::Config;
use server::cli::{self, Cli, Command};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        // Needs neither a configuration nor a runtime, whose threads would take from its memory.
        Some(Command::ReadFile { limited }) => cli::read_file(limited),
        command => run(command),
    }
}

#[tokio::main]
async fn run(command: Option<Command>) -> anyhow::Result<()> {
    let config = Config::from_env().context("invalid configuration")?;
    server::telemetry::log(&config);
    server::telemetry::tls();
    match command {
        Some(command) => cli::run(command, &config, &mut std::io::stdout().lock()).await,
        None => {
            let server = server::build(config).await?;
            let listener = server.listen().await?;
            server.serve(listener, server::shutdown_signal()).await
        }
    }
}
