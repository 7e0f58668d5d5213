//! Programs that go away, and providers and servers that fail, while a call is running.

use super::{CHAT, FORMATS, HAIKU, MESSAGES, MINI, Program, app, body, events_of, rows, until_called};
use crate::app::TestApp;
use crate::process::Process;
use crate::turns::assert_all_settled;
use http::StatusCode;
use serde_json::{Value, json};
use std::time::Duration;

/// Field note 20: the end of the connection cancels the provider's call, streamed or not, before and after its first token. A stop is no
/// discount: what was served is charged.
#[tokio::test]
async fn a_program_that_goes_away_stops_its_call() {
    let app = app().await;
    let ann = app.user("ann@example.com").await;
    let program = Program::of(&app, "ann@example.com").await;
    for (index, (path, model, stream, text)) in [
        (CHAT, HAIKU, true, "{{words:20}}{{hold:3}}"),
        (MESSAGES, MINI, true, "{{words:20}}{{hold:3}} again"),
        (CHAT, MINI, false, "{{words:20}}{{hold:0}} whole"),
        (MESSAGES, HAIKU, false, "{{late}} whole"),
    ]
    .into_iter()
    .enumerate()
    {
        let request = program.request("POST", path).json(&body(path, model, text, stream)).send();
        if stream {
            let mut response = request.await.unwrap();
            let mut received = String::new();
            while !received.contains("word3") {
                received.push_str(&String::from_utf8_lossy(&response.chunk().await.unwrap().unwrap()));
            }
            drop(response);
        } else {
            tokio::select! {
                response = request => panic!("{response:?}"),
                () = until_called(&app, text) => {}
            }
        }
        app.until("select not exists (select from ai_usage where status = 'pending')").await;
        app.until("select exists (select from ai_usage)").await;
        let all = rows(&app).await;
        assert_eq!(all.len(), index + 1, "{text}");
        let row = &all[index];
        assert_eq!(row.usage_source.as_deref(), Some("estimated"), "{text}");
        let served = app.provider.served_calls().into_iter().rev().find(|call| call.model == model);
        if stream {
            let served = served.unwrap();
            assert!(!served.ended && row.status == "stopped", "{text}: {row:?}");
            assert!(
                row.output >= served.output.cast_signed() && row.input >= served.input.cast_signed(),
                "{text}: {row:?}, {served:?}"
            );
        } else {
            // Whether the provider's head has arrived when the program leaves is open.
            let is_ended = matches!(row.status.as_str(), "failed" | "stopped");
            assert!(row.input > 0 && is_ended, "the provider may bill the prompt: {row:?}");
        }
    }
    app.provider.release();
    assert_all_settled(&app, &ann).await;
}

/// Sends a request with a cache mark, whose model never responds, and goes away once `check` holds for the pending call.
async fn abandon(app: &TestApp, program: &Program, (path, model): (&str, &str), text: &str, check: &'static str) {
    let content = json!([{"type": "text", "text": text, "cache_control": {"type": "ephemeral"}}]);
    let call = json!({"model": model, "max_tokens": 500, "messages": [{"role": "user", "content": content}]});
    let checked = async {
        until_called(app, text).await;
        app.until(check).await;
    };
    tokio::select! {
        response = program.request("POST", path).json(&call).send() => panic!("{response:?}"),
        () = checked => {}
    }
    rows(app).await;
}

