//! Models and prices: added by a command, applied in the ledger.

use super::{dollars, ledger};
use crate::app::TestApp;
use crate::visitor::events;
use domain::{TurnEvent, UsageSource};
use http::StatusCode;
use rust_decimal::Decimal;
use serde_json::json;

/// A model without a price in force is unavailable, never free.
#[tokio::test]
async fn model_without_a_price_is_unavailable() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    sqlx::query("delete from model_price where model = 'claude-haiku-4-5'").execute(&app.db).await.unwrap();
    let response = ann.send_message("hi").await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(response.headers().contains_key("retry-after"));
    assert!(app.provider.served_calls().is_empty());
}

/// Two commands add a server that implements chat completions and a model of it. The second one also changes the model's price.
#[tokio::test]
async fn models_add_adds_a_model_and_changes_its_price() {
    use clap::Parser as _;
    use server::cli::{Cli, run};
    let app = TestApp::with(&[("ANTHROPIC_API_KEY", "")]).await;
    let ann = app.user("ann@example.com").await;
    let url = format!("{}/v1", app.provider.url());
    let words = ["quotient", "providers", "add", "home", "--format", "openai", "--base-url", &url];
    app.run(Cli::try_parse_from(words).unwrap().command.unwrap()).await;
    let add = |input: &str| {
        let input = format!("--input={input}");
        let words =
            ["quotient", "models", "add", "tiny", "--provider", "home", &input, "--output", "1.5", "--plans", "free"];
        let command = Cli::try_parse_from(words).unwrap().command.unwrap();
        let config = app.config.clone();
        async move { run(command, &config, &mut std::io::sink()).await }
    };
    for bad in ["-1", "0.0000001", "cheap"] {
        assert!(add(bad).await.is_err(), "{bad}");
    }
    for (price, micros) in [("0.5", 500_000), ("0.75", 750_000)] {
        add(price).await.unwrap();
        let answer = events(ann.post(&json!({"model": "tiny", "text": "{{words:5}}"})).await).await;
        assert!(
            matches!(answer.last(), Some((_, TurnEvent::Finish { usage_source: UsageSource::Exact, .. }))),
            "{answer:?}"
        );
        let served = app.provider.served_calls().pop().unwrap();
        let row = ledger(&app).await.pop().unwrap();
        assert_eq!(row.6, dollars(served.input * micros + served.output * 1_500_000));
    }
    assert!(ann.text("/chat").await.contains("tiny"));
    // The same command moves the model to another provider.
    let words = ["quotient", "models", "add", "tiny", "--provider", "anthropic", "--input", "1", "--output", "2"];
    app.run(Cli::try_parse_from(words).unwrap().command.unwrap()).await;
    assert!(app.one::<bool>("select provider = 'anthropic' and label = 'tiny' from model where model = 'tiny'").await);
    // A new price for an existing model changes only the price, not its name, limits, plans or state.
    let settings = "select label || ' ' || context || ' ' || max_output || ' ' || enabled || ' ' ||
                  (select string_agg(plan_id, ',' order by plan_id) from plan_model m where m.model = model.model)
                from model where model = 'claude-haiku-4-5'";
    sqlx::query("update model set enabled = false where model = 'claude-haiku-4-5'").execute(&app.db).await.unwrap();
    let before: String = app.one(settings).await;
    let words = [
        "quotient",
        "models",
        "add",
        "claude-haiku-4-5",
        "--provider",
        "anthropic",
        "--input",
        "1.10",
        "--output",
        "5.50",
    ];
    let output = app.run(Cli::try_parse_from(words).unwrap().command.unwrap()).await;
    assert!(output.contains("is switched off"), "{output}");
    assert_eq!(app.one::<String>(settings).await, before);
    assert!(app.one::<bool>("select input_micros_per_million = 1100000 from model_price where model = 'claude-haiku-4-5' order by effective_at desc limit 1").await);
}

/// Field note 28: a new price applies to later calls only.
#[tokio::test]
async fn new_price_applies_to_later_calls_only() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    ann.send_and_read("{{words:10}}").await;
    sqlx::query("insert into model_price (model_price_id, model, effective_at, input_micros_per_million, output_micros_per_million) values (gen_random_uuid(), 'claude-haiku-4-5', now(), 2000000, 10000000)")
        .execute(&app.db)
        .await
        .unwrap();
    ann.send_and_read("{{words:10}}").await;
    let rows = ledger(&app).await;
    assert_eq!(rows[0].6 * Decimal::TWO, rows[1].6);
    let changed = sqlx::query("update ai_usage set cost_usd = 0 where status = 'finished'").execute(&app.db).await;
    assert!(changed.is_err(), "a final row can't be changed");
    let negative = sqlx::query("insert into model_price (model_price_id, model, effective_at, input_micros_per_million, output_micros_per_million) values (gen_random_uuid(), 'demo', now(), -1, 1)").execute(&app.db).await;
    assert!(negative.is_err(), "field note 29: a price can't be negative");
}
