//! Turns under fire: cut, stopped, broken, repeated, taken up elsewhere. The stand-in's count of what it served is the oracle.

use crate::house::{Reading, TestHouse, Visitor, events, problem, words};
use domain::{Outcome, TurnEvent, UsageSource};
use http::StatusCode;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// One model of each wire format.
const BOTH: [&str; 2] = ["claude-haiku-4-5", "gpt-5-mini"];

/// A house in which nobody meets a limit.
async fn roomy(more: &[(&str, &str)]) -> TestHouse {
    let house = TestHouse::with(more).await;
    house.limits("free", 1_000_000, 1_000_000_000, 1_000).await;
    house
}

async fn begun(ann: &Visitor, model: &str, text: &str) -> (Reading, Uuid) {
    let turn = Uuid::now_v7();
    let response = ann.post(&json!({"model": model, "text": text, "turn_id": turn})).await;
    assert_eq!(response.status(), StatusCode::OK, "{text}");
    let mut reading = Reading::new(response);
    assert!(matches!(reading.next().await, Some((1, TurnEvent::Turn { .. }))), "{text}");
    (reading, turn)
}

/// The ledger row of a turn, once it is final: status, source, input with cache, output, cost.
async fn row(house: &TestHouse, turn: Uuid) -> (String, String, i64, i64, Decimal) {
    let waiting = async {
        loop {
            let row = sqlx::query_as(
                "select status, usage_source, input_tokens + cache_read_tokens, output_tokens, cost_usd from ai_usage
                 where turn_id = $1 and status <> 'pending' order by call_no desc limit 1",
            )
            .bind(turn)
            .fetch_optional(&house.db)
            .await
            .unwrap();
            if let Some(row) = row {
                return row;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("never final")
}

/// All rows are final and one per call; holds are the ledger's pending rows: none.
async fn nothing_is_left_over(house: &TestHouse, ann: &Visitor) {
    house.until("select not exists (select from turn where settled_at is null or ended_at is null)").await;
    assert_eq!(house.one::<i64>("select count(*) from ai_usage where status = 'pending'").await, 0);
    let quota = ann.quota().await;
    assert_eq!((&quota["tokens"]["reserved"], &quota["in_flight"]["now"]), (&json!(0), &json!(0)));
    let used: i64 = house
        .one("select coalesce(sum(input_tokens + cache_read_tokens + cache_write_tokens + output_tokens), 0)::bigint from ai_usage")
        .await;
    assert_eq!(quota["tokens"]["used"], json!(used), "the meter is the ledger");
}

/// Field notes 19 and 23: whenever the client goes, the turn runs on and is recorded exactly, for both wire formats.
#[tokio::test]
async fn a_client_cut_after_any_chunk_changes_nothing() {
    let house = roomy(&[]).await;
    let ann = house.person("ann@example.com").await;
    for model in BOTH {
        for cut in 0..8 {
            let (mut reading, turn) = begun(&ann, model, "{{words:8}}{{pace:2}}").await;
            for _ in 0..cut {
                reading.next().await;
            }
            drop(reading);
            let (status, source, input, output, _) = row(&house, turn).await;
            let served = house.vendor.served().pop().unwrap();
            assert_eq!((status.as_str(), source.as_str()), ("finished", "exact"), "{model} cut after {cut}");
            assert_eq!((input as u64, output as u64), (served.input, served.output), "{model} cut after {cut}");
        }
    }
    nothing_is_left_over(&house, &ann).await;
}

/// Field notes 20 to 22: Stop at any word, from this server or another, ends the call within a second, keeps what came and counts no
/// less than that.
#[tokio::test]
async fn stop_after_any_word_keeps_it_and_counts_it() {
    let house = roomy(&[]).await;
    let ann = house.person("ann@example.com").await;
    let (url, _stop) = house.second().await;
    let elsewhere = Visitor { url, ..ann.clone() };
    for model in BOTH {
        for at in 0..6 {
            let (mut reading, turn) = begun(&ann, model, &format!("{{{{words:12}}}}{{{{hold:{at}}}}}")).await;
            let mut said = String::new();
            while said.split_whitespace().count() < at {
                let Some((_, TurnEvent::Delta { text })) = reading.next().await else { panic!("{model} {at}") };
                said.push_str(&text);
            }
            let presses = if at % 2 == 0 { &ann } else { &elsewhere };
            let pressed = Instant::now();
            let stop = presses.request("POST", &format!("/api/turns/{turn}/stop")).send().await.unwrap();
            assert_eq!(stop.status(), StatusCode::NO_CONTENT);
            let Some((_, TurnEvent::Finish { outcome, usage, usage_source, .. })) = reading.next().await else {
                panic!("{model} stopped at {at}")
            };
            assert!(pressed.elapsed() < Duration::from_secs(1), "{:?}", pressed.elapsed());
            assert_eq!((outcome, usage_source), (Outcome::Stopped, UsageSource::Estimated));
            let (status, _, input, output, cost) = row(&house, turn).await;
            assert_eq!((status.as_str(), output), ("stopped", usage.output.0 as i64));
            // at least what was streamed, and the input at least as it was sent
            assert!(output >= 2 * at as i64 && input > 0 && cost > Decimal::ZERO, "{model} {at}: {input} {output}");
            let kept: String = sqlx::query_scalar("select body from message where turn_id = $1 and role = 'assistant'")
                .bind(turn)
                .fetch_one(&house.db)
                .await
                .unwrap();
            assert_eq!(kept, said);
        }
    }
    nothing_is_left_over(&house, &ann).await;
}

/// Field notes 20, 21, 23 and 25: whatever a vendor does in the middle, the partial answer is kept and marked, and there is one final row.
#[tokio::test]
async fn whatever_breaks_is_kept_and_counted() {
    let house = roomy(&[("VENDOR_IDLE_TIMEOUT_MS", "300")]).await;
    let ann = house.person("ann@example.com").await;
    for model in BOTH {
        for (fault, outcome) in [
            ("{{break:3}}", "failed"),
            ("{{error:3}}", "failed"),
            ("{{garbage:3}}", "failed"),
            ("{{silent:3}}", "failed"),
            ("{{cut:3}}", "failed"),
            ("{{nousage}}", "finished"),
        ] {
            let text = format!("{{{{words:6}}}}{fault}");
            let (mut reading, turn) = begun(&ann, model, &text).await;
            let mut last = None;
            let mut said = String::new();
            while let Some((_, event)) = reading.next().await {
                if let TurnEvent::Delta { text } = &event {
                    said.push_str(text);
                }
                last = Some(event);
            }
            let (status, source, input, output, _) = row(&house, turn).await;
            let served = house.vendor.served().pop().unwrap();
            assert_eq!((status.as_str(), source.as_str()), (outcome, "estimated"), "{model} {fault}");
            assert_eq!(matches!(last, Some(TurnEvent::Failed { .. })), outcome == "failed", "{model} {fault} {last:?}");
            assert_eq!(said, served.text, "{model} {fault}");
            // Anthropic tells the input at the start; what it doesn't tell is estimated, and never too low.
            assert!(
                input as u64 >= served.input && output as u64 >= served.output,
                "{model} {fault}: {input} {output} {served:?}"
            );
            let marked: String =
                sqlx::query_scalar("select status from message where turn_id = $1 and role = 'assistant'")
                    .bind(turn)
                    .fetch_one(&house.db)
                    .await
                    .unwrap();
            assert_eq!(marked, outcome, "{model} {fault}");
            let sql = "select vendor_failed from ai_usage where turn_id = $1";
            let vendor_failed: bool = sqlx::query_scalar(sql).bind(turn).fetch_one(&house.db).await.unwrap();
            assert_eq!(vendor_failed, outcome == "failed", "{model} {fault}");
        }
    }
    nothing_is_left_over(&house, &ann).await;
}

/// Characters that arrive byte by byte are whole again on screen, in the log and in the transcript.
#[tokio::test]
async fn one_byte_at_a_time_breaks_no_character() {
    let house = roomy(&[]).await;
    let ann = house.person("ann@example.com").await;
    for model in BOTH {
        let events = events(ann.post(&json!({"model": model, "text": "{{bytes}}"})).await).await;
        let (said, served) = (words(&events), house.vendor.served().pop().unwrap());
        assert_eq!(said, served.text);
        assert!(!said.contains('\u{fffd}') && said.contains("世界") && said.contains("👨‍👩‍👧‍👦"), "{said}");
        assert_eq!(
            house
                .one::<String>("select body from message where role = 'assistant' order by created_at desc limit 1")
                .await,
            said
        );
    }
}

/// A vendor that is busy is asked again, twice at most, not before it said; what is refused costs nothing and leaves one row.
#[tokio::test]
async fn a_busy_vendor_is_asked_again_twice() {
    let house = roomy(&[]).await;
    let ann = house.person("ann@example.com").await;
    for (status, after, at_least) in [(529, 0, 100), (503, 0, 100), (429, 1, 2_000)] {
        let text = format!("{{{{words:3}}}}{{{{status:{status}}}}}{{{{times:2}}}}{{{{after:{after}}}}}");
        let began = Instant::now();
        let events = events(ann.ask(&text).await).await;
        assert!(matches!(events.last(), Some((_, TurnEvent::Finish { outcome: Outcome::Finished, .. }))), "{text}");
        assert_eq!(house.vendor.asked(&text), 3, "{text}");
        assert!(began.elapsed() >= Duration::from_millis(at_least), "{text} took {:?}", began.elapsed());
    }
    assert_eq!(house.one::<i64>("select count(*) from ai_usage where usage_source = 'exact'").await, 3);
    // three refusals are the end of it, and so is one that wants to be left alone for long
    for (text, asked, seconds) in
        [("{{status:529}}{{after:0}}", 3, 1), ("{{status:429}}{{after:30}}", 1, 30), ("{{status:400}}", 1, 0)]
    {
        let response = ann.ask(text).await;
        assert_eq!(house.vendor.asked(text), asked, "{text}");
        let expected = if seconds > 0 { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::BAD_GATEWAY };
        assert_eq!(response.status(), expected, "{text}");
        if seconds > 0 {
            assert_eq!(response.headers()["retry-after"], seconds.to_string().as_str(), "{text}");
        }
    }
    let failed = "select count(*) from ai_usage where status = 'failed' and cost_usd = 0 and usage_source = 'exact'";
    assert_eq!(house.one::<i64>(failed).await, 3);
    nothing_is_left_over(&house, &ann).await;
}

/// A vendor that takes the question and is silent may be writing, and bill it: it is asked once, and counted as an estimate.
#[tokio::test]
async fn a_silent_vendor_is_not_asked_again_and_is_counted() {
    let house = roomy(&[("VENDOR_FIRST_BYTE_TIMEOUT_MS", "300")]).await;
    let ann = house.person("ann@example.com").await;
    let response = ann.ask("{{mute}}").await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(problem(response).await["kind"], "model_unavailable");
    assert_eq!(house.vendor.asked("{{mute}}"), 1);
    let counted = "select status = 'failed' and usage_source = 'estimated' and input_tokens = estimated_tokens and cost_usd > 0 from ai_usage";
    assert!(house.one::<bool>(counted).await);
    // the draft is back with the person, and nothing of it dangles
    assert_eq!(house.one::<i64>("select count(*) from message").await, 0);
    assert_eq!(house.one::<i64>("select count(*) from turn").await, 0);
    let quota = ann.quota().await;
    assert_eq!(quota["tokens"]["reserved"], 0);
    assert!(quota["tokens"]["used"].as_u64().unwrap() > 0);
}

/// Stop is heard while the vendor makes up its mind: the call is given up, and what it may cost is counted.
#[tokio::test]
async fn stop_is_heard_before_the_answer_begins() {
    let house = roomy(&[]).await;
    let ann = house.person("ann@example.com").await;
    let turn = Uuid::now_v7();
    let asking = {
        let (ann, body) = (ann.clone(), json!({"model": "claude-haiku-4-5", "text": "{{mute}}", "turn_id": turn}));
        tokio::spawn(async move { ann.post(&body).await })
    };
    house.until("select exists (select from ai_usage where status = 'pending')").await;
    while house.vendor.asked("{{mute}}") == 0 {
        tokio::task::yield_now().await;
    }
    let pressed = Instant::now();
    ann.request("POST", &format!("/api/turns/{turn}/stop")).send().await.unwrap();
    let response = asking.await.unwrap();
    assert!(pressed.elapsed() < Duration::from_secs(1));
    assert_eq!((response.status(), problem(response).await["kind"].as_str()), (StatusCode::CONFLICT, Some("conflict")));
    assert_eq!(house.one::<String>("select usage_source from ai_usage").await, "estimated");
    assert!(!house.one::<bool>("select vendor_failed from ai_usage").await, "a stop is no failure of theirs");
}

/// Where a model can't be reached another answers, said so, priced as itself, with a row per call.
#[tokio::test]
async fn another_model_stands_in() {
    let house = roomy(&[]).await;
    let ann = house.person("ann@example.com").await;
    sqlx::query(
        "update model set base_url = 'http://127.0.0.1:9/v1', fallback = 'claude-haiku-4-5' where model = 'gpt-5-mini'",
    )
    .execute(&house.db)
    .await
    .unwrap();
    let events = events(ann.post(&json!({"model": "gpt-5-mini", "text": "{{words:3}}"})).await).await;
    let TurnEvent::Turn { model, instead_of, .. } = &events[0].1 else { panic!("{events:?}") };
    assert_eq!((model.0.as_str(), instead_of.as_ref().unwrap().0.as_str()), ("claude-haiku-4-5", "gpt-5-mini"));
    let rows: Vec<(i32, String, String, Decimal)> =
        sqlx::query_as("select call_no, model, status, cost_usd from ai_usage order by call_no")
            .fetch_all(&house.db)
            .await
            .unwrap();
    let served = house.vendor.served().remove(0);
    let cost = Decimal::new((served.input * 1_000_000 + served.output * 5_000_000) as i64, 12);
    assert_eq!(
        rows,
        [
            (1, "gpt-5-mini".to_owned(), "failed".to_owned(), Decimal::ZERO),
            (2, "claude-haiku-4-5".to_owned(), "finished".to_owned(), cost),
        ]
    );
    assert_eq!(house.one::<i64>("select sum(requests)::bigint from usage_hour").await, 1, "one turn");
    nothing_is_left_over(&house, &ann).await;
    // a plan that doesn't have the other one gets the refusal
    sqlx::query("delete from plan_model where plan_id = 'free' and model = 'claude-haiku-4-5'")
        .execute(&house.db)
        .await
        .unwrap();
    let response = ann.post(&json!({"model": "gpt-5-mini", "text": "{{words:3}}"})).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
}

/// Who stands in spends from their own purse, the one that was asked for keeps its own; and where the one who would stand in has spent
/// their day, the other is asked all the same.
#[tokio::test]
async fn who_stands_in_pays_from_their_own_purse() {
    let house = roomy(&[]).await;
    let ann = house.person("ann@example.com").await;
    sqlx::query("update model set base_url = 'http://127.0.0.1:9/v1', fallback = 'claude-haiku-4-5', daily_spend_usd = 5 where model = 'gpt-5-mini'")
        .execute(&house.db)
        .await
        .unwrap();
    sqlx::query("update model set daily_spend_usd = 5 where model = 'claude-haiku-4-5'")
        .execute(&house.db)
        .await
        .unwrap();
    events(ann.post(&json!({"model": "gpt-5-mini", "text": "{{words:3}}"})).await).await;
    nothing_is_left_over(&house, &ann).await;
    let nanos: i64 = house.one("select sum(ceil(cost_usd * 1000000000))::bigint from ai_usage").await;
    assert_eq!(house.purse(Some("claude-haiku-4-5")).await, (nanos as u64, 0));
    assert_eq!(house.purse(Some("gpt-5-mini")).await, (0, 0));
    // the one who would stand in has nothing left; the one that is asked works
    sqlx::query("update model set daily_spend_usd = 0 where model = 'claude-haiku-4-5'")
        .execute(&house.db)
        .await
        .unwrap();
    sqlx::query("update model set base_url = null where model = 'gpt-5-mini'").execute(&house.db).await.unwrap();
    assert_eq!(events(ann.post(&json!({"model": "gpt-5-mini", "text": "{{words:1}}"})).await).await.len(), 3);
}

/// Two tabs have the same answer written again at once: one does, the other hears that it is being done.
#[tokio::test]
async fn two_retries_at_once_are_one() {
    let house = roomy(&[]).await;
    let ann = house.person("ann@example.com").await;
    let (mut reading, turn) = begun(&ann, BOTH[0], "{{words:3}}").await;
    while reading.next().await.is_some() {}
    let again = || ann.clone().post_owned(json!({"retry_of": turn, "turn_id": Uuid::now_v7()}));
    let answers = futures::future::join_all([again(), again(), again(), again()]).await;
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status().as_u16()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409, 409, 409]);
    for answer in answers {
        answer.bytes().await.unwrap();
    }
    assert_eq!(house.one::<i64>("select count(*) from message where superseded_by is null").await, 2);
    assert_eq!(house.vendor.served().len(), 2);
    nothing_is_left_over(&house, &ann).await;
}

/// A vendor that failed again and again is left alone, said at once, and shown to the owner.
#[tokio::test]
async fn a_failing_vendor_is_left_alone() {
    let house = roomy(&[]).await;
    let ann = house.person("ann@example.com").await;
    for n in 0..2 {
        let response = ann.ask(&format!("{{{{status:500}}}}{{{{after:0}}}} {n}")).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
    let text = "{{words:1}} is it well again?";
    let response = ann.ask(text).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let seconds: u64 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=10).contains(&seconds), "{seconds}");
    assert_eq!(house.vendor.asked(text), 0, "not asked");
    // the other vendor answers
    let other = ann.post(&json!({"model": "gpt-5-mini", "text": "{{words:1}}"})).await;
    assert_eq!(events(other).await.len(), 3);
    let admin = house.person("admin@example.com").await;
    assert!(admin.text("/admin/health").await.contains("Failed again and again"));
}

