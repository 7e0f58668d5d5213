//! Measures the cost of an admission against a plain `PING` and against two sliding windows of `@upstash/ratelimit` (`peer.mjs`), all on
//! one Redis in one run: with full rings, with few and with millions of past calls, with a thousand and with a million users, over one
//! and over thirty-two connections. Also reports the memory of one user in Redis.
//!
//! Run it with `./dev bench limits`, or `REDIS_URL=… cargo run --release -p bench --bin bench-limits`. It flushes the Redis, so point it
//! at a dedicated one.

use limits::{Admission, Allowance, Demand, Limits, PastCall, Store, Window, Windows};
use std::io::Write as _;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const ROUNDS: usize = 10_000;
/// Number of warm-up calls that are not measured.
const WARM_UP: usize = 1_000;
const CONNECTIONS: usize = 32;
const SECONDS: u64 = 10;
const USERS: u64 = 1_000_000;
const DAY_MS: u64 = 86_400_000;
/// Two windows of the same kinds and lengths as the app's user meters.
const WINDOWS: Windows = Windows::new(&[Window::calls("r", 60_000, 60), Window::amount("t", DAY_MS, 48)]);
const PLAN: Allowance<'_> = Allowance { limits: &[1 << 50, 1 << 50], in_flight: None };
const DEMAND: Demand = Demand { input: 100, output_min: 100, output_max: 100 };

fn now_ms() -> u64 {
    #[allow(clippy::disallowed_methods, reason = "a benchmark may read the clock")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    u64::try_from(now).unwrap_or(0)
}

/// Returns past calls: `uses` of 100 tokens each spread evenly over the day, and one in every second of the last minute. The meters hold
/// sums, so the uses of one bucket are combined into one call.
fn past(uses: u64) -> Vec<PastCall> {
    let (now, buckets) = (now_ms(), uses.min(47));
    let over = |n: u64, of: u64, span: u64, amount: u64| PastCall {
        call: format!("past-{span}-{n}"),
        at_ms: now - span + n * span / of,
        amount,
        running: false,
    };
    let day = (0..buckets).map(|n| over(n, buckets, DAY_MS - DAY_MS / 48, uses * 100 / buckets));
    day.chain((0..60).map(|n| over(n, 60, 60_000, 100))).collect()
}

/// Creates a user with past calls, and peeks once so that the meters are built.
async fn user(store: &Store, name: &str, uses: u64) -> anyhow::Result<Limits> {
    let past = past(uses);
    let history: limits::History = Arc::new(move |_| {
        let past = past.clone();
        Box::pin(async move { Ok(past) })
    });
    let limits = Limits::new(store, "bench", &WINDOWS, history);
    limits.peek(name).await?;
    Ok(limits)
}

/// Admits and settles one call. Returns the duration of the admission.
async fn call(limits: &Limits, name: &str, id: &str) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let admission = limits.admit(name, id, PLAN, DEMAND).await?;
    let took = began.elapsed();
    if let Admission::Granted(permit) = admission {
        limits.settle(permit, 100).await?;
    }
    Ok(took)
}

fn report(name: &str, times: &mut [Duration]) -> anyhow::Result<Duration> {
    times.sort_unstable();
    let percentile = |share: usize| times.get(times.len() * share / 100).copied().unwrap_or(Duration::ZERO);
    writeln!(std::io::stdout(), "{name:44} p50 {:>9.3?}  p99 {:>9.3?}", percentile(50), percentile(99))?;
    Ok(percentile(50))
}

fn print_result(name: &str, what: &str) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stdout(), "{name:44} {what}")?)
}

/// Returns the `n`th user name in a pseudo-random order (a prime step), so that no user comes twice in a row.
fn nth(n: u64, users: u64) -> String {
    format!("p{}", n.wrapping_mul(7_368_787) % users)
}