/// Field note 20: a provider may bill a prompt with cache marks as a write to its cache, and OpenAI a long one without. It is held, and if its usage
/// is lost, charged as an estimate. A fallback whose format has no marks writes nothing.
#[tokio::test]
async fn a_marked_prompt_without_a_count_is_charged_as_a_cache_write() {
    let app = app().await;
    let ann = app.user("ann@example.com").await;
    let program = Program::of(&app, "ann@example.com").await;
    app.sql(
        "insert into model_price (model_price_id, model, effective_at, input_micros_per_million, cache_write_micros_per_million,
                                  output_micros_per_million)
         values (gen_random_uuid(), 'gpt-5-mini', now() - interval '1 hour', 250000, 312500, 2000000)",
    )
    .await;
    let held = "select coalesce(bool_and(c.cost_usd * 1000000000000 = u.estimated_tokens * p.cache_write_micros_per_million
                  + (u.reserved_tokens - u.estimated_tokens) * p.output_micros_per_million), false)
                from metered_call c join ai_usage u using (turn_id, created_at) join model_price p using (model_price_id)
                where u.status = 'pending'";
    for (path, model) in [(MESSAGES, HAIKU), (CHAT, HAIKU), (CHAT, MINI), (MESSAGES, MINI)] {
        // OpenAI caches from 1 024 tokens on.
        let text = format!("{{{{mute}}}} {path} {model}{}", " and so on".repeat(400));
        abandon(&app, &program, (path, model), &text, held).await;
    }
    let charged =
        "select count(*) = 4 and bool_and(cache_marks = 'short' and usage_source = 'estimated' and input_tokens = 0
            and cache_write_tokens = estimated_tokens and cache_write_tokens > 0 and cache_write_long_tokens = 0
            and cost_usd * 1000000000000
              = output_tokens * p.output_micros_per_million + estimated_tokens * p.cache_write_micros_per_million)
        from ai_usage join model_price p using (model_price_id)";
    assert!(app.one::<bool>(charged).await);
    app.sql("update model set fallback = 'gpt-4o-mini' where model = 'claude-haiku-4-5'").await;
    app.add_provider("elsewhere", "anthropic", "http://127.0.0.1:9", None).await;
    app.move_model(HAIKU, "elsewhere").await;
    let is_unmarked = "select exists (select from ai_usage where model = 'gpt-4o-mini' and cache_marks is null)";
    abandon(&app, &program, (MESSAGES, HAIKU), "{{mute}} elsewhere", is_unmarked).await;
    let charged =
        "select input_tokens = estimated_tokens and cache_write_tokens = 0 from ai_usage where model = 'gpt-4o-mini'";
    assert!(app.one::<bool>(charged).await);
    assert_all_settled(&app, &ann).await;
}

/// Fields notes 21 and 25: a stream that breaks off ends with an error in its format, and a whole response becomes one.
#[tokio::test]
async fn a_call_that_breaks_off_ends_with_an_error() {
    let app = app().await;
    app.user("ann@example.com").await;
    let program = Program::of(&app, "ann@example.com").await;
    for path in FORMATS {
        for model in [HAIKU, MINI] {
            let text = format!("{{{{words:9}}}}{{{{break:4}}}} {path} {model}");
            let streamed = program.post(path, &body(path, model, &text, true)).await;
            assert_eq!(streamed.status(), StatusCode::OK);
            let events = events_of(&streamed.text().await.unwrap());
            let last = events.last().unwrap().to_string();
            assert!(last.contains("error") && last.contains("stopped before its response was complete"), "{last}");
            let whole = program.post(path, &body(path, model, &format!("{text} whole"), false)).await;
            assert_eq!(whole.status(), StatusCode::BAD_GATEWAY, "{path}");
            assert_eq!(whole.headers()["x-should-retry"], "false");
            let whole: Value = whole.json().await.unwrap();
            assert!(whole["error"]["message"].as_str().unwrap().contains("stopped before"), "{whole}");
        }
    }
    let rows = rows(&app).await;
    assert_eq!(rows.len(), 12);
    assert!(rows.iter().all(|row| row.status == "failed" && row.output >= 4), "{rows:?}");
}

/// A program has its answer although Postgres can't record the call. Once it can, the ledger has exactly what was billed, and a request with an
/// `Idempotency-Key` its answer.
#[tokio::test]
async fn a_call_is_recorded_exactly_after_an_outage_of_postgres() {
    let app = app().await;
    let ann = app.user("ann@example.com").await;
    let program = Program::of(&app, "ann@example.com").await;
    app.sql(
        "create table outage as select;
         create function refuse() returns trigger language plpgsql security definer as $$
         begin
           if exists (select from outage) then raise exception 'unavailable'; end if;
           return new;
         end $$;
         create trigger refuse before update on ai_usage for each row execute function refuse();
         create trigger refuse before update on api_call for each row execute function refuse()",
    )
    .await;
    for stream in [false, true] {
        let request = program.request("POST", CHAT).header("idempotency-key", format!("outage {stream}"));
        let call = body(CHAT, HAIKU, &format!("{{{{words:5}}}} {stream}"), stream);
        let response = request.json(&call).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert!(response.text().await.unwrap().contains("word5"), "the whole answer");
    }
    assert_eq!(app.one::<i64>("select count(*) from ai_usage where status = 'pending'").await, 2);
    // Dropping the triggers would lock tables that a call is locking in another order.
    app.sql("delete from outage").await;
    let rows = rows(&app).await;
    assert!(
        rows.iter().all(|row| row.status == "finished" && row.usage_source.as_deref() == Some("exact")),
        "{rows:?}"
    );
    let recorded: i64 = rows.iter().map(|row| row.input + row.output).sum();
    let served = app.provider.served_calls();
    let billed: u64 = served.iter().map(|call| call.input + call.cache_read + call.cache_write + call.output).sum();
    assert_eq!(recorded, billed.cast_signed());
    app.until("select count(*) = 2 from api_call where body is not null").await;
    assert_all_settled(&app, &ann).await;
}