/// An answer is written again: the question is asked as it was, the old answer gives way, and both calls stay in the ledger.
#[tokio::test]
async fn the_last_answer_is_written_again() {
    let house = roomy(&[]).await;
    let ann = house.person("ann@example.com").await;
    let (mut reading, first) = begun(&ann, BOTH[0], "{{words:3}} first").await;
    while reading.next().await.is_some() {}
    let conversation: Uuid = house.one("select conversation_id from conversation").await;
    let second = Uuid::now_v7();
    let body = json!({"conversation_id": conversation, "model": BOTH[0], "text": "{{words:4}}{{hold}} second", "turn_id": second});
    let mut running = Reading::new(ann.post(&body).await);
    running.next().await;
    let again = |turn: Uuid| json!({"retry_of": turn, "model": BOTH[1], "turn_id": Uuid::now_v7()});
    // not while it runs, not an earlier one, not somebody else's, not what isn't there
    let refusal = async |who: &Visitor, turn| who.post(&again(turn)).await.status();
    assert_eq!(refusal(&ann, second).await, StatusCode::CONFLICT);
    assert_eq!(refusal(&ann, first).await, StatusCode::CONFLICT);
    let eve = house.person("eve@example.com").await;
    assert_eq!(refusal(&eve, second).await, StatusCode::NOT_FOUND);
    assert_eq!(refusal(&ann, Uuid::now_v7()).await, StatusCode::NOT_FOUND);
    house.vendor.release();
    while running.next().await.is_some() {}
    let events = events(ann.post(&again(second)).await).await;
    assert!(matches!(events.last(), Some((_, TurnEvent::Finish { outcome: Outcome::Finished, .. }))));
    let served = house.vendor.served();
    assert_eq!(
        (served.len(), served[1].messages, served[2].messages),
        (3, 3, 4),
        "asked as it was; the other format tells the system prompt as a message"
    );
    let page = ann.text(&format!("/chat/{conversation}")).await;
    assert_eq!((page.matches(">{{words:4}}{{hold}} second<").count(), page.matches("word4").count()), (1, 1), "{page}");
    assert_eq!(house.one::<i64>("select count(*) from message where superseded_by is not null").await, 2);
    assert_eq!(house.one::<i64>("select count(*) from ai_usage").await, 3);
    // a retry whose vendor refuses leaves the answer that there was
    sqlx::query("update message set body = '{{status:400}}' where role = 'user'").execute(&house.db).await.unwrap();
    let last: Uuid = house.one("select turn_id from turn order by created_at desc limit 1").await;
    assert_eq!(refusal(&ann, last).await, StatusCode::BAD_GATEWAY);
    assert_eq!(house.one::<i64>("select count(*) from message where superseded_by is null").await, 4);
}

