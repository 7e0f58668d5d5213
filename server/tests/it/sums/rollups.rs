//! Tests of refreshes during concurrent writes, rebuilds, and dropped months.

use super::{late, load, totals_are_the_ledger, without_server};
use crate::app::TestApp;
use domain::{ApiKeyId, ReportPeriod, UsageFilter, UserId};
use rust_decimal::Decimal;
use sqlx::PgPool;
use std::collections::BTreeSet;
use store::rollup::Include;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

/// Asserts that the deployment's totals, folded and not, equal the sums per user.
async fn totals_are_the_sums(db: &PgPool) {
    let differ: i64 = sqlx::query_scalar(
        "with total as (
           select model, hour, sum(calls) as calls, sum(input_tokens) as input, sum(cost_picos) as cost from (
             select model, hour, calls, input_tokens, cost_picos from usage_total
             union all
             select model, hour, calls, input_tokens, cost_picos from usage_delta
           ) t group by 1, 2
         ), by_user as (
           select model, hour, sum(calls) as calls, sum(input_tokens) as input, sum(cost_picos) as cost from usage_hour group by 1, 2
         ), by_day as (
           select model, (hour at time zone 'UTC')::date as day, sum(calls) as calls, sum(cost) as cost from total group by 1, 2
         )
         select (select count(*) from ((select * from total except select * from by_user) union all (select * from by_user except select * from total)) d)
           + (select count(*) from (
                select * from by_day except select model, day, sum(calls), sum(cost_picos) from usage_day group by 1, 2) d)",
    )
    .fetch_one(db)
    .await
    .unwrap();
    assert_eq!(differ, 0);
}

/// A call that is not committed yet when the report is refreshed is part of the next refresh, and of custom periods at once.
#[tokio::test]
async fn a_call_that_commits_after_a_refresh_is_in_the_next() {
    let app = without_server().await;
    load(&app.db, 300, 10, 3, 0.625).await;
    app.refresh_report().await;
    let now = OffsetDateTime::now_utc();
    let sums = async |period: ReportPeriod| {
        let mut tx = store::begin_reading(&app.store).await.unwrap();
        let filter = UsageFilter { period, page: 1, ..UsageFilter::default() };
        store::top_users::list(&mut tx, &filter, 5, now).await.unwrap().all.cost.0
    };
    let saved = async |include| {
        let period = ReportPeriod::Days30.bounds(now);
        store::rollup::cache_savings(&app.store, period, include).await.unwrap().0
    };
    let custom = ReportPeriod::Custom(now.date() - Duration::days(29), now.date());
    let before = sums(ReportPeriod::Days30).await;
    assert_eq!(sums(custom).await, before);
    let before_saved = saved(Include::Refreshed).await;

    let mut writing = store::begin(&app.store).await.unwrap();
    late(&mut writing, now - Duration::hours(30)).await;
    app.refresh_report().await;
    writing.commit().await.unwrap();
    assert_eq!((sums(ReportPeriod::Days30).await, sums(custom).await), (before, before + 1));
    assert_eq!(saved(Include::Refreshed).await, before_saved);
    assert!(saved(Include::Everything).await > before_saved);
    assert!(
        !store::rollup::refresh(&app.store, Duration::HOUR).await.unwrap(),
        "the last refresh is younger than that"
    );
    app.refresh_report().await;
    assert_eq!((sums(ReportPeriod::Days30).await, sums(custom).await), (before + 1, before + 1));
    assert!(saved(Include::Refreshed).await > before_saved);
    assert_eq!(app.one::<i64>("select count(*) from usage_delta").await, 0);
    totals_are_the_sums(&app.db).await;
    // A clock that was ahead at the last refresh and was set back doesn't end refreshes.
    app.sql("update usage_period set as_of = now() + interval '1 day'").await;
    assert!(store::rollup::refresh(&app.store, Duration::HOUR).await.unwrap());
}

/// Two servers refresh while four writers insert: no call is lost or counted twice.
#[tokio::test]
async fn calls_that_end_during_refreshes_are_counted_once() {
    use rand::RngExt as _;
    let app = without_server().await;
    load(&app.db, 300, 10, 3, 0.125).await;
    let now = OffsetDateTime::now_utc();
    let db = app.store.clone();
    let refreshers = (0..2).map(|_| {
        let db = db.clone();
        tokio::spawn(async move {
            for _ in 0..20 {
                store::rollup::refresh(&db, Duration::ZERO).await.unwrap();
            }
        })
    });
    let writers = (0..4).map(|_| {
        let db = db.clone();
        tokio::spawn(async move {
            for _ in 0..60 {
                let minutes = rand::rng().random_range(0..4_000);
                late(&db, now - Duration::minutes(minutes)).await;
            }
        })
    });
    for task in refreshers.chain(writers).collect::<Vec<_>>() {
        task.await.unwrap();
    }
    totals_are_the_sums(&app.db).await;
    app.refresh_report().await;
    totals_are_the_sums(&app.db).await;
    for period in ReportPeriod::STANDARD {
        let mut tx = store::begin_reading(&app.store).await.unwrap();
        let as_of = store::rollup::as_of(&mut tx, period).await.unwrap().unwrap();
        let round = format!("concurrent writers, {period:?}");
        totals_are_the_ledger(&app, &mut tx, period.bounds(as_of), Include::Refreshed, &round).await;
    }
}

