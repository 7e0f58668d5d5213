//! Tests that the rollups equal plain SQL over the ledger, regardless of when they are refreshed and of rows that become final late.

mod rollups;

use crate::app::TestApp;
use domain::report::start_of_hour;
use domain::top_users::Order;
use domain::{ModelName, PlanId, ReportPeriod, UsageFilter, UserUsage};
use rust_decimal::Decimal;
use sqlx::{PgExecutor, PgPool};
use std::collections::BTreeMap;
use store::rollup::{Include, Interval, IntervalTotals, PeriodTotals};
use time::{Duration, OffsetDateTime};

/// Inserts random calls of some users over some days: every outcome, retries, corrections, two models, deleted users, refusals and
/// subscriptions. A failure prints the seed.
pub async fn load(db: &PgPool, calls: i32, users: i32, days: i32, seed: f64) {
    let mut tx = db.begin().await.unwrap();
    sqlx::query("select setseed($1)").bind(seed).execute(&mut *tx).await.unwrap();
    sqlx::query("select ai_usage_create_partitions(now() - $1 * interval '1 day' - interval '1 month', now())")
        .bind(days)
        .execute(&mut *tx)
        .await
        .unwrap();
    sqlx::query(
        "insert into account (user_id, email, password_hash, subject, plan_id, created_at, email_verified_at)
         select gen_random_uuid(), 'p' || n || '@example.com', '', 'subject' || n, (array['free', 'pro', 'max'])[1 + n % 3], now(), now()
         from generate_series(1, $1) n",
    )
    .bind(users)
    .execute(&mut *tx)
    .await
    .unwrap();
    sqlx::query(
        "insert into ai_usage (ai_usage_id, turn_id, call_no, user_id, subject, model, model_price_id, status, usage_source, input_tokens,
           cache_read_tokens, cache_write_tokens, cache_write_long_tokens, output_tokens, reasoning_tokens, estimated_tokens, reserved_tokens,
           cost_usd, created_at, settled_at, corrects, ttft_ms, provider_failed, api_key_id)
         select gen_random_uuid(), gen_random_uuid(), case when c % 13 = 0 then 2 else 1 end, a.user_id, a.subject, p.model, p.model_price_id,
           case when c % 97 = 0 then 'pending' else (array['finished', 'stopped', 'truncated', 'failed', 'lost'])[1 + c % 5] end,
           case when c % 97 = 0 then null else 'exact' end, sign * (random() * 5000)::bigint, sign * (random() * 3000)::bigint,
           sign * (50 + (random() * 100)::bigint), case when c % 3 = 0 then sign * (c % 50) else 0 end,
           sign * (500 + (random() * 2000)::bigint), 0, (random() * 9000)::bigint, 9000,
           sign * round((random() * 0.05)::numeric, 12), at, case when c % 97 = 0 then null else at end,
           case when sign < 0 then gen_random_uuid() end, case when c % 7 <> 3 and c % 97 <> 0 then (random() * 20000)::int end,
           c % 5 = 3 and c % 2 = 0 and sign > 0 and c % 97 <> 0,
           -- Two keys of each user.
           case when c % 3 > 0 then md5(a.subject || c % 3)::uuid end
         from (select c, 1 + (random() * random() * ($2 - 1))::int as n, now() - random() * $3 * interval '1 day' as at,
                 case when c % 29 = 0 and c % 97 <> 0 then -1 else 1 end as sign, random() as pick
               from generate_series(1, $1) c) c
         join account a on a.subject = 'subject' || n
         join lateral (select model, model_price_id from model_price where model in ('claude-haiku-4-5', 'gpt-5-mini') and above_tokens is null
                       order by model, effective_at offset (pick * 2)::int % 2 limit 1) p on true",
    )
    .bind(calls)
    .bind(users)
    .bind(days)
    .execute(&mut *tx)
    .await
    .unwrap();
    sqlx::query(
        "insert into refusal_hour select user_id, (array['requests_limit', 'tokens_limit'])[1 + h % 2],
           date_trunc('hour', now() - h * interval '5 hours'), h + 1
         from account, generate_series(0, 60) h where subject like 'subject%' and h % (1 + length(subject)) = 0",
    )
    .execute(&mut *tx)
    .await
    .unwrap();
    sqlx::query(
        "insert into subscription (subscription_id, customer_id, user_id, plan_id, status, period, amount_minor, currency, is_adjusted,
           created_at, period_end, trial_end, ended_at, fetched_at)
         select 'sub' || subject, 'cus', user_id, plan_id, case when plan_id = 'max' then 'canceled' else 'active' end,
           case when plan_id = 'max' then 'year' else 'month' end, case when plan_id = 'max' then 100000 else 2000 end, 'usd', false,
           now() - interval '20 days', now() + interval '10 days', case when subject like '%1' then now() - interval '13 days' end,
           case when plan_id = 'max' then now() - interval '2 days' end, now()
         from account where plan_id <> 'free' and subject like 'subject%'",
    )
    .execute(&mut *tx)
    .await
    .unwrap();
    // Some users never paid.
    sqlx::query(
        "insert into invoice (invoice_id, customer_id, user_id, subscription_id, status, due_minor, paid_minor, currency, created_at)
         select 'in' || subscription.user_id, 'cus', subscription.user_id, subscription_id, 'paid', amount_minor, amount_minor, 'usd', subscription.created_at
         from subscription join account using (user_id) where subject not like '%4'",
    )
    .execute(&mut *tx)
    .await
    .unwrap();
    // Some users now pay three times their earlier price.
    sqlx::query(
        "update subscription set amount_minor = amount_minor * 3, fetched_at = now() - interval '6 days'
         where user_id in (select user_id from account where subject like '%2')",
    )
    .execute(&mut *tx)
    .await
    .unwrap();
    sqlx::query("delete from account where subject like 'subject%7'").execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
}

