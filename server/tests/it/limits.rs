//! Limits: never exceeded, no charge for a refusal, a correct retry time.

use crate::app::TestApp;
use crate::visitor::{TestClient, events, problem};
use http::StatusCode;
use limits::{Admission, Allowance, Demand, End};
use reqwest::Response;
use serde_json::json;
use std::collections::HashSet;
use time::{Duration, OffsetDateTime};

async fn subject(app: &TestApp) -> String {
    app.one("select subject from account limit 1").await
}

async fn dump(app: &TestApp) -> Vec<u8> {
    let key = format!("meter:{{user:{}}}", subject(app).await);
    redis::cmd("DUMP").arg(key).query_async(&mut app.redis.clone()).await.unwrap()
}

/// Sends a message in a new conversation until the meters have decided on it.
async fn decided(user: &TestClient, text: &str) -> Response {
    let body = json!({"model": "claude-haiku-4-5", "text": text, "turn_id": uuid::Uuid::now_v7()});
    user.post_until_decided(&body).await
}

/// Field notes 1 and 2: of 64 concurrent requests, exactly as many are admitted as have room for their reservations.
#[tokio::test]
async fn parallel_turns_never_exceed_the_limit_by_reservation() {
    let app = TestApp::new().await;
    app.limits("free", 1000, 20_000, 1000).await;
    sqlx::query("update plan set max_output = 256").execute(&app.db).await.unwrap();
    let ann = app.user("ann@example.com").await;
    let requests = (0..64).map(|_| decided(&ann, "{{words:4}}{{hold}} a question of some length"));
    let answers = futures::future::join_all(requests).await;
    let (granted, refused): (Vec<_>, Vec<_>) =
        answers.into_iter().partition(|answer| answer.status() == StatusCode::OK);
    let each: i64 = app.one("select max(reserved_tokens) from ai_usage").await;
    assert_eq!(granted.len() as i64, (20_000 / each).min(64), "{each} tokens per reservation");
    assert!(refused.iter().all(|answer| answer.status() == StatusCode::TOO_MANY_REQUESTS));
    assert!(app.one::<bool>("select sum(reserved_tokens) <= 20000 from ai_usage").await);
    app.provider.release();
    for answer in granted {
        events(answer).await;
    }
    assert_eq!(ann.quota().await["tokens"]["reserved"], 0);
}

/// Field notes 7 and 14: a refusal changes neither meter nor ledger, and the problem and the header agree on when to retry.
#[tokio::test]
async fn refusal_writes_nothing_and_has_a_retry_time() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    for _ in 0..10 {
        ann.send_and_read("{{words:1}}").await;
    }
    let (before, rows) = (dump(&app).await, app.one::<i64>("select count(*) from ai_usage").await);
    let response = ann.send_message("{{words:1}}").await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    let seconds: u64 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    let problem = problem(response).await;
    assert_eq!((problem["kind"].as_str(), problem["upgrade"].as_str()), (Some("requests_limit"), Some("pro")));
    let ms = problem["retry_after_ms"].as_u64().unwrap();
    assert!(seconds == ms.div_ceil(1000) && (1..=61).contains(&seconds), "{ms} {seconds}");
    assert_eq!(dump(&app).await, before);
    assert_eq!(app.one::<i64>("select count(*) from ai_usage").await, rows);
    // Refusals are counted separately, by user, kind and hour.
    app.until("select exists (select from refusal_hour where kind = 'requests_limit' and n = 1)").await;
}

