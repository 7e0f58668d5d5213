//! True usage: what is booked is what the provider bills, however it reports it.

use super::{Expected, HAIKU, MINI, app, ask, assert_row, finish, rows, tokens};
use crate::turns::assert_all_settled;
use domain::UsageSource;

/// Field notes 44, 45, 47, 49, 54 and 55: usage in the shapes of several servers, compared with the whole ledger row.
#[tokio::test]
async fn reported_usage_is_booked_exactly() {
    let app = app().await;
    let ann = app.user("ann@example.com").await;
    for (fixture, model, usage, id, status) in [
        ("44-reasoning-beside", MINI, tokens(26, 6, 0, 0, 103, 94), Some("chatcmpl-44"), "finished"),
        ("44-total-only", MINI, tokens(7, 0, 0, 0, 200, 0), Some("chatcmpl-44"), "finished"),
        ("44-inside", MINI, tokens(500, 0, 0, 0, 500, 200), Some("chatcmpl-44"), "finished"),
        ("45-nulls", MINI, tokens(9, 0, 0, 0, 2, 0), Some("chatcmpl-45"), "finished"),
        ("47-parts", MINI, tokens(9, 0, 0, 0, 2, 0), Some("chatcmpl-47"), "finished"),
        ("49-later-zero", HAIKU, tokens(21, 1_000, 300, 0, 15, 0), Some("msg_49"), "finished"),
        ("49-two-deltas", HAIKU, tokens(21, 1_000, 300, 0, 15, 0), Some("msg_49"), "truncated"),
        ("54-start-text", HAIKU, tokens(21, 0, 0, 0, 15, 0), Some("msg_54"), "finished"),
        ("55-cache-lifetimes", HAIKU, tokens(21, 1_000, 300, 200, 15, 0), Some("msg_55"), "finished"),
    ] {
        for bytes in ["", "{{bytes}}"] {
            let answer = ask(&ann, model, &format!("{{{{fixture:{fixture}}}}}{bytes}")).await;
            let event = finish(&answer);
            assert_eq!((event.0, event.1, event.2), (status, usage, UsageSource::Exact), "{fixture}");
            assert_row(&app, &answer, Expected { status, request_id: id, ..Expected::exact(model, usage) }).await;
        }
    }
    assert_all_settled(&app, &ann).await;
}

/// Field note 55: both lifetimes of cache writes have their own price, also in the fake provider's own responses.
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
    // Without a price for the longer lifetime the shorter one's applies, and without any the input price.
    let answer = ask(&ann, MINI, "{{words:2}}{{cachewrite:100}}").await;
    let served = app.provider.served_calls().pop().unwrap();
    let usage = tokens(served.input, 0, 100, 0, 4, 0);
    assert_row(&app, &answer, Expected { request_id: Some("chatcmpl-fake"), ..Expected::exact(MINI, usage) }).await;
}

/// Numbers that contradict each other are a lower bound, and the row says so.
#[tokio::test]
async fn contradicting_numbers_are_marked_as_estimates() {
    let app = app().await;
    let ann = app.user("ann@example.com").await;
    for (model, text) in [
        (MINI, "{{words:30}}{{nousage}}"),
        (HAIKU, "{{words:30}}{{nousage}}"),
        (MINI, "{{words:30}}{{bill:40,0,0,0,0,0}}"),
    ] {
        let answer = ask(&ann, model, text).await;
        assert_eq!((finish(&answer).0, finish(&answer).2), ("finished", UsageSource::Estimated), "{model} {text}");
        let row = rows(&app, answer.turn).await.remove(0);
        assert_eq!(
            (row.status.as_str(), row.usage_source.as_deref()),
            ("finished", Some("estimated")),
            "{model} {text}"
        );
        assert!(row.output_tokens >= 60 && row.input_tokens > 0, "{row:?}");
        assert!(row.total().cast_signed() <= row.reserved_tokens, "{row:?}");
    }
    assert_all_settled(&app, &ann).await;
}
