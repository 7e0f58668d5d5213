//! Measures the search of a release build over HTTP: a user with 5 000 conversations and 100 000 messages, among twenty others who have as many
//! together, searches for frequent, rare, several, incomplete, misspelled and unknown words. Prints the percentiles with their goal, and fails
//! if it is missed.
//!
//! Run it with `./dev bench search`. It requires `DATABASE_URL` and `REDIS_URL`, creates its own database, and starts
//! `target/release/quotient` as a separate process.

use anyhow::ensure;
use bench::process::{Database, Process};
use bench::user::{self, User, Users};
use bench::{ms, percentile, print_result};
use std::time::{Duration, Instant};

/// The user who searches, and the others.
const USERS: usize = 21;
const ROUNDS: usize = 60;
/// The wanted 95th percentile.
const GOAL: Duration = Duration::from_millis(50);
/// What is searched for. `N` is another number in each round.
const SEARCHES: [(&str, &str); 8] = [
    ("a word of nearly every message", "the"),
    ("a frequent word", "word1N"),
    ("a rare word", "word19N"),
    ("two words", "lease+wordN"),
    ("four words", "the+of+and+word4N"),
    ("the beginning of a word", "word12"),
    ("a misspelled title", "how+a+leese+ends"),
    ("an unknown word", "platypus"),
];
/// Inserts the conversations and messages.
const ROWS: &str = include_str!("rows.sql");

#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn main() -> anyhow::Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let provider = Process::fakes()?;
    let db = Database::fresh().await?;
    let server = Process::quotient(&db.url, &provider.url)?;
    let users = Users::sign_up(db.pool(), &server.url, USERS).await?;
    let began = Instant::now();
    // Each statement on its own, because `vacuum` can't run in a transaction, on one connection because of the temporary tables.
    let mut connection = db.pool().acquire().await?;
    for statement in ROWS.split(";\n").map(str::trim).filter(|statement| !statement.is_empty()) {
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut *connection).await?;
    }
    drop(connection);
    let messages: i64 = db.one("select count(*) from message").await?;
    print_result("messages written and indexed", &format!("{messages} in {:.0} s", began.elapsed().as_secs_f64()))?;
    let searcher = users.one(0);
    let mut all = Vec::new();
    for (what, search) in SEARCHES {
        let mut times = measure(&searcher, search).await?;
        all.extend(&times);
        print_result(what, &figures(&mut times))?;
    }
    let p95 = percentile(&mut all, 95);
    let verdict = if p95 <= GOAL { "met" } else { "missed" };
    print_result("all", &format!("{}  goal p95 {}: {verdict}", figures(&mut all), ms(GOAL)))?;
    server.stop()?;
    db.drop().await?;
    ensure!(p95 <= GOAL, "the goal is missed");
    Ok(())
}

/// Searches repeatedly, as the palette does. Returns how long each response took.
async fn measure(user: &User, search: &str) -> anyhow::Result<Vec<Duration>> {
    let path = |round: usize| format!("/search/results?q={}", search.replace('N', &(round % 10).to_string()));
    for round in 0..5 {
        user::page(user, &path(round)).await?;
    }
    let mut times = Vec::with_capacity(ROUNDS);
    for round in 0..ROUNDS {
        times.push(user::page(user, &path(round)).await?.0);
    }
    Ok(times)
}

fn figures(times: &mut [Duration]) -> String {
    let [p50, p95, max] = [50, 95, 99].map(|share| percentile(times, share));
    format!("p50 {}  p95 {}  p99 {}", ms(p50), ms(p95), ms(max))
}