/// A row of the report, computed from the ledger by a plain query.
type Plain = (String, i64, i64, i64, i64, i64, Decimal, Decimal, Decimal);

/// Inserts a call that becomes final long after its hour, or a correction of one.
pub async fn late(db: impl PgExecutor<'_>, at: OffsetDateTime) {
    sqlx::query(
        "insert into ai_usage (ai_usage_id, turn_id, user_id, subject, model, model_price_id, status, usage_source, input_tokens,
           cache_read_tokens, output_tokens, estimated_tokens, reserved_tokens, cost_usd, created_at, settled_at, corrects, ttft_ms)
         select gen_random_uuid(), gen_random_uuid(), user_id, coalesce(subject, 'nobody ' || random()), model, model_price_id, 'finished', 'exact',
           7, 7, 7, 7, 7, 0.000000000001, $1, now(), case when random() < 0.3 then gen_random_uuid() end, 123
         from model_price left join (select user_id, subject from account where subject like 'subject%' order by random() limit 1) a on random() < 0.9
         where model = 'gpt-5-mini' and above_tokens is null limit 1",
    )
    .bind(at)
    .execute(db)
    .await
    .unwrap();
}

/// An app whose server has stopped, so that only the test refreshes the report.
async fn without_server() -> TestApp {
    TestApp::new().await.stop_server().await
}

/// Makes the report that of an hour ago: other sums, refusals and payments, and users who have no usage in the periods any more.
async fn make_periods_move(db: &PgPool) {
    sqlx::raw_sql(
        "update usage_period set began_at = began_at - interval '1 hour';
         update usage_report set requests = requests + 1, input_tokens = input_tokens + 2, cached_tokens = cached_tokens + 3,
           output_tokens = output_tokens + 4, estimated_tokens = estimated_tokens + 5, cost_picos = cost_picos + 6
         where subject_id % 2 = 0 and is_active;
         update usage_report set refusals = refusals + 7, paid_picos = paid_picos + 8 where subject_id % 2 = 0;
         insert into usage_subject (subject) values ('left') on conflict do nothing;
         insert into usage_report
         select distinct on (period, model) period, model, s.subject_id, true, 1, 1, 1, 1, 1, 1, 1, 1
         from usage_report, usage_subject s where s.subject = 'left'",
    )
    .execute(db)
    .await
    .unwrap();
}