/// Admits and settles one call for each of the million users.
async fn populate(url: &str) -> anyhow::Result<()> {
    let workers = (0..CONNECTIONS as u64).map(|worker| {
        let url = url.to_owned();
        tokio::spawn(async move {
            let limits = Limits::without_history(&Store::redis(&url)?, "bench", &WINDOWS);
            for n in (worker..USERS).step_by(CONNECTIONS) {
                call(&limits, &format!("p{n}"), "first").await?;
            }
            anyhow::Ok(())
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        worker.await??;
    }
    Ok(())
}

/// Measures calls per second over all connections, each call from a different user; with `settle`, each call is also settled.
async fn rate(url: &str, settle: bool) -> anyhow::Result<u64> {
    let workers = (0..CONNECTIONS as u64).map(|worker| {
        let url = url.to_owned();
        tokio::spawn(async move {
            let limits = Limits::without_history(&Store::redis(&url)?, "bench", &WINDOWS);
            let (began, mut done) = (Instant::now(), 0);
            while began.elapsed() < Duration::from_secs(SECONDS) {
                let id = format!("{settle}-{worker}-{done}");
                let admitted = limits.admit(&nth(done * CONNECTIONS as u64 + worker, USERS), &id, PLAN, DEMAND).await?;
                done += 1;
                match admitted {
                    Admission::Granted(permit) if settle => drop(limits.settle(permit, 100).await?),
                    Admission::Granted(_) => {}
                    other => anyhow::bail!("{other:?}"),
                }
            }
            anyhow::Ok(done)
        })
    });
    let mut done = 0;
    for worker in workers.collect::<Vec<_>>() {
        done += worker.await??;
    }
    Ok(done / SECONDS)
}

/// Runs 64 concurrent admissions 200 times while four threads keep the cores busy. None may be refused because this process wasn't
/// scheduled in time.
async fn busy(url: &str) -> anyhow::Result<String> {
    let done = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let spinning: Vec<_> = (0..4)
        .map(|_| {
            let done = Arc::clone(&done);
            std::thread::spawn(move || {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            })
        })
        .collect();
    let limits = Limits::without_history(&Store::redis(url)?, "busy", &WINDOWS);
    let (mut times, mut unavailable) = (Vec::new(), 0_u64);
    for round in 0..200 {
        let admissions = (0..64).map(|n| {
            let limits = limits.clone();
            tokio::spawn(async move { call(&limits, &format!("p{n}"), &round.to_string()).await })
        });
        for one in admissions.collect::<Vec<_>>() {
            match one.await? {
                Ok(took) => times.push(took),
                Err(_) => unavailable += 1,
            }
        }
    }
    done.store(true, std::sync::atomic::Ordering::Relaxed);
    for thread in spinning {
        let _ = thread.join();
    }
    times.sort_unstable();
    let percentile = |share: usize| times.get(times.len() * share / 1000).copied().unwrap_or_default();
    anyhow::ensure!(unavailable == 0, "{unavailable} admissions were refused as unavailable");
    Ok(format!("none unavailable; p50 {:.1?}  p99.9 {:.1?}", percentile(500), percentile(999)))
}

/// Checks that a decision takes at most 300 ms against a listener that accepts connections and never replies.
async fn silent() -> anyhow::Result<String> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let limits =
        Limits::without_history(&Store::redis(&format!("redis://{}", listener.local_addr()?))?, "silent", &WINDOWS);
    let mut longest = Duration::ZERO;
    for n in 0..20 {
        let began = Instant::now();
        anyhow::ensure!(call(&limits, "p", &n.to_string()).await.is_err(), "an admission succeeded without Redis");
        longest = longest.max(began.elapsed());
    }
    anyhow::ensure!(longest <= Duration::from_millis(300), "a decision took {longest:?}");
    Ok(format!("{longest:.0?} (bound 300 ms)"))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    #[allow(clippy::disallowed_methods, reason = "a benchmark reads REDIS_URL from the environment")]
    let url = std::env::var("REDIS_URL")?;
    let store = Store::redis(&url)?;
    let mut bare = redis::Client::open(url.as_str())?.get_multiplexed_async_connection().await?;
    let () = redis::cmd("FLUSHALL").query_async::<String>(&mut bare).await.map(|_| ())?;

    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let began = Instant::now();
        let () = redis::cmd("PING").query_async::<String>(&mut bare).await.map(|_| ())?;
        times.push(began.elapsed());
    }
    report("PING", &mut times)?;

    // The cases alternate, so that a machine that slows down affects all of them equally.
    const USES: [u64; 3] = [1, 10_000, 10_000_000];
    let mut users = Vec::new();
    for uses in USES {
        users.push((user(&store, &format!("full-{uses}"), uses).await?, Vec::with_capacity(ROUNDS)));
    }
    for n in 0..ROUNDS + WARM_UP {
        for (uses, (limits, times)) in USES.iter().zip(&mut users) {
            let took = call(limits, &format!("full-{uses}"), &n.to_string()).await?;
            times.extend((n >= WARM_UP).then_some(took));
        }
    }
    let mut medians = Vec::new();
    for (uses, (_, times)) in USES.iter().zip(&mut users) {
        medians.push(report(&format!("admit, {uses} past uses"), times)?);
    }
    for (number, uses) in [(1_u64, 100), (20_000, 100_000_000)] {
        // Fills every bucket of both rings, with numbers of increasing length.
        let name = format!("heavy-{number}");
        let limits = user(&store, &name, 47 * uses / 100).await?;
        limits.peek(&name).await?;
        let key = format!("meter:{{bench:{name}}}");
        let bytes: u64 =
            redis::cmd("MEMORY").arg("USAGE").arg(&key).arg("SAMPLES").arg(0).query_async(&mut bare).await?;
        print_result(&format!("one user, all buckets full ({uses} each)"), &format!("{bytes} bytes"))?;
    }

    let began = Instant::now();
    populate(&url).await?;
    print_result(&format!("{USERS} users created"), &format!("in {:.0?}", began.elapsed()))?;
    let limits = Limits::without_history(&store, "bench", &WINDOWS);
    let mut crowds = [(1_000, Vec::with_capacity(ROUNDS)), (USERS, Vec::with_capacity(ROUNDS))];
    for n in 0..ROUNDS {
        for (users, times) in &mut crowds {
            times.push(call(&limits, &nth(n as u64, *users), &format!("{users}-{n}")).await?);
        }
    }
    for (users, times) in &mut crowds {
        medians.push(report(&format!("admit, among {users} users"), times)?);
    }
    let (first, last) = (medians.iter().min(), medians.iter().max());
    if let (Some(first), Some(last)) = (first, last) {
        print_result("slowest p50 over fastest", &format!("{:.2}", last.as_secs_f64() / first.as_secs_f64()))?;
    }

    let ours = rate(&url, false).await?;
    print_result(&format!("admissions, {CONNECTIONS} connections"), &format!("{ours}/s"))?;
    let both = rate(&url, true).await?;
    print_result(&format!("calls admitted and settled, {CONNECTIONS} connections"), &format!("{both}/s"))?;
    print_result("64 concurrent, 4 busy threads, 12 800 calls", &busy(&url).await?)?;
    print_result("silent Redis, longest decision of 20", &silent().await?)?;
    let peer = Command::new("node")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/limits/peer.mjs"))
        .args([&url, &CONNECTIONS.to_string(), &SECONDS.to_string(), &USERS.to_string()])
        .output()?;
    anyhow::ensure!(peer.status.success(), "{}", String::from_utf8_lossy(&peer.stderr));
    let theirs: u64 = String::from_utf8(peer.stdout)?.trim().parse()?;
    print_result("two @upstash/ratelimit windows, same Redis", &format!("{theirs}/s"))?;
    print_result("ratio of admissions to theirs", &format!("{:.2}", ours as f64 / theirs as f64))?;
    Ok(())
}