/// Field notes 10 and 11: a plan change applies to the next request and refills nothing.
#[tokio::test]
async fn new_plan_applies_at_once_and_refills_nothing() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    for _ in 0..10 {
        ann.send_and_read("{{words:50}}").await;
    }
    assert_eq!(ann.send_message("hi").await.status(), StatusCode::TOO_MANY_REQUESTS);
    let used = ann.quota().await["tokens"]["used"].as_u64().unwrap();
    app.plan("ann@example.com", "pro").await;
    let quota = ann.quota().await;
    assert_eq!((quota["tokens"]["used"].as_u64(), quota["requests"]["remaining"].as_u64()), (Some(used), Some(90)));
    ann.send_and_read("{{words:1}}").await;
    app.plan("ann@example.com", "free").await;
    assert_eq!(ann.send_message("hi").await.status(), StatusCode::TOO_MANY_REQUESTS);
}

/// Field notes 4 and 5: on a small plan the reserved output shrinks to what is left, and a request that can never fit gets 413.
#[tokio::test]
async fn holds_shrink_to_what_is_left_and_impossible_requests_get_413() {
    let app = TestApp::new().await;
    app.limits("free", 100, 1_000, 2).await;
    let ann = app.user("ann@example.com").await;
    ann.send_and_read("{{words:30}}").await;
    let reserved: i64 = app.one("select reserved_tokens from ai_usage").await;
    assert_eq!(reserved, 1_000, "the hold is capped at the limit");
    let long = "word ".repeat(2_000);
    let response = ann.send_message(&long).await;
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let problem = problem(response).await;
    assert_eq!(
        (problem["kind"].as_str(), problem["max"].as_u64(), problem["upgrade"].as_str()),
        (Some("too_large"), Some(744), Some("pro"))
    );
    let estimate: serde_json::Value =
        ann.request("POST", "/api/estimate").json(&json!({"text": long})).send().await.unwrap().json().await.unwrap();
    assert_eq!(estimate["fits"], false);
    assert!(estimate["input_tokens"].as_u64().unwrap() > 2_000);
}

/// Field note 3: lost meters are rebuilt from the ledger, including the holds of running turns. They never mean "no limit".
#[tokio::test]
async fn lost_meters_are_rebuilt_from_the_ledger() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    ann.send_and_read("{{words:50}}").await;
    let running = ann.send_message("{{words:4}}{{hold}}").await;
    let before = ann.quota().await;
    let key = format!("meter:{{user:{}}}", subject(&app).await);
    let removed: i64 = redis::cmd("DEL").arg(&key).query_async(&mut app.redis.clone()).await.unwrap();
    assert_eq!(removed, 1);
    let after = ann.quota().await;
    for part in ["limit", "used", "reserved", "remaining"] {
        assert_eq!(after["tokens"][part], before["tokens"][part], "{part}");
    }
    assert_eq!(
        (&after["requests"]["remaining"], &after["in_flight"]["now"]),
        (&before["requests"]["remaining"], &json!(1))
    );
    app.provider.release();
    events(running).await;
    let quota = ann.quota().await;
    let counted: i64 = app
        .one("select sum(input_tokens + cache_read_tokens + cache_write_tokens + output_tokens)::bigint from ai_usage")
        .await;
    assert_eq!((quota["tokens"]["used"].as_i64(), quota["tokens"]["reserved"].as_i64()), (Some(counted), Some(0)));
}

#[tokio::test]
async fn concurrent_turns_are_limited() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    let _running = futures::future::join_all((0..2).map(|_| ann.send_message("{{words:4}}{{hold}}"))).await;
    let response = ann.send_message("hi").await;
    assert_eq!(
        (response.status(), response.headers()["retry-after"].to_str().unwrap()),
        (StatusCode::TOO_MANY_REQUESTS, "2")
    );
    assert_eq!(problem(response).await["kind"], "in_flight_limit");
    app.provider.release();
}

