//! Spend caps and the cost of turns.

use super::{BOTH, app_with_high_limits, begun};
use crate::app::TestApp;
use crate::visitor::{TestClient, events, problem};
use domain::{Outcome, TurnEvent};
use http::StatusCode;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use std::collections::HashMap;
use uuid::Uuid;

/// A model's daily spend cap is a separate budget. It applies to the next turn, and other models are unaffected.
#[tokio::test]
async fn model_spend_cap_affects_only_that_model() {
    let app = app_with_high_limits(&[]).await;
    let ann = app.user("ann@example.com").await;
    ann.send_and_read("{{words:9}}").await;
    sqlx::query("update model set daily_spend_usd = 0.01 where model = 'claude-haiku-4-5'")
        .execute(&app.db)
        .await
        .unwrap();
    let response = ann.send_message("{{words:9}}").await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "its longest response may cost two cents");
    assert!(response.headers().contains_key("retry-after"));
    let refused = problem(response).await;
    assert_eq!(refused["kind"], "spend_cap");
    assert!(refused["message"].as_str().unwrap().contains("Claude Haiku"));
    assert_eq!(ann.quota().await["tokens"]["reserved"], 0, "the user's hold is released");
    assert_eq!(events(ann.post(&json!({"model": BOTH[1], "text": "{{words:1}}"})).await).await.len(), 3);
    sqlx::query("update model set daily_spend_usd = 1 where model = 'claude-haiku-4-5'")
        .execute(&app.db)
        .await
        .unwrap();
    ann.send_and_read("{{words:9}}").await;
    app.until("select bool_and(meter_settled_at is not null) from turn").await;
    let nanos: i64 =
        app.one("select sum(ceil(cost_usd * 1000000000))::bigint from ai_usage where model = 'claude-haiku-4-5'").await;
    assert_eq!(app.budget(Some("claude-haiku-4-5")).await, (nanos as u64, 0));
}

/// Pausing chat applies to the next turn on every server. A running response finishes normally.
#[tokio::test]
async fn paused_app_refuses_new_turns() {
    let app = app_with_high_limits(&[]).await;
    let ann = app.user("ann@example.com").await;
    let (mut reading, _) = begun(&ann, BOTH[0], "{{words:9}}{{hold}}").await;
    let (url, _stop) = app.start_second().await;
    sqlx::query("update deployment set paused = true").execute(&app.db).await.unwrap();
    for user in [&ann, &TestClient { url, ..ann.clone() }] {
        let response = user.send_message("{{words:1}}").await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(problem(response).await["message"].as_str().unwrap().contains("switched off"));
    }
    app.provider.release();
    let mut last = None;
    while let Some((_, event)) = reading.next().await {
        last = Some(event);
    }
    assert!(matches!(last, Some(TurnEvent::Finish { outcome: Outcome::Finished, .. })), "{last:?}");
}

