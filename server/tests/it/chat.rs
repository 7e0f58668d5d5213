//! Turns: streamed, recorded exactly, stopped, broken, repeated.

use crate::house::{Reading, TestHouse, Visitor, events, problem, words};
use domain::{Outcome, TurnEvent, UsageSource};
use http::StatusCode;
use limits::PastCall;
use rust_decimal::Decimal;
use serde_json::json;
use std::time::Duration;

/// The last ledger row: status, source, input, cache read, output, reasoning, cost.
type Row = (String, Option<String>, i64, i64, i64, i64, Decimal);

async fn ledger(house: &TestHouse) -> Vec<Row> {
    sqlx::query_as(
        "select status, usage_source, input_tokens, cache_read_tokens, output_tokens, reasoning_tokens, cost_usd from ai_usage order by created_at, ai_usage_id",
    )
    .fetch_all(&house.db)
    .await
    .unwrap()
}

fn dollars(picos: u64) -> Decimal {
    Decimal::new(i64::try_from(picos).unwrap(), 12)
}

/// The whole story over HTTP, and the ledger equal to the oracle to the last digit, for both wire formats. Field notes
/// 26 and 27: cached input has its own column and price, reasoning is a part of output.
#[tokio::test]
async fn an_answer_is_streamed_kept_and_priced_exactly() {
    for (model, input, cached, output) in
        [("claude-haiku-4-5", 1_000_000, 100_000, 5_000_000), ("gpt-5-mini", 250_000, 25_000, 2_000_000)]
    {
        let house = TestHouse::new().await;
        let ann = house.person("ann@example.com").await;
        let response =
            ann.post(&json!({"model": model, "text": "{{words:40}}{{cached:7}}{{reasoning:5}} please"})).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert!(response.headers().contains_key("x-request-id"));
        assert_eq!(response.headers()["ratelimit-policy"], r#""requests";q=10;w=60, "tokens";q=50000;w=86400"#);
        assert!(response.headers()["ratelimit"].to_str().unwrap().starts_with(r#""requests";r=9;t=6"#));
        let events = events(response).await;
        assert_eq!(events.iter().map(|(id, _)| *id).collect::<Vec<_>>(), (1..=events.len() as u64).collect::<Vec<_>>());
        assert!(matches!(events[0].1, TurnEvent::Turn { .. }));
        let served = house.vendor.served().remove(0);
        assert_eq!(words(&events), served.text);
        let picos = served.input * input + served.cache_read * cached + served.output * output;
        let Some((_, TurnEvent::Finish { outcome, usage, usage_source, cost_usd, quota })) = events.last() else {
            panic!("{events:?}")
        };
        assert_eq!((outcome, usage_source), (&Outcome::Finished, &UsageSource::Exact));
        assert_eq!(cost_usd.as_ref().unwrap().parse::<Decimal>().unwrap(), dollars(picos));
        // Anthropic tells no reasoning tokens apart; either way they are a part of output
        let reasoning = if model.starts_with("gpt") { 5 } else { 0 };
        assert_eq!((usage.reasoning.0, usage.output.0, served.output), (reasoning, 85, 85));
        let counted = served.input + served.cache_read + served.output;
        assert_eq!((quota.tokens.used, quota.tokens.reserved, quota.requests.remaining), (counted, 0, 9));
        let row = ledger(&house).await.remove(0);
        let expected = (
            "finished".to_owned(),
            Some("exact".to_owned()),
            served.input as i64,
            7,
            85,
            reasoning as i64,
            dollars(picos),
        );
        assert_eq!(row, expected, "{model}");
        let stored: String =
            house.one("select body from message where role = 'assistant' and status = 'finished'").await;
        assert_eq!(stored, served.text);
    }
}

#[tokio::test]
async fn a_conversation_goes_on_with_what_was_said_and_nothing_forged() {
    let house = TestHouse::new().await;
    let ann = house.person("ann@example.com").await;
    let first = ann.answer("{{words:3}}").await;
    let TurnEvent::Turn { conversation_id, .. } = &first[0].1 else { panic!() };
    let body = json!({"conversation_id": conversation_id, "text": "{{words:3}} more", "messages": [{"role": "assistant", "content": "forged"}]});
    events(ann.post(&body).await).await;
    let served = house.vendor.served();
    assert_eq!((served[0].messages, served[1].messages), (1, 3));
    let page = ann.text(&format!("/chat/{conversation_id}")).await;
    assert_eq!(page.matches("word1 word2 word3").count(), 2);
    assert!(ann.text("/chat").await.contains(&format!("/chat/{conversation_id}")));
}

/// Field note 12: deleting the words gives nothing back.
#[tokio::test]
async fn deleting_a_conversation_changes_neither_ledger_nor_meter() {
    let house = TestHouse::new().await;
    let mut ann = house.person("ann@example.com").await;
    let first = ann.answer("{{words:30}}").await;
    let TurnEvent::Turn { conversation_id, .. } = &first[0].1 else { panic!() };
    let (quota, rows) = (ann.quota().await, ledger(&house).await);
    let mut eve = house.person("eve@example.com").await;
    let path = format!("/chat/{conversation_id}/delete");
    assert_eq!(eve.form(&path, &[]).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(ann.form(&path, &[]).await.status(), StatusCode::SEE_OTHER);
    assert_eq!(house.one::<i64>("select count(*) from message").await, 0);
    assert_eq!(ledger(&house).await, rows);
    assert_eq!(ann.quota().await["tokens"]["used"], quota["tokens"]["used"]);
}

async fn begun(ann: &Visitor, text: &str) -> (Reading, String) {
    let response = ann.ask(text).await;
    assert_eq!(response.status(), StatusCode::OK);
    let mut reading = Reading::new(response);
    let Some((1, TurnEvent::Turn { turn_id, .. })) = reading.next().await else { panic!("no turn") };
    (reading, turn_id.to_string())
}

/// Field notes 19 and 23: a closed tab is no stop; the turn runs on and is recorded exactly.
#[tokio::test]
async fn a_dropped_client_changes_nothing() {
    let house = TestHouse::new().await;
    let ann = house.person("ann@example.com").await;
    let (reading, turn) = begun(&ann, "{{words:20}}{{hold}}").await;
    drop(reading);
    house.vendor.release();
    house.until("select exists (select from ai_usage where status <> 'pending')").await;
    let served = house.vendor.served().remove(0);
    assert!(served.ended);
    let row = ledger(&house).await.remove(0);
    assert_eq!((row.0.as_str(), row.1.as_deref(), row.4), ("finished", Some("exact"), 40));
    // and another device reads it from the first event on, or from where it was
    let all = events(ann.get(&format!("/api/turns/{turn}/events")).await).await;
    assert_eq!(words(&all), served.text);
    let rest = events(
        ann.request("GET", &format!("/api/turns/{turn}/events")).header("last-event-id", "5").send().await.unwrap(),
    )
    .await;
    assert_eq!(rest, all[5..]);
}

/// Field notes 20 and 22: Stop cancels, keeps what came, and records an estimate never below it.
#[tokio::test]
async fn stop_keeps_what_came_and_counts_it() {
    let house = TestHouse::new().await;
    let ann = house.person("ann@example.com").await;
    let (mut reading, turn) = begun(&ann, "{{words:20}}{{hold}}").await;
    while !matches!(reading.next().await, Some((_, TurnEvent::Delta { .. }))) {}
    let eve = house.person("eve@example.com").await;
    assert_eq!(
        eve.request("POST", &format!("/api/turns/{turn}/stop")).send().await.unwrap().status(),
        StatusCode::NOT_FOUND
    );
    assert_eq!(eve.get(&format!("/api/turns/{turn}/events")).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(
        ann.request("POST", &format!("/api/turns/{turn}/stop")).send().await.unwrap().status(),
        StatusCode::NO_CONTENT
    );
    let mut last = None;
    while let Some((_, event)) = reading.next().await {
        last = Some(event);
    }
    let Some(TurnEvent::Finish {
        outcome: Outcome::Stopped, usage, usage_source: UsageSource::Estimated, quota, ..
    }) = last
    else {
        panic!("{last:?}")
    };
    let served = house.vendor.served().remove(0);
    assert!(!served.ended && usage.output.0 >= served.output && served.output > 0, "{usage:?} {served:?}");
    assert_eq!((quota.tokens.reserved, quota.tokens.used), (0, usage.counted().0));
    assert_eq!(house.one::<String>("select status from ai_usage").await, "stopped");
    assert_eq!(house.one::<String>("select body from message where status = 'stopped'").await, served.text);
}

/// Field notes 21 and 25: every way an answer can break ends in exactly one final row and keeps the part that came.
#[tokio::test]
async fn a_broken_answer_is_kept_and_counted() {
    for fault in ["{{break:4}}", "{{error:4}}"] {
        for model in ["claude-haiku-4-5", "gpt-5-mini"] {
            let house = TestHouse::new().await;
            let ann = house.person("ann@example.com").await;
            let all = events(ann.post(&json!({"model": model, "text": format!("{{{{words:9}}}}{fault}")})).await).await;
            let Some((_, TurnEvent::Failed { problem })) = all.last() else { panic!("{all:?}") };
            assert!(problem.incident.is_some() && !problem.message.contains("overloaded"), "{problem:?}");
            assert_eq!(words(&all), "word1 word2 word3 word4 ", "{model} {fault}");
            let rows = ledger(&house).await;
            assert_eq!((rows.len(), rows[0].0.as_str(), rows[0].1.as_deref()), (1, "failed", Some("estimated")));
            assert!(rows[0].4 >= 4, "never below what was streamed");
            assert_eq!(
                house.one::<String>("select body from message where status = 'failed'").await,
                "word1 word2 word3 word4 "
            );
            assert_eq!(ann.quota().await["tokens"]["reserved"], 0);
        }
    }
}

#[tokio::test]
async fn a_server_that_tells_no_usage_is_counted_by_us() {
    let house = TestHouse::new().await;
    let ann = house.person("ann@example.com").await;
    let all = events(ann.post(&json!({"model": "gpt-5-mini", "text": "{{words:9}}{{nousage}}"})).await).await;
    assert!(matches!(all.last(), Some((_, TurnEvent::Finish { usage_source: UsageSource::Estimated, .. }))), "{all:?}");
    assert!(ledger(&house).await[0].4 >= 9);
}

/// Field note 18: nothing runs beyond its permit, not even where the vendor ignores the limit.
#[tokio::test]
async fn an_answer_never_runs_past_what_was_admitted() {
    let house = TestHouse::new().await;
    let ann = house.person("ann@example.com").await;
    sqlx::query("update plan set max_output = 300").execute(&house.db).await.unwrap();
    let polite = ann.answer("{{words:2000}}").await;
    assert!(matches!(
        polite.last(),
        Some((_, TurnEvent::Finish { outcome: Outcome::Truncated, usage_source: UsageSource::Exact, .. }))
    ));
    let rude = ann.answer("{{words:2000}}{{endless}}").await;
    // our own cut is never taken for the vendor's word
    let Some((_, TurnEvent::Finish { outcome: Outcome::Truncated, usage, usage_source: UsageSource::Estimated, .. })) =
        rude.last()
    else {
        panic!("{:?}", rude.last())
    };
    assert_eq!(house.vendor.served()[1].max_output, 300);
    assert!(usage.output.0 <= (300 + 300 / 8 + 20) * 7 / 5, "{usage:?}");
}

/// Field note 15: a vendor's refusal is a typed problem, and leaves everything as it was.
#[tokio::test]
async fn a_vendor_that_refuses_costs_nothing() {
    let house = TestHouse::new().await;
    let ann = house.person("ann@example.com").await;
    let before = ann.quota().await;
    for (status, expected, kind) in
        [(529, 503, "model_unavailable"), (429, 503, "model_unavailable"), (400, 502, "model_failed")]
    {
        let response = ann.ask(&format!("{{{{status:{status}}}}}")).await;
        assert_eq!(response.status().as_u16(), expected, "{status}");
        if expected == 503 {
            assert_eq!(response.headers()["retry-after"], "3");
        }
        let problem = problem(response).await;
        assert_eq!(problem["kind"], kind);
        assert!(problem["incident"].is_string());
    }
    assert_eq!(ann.quota().await, before);
    assert_eq!(house.one::<i64>("select count(*) from message").await, 0);
    assert_eq!(house.one::<i64>("select count(*) from conversation").await, 0);
    assert_eq!(house.one::<i64>("select count(*) from ai_usage where status = 'failed' and cost_usd = 0").await, 3);
}

#[tokio::test]
async fn the_same_turn_runs_once() {
    let house = TestHouse::new().await;
    house.limits("free", 100, 50_000, 10).await;
    let (ann, eve) = (house.person("ann@example.com").await, house.person("eve@example.com").await);
    let turn = uuid::Uuid::now_v7();
    let body = json!({"model": "claude-haiku-4-5", "text": "{{words:20}}", "turn_id": turn});
    let copies = (0..20).map(|_| async { events(ann.post(&body).await).await });
    let all = futures::future::join_all(copies).await;
    assert!(all.iter().all(|copy| *copy == all[0] && copy.len() > 20), "all copies read the same events");
    assert_eq!(house.vendor.served().len(), 1);
    assert_eq!(house.one::<i64>("select count(*) from ai_usage").await, 1);
    assert_eq!(ann.quota().await["requests"]["remaining"], 99);
    let other = json!({"model": "claude-haiku-4-5", "text": "other words", "turn_id": turn});
    assert_eq!(ann.post(&other).await.status(), StatusCode::CONFLICT);
    assert_eq!(eve.post(&body).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused_kindly() {
    let house = TestHouse::new().await;
    let (ann, eve) = (house.person("ann@example.com").await, house.person("eve@example.com").await);
    let hers = ann.answer("{{words:1}}").await;
    let TurnEvent::Turn { conversation_id, .. } = &hers[0].1 else { panic!() };
    for (body, status, kind, field) in [
        (json!({"text": "  "}), 422, "invalid", "text"),
        (json!({"text": "hi", "retry_of": turn_id()}), 422, "invalid", "retry_of"),
        (json!({"text": "hi", "model": "no-such-model"}), 422, "invalid", "model"),
        (json!({"text": "hi", "model": "claude-opus-4-7"}), 402, "plan_too_small", ""),
        (json!({"text": "hi", "conversation_id": conversation_id}), 404, "not_found", ""),
        (json!({"text": "hi", "conversation_id": turn_id()}), 404, "not_found", ""),
        (json!({"text": "hi", "conversation_id": 7}), 422, "invalid", ""),
    ] {
        let response = eve.post(&body).await;
        assert_eq!(response.status().as_u16(), status, "{body}");
        let problem = problem(response).await;
        assert_eq!(problem["kind"], kind, "{body}");
        if !field.is_empty() {
            assert_eq!(problem["field"], field);
        }
        if status == 402 {
            assert_eq!(problem["upgrade"], "max");
        }
    }
    let nobody = house.visitor().ask("hi").await;
    assert_eq!(
        (nobody.status(), problem(nobody).await["kind"].as_str().unwrap()),
        (StatusCode::UNAUTHORIZED, "sign_in_required")
    );
    assert_eq!(eve.get(&format!("/chat/{conversation_id}")).await.status(), StatusCode::NOT_FOUND);
}

fn turn_id() -> uuid::Uuid {
    uuid::Uuid::now_v7()
}

/// A model whose price has run out of force is not for sale, and never free.
#[tokio::test]
async fn a_model_without_a_price_is_never_free() {
    let house = TestHouse::new().await;
    let ann = house.person("ann@example.com").await;
    sqlx::query("delete from model_price where model = 'claude-haiku-4-5'").execute(&house.db).await.unwrap();
    let response = ann.ask("hi").await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(response.headers().contains_key("retry-after"));
    assert!(house.vendor.served().is_empty());
}

/// Any server that speaks chat completions becomes usable by one command, and a changed price by the same.
#[tokio::test]
async fn a_model_is_added_by_a_command() {
    use clap::Parser as _;
    use server::cli::{Cli, run};
    let house = TestHouse::with(&[("ANTHROPIC_API_KEY", "")]).await;
    let ann = house.person("ann@example.com").await;
    let add = |input: &str| {
        let url = format!("{}/v1", house.vendor.url());
        let input = format!("--input={input}");
        let words = [
            "quotient",
            "models",
            "add",
            "tiny",
            "--vendor",
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
        let config = house.config.clone();
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
        let served = house.vendor.served().pop().unwrap();
        let row = ledger(&house).await.pop().unwrap();
        assert_eq!(row.6, dollars(served.input * micros + served.output * 1_500_000));
    }
    assert!(ann.text("/chat").await.contains("tiny"));
    // one that goes to another vendor isn't asked for at the old one's address
    let words = ["quotient", "models", "add", "tiny", "--vendor", "anthropic", "--input", "1", "--output", "2"];
    house.run(Cli::try_parse_from(words).unwrap().command.unwrap()).await;
    assert!(house.one::<bool>("select base_url is null and label = 'tiny' from model where model = 'tiny'").await);
    // a new price of one that is there changes nothing but the price: it keeps its name, its room, its plans and its switch
    let told = "select label || ' ' || context || ' ' || max_output || ' ' || enabled || ' ' ||
                  (select string_agg(plan_id, ',' order by plan_id) from plan_model m where m.model = model.model)
                from model where model = 'claude-haiku-4-5'";
    sqlx::query("update model set enabled = false where model = 'claude-haiku-4-5'").execute(&house.db).await.unwrap();
    let before: String = house.one(told).await;
    let words = [
        "quotient",
        "models",
        "add",
        "claude-haiku-4-5",
        "--vendor",
        "anthropic",
        "--input",
        "1.10",
        "--output",
        "5.50",
    ];
    let said = house.run(Cli::try_parse_from(words).unwrap().command.unwrap()).await;
    assert!(said.contains("is switched off"), "{said}");
    assert_eq!(house.one::<String>(told).await, before);
    assert!(house.one::<bool>("select input = 1100000 from model_price where model = 'claude-haiku-4-5' order by effective_at desc limit 1").await);
}

/// Field note 24: silence is broken by a heartbeat, at most every 15 s.
#[tokio::test]
async fn a_silent_answer_has_a_heartbeat() {
    let house = TestHouse::new().await;
    let ann = house.person("ann@example.com").await;
    let (mut reading, _) = begun(&ann, "{{words:4}}{{hold}}").await;
    let beating = async {
        while reading.comments == 0 {
            assert!(reading.more().await);
        }
    };
    tokio::time::timeout(Duration::from_secs(15), beating).await.expect("a heartbeat within 15 s");
    house.vendor.release();
}

/// Field note 28: history keeps its price.
#[tokio::test]
async fn a_new_price_changes_what_comes_and_not_what_was() {
    let house = TestHouse::new().await;
    let ann = house.person("ann@example.com").await;
    ann.answer("{{words:10}}").await;
    sqlx::query("insert into model_price (model_price_id, model, effective_at, input, output) values (gen_random_uuid(), 'claude-haiku-4-5', now(), 2000000, 10000000)")
        .execute(&house.db)
        .await
        .unwrap();
    ann.answer("{{words:10}}").await;
    let rows = ledger(&house).await;
    assert_eq!(rows[0].6 * Decimal::TWO, rows[1].6);
    let changed = sqlx::query("update ai_usage set cost_usd = 0 where status = 'finished'").execute(&house.db).await;
    assert!(changed.is_err(), "a final row never changes");
    let negative = sqlx::query("insert into model_price (model_price_id, model, effective_at, input, output) values (gen_random_uuid(), 'demo', now(), -1, 1)").execute(&house.db).await;
    assert!(negative.is_err(), "field note 29: no negative price");
}

/// Postgres keeps no NUL character, and a model may well say one.
#[tokio::test]
async fn words_that_cannot_be_kept_are_left_out() {
    let house = TestHouse::new().await;
    let ann = house.person("ann@example.com").await;
    let all = ann.answer("{{words:5}}{{nul}}").await;
    assert!(matches!(all.last(), Some((_, TurnEvent::Finish { outcome: Outcome::Finished, .. }))), "{all:?}");
    assert_eq!(words(&all), "word1 word2 word3 word4 word5 ");
    let mut nobody = house.visitor();
    let response = nobody.form("/sign-in", &[("email", "a\0b@example.com"), ("password", "long enough here")]).await;
    assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
}

/// What the vendor refused left nothing behind, so the same question may be sent again.
#[tokio::test]
async fn a_refused_question_may_come_again_under_its_id() {
    let house = TestHouse::new().await;
    let ann = house.person("ann@example.com").await;
    let body = json!({"model": "claude-haiku-4-5", "text": "{{status:529}}", "turn_id": uuid::Uuid::now_v7()});
    for _ in 0..2 {
        assert_eq!(ann.post(&body).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
    assert_eq!(ann.quota().await["requests"]["remaining"], 10);
}

/// An ended turn's events replay and close, also from the last one on, here and elsewhere; a number that is none is told.
#[tokio::test]
async fn an_ended_answer_replays_and_closes() {
    let house = TestHouse::new().await;
    let ann = house.person("ann@example.com").await;
    let all = ann.answer("{{words:5}}").await;
    let TurnEvent::Turn { turn_id, .. } = &all[0].1 else { panic!() };
    let (url, _stop) = house.second().await;
    for visitor in [ann.clone(), Visitor { url, ..ann.clone() }] {
        for after in [0, 3, all.len(), all.len() + 7] {
            let rest = events(visitor.get(&format!("/api/turns/{turn_id}/events?after={after}")).await).await;
            assert_eq!(rest, all[after.min(all.len())..], "after {after}");
        }
        let absurd = visitor.get(&format!("/api/turns/{turn_id}/events?after=18446744073709551615")).await;
        assert_eq!(absurd.status(), StatusCode::UNPROCESSABLE_ENTITY);
    }
    assert_eq!(ann.get("/api/turns/nonsense/events").await.status(), StatusCode::NOT_FOUND);
}

/// Recorded, and then the meters couldn't be told: the reaper tells them, and the hold doesn't stand for a day.
#[tokio::test]
async fn a_hold_that_was_not_settled_is_healed() {
    let house = TestHouse::new().await;
    let ann = house.person("ann@example.com").await;
    ann.answer("{{words:5}}").await;
    let subject: String = house.one("select subject from account").await;
    let call: String = house.one("select turn_id::text from turn").await;
    let used = ann.quota().await["tokens"]["used"].clone();
    // as Redis going away between the record and the settlement would leave it
    let at_ms: i64 = house.one("select (extract(epoch from created_at) * 1000)::bigint from turn").await;
    let held = PastCall { call, at_ms: at_ms as u64, amount: 900, running: true };
    house.persons(None).forget(&subject).await.unwrap();
    house.persons(Some(held)).peek(&subject).await.unwrap();
    assert_eq!(ann.quota().await["tokens"]["reserved"], 900);
    sqlx::query("update turn set settled_at = null, ended_at = ended_at - interval '1 minute'")
        .execute(&house.db)
        .await
        .unwrap();
    let (_, _stop) = house.second().await; // its reaper looks at once
    house.until("select settled_at is not null from turn").await;
    let quota = ann.quota().await;
    assert_eq!((&quota["tokens"]["reserved"], &quota["tokens"]["used"]), (&json!(0), &used));
}

/// Another server of the house reads the same events, and its Stop arrives.
#[tokio::test]
async fn another_server_follows_and_stops() {
    let house = TestHouse::new().await;
    let ann = house.person("ann@example.com").await;
    let (url, _stop) = house.second().await;
    let there = Visitor { url, ..ann.clone() };
    let (mut reading, turn) = begun(&ann, "{{words:20}}{{hold}}").await;
    let mut following = Reading::new(there.get(&format!("/api/turns/{turn}/events")).await);
    assert_eq!(following.next().await.map(|(id, _)| id), Some(1));
    assert_eq!(
        there.request("POST", &format!("/api/turns/{turn}/stop")).send().await.unwrap().status(),
        StatusCode::NO_CONTENT
    );
    let (mut here, mut other) = (Vec::new(), Vec::new());
    while let Some(event) = reading.next().await {
        here.push(event);
    }
    while let Some(event) = following.next().await {
        other.push(event);
    }
    assert!(matches!(here.last(), Some((_, TurnEvent::Finish { outcome: Outcome::Stopped, .. }))));
    assert_eq!(here, other);
}

/// A process that is gone leaves a pending row: it is ended once, as lost, and its hold with it.
#[tokio::test]
async fn a_lost_turn_is_ended() {
    let house = TestHouse::new().await;
    let ann = house.person("ann@example.com").await;
    ann.answer("{{words:5}}").await;
    let used = ann.quota().await["tokens"]["used"].as_u64().unwrap();
    // as a kill -9 between asking and recording would leave it
    sqlx::query(
        "with t as (insert into turn (turn_id, user_id, subject, request_hash, alive_until, created_at)
           select gen_random_uuid(), user_id, subject, '', now() - interval '1 s', now() from account returning *)
         insert into ai_usage (ai_usage_id, turn_id, user_id, subject, model, model_price_id, status, estimated_tokens, reserved_tokens, created_at)
         select gen_random_uuid(), t.turn_id, t.user_id, t.subject, 'claude-haiku-4-5', (select model_price_id from model_price where model = 'claude-haiku-4-5'), 'pending', 100, 600, t.created_at from t",
    )
    .execute(&house.db)
    .await
    .unwrap();
    // Its hold is in the meters, as the ledger has it.
    let key: String = house.one("select 'meter:{person:' || subject || '}' from account").await;
    let () = redis::cmd("DEL").arg(key).query_async(&mut house.redis.clone()).await.unwrap();
    assert_eq!(ann.quota().await["tokens"]["reserved"], 600);
    let (_, _stop) = house.second().await; // its reaper looks at once
    house.until("select not exists (select from ai_usage where status = 'pending')").await;
    assert_eq!(
        house
            .one::<i64>("select input_tokens from ai_usage where status = 'lost' and usage_source = 'estimated'")
            .await,
        100
    );
    let waiting = async {
        while ann.quota().await["tokens"]["used"] != used + 100 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), waiting).await.expect("the meter follows");
}

#[tokio::test]
async fn a_server_that_is_told_to_go_ends_its_turns_first() {
    let house = TestHouse::new().await;
    let ann = house.person("ann@example.com").await;
    let (mut reading, _) = begun(&ann, "{{words:30}}{{pace:20}}").await;
    let db = house.db.clone();
    let shutting = tokio::spawn(house.shut());
    let mut last = None;
    while let Some((_, event)) = reading.next().await {
        last = Some(event);
    }
    assert!(matches!(last, Some(TurnEvent::Finish { outcome: Outcome::Finished, .. })), "{last:?}");
    shutting.await.unwrap();
    let pending: i64 =
        sqlx::query_scalar("select count(*) from ai_usage where status <> 'finished'").fetch_one(&db).await.unwrap();
    assert_eq!(pending, 0);
}