/// Reports show a subject as the oldest account that has it, otherwise as the oldest that had it before.
#[tokio::test]
async fn a_subject_is_named_by_one_account() {
    let app = without_server().await;
    let step = async |sql: &str, expected: &[(&str, Option<&str>)]| {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(&app.db).await.unwrap();
        for (subject, email) in expected {
            let named = "select a.email from usage_subject s left join account a using (user_id) where s.subject = $1";
            let named: Option<String> = sqlx::query_scalar(named).bind(subject).fetch_one(&app.db).await.unwrap();
            assert_eq!(named.as_deref(), *email, "{subject} after {sql}");
        }
        let differ = "select count(*) from usage_subject s left join reported_account r using (subject) where s.user_id is distinct from r.user_id";
        assert_eq!(app.one::<i64>(differ).await, 0, "after {sql}");
    };
    let insert = |email: &str, subject: &str, days: i32| {
        format!(
            "insert into account (user_id, email, password_hash, subject, created_at)
             values (gen_random_uuid(), '{email}', '', '{subject}', now() - interval '{days} days')"
        )
    };
    step(&insert("new@example.com", "shared", 1), &[("shared", Some("new@example.com"))]).await;
    step(&insert("old@example.com", "shared", 9), &[("shared", Some("old@example.com"))]).await;
    step(
        "update account set subject = 'own' where email = 'old@example.com'",
        &[("shared", Some("new@example.com")), ("own", Some("old@example.com"))],
    )
    .await;
    step("delete from account where email = 'new@example.com'", &[("shared", Some("old@example.com"))]).await;
    // Alerts name it by the same rule.
    app.sql(
        "insert into usage_hour
         select subject_id, 'demo', date_trunc('hour', now()), 1, 1, 0, 1, 0, 0, 1, 0, 1, 1000
         from usage_subject where subject in ('shared', 'own')",
    )
    .await;
    let mut tx = store::begin_reading(&app.store).await.unwrap();
    let since = OffsetDateTime::now_utc() - Duration::DAY;
    let shares = store::rollup::large_shares(&mut tx, since, 10).await.unwrap();
    tx.commit().await.unwrap();
    let emails: Vec<_> = shares.iter().map(|share| share.email.as_deref()).collect();
    assert_eq!(emails, [Some("old@example.com"); 2]);
    step("delete from account where email = 'old@example.com'", &[("shared", None), ("own", None)]).await;
}

/// Turns of one user that end at once on the same models in opposite order don't deadlock.
#[tokio::test]
async fn turns_that_end_on_the_same_models_dont_deadlock() {
    let app = without_server().await;
    sqlx::raw_sql("insert into account (user_id, email, password_hash, subject, email_verified_at) values (gen_random_uuid(), 'ann@example.com', '', 'ann', now())")
        .execute(&app.db)
        .await
        .unwrap();
    let insert = "insert into ai_usage (ai_usage_id, turn_id, subject, model, model_price_id, status, usage_source, estimated_tokens,
                    reserved_tokens, created_at, settled_at)
                  select gen_random_uuid(), gen_random_uuid(), 'ann', model, model_price_id, 'finished', 'exact', 1, 1, now(), now()
                  from model_price where model = $1 and above_tokens is null";
    let writers = [["gpt-5-mini", "demo"], ["demo", "gpt-5-mini"]].map(|models| {
        let db = app.db.clone();
        tokio::spawn(async move {
            for _ in 0..50 {
                let mut tx = db.begin().await.unwrap();
                for model in models {
                    sqlx::query(insert).bind(model).execute(&mut *tx).await.unwrap();
                }
                tx.commit().await.unwrap();
            }
        })
    });
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(app.one::<i64>("select sum(calls)::bigint from usage_hour").await, 200);
    totals_are_the_sums(&app.db).await;
}