/// A call that another server has ended as lost, while it couldn't be recorded here, is charged what it has used once it can be recorded.
#[tokio::test]
async fn a_call_that_was_ended_during_an_outage_is_corrected() {
    let app = app().await;
    let ann = app.user("ann@example.com").await;
    let program = Program::of(&app, "ann@example.com").await;
    // The heartbeat of the call still works, and finds its turn ended before the call can be recorded.
    app.sql(
        "create table outage as select;
         create function refuse() returns trigger language plpgsql security definer as $$
         begin
           if current_query() like '%final_row%' and exists (select from outage) then raise exception 'unavailable'; end if;
           return null;
         end $$;
         create trigger refuse before update on ai_usage for each statement execute function refuse();
         create table late_beat ();
         create function note_beat() returns trigger language plpgsql security definer as $$
         begin
           if current_query() like '%set alive_until%' and not exists (select from turn where ended_at is null) then
             insert into late_beat default values;
           end if;
           return null;
         end $$;
         create trigger note_beat before update on turn for each statement execute function note_beat()",
    )
    .await;
    let response = program.post(CHAT, &body(CHAT, HAIKU, "{{words:5}}", false)).await;
    assert_eq!(response.status(), StatusCode::OK);
    // What a reaper writes.
    app.sql(
        "update ai_usage set status = 'lost', usage_source = 'estimated', input_tokens = estimated_tokens, output_tokens = 900,
           cost_usd = 0.5, settled_at = now();
         update turn set ended_at = now()",
    )
    .await;
    app.until("select exists (select from late_beat)").await;
    app.sql("delete from outage").await;
    app.until("select count(*) = 1 from ai_usage where corrects is not null and usage_source = 'exact'").await;
    let served = app.provider.served_calls();
    let billed: u64 = served.iter().map(|call| call.input + call.cache_read + call.cache_write + call.output).sum();
    let recorded: i64 = rows(&app).await.iter().map(|row| row.input + row.output).sum();
    assert_eq!(recorded, billed.cast_signed());
    let waiting = async {
        while ann.quota().await["tokens"]["used"] != recorded {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), waiting).await.expect("the meter has what was used");
}

/// Field note 21: a call whose server died is ended by another one and charged what it had reserved, because no other server knows what was
/// sent.
#[tokio::test]
async fn a_call_of_a_killed_server_is_ended_by_another() {
    let app = app().await;
    let ann = app.user("ann@example.com").await;
    let program = Program::of(&app, "ann@example.com").await;
    let process: Process = app.process(&[("QUOTIENT_DIES_AT", "mid-stream")]).await;
    let there = Program { url: process.url.clone(), ..program.clone() };
    let request = there.request("POST", CHAT).json(&body(CHAT, HAIKU, "{{words:8}}{{pace:2}}", true)).send();
    if let Ok(mut response) = request.await {
        while let Ok(Some(_)) = response.chunk().await {}
    }
    assert_eq!(process.ended().await, None, "the process is killed");
    app.sql("update turn set alive_until = now() - interval '1 second' where ended_at is null").await;
    let (_, stop) = app.start_second().await; // Its reaper runs at startup.
    app.until("select exists (select from ai_usage where status = 'lost')").await;
    assert!(app.one::<bool>("select output_tokens = reserved_tokens - estimated_tokens from ai_usage").await);
    assert_all_settled(&app, &ann).await;
    stop.cancel();
}
