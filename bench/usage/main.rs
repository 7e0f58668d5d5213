//! What the owner's tables cost over a ledger of ten million rows, beside the plain `group by` over the raw rows, in one run: the twenty
//! heaviest over several periods, everything that `/admin` reads while two hundred turns a second are recorded, and an export.
//!
//! `./dev bench usage`, or `DATABASE_URL=… cargo run --release -p bench --bin bench-usage [ROWS]`. Makes a database of its own, some five
//! gigabytes, and leaves it for the next run (`bench_usage`); drop it when you are done.

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, PgPool};
use std::io::Write as _;
use std::str::FromStr as _;
use std::time::{Duration, Instant};
use store::heaviest::{Asked, Order};
use time::OffsetDateTime;

const PEOPLE: i32 = 20_000;
const DAYS: i32 = 90;
const ROUNDS: usize = 100;
const RECORDED_PER_SECOND: u64 = 200;

fn tell(name: &str, what: &str) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stdout(), "{name:58} {what}")?)
}

fn say(name: &str, times: &mut [Duration]) -> anyhow::Result<Duration> {
    times.sort_unstable();
    let at = |share: usize| times.get(times.len() * share / 100).copied().unwrap_or(Duration::ZERO);
    tell(name, &format!("p50 {:>9.2?}  p95 {:>9.2?}  n {}", at(50), at(95), times.len()))?;
    Ok(at(50))
}

/// The ledger, made once: people use a few models, the heavy much more than the light, evenly over the days.
async fn generate(db: &PgPool, rows: i64) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut connection = db.acquire().await?;
    sqlx::query("select ai_usage_cover(now() - $1 * interval '1 day', now())")
        .bind(DAYS)
        .execute(&mut *connection)
        .await?;
    sqlx::query(
        "insert into account (user_id, email, password_hash, subject, plan_id)
         select gen_random_uuid(), 'p' || n || '@example.com', '', 'subject' || n, (array['free', 'pro', 'max'])[1 + n % 3]
         from generate_series(1, $1) n on conflict do nothing",
    )
    .bind(PEOPLE)
    .execute(&mut *connection)
    .await?;
    // The sums are made afterwards, at once.
    sqlx::raw_sql("set session_replication_role = replica").execute(&mut *connection).await?;
    sqlx::query(
        "insert into ai_usage (ai_usage_id, turn_id, user_id, subject, model, model_price_id, status, usage_source, input_tokens,
           cache_read_tokens, output_tokens, estimated_tokens, reserved_tokens, cost_usd, created_at, settled_at)
         select gen_random_uuid(), gen_random_uuid(), a.user_id, a.subject, p.model, p.model_price_id, 'finished', 'exact',
           (random() * 4000)::bigint, (random() * 2000)::bigint, (random() * 800)::bigint, (random() * 6000)::bigint, 9000,
           round((random() * 0.05)::numeric, 12), at, at
         from (select 1 + (random() * random() * ($2 - 1))::int as n, now() - random() * $3 * interval '1 day' as at, (random() * 3)::int % 3 as pick
               from generate_series(1, $1)) c
         join account a on a.subject = 'subject' || n
         join (select row_number() over (order by model) - 1 as pick, model, model_price_id from (
                 select distinct on (model) model, model_price_id from model_price
                 where model in ('claude-haiku-4-5', 'claude-sonnet-4-6', 'gpt-5-mini') and above_tokens is null order by model) m
              ) p on p.pick = c.pick",
    )
    .bind(rows)
    .bind(PEOPLE)
    .bind(DAYS)
    .execute(&mut *connection)
    .await?;
    sqlx::raw_sql("set session_replication_role = default").execute(&mut *connection).await?;
    tell("the ledger made", &format!("in {:.0?}", began.elapsed()))?;
    let began = Instant::now();
    sqlx::raw_sql("select usage_rebuild()").execute(&mut *connection).await?;
    tell("its sums rebuilt", &format!("in {:.0?}", began.elapsed()))?;
    for table in ["ai_usage", "usage_hour", "usage_day", "account"] {
        sqlx::raw_sql(AssertSqlSafe(format!("vacuum analyze {table}"))).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Two hundred turns a second become final, as a turn's last transaction writes them.
async fn record(db: PgPool) -> anyhow::Result<()> {
    let mut every = tokio::time::interval(Duration::from_millis(1000 / RECORDED_PER_SECOND));
    loop {
        every.tick().await;
        sqlx::query(
            "insert into ai_usage (ai_usage_id, turn_id, user_id, subject, model, model_price_id, status, usage_source, input_tokens,
               output_tokens, estimated_tokens, reserved_tokens, cost_usd, created_at, settled_at)
             select gen_random_uuid(), gen_random_uuid(), user_id, subject, p.model, p.model_price_id, 'finished', 'exact', 1000, 200, 1100,
               2000, 0.002, now(), now()
             from account, (select model, model_price_id from model_price where model = 'claude-haiku-4-5' limit 1) p
             where subject = 'subject' || (1 + (random() * $1)::int)",
        )
        .bind(PEOPLE - 1)
        .execute(&db)
        .await?;
    }
}