/// Field notes 13, 30 and 33: for every period, plan, model and order the report equals plain SQL over the ledger: a standard period as of
/// its refresh, a custom one also with calls that are not folded yet.
#[tokio::test]
async fn every_figure_of_top_users_equals_the_ledger() {
    use rand::RngExt as _;
    let app = without_server().await;
    let mut rng = rand::rng();
    let seed = rng.random_range(0.0..1.0);
    load(&app.db, 4_800, 60, 40, seed).await;
    // A user who was only refused.
    sqlx::raw_sql(
        "insert into account (user_id, email, password_hash, subject, plan_id, email_verified_at)
         values (gen_random_uuid(), 'pidle@example.com', '', 'idle', 'pro', now());
         insert into refusal_hour select user_id, 'tokens_limit', date_trunc('hour', now()) - n * interval '7 hours', 3
         from account, generate_series(0, 60) n where subject = 'idle'",
    )
    .execute(&app.db)
    .await
    .unwrap();
    let now = OffsetDateTime::now_utc();
    for n in 0..if crate::settings::is_long() { 120 } else { 36 } {
        for _ in 0..n % 5 {
            late(&app.db, now - Duration::minutes(rng.random_range(0..57_000))).await;
        }
        let (period, include) = match n % 3 {
            0 => {
                let to = now.date() - Duration::days(rng.random_range(0..35));
                (ReportPeriod::Custom(to - Duration::days(rng.random_range(0..30)), to), Include::Everything)
            }
            _ => {
                if n % 4 == 2 {
                    make_periods_move(&app.db).await;
                }
                app.refresh_report().await;
                (ReportPeriod::STANDARD[n / 3 % 4], Include::Refreshed)
            }
        };
        let mut tx = store::begin_reading(&app.store).await.unwrap();
        let now = store::rollup::as_of(&mut tx, period).await.unwrap().unwrap_or(now);
        let (from, to) = period.bounds(now);
        let (plan, model) = (PlanId("pro".to_owned()), ModelName("gpt-5-mini".to_owned()));
        let filter = UsageFilter {
            period,
            order: Order::ALL[n % Order::ALL.len()],
            plan: (n % 5 == 1).then_some(plan),
            model: (n / Order::ALL.len() % 3 == 1).then_some(model), // With every order.
            search: if n % 7 == 1 { "P1".to_owned() } else { String::new() },
            page: 1,
        };
        let round = format!("round {n}, {period:?}, seed {seed}");
        let found = store::top_users::list(&mut tx, &filter, 1_000, now).await.unwrap();
        let search = (!filter.search.is_empty()).then_some(filter.search.as_str());
        let plain: Vec<Plain> = sqlx::query_as(
            "select u.subject, count(distinct u.turn_id) filter (where u.corrects is null and u.call_no = 1),
                    sum(u.input_tokens)::bigint, sum(u.cache_read_tokens + u.cache_write_tokens)::bigint, sum(u.output_tokens)::bigint,
                    coalesce(sum(u.estimated_tokens) filter (where u.corrects is null and u.input_tokens + u.cache_read_tokens + u.cache_write_tokens > 0), 0)::bigint, sum(u.cost_usd),
                    coalesce((select sum(n) from refusal_hour r where r.user_id = a.user_id and r.hour >= $1 and r.hour < $2), 0),
                    coalesce((select round(sum(case s.period when 'month' then s.amount_minor / 2629800.0 else s.amount_minor / 31557600.0 end / 100
                       * (greatest(0, extract(epoch from least($2, s.ended_at) - greatest($1, s.created_at, s.trial_end)))
                          - case when u.subject like '%2' then 2 / 3.0
                              * greatest(0, extract(epoch from least($2, s.ended_at, s.fetched_at) - greatest($1, s.created_at, s.trial_end))) else 0 end)), 12)
                       from subscription s join invoice i using (subscription_id) where s.subscription_id = 'sub' || u.subject), 0)
             from ai_usage u left join account a on a.subject = u.subject
             where u.status <> 'pending' and u.created_at >= $1 and u.created_at < $2 and ($3::text is null or a.plan_id = $3)
               and ($4::text is null or u.model = $4) and ($5::text is null or position(lower($5) in a.email) > 0)
             group by u.subject, a.user_id",
        )
        .bind(from)
        .bind(to)
        .bind(filter.plan.as_ref().map(|plan| plan.0.clone()))
        .bind(filter.model.as_ref().map(|model| model.0.clone()))
        .bind(search)
        .fetch_all(&app.db)
        .await
        .unwrap();
        // Users who were only refused are listed too, except with a model filter.
        let only_refused = found.rows.iter().filter(|row| plain.iter().all(|plain| plain.0 != row.subject));
        let (only_refused, found_all) = (only_refused.count(), found.rows.len());
        let refused: i64 = sqlx::query_scalar(
            "select count(distinct a.subject) from refusal_hour r join account a using (user_id)
             where r.hour >= $1 and r.hour < $2 and ($3::text is null or a.plan_id = $3)
               and ($4::text is null or position(lower($4) in a.email) > 0) and a.subject <> all($5)",
        )
        .bind(from)
        .bind(to)
        .bind(filter.plan.as_ref().map(|plan| plan.0.clone()))
        .bind(search)
        .bind(plain.iter().map(|plain| plain.0.clone()).collect::<Vec<_>>())
        .fetch_one(&app.db)
        .await
        .unwrap();
        let expected = if filter.model.is_none() { refused as usize } else { 0 };
        assert_eq!((found_all, only_refused), (plain.len() + expected, expected), "{round}");
        let whole: Decimal = plain.iter().map(|row| row.6).sum();
        assert_eq!(
            (found.all.cost.to_usd(), found.users, found.count),
            (whole, plain.len() as u64, found_all as u64),
            "{round}"
        );
        for row in &found.rows {
            let Some(plain) = plain.iter().find(|plain| plain.0 == row.subject) else { continue };
            let counts = (row.sum.requests as i64, row.estimated.0 as i64, row.refusals as i64);
            assert_eq!(counts, (plain.1, plain.5, i64::try_from(plain.7).unwrap()), "{} {round}", row.subject);
            // Corrections may make a user's sums negative in a short period; tokens are shown as zero then.
            let tokens = [row.sum.input, row.sum.cached, row.sum.output].map(|tokens| tokens.0 as i64);
            assert_eq!(tokens, [plain.2, plain.3, plain.4].map(|tokens| tokens.max(0)), "{round}");
            assert_eq!(row.sum.cost.to_usd(), plain.6, "{round}");
            // A subscription pays for all models.
            let paid = if filter.model.is_some() { Decimal::ZERO } else { plain.8 };
            assert!((row.paid.to_usd() - paid).abs() < Decimal::new(1, 9), "paid {} {paid}", row.paid.to_usd());
        }
        let rank = |row: &UserUsage| match filter.order {
            Order::Cost => row.sum.cost.0,
            Order::Tokens => row.sum.tokens().0 as i64,
            Order::Requests => row.sum.requests as i64,
            Order::Margin => row.sum.cost.0 - row.paid.0,
            Order::Refusals => row.refusals as i64,
            Order::Estimate => i64::MAX,
        };
        if filter.order != Order::Tokens {
            assert!(found.rows.is_sorted_by(|a, b| rank(a) >= rank(b)), "{round} by {:?}", filter.order);
        }
        // Reading it page by page returns the same rows.
        let mut paged = Vec::new();
        for page in 1..=u32::try_from(found_all.div_ceil(7)).unwrap() {
            let page = UsageFilter { page, ..filter.clone() };
            let rows = store::top_users::list(&mut tx, &page, 7, now).await.unwrap().rows;
            paged.extend(rows.into_iter().map(|row| row.subject));
        }
        assert_eq!(paged, found.rows.iter().map(|row| row.subject.clone()).collect::<Vec<_>>());
        // The sparkline of each user, by day.
        let (first, last) = (from.date(), to.date());
        let ids: Vec<i32> = found.rows.iter().map(|row| row.subject_id).collect();
        let lines = store::top_users::by_day(&mut tx, &ids, first, last).await.unwrap();
        if let Some(row) = found.rows.first() {
            let plain: Vec<Decimal> = sqlx::query_scalar(
                "select coalesce(sum(cost_usd), 0) from generate_series($2::date, $3::date, '1 day') day
                 left join ai_usage u on u.subject = $1 and u.status <> 'pending' and (u.created_at at time zone 'UTC')::date = day::date
                 group by day order by day",
            )
            .bind(&row.subject)
            .bind(first)
            .bind(last)
            .fetch_all(&app.db)
            .await
            .unwrap();
            assert_eq!(lines[&row.subject_id].iter().map(|cost| cost.to_usd()).collect::<Vec<_>>(), plain, "{round}");
        }
        totals_are_the_ledger(&app, &mut tx, (from, to), include, &round).await;
        // The last 24 hours, exact to the call.
        let at = now - Duration::minutes(rng.random_range(1..50_000));
        let spent = store::rollup::spent_in_a_day(&mut tx, at).await.unwrap();
        let spent = spent.values().map(|cost| cost.to_usd()).sum::<Decimal>();
        let sql = "select coalesce(sum(cost_usd), 0) from ai_usage where created_at >= $1 and created_at < $2 and status <> 'pending'";
        // Up to the end of the current hour: in production no row is newer than now.
        let end = start_of_hour(at) + Duration::HOUR;
        let plain = async |from: OffsetDateTime| -> Decimal {
            sqlx::query_scalar(sql).bind(from).bind(end).fetch_one(&app.db).await.unwrap()
        };
        assert_eq!(spent, plain(at - Duration::DAY).await, "{round}");
        let whole = store::rollup::spent_in_whole_hours(&mut tx, at).await.unwrap();
        assert_eq!(whole.to_usd(), plain(end - Duration::DAY).await, "{round}");
    }
}

