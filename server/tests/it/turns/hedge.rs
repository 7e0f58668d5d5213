//! Hedging: after some silence the fallback is called too, the first response is used, and both calls are paid for.

use super::{app_with_high_limits, assert_all_settled, begun};
use crate::app::TestApp;
use crate::visitor::{TestClient, events, problem, words};
use domain::TurnEvent;
use http::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

const FIRST: &str = "gpt-5-mini";
const FALLBACK: &str = "claude-haiku-4-5";

/// Configures the first model to call the fallback too after `ms` milliseconds of silence. The fallback's prompts are cached.
async fn hedged(app: &TestApp, ms: i32) {
    sqlx::query("update model set fallback = $1, hedge_after_ms = $2 where model = $3")
        .bind(FALLBACK)
        .bind(ms)
        .bind(FIRST)
        .execute(&app.db)
        .await
        .unwrap();
    sqlx::query("update model set daily_spend_usd = 5, min_cacheable = 1").execute(&app.db).await.unwrap();
}

/// A ledger row: call number, model, status, usage source, and whether input and cost are the estimate, of a write to the cache where there is one.
type Row = (i32, String, String, String, bool);

async fn rows(app: &TestApp) -> Vec<Row> {
    sqlx::query_as(
        "select call_no, u.model, status, usage_source,
                case u.model when $1 then input_tokens else cache_write_tokens end = estimated_tokens and output_tokens = 0
                and cost_usd = estimated_tokens * coalesce(p.cache_write_micros_per_million, p.input_micros_per_million) / 1000000000000.0
         from ai_usage u join model_price p using (model_price_id) order by call_no",
    )
    .bind(FIRST)
    .fetch_all(&app.db)
    .await
    .unwrap()
}

fn row(call_no: i32, model: &str, status: &str, source: &str, is_estimate: bool) -> Row {
    (call_no, model.to_owned(), status.to_owned(), source.to_owned(), is_estimate)
}

/// Checks that the budgets of both models equal their cost in the ledger, with nothing reserved.
async fn budgets_are_the_ledger(app: &TestApp) {
    budgets_of(app, [FIRST, FALLBACK]).await;
}

/// Checks that the budgets of two models that were called equal their cost in the ledger. A budget that was never used has no meter.
async fn budgets_of(app: &TestApp, models: [&str; 2]) {
    for model in models {
        let nanos: i64 = sqlx::query_scalar(
            "select coalesce(sum(ceil(cost_usd * 1000000000)), 0)::bigint from ai_usage where model = $1",
        )
        .bind(model)
        .fetch_one(&app.db)
        .await
        .unwrap();
        assert_eq!(app.budget(Some(model)).await, (nanos.cast_unsigned(), 0), "{model}");
    }
}

/// Sends a message and waits until both models have been called.
async fn call_both(app: &TestApp, ann: &TestClient, text: &str) -> (Uuid, tokio::task::JoinHandle<reqwest::Response>) {
    let turn = Uuid::now_v7();
    let body = json!({"model": FIRST, "text": text, "turn_id": turn});
    let ann = ann.clone();
    let request = tokio::spawn(async move { ann.post(&body).await });
    app.until("select count(*) = 2 from ai_usage").await;
    while app.provider.call_count(text) < 2 {
        tokio::task::yield_now().await;
    }
    (turn, request)
}

#[tokio::test]
async fn the_fallback_answers_while_a_model_is_silent() {
    let app = app_with_high_limits(&[]).await;
    hedged(&app, 50).await;
    let ann = app.user("ann@example.com").await;
    let text = "{{mute:gpt-5-mini}}{{words:3}}";
    let events = events(ann.post(&json!({"model": FIRST, "text": text})).await).await;
    let TurnEvent::Turn { model, fallback_for, .. } = &events[0].1 else { panic!("{events:?}") };
    assert_eq!((model.0.as_str(), fallback_for.as_ref().unwrap().0.as_str()), (FALLBACK, FIRST));
    assert_eq!(words(&events), app.provider.served_calls()[0].text);
    assert_all_settled(&app, &ann).await;
    assert_eq!(
        rows(&app).await,
        [row(1, FIRST, "failed", "estimated", true), row(2, FALLBACK, "finished", "exact", false)]
    );
    let within = "select sum(input_tokens + output_tokens) <= max(reserved_tokens) from ai_usage";
    assert!(app.one::<bool>(within).await, "the reservation covers both calls");
    assert_eq!(app.one::<i64>("select sum(requests)::bigint from usage_hour").await, 1, "one request");
    budgets_are_the_ledger(&app).await;
}

