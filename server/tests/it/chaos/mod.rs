//! Faults found in two hours of chaos testing: frozen connections, wrong clocks, providers that refuse or never answer, meters lost
//! between admission and write, floods. `./dev chaos` injects the same faults into two servers for ten minutes.

mod flood;
mod pools;
mod wire;

use crate::app::TestApp;
use crate::visitor::{TestClient, events, problem, words};
use domain::{Outcome, TurnEvent, UsageSource};
use futures::future::join_all;
use http::StatusCode;
use serde_json::json;
use std::time::Duration;
use uuid::Uuid;
use wire::Wire;

/// Repeats a request until it returns the status `wanted`. Panics after 120 s.
async fn until_status(visitor: &TestClient, path: &str, wanted: StatusCode) {
    let waiting = async {
        while visitor.get(path).await.status() != wanted {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), waiting).await.unwrap_or_else(|_| panic!("no {wanted} from {path}"));
}

/// Field note 98: connections to Postgres freeze while all of them are in use. The server abandons them, opens new ones and recovers
/// without a restart.
#[tokio::test]
async fn frozen_connections_to_postgres_are_replaced() {
    let app = TestApp::new().await;
    app.limits("free", 1_000, 1_000_000, 100).await;
    let ann = app.user("ann@example.com").await;
    let (wire, through) = Wire::to_postgres(&app.config.database_url).await;
    let (url, stop) = app.start_second_with(|config| config.database_url = through).await;
    let there = TestClient { url, ..ann.clone() };
    events(there.send_message("{{words:2}}").await).await;
    let mut lock = app.db.begin().await.unwrap();
    sqlx::query("lock table turn in access exclusive mode").execute(&mut *lock).await.unwrap();
    let stuck: Vec<_> =
        (0..25).map(|n| tokio::spawn(there.clone().post_owned(json!({"text": format!("stuck {n}")})))).collect();
    app.until(
        "select count(*) >= 18 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
    )
    .await;
    wire.freeze();
    lock.rollback().await.unwrap();
    until_status(&there, "/readyz", StatusCode::OK).await;
    let answer = there.send_message("{{words:3}} after the freeze").await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(words(&events(answer).await).split_whitespace().count(), 3);
    // Requests that waited for a connection got a new one. Requests on a frozen connection are refused with `Retry-After`.
    let mut refused = 0;
    for response in join_all(stuck).await {
        let response = response.unwrap();
        if response.status() != StatusCode::OK {
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert!(response.headers().contains_key("retry-after"));
            refused += 1;
        }
    }
    assert!(refused > 0);
    stop.cancel();
}

/// Field note 99: servers whose clocks are five minutes ahead or behind reap only turns that have expired by Postgres' clock.
#[tokio::test]
async fn wrong_clocks_end_no_running_turn() {
    let app = TestApp::new().await;
    app.limits("free", 1_000, 1_000_000, 100).await;
    let ann = app.user("ann@example.com").await;
    // The heartbeat of the server that runs a turn doesn't revive it once its lease has expired, however long the other server takes to start.
    app.sql(
        "create function keep_expired() returns trigger language plpgsql as $$ begin
           if old.alive_until < now() then new.alive_until := old.alive_until; end if;
           return new;
         end $$;
         create trigger keep_expired before update on turn for each row execute function keep_expired()",
    )
    .await;
    let running = ann.send_message("{{words:4}}{{hold}} goes on").await;
    assert_eq!(running.status(), StatusCode::OK);
    for offset in ["300", "-300"] {
        let turn = Uuid::now_v7();
        let expired = ann.post(&json!({"text": "{{words:4}}{{hold}} dies", "turn_id": turn})).await;
        assert_eq!(expired.status(), StatusCode::OK);
        sqlx::query("update turn set alive_until = now() - interval '1 second' where turn_id = $1")
            .bind(turn)
            .execute(&app.db)
            .await
            .unwrap();
        let _other_server = app.process(&[("QUOTIENT_CLOCK_OFFSET_S", offset)]).await;
        app.until("select count(*) filter (where status = 'pending') = 1 and bool_or(status = 'lost') from ai_usage")
            .await;
        sqlx::query("delete from turn where turn_id = $1").bind(turn).execute(&app.db).await.unwrap();
    }
    app.provider.release();
    assert!(matches!(events(running).await.last(), Some((_, TurnEvent::Finish { outcome: Outcome::Finished, .. }))));
}