/// Asserts that the totals by model and day and the time to first token equal plain SQL over the ledger.
async fn totals_are_the_ledger(
    app: &TestApp,
    tx: &mut store::Tx,
    (from, to): (OffsetDateTime, OffsetDateTime),
    include: Include,
    round: &str,
) {
    let PeriodTotals { by_model, intervals } =
        store::rollup::totals(tx, (from, to), include, Interval::Day).await.unwrap();
    let plain: Vec<(String, Vec<i64>, Decimal)> = sqlx::query_as(
        "select model,
                array[count(*) filter (where corrects is null and call_no = 1), count(*) filter (where corrects is null),
                  count(*) filter (where provider_failed), sum(input_tokens)::bigint, sum(cache_read_tokens)::bigint,
                  sum(cache_write_tokens)::bigint, sum(cache_write_long_tokens)::bigint, sum(output_tokens)::bigint,
                  sum(reasoning_tokens)::bigint],
                sum(cost_usd)
         from ai_usage where status <> 'pending' and created_at >= $1 and created_at < $2 group by 1 order by 1",
    )
    .bind(from)
    .bind(to)
    .fetch_all(&app.db)
    .await
    .unwrap();
    let found = by_model.iter().map(|(model, t)| {
        let tokens = [t.input, t.cache_read, t.cache_write, t.cache_write_long, t.output, t.reasoning];
        let counts = [&[t.requests, t.calls, t.failed][..], &tokens].concat();
        (model.clone(), counts, t.cost().to_usd())
    });
    assert_eq!(found.collect::<Vec<_>>(), plain, "{round}");
    // What prompt caching saved, by each call's own price.
    let saved = store::rollup::cache_savings(&mut *tx, (from, to), include).await.unwrap();
    let plain_saved: i64 = sqlx::query_scalar(
        "select coalesce(sum(cache_read_tokens * (input_micros_per_million - coalesce(cache_read_micros_per_million, input_micros_per_million))
                             - (cache_write_tokens - cache_write_long_tokens)
                               * (coalesce(cache_write_micros_per_million, input_micros_per_million) - input_micros_per_million)
                             - cache_write_long_tokens
                               * (coalesce(cache_write_long_micros_per_million, cache_write_micros_per_million, input_micros_per_million)
                                  - input_micros_per_million)), 0)::bigint
         from ai_usage join model_price using (model_price_id) where status <> 'pending' and created_at >= $1 and created_at < $2",
    )
    .bind(from)
    .bind(to)
    .fetch_one(&app.db)
    .await
    .unwrap();
    assert_eq!(saved.0, plain_saved, "{round}");
    over_time_is_the_ledger(app, (from, to), &intervals, "day", round).await;
    let by_hour = store::rollup::totals(tx, (from, to), include, Interval::Hour).await.unwrap().intervals;
    over_time_is_the_ledger(app, (from, to), &by_hour, "hour", round).await;
    let figures = store::rollup::figures(tx, (from, to), include).await.unwrap();
    let tokens: i64 = intervals.values().map(|then| then.tokens).sum();
    let requests: i64 = intervals.values().map(|then| then.requests).sum();
    assert_eq!((figures.tokens, figures.requests), (tokens, requests), "{round}");
    let mut all = store::rollup::Totals::default();
    by_model.values().for_each(|totals| all += totals);
    let plain: Vec<Option<i32>> = sqlx::query_scalar(
        "select unnest(percentile_disc(array[0.5, 0.95]) within group (order by ttft_ms))
         from ai_usage where status <> 'pending' and created_at >= $1 and created_at < $2",
    )
    .bind(from)
    .bind(to)
    .fetch_all(&app.db)
    .await
    .unwrap();
    let two_digits = |ms: Option<i32>| {
        ms.map(|ms| {
            let unit = 10_i32.pow((ms.max(1).ilog10()).saturating_sub(1));
            (ms + unit / 2) / unit * unit
        })
    };
    let plain: Vec<Option<i32>> = plain.into_iter().map(two_digits).collect();
    assert_eq!([all.ttft(50), all.ttft(95)].to_vec(), if plain.is_empty() { vec![None; 2] } else { plain }, "{round}");
}

