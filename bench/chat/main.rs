//! What a chat turn costs, beside a bare axum and reqwest pass-through of the same fake provider, in one run: time to the first token,
//! the server's processor time per turn, whole turns a second with the ledger compared afterwards, memory idle and per open stream, and
//! paced streams none of which may stall.
//!
//! `./dev bench chat`. It wants `DATABASE_URL` and `REDIS_URL`, makes a database of its own, and starts the server as a process of its
//! own (`target/release/quotient`). Everything runs on this machine and stops by itself.

mod pass_through;

use anyhow::{Context as _, ensure};
use bench::process::{self, Process, free_port};
use bench::user::{self, Users, ask};
use bench::{at, ms, tell};
use std::time::{Duration, Instant};

const ROUNDS: usize = 1_000;
const TURNS_SECONDS: u64 = 10;
const CONNECTIONS: usize = 32;
const OPEN: usize = 2_000;
const PACED: usize = 512;
/// Twenty deltas.
const QUESTION: &str = "{{words:20}}";
/// Stands still after its first word.
const HELD: &str = "{{words:2}}{{hold:1}}";

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        Some("pass-through") => tokio_main(2)?
            .block_on(pass_through::serve(&args.next().context("where to")?, &args.next().context("address")?)),
        _ => tokio_main(2)?.block_on(bench()),
    }
}

fn tokio_main(workers: usize) -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build()?)
}

/// Time to the first token and processor time per turn, one after the other.
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
    tell("resident when idle", &format!("{:.1} MiB", server.resident()? as f64 / 1_048_576.0))?;
    let users = Users::sign_up(&server.url, CONNECTIONS).await?;

    // one bare insert and commit, as durable as this Postgres is set
    let mut commits = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let began = Instant::now();
        db.insert().await?;
        commits.push(began.elapsed());
    }
    let commit = (at(&mut commits, 50), at(&mut commits, 99));
    tell("one bare insert; commit", &format!("p50 {}  p99 {}", ms(commit.0), ms(commit.1)))?;

    let client = user::client()?;
    let url = format!("{}/v1/messages", through.url);
    let bare = async || user::pass(&client, &url, QUESTION).await;
    let (mut theirs, theirs_cpu) = one_by_one(&through, bare).await?;
    let one = users.one(0);
    let (mut ours, ours_cpu) = one_by_one(&server, async || ask(&one, QUESTION).await).await?;
    let (their, our) = ((at(&mut theirs, 50), at(&mut theirs, 99)), (at(&mut ours, 50), at(&mut ours, 99)));
    tell("first token, pass-through", &format!("p50 {}  p99 {}", ms(their.0), ms(their.1)))?;
    tell("first token, ours", &format!("p50 {}  p99 {}", ms(our.0), ms(our.1)))?;
    let added =
        |ours: Duration, theirs: Duration, commit: Duration| ms(ours.saturating_sub(theirs).saturating_sub(commit));
    tell(
        "added, less one commit",
        &format!("p50 {}  p99 {}", added(our.0, their.0, commit.0), added(our.1, their.1, commit.1)),
    )?;
    let ratio = ours_cpu.as_secs_f64() / theirs_cpu.as_secs_f64();
    tell(
        "processor time per turn",
        &format!("pass-through {}  ours {}  ({ratio:.1} times)", ms(theirs_cpu), ms(ours_cpu)),
    )?;

    // whole turns at many connections
    let before = server.cpu()?;
    let began = Instant::now();
    let workers = (0..CONNECTIONS).map(|n| {
        let one = users.one(n);
        tokio::spawn(async move {
            let mut done = 0_u64;
            while began.elapsed() < Duration::from_secs(TURNS_SECONDS) {
                ask(&one, QUESTION).await?;
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
    tell(
        &format!("whole turns, {CONNECTIONS} connections"),
        &format!("{:.0}/s, {} of the server's processor time each", turns as f64 / took.as_secs_f64(), ms(busy)),
    )?;
    tell("the ledger against what the provider served", &db.compare(&provider.url).await?)?;

    // the same through the pass-through, for the processor's time under load
    let before = through.cpu()?;
    let began = Instant::now();
    let workers = (0..CONNECTIONS).map(|_| {
        let (client, url) = (client.clone(), url.clone());
        tokio::spawn(async move {
            let mut done = 0_u64;
            while began.elapsed() < Duration::from_secs(TURNS_SECONDS / 2) {
                user::pass(&client, &url, QUESTION).await?;
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
    tell(
        "  the pass-through's at as many connections",
        &format!("{:.0}/s, {} each: ours is {ratio:.1} times", passed as f64 / began.elapsed().as_secs_f64(), ms(each)),
    )?;

    // many streams that stand still: the provider holds them after their first word
    let idle = through.resident()?;
    let mut open = Vec::with_capacity(OPEN);
    for _ in 0..OPEN {
        open.push(user::open_through(&client, &url, HELD).await?);
    }
    let each = (through.resident()?.saturating_sub(idle)) as f64 / OPEN as f64 / 1_024.0;
    tell(&format!("{OPEN} running answers that stand still, pass-through"), &format!("{each:.1} KiB each"))?;
    drop(open);
    let many = Users::sign_up(&server.url, 8).await?;
    // those who only read along: one answer, many readers
    let (first, turn) = user::open(&many.one(0), HELD).await?;
    let idle = server.resident()?;
    let mut readers = Vec::with_capacity(OPEN);
    for _ in 0..OPEN {
        readers.push(user::follow(&many.one(0), &turn).await?);
    }
    let each = (server.resident()?.saturating_sub(idle)) as f64 / OPEN as f64 / 1_024.0;
    tell(&format!("{OPEN} open streams of one running answer"), &format!("{each:.1} KiB each"))?;
    drop(readers);
    let idle = server.resident()?;
    let mut open = vec![first];
    for n in 1..OPEN {
        open.push(user::open(&many.one(n % 8), HELD).await?.0);
    }
    let each = (server.resident()?.saturating_sub(idle)) as f64 / OPEN as f64 / 1_024.0;
    tell(&format!("{OPEN} running answers that stand still, ours"), &format!("{each:.1} KiB each"))?;
    user::release(&provider.url).await?;
    for stream in open {
        ensure!(user::drain(stream, Duration::from_secs(20)).await?.0, "a stream that stood still had no end");
    }

    // many that are paced: none falls silent for long
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
    tell(
        &format!("{PACED} streams paced at 50 ms a word"),
        &format!("{ended} whole, longest silence {}", ms(longest)),
    )?;
    ensure!(ended == PACED, "a stream stalled");
    tell("the ledger against what the provider served", &db.compare(&provider.url).await?)?;
    server.stop()?;
    db.drop().await
}