/// Field note 100: calls that a provider refuses count as requests, so they can't be used to bypass the limit. While the circuit is open,
/// nothing is written except at most one probe.
#[tokio::test]
async fn refused_calls_count_as_requests() {
    let app = TestApp::new().await;
    app.limits("free", 10, 1_000_000, 100).await;
    let ann = app.user("ann@example.com").await;
    let text = "{{status:400}} refused";
    let answers = join_all((0..40).map(|_| ann.send_message(text))).await;
    let refused = answers.iter().filter(|answer| answer.status() == StatusCode::BAD_GATEWAY).count();
    assert!(refused <= 10 && app.provider.call_count(text) <= 10, "{refused}, {} calls", app.provider.call_count(text));
    let last = ann.send_message(text).await;
    assert_eq!(last.status(), StatusCode::TOO_MANY_REQUESTS, "the limit is ten requests a minute");
    assert_eq!(problem(last).await["kind"], "requests_limit");
    assert_eq!(ann.quota().await["tokens"]["used"], 0, "refused calls use no tokens");
    // Lost meters are rebuilt including the refused calls.
    let subject: String = app.one("select subject from account").await;
    let key = format!("meter:{{user:{subject}}}");
    let gone: i64 = redis::cmd("DEL").arg(key).query_async(&mut app.redis.clone()).await.unwrap();
    assert_eq!((gone, &ann.quota().await["requests"]["remaining"]), (1, &json!(0)));

    app.limits("free", 1_000, 1_000_000, 100).await;
    let down = "{{status:529}}{{after:0}} down";
    while app.provider.call_count(down) < 5 {
        assert_eq!(ann.send_message(down).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
    let (calls, rows) = (app.provider.call_count(down), app.one::<i64>("select count(*) from ai_usage").await);
    for answer in join_all((0..20).map(|_| ann.send_message(down))).await {
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(answer.headers().contains_key("retry-after"));
    }
    assert!(app.provider.call_count(down) <= calls + 3, "one probe at most");
    assert!(app.one::<i64>("select count(*) from ai_usage").await <= rows + 1);
}

/// Field note 101: the meters are lost after a turn is admitted and before it is written, and a second turn is admitted on meters that lack
/// the first. Both holds are gone when the turns are written, so neither turn reaches a provider.
#[tokio::test]
async fn meters_lost_before_the_write_admit_no_extra_call() {
    let app = TestApp::new().await;
    app.limits("free", 1_000, 1_000, 100).await;
    sqlx::query("update plan set max_output = 900").execute(&app.db).await.unwrap();
    let ann = app.user("ann@example.com").await;
    let subject: String = app.one("select subject from account").await;
    let key = format!("meter:{{user:{subject}}}");
    let mut lock = app.db.begin().await.unwrap();
    sqlx::query("lock table message in share mode").execute(&mut *lock).await.unwrap();
    let mut requests = Vec::new();
    for n in 1..=2 {
        requests.push(tokio::spawn(ann.clone().post_owned(json!({"text": format!("{{{{words:2}}}} number {n}")}))));
        // Of this table: a job may wait for another lock.
        let waits = format!(
            "select count(*) = {n} from pg_locks join pg_database on pg_database.oid = database
             where datname = current_database() and relation = 'message'::regclass and not granted"
        );
        while !sqlx::query_scalar::<_, bool>(sqlx::AssertSqlSafe(waits.clone())).fetch_one(&app.db).await.unwrap() {
            tokio::task::yield_now().await;
        }
        let gone: i64 = redis::cmd("DEL").arg(&key).query_async(&mut app.redis.clone()).await.unwrap();
        let waiting = "select coalesce(string_agg(query, '; '), '') from pg_stat_activity
                       where datname = current_database() and wait_event_type = 'Lock'";
        assert_eq!(gone, 1, "waiting: {}", app.one::<String>(waiting).await);
        // The meter is rebuilt without the turn that isn't written yet.
        assert_eq!(ann.quota().await["tokens"]["reserved"], 0);
    }
    lock.rollback().await.unwrap();
    let mut statuses: Vec<u16> =
        join_all(requests).await.into_iter().map(|answer| answer.unwrap().status().as_u16()).collect();
    statuses.sort_unstable();
    assert_eq!(
        (statuses, app.provider.served_calls().len()),
        (vec![503, 503], 0),
        "neither hold existed when its turn was written"
    );
    app.until("select not exists (select from ai_usage where status = 'pending')").await;
    assert_eq!(ann.quota().await["tokens"]["used"], 0);
    events(ann.send_message("{{words:2}}").await).await;
}

/// Field note 102: a provider that counts fewer tokens than the server stops at its own limit. The server waits for its count and keeps the
/// full text. Where only an estimate is available, it never exceeds the reservation.
#[tokio::test]
async fn no_estimate_exceeds_its_reservation() {
    let app = TestApp::new().await;
    app.limits("free", 1_000, 1_000_000, 100).await;
    // What the fake provider counts as one token may be up to three in our count.
    sqlx::query("update plan set max_output = 256").execute(&app.db).await.unwrap();
    let ann = app.user("ann@example.com").await;
    let all = events(ann.send_message("hello").await).await;
    let served = app.provider.served_calls().remove(0);
    assert_eq!(words(&all), served.text, "the text isn't cut");
    let Some((_, TurnEvent::Finish { usage, usage_source, .. })) = all.last() else { panic!("{all:?}") };
    assert_eq!((usage.output.0, *usage_source), (served.output, UsageSource::Exact));

    let endless = events(ann.send_message("{{words:5000}}{{endless}}").await).await;
    let Some((_, TurnEvent::Finish { outcome, usage_source, .. })) = endless.last() else { panic!("{endless:?}") };
    assert_eq!((*outcome, *usage_source), (Outcome::Truncated, UsageSource::Estimated));
    let over = "select count(*) from ai_usage where usage_source = 'estimated'
                and input_tokens + cache_read_tokens + cache_write_tokens + output_tokens > reserved_tokens";
    assert_eq!(app.one::<i64>(over).await, 0);
}

/// Field note 104: a provider accepts calls and never answers. Its circuit opens after three concurrent silent calls, so that later
/// requests don't wait too. The problem of each silent call says how much was counted, and why.
#[tokio::test]
async fn a_silent_provider_opens_its_circuit() {
    let app = TestApp::with(&[("PROVIDER_FIRST_BYTE_TIMEOUT_MS", "8000")]).await;
    app.limits("free", 1_000, 1_000_000, 100).await;
    let ann = app.user("ann@example.com").await;
    let silent: Vec<_> = (0..3)
        .map(|n| {
            tokio::spawn(
                ann.clone().post_owned(json!({"model": "claude-haiku-4-5", "text": format!("{{{{mute}}}} {n}")})),
            )
        })
        .collect();
    let waiting = async {
        while ann.send_message("{{words:1}}").await.status() == StatusCode::OK {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), waiting).await.expect("the circuit opens");
    assert!(silent.iter().any(|call| !call.is_finished()), "the circuit must open before the calls time out");
    for answer in join_all(silent).await {
        let problem = problem(answer.unwrap()).await;
        assert_eq!(problem["kind"], "model_unavailable");
        assert!(problem["message"].as_str().unwrap().contains("tokens were counted"), "{problem}");
    }
}

/// Field note 105: without Postgres, requests are refused at once with `Retry-After`.
#[tokio::test]
async fn without_postgres_requests_are_refused_at_once() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    let (admin, name) = app.database.shut().await;
    until_status(&ann, "/api/quota", StatusCode::SERVICE_UNAVAILABLE).await;
    for answer in join_all((0..50).map(|_| ann.get("/api/quota"))).await {
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(answer.headers().contains_key("retry-after"));
        assert_eq!(problem(answer).await["kind"], "overloaded");
    }
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("alter database {name} allow_connections true")))
        .execute(&admin)
        .await
        .unwrap();
    until_status(&ann, "/api/quota", StatusCode::OK).await;
}

