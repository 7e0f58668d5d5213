//! Ten minutes of faults against two servers under load: what each did to users, how long recovery took, and at the end the ledger
//! compared with what the fake provider served and with the meters. `./dev chaos` builds and runs it; it stops by itself.

mod faults;
mod world;

use anyhow::ensure;
use bench::tell;
use std::time::{Duration, Instant};
use world::World;

/// How long each fault's period takes at least, so that the whole takes ten minutes.
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
            tell($name, &format!("{line}; users: {}", world.seen.take()))?;
        }};
    }
    fault!("98 connections to Postgres freeze while all are in use", faults::frozen_postgres(&world));
    fault!("99 a neighbour whose clock is 5 minutes ahead, then behind", faults::wrong_clocks(&mut world));
    fault!("100 a provider that refuses a user in a loop", faults::refusing_provider(&world));
    fault!("101 FLUSHALL four times under load", faults::flushed_redis(&world));
    fault!("101 Redis killed, and back from an old snapshot", faults::stale_redis(&mut world));
    fault!("103 silent connections", faults::silent_connections(&world));
    fault!("104 a provider that never answers", faults::silent_provider(&world));
    fault!("105 Postgres lets nobody in for 10 s", faults::no_postgres(&world));
    fault!("105 SIGTERM with running answers, and kill -9", faults::ended_servers(&mut world));
    fault!("106 one user floods the estimate", faults::large_texts(&world));
    fault!("107 malformed cookies", faults::malformed_cookies(&world));
    world.stop_chat();
    while users.join_next().await.is_some() {}
    tell("the ledger and the meters against the provider", &faults::compare(&world).await?)?;
    tell("time", &format!("{:.0?}", began.elapsed()))?;
    world.servers.clear();
    world.db.drop().await?;
    ensure!(failed.is_empty(), "{} failed: {failed:?}", failed.len());
    Ok(())
}
