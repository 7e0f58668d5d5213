//! What the owner's tables cost over a ledger of ten million rows, beside the plain `group by` over the raw rows, in one run: the twenty
//! top_users over several periods; the page `/admin` over HTTP while two hundred turns a second become final; an export; and chat while ten
//! admins refresh.
//!
//! `./dev bench usage [ROWS]`. It makes a database of its own, some seven gigabytes, and leaves it for the next run (`bench_usage_ROWS`);
//! drop it when you are done.

mod ledger;

use anyhow::{Context as _, ensure};
use bench::process::{Process, env};
use bench::user::{Users, ask, client};
use bench::{at, ms, tell};
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use std::str::FromStr as _;
use std::time::{Duration, Instant};
use store::top_users::{Order, UsageFilter};
use time::OffsetDateTime;
use tokio::task::JoinHandle;

const ROUNDS: usize = 200;
const RECORDED_PER_SECOND: u64 = 200;
const ADMINS: usize = 10;
const CHATTERS: usize = 8;
const CHAT_SECONDS: u64 = 20;
/// What chat is asked for: twenty words, a pause between each two.
const QUESTION: &str = "{{words:20}}{{pace:20}}";

fn say(name: &str, times: &mut [Duration]) -> anyhow::Result<()> {
    let figures = [50, 95, 100].map(|share| ms(at(times, share.min(99))));
    let most = ms(times.last().copied().unwrap_or_default());
    tell(name, &format!("p50 {}  p95 {}  p99 {}  most {most}", figures[0], figures[1], figures[2]))
}

/// Two hundred turns a second become final, as a turn's last transaction writes them.
fn record(db: &PgPool) -> JoinHandle<anyhow::Result<()>> {
    let db = db.clone();
    tokio::spawn(async move {
        let mut every = tokio::time::interval(Duration::from_millis(1000 / RECORDED_PER_SECOND));
        loop {
            every.tick().await;
            ledger::record_one(&db).await?;
        }
    })
}

/// How long a table takes, again and again.
async fn tables(owners: &store::Db, filter: &UsageFilter<'_>) -> anyhow::Result<Vec<Duration>> {
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let began = Instant::now();
        let mut tx = store::begin_reading(owners).await?;
        store::top_users::list(&mut tx, filter).await?;
        tx.commit().await?;
        times.push(began.elapsed());
    }
    Ok(times)
}

/// The top twenty users of a period, and the same from raw rows; and the twenty with the least margin.
async fn top_users(
    (owners, db): (&store::Db, &PgPool),
    name: &str,
    from: OffsetDateTime,
    to: OffsetDateTime,
) -> anyhow::Result<()> {
    let filter =
        UsageFilter { from, to, order: Order::Cost, plan: None, model: None, search: None, offset: 0, limit: 20 };
    let mut ours = tables(owners, &filter).await?;
    let mut raw = Vec::new();
    for _ in 0..3 {
        let began = Instant::now();
        sqlx::query(
            "select subject, sum(cost_usd), count(*), sum(input_tokens), sum(output_tokens) from ai_usage
             where created_at >= $1 and created_at < $2 group by subject order by 2 desc limit 20",
        )
        .bind(from)
        .bind(to)
        .fetch_all(db)
        .await?;
        raw.push(began.elapsed());
    }
    say(&format!("the 20 top_users, {name}"), &mut ours)?;
    say("  the same by a group by over raw rows", &mut raw)?;
    let times = at(&mut raw, 50).as_secs_f64() / at(&mut ours, 50).as_secs_f64();
    tell("  times faster", &format!("{times:.1}"))?;
    say("  the 20 with the least margin", &mut tables(owners, &UsageFilter { order: Order::Margin, ..filter }).await?)
}

/// An admin's browser, as far as tables go.
#[derive(Clone)]
struct Admin {
    client: reqwest::Client,
    cookie: String,
    url: String,
}

impl Admin {
    async fn sign_up(db: &PgPool, url: &str) -> anyhow::Result<Self> {
        let email = format!("admin-{}@example.com", uuid::Uuid::now_v7().simple());
        let client = client()?;
        let request = client.post(format!("{url}/sign-up")).header("content-type", "application/x-www-form-urlencoded");
        let response = request.body(format!("email={email}&password=correct+horse+battery")).send().await?;
        ensure!(response.status() == 303, "sign-up answered {}", response.status());
        let cookie = response.headers().get("set-cookie").context("no cookie")?.to_str()?;
        let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
        sqlx::query("update account set role = 'admin' where email = $1").bind(&email).execute(db).await?;
        Ok(Self { client, cookie, url: url.to_owned() })
    }

    async fn get(&self, path: &str) -> anyhow::Result<reqwest::Response> {
        let response = self.client.get(format!("{}{path}", self.url)).header("cookie", &self.cookie).send().await?;
        ensure!(response.status() == 200, "{path} answered {}", response.status());
        Ok(response)
    }

    /// The whole page.
    async fn page(&self, path: &str) -> anyhow::Result<Duration> {
        let began = Instant::now();
        self.get(path).await?.bytes().await?;
        Ok(began.elapsed())
    }
}