/// Field note 9: without Redis paid calls are refused, while pages and history keep working.
#[tokio::test]
async fn paid_calls_are_refused_without_redis() {
    let app = TestApp::with(&[("REDIS_URL", "redis://127.0.0.1:1")]).await;
    let ann = app.user("ann@example.com").await;
    let began = std::time::Instant::now();
    let response = ann.send_message("hi").await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(response.headers().contains_key("retry-after"));
    assert_eq!(problem(response).await["kind"], "limits_unavailable");
    assert!(began.elapsed() < std::time::Duration::from_secs(30), "{:?}", began.elapsed());
    assert!(app.provider.served_calls().is_empty());
    assert!(ann.text("/chat").await.contains("Your limits can't be loaded"));
    assert_eq!(ann.get("/usage").await.status(), StatusCode::OK);
    assert_eq!(ann.get("/readyz").await.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(ann.get("/healthz").await.status(), StatusCode::OK);
    // A turn of another server can't be followed or stopped for now.
    let turn: uuid::Uuid = app
        .one(
            "insert into turn (turn_id, user_id, subject, request_hash, alive_until, created_at)
             select gen_random_uuid(), user_id, subject, '', now() + interval '1 hour', now() from account returning turn_id",
        )
        .await;
    for (method, action) in [("GET", "events"), ("POST", "stop")] {
        let refused = ann.request(method, &format!("/api/turns/{turn}/{action}")).send().await.unwrap();
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE, "{action}");
        assert!(refused.headers().contains_key("retry-after"));
        assert_eq!(problem(refused).await["kind"], "overloaded");
    }
}

/// Field notes 6 and 32: every provider call is admitted. The types ensure it: `provider.rs` is the only caller of `providers` (checked by
/// `tidy.rs`), and its `open` requires a permit. This test checks that no path reaches the provider when signed out.
#[tokio::test]
async fn no_path_reaches_the_provider_unadmitted() {
    let app = TestApp::new().await;
    let visitor = app.visitor();
    for (method, path) in [
        ("POST", "/api/chat"),
        ("POST", "/api/estimate"),
        ("GET", "/api/quota"),
        ("POST", "/api/turns/0193a000-0000-7000-8000-000000000000/stop"),
    ] {
        let response = visitor.request(method, path).json(&json!({"text": "hi"})).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{path}");
    }
    assert!(app.provider.served_calls().is_empty());
}

/// Field note 17: the global spend cap stops all paid calls on both servers, exact to the nano-dollar. A refused user has nothing reserved
/// or charged, and a lost meter is rebuilt from the ledger.
#[tokio::test]
async fn a_spend_cap_stops_every_user() {
    let app = TestApp::with(&[("GLOBAL_DAILY_SPEND_USD", "0.05")]).await;
    app.limits("free", 1000, 1_000_000, 1000).await;
    // The output of a response costs at most 256 × $5 per million, so about forty of them fit into five cents.
    sqlx::query("update plan set max_output = 256").execute(&app.db).await.unwrap();
    let ann = app.user("ann@example.com").await;
    let mut other = ann.clone();
    (other.url, _) = app.start_second().await;
    let requests =
        (0..64).map(|n| if n % 2 == 0 { &ann } else { &other }).map(|user| decided(user, "{{words:4}}{{hold}} hello"));
    let answers = futures::future::join_all(requests).await;
    let (granted, refused): (Vec<_>, Vec<_>) =
        answers.into_iter().partition(|answer| answer.status() == StatusCode::OK);
    assert!(!granted.is_empty() && !refused.is_empty(), "{} granted", granted.len());
    for answer in refused {
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(answer.headers().contains_key("retry-after"));
        assert_eq!(problem(answer).await["kind"], "spend_cap");
    }
    // The total reserved cost of all users, computed from the ledger, stays under the cap.
    let held = "select sum(estimated_tokens * p.input_micros_per_million + (reserved_tokens - estimated_tokens) * p.output_micros_per_million) <= 50000000000
                from ai_usage join model_price p using (model_price_id)";
    assert!(app.one::<bool>(held).await);
    assert_eq!(ann.quota().await["in_flight"]["now"].as_u64(), Some(granted.len() as u64));
    app.provider.release();
    for answer in granted {
        events(answer).await;
    }
    app.until("select bool_and(meter_settled_at is not null) from turn").await;
    // The actual cost is low, so there is room again, and the meter is rebuilt from the ledger to the same sum.
    ann.send_and_read("{{words:1}}").await;
    app.until("select bool_and(meter_settled_at is not null) from turn").await;
    let (counted, _) = app.budget(None).await;
    let nanos: i64 = app.one("select ceil(sum(ceil(cost_usd * 1000000000)))::bigint from ai_usage").await;
    assert_eq!(counted, nanos as u64, "the meter equals the sum of the ledger");
    assert!(app.forget_budget(None).await);
    ann.send_and_read("{{words:1}}").await;
    let nanos: i64 = app.one("select ceil(sum(ceil(cost_usd * 1000000000)))::bigint from ai_usage").await;
    assert_eq!(app.budget(None).await, (nanos as u64, 0), "rebuilt from the ledger");
}