#[tokio::test]
async fn a_silent_model_that_answers_first_is_used() {
    let app = app_with_high_limits(&[]).await;
    hedged(&app, 50).await;
    let ann = app.user("ann@example.com").await;
    let text = "{{late:gpt-5-mini}}{{mute:claude-haiku-4-5}}{{words:3}}";
    let (turn, request) = call_both(&app, &ann, text).await;
    // While both calls wait, the turn is shown once, with the model that was requested.
    shows_model(&app, &ann, turn, FIRST).await;
    let user: Uuid = app.one("select user_id from account").await;
    let held = store::turn::list_held(&app.store, user.into()).await.unwrap();
    assert_eq!(held.iter().map(|held| held.model.0.as_str()).collect::<Vec<_>>(), [FIRST]);
    app.provider.release();
    let events = events(request.await.unwrap()).await;
    let TurnEvent::Turn { model, fallback_for, .. } = &events[0].1 else { panic!("{events:?}") };
    assert_eq!((model.0.as_str(), fallback_for), (FIRST, &None));
    assert_all_settled(&app, &ann).await;
    assert_eq!(
        rows(&app).await,
        [row(0, FALLBACK, "failed", "estimated", true), row(1, FIRST, "finished", "exact", false)]
    );
    assert_eq!(app.one::<i64>("select sum(requests)::bigint from usage_hour").await, 1, "one request");
    budgets_are_the_ledger(&app).await;
}

/// Checks that a running turn is shown with the display name of this model.
async fn shows_model(app: &TestApp, ann: &TestClient, turn: Uuid, model: &str) {
    let status: Value = ann.get(&format!("/api/turns/{turn}")).await.json().await.unwrap();
    let label: String =
        sqlx::query_scalar("select label from model where model = $1").bind(model).fetch_one(&app.db).await.unwrap();
    assert_eq!((&status["state"], &status["latest"]["label"]), (&json!("running"), &json!(label)));
}

/// From the fallback's response on, a reload shows the fallback as the turn's model.
#[tokio::test]
async fn the_fallback_is_shown_while_it_answers() {
    let app = app_with_high_limits(&[]).await;
    hedged(&app, 50).await;
    let ann = app.user("ann@example.com").await;
    let (mut reading, turn) = begun(&ann, FIRST, "{{mute:gpt-5-mini}}{{words:4}}{{hold}}").await;
    shows_model(&app, &ann, turn, FALLBACK).await;
    app.provider.release();
    while reading.next().await.is_some() {}
    assert_all_settled(&app, &ann).await;
    assert_eq!(
        rows(&app).await,
        [row(1, FIRST, "failed", "estimated", true), row(2, FALLBACK, "finished", "exact", false)]
    );
}

/// A fallback whose circuit is open costs nothing, and the first call continues.
#[tokio::test]
async fn a_hedge_that_is_refused_costs_nothing() {
    let app = app_with_high_limits(&[]).await;
    hedged(&app, 50).await;
    let other = "update model set fallback = 'gpt-4o-mini' where model = 'gpt-5-mini'";
    sqlx::query(other).execute(&app.db).await.unwrap();
    app.cut_off("gpt-4o-mini").await;
    let ann = app.user("ann@example.com").await;
    // Six failures open its circuit.
    for _ in 0..2 {
        ann.post(&json!({"model": "gpt-4o-mini", "text": "{{words:1}}"})).await;
    }
    let before = rows(&app).await.len();
    let body = json!({"model": FIRST, "text": "{{late}}{{words:3}}"});
    let request = {
        let ann = ann.clone();
        tokio::spawn(async move { ann.post(&body).await })
    };
    app.until("select exists (select from ai_usage where status = 'pending' and call_no = 0)").await;
    app.provider.release();
    assert!(matches!(events(request.await.unwrap()).await.last(), Some((_, TurnEvent::Finish { .. }))));
    assert_all_settled(&app, &ann).await;
    let rows = rows(&app).await;
    assert_eq!(rows.len(), before + 2);
    assert!(rows.contains(&row(0, "gpt-4o-mini", "failed", "exact", false)), "{rows:?}");
    assert!(rows.contains(&row(1, FIRST, "finished", "exact", false)), "{rows:?}");
    let free = "select sum(cost_usd) = 0 and sum(input_tokens) = 0 from ai_usage where model = 'gpt-4o-mini'";
    assert!(app.one::<bool>(free).await);
    budgets_of(&app, [FIRST, "gpt-4o-mini"]).await;
}

