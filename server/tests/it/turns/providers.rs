//! Providers that fail midway, are busy or silent, and fallbacks.

use super::{BOTH, app_with_high_limits, assert_all_settled, begun, row};
use crate::visitor::{events, problem, words};
use domain::{Outcome, TurnEvent};
use http::StatusCode;
use rust_decimal::Decimal;
use serde_json::json;
use std::time::{Duration, Instant};

/// Field notes 20, 21, 23 and 25: after any provider failure midway, the partial response is kept and marked, and there is one final row.
#[tokio::test]
async fn interrupted_responses_are_kept_and_counted() {
    let app = app_with_high_limits(&[]).await;
    let ann = app.user("ann@example.com").await;
    for model in BOTH {
        for (fault, outcome) in [
            ("{{break:3}}", "failed"),
            ("{{error:3}}", "failed"),
            ("{{garbage:3}}", "failed"),
            ("{{silent:3}}", "failed"),
            ("{{cut:3}}", "failed"),
            ("{{nousage}}", "finished"),
        ] {
            // Only the silent response waits for the timeout. The words before its silence must all arrive within it.
            let idle_ms = (fault == "{{silent:3}}").then_some(3_000_i32);
            sqlx::query("update model set idle_timeout_ms = $1").bind(idle_ms).execute(&app.db).await.unwrap();
            let text = format!("{{{{words:6}}}}{fault}");
            let (mut reading, turn) = begun(&ann, model, &text).await;
            let mut last = None;
            let mut received = String::new();
            while let Some((_, event)) = reading.next().await {
                if let TurnEvent::Delta { text } = &event {
                    received.push_str(text);
                }
                last = Some(event);
            }
            let (status, source, input, output, _) = row(&app, turn).await;
            let served = app.provider.served_calls().pop().unwrap();
            assert_eq!((status.as_str(), source.as_str()), (outcome, "estimated"), "{model} {fault}");
            assert_eq!(matches!(last, Some(TurnEvent::Failed { .. })), outcome == "failed", "{model} {fault} {last:?}");
            assert_eq!(received, served.text, "{model} {fault}");
            // Anthropic reports the input at the start. Counts that aren't reported are estimated, and never too low.
            assert!(
                input as u64 >= served.input && output as u64 >= served.output,
                "{model} {fault}: {input} {output} {served:?}"
            );
            let marked: String =
                sqlx::query_scalar("select status from message where turn_id = $1 and role = 'assistant'")
                    .bind(turn)
                    .fetch_one(&app.db)
                    .await
                    .unwrap();
            assert_eq!(marked, outcome, "{model} {fault}");
            let sql = "select provider_failed from ai_usage where turn_id = $1";
            let provider_failed: bool = sqlx::query_scalar(sql).bind(turn).fetch_one(&app.db).await.unwrap();
            assert_eq!(provider_failed, outcome == "failed", "{model} {fault}");
        }
    }
    assert_all_settled(&app, &ann).await;
}

/// Characters that arrive byte by byte are complete in the events and in the stored message.
#[tokio::test]
async fn one_byte_at_a_time_breaks_no_character() {
    let app = app_with_high_limits(&[]).await;
    let ann = app.user("ann@example.com").await;
    for model in BOTH {
        let events = events(ann.post(&json!({"model": model, "text": "{{bytes}}"})).await).await;
        let (text, served) = (words(&events), app.provider.served_calls().pop().unwrap());
        assert_eq!(text, served.text);
        assert!(!text.contains('\u{fffd}') && text.contains("世界") && text.contains("👨‍👩‍👧‍👦"), "{text}");
        assert_eq!(
            app.one::<String>("select body from message where role = 'assistant' order by created_at desc limit 1")
                .await,
            text
        );
    }
}

/// A busy provider is retried at most twice, not before its `Retry-After`. Refused calls cost nothing and leave one row.
#[tokio::test]
async fn busy_provider_is_retried_twice() {
    let app = app_with_high_limits(&[]).await;
    let ann = app.user("ann@example.com").await;
    for (status, after, min_ms) in [(529, 0, 100), (503, 0, 100), (429, 1, 2_000)] {
        let text = format!("{{{{words:3}}}}{{{{status:{status}}}}}{{{{times:2}}}}{{{{after:{after}}}}}");
        let began = Instant::now();
        let events = events(ann.send_message(&text).await).await;
        assert!(matches!(events.last(), Some((_, TurnEvent::Finish { outcome: Outcome::Finished, .. }))), "{text}");
        assert_eq!(app.provider.call_count(&text), 3, "{text}");
        assert!(began.elapsed() >= Duration::from_millis(min_ms), "{text} took {:?}", began.elapsed());
    }
    assert_eq!(app.one::<i64>("select count(*) from ai_usage where usage_source = 'exact'").await, 3);
    // The turn fails after three refusals, or after one with a long `Retry-After`.
    for (text, calls, seconds) in
        [("{{status:529}}{{after:0}}", 3, 1), ("{{status:429}}{{after:30}}", 1, 30), ("{{status:400}}", 1, 0)]
    {
        let response = ann.send_message(text).await;
        assert_eq!(app.provider.call_count(text), calls, "{text}");
        let expected = if seconds > 0 { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::BAD_GATEWAY };
        assert_eq!(response.status(), expected, "{text}");
        if seconds > 0 {
            assert_eq!(response.headers()["retry-after"], seconds.to_string().as_str(), "{text}");
        }
    }
    let failed = "select count(*) from ai_usage where status = 'failed' and cost_usd = 0 and usage_source = 'exact'";
    assert_eq!(app.one::<i64>(failed).await, 3);
    assert_all_settled(&app, &ann).await;
}