/// A turn that failed is tried again the same way.
#[tokio::test]
async fn a_failed_answer_is_tried_again() {
    let house = roomy(&[]).await;
    let ann = house.person("ann@example.com").await;
    let (mut reading, turn) = begun(&ann, BOTH[0], "{{words:5}}{{break:2}}").await;
    while reading.next().await.is_some() {}
    sqlx::query("update message set body = '{{words:5}}' where role = 'user'").execute(&house.db).await.unwrap();
    let events = events(ann.post(&json!({"retry_of": turn})).await).await;
    assert_eq!(words(&events), "word1 word2 word3 word4 word5 ");
    assert_eq!(house.one::<i64>("select count(*) from message where superseded_by is null").await, 2);
}

/// The same turn sent fifty times at once, to two servers, runs once; all fifty get the same events, and the losers hold nothing.
#[tokio::test]
async fn fifty_copies_run_once_and_all_hear_it() {
    let house = roomy(&[]).await;
    let ann = house.person("ann@example.com").await;
    let (url, _stop) = house.second().await;
    let elsewhere = Visitor { url, ..ann.clone() };
    let body = json!({"model": BOTH[0], "text": "{{words:9}}{{pace:3}}", "turn_id": Uuid::now_v7()});
    let copies = (0..50).map(|n| {
        let (who, body) = (if n % 2 == 0 { ann.clone() } else { elsewhere.clone() }, body.clone());
        tokio::spawn(async move {
            let response = who.post(&body).await;
            assert_eq!(response.status(), StatusCode::OK);
            events(response).await
        })
    });
    let mut all = Vec::new();
    for copy in copies.collect::<Vec<_>>() {
        all.push(copy.await.unwrap());
    }
    assert!(all.iter().all(|events| *events == all[0] && events.last().unwrap().1.is_last()), "{all:?}");
    assert_eq!(house.vendor.served().len(), 1);
    assert_eq!(house.one::<i64>("select count(*) from ai_usage").await, 1);
    nothing_is_left_over(&house, &ann).await;
}

