//! Measures the owner's pages over a ledger of ten million rows: a refresh of the report; the top users of every period in every order and
//! with every filter, compared with a plain `group by` over the ledger; `/admin` over HTTP while 200 turns per second become final; an
//! export; and chat while ten admins reload the page.
//!
//! Run it with `./dev bench usage [ROWS]`. It creates a database of about 7 GB, `bench_usage_ROWS`, and keeps it for the next run. Drop it
//! when you are done.

mod ledger;

use anyhow::{Context as _, ensure};
use bench::process::{Process, env, owner_url};
use bench::user::{Users, client, time_to_first_token};
use bench::{ms, percentile, print_result};
use domain::top_users::Order;
use domain::{ModelName, PlanId, ReportPeriod, UsageFilter, brand};
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use std::str::FromStr as _;
use std::time::{Duration, Instant};
use time::OffsetDateTime;
use tokio::task::JoinHandle;

const ROUNDS: usize = 200;
const RECORDED_PER_SECOND: u64 = 200;
const ADMINS: usize = 10;
const CHATTERS: usize = 8;
const CHAT_SECONDS: u64 = 20;
/// Message that requests a response of 20 words with pauses of 20 ms.
const MESSAGE: &str = "{{words:20}}{{pace:20}}";

/// Prints percentiles and the maximum of some durations.
fn print_percentiles(name: &str, times: &mut [Duration]) -> anyhow::Result<()> {
    let figures = [50, 95, 100].map(|share| ms(percentile(times, share.min(99))));
    let max = ms(times.last().copied().unwrap_or_default());
    print_result(name, &format!("p50 {}  p95 {}  p99 {}  max {max}", figures[0], figures[1], figures[2]))
}

/// Records 200 final turns per second in the background, as the last transaction of a turn does.
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

/// Reads the first twenty rows of the report with a filter, repeatedly.
async fn measure_pages(owners: &store::Db, filter: &UsageFilter, rounds: usize) -> anyhow::Result<Vec<Duration>> {
    let mut times = Vec::new();
    for _ in 0..rounds {
        let began = Instant::now();
        let mut tx = store::begin_reading(owners).await?;
        store::top_users::list(&mut tx, filter, 20, OffsetDateTime::now_utc()).await?;
        tx.commit().await?;
        times.push(began.elapsed());
    }
    Ok(times)
}

/// Measures a period in every order and with every filter, and the same totals computed from the ledger.
async fn top_users((owners, db): (&store::Db, &PgPool), period: ReportPeriod) -> anyhow::Result<()> {
    let (plan, model) = (PlanId("pro".to_owned()), ModelName("gpt-5-mini".to_owned()));
    let all = UsageFilter { period, page: 1, ..UsageFilter::default() };
    let filters = [
        ("no filter", all.clone()),
        ("one plan", UsageFilter { plan: Some(plan), ..all.clone() }),
        ("one model", UsageFilter { model: Some(model), ..all.clone() }),
        ("emails with p77", UsageFilter { search: "p77".to_owned(), ..all }),
    ];
    for (name, filter) in filters {
        let mut times = Vec::new();
        for order in Order::ALL {
            times.extend(measure_pages(owners, &UsageFilter { order, ..filter.clone() }, ROUNDS / 6).await?);
        }
        print_percentiles(&format!("top 20 users, {}, {name}, every order", period.label()), &mut times)?;
    }
    let (from, to) = period.bounds(OffsetDateTime::now_utc());
    let began = Instant::now();
    sqlx::query(
        "select subject, sum(cost_usd), count(*), sum(input_tokens), sum(output_tokens) from ai_usage
         where created_at >= $1 and created_at < $2 group by subject order by 2 desc limit 20",
    )
    .bind(from)
    .bind(to)
    .fetch_all(db)
    .await?;
    print_result("  the same with a group by over the ledger", &format!("{:.0?}", began.elapsed()))
}

/// Measures ten refreshes of the report.
async fn measure_refreshes(db: &store::Db) -> anyhow::Result<Vec<Duration>> {
    let mut times = Vec::new();
    for _ in 0..10 {
        let began = Instant::now();
        ensure!(store::rollup::refresh(db, time::Duration::ZERO).await?, "not refreshed");
        times.push(began.elapsed());
    }
    Ok(times)
}

/// An admin's session.
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
        let form = format!("email={email}&password=correct+horse+battery&terms={}", brand::TERMS_VERSION);
        let response = request.body(form).send().await?;
        ensure!(response.status() == 303, "sign-up returned {}", response.status());
        let cookie = response.headers().get("set-cookie").context("no cookie")?.to_str()?;
        let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
        sqlx::query("update account set role = 'admin' where email = $1").bind(&email).execute(db).await?;
        Ok(Self { client, cookie, url: url.to_owned() })
    }

    async fn get(&self, path: &str) -> anyhow::Result<reqwest::Response> {
        let response = self.client.get(format!("{}{path}", self.url)).header("cookie", &self.cookie).send().await?;
        ensure!(response.status() == 200, "{path} returned {}", response.status());
        Ok(response)
    }

    /// Loads a page and returns how long it took.
    async fn page(&self, path: &str) -> anyhow::Result<Duration> {
        let began = Instant::now();
        self.get(path).await?.bytes().await?;
        Ok(began.elapsed())
    }
}