/// A provider that accepts a call and stays silent may still bill it. The call isn't retried and is counted as an estimate.
#[tokio::test]
async fn silent_provider_is_not_retried_and_is_counted() {
    let app = app_with_high_limits(&[("PROVIDER_FIRST_BYTE_TIMEOUT_MS", "3000")]).await;
    let ann = app.user("ann@example.com").await;
    let response = ann.send_message("{{mute}}").await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(problem(response).await["kind"], "model_unavailable");
    assert_eq!(app.provider.call_count("{{mute}}"), 1);
    let counted = "select status = 'failed' and usage_source = 'estimated' and input_tokens = estimated_tokens and cost_usd > 0 from ai_usage";
    assert!(app.one::<bool>(counted).await);
    // The message and its turn are undone.
    assert_eq!(app.one::<i64>("select count(*) from message").await, 0);
    assert_eq!(app.one::<i64>("select count(*) from turn").await, 0);
    let quota = ann.quota().await;
    assert_eq!(quota["tokens"]["reserved"], 0);
    assert!(quota["tokens"]["used"].as_u64().unwrap() > 0);
}

/// When a model can't be reached, its fallback answers. The response names it, its own price applies, and each call has a row.
#[tokio::test]
async fn fallback_answers_for_an_unreachable_model() {
    let app = app_with_high_limits(&[]).await;
    let ann = app.user("ann@example.com").await;
    app.cut_off("gpt-5-mini").await;
    app.sql("update model set fallback = 'claude-haiku-4-5' where model = 'gpt-5-mini'").await;
    let events = events(ann.post(&json!({"model": "gpt-5-mini", "text": "{{words:3}}"})).await).await;
    let TurnEvent::Turn { model, fallback_for, .. } = &events[0].1 else { panic!("{events:?}") };
    assert_eq!((model.0.as_str(), fallback_for.as_ref().unwrap().0.as_str()), ("claude-haiku-4-5", "gpt-5-mini"));
    let rows: Vec<(i32, String, String, Decimal)> =
        sqlx::query_as("select call_no, model, status, cost_usd from ai_usage order by call_no")
            .fetch_all(&app.db)
            .await
            .unwrap();
    let served = app.provider.served_calls().remove(0);
    let cost = Decimal::new((served.input * 1_000_000 + served.output * 5_000_000) as i64, 12);
    assert_eq!(
        rows,
        [
            (1, "gpt-5-mini".to_owned(), "failed".to_owned(), Decimal::ZERO),
            (2, "claude-haiku-4-5".to_owned(), "finished".to_owned(), cost),
        ]
    );
    assert_eq!(app.one::<i64>("select sum(requests)::bigint from usage_hour").await, 1, "counted as one request");
    assert_all_settled(&app, &ann).await;
    // On a plan without the fallback, the request is refused.
    sqlx::query("delete from plan_model where plan_id = 'free' and model = 'claude-haiku-4-5'")
        .execute(&app.db)
        .await
        .unwrap();
    let response = ann.post(&json!({"model": "gpt-5-mini", "text": "{{words:3}}"})).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
}

/// A fallback spends from its own budget, not from that of the requested model. A fallback whose budget is used up doesn't prevent calls to
/// the requested model.
#[tokio::test]
async fn fallback_spends_from_its_own_budget() {
    let app = app_with_high_limits(&[]).await;
    let ann = app.user("ann@example.com").await;
    app.cut_off("gpt-5-mini").await;
    app.sql("update model set fallback = 'claude-haiku-4-5', daily_spend_usd = 5 where model = 'gpt-5-mini'").await;
    sqlx::query("update model set daily_spend_usd = 5 where model = 'claude-haiku-4-5'")
        .execute(&app.db)
        .await
        .unwrap();
    events(ann.post(&json!({"model": "gpt-5-mini", "text": "{{words:3}}"})).await).await;
    assert_all_settled(&app, &ann).await;
    let nanos: i64 = app.one("select sum(ceil(cost_usd * 1000000000))::bigint from ai_usage").await;
    assert_eq!(app.budget(Some("claude-haiku-4-5")).await, (nanos as u64, 0));
    assert_eq!(app.budget(Some("gpt-5-mini")).await, (0, 0));
    // The fallback has no budget left, and the requested model still works.
    sqlx::query("update model set daily_spend_usd = 0 where model = 'claude-haiku-4-5'")
        .execute(&app.db)
        .await
        .unwrap();
    app.move_model("gpt-5-mini", "openai").await;
    assert_eq!(events(ann.post(&json!({"model": "gpt-5-mini", "text": "{{words:1}}"})).await).await.len(), 3);
}

/// The circuit of a provider that failed repeatedly opens; messages are refused at once, and the owner sees it.
#[tokio::test]
async fn the_circuit_of_a_failing_provider_opens() {
    let app = app_with_high_limits(&[]).await;
    let ann = app.user("ann@example.com").await;
    for n in 0..2 {
        let response = ann.send_message(&format!("{{{{status:500}}}}{{{{after:0}}}} {n}")).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
    let text = "{{words:1}} recovered?";
    let response = ann.send_message(text).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let seconds: u64 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=10).contains(&seconds), "{seconds}");
    assert_eq!(app.provider.call_count(text), 0, "the provider must not be called");
    // The other provider is unaffected.
    let other = ann.post(&json!({"model": "gpt-5-mini", "text": "{{words:1}}"})).await;
    assert_eq!(events(other).await.len(), 3);
    let admin = app.user("admin@example.com").await;
    assert!(admin.text("/admin/health").await.contains("Circuit open"));
}