/// Whoever reads slowly, or not at all, holds nothing up: the turn is over while most of it is still unread.
#[tokio::test]
async fn a_reader_who_never_reads_holds_nothing_up() {
    let house = roomy(&[]).await;
    sqlx::query("update plan set max_output = 100000").execute(&house.db).await.unwrap();
    sqlx::query("update model set max_output = 100000").execute(&house.db).await.unwrap();
    let ann = house.person("ann@example.com").await;
    let body = json!({"model": BOTH[0], "text": "{{words:20000}}", "turn_id": Uuid::now_v7()});
    let unread = ann.post(&body).await;
    house.until("select exists (select from ai_usage where status = 'finished' and usage_source = 'exact')").await;
    let words_of = words(&events(unread).await);
    assert_eq!(words_of.split_whitespace().count(), 20_000, "and all of it is there for whoever reads late");
}

/// Without `REDIS_URL` a single process keeps meters and running answers in its memory, by the same rules.
#[tokio::test]
async fn a_single_process_needs_no_redis() {
    let house = TestHouse::with(&[("REDIS_URL", "")]).await;
    house.limits("free", 3, 50_000, 2).await;
    let ann = house.person("ann@example.com").await;
    let first = ann.answer("{{words:5}}").await;
    let TurnEvent::Turn { turn_id, .. } = &first[0].1 else { panic!() };
    assert_eq!(
        events(ann.get(&format!("/api/turns/{turn_id}/events?after=0")).await).await,
        first,
        "kept for ten minutes"
    );
    ann.answer("{{words:5}}").await;
    ann.answer("{{words:5}}").await;
    assert_eq!(ann.ask("{{words:5}}").await.status(), StatusCode::TOO_MANY_REQUESTS);
    let (mut reading, turn) = {
        house.limits("free", 30, 50_000, 2).await;
        begun(&ann, BOTH[0], "{{words:9}}{{hold:1}}").await
    };
    ann.request("POST", &format!("/api/turns/{turn}/stop")).send().await.unwrap();
    let mut last = None;
    while let Some((_, event)) = reading.next().await {
        last = Some(event);
    }
    assert!(matches!(last, Some(TurnEvent::Finish { outcome: Outcome::Stopped, .. })), "{last:?}");
    assert_eq!(reqwest::get(format!("{}/readyz", house.url)).await.unwrap().status(), StatusCode::OK);
    nothing_is_left_over(&house, &ann).await;
}