/// Field notes 26 to 30 and 55: with ten thousand random usages at random prices, including corrections and both lifetimes of cache writes,
/// costs equal an independent calculation to the last digit, and the hourly sums equal the sums of the rows.
#[tokio::test]
async fn ten_thousand_random_usages_add_up() {
    use rand::RngExt as _;
    let app = TestApp::new().await;
    app.user("ann@example.com").await;
    let mut rng = rand::rng();
    let mut expected_picos = 0_i128;
    let mut sums: HashMap<(String, i64), [i128; 4]> = HashMap::new();
    let mut tx = store::begin(&app.store).await.unwrap();
    let prices: Vec<(Uuid, [i64; 5])> =
        (0..50).map(|_| (Uuid::now_v7(), std::array::from_fn(|_| rng.random_range(0..75_000_000)))).collect();
    for (n, (id, [input, read, write, output, long])) in prices.iter().enumerate() {
        sqlx::query("insert into model_price (model_price_id, model, effective_at, input_micros_per_million, cache_read_micros_per_million, cache_write_micros_per_million, output_micros_per_million, cache_write_long_micros_per_million) values ($1, 'demo', now() - $2 * interval '1 day', $3, $4, $5, $6, $7)")
            .bind(id).bind(n as i32 + 1_000).bind(input).bind(read).bind(write).bind(output).bind(long)
            .execute(&mut tx).await.unwrap();
    }
    let now = time::OffsetDateTime::now_utc();
    for n in 0..10_000_i64 {
        let (id, price) = &prices[rng.random_range(0..prices.len())];
        let correction = n % 10 == 9;
        let kinds: [i64; 4] = std::array::from_fn(|_| {
            let tokens = rng.random_range(0..2_000_000);
            if correction && rng.random_range(0..2) == 0 { -tokens } else { tokens }
        });
        let long = kinds[2].signum() * rng.random_range(0..=kinds[2].abs());
        let list = domain::PriceList::new(vec![domain::Price {
            id: (*id).into(),
            above: domain::Tokens(0),
            input: domain::MicrosPerMillion(price[0]),
            cache_read: Some(domain::MicrosPerMillion(price[1])),
            cache_write: Some(domain::MicrosPerMillion(price[2])),
            cache_write_long: Some(domain::MicrosPerMillion(price[4])),
            output: domain::MicrosPerMillion(price[3]),
        }])
        .unwrap();
        let amounts = [kinds[0], kinds[1], kinds[2] - long, kinds[3], long];
        let exact: i128 =
            amounts.iter().zip(price).map(|(tokens, price)| i128::from(*tokens) * i128::from(*price)).sum();
        expected_picos += exact;
        let cost = if correction {
            Decimal::from_i128_with_scale(exact, 12)
        } else {
            let tokens = |n: i64| domain::Tokens(n as u64);
            let usage = domain::Usage {
                input: tokens(kinds[0]),
                cache_read: tokens(kinds[1]),
                cache_write: tokens(kinds[2]),
                cache_write_long: tokens(long),
                output: tokens(kinds[3]),
                ..Default::default()
            };
            list.price(&usage).1.to_usd()
        };
        let (subject, at) = (format!("s{}", n % 7), now - time::Duration::minutes(rng.random_range(0..3_000)));
        let hour = at.unix_timestamp() / 3_600;
        let sum = sums.entry((subject.clone(), hour)).or_default();
        for (sum, kind) in sum.iter_mut().zip(kinds) {
            *sum += i128::from(kind);
        }
        // Written as pending, then updated to the final status, as in a turn. Corrections are new rows.
        let row = Uuid::now_v7();
        let insert = "insert into ai_usage (ai_usage_id, turn_id, subject, model, model_price_id, status, estimated_tokens, reserved_tokens, created_at, settled_at, corrects, usage_source, input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, cost_usd, cache_write_long_tokens)
             values ($1, $1, $2, 'demo', $3, $4, 0, 0, $5, $6, $7, 'exact', $8, $9, $10, $11, $12, $13)";
        let (status, settled) = if correction { ("finished", Some(now)) } else { ("pending", None) };
        let zero = [0; 4];
        let first = if correction { &kinds } else { &zero };
        sqlx::query(insert)
            .bind(row)
            .bind(&subject)
            .bind(id)
            .bind(status)
            .bind(at)
            .bind(settled)
            .bind(correction.then(Uuid::now_v7))
            .bind(first[0])
            .bind(first[1])
            .bind(first[2])
            .bind(first[3])
            .bind(if correction { cost } else { Decimal::ZERO })
            .bind(if correction { long } else { 0 })
            .execute(&mut tx)
            .await
            .unwrap();
        if !correction {
            sqlx::query("update ai_usage set status = 'finished', settled_at = $2, input_tokens = $3, cache_read_tokens = $4, cache_write_tokens = $5, output_tokens = $6, cost_usd = $7, cache_write_long_tokens = $9 where created_at = $8 and ai_usage_id = $1")
                .bind(row).bind(now).bind(kinds[0]).bind(kinds[1]).bind(kinds[2]).bind(kinds[3]).bind(cost).bind(at).bind(long)
                .execute(&mut tx).await.unwrap();
        }
    }
    tx.commit().await.unwrap();
    let exact = Decimal::from_i128_with_scale(expected_picos, 12);
    assert_eq!(app.one::<Decimal>("select sum(cost_usd) from ai_usage").await, exact);
    assert_eq!(app.one::<Decimal>("select sum(cost_picos) * 0.000000000001 from usage_hour").await, exact);
    assert_eq!(app.one::<i64>("select sum(requests)::bigint from usage_hour").await, 9_000);
    let rows: Vec<(String, time::OffsetDateTime, i64, i64, i64, i64)> = sqlx::query_as(
        "select subject, hour, input_tokens, cache_read_tokens, cache_write_tokens, output_tokens from usage_hour join usage_subject using (subject_id)",
    )
    .fetch_all(&app.db)
    .await
    .unwrap();
    assert_eq!(rows.len(), sums.len());
    for (subject, hour, a, b, c, d) in rows {
        let expected = sums[&(subject.clone(), hour.unix_timestamp() / 3_600)];
        assert_eq!([a, b, c, d].map(i128::from), expected, "{subject} {hour}");
    }
}

