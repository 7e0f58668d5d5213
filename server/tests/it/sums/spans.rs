//! Spans, rebuilds and months that are dropped: the sums stay those of the rows.

use super::{late, load, totals_are_the_ledger, without_server};
use crate::app::TestApp;
use rust_decimal::Decimal;
use sqlx::{AssertSqlSafe, PgPool};
use store::top_users::{Order, UsageFilter};
use time::{Duration, OffsetDateTime};

/// Where there are too many calls without spans to look at each of them, their time to first token is left out, and said to be; all
/// other figures are whole. Once they have spans, so is this one.
#[tokio::test]
async fn ttft_of_very_many_calls_wait_for_spans() {
    let app = without_server().await;
    load(&app.db, 6_000, 20, 10, 0.5).await;
    let now = OffsetDateTime::now_utc();
    let hour = now.replace_minute(0).unwrap().replace_second(0).unwrap().replace_nanosecond(0).unwrap();
    let (from, to) = (hour - Duration::days(11), hour + Duration::hours(1));
    let mut tx = store::begin_reading(&app.store).await.unwrap();
    let found = store::span::totals(&mut tx, from, to).await.unwrap();
    assert!(found.lacks_ttft);
    assert!(found.by_model.values().all(|totals| totals.ttft(50).is_none()));
    let calls: i64 = app.one("select count(*) from ai_usage where status <> 'pending' and corrects is null").await;
    assert_eq!(found.by_model.values().map(|totals| totals.calls).sum::<i64>(), calls);
    drop(tx);

    store::span::make(&app.store, now).await.unwrap();
    let mut tx = store::begin_reading(&app.store).await.unwrap();
    totals_are_the_ledger(&app, &mut tx, from, to, "made").await;
}

/// Every span holds what its hours come to.
async fn spans_are_the_hours(db: &PgPool) {
    for hours in [1, 2, 4, 8, 24] {
        let differ: i64 = sqlx::query_scalar(AssertSqlSafe(format!(
            "select count(*) from (
               select begins_at, model, calls, input_tokens, cost_picos from usage_span_model where hours = {hours}
               except
               select date_bin('{hours} hours', hour, 'epoch'), model, sum(calls), sum(input_tokens), sum(cost_picos) from usage_hour group by 1, 2
             ) d"
        )))
        .fetch_one(db)
        .await
        .unwrap();
        assert_eq!(differ, 0, "spans of {hours} hours");
        let sql = "select count(*) from usage_span where hours = $1";
        let made: i64 = sqlx::query_scalar(sql).bind(hours).fetch_one(db).await.unwrap();
        assert!(made > 0);
    }
}

/// A call that has been written and not committed: an hour is made a span of only once it is over, and a larger span isn't made of one
/// that it has broken.
#[tokio::test]
async fn a_span_waits_for_whoever_writes_into_its_hours() {
    let app = without_server().await;
    load(&app.db, 300, 10, 3, 0.625).await;
    let now = OffsetDateTime::now_utc();
    let mut writing = store::begin(&app.store).await.unwrap();
    late(&mut writing, now - Duration::hours(30)).await;
    let db = app.store.clone();
    let making = tokio::spawn(async move { store::span::make(&db, now).await.unwrap() });
    // by then every other hour is made, the latest first
    app.until("select count(*) = 1 from pg_locks where locktype = 'advisory' and classid = 7011 and not granted and database = (select oid from pg_database where datname = current_database())").await;
    writing.commit().await.unwrap();
    assert!(making.await.unwrap() > 60);
    spans_are_the_hours(&app.db).await;

    sqlx::query("delete from usage_span where hours > 1").execute(&app.db).await.unwrap();
    let mut writing = store::begin(&app.store).await.unwrap();
    late(&mut writing, now - Duration::hours(40)).await;
    store::span::make(&app.store, now).await.unwrap();
    writing.commit().await.unwrap();
    spans_are_the_hours(&app.db).await;
    store::span::make(&app.store, now).await.unwrap();
    let mut tx = store::begin_reading(&app.store).await.unwrap();
    let hour = now.replace_minute(0).unwrap().replace_second(0).unwrap().replace_nanosecond(0).unwrap();
    totals_are_the_ledger(&app, &mut tx, hour - Duration::hours(70), hour + Duration::hours(1), "after writers").await;
}

