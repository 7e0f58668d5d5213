//! Measures the cost of a chat turn against a minimal axum and reqwest pass-through to the same fake provider: time to first token, CPU
//! time per turn, completed turns per second (with the ledger checked afterwards), memory when idle and per open stream, and paced
//! streams, none of which may stall. Compares the HTML view, which the chat page reads, with plain text, and opens a long conversation. Also
//! measures what abuse costs: wrong passwords at a high rate, and refused estimates.
//!
//! Run it with `./dev bench chat`. It requires `DATABASE_URL` and `REDIS_URL`, creates its own database, and starts
//! `target/release/quotient` as a separate process. Everything runs on this machine and is stopped at the end.

mod abuse;
mod html;

use anyhow::{Context as _, ensure};
use bench::process::{self, Process, free_port};
use bench::user::{self, Users, time_to_first_token};
use bench::{ms, pass_through, percentile, print_result};
use std::time::{Duration, Instant};

const ROUNDS: usize = 1_000;
const TURNS_SECONDS: u64 = 10;
const CONNECTIONS: usize = 32;
const OPEN: usize = 2_000;
const PACED: usize = 512;
/// A message whose response has twenty deltas.
const MESSAGE: &str = "{{words:20}}";
/// A message whose response stalls after its first word until it is released.
const HELD: &str = "{{words:2}}{{hold:1}}";

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        Some("pass-through") => tokio_main(2)?.block_on(pass_through::serve(
            &args.next().context("no provider URL")?,
            &args.next().context("no listen address")?,
        )),
        _ => tokio_main(2)?.block_on(bench()),
    }
}

fn tokio_main(workers: usize) -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build()?)
}

/// Runs turns one after another, 100 of them as warm-up. Returns the times to first token and the mean CPU time per turn.
async fn one_by_one(
    process: &Process,
    mut turn: impl AsyncFnMut() -> anyhow::Result<Duration>,
) -> anyhow::Result<(Vec<Duration>, Duration)> {
    for _ in 0..100 {
        turn().await?;
    }
    let before = process.cpu()?;
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        times.push(turn().await?);
    }
    Ok((times, (process.cpu()? - before) / u32::try_from(ROUNDS)?))
}

