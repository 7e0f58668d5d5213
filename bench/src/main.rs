//! Admissions per second over one Redis, beside the round trips of a bare `PING` in the same run: what the meters add to
//! the wire. `REDIS_URL=… cargo run --release -p bench`

use limits::{Admission, Allowance, Limits, Need, Store, Window};
use std::io::Write as _;
use std::time::{Duration, Instant};

const ROUNDS: usize = 5_000;
const WINDOWS: [Window; 2] = [Window::calls("requests", 60_000, 60), Window::amount("tokens", 86_400_000, 96)];

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    #[allow(clippy::disallowed_methods, reason = "a benchmark is told where Redis is")]
    let url = std::env::var("REDIS_URL")?;
    let limits = Limits::without_history(&Store::redis(&url)?, "bench", &WINDOWS);
    let mut bare = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
    let allowance = Allowance { limits: &[1 << 50, 1 << 50], in_flight: None };
    let need = Need { input: 100, output_min: 100, output_max: 100 };
    let subject = format!("bench-{}", std::process::id());
    let (mut pings, mut admits) = (Vec::with_capacity(ROUNDS), Vec::with_capacity(ROUNDS));
    for n in 0..ROUNDS {
        let began = Instant::now();
        let () = redis::cmd("PING").query_async::<String>(&mut bare).await.map(|_| ())?;
        pings.push(began.elapsed());
        let began = Instant::now();
        let admission = limits.admit(&subject, &format!("turn-{n}"), allowance, need).await?;
        admits.push(began.elapsed());
        if let Admission::Granted(permit) = admission {
            limits.settle(permit, 100).await?;
        }
    }
    let mut out = std::io::stdout().lock();
    for (name, times) in [("PING", &mut pings), ("admit", &mut admits)] {
        times.sort_unstable();
        let at = |share: usize| times.get(times.len() * share / 100).copied().unwrap_or(Duration::ZERO);
        writeln!(out, "{name:6} p50 {:>9.3?}  p99 {:>9.3?}", at(50), at(99))?;
    }
    Ok(())
}
