//! Crash recovery: the process is killed at named points, and another server finishes its work exactly once.

use crate::app::TestApp;
use crate::process::Process;
use crate::visitor::{TestClient, events};
use http::StatusCode;
use serde_json::json;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Ages all open turns so that the reaper handles them at once. It runs every fifteen seconds and ends turns without a heartbeat for thirty
/// seconds, which is too long to wait in a test.
async fn time_passes(app: &TestApp) {
    sqlx::query("update turn set alive_until = now() - interval '1 second' where ended_at is null")
        .execute(&app.db)
        .await
        .unwrap();
    sqlx::query("update turn set ended_at = ended_at - interval '1 minute' where meter_settled_at is null")
        .execute(&app.db)
        .await
        .unwrap();
}

/// Sends a message to a process that kills itself at `point`, and returns once it is dead.
async fn dies(app: &TestApp, ann: &TestClient, point: &str, turn: Uuid) {
    let process = app.process(&[("QUOTIENT_DIES_AT", point)]).await;
    let there = TestClient { url: process.url.clone(), ..ann.clone() };
    // At these points the turn must be running, however late the process reads its provider's words.
    let hold = if ["mid-stream", "draining"].contains(&point) { "{{hold:4}}" } else { "" };
    let text = format!("{{{{words:8}}}}{{{{pace:2}}}}{hold}");
    let body = json!({"model": "claude-haiku-4-5", "text": text, "turn_id": turn});
    let request = there.request("POST", "/api/chat").json(&body).send();
    // The process may die before it responds or during the response.
    if let Ok(mut response) = request.await {
        if point == "draining" {
            process.signal("-TERM");
        }
        while let Ok(Some(_)) = response.chunk().await {}
    }
    assert_eq!(process.ended().await, None, "the process must be killed at {point}");
}

/// Field note 21: after `kill -9` at each of seven points there is exactly one final row per provider call, no pending row and no hold, and
/// any row that differs from what the provider served is marked as an estimate.
#[tokio::test]
async fn turns_of_a_killed_process_are_finished_by_another() {
    let app = TestApp::new().await;
    app.limits("free", 1_000, 1_000_000, 100).await;
    let ann = app.user("ann@example.com").await;
    for point in ["reserved", "pending", "sent", "mid-stream", "done-unrecorded", "recorded-unsettled", "draining"] {
        let turn = Uuid::now_v7();
        let (before, calls) =
            (app.provider.served_calls().len(), app.one::<i64>("select count(*) from ai_usage").await);
        dies(&app, &ann, point, turn).await;
        time_passes(&app).await;
        let (_, stop) = app.start_second().await; // Its reaper runs at startup.
        app.until("select not exists (select from ai_usage where status = 'pending')").await;
        app.until("select not exists (select from turn where meter_settled_at is null)").await;
        stop.cancel();
        let rows: Vec<(String, String, i64, i64)> = sqlx::query_as(
            "select status, usage_source, input_tokens + cache_read_tokens, output_tokens from ai_usage where turn_id = $1",
        )
        .bind(turn)
        .fetch_all(&app.db)
        .await
        .unwrap();
        let served = app.provider.served_calls().split_off(before);
        assert_eq!(rows.len() as i64, app.one::<i64>("select count(*) from ai_usage").await - calls, "{point}");
        if point == "reserved" {
            // Nothing was written and no provider was called. The hold lapses ten seconds after it was granted.
            assert!(rows.is_empty() && served.is_empty(), "{point}: {rows:?} {served:?}");
            continue;
        }
        let [(status, source, input, output)] = &rows[..] else { panic!("{point}: {rows:?}") };
        if point == "recorded-unsettled" {
            assert_eq!((status.as_str(), source.as_str()), ("finished", "exact"), "{point}");
        } else {
            assert_eq!((status.as_str(), source.as_str()), ("lost", "estimated"), "{point}");
        }
        if let [call] = &served[..] {
            assert!(*input as u64 >= call.input, "{point}: {rows:?} {call:?}");
            // An exact row equals what the provider served. An estimate counts what the log shows was streamed, all of which the provider
            // has served. Our count for a vocabulary that isn't public is up to 1.7 times as high, plus one for rounding. A text that is
            // cut after a word ends in a space, which then counts as a token of its own: one more is allowed in that case.
            let cut = u64::from(call.text.ends_with(' '));
            let is_right = match source.as_str() {
                "exact" => *output as u64 == call.output,
                _ => *output as u64 * 10 <= (call.output + cut) * 17 + 10,
            };
            assert!(is_right, "{point}: {rows:?} {call:?}");
        }
    }
    // The hold of "reserved" lapses ten seconds after it was granted.
    let lapsing = async {
        while ann.quota().await["in_flight"]["now"] != 0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), lapsing).await.expect("an unconfirmed hold lapses");
    let quota = ann.quota().await;
    let used: i64 = app
        .one("select sum(input_tokens + cache_read_tokens + cache_write_tokens + output_tokens)::bigint from ai_usage")
        .await;
    assert_eq!(
        (&quota["tokens"]["reserved"], &quota["tokens"]["used"]),
        (&json!(0), &json!(used)),
        "the meter equals the ledger"
    );
}