/// The ratio of provider counts to our own is learned per model. Estimates then use its 99th percentile.
#[tokio::test]
async fn input_estimate_is_learned_from_reported_usage() {
    let app = app_with_high_limits(&[]).await;
    let ann = app.user("ann@example.com").await;
    ann.send_and_read("{{words:1}}").await;
    let insert_calls = |n: i32| {
        format!(
        "insert into ai_usage (ai_usage_id, turn_id, subject, model, model_price_id, status, usage_source, counted_tokens, estimated_tokens, reserved_tokens, input_tokens, output_tokens, created_at, settled_at)
         select gen_random_uuid(), gen_random_uuid(), 's', 'claude-haiku-4-5', (select model_price_id from model_price where model = 'claude-haiku-4-5'), 'finished', 'exact', 1000, 1350, 2000, 1100 + n, 5, now(), now() from generate_series(1, {n}) n"
    )
    };
    sqlx::query(sqlx::AssertSqlSafe(insert_calls(100))).execute(&app.db).await.unwrap();
    let month = time::OffsetDateTime::now_utc() - time::Duration::days(30);
    store::model::update_estimates(&app.store, month, 1_000).await.unwrap();
    assert_eq!(
        app.one::<Option<i64>>("select input_permille from model where model = 'claude-haiku-4-5'").await,
        None,
        "too few calls to learn from"
    );
    // From here on without a server, which would learn by itself, at whatever time its hourly job runs.
    let app = app.stop_server().await;
    sqlx::query(sqlx::AssertSqlSafe(insert_calls(200))).execute(&app.db).await.unwrap();
    // Nothing is learned from API calls, whose content programs choose.
    let by_api = insert_calls(20).replace("turn_id, subject,", "turn_id, purpose, subject,");
    let by_api =
        by_api.replace("gen_random_uuid(), 's',", "gen_random_uuid(), 'api', 's',").replace("1100 + n", "4000");
    sqlx::query(sqlx::AssertSqlSafe(by_api)).execute(&app.db).await.unwrap();
    // No more rows are read than allowed, however rarely a model is called.
    store::model::update_estimates(&app.store, month, 199).await.unwrap();
    let is_unknown = "select input_permille is null from model where model = 'claude-haiku-4-5'";
    assert!(app.one::<bool>(is_unknown).await, "199 calls are too few");
    let (url, _stop) = app.start_second().await; // It learns the ratio at startup.
    let ann = TestClient { url, ..ann };
    app.until("select coalesce(input_permille, 0) between 1290 and 1300 from model where model = 'claude-haiku-4-5'")
        .await;
    let before: i64 = app.one("select estimated_tokens from ai_usage where subject <> 's'").await;
    ann.send_and_read("{{words:1}}").await;
    let after: Value = json!(
        app.one::<i64>("select estimated_tokens from ai_usage where subject <> 's' order by created_at desc limit 1")
            .await
    );
    assert!(after.as_i64().unwrap() < before, "the estimate is {after}, was {before} before learning");
}
