//! Injects faults into two servers under load for ten minutes. Reports how each fault affected users and how long recovery took, then
//! compares the ledger with what the fake provider served and with the meters. Run it with `./dev chaos`.

mod faults;
mod world;

use anyhow::ensure;
use bench::print_result;
use std::time::{Duration, Instant};
use world::World;

/// Minimum duration of each fault's period, so that the full run takes ten minutes.
const PERIOD: Duration = Duration::from_secs(50);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let short = std::env::args().any(|arg| arg == "--short");
    let mut world = World::new().await?;
    let mut users = world.chat();
    let began = Instant::now();
    let mut failed = Vec::new();
    macro_rules! fault {
        ($name:literal, $fault:expr) => {{
            let (began, period) = (Instant::now(), if short { Duration::ZERO } else { PERIOD });
            world.seen.take();
            let outcome = $fault.await;
            let line = match &outcome {
                Ok(line) => line.clone(),
                Err(error) => {
                    failed.push($name);
                    format!("FAILED: {error:#}")
                }
            };
            tokio::time::sleep(period.saturating_sub(began.elapsed())).await;
            print_result($name, &format!("{line}; users: {}", world.seen.take()))?;
        }};
    }
    fault!("98 connections to Postgres freeze while all are in use", faults::frozen_postgres(&world));
    fault!("99 a second server whose clock is 5 minutes ahead, then behind", faults::wrong_clocks(&mut world));
    fault!("100 a user resends messages that the provider refuses", faults::refusing_provider(&world));
    fault!("101 FLUSHALL four times under load", faults::flushed_redis(&world));
    fault!("101 Redis killed and restored from an old snapshot", faults::stale_redis(&mut world));
    fault!("103 silent connections", faults::silent_connections(&world));
    fault!("104 a provider that never answers", faults::silent_provider(&world));
    fault!("105 Postgres refuses connections for 10 s", faults::no_postgres(&world));
    fault!("105 SIGTERM with responses in progress, then kill -9", faults::ended_servers(&mut world));
    fault!("106 one user floods the token estimate", faults::large_texts(&world));
    fault!("107 malformed cookies", faults::malformed_cookies(&world));
    world.stop_chat();
    while users.join_next().await.is_some() {}
    print_result("ledger and meters compared with the provider", &faults::compare(&world).await?)?;
    print_result("total time", &format!("{:.0?}", began.elapsed()))?;
    world.servers.clear();
    world.db.drop().await?;
    ensure!(failed.is_empty(), "{} faults failed: {failed:?}", failed.len());
    Ok(())
}