/// A span that is being made and a call that ends in its hours: whoever comes second waits, and the sum is the ledger's either way.
#[tokio::test]
async fn calls_that_end_while_spans_are_made_are_in_both() {
    use rand::RngExt as _;
    let app = without_server().await;
    load(&app.db, 300, 10, 3, 0.125).await;
    let now = OffsetDateTime::now_utc();
    let db = app.store.clone();
    let makers = (0..2).map(|_| {
        let db = db.clone();
        tokio::spawn(async move {
            for _ in 0..20 {
                store::span::make(&db, now).await.unwrap();
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
    for task in makers.chain(writers).collect::<Vec<_>>() {
        task.await.unwrap();
    }
    store::span::make(&app.store, now).await.unwrap();
    spans_are_the_hours(&app.db).await;
    let mut tx = store::begin_reading(&app.store).await.unwrap();
    let hour = now.replace_minute(0).unwrap().replace_second(0).unwrap().replace_nanosecond(0).unwrap();
    totals_are_the_ledger(&app, &mut tx, hour - Duration::hours(70), hour + Duration::hours(1), "made beside writers")
        .await;
}

/// The sums that triggers keep are those that a rebuild makes, row by row.
#[tokio::test]
async fn a_rebuild_makes_the_sums_that_stand_there() {
    let app = TestApp::new().await;
    load(&app.db, 4_000, 30, 12, 0.25).await;
    let ann = app.user("ann@example.com").await;
    ann.answer("{{words:20}}").await;
    let sums = async || -> (String, String) {
        (
            app.one("select md5(string_agg(u::text, '|' order by u::text)) from usage_hour u").await,
            app.one("select md5(string_agg(u::text, '|' order by u::text)) from usage_day u").await,
        )
    };
    let before = sums().await;
    store::span::make(&app.store, OffsetDateTime::now_utc()).await.unwrap();
    // one that holds too much, as nothing but a fault of ours could make it
    sqlx::query("update usage_span_model set cost_picos = cost_picos + 1").execute(&app.db).await.unwrap();
    app.run(server::cli::Command::Usage(server::cli::Usage::Rebuild)).await;
    assert_eq!(sums().await, before);
    // spans of what may have been wrong are gone, and made anew
    spans_are_the_hours(&app.db).await;
    assert!(app.one::<bool>("select count(*) > 100 from usage_day").await);
}

/// Months that the owner doesn't keep are dropped, whole months only; what they came to stays, also after a rebuild and in the page's
/// figures, and the page says since when single calls are kept.
#[tokio::test]
async fn old_months_are_dropped_and_their_sums_stay() {
    let app = TestApp::new().await;
    load(&app.db, 4_000, 20, 100, 0.375).await;
    let now = OffsetDateTime::now_utc();
    store::span::make(&app.store, now).await.unwrap();
    let sum = "select sum(cost_picos) * 0.000000000001 from usage_hour";
    let (before, rows) = (app.one::<Decimal>(sum).await, app.one::<i64>("select count(*) from ai_usage").await);
    let _second = app.second_as(|config| config.ledger_months = Some(1)).await;
    app.until("select ledger_from is not null from deployment").await;
    assert!(app.one::<i64>("select count(*) from ai_usage").await < rows * 2 / 3);
    let first: OffsetDateTime = app.one("select min(created_at) from ai_usage").await;
    let kept: OffsetDateTime = app.one("select ledger_from from deployment").await;
    let expected = app.one::<OffsetDateTime>("select date_trunc('month', now(), 'UTC') - interval '1 month'").await;
    assert!(kept == expected && first >= kept && first < kept + Duration::days(5), "{first} of {kept}");
    // one month, this one, and those that are made ahead
    let parts: i64 = app.one("select count(*) from pg_inherits where inhparent = 'ai_usage'::regclass").await;
    assert_eq!(parts, 1 + 1 + 3);
    for rebuild in [false, true] {
        if rebuild {
            app.run(server::cli::Command::Usage(server::cli::Usage::Rebuild)).await;
        }
        assert_eq!(app.one::<Decimal>(sum).await, before, "rebuilt: {rebuild}");
        let days = "select sum(cost_picos) * 0.000000000001 from usage_day";
        assert_eq!(app.one::<Decimal>(days).await, before);
        let mut tx = store::begin_reading(&app.store).await.unwrap();
        let (from, to) = (now - Duration::days(110), now + Duration::hours(1));
        let filter =
            UsageFilter { from, to, order: Order::Cost, plan: None, model: None, search: None, offset: 0, limit: 5 };
        assert_eq!(store::top_users::list(&mut tx, &filter).await.unwrap().all.cost.to_usd(), before);
    }
    // what is kept can be added to, and nothing is dropped twice
    late(&app.db, now - Duration::days(3)).await;
    assert_eq!(store::ledger::drop_before(&app.store, kept).await.unwrap(), 0);
    let admin = app.user("admin@example.com").await;
    let day = now.date() - Duration::days(90);
    let page = admin.text(&format!("/admin?period=custom&from={day}&to={}", now.date())).await;
    assert!(page.contains("Individual calls are kept from"));
    assert!(!admin.text("/admin?period=7d").await.contains("Individual calls are kept from"));
}