/// Everything that `/admin` reads.
async fn page(db: &PgPool, from: OffsetDateTime, to: OffsetDateTime, now: OffsetDateTime) -> anyhow::Result<()> {
    let asked = Asked { from, to, order: Order::Cost, plan: None, model: None, search: None, offset: 0, limit: 50 };
    store::heaviest::list(db, &asked).await?;
    store::heaviest::around(db, from, to).await?;
    store::heaviest::cost_by_day(db, from, to).await?;
    store::model_rule::list(db, now).await?;
    store::house::switches(db).await?;
    store::plan::list(db).await?;
    Ok(())
}

async fn export(db: &PgPool, to: OffsetDateTime, rows: usize) -> anyhow::Result<Duration> {
    let (began, mut done, mut after) = (Instant::now(), 0, None);
    while done < rows {
        let from = to - time::Duration::days(i64::from(DAYS) + 1);
        let asked = store::usage_row::Asked { from, to, plan: None, model: None, search: None, after };
        let piece = store::usage_row::next(db, &asked, 5_000).await?;
        let Some(last) = piece.last() else { break };
        after = Some((last.created_at, last.ai_usage_id));
        done += piece.len();
    }
    Ok(began.elapsed())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    #[allow(clippy::disallowed_methods, reason = "a benchmark is told where Postgres is")]
    let url = std::env::var("DATABASE_URL")?;
    let rows: i64 = std::env::args().nth(1).map_or(Ok(10_000_000), |rows| rows.parse())?;
    let options = PgConnectOptions::from_str(&url)?;
    let root = PgPoolOptions::new().max_connections(1).connect_with(options.clone()).await?;
    let name = format!("bench_usage_{rows}");
    let known: bool = sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
        .bind(&name)
        .fetch_one(&root)
        .await?;
    if !known {
        sqlx::raw_sql(AssertSqlSafe(format!("create database {name} template template0"))).execute(&root).await?;
    }
    let (base, _) = url.rsplit_once('/').unwrap_or((&url, ""));
    let url = format!("{base}/{name}");
    let db = store::connect(&url, 4).await?;
    store::migrate(&db).await?;
    if !known {
        generate(&db, rows).await?;
    }
    let owners = store::connect_owners(&url)?;
    let now: OffsetDateTime = sqlx::query_scalar("select max(created_at) from ai_usage").fetch_one(&db).await?;
    let hour = now.replace_nanosecond(0)?.replace_second(0)?.replace_minute(0)?;
    let end = hour + time::Duration::hours(1);
    let days = time::Duration::days;
    let periods = [
        ("24 hours", end - days(1), end),
        ("7 days", end - days(7), end),
        ("30 days", end - days(30), end),
        ("30 days, of one's own choice", (end - days(81)).replace_hour(0)?, (end - days(51)).replace_hour(0)?),
    ];
    for (name, from, to) in periods {
        let asked = Asked { from, to, order: Order::Cost, plan: None, model: None, search: None, offset: 0, limit: 20 };
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            let began = Instant::now();
            store::heaviest::list(&owners, &asked).await?;
            times.push(began.elapsed());
        }
        let ours = say(&format!("the 20 heaviest, {name}"), &mut times)?;
        let mut times = Vec::new();
        for _ in 0..3 {
            let began = Instant::now();
            sqlx::query(
                "select subject, sum(cost_usd), count(*), sum(input_tokens), sum(output_tokens) from ai_usage
                 where created_at >= $1 and created_at < $2 group by subject order by 2 desc limit 20",
            )
            .bind(from)
            .bind(to)
            .fetch_all(&db)
            .await?;
            times.push(began.elapsed());
        }
        let raw = say("  the same by a group by over raw rows", &mut times)?;
        tell("  times faster", &format!("{:.1}", raw.as_secs_f64() / ours.as_secs_f64()))?;
    }
    let recorder = tokio::spawn(record(db.clone()));
    for (name, from, to) in [periods[0], periods[2]] {
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            let began = Instant::now();
            page(&owners, from, to, now).await?;
            times.push(began.elapsed());
        }
        say(&format!("all that /admin reads, {name}, 200 turns/s recorded"), &mut times)?;
    }
    recorder.abort();
    let took = export(&owners, end, 1_000_000).await?;
    tell("a million rows read for an export", &format!("{took:.1?}"))?;
    Ok(())
}