/// A key's usage of any period equals a plain sum of its calls, and so does the history that its meter is rebuilt from: corrections, late calls
/// and periods that begin within a half hour included.
#[tokio::test]
async fn usage_of_keys_is_the_ledger() {
    let app = without_server().await;
    load(&app.db, 4_000, 6, 40, 0.875).await;
    sqlx::raw_sql(
        "insert into api_key (api_key_id, user_id, name, prefix, secret_hash, created_at)
         select distinct api_key_id, user_id, 'Key', 'sk', sha256(api_key_id::text::bytea), now() from ai_usage
         where api_key_id is not null and user_id is not null",
    )
    .execute(&app.db)
    .await
    .unwrap();
    let users: Vec<Uuid> = sqlx::query_scalar("select distinct user_id from api_key").fetch_all(&app.db).await.unwrap();
    let now = OffsetDateTime::now_utc();
    let start = now.replace_minute(30).unwrap().replace_second(0).unwrap().replace_nanosecond(0).unwrap();
    let of_day = start - Duration::DAY;
    for since in
        [now - Duration::days(30), of_day, of_day + Duration::MICROSECOND, of_day - Duration::MICROSECOND, start]
    {
        for user in &users {
            let plain = "select u.api_key_id, count(*) filter (where call_no = 1 and corrects is null),
                                greatest(sum(input_tokens + cache_read_tokens + cache_write_tokens + output_tokens), 0)::bigint,
                                (sum(cost_usd) * 1000000000000)::bigint
                         from ai_usage u join api_key k using (api_key_id)
                         where k.user_id = $1 and status <> 'pending' and u.created_at >= $2 group by 1 order by 1";
            let plain: Vec<(Uuid, i64, i64, i64)> =
                sqlx::query_as(plain).bind(user).bind(since).fetch_all(&app.db).await.unwrap();
            let found = store::api_key::usage_of_keys(&app.store, UserId::from(*user), since).await.unwrap();
            let mut found: Vec<(Uuid, i64, i64, i64)> = found
                .into_iter()
                .map(|(id, requests, tokens, cost)| (id.into(), requests.cast_signed(), tokens.to_db(), cost.0))
                .collect();
            found.sort_unstable();
            assert_eq!(found, plain, "since {since}");
        }
    }
    let (since, recent) = (now - Duration::days(31), now - Duration::HOUR);
    let keys: Vec<Uuid> = sqlx::query_scalar("select api_key_id from api_key").fetch_all(&app.db).await.unwrap();
    for key in keys {
        let past = store::api_key::history(&app.store, ApiKeyId::from(key), since, recent).await.unwrap();
        let found: i64 = past.iter().filter(|past| !past.pending).map(|past| past.cost.0).sum();
        // Turns of the last hour whose provider was never called are left out.
        let plain = "select coalesce((sum(cost_usd) * 1000000000000)::bigint, 0) from ai_usage
                     where api_key_id = $1 and status <> 'pending' and created_at >= key_slot($2)
                       and not (created_at >= key_slot($3) and status = 'failed' and not provider_failed)";
        let plain: i64 = sqlx::query_scalar(plain).bind(key).bind(since).bind(recent).fetch_one(&app.db).await.unwrap();
        assert_eq!(found, plain);
        let slots: Vec<_> = past.iter().map(|past| past.at).filter(|at| *at < recent - Duration::minutes(30)).collect();
        assert_eq!(slots.iter().collect::<BTreeSet<_>>().len(), slots.len(), "one entry for each half hour before");
    }
}

