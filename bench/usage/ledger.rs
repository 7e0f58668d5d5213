//! Generates the ledger of the benchmark: 20 000 users of three models over 90 days, with unevenly distributed usage. Two thirds of the
//! users pay. Rows are inserted in chronological order, as in a ledger that grew over time.

use bench::print_result;
use sqlx::{AssertSqlSafe, PgPool};
use std::time::Instant;

const USERS: i32 = 20_000;
const DAYS: i32 = 90;

/// Creates the database if it does not exist. Returns whether it is new.
pub async fn database(root: &PgPool, name: &str) -> anyhow::Result<bool> {
    let sql = "select exists (select from pg_database where datname = $1)";
    let is_known: bool = sqlx::query_scalar(sql).bind(name).fetch_one(root).await?;
    if !is_known {
        sqlx::raw_sql(AssertSqlSafe(format!("create database {name} template template0"))).execute(root).await?;
    }
    Ok(!is_known)
}

/// Fills the ledger and computes the rollups.
pub async fn generate(db: &PgPool, rows: i64) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut connection = db.acquire().await?;
    sqlx::query("select ai_usage_create_partitions(now() - $1 * interval '1 day', now())")
        .bind(DAYS)
        .execute(&mut *connection)
        .await?;
    // Subjects have the length of real ones.
    sqlx::query(
        "insert into account (user_id, email, password_hash, subject, plan_id, email_verified_at)
         select gen_random_uuid(), 'p' || n || '@example.com', '', encode(sha256(n::text::bytea), 'hex'),
           (array['free', 'pro', 'max'])[1 + n % 3], now()
         from generate_series(1, $1) n",
    )
    .bind(USERS)
    .execute(&mut *connection)
    .await?;
    // Disables triggers: the rollups are computed afterwards in one pass.
    sqlx::raw_sql("set session_replication_role = replica").execute(&mut *connection).await?;
    sqlx::query(
        "insert into ai_usage (ai_usage_id, turn_id, user_id, subject, model, model_price_id, status, usage_source, input_tokens,
           cache_read_tokens, output_tokens, counted_tokens, estimated_tokens, reserved_tokens, cost_usd, created_at, settled_at, ttft_ms)
         select gen_random_uuid(), gen_random_uuid(), a.user_id, a.subject, p.model, p.model_price_id, 'finished', 'exact',
           (random() * 4000)::bigint, (random() * 2000)::bigint, (random() * 800)::bigint, 5000, (random() * 6000)::bigint, 9000,
           round((random() * 0.05)::numeric, 12), at, at, (200 + random() * 1500)::int
         from (select 1 + (random() * random() * ($2 - 1))::int as n, now() - random() * $3 * interval '1 day' as at, (random() * 3)::int % 3 as pick
               from generate_series(1, $1) order by at) c
         join account a on a.email = 'p' || n || '@example.com'
         join (select row_number() over (order by model) - 1 as pick, model, model_price_id from (
                 select distinct on (model) model, model_price_id from model_price
                 where model in ('claude-haiku-4-5', 'claude-sonnet-4-6', 'gpt-5-mini') and above_tokens is null order by model) m
              ) p on p.pick = c.pick",
    )
    .bind(rows)
    .bind(USERS)
    .bind(DAYS)
    .execute(&mut *connection)
    .await?;
    sqlx::raw_sql("set session_replication_role = default").execute(&mut *connection).await?;
    print_result("ledger generated", &format!("in {:.0?}", began.elapsed()))?;
    let began = Instant::now();
    store::rollup::rebuild(&store::Db::from(db)).await?;
    print_result("rollups rebuilt", &format!("in {:.0?}", began.elapsed()))?;
    for table in ["ai_usage", "usage_hour", "usage_day", "usage_total", "ttft_day", "account"] {
        sqlx::raw_sql(AssertSqlSafe(format!("vacuum analyze {table}"))).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Inserts monthly and yearly subscriptions for two thirds of the users. Some have ended, some have changed their price. Does nothing if
/// there are subscriptions already.
pub async fn subscribe(db: &PgPool) -> anyhow::Result<()> {
    if sqlx::query_scalar("select exists (select from subscription)").fetch_one(db).await? {
        return Ok(());
    }
    let steps = [
        "insert into subscription (subscription_id, customer_id, user_id, plan_id, status, period, amount_minor, currency, is_adjusted,
           created_at, period_end, ended_at, fetched_at)
         select 'sub_' || user_id, 'cus_' || user_id, user_id, plan_id, case when n % 10 = 0 then 'canceled' else 'active' end,
           case when n % 4 = 0 then 'year' else 'month' end, case plan_id when 'pro' then 2000 else 10000 end * case when n % 4 = 0 then 10 else 1 end,
           'usd', false, now() - (50 + n % 100) * interval '1 day', now() + interval '9 days',
           case when n % 10 = 0 then now() - n % 50 * interval '1 day' end, now() - interval '49 days'
         from (select *, row_number() over (order by email) as n from account where plan_id <> 'free') a",
        "insert into invoice (invoice_id, customer_id, user_id, subscription_id, status, due_minor, paid_minor, currency, created_at)
         select 'in_' || n || subscription_id, customer_id, user_id, subscription_id, 'paid', amount_minor, amount_minor, 'usd',
           created_at + n * interval '1 month'
         from subscription, generate_series(0, 2) n where n = 0 or period = 'month'",
        "update subscription set amount_minor = amount_minor * 5, fetched_at = now() - interval '12 days' where subscription_id ~ '[07]$'",
    ];
    for sql in steps {
        sqlx::query(sql).execute(db).await?;
    }
    sqlx::raw_sql("vacuum analyze subscription, subscription_price, invoice").execute(db).await?;
    Ok(())
}

/// Records one final call of a random user.
pub async fn record_one(db: &PgPool) -> anyhow::Result<()> {
    let user = 1 + uuid::Uuid::new_v4().as_u128() % u128::from(USERS.unsigned_abs());
    sqlx::query(
        "insert into ai_usage (ai_usage_id, turn_id, user_id, subject, model, model_price_id, status, usage_source, input_tokens,
           output_tokens, estimated_tokens, reserved_tokens, cost_usd, created_at, settled_at, ttft_ms)
         select gen_random_uuid(), gen_random_uuid(), user_id, subject, p.model, p.model_price_id, 'finished', 'exact', 1000, 200, 1100,
           2000, 0.002, now(), now(), 700
         from account, (select model, model_price_id from model_price where model = 'claude-haiku-4-5' limit 1) p
         where subject = encode(sha256($1::text::bytea), 'hex')",
    )
    .bind(user.to_string())
    .execute(db)
    .await?;
    Ok(())
}
