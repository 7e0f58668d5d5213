//! The stand-in as a process, for browser tests: `stand-in 127.0.0.1:0` prints where it listens.

use std::io::Write as _;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".into()).parse()?;
    let vendor = stand_in::StandIn::start(addr).await?;
    writeln!(std::io::stdout(), "{}", vendor.url())?;
    std::future::pending().await
}