/// A first call that was refused and waits for its retry costs nothing if the fallback answers meanwhile.
#[tokio::test]
async fn a_refused_call_is_not_charged_when_its_hedge_answers() {
    let app = app_with_high_limits(&[]).await;
    hedged(&app, 3_000).await;
    let ann = app.user("ann@example.com").await;
    let text = "{{status:429}}{{only:gpt-5-mini}}{{after:5}}{{words:3}}";
    let events = events(ann.post(&json!({"model": FIRST, "text": text})).await).await;
    let TurnEvent::Turn { model, .. } = &events[0].1 else { panic!("{events:?}") };
    assert_eq!(model.0, FALLBACK);
    assert_all_settled(&app, &ann).await;
    assert_eq!(
        rows(&app).await,
        [row(1, FIRST, "failed", "exact", false), row(2, FALLBACK, "finished", "exact", false)]
    );
    budgets_are_the_ledger(&app).await;
}

/// A silent call that is replaced by its hedge counts as a failure. Five of them open the circuit, and from then on only one call is made.
#[tokio::test]
async fn an_outage_behind_hedges_opens_the_circuit() {
    let app = app_with_high_limits(&[]).await;
    hedged(&app, 50).await;
    let ann = app.user("ann@example.com").await;
    for n in 0..6 {
        let text = format!("{{{{mute:gpt-5-mini}}}}{{{{words:1}}}} {n}");
        assert_eq!(events(ann.post(&json!({"model": FIRST, "text": text})).await).await.len(), 3);
        // By the ledger, because a first call that is given up may not have arrived at the provider yet.
        let given_up = "select count(*) from ai_usage where model = 'gpt-5-mini' and usage_source = 'estimated'";
        assert_eq!(app.one::<i64>(given_up).await, 5_i64.min(n + 1), "{n}");
        assert!(n < 5 || app.provider.call_count(&text) == 1, "the circuit is open");
    }
    assert_all_settled(&app, &ann).await;
    budgets_are_the_ledger(&app).await;
}

/// Stopping cancels both calls, and both are counted because the providers may bill them.
#[tokio::test]
async fn stop_ends_both_calls() {
    let app = app_with_high_limits(&[]).await;
    hedged(&app, 50).await;
    let ann = app.user("ann@example.com").await;
    let (turn, request) = call_both(&app, &ann, "{{mute}}").await;
    ann.request("POST", &format!("/api/turns/{turn}/stop")).send().await.unwrap();
    let response = request.await.unwrap();
    assert_eq!((response.status(), problem(response).await["kind"].as_str()), (StatusCode::CONFLICT, Some("conflict")));
    assert_all_settled(&app, &ann).await;
    assert_eq!(
        rows(&app).await,
        [row(0, FALLBACK, "failed", "estimated", true), row(1, FIRST, "failed", "estimated", true)]
    );
    assert_eq!(app.one::<i64>("select count(*) from message").await, 0);
    budgets_are_the_ledger(&app).await;
}

/// When a process dies while both calls wait, another server finalizes both with their estimated input.
#[tokio::test]
async fn both_calls_of_a_killed_process_are_finalized() {
    let app = app_with_high_limits(&[]).await;
    hedged(&app, 50).await;
    let ann = app.user("ann@example.com").await;
    let process = app.process(&[]).await;
    let there = TestClient { url: process.url.clone(), ..ann.clone() };
    let (_, request) = call_both(&app, &there, "{{mute}}").await;
    drop(process);
    request.abort();
    let expired = "update turn set alive_until = now() - interval '1 second'";
    sqlx::query(expired).execute(&app.db).await.unwrap();
    let (_, stop) = app.start_second().await; // Its reaper runs at startup.
    assert_all_settled(&app, &ann).await;
    stop.cancel();
    let rows = rows(&app).await;
    assert!(rows.len() == 2 && rows.iter().all(|row| row.3 == "estimated" && row.4), "{rows:?}");
    budgets_are_the_ledger(&app).await;
}

/// A user whose tokens suffice for only one call gets no hedge.
#[tokio::test]
async fn no_hedge_if_only_one_call_fits() {
    let app = app_with_high_limits(&[("PROVIDER_FIRST_BYTE_TIMEOUT_MS", "3000")]).await;
    hedged(&app, 50).await;
    let ann = app.user("ann@example.com").await;
    // 600 tokens of prompt and 256 of output fit once.
    let text = format!("{{{{mute:gpt-5-mini}}}}{}", " word".repeat(600));
    app.limits("free", 1_000, 1_200, 10).await;
    let response = ann.post(&json!({"model": FIRST, "text": text})).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(app.provider.call_count(&text), 1);
    assert_all_settled(&app, &ann).await;
}