/// What may be spent on one model in a day is a purse of its own: its cap holds with the next turn, the other models go on.
#[tokio::test]
async fn a_model_has_a_cap_of_its_own() {
    let house = roomy(&[]).await;
    let ann = house.person("ann@example.com").await;
    ann.answer("{{words:9}}").await;
    sqlx::query("update model set daily_spend_usd = 0.01 where model = 'claude-haiku-4-5'")
        .execute(&house.db)
        .await
        .unwrap();
    let response = ann.ask("{{words:9}}").await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "its longest answer costs two cents");
    assert!(response.headers().contains_key("retry-after"));
    let refused = problem(response).await;
    assert_eq!(refused["kind"], "spend_cap");
    assert!(refused["message"].as_str().unwrap().contains("Claude Haiku"));
    assert_eq!(ann.quota().await["tokens"]["reserved"], 0, "the person's hold is back");
    assert_eq!(events(ann.post(&json!({"model": BOTH[1], "text": "{{words:1}}"})).await).await.len(), 3);
    sqlx::query("update model set daily_spend_usd = 1 where model = 'claude-haiku-4-5'")
        .execute(&house.db)
        .await
        .unwrap();
    ann.answer("{{words:9}}").await;
    house.until("select bool_and(settled_at is not null) from turn").await;
    let nanos: i64 = house
        .one("select sum(ceil(cost_usd * 1000000000))::bigint from ai_usage where model = 'claude-haiku-4-5'")
        .await;
    assert_eq!(house.purse(Some("claude-haiku-4-5")).await, (nanos as u64, 0));
}

