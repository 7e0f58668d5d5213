//! True usage in the fake provider's own responses, and numbers that can't be true.

use super::{Expected, HAIKU, MINI, app, ask, assert_row, finish, rows, tokens};
use crate::turns::assert_all_settled;
use domain::UsageSource;

/// Field note 55: both lifetimes of cache writes have their own price.
#[tokio::test]
async fn both_lifetimes_of_cache_writes_are_priced() {
    let app = app().await;
    let ann = app.user("ann@example.com").await;
    let answer = ask(&ann, HAIKU, "{{words:2}}{{cachewrite:100}}{{cachewrite1h:200}}{{cached:50}}").await;
    let usage = tokens(0, 50, 300, 200, 4, 0);
    assert_row(&app, &answer, Expected { request_id: Some("msg_fake"), ..Expected::exact(HAIKU, usage) }).await;
    // $0.10, $1.25, $2.00 and $5.00 per million.
    let picos: i64 = 50 * 100_000 + 100 * 1_250_000 + 200 * 2_000_000 + 4 * 5_000_000;
    let cost = format!("{:.12}", rust_decimal::Decimal::new(picos, 12));
    assert_eq!(rows(&app, answer.turn).await[0].cost_usd, cost);
    // Without a price for the longer lifetime the shorter one's applies, and without that the input price.
    for (price, micros) in [("1250000", 1_250_000), ("null", 1_000_000)] {
        let sql = format!(
            "insert into model_price (model_price_id, model, effective_at, input_micros_per_million, cache_write_micros_per_million, output_micros_per_million)
             values (gen_random_uuid(), 'claude-haiku-4-5', now(), 1000000, {price}, 5000000)"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&app.db).await.unwrap();
        let answer = ask(&ann, HAIKU, "{{words:1}}{{cachewrite1h:200}}").await;
        let picos = 200 * micros + 2 * 5_000_000;
        let cost = format!("{:.12}", rust_decimal::Decimal::new(picos, 12));
        assert_eq!(rows(&app, answer.turn).await[0].cost_usd, cost, "{price}");
    }
}

/// Field note 44: numbers that contradict each other, or that are missing, are a lower bound, and the row says so.
#[tokio::test]
async fn contradicting_numbers_are_marked_as_estimates() {
    let app = app().await;
    let ann = app.user("ann@example.com").await;
    for (model, text, input, output) in [
        (MINI, "{{fixture:44-adds-up-to-nothing}}", Some(9), 4),
        // The head's count is not that of the response.
        (HAIKU, "{{fixture:44-anthropic-no-final-usage}}", Some(9), 2),
        (MINI, "{{words:30}}{{nousage}}", None, 60),
        (HAIKU, "{{words:30}}{{nousage}}", None, 60),
        (MINI, "{{words:30}}{{bill:40,0,0,0,0,0}}", Some(40), 60),
    ] {
        let answer = ask(&ann, model, text).await;
        assert_eq!((finish(&answer).0, finish(&answer).2), ("finished", UsageSource::Estimated), "{model} {text}");
        let row = rows(&app, answer.turn).await.remove(0);
        assert_eq!(
            (row.status.as_str(), row.usage_source.as_deref(), row.provider_failed),
            ("finished", Some("estimated"), false)
        );
        assert!(input.is_none_or(|input| row.input_tokens == input) && row.input_tokens > 0, "{row:?}");
        assert!(row.output_tokens >= output && row.total().cast_signed() <= row.reserved_tokens, "{row:?}");
    }
    assert_all_settled(&app, &ann).await;
}