/// After SIGTERM the server reports not ready and running turns continue. Turns that take too long are cut, saved and counted, and can be
/// retried. The process exits in about half a minute.
#[tokio::test]
async fn sigterm_drains_turns_and_stops_the_server() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    let process: Process = app.process(&[]).await;
    let there = TestClient { url: process.url.clone(), ..ann.clone() };
    let turn = Uuid::now_v7();
    let body = json!({"model": "claude-haiku-4-5", "text": "{{words:8}}{{hold:4}}", "turn_id": turn});
    let response = there.post(&body).await;
    assert_eq!(response.status(), StatusCode::OK);
    let signaled_at = Instant::now();
    process.signal("-TERM");
    loop {
        let ready = there.get("/readyz").await;
        assert!(signaled_at.elapsed() < Duration::from_secs(15), "still ready: {}", ready.status());
        if ready.status() == StatusCode::SERVICE_UNAVAILABLE {
            break;
        }
    }
    // New requests are refused with `Retry-After`.
    let refused = there.post(&json!({"model": "claude-haiku-4-5", "text": "{{words:1}}"})).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers().contains_key("retry-after"));
    let events = events(response).await;
    let names: Vec<&str> = events.iter().map(|(_, event)| event.name()).collect();
    assert_eq!(names.last(), Some(&"failed"), "{names:?}");
    assert_eq!(process.ended().await, Some(0));
    assert!(signaled_at.elapsed() < Duration::from_secs(60), "{:?}", signaled_at.elapsed());
    let row: (String, String, String) = sqlx::query_as(
        "select u.status, u.usage_source, m.body from ai_usage u join message m on m.turn_id = u.turn_id and m.role = 'assistant'",
    )
    .fetch_one(&app.db)
    .await
    .unwrap();
    assert_eq!(row, ("failed".into(), "estimated".into(), "word1 word2 word3 word4 ".into()));
    assert_eq!(app.one::<i64>("select count(*) from turn where ended_at is null or meter_settled_at is null").await, 0);
}

/// Redis fails during a response: the user gets the full response, the ledger is exact, and the meters are rebuilt once Redis is back.
#[tokio::test]
async fn redis_failure_during_a_response_loses_nothing() {
    let redis = limits_redis();
    let app = TestApp::with(&[("REDIS_URL", &redis.url)]).await;
    let ann = app.user("ann@example.com").await;
    let response = ann.send_message("{{words:8}}{{hold:4}}").await;
    assert_eq!(response.status(), StatusCode::OK);
    let port = redis.port;
    drop(redis);
    app.provider.release();
    let events = events(response).await;
    assert_eq!(crate::visitor::words(&events).split_whitespace().count(), 8);
    assert_eq!(app.one::<String>("select status || ' ' || usage_source from ai_usage").await, "finished exact");
    assert_eq!(
        ann.send_message("{{words:1}}").await.status(),
        StatusCode::SERVICE_UNAVAILABLE,
        "no paid call without meters"
    );
    let _redis = Redis::start(port);
    let served = app.provider.served_calls().remove(0);
    let recovered = async {
        while ann.get("/api/quota").await.status() != StatusCode::OK {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        ann.quota().await
    };
    let quota = tokio::time::timeout(Duration::from_secs(60), recovered).await.expect("the quota is available again");
    assert_eq!(quota["tokens"]["used"], json!(served.input + served.output), "rebuilt from the ledger");
    assert_eq!(quota["tokens"]["reserved"], 0);
}

/// When Postgres fails before a message is written, no provider is called. When it fails before a response is recorded, the response is
/// recorded once Postgres is back.
#[tokio::test]
async fn postgres_failure_before_writing_or_recording_loses_nothing() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    let running = ann.send_message("{{words:8}}{{hold:4}}").await;
    assert_eq!(running.status(), StatusCode::OK);
    let (admin, name) = app.database.shut().await;
    let response = ann.send_message("{{words:1}}").await;
    assert!(response.status().is_server_error(), "{}", response.status());
    assert_eq!(app.provider.served_calls().len(), 1, "no provider call for a message that isn't written");
    app.provider.release();
    let reading = tokio::spawn(events(running));
    while app.provider.served_calls()[0].text.split_whitespace().count() < 8 {
        tokio::task::yield_now().await;
    }
    let open = format!("alter database {name} allow_connections true");
    sqlx::raw_sql(sqlx::AssertSqlSafe(open)).execute(&admin).await.unwrap();
    let events = reading.await.unwrap();
    assert_eq!(events.last().unwrap().1.name(), "finish");
    assert_eq!(app.one::<String>("select status || ' ' || usage_source from ai_usage").await, "finished exact");
    assert_eq!(app.one::<i64>("select count(*) from message where role = 'assistant'").await, 1);
}

/// A private Redis server for one test, killed on drop.
struct Redis {
    child: std::process::Child,
    port: u16,
    url: String,
}

fn limits_redis() -> Redis {
    // A port outside the ephemeral range: connecting to an ephemeral port before the server listens may connect the socket to itself.
    let free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let first = 10_000 + u16::try_from(std::process::id() % 1_000).unwrap() * 10;
    Redis::start((first..).find(free).unwrap())
}

impl Redis {
    fn start(port: u16) -> Self {
        let child = std::process::Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let redis = Self { child, port, url: format!("redis://127.0.0.1:{port}") };
        let began = Instant::now();
        while redis::Client::open(redis.url.as_str()).unwrap().get_connection().is_err() {
            assert!(began.elapsed() < Duration::from_secs(60), "redis-server doesn't start");
        }
        redis
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
