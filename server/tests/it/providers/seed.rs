//! The seed: the models and prices of the migrations, on a database without the test catalogue.

use super::ask;
use crate::app::TestApp;
use crate::visitor::events;
use domain::TurnEvent;
use rust_decimal::Decimal;
use serde_json::json;

/// A price in dollars per million tokens: input, cache reads, cache writes, longer cache writes, output.
type Prices = [&'static str; 5];

/// A model's name, its base prices, and the tier above a number of tokens.
type Row = (&'static str, Prices, Option<(i64, Prices)>);

/// The models that are switched on with a provider's key: name, price, and the price of prompts above a size.
const MODELS: [Row; 7] = [
    (
        "claude-haiku-5-5",
        ["0.10", "0.01", "0.125", "0.20", "0.50"],
        Some((100_000, ["0.50", "0.05", "0.625", "1.00", "2.50"])),
    ),
    ("claude-sonnet-5-5", ["2.00", "0.10", "2.50", "4.00", "10.00"], None),
    ("claude-opus-5-5", ["4.00", "0.20", "5.00", "8.00", "20.00"], None),
    ("claude-sonnet-4-6", ["3.00", "0.30", "3.75", "6.00", "15.00"], None),
    (
        "gpt-6-luna",
        ["0.10", "0.01", "0.125", "0.25", "0.50"],
        Some((272_000, ["0.20", "0.02", "0.25", "0.50", "0.75"])),
    ),
    (
        "gpt-6.1-terra",
        ["1.00", "0.05", "1.25", "2.50", "5.00"],
        Some((272_000, ["2.00", "0.10", "2.50", "5.00", "7.50"])),
    ),
    (
        "gpt-6.1-sol",
        ["2.00", "0.10", "2.50", "5.00", "10.00"],
        Some((272_000, ["4.00", "0.20", "5.00", "10.00", "15.00"])),
    ),
];

/// Field note 62: the models and prices of November 2026. Models that end within weeks are switched off, and keep their rows.
#[tokio::test]
async fn seeded_models_and_prices_are_those_of_today() {
    let app = TestApp::seeded().await;
    let on: Vec<String> =
        sqlx::query_scalar("select model from model where enabled order by sort").fetch_all(&app.db).await.unwrap();
    let names: Vec<&str> = MODELS.iter().map(|(name, ..)| *name).collect();
    assert_eq!(on, [&names[..], &["demo"]].concat());
    for (model, base, tier) in MODELS {
        let mut expected = vec![(None, base)];
        expected.extend(tier.map(|(above, prices)| (Some(above), prices)));
        let rows: Vec<(Option<i64>, i64, i64, i64, i64, i64)> = sqlx::query_as(
            "select above_tokens, input_micros_per_million, cache_read_micros_per_million, cache_write_micros_per_million,
               cache_write_long_micros_per_million, output_micros_per_million
             from model_price where model = $1 and effective_at <= now() order by above_tokens nulls first",
        )
        .bind(model)
        .fetch_all(&app.db)
        .await
        .unwrap();
        let found: Vec<_> = rows.into_iter().map(|(above, a, b, c, d, e)| (above, [a, b, c, d, e])).collect();
        let micros = |usd: &str| i64::try_from(usd.parse::<Decimal>().unwrap() * Decimal::from(1_000_000)).unwrap();
        let expected: Vec<_> = expected.into_iter().map(|(above, prices)| (above, prices.map(micros))).collect();
        assert_eq!(found, expected, "{model}");
    }
    for (plan, default) in [("free", "claude-haiku-5-5"), ("pro", "claude-sonnet-5-5"), ("max", "claude-sonnet-5-5")] {
        let sql = "select m.model from plan_model m join model using (model) where plan_id = $1 and enabled order by m.sort limit 1";
        let found: String = sqlx::query_scalar(sql).bind(plan).fetch_one(&app.db).await.unwrap();
        assert_eq!(found, default, "{plan}");
    }
    let ending =
        "select string_agg(model || ' ' || ends_at, ', ' order by ends_at) from model where ends_at is not null";
    assert_eq!(app.one::<String>(ending).await, "gpt-5-mini 2026-12-11, gpt-4o-mini 2027-01-14");
    let priced = "select count(distinct model_price.model) = count(distinct model.model) from model left join model_price using (model)";
    assert!(app.one::<bool>(priced).await, "no model is without a price");
}

/// The default model answers on each plan, as do all others that the plan allows.
#[tokio::test]
async fn every_seeded_model_answers() {
    let app = TestApp::seeded().await;
    app.limits("max", 1_000_000, 1_000_000_000, 1_000).await;
    let ann = app.user("ann@example.com").await;
    let default = async || {
        let all = events(ann.post(&json!({"text": "{{words:2}}"})).await).await;
        let TurnEvent::Turn { model, .. } = &all[0].1 else { panic!("{all:?}") };
        model.0.clone()
    };
    assert_eq!(default().await, "claude-haiku-5-5");
    app.plan("ann@example.com", "max").await;
    assert_eq!(default().await, "claude-sonnet-5-5");
    for (model, ..) in MODELS {
        let answer = ask(&ann, model, "{{words:2}}{{reasoning:2}}").await;
        assert_eq!(answer.text, "word1 word2 ", "{model}");
    }
    assert!(app.provider.violations().is_empty(), "{:?}", app.provider.violations());
    let page = ann.text("/chat").await;
    assert!(page.contains("Claude Haiku 5.5") && !page.contains("GPT-5 mini"), "models that are off aren't offered");
}
