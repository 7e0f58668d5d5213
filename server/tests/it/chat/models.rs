//! Models and their prices, from a command to the ledger.

use super::{dollars, ledger};
use crate::app::TestApp;
use crate::visitor::events;
use domain::{TurnEvent, UsageSource};
use http::StatusCode;
use rust_decimal::Decimal;
use serde_json::json;

/// A model whose price has run out of force is not for sale, and never free.
#[tokio::test]
async fn a_model_without_a_price_is_never_free() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    sqlx::query("delete from model_price where model = 'claude-haiku-4-5'").execute(&app.db).await.unwrap();
    let response = ann.ask("hi").await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(response.headers().contains_key("retry-after"));
    assert!(app.provider.served().is_empty());
}

/// Any server that speaks chat completions becomes usable by one command, and a changed price by the same.
#[tokio::test]
async fn a_model_is_added_by_a_command() {
    use clap::Parser as _;
    use server::cli::{Cli, run};
    let app = TestApp::with(&[("ANTHROPIC_API_KEY", "")]).await;
    let ann = app.user("ann@example.com").await;
    let add = |input: &str| {
        let url = format!("{}/v1", app.provider.url());
        let input = format!("--input={input}");
        let words = [
            "quotient",
            "models",
            "add",
            "tiny",
            "--provider",
            "openai",
            "--base-url",
            &url,
            &input,
            "--output",
            "1.5",
            "--plans",
            "free",
        ];
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
        let served = app.provider.served().pop().unwrap();
        let row = ledger(&app).await.pop().unwrap();
        assert_eq!(row.6, dollars(served.input * micros + served.output * 1_500_000));
    }
    assert!(ann.text("/chat").await.contains("tiny"));
    // one that goes to another provider isn't asked for at the old one's address
    let words = ["quotient", "models", "add", "tiny", "--provider", "anthropic", "--input", "1", "--output", "2"];
    app.run(Cli::try_parse_from(words).unwrap().command.unwrap()).await;
    assert!(app.one::<bool>("select base_url is null and label = 'tiny' from model where model = 'tiny'").await);
    // a new price of one that is there changes nothing but the price: it keeps its name, its room, its plans and its switch
    let told = "select label || ' ' || context || ' ' || max_output || ' ' || enabled || ' ' ||
                  (select string_agg(plan_id, ',' order by plan_id) from plan_model m where m.model = model.model)
                from model where model = 'claude-haiku-4-5'";
    sqlx::query("update model set enabled = false where model = 'claude-haiku-4-5'").execute(&app.db).await.unwrap();
    let before: String = app.one(told).await;
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
    let said = app.run(Cli::try_parse_from(words).unwrap().command.unwrap()).await;
    assert!(said.contains("is switched off"), "{said}");
    assert_eq!(app.one::<String>(told).await, before);
    assert!(app.one::<bool>("select input = 1100000 from model_price where model = 'claude-haiku-4-5' order by effective_at desc limit 1").await);
}

/// Field note 28: history keeps its price.
#[tokio::test]
async fn a_new_price_changes_what_comes_and_not_what_was() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    ann.answer("{{words:10}}").await;
    sqlx::query("insert into model_price (model_price_id, model, effective_at, input, output) values (gen_random_uuid(), 'claude-haiku-4-5', now(), 2000000, 10000000)")
        .execute(&app.db)
        .await
        .unwrap();
    ann.answer("{{words:10}}").await;
    let rows = ledger(&app).await;
    assert_eq!(rows[0].6 * Decimal::TWO, rows[1].6);
    let changed = sqlx::query("update ai_usage set cost_usd = 0 where status = 'finished'").execute(&app.db).await;
    assert!(changed.is_err(), "a final row never changes");
    let negative = sqlx::query("insert into model_price (model_price_id, model, effective_at, input, output) values (gen_random_uuid(), 'demo', now(), -1, 1)").execute(&app.db).await;
    assert!(negative.is_err(), "field note 29: no negative price");
}