async fn bench() -> anyhow::Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let provider = Process::fakes()?;
    let through = Process::this(&["pass-through", &provider.url, &format!("127.0.0.1:{}", free_port()?)])?;
    let db = process::Database::fresh().await?;
    let server = Process::quotient(&db.url, &provider.url)?;
    db.no_limits().await?;
    print_result("resident memory when idle", &format!("{:.1} MiB", server.resident()? as f64 / 1_048_576.0))?;
    let users = Users::sign_up(db.pool(), &server.url, CONNECTIONS).await?;

    // A single insert and commit, with the durability that this Postgres is configured for.
    let mut commits = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let began = Instant::now();
        db.insert().await?;
        commits.push(began.elapsed());
    }
    let commit = (percentile(&mut commits, 50), percentile(&mut commits, 99));
    print_result("one insert and commit", &format!("p50 {}  p99 {}", ms(commit.0), ms(commit.1)))?;

    let client = user::client()?;
    let url = format!("{}/v1/messages", through.url);
    let bare = async || user::pass(&client, &url, MESSAGE).await;
    let (mut theirs, theirs_cpu) = one_by_one(&through, bare).await?;
    let one = users.one(0);
    let (mut ours, ours_cpu) = one_by_one(&server, async || time_to_first_token(&one, MESSAGE).await).await?;
    let (their, our) = (
        (percentile(&mut theirs, 50), percentile(&mut theirs, 99)),
        (percentile(&mut ours, 50), percentile(&mut ours, 99)),
    );
    print_result("time to first token, pass-through", &format!("p50 {}  p99 {}", ms(their.0), ms(their.1)))?;
    print_result("time to first token, ours", &format!("p50 {}  p99 {}", ms(our.0), ms(our.1)))?;
    let added =
        |ours: Duration, theirs: Duration, commit: Duration| ms(ours.saturating_sub(theirs).saturating_sub(commit));
    print_result(
        "added latency, less one commit",
        &format!("p50 {}  p99 {}", added(our.0, their.0, commit.0), added(our.1, their.1, commit.1)),
    )?;
    let ratio = ours_cpu.as_secs_f64() / theirs_cpu.as_secs_f64();
    print_result(
        "CPU time per turn",
        &format!("pass-through {}  ours {}  ({ratio:.1} times)", ms(theirs_cpu), ms(ours_cpu)),
    )?;

    html::compare(&server, &one, ours_cpu).await?;
    html::open_long_conversation(&db, &one).await?;
    abuse::sign_ins(&server.url, &one).await?;
    abuse::estimates(&server, &one).await?;
    abuse::timing(&server.url, &db).await?;

    // Completed turns over many connections.
    let before = server.cpu()?;
    let began = Instant::now();
    let workers = (0..CONNECTIONS).map(|n| {
        let one = users.one(n);
        tokio::spawn(async move {
            let mut done = 0_u64;
            while began.elapsed() < Duration::from_secs(TURNS_SECONDS) {
                time_to_first_token(&one, MESSAGE).await?;
                done += 1;
            }
            anyhow::Ok(done)
        })
    });
    let mut turns = 0;
    for worker in workers.collect::<Vec<_>>() {
        turns += worker.await??;
    }
    let took = began.elapsed();
    let busy = (server.cpu()? - before) / u32::try_from(turns)?;
    print_result(
        &format!("completed turns, {CONNECTIONS} connections"),
        &format!("{:.0}/s, {} of server CPU time each", turns as f64 / took.as_secs_f64(), ms(busy)),
    )?;
    print_result("ledger compared with the provider", &db.compare(&provider.url).await?)?;

    // The same through the pass-through, to compare CPU time under load.
    let before = through.cpu()?;
    let began = Instant::now();
    let workers = (0..CONNECTIONS).map(|_| {
        let (client, url) = (client.clone(), url.clone());
        tokio::spawn(async move {
            let mut done = 0_u64;
            while began.elapsed() < Duration::from_secs(TURNS_SECONDS / 2) {
                user::pass(&client, &url, MESSAGE).await?;
                done += 1;
            }
            anyhow::Ok(done)
        })
    });
    let mut passed = 0;
    for worker in workers.collect::<Vec<_>>() {
        passed += worker.await??;
    }
    let each = (through.cpu()? - before) / u32::try_from(passed)?;
    let ratio = busy.as_secs_f64() / each.as_secs_f64();
    print_result(
        "  pass-through, same number of connections",
        &format!("{:.0}/s, {} each: ours is {ratio:.1} times", passed as f64 / began.elapsed().as_secs_f64(), ms(each)),
    )?;

    // Many stalled streams: the provider holds them after their first word.
    let idle = through.resident()?;
    let mut open = Vec::with_capacity(OPEN);
    for _ in 0..OPEN {
        open.push(user::open_through(&client, &url, HELD).await?);
    }
    let each = (through.resident()?.saturating_sub(idle)) as f64 / OPEN as f64 / 1_024.0;
    print_result(&format!("{OPEN} stalled responses, pass-through"), &format!("{each:.1} KiB each"))?;
    drop(open);
    let many = Users::sign_up(db.pool(), &server.url, 8).await?;
    // One response with many readers.
    let (first, turn) = user::open(&many.one(0), HELD).await?;
    let idle = server.resident()?;
    let mut readers = Vec::with_capacity(OPEN);
    for _ in 0..OPEN {
        readers.push(user::follow(&many.one(0), &turn).await?);
    }
    let each = (server.resident()?.saturating_sub(idle)) as f64 / OPEN as f64 / 1_024.0;
    print_result(&format!("{OPEN} readers of one response"), &format!("{each:.1} KiB each"))?;
    drop(readers);
    let idle = server.resident()?;
    let mut open = vec![first];
    for n in 1..OPEN {
        open.push(user::open(&many.one(n % 8), HELD).await?.0);
    }
    let each = (server.resident()?.saturating_sub(idle)) as f64 / OPEN as f64 / 1_024.0;
    print_result(&format!("{OPEN} stalled responses, ours"), &format!("{each:.1} KiB each"))?;
    user::release(&provider.url).await?;
    for stream in open {
        ensure!(
            user::drain(stream, Duration::from_secs(20)).await?.0,
            "a stalled stream didn't finish after its release"
        );
    }

    // Many paced streams: none may stall.
    let paced = (0..PACED).map(|n| {
        let one = many.one(n % 8);
        tokio::spawn(async move {
            let stream = user::open(&one, "{{words:40}}{{pace:50}}").await?.0;
            user::drain(stream, Duration::from_secs(20)).await
        })
    });
    let (mut ended, mut longest) = (0, Duration::ZERO);
    for stream in paced.collect::<Vec<_>>() {
        let (is_whole, silence) = stream.await??;
        ended += usize::from(is_whole);
        longest = longest.max(silence);
    }
    print_result(
        &format!("{PACED} streams paced at 50 ms a word"),
        &format!("{ended} complete, longest silence {}", ms(longest)),
    )?;
    ensure!(ended == PACED, "a stream stalled");
    print_result("ledger compared with the provider", &db.compare(&provider.url).await?)?;
    server.stop()?;
    db.drop().await
}