/// A file of a million calls, and how much memory the server takes beside what it had.
async fn export(db: &PgPool, admin: &Admin, server: &Process) -> anyhow::Result<()> {
    // whole days of a hundred thousand and some, as many as make a million
    let (first, rows): (time::Date, i64) = sqlx::query_as(
        "select day, n::bigint from (
           select day, sum(n) over (order by day desc) as n from (
             select created_at::date as day, count(*) as n from ai_usage group by 1) d where day < current_date) d
         where n >= 1000000 order by n limit 1",
    )
    .fetch_one(db)
    .await?;
    let last = OffsetDateTime::now_utc().date() - time::Duration::days(1);
    let idle = server.resident()?;
    let (began, mut most, mut lines, mut bytes) = (Instant::now(), 0, 0_i64, 0_usize);
    let mut response = admin.get(&format!("/admin/export.csv?period=custom&from={first}&to={last}")).await?;
    while let Some(piece) = response.chunk().await? {
        lines += i64::try_from(piece.iter().filter(|byte| **byte == b'\n').count())?;
        bytes += piece.len();
        most = most.max(server.resident()?);
    }
    ensure!(lines == rows + 1, "{lines} lines for {rows} rows");
    let mib = |bytes: u64| bytes as f64 / 1_048_576.0;
    let took = format!("{:.1?}, {:.0} MiB", began.elapsed(), mib(bytes as u64));
    tell(&format!("a CSV of {rows} calls over HTTP"), &took)?;
    tell("  memory over idle while it ran", &format!("{:.1} MiB", mib(most.saturating_sub(idle))))
}

/// Waits until what the server does at its start is over: comparing meters, looking for alerts, learning what providers count.
async fn settle(db: &PgPool) -> anyhow::Result<()> {
    let sql = "select count(*) from pg_stat_activity where datname = current_database() and state = 'active' and pid <> pg_backend_pid() and backend_type = 'client backend'";
    let mut quiet = 0;
    while quiet < 10 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let busy: i64 = sqlx::query_scalar(sql).fetch_one(db).await?;
        quiet = if busy == 0 { quiet + 1 } else { 0 };
    }
    Ok(())
}

/// The time to first token while users chat.
async fn chat(users: &Users) -> anyhow::Result<Vec<Duration>> {
    let began = Instant::now();
    let workers = (0..CHATTERS).map(|n| {
        let one = users.one(n);
        tokio::spawn(async move {
            let mut times = Vec::new();
            while began.elapsed() < Duration::from_secs(CHAT_SECONDS) {
                times.push(ask(&one, QUESTION).await?);
            }
            anyhow::Ok(times)
        })
    });
    let mut times = Vec::new();
    for worker in workers.collect::<Vec<_>>() {
        times.extend(worker.await??);
    }
    Ok(times)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let url = env("DATABASE_URL")?;
    let rows: i64 = std::env::args().nth(1).map_or(Ok(10_000_000), |rows| rows.parse())?;
    let root = PgPoolOptions::new().max_connections(1).connect_with(PgConnectOptions::from_str(&url)?).await?;
    let name = format!("bench_usage_{rows}");
    let is_new = ledger::database(&root, &name).await?;
    let url = format!("{}/{name}", url.rsplit_once('/').context("no database in DATABASE_URL")?.0);
    let db = PgPoolOptions::new().max_connections(4).connect_with(PgConnectOptions::from_str(&url)?).await?;
    store::migrate(&store::Db::from(&db)).await?;
    if is_new {
        ledger::generate(&db, rows).await?;
    }
    ledger::subscribe(&db).await?;
    let began = Instant::now();
    let made = store::span::make(&store::Db::from(&db), OffsetDateTime::now_utc()).await?;
    tell(&format!("{made} spans made"), &format!("in {:.1?}", began.elapsed()))?;

    let owners = store::Db::lazy(&url, store::Purpose::Reports)?;
    let now: OffsetDateTime = sqlx::query_scalar("select max(created_at) from ai_usage").fetch_one(&db).await?;
    let end = now.replace_nanosecond(0)?.replace_second(0)?.replace_minute(0)? + time::Duration::hours(1);
    let days = time::Duration::days;
    let own = ((end - days(81)).replace_hour(0)?, (end - days(51)).replace_hour(0)?);
    let pools = (&owners, &db);
    top_users(pools, "24 hours", end - time::Duration::hours(25), end).await?;
    top_users(pools, "7 days", end - days(7), end).await?;
    top_users(pools, "30 days", end - days(30), end).await?;
    top_users(pools, "30 days, of one's own choice", own.0, own.1).await?;

    let provider = Process::fakes()?;
    let server = Process::quotient(&url, &provider.url)?;
    sqlx::query(
        "update plan set requests_per_minute = 1000000000, tokens_per_day = 1000000000000, in_flight = 1000000",
    )
    .execute(&db)
    .await?;
    let admin = Admin::sign_up(&db, &server.url).await?;
    settle(&db).await?;
    let custom = format!("/admin?period=custom&from={}&to={}", own.0.date(), (own.1 - days(1)).date());
    let recorder = record(&db);
    for (name, path) in [("24 hours", "/admin"), ("30 days", "/admin?period=30d"), ("of one's own", &custom)] {
        for _ in 0..10 {
            admin.page(path).await?;
        }
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            times.push(admin.page(path).await?);
        }
        say(&format!("/admin over HTTP, {name}, 200 turns/s recorded"), &mut times)?;
    }
    recorder.abort();
    export(&db, &admin, &server).await?;

    let users = Users::sign_up(&server.url, CHATTERS).await?;
    chat(&users).await?;
    let mut alone = chat(&users).await?;
    say(&format!("time to first token, {CHATTERS} users chatting"), &mut alone)?;
    let admins = (0..ADMINS).map(|_| {
        let admin = admin.clone();
        tokio::spawn(async move {
            let mut every = tokio::time::interval(Duration::from_secs(1));
            loop {
                every.tick().await;
                admin.page("/admin").await?;
            }
            #[allow(unreachable_code, reason = "says what may go wrong")]
            anyhow::Ok(())
        })
    });
    let admins: Vec<_> = admins.collect();
    let mut beside = chat(&users).await?;
    ensure!(admins.iter().all(|admin| !admin.is_finished()), "an admin was refused");
    say(&format!("  while {ADMINS} admins refresh, each once a second"), &mut beside)?;
    server.stop()
}