/// Exports a million calls, and measures the duration and the server's memory.
async fn export(db: &PgPool, admin: &Admin, server: &Process) -> anyhow::Result<()> {
    // The most recent whole days that have a million rows together.
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
    let (began, mut max_resident, mut lines, mut bytes) = (Instant::now(), 0, 0_i64, 0_usize);
    let mut response = admin.get(&format!("/admin/export.csv?period=custom&from={first}&to={last}")).await?;
    while let Some(piece) = response.chunk().await? {
        lines += i64::try_from(piece.iter().filter(|byte| **byte == b'\n').count())?;
        bytes += piece.len();
        max_resident = max_resident.max(server.resident()?);
    }
    ensure!(lines == rows + 1, "{lines} lines for {rows} rows");
    let mib = |bytes: u64| bytes as f64 / 1_048_576.0;
    let took = format!("{:.1?}, {:.0} MiB", began.elapsed(), mib(bytes as u64));
    print_result(&format!("CSV export of {rows} calls over HTTP"), &took)?;
    print_result("  memory above idle during the export", &format!("{:.1} MiB", mib(max_resident.saturating_sub(idle))))
}

/// Waits until the scheduled jobs of the server's startup have finished: no active query for two seconds.
async fn wait_until_idle(db: &PgPool) -> anyhow::Result<()> {
    let sql = "select count(*) from pg_stat_activity where datname = current_database() and state = 'active' and pid <> pg_backend_pid() and backend_type = 'client backend'";
    let mut quiet = 0;
    while quiet < 10 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let busy: i64 = sqlx::query_scalar(sql).fetch_one(db).await?;
        quiet = if busy == 0 { quiet + 1 } else { 0 };
    }
    Ok(())
}

/// Measures the time to first token while users chat.
async fn chat(users: &Users) -> anyhow::Result<Vec<Duration>> {
    let began = Instant::now();
    let workers = (0..CHATTERS).map(|n| {
        let one = users.one(n);
        tokio::spawn(async move {
            let mut times = Vec::new();
            while began.elapsed() < Duration::from_secs(CHAT_SECONDS) {
                times.push(time_to_first_token(&one, MESSAGE).await?);
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
    let options = PgConnectOptions::from_str(&owner_url(&url)?)?;
    let root = PgPoolOptions::new().max_connections(1).connect_with(options).await?;
    let name = format!("bench_usage_{rows}");
    let is_new = ledger::database(&root, &name).await?;
    let url = format!("{}/{name}", url.rsplit_once('/').context("no database in DATABASE_URL")?.0);
    let options = PgConnectOptions::from_str(&owner_url(&url)?)?;
    let db = PgPoolOptions::new().max_connections(4).connect_with(options).await?;
    store::migrate(&store::Db::from(&db)).await?;
    if is_new {
        ledger::generate(&db, rows).await?;
    }
    ledger::subscribe(&db).await?;
    let jobs = store::Db::lazy(&url, store::Purpose::Jobs)?;
    print_percentiles("refresh of the report", &mut measure_refreshes(&jobs).await?)?;

    let owners = store::Db::lazy(&url, store::Purpose::Reports)?;
    let days = time::Duration::days;
    let today = OffsetDateTime::now_utc().date();
    let own = ReportPeriod::Custom(today - days(81), today - days(52));
    for period in ReportPeriod::STANDARD.into_iter().chain([own]) {
        top_users((&owners, &db), period).await?;
    }

    let provider = Process::fakes()?;
    let server = Process::quotient(&url, &provider.url)?;
    sqlx::query(
        "update plan set requests_per_minute = 1000000000, tokens_per_day = 1000000000000, in_flight = 1000000",
    )
    .execute(&db)
    .await?;
    let admin = Admin::sign_up(&db, &server.url).await?;
    wait_until_idle(&db).await?;
    let custom = format!("/admin?period=custom&from={}&to={}", today - days(81), today - days(52));
    let recorder = record(&db);
    print_percentiles("refresh of the report, 200 turns/s recorded", &mut measure_refreshes(&jobs).await?)?;
    let paths = ["/admin", "/admin?period=7d", "/admin?period=30d&by=margin", "/admin?period=month&plan=pro&by=tokens"];
    for (name, path) in [
        ("24 hours", paths[0]),
        ("7 days", paths[1]),
        ("30 days, by margin", paths[2]),
        ("month, one plan", paths[3]),
        ("custom", &custom),
    ] {
        for _ in 0..10 {
            admin.page(path).await?;
        }
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            times.push(admin.page(path).await?);
        }
        print_percentiles(&format!("/admin over HTTP, {name}, 200 turns/s recorded"), &mut times)?;
    }
    recorder.abort();
    export(&db, &admin, &server).await?;

    let users = Users::sign_up(&db, &server.url, CHATTERS).await?;
    chat(&users).await?;
    let mut alone = chat(&users).await?;
    print_percentiles(&format!("time to first token, {CHATTERS} users chatting"), &mut alone)?;
    let admins = (0..ADMINS).map(|_| {
        let admin = admin.clone();
        tokio::spawn(async move {
            let mut every = tokio::time::interval(Duration::from_secs(1));
            loop {
                every.tick().await;
                admin.page("/admin").await?;
            }
            #[allow(unreachable_code, reason = "determines the error type")]
            anyhow::Ok(())
        })
    });
    let admins: Vec<_> = admins.collect();
    let mut with_admins = chat(&users).await?;
    ensure!(admins.iter().all(|admin| !admin.is_finished()), "an admin was refused");
    print_percentiles(&format!("  while {ADMINS} admins each load /admin once a second"), &mut with_admins)?;
    server.stop()
}