/// Asserts that usage over time equals plain SQL over the ledger.
async fn over_time_is_the_ledger(
    app: &TestApp,
    (from, to): (OffsetDateTime, OffsetDateTime),
    found: &BTreeMap<OffsetDateTime, IntervalTotals>,
    interval: &str,
    round: &str,
) {
    let plain: Vec<(OffsetDateTime, String, Decimal, i64, i64)> = sqlx::query_as(
        "select date_trunc($3, created_at, 'UTC'), model, sum(cost_usd),
                sum(input_tokens + cache_read_tokens + cache_write_tokens + output_tokens)::bigint,
                count(*) filter (where corrects is null and call_no = 1)
         from ai_usage where status <> 'pending' and created_at >= $1 and created_at < $2 group by 1, 2 order by 1, 2",
    )
    .bind(from)
    .bind(to)
    .bind(interval)
    .fetch_all(&app.db)
    .await
    .unwrap();
    let costs =
        found.iter().flat_map(|(at, then)| then.cost.iter().map(|(model, cost)| (*at, model.clone(), cost.to_usd())));
    let plain_costs = plain.iter().map(|(at, model, cost, ..)| (*at, model.clone(), *cost));
    assert_eq!(costs.collect::<Vec<_>>(), plain_costs.collect::<Vec<_>>(), "{round} by {interval}");
    let mut sums: BTreeMap<OffsetDateTime, (i64, i64)> = BTreeMap::new();
    for (at, _, _, tokens, requests) in plain {
        let sum = sums.entry(at).or_default();
        *sum = (sum.0 + tokens, sum.1 + requests);
    }
    let found: BTreeMap<OffsetDateTime, (i64, i64)> =
        found.iter().map(|(at, then)| (*at, (then.tokens, then.requests))).collect();
    assert_eq!(found, sums, "{round} by {interval}");
}