/// The owner's switch holds with the next turn, on every server; the running answer ends as it would have.
#[tokio::test]
async fn a_paused_house_answers_nobody() {
    let house = roomy(&[]).await;
    let ann = house.person("ann@example.com").await;
    let (mut reading, _) = begun(&ann, BOTH[0], "{{words:9}}{{hold}}").await;
    let (url, _stop) = house.second().await;
    sqlx::query("update house set paused = true").execute(&house.db).await.unwrap();
    for who in [&ann, &Visitor { url, ..ann.clone() }] {
        let response = who.ask("{{words:1}}").await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(problem(response).await["message"].as_str().unwrap().contains("switched off"));
    }
    house.vendor.release();
    let mut last = None;
    while let Some((_, event)) = reading.next().await {
        last = Some(event);
    }
    assert!(matches!(last, Some(TurnEvent::Finish { outcome: Outcome::Finished, .. })), "{last:?}");
}

/// Field notes 26 to 30: ten thousand random usages at random prices, corrections among them: the costs are the oracle's to the last digit,
/// and the hours are the rows' sums.
#[tokio::test]
async fn ten_thousand_random_usages_add_up() {
    use rand::RngExt as _;
    let house = TestHouse::new().await;
    house.person("ann@example.com").await;
    let mut rng = rand::rng();
    let mut oracle = 0_i128;
    let mut sums: HashMap<(String, i64), [i128; 4]> = HashMap::new();
    let mut tx = house.db.begin().await.unwrap();
    let prices: Vec<(Uuid, [i64; 4])> =
        (0..50).map(|_| (Uuid::now_v7(), std::array::from_fn(|_| rng.random_range(0..75_000_000)))).collect();
    for (n, (id, [input, read, write, output])) in prices.iter().enumerate() {
        sqlx::query("insert into model_price (model_price_id, model, effective_at, input, cache_read, cache_write, output) values ($1, 'demo', now() - $2 * interval '1 day', $3, $4, $5, $6)")
            .bind(id).bind(n as i32 + 1_000).bind(input).bind(read).bind(write).bind(output)
            .execute(&mut *tx).await.unwrap();
    }
    let now = time::OffsetDateTime::now_utc();
    for n in 0..10_000_i64 {
        let (id, price) = &prices[rng.random_range(0..prices.len())];
        let correction = n % 10 == 9;
        let kinds: [i64; 4] = std::array::from_fn(|_| {
            let tokens = rng.random_range(0..2_000_000);
            if correction && rng.random_range(0..2) == 0 { -tokens } else { tokens }
        });
        let list = domain::PriceList::new(vec![domain::Price {
            id: (*id).into(),
            above: domain::Tokens(0),
            input: domain::MicrosPerMillion(price[0]),
            cache_read: Some(domain::MicrosPerMillion(price[1])),
            cache_write: Some(domain::MicrosPerMillion(price[2])),
            output: domain::MicrosPerMillion(price[3]),
        }])
        .unwrap();
        let exact: i128 = kinds.iter().zip(price).map(|(tokens, price)| i128::from(*tokens) * i128::from(*price)).sum();
        oracle += exact;
        let cost = if correction {
            Decimal::from_i128_with_scale(exact, 12)
        } else {
            let tokens = |n: i64| domain::Tokens(n as u64);
            let usage = domain::Usage {
                input: tokens(kinds[0]),
                cache_read: tokens(kinds[1]),
                cache_write: tokens(kinds[2]),
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
        // Through pending and its one final status, as a turn goes; corrections are new rows.
        let row = Uuid::now_v7();
        let insert = "insert into ai_usage (ai_usage_id, turn_id, subject, model, model_price_id, status, estimated_tokens, reserved_tokens, created_at, settled_at, corrects, usage_source, input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, cost_usd)
             values ($1, $1, $2, 'demo', $3, $4, 0, 0, $5, $6, $7, 'exact', $8, $9, $10, $11, $12)";
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
            .execute(&mut *tx)
            .await
            .unwrap();
        if !correction {
            sqlx::query("update ai_usage set status = 'finished', settled_at = $2, input_tokens = $3, cache_read_tokens = $4, cache_write_tokens = $5, output_tokens = $6, cost_usd = $7 where created_at = $8 and ai_usage_id = $1")
                .bind(row).bind(now).bind(kinds[0]).bind(kinds[1]).bind(kinds[2]).bind(kinds[3]).bind(cost).bind(at)
                .execute(&mut *tx).await.unwrap();
        }
    }
    tx.commit().await.unwrap();
    let exact = Decimal::from_i128_with_scale(oracle, 12);
    assert_eq!(house.one::<Decimal>("select sum(cost_usd) from ai_usage").await, exact);
    assert_eq!(house.one::<Decimal>("select sum(cost_picos) * 0.000000000001 from usage_hour").await, exact);
    assert_eq!(house.one::<i64>("select sum(requests)::bigint from usage_hour").await, 9_000);
    let rows: Vec<(String, time::OffsetDateTime, i64, i64, i64, i64)> = sqlx::query_as(
        "select subject, hour, input_tokens, cache_read_tokens, cache_write_tokens, output_tokens from usage_hour join usage_subject using (subject_id)",
    )
    .fetch_all(&house.db)
    .await
    .unwrap();
    assert_eq!(rows.len(), sums.len());
    for (subject, hour, a, b, c, d) in rows {
        let expected = sums[&(subject.clone(), hour.unix_timestamp() / 3_600)];
        assert_eq!([a, b, c, d].map(i128::from), expected, "{subject} {hour}");
    }
}

/// What vendors count is learned per model: estimates are the 99th percentile of it from then on.
#[tokio::test]
async fn a_models_factor_is_learned_from_what_its_vendor_told() {
    let house = roomy(&[]).await;
    let ann = house.person("ann@example.com").await;
    ann.answer("{{words:1}}").await;
    let told = |n: i32| {
        format!(
        "insert into ai_usage (ai_usage_id, turn_id, subject, model, model_price_id, status, usage_source, counted_tokens, estimated_tokens, reserved_tokens, input_tokens, output_tokens, created_at, settled_at)
         select gen_random_uuid(), gen_random_uuid(), 's', 'claude-haiku-4-5', (select model_price_id from model_price where model = 'claude-haiku-4-5'), 'finished', 'exact', 1000, 1350, 2000, 1100 + n, 5, now(), now() from generate_series(1, {n}) n"
    )
    };
    sqlx::query(sqlx::AssertSqlSafe(told(100))).execute(&house.db).await.unwrap();
    let (_, _stop) = house.second().await; // learns at its start
    house.until("select exists (select from pg_stat_activity where application_name = 'quotient')").await;
    assert_eq!(
        house.one::<Option<i64>>("select input_permille from model where model = 'claude-haiku-4-5'").await,
        None,
        "too few"
    );
    sqlx::query(sqlx::AssertSqlSafe(told(200))).execute(&house.db).await.unwrap();
    let (_, _stop) = house.second().await;
    house
        .until("select coalesce(input_permille, 0) between 1290 and 1300 from model where model = 'claude-haiku-4-5'")
        .await;
    let before: i64 = house.one("select estimated_tokens from ai_usage where subject <> 's'").await;
    ann.answer("{{words:1}}").await;
    let after: Value = json!(
        house
            .one::<i64>("select estimated_tokens from ai_usage where subject <> 's' order by created_at desc limit 1")
            .await
    );
    assert!(after.as_i64().unwrap() < before, "{after} was {before} by the unmeasured bound");
}