/// Field note 17: sign-in attempts are limited per account and per address, and the form says when the next one is possible.
#[tokio::test]
async fn sign_in_is_limited_by_account_and_address() {
    let app = TestApp::new().await;
    app.user("ann@example.com").await;
    let mut eve = app.visitor();
    for _ in 0..10 {
        let wrong = eve.form("/sign-in", &[("email", "ann@example.com"), ("password", "guess")]).await;
        assert_eq!(wrong.status(), StatusCode::UNPROCESSABLE_ENTITY);
    }
    // The limit also applies to another spelling of the email and to the correct password.
    let refused = eve.form("/sign-in", &[("email", "ANN@example.com"), ("password", "correct horse")]).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    let seconds: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=915).contains(&seconds), "{seconds}");
    assert!(refused.text().await.unwrap().contains("It works again in"));
    // Other accounts are unaffected.
    app.user("bob@example.com").await;
    let mut last = StatusCode::OK;
    for n in 0..40 {
        last = eve
            .form("/sign-up", &[("email", &format!("eve{n}@example.com")), ("password", "correct horse")])
            .await
            .status();
    }
    assert_eq!(last, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(app.one::<i64>("select count(*) from account").await, 30, "the limit per address and 15 minutes");
}

/// A meter that differs from the ledger is found, rebuilt and shown to the owner. A meter that agrees is left unchanged.
#[tokio::test]
async fn meters_are_compared_with_the_ledger() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    ann.send_and_read("{{words:9}}").await;
    app.until("select bool_and(meter_settled_at is not null) from turn").await;
    let used = ann.quota().await["tokens"]["used"].as_u64().unwrap();
    let (users, ann_subject) = (app.users(None), subject(&app).await);
    let plenty = Allowance { limits: &[1 << 50; 2], in_flight: None };
    let Admission::Granted(fault) = users.admit(&ann_subject, "a fault", plenty, Demand::exactly(777)).await.unwrap()
    else {
        panic!()
    };
    users.end(&ann_subject, "a fault", fault.at_ms(), End::Settle(777)).await.unwrap();
    drop(fault);
    assert_eq!(ann.quota().await["tokens"]["used"], used + 777);
    // Moves all activity back by an hour, so that the meter is compared.
    sqlx::query("update turn set ended_at = ended_at - interval '1 hour'").execute(&app.db).await.unwrap();
    sqlx::raw_sql("alter table ai_usage disable trigger user; update ai_usage set settled_at = settled_at - interval '1 hour', created_at = created_at; alter table ai_usage enable trigger user")
        .execute(&app.db)
        .await
        .unwrap();
    let (_, _stop) = app.start_second().await; // It compares meters at startup.
    app.until("select exists (select from meter_drift where found_tokens = ledger_tokens + 777)").await;
    app.until("select count(*) = 1 from meter_drift").await;
    assert_eq!(ann.quota().await["tokens"]["used"], used);
    let admin = app.user("admin@example.com").await;
    assert!(admin.text("/admin/health").await.contains("usage counters rebuilt in 24 hours"));
}

