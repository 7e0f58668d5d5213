//! What an admission costs over one Redis: beside a bare `PING` in the same run, with rings full, with few and many past uses,
//! with one client and with thirty-two; and what a person weighs in Redis.
//! `REDIS_URL=… cargo run --release -p bench`

use limits::{Admission, Allowance, Limits, Need, PastCall, Store, Window};
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const ROUNDS: usize = 5_000;
const CLIENTS: usize = 32;
const EACH: usize = 2_000;
const DAY_MS: u64 = 86_400_000;
const WINDOWS: [Window; 2] = [Window::calls("r", 60_000, 60), Window::amount("t", DAY_MS, 48)];
const PLAN: Allowance<'_> = Allowance { limits: &[1 << 50, 1 << 50], in_flight: None };
const NEED: Need = Need { input: 100, output_min: 100, output_max: 100 };

/// So many past calls, even over the day, and half of the last minute's seconds besides.
fn past(calls: u64) -> Vec<PastCall> {
    #[allow(clippy::disallowed_methods, reason = "a benchmark is at its own edge")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let now = u64::try_from(now).unwrap_or(0);
    let over = |n: u64, calls: u64, span: u64| PastCall {
        call: format!("past-{span}-{n}"),
        at_ms: now - span + n * span / calls,
        amount: 100,
        running: false,
    };
    (0..calls).map(|n| over(n, calls, DAY_MS)).chain((0..60).map(|n| over(n, 60, 60_000))).collect()
}

/// A person with a past, asked once so that their meters stand.
async fn person(store: &Store, name: &str, calls: u64) -> anyhow::Result<Limits> {
    let past = past(calls);
    let history: limits::History = Arc::new(move |_| {
        let past = past.clone();
        Box::pin(async move { Ok(past) })
    });
    let limits = Limits::new(store, "bench", &WINDOWS, history);
    limits.peek(name).await?;
    Ok(limits)
}

/// One admission, timed, and its settlement.
async fn call(limits: &Limits, name: &str, id: &str) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let admission = limits.admit(name, id, PLAN, NEED).await?;
    let took = began.elapsed();
    if let Admission::Granted(permit) = admission {
        limits.settle(permit, 100).await?;
    }
    Ok(took)
}

fn say(out: &mut impl std::io::Write, name: &str, times: &mut [Duration]) -> std::io::Result<()> {
    times.sort_unstable();
    let at = |share: usize| times.get(times.len() * share / 100).copied().unwrap_or(Duration::ZERO);
    writeln!(out, "{name:34} p50 {:>9.3?}  p99 {:>9.3?}", at(50), at(99))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    #[allow(clippy::disallowed_methods, reason = "a benchmark is told where Redis is")]
    let url = std::env::var("REDIS_URL")?;
    let store = Store::redis(&url)?;
    let mut bare = redis::Client::open(url.as_str())?.get_multiplexed_async_connection().await?;
    let mut out = std::io::stdout().lock();
    let mut pings = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let began = Instant::now();
        let () = redis::cmd("PING").query_async::<String>(&mut bare).await.map(|_| ())?;
        pings.push(began.elapsed());
    }
    say(&mut out, "PING", &mut pings)?;
    for calls in [100, 10_000, 50_000] {
        let name = format!("{}-{calls}", std::process::id());
        let limits = person(&store, &name, calls).await?;
        let mut times = Vec::with_capacity(ROUNDS);
        for n in 0..ROUNDS {
            times.push(call(&limits, &name, &n.to_string()).await?);
        }
        say(&mut out, &format!("admit, {calls} past uses"), &mut times)?;
        let key = format!("meter:{{bench:{name}}}");
        let bytes: u64 = redis::cmd("MEMORY").arg("USAGE").arg(&key).query_async(&mut bare).await?;
        writeln!(out, "{:34} {bytes} bytes", "  the person's hash")?;
    }
    let clients = (0..CLIENTS).map(|client| {
        let (url, name) = (url.clone(), format!("{}-client-{client}", std::process::id()));
        tokio::spawn(async move {
            let limits = person(&Store::redis(&url)?, &name, 1_000).await?;
            let began = Instant::now();
            for n in 0..EACH {
                call(&limits, &name, &n.to_string()).await?;
            }
            anyhow::Ok(began.elapsed())
        })
    });
    let mut longest = Duration::ZERO;
    for client in clients.collect::<Vec<_>>() {
        longest = longest.max(client.await??);
    }
    let rate = (CLIENTS * EACH) as f64 / longest.as_secs_f64();
    writeln!(out, "{:34} {rate:.0} calls/s, each admitted and settled, over {CLIENTS} connections", "")?;
    Ok(())
}