/// A rebuild computes the same rows that the triggers and folds maintain.
#[tokio::test]
async fn a_rebuild_computes_the_same_rollups() {
    let app = TestApp::new().await;
    load(&app.db, 4_000, 30, 12, 0.25).await;
    let ann = app.user("ann@example.com").await;
    ann.send_and_read("{{words:20}}").await;
    app.refresh_report().await;
    let app = app.stop_server().await;
    let sums = async || -> Vec<String> {
        let mut sums = Vec::new();
        for table in ["usage_hour", "usage_day", "usage_key", "usage_total", "cache_write_long", "ttft_day"] {
            let sql = format!("select md5(string_agg(u::text, '|' order by u::text)) from {table} u");
            sums.push(sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&app.db).await.unwrap());
        }
        sums
    };
    let before = sums().await;
    // Corrupts the rollups, as only a bug could.
    app.sql(
        "update usage_total set cost_picos = cost_picos + 1; update usage_hour set calls = calls + 1; delete from ttft_hour;
         update usage_key set tokens = tokens + 1; update cache_write_long set tokens = tokens + 1",
    )
    .await;
    app.run(server::cli::Command::Usage(server::cli::Usage::Rebuild)).await;
    assert_eq!(sums().await, before);
    // What a rebuild folds is not added to the report, so the next refresh sums it again.
    late(&app.db, OffsetDateTime::now_utc() - Duration::hours(30)).await;
    store::rollup::rebuild(&app.store).await.unwrap();
    app.refresh_report().await;
    let differ = "select count(*) from (
                    select model, sum(cost_picos) from usage_report where period = '30d' and model <> '' group by 1
                    except select model, sum(cost_picos) from usage_day where day >= (now() at time zone 'UTC')::date - 29 group by 1) d";
    assert_eq!(app.one::<i64>(differ).await, 0);
    let before = sums().await;
    assert!(
        app.one::<bool>(
            "select (select count(*) from usage_day) > 100 and (select count(*) from cache_write_long) > 100"
        )
        .await
    );
    // The migration computes the sums of the rows that were there before it.
    let migration = include_str!("../../../../migrations/0030_cache_write_long.sql");
    let refill = migration.split("insert into cache_write_long (model").nth(1).and_then(|rest| rest.split(';').next());
    app.sql("delete from cache_write_long").await;
    let refill = format!("insert into cache_write_long (model{}", refill.unwrap());
    sqlx::raw_sql(sqlx::AssertSqlSafe(refill)).execute(&app.db).await.unwrap();
    assert_eq!(sums().await, before);
    let mut tx = store::begin_reading(&app.store).await.unwrap();
    let as_of = store::rollup::as_of(&mut tx, ReportPeriod::Day).await.unwrap().unwrap();
    totals_are_the_ledger(&app, &mut tx, ReportPeriod::Day.bounds(as_of), Include::Refreshed, "rebuilt").await;
}

/// Months older than the retention are dropped, whole months only. Their sums stay, also after a rebuild and in the page's figures, and the
/// page shows since when individual calls are kept.
#[tokio::test]
async fn old_months_are_dropped_and_their_sums_stay() {
    let app = TestApp::new().await;
    load(&app.db, 4_000, 20, 200, 0.375).await;
    let now = OffsetDateTime::now_utc();
    app.refresh_report().await;
    let sum = "select sum(cost_picos) * 0.000000000001 from usage_hour";
    let (before, rows) = (app.one::<Decimal>(sum).await, app.one::<i64>("select count(*) from ai_usage").await);
    let _second = app.start_second_with(|config| config.ledger_months = Some(4)).await;
    app.until("select ledger_from is not null from deployment").await;
    assert!(app.one::<i64>("select count(*) from ai_usage").await < rows * 9 / 10);
    let first: OffsetDateTime = app.one("select min(created_at) from ai_usage").await;
    let kept: OffsetDateTime = app.one("select ledger_from from deployment").await;
    let expected = app.one::<OffsetDateTime>("select date_trunc('month', now(), 'UTC') - interval '4 months'").await;
    assert!(kept == expected && first >= kept && first < kept + Duration::days(5), "{first} of {kept}");
    // The four previous months, the current one, and three months ahead.
    let parts: i64 = app.one("select count(*) from pg_inherits where inhparent = 'ai_usage'::regclass").await;
    assert_eq!(parts, 4 + 1 + 3);
    for rebuild in [false, true] {
        if rebuild {
            app.run(server::cli::Command::Usage(server::cli::Usage::Rebuild)).await;
        }
        assert_eq!(app.one::<Decimal>(sum).await, before, "rebuilt: {rebuild}");
        let days = "select sum(cost_picos) * 0.000000000001 from usage_day";
        assert_eq!(app.one::<Decimal>(days).await, before);
        let mut tx = store::begin_reading(&app.store).await.unwrap();
        let period = ReportPeriod::Custom(now.date() - Duration::days(210), now.date());
        let filter = UsageFilter { period, page: 1, ..UsageFilter::default() };
        assert_eq!(store::top_users::list(&mut tx, &filter, 5, now).await.unwrap().all.cost.to_usd(), before);
        let total =
            store::rollup::figures(&mut tx, (now - Duration::days(210), now), Include::Everything).await.unwrap().cost;
        assert_eq!(total.to_usd(), before);
    }
    // Kept months accept new rows, and dropping again drops nothing.
    late(&app.db, now - Duration::days(3)).await;
    assert_eq!(store::ledger::drop_before(&app.store, kept).await.unwrap(), 0);
    let admin = app.user("admin@example.com").await;
    let day = now.date() - Duration::days(190);
    let page = admin.text(&format!("/admin?period=custom&from={day}&to={}", now.date())).await;
    assert!(page.contains("Individual calls are kept from"));
    assert!(!admin.text("/admin?period=7d").await.contains("Individual calls are kept from"));
}