/// Field note 105: SIGTERM stops the server even while Postgres is down.
#[tokio::test]
async fn server_without_postgres_stops_on_sigterm() {
    if !crate::settings::is_long() {
        return; // Takes the full drain time; runs with `./dev test --long`.
    }
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    let process = app.process(&[]).await;
    let there = TestClient { url: process.url.clone(), ..ann.clone() };
    let running = there.send_message("{{words:8}}{{hold:4}}").await;
    assert_eq!(running.status(), StatusCode::OK);
    app.database.shut().await;
    process.signal("-TERM");
    let events = events(running).await;
    assert!(
        matches!(events.last(), Some((_, TurnEvent::Failed { .. }))),
        "no finish event for a turn that isn't recorded: {events:?}"
    );
    assert_eq!(process.ended().await, Some(0));
}

/// Field note 108: a refusal before any output doesn't promise saved text, and a problem never blames a model that wasn't called.
#[tokio::test]
async fn problems_say_what_happened() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    let refused = problem(ann.send_message("{{status:400}}").await).await;
    assert!(!refused["message"].as_str().unwrap().contains("kept"), "{refused}");
    let broken = events(ann.send_message("{{words:5}}{{break:3}}").await).await;
    let Some((_, TurnEvent::Failed { problem: broken })) = broken.last() else { panic!("{broken:?}") };
    assert!(broken.message.contains("What it wrote is saved"), "{broken:?}");
    // A turn whose server died before its first event is reported at once, without waiting for the reaper.
    let turn = Uuid::now_v7();
    let body = json!({"text": "{{words:1}}", "turn_id": turn});
    let process = app.process(&[("QUOTIENT_DIES_AT", "pending")]).await;
    let there = TestClient { url: process.url.clone(), ..ann.clone() };
    let died = there.request("POST", "/api/chat").json(&body).send().await;
    assert!(died.is_err(), "{died:?}");
    assert_eq!(process.ended().await, None, "the process is killed");
    sqlx::query("update turn set alive_until = now() - interval '1 second' where turn_id = $1")
        .bind(turn)
        .execute(&app.db)
        .await
        .unwrap();
    let gone = ann.post(&body).await;
    assert_eq!(gone.status(), StatusCode::GONE);
    let message = problem(gone).await["message"].as_str().unwrap().to_owned();
    assert!(!message.contains("conversation has it"), "{message}");
}
