//! Measures the cost of abuse: chat while wrong passwords are entered at a high rate, whose hashing must not delay responses,
//! estimates that are refused, and whether the time of a sign-in shows that an address has an account.

use anyhow::ensure;
use bench::process::{Database, Process};
use bench::user::{User, client, estimate, guess, guess_at, time_to_first_token};
use bench::{ms, percentile, print_result};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Sign-ins per second.
const RATE: u32 = 200;
const ROUNDS: usize = 300;
/// Time until the queue of passwords is full.
const WARM_UP: Duration = Duration::from_secs(2);
/// Number of estimates, and their size in bytes.
const ESTIMATES: u32 = 1_000;
const ESTIMATE_BYTES: usize = 100_000;

/// The results of the sign-ins.
#[derive(Default)]
struct Counts {
    checked: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
}

/// Measures the time to first token alone and during a flood of sign-ins, and prints both.
///
/// # Errors
/// Returns an error if a message is refused, or the sign-ins fail.
pub async fn sign_ins(url: &str, user: &User) -> anyhow::Result<()> {
    let mut alone = times(user).await?;
    let counts = Arc::<Counts>::default();
    let flood = tokio::spawn(flood(url.to_owned(), Arc::clone(&counts)));
    tokio::time::sleep(WARM_UP).await;
    let mut flooded = times(user).await?;
    ensure!(!flood.is_finished(), "the sign-ins have stopped");
    flood.abort();
    let [checked, refused, failed] =
        [&counts.checked, &counts.refused, &counts.failed].map(|count| count.load(Ordering::Relaxed));
    ensure!(failed == 0, "{failed} sign-ins failed");
    let both = |times: &mut [Duration]| (percentile(times, 50), percentile(times, 95));
    let (alone, flooded) = (both(&mut alone), both(&mut flooded));
    let ratio = flooded.0.as_secs_f64() / alone.0.as_secs_f64();
    print_result("time to first token, one user", &format!("p50 {}  p95 {}", ms(alone.0), ms(alone.1)))?;
    print_result(
        &format!("  during {RATE} sign-ins/s"),
        &format!(
            "p50 {}  p95 {}  ({ratio:.2} times); {checked} passwords checked, {refused} refused with 503",
            ms(flooded.0),
            ms(flooded.1)
        ),
    )
}

async fn times(user: &User) -> anyhow::Result<Vec<Duration>> {
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        times.push(time_to_first_token(user, "{{words:20}}").await?);
    }
    Ok(times)
}

/// Enters wrong passwords until it is aborted.
async fn flood(url: String, counts: Arc<Counts>) -> anyhow::Result<()> {
    let (client, mut open) = (client()?, JoinSet::new());
    let mut every = tokio::time::interval(Duration::from_secs(1) / RATE);
    for n in 0_u32.. {
        every.tick().await;
        while open.try_join_next().is_some() {}
        let (client, url, counts) = (client.clone(), url.clone(), Arc::clone(&counts));
        open.spawn(async move {
            let count = match guess(&client, &url, n).await {
                Ok(422) => &counts.checked,
                Ok(503) => &counts.refused,
                _ => &counts.failed,
            };
            count.fetch_add(1, Ordering::Relaxed);
        });
    }
    Ok(())
}

/// Measures the server's CPU time per estimate of a user whose budget is used up.
///
/// # Errors
/// Returns an error if a connection breaks, or most estimates aren't refused.
pub async fn estimates(server: &Process, user: &User) -> anyhow::Result<()> {
    while estimate(user, ESTIMATE_BYTES).await? != 429 {}
    let (before, mut refused) = (server.cpu()?, 0);
    for _ in 0..ESTIMATES {
        refused += u32::from(estimate(user, ESTIMATE_BYTES).await? == 429);
    }
    let each = (server.cpu()? - before) / ESTIMATES;
    ensure!(refused * 10 >= ESTIMATES * 9, "only {refused} of {ESTIMATES} estimates were refused");
    print_result("CPU time per refused estimate", &format!("{} ({refused} of {ESTIMATES} refused)", ms(each)))
}

/// Number of sign-ins with known addresses, and as many with unknown ones.
const TIMED: u32 = 250;
/// Network addresses of these sign-ins begin here, beyond those of the flood.
const FIRST_ADDRESS: u32 = 5_000_000;
/// Maximum difference between the two medians, in percent.
const MAX_DIFFERENCE: f64 = 5.0;
/// Accounts `known1@example.com` and so on, with the password of a user who exists.
const KNOWN_ACCOUNTS: &str = "
    insert into account (user_id, email, password_hash, subject, subject_is_own)
    select gen_random_uuid(), 'known' || n || '@example.com', (select password_hash from account where password_hash is not null limit 1),
           'known' || n, true
    from generate_series(1, 250) n";

/// Compares the time of sign-ins with known and with unknown addresses, one after the other, and prints the medians.
///
/// # Errors
/// Returns an error if the medians differ by more than 5 %, or a response shows whether its address has an account.
pub async fn timing(url: &str, db: &Database) -> anyhow::Result<()> {
    db.run(KNOWN_ACCOUNTS).await?;
    let (client, mut times) = (client()?, [Vec::new(), Vec::new()]);
    for n in 1..=TIMED {
        let mut pages = Vec::new();
        for (index, name) in (0..).zip(["known", "unknown"]) {
            let (email, began) = (format!("{name}{n}@example.com"), Instant::now());
            let (status, page) = guess_at(&client, url, &email, FIRST_ADDRESS + 2 * n + index).await?;
            ensure!(status == 422, "a sign-in of {email} got {status}");
            if let Some(times) = times.get_mut(usize::try_from(index)?) {
                times.push(began.elapsed());
            }
            pages.push(without_nonces(&page).replace(&email, ""));
        }
        ensure!(pages.first() == pages.last(), "the pages of sign-in {n} differ");
    }
    let [known, unknown] = times.each_mut().map(|times| percentile(times, 50));
    let difference = (known.as_secs_f64() / unknown.as_secs_f64() - 1.0) * 100.0;
    let found = format!("p50 {} and {}  ({difference:+.1} %), same page", ms(known), ms(unknown));
    print_result(&format!("{TIMED} sign-ins each, known and unknown addresses"), &found)?;
    ensure!(difference.abs() <= MAX_DIFFERENCE, "the time shows whether an address has an account");
    Ok(())
}

/// Returns a page without its nonces, which differ in every response.
fn without_nonces(page: &str) -> String {
    let mut parts = page.split("nonce=\"");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once('"').map_or("", |(_, rest)| rest))
}
