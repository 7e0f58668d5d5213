//! Prompt caching: what it saves in a long conversation, measured with the fake provider, which caches as Anthropic does.

use super::ask_in;
use crate::app::TestApp;
use crate::turns::assert_all_settled;
use crate::visitor::TestClient;
use domain::Picos;
use rust_decimal::Decimal;
use time::OffsetDateTime;
use uuid::Uuid;

/// What the input of one conversation costs, in dollars.
async fn input_cost(app: &TestApp, ann: &TestClient) -> Decimal {
    let before: Decimal = app.one(INPUT).await;
    let question = "a question of some length about the lease, its end and its costs ".repeat(8);
    let mut conversation: Option<Uuid> = None;
    for n in 0..20 {
        let text = format!("{{{{words:100}}}} {n} {question}");
        let answer = ask_in(ann, conversation, "claude-sonnet-5-5", &text).await;
        conversation = Some(answer.conversation);
    }
    assert_all_settled(app, ann).await;
    app.one::<Decimal>(INPUT).await - before
}

const INPUT: &str = "select coalesce(sum(cost_usd - output_tokens * output_micros_per_million / 1000000000000.0), 0)
                     from ai_usage join model_price using (model_price_id)";

/// The input of a conversation of twenty turns costs less with cache marks than without, what was billed is what was booked, and `/admin`
/// shows the difference.
#[tokio::test]
async fn cache_marks_make_a_long_conversation_cheaper() {
    let app = TestApp::seeded().await;
    app.limits("pro", 1_000_000, 1_000_000_000, 1_000).await;
    let (ann, admin) = (app.user("ann@example.com").await, app.user("admin@example.com").await);
    app.plan("ann@example.com", "pro").await;
    let with = input_cost(&app, &ann).await;
    let served = app.provider.served_calls();
    assert!(served[10].cache_read > served[10].input && served[10].cache_write > 0, "{:?}", served[10]);
    let sums: (i64, i64, i64) = sqlx::query_as(
        "select sum(input_tokens)::bigint, sum(cache_read_tokens)::bigint, sum(cache_write_tokens)::bigint from ai_usage",
    )
    .fetch_one(&app.db)
    .await
    .unwrap();
    let sum = |of: fn(&fakes::Served) -> u64| served.iter().map(of).sum::<u64>().cast_signed();
    assert_eq!(sums, (sum(|call| call.input), sum(|call| call.cache_read), sum(|call| call.cache_write)));

    // What was saved: tokens read at the lower price, less what writing them cost.
    let saved = Picos(
        app.one(
            "select (sum(cache_read_tokens * (input_micros_per_million - cache_read_micros_per_million)
                         - cache_write_tokens * (cache_write_micros_per_million - input_micros_per_million)))::bigint
             from ai_usage join model_price using (model_price_id)",
        )
        .await,
    );
    let shown_saving = async || {
        let now = OffsetDateTime::now_utc();
        let day = (now - time::Duration::DAY, now);
        store::rollup::cache_savings(&app.store, day, store::rollup::Include::Everything).await.unwrap()
    };
    assert_eq!(shown_saving().await, saved, "before a refresh");
    app.refresh_report().await;
    assert_eq!(shown_saving().await, saved, "after a refresh");
    assert!(admin.text("/admin").await.contains(&saved.to_string()), "{saved} saved");
    store::rollup::rebuild(&app.store).await.unwrap();
    assert_eq!(shown_saving().await, saved, "after a rebuild");

    app.sql("update model set min_cacheable = null").await;
    let without = input_cost(&app, &ann).await;
    assert!(app.provider.served_calls()[20..].iter().all(|call| call.cache_read + call.cache_write == 0));
    let expected = (with + saved.to_usd()).round_dp(9);
    assert_eq!(expected, without.round_dp(9), "the same conversation without caching");
    // Shown with `--nocapture`.
    #[allow(clippy::print_stdout, reason = "a measurement")]
    {
        println!("input cost of 20 turns: ${with:.4} with cache marks, ${without:.4} without");
    }
    assert!(with * Decimal::TWO < without, "{with} {without}");
    assert!(app.provider.violations().is_empty(), "{:?}", app.provider.violations());
}