/// A subject is idle if it has usage, nothing running and nothing finished in the last two minutes. The list query and the check of a
/// single subject agree.
#[tokio::test]
async fn quiet_subjects_match_the_ledger() {
    let app = TestApp::new().await;
    crate::sums::load(&app.db, 400, 60, 2, 0.25).await;
    let now = OffsetDateTime::now_utc();
    for _ in 0..8 {
        crate::sums::late(&app.db, now - Duration::hours(3)).await; // These calls end now.
    }
    let since = now - Duration::hours(25);
    let rows: Vec<(String, bool, OffsetDateTime)> = sqlx::query_as(
        "select subject, status = 'pending', coalesce(settled_at, created_at) from ai_usage where created_at >= $1",
    )
    .bind(since)
    .fetch_all(&app.db)
    .await
    .unwrap();
    let is_busy = |row: &&(String, bool, OffsetDateTime)| row.1 || row.2 >= now - Duration::minutes(2);
    let busy: HashSet<&str> = rows.iter().filter(is_busy).map(|row| row.0.as_str()).collect();
    let subjects: HashSet<&str> = rows.iter().map(|row| row.0.as_str()).collect();
    let mut rounds = store::idle::IdleSubjects::default();
    let listed = rounds.next_round(&app.store, since, now, 1_000).await.unwrap();
    let idle: HashSet<String> = listed.iter().cloned().collect();
    assert_eq!(idle.len(), listed.len());
    // Short rounds continue one another: together they list each subject once, and then begin again.
    let mut again = Vec::new();
    while again.len() < listed.len() {
        let round = rounds.next_round(&app.store, since, now, 7).await.unwrap();
        assert_eq!(round.len(), 7_usize.min(listed.len() - again.len()));
        again.extend(round);
    }
    assert_eq!(again, listed);
    if listed.len().is_multiple_of(7) {
        assert!(rounds.next_round(&app.store, since, now, 7).await.unwrap().is_empty());
    }
    assert_eq!(rounds.next_round(&app.store, since, now, 7).await.unwrap(), listed[..7]);
    assert!(!busy.is_empty() && busy.len() < subjects.len());
    assert_eq!(idle.iter().map(String::as_str).collect::<HashSet<_>>(), &subjects - &busy);
    for subject in subjects.into_iter().chain(["another subject"]) {
        let is_idle = store::idle::is_idle(&app.store, subject, since, now).await.unwrap();
        assert_eq!(is_idle, idle.contains(subject), "{subject}");
    }
}

/// Clients choose turn ids. When two users send the same id at once, the global budget still counts exactly what the ledger has.
#[tokio::test]
async fn duplicate_turn_ids_do_not_bypass_the_spend_cap() {
    let app = TestApp::with(&[("GLOBAL_DAILY_SPEND_USD", "5")]).await;
    app.limits("free", 1000, 1_000_000, 1000).await;
    let (ann, bob) = (app.user("ann@example.com").await, app.user("bob@example.com").await);
    let mut elsewhere = bob.clone();
    (elsewhere.url, _) = app.start_second().await;
    for _ in 0..12 {
        let body = json!({"model": "claude-haiku-4-5", "text": "{{words:9}}", "turn_id": uuid::Uuid::now_v7()});
        let answers = futures::future::join_all([ann.post(&body), elsewhere.post(&body), bob.post(&body)]).await;
        assert!(answers.iter().any(|answer| answer.status() == StatusCode::OK));
        for answer in answers {
            if answer.status() == StatusCode::OK {
                events(answer).await;
            }
        }
    }
    app.until("select bool_and(meter_settled_at is not null) from turn").await;
    let (counted, _) = app.budget(None).await;
    let nanos: i64 = app.one("select ceil(sum(ceil(cost_usd * 1000000000)))::bigint from ai_usage").await;
    assert_eq!(counted, nanos as u64);
}
