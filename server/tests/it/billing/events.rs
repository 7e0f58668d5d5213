//! Stripe events: any order, any number of copies, and only with a valid signature.

use super::{
    ALL_DONE, FAILS_LATER, GOOD, JOBS_OF_BILLING, ON_FREE, ON_PRO, buy, control, event, now, post, redirect_target,
    selling, signature, signed,
};
use crate::app::TestApp;
use fakes::WEBHOOK_SECRET;
use http::StatusCode;
use serde_json::{Value, json};
use std::time::Duration;

/// Field note 34: a hundred copies of each event, sent to two servers, have one effect.
#[tokio::test]
async fn a_hundred_copies_of_an_event_have_one_effect() {
    let app = selling(&[]).await;
    sqlx::query("update plan set trial_days = 2 where plan_id = 'pro'").execute(&app.db).await.unwrap();
    app.stripe.hold();
    let mut ann = app.user("ann@example.com").await;
    buy(&mut ann, "pro", GOOD).await;
    let events = app.stripe.take_held_events();
    let (second, _stop) = app.start_second().await;
    for sent in &events {
        let copies = (0..100).map(|n| event(if n % 2 == 0 { &app.url } else { &second }, sent));
        futures::future::join_all(copies).await;
    }
    app.until(ALL_DONE).await;
    assert_eq!(
        app.one::<i64>("select count(*) from stripe_event where type !~ '^(product|price)'").await as usize,
        events.len()
    );
    assert!(app.one::<bool>(ON_PRO).await);
    // The trial ends within three days, so exactly one mail is queued.
    assert_eq!(app.one::<i64>(JOBS_OF_BILLING).await, 1);
    assert_eq!(app.one::<i64>("select count(*) from subscription").await, 1);
    assert_eq!(app.one::<i64>("select count(*) from trial").await, 1);
}

/// Returns all permutations of the indexes `0..count`.
fn permutations(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    let shorter = permutations(count - 1);
    let insert = |position: usize| {
        shorter.iter().map(move |order| {
            let mut order = order.clone();
            order.insert(position, count - 1);
            order
        })
    };
    (0..count).flat_map(insert).collect()
}

/// Delivers six events in every order while the state at Stripe stays fixed. Checks that each order ends in `wanted`: plan and
/// subscription status.
async fn every_order(app: &TestApp, events: &[Value], wanted: (&str, &str)) {
    let kinds = [
        "checkout.session.completed",
        "customer.subscription.created",
        "customer.subscription.updated",
        "customer.subscription.deleted",
        "invoice.paid",
        "invoice.payment_failed",
    ];
    let six: Vec<&Value> = kinds
        .iter()
        .map(|kind| events.iter().find(|event| event["type"] == *kind).unwrap_or_else(|| panic!("{kind}")))
        .collect();
    let orders = permutations(six.len());
    assert_eq!(orders.len(), 720);
    // All orders with `./dev test --long`. Otherwise 25, in which each event comes first, last, and before each other one.
    let step = if crate::settings::is_long() { 1 } else { 29 };
    for (n, order) in orders.into_iter().enumerate().step_by(step) {
        sqlx::raw_sql(
            "truncate stripe_event, subscription, subscription_price, invoice; update account set plan_id = 'free'",
        )
        .execute(&app.db)
        .await
        .unwrap();
        for index in &order {
            let mut sent = six[*index].clone();
            sent["id"] = json!(format!("evt_{n}_{index}"));
            event(&app.url, &sent).await;
        }
        app.until(ALL_DONE).await;
        let plan: String = app.one("select plan_id from account").await;
        let status: String =
            app.one("select status from subscription order by created_at desc, subscription_id limit 1").await;
        assert_eq!((plan.as_str(), status.as_str()), wanted, "{order:?}");
    }
}

/// Field note 35: no order of events restores a plan that has ended.
#[tokio::test]
async fn every_order_of_events_ends_canceled() {
    let app = selling(&[]).await;
    app.stripe.hold();
    let mut ann = app.user("ann@example.com").await;
    buy(&mut ann, "max", FAILS_LATER).await;
    control(&app, "clock", &[("days", "120")]).await;
    assert_eq!(app.stripe.all("subscription")[0]["status"], "canceled");
    every_order(&app, &app.stripe.take_held_events(), ("free", "canceled")).await;
}

/// Field note 35: in the other direction, no order of events removes a paid plan.
#[tokio::test]
async fn every_order_of_events_ends_active() {
    let app = selling(&[]).await;
    app.stripe.hold();
    let mut ann = app.user("ann@example.com").await;
    buy(&mut ann, "max", FAILS_LATER).await;
    control(&app, "clock", &[("days", "40")]).await;
    let subscription = app.stripe.all("subscription")[0].clone();
    assert_eq!(subscription["status"], "past_due");
    // A new card pays the open invoice.
    let url = redirect_target(&ann.form("/billing/portal", &[]).await);
    ann.client.post(&url).form(&[("do", "card"), ("card", GOOD)]).send().await.unwrap();
    let mut events = app.stripe.take_held_events();
    assert_eq!(app.stripe.object(subscription["id"].as_str().unwrap()).unwrap()["status"], "active");
    // A forged event that claims the subscription was deleted.
    events.push(
        json!({"id": "evt_x", "type": "customer.subscription.deleted", "created": 1, "data": {"object": subscription}}),
    );
    every_order(&app, &events, ("max", "active")).await;
}

/// A worker is killed after it applied an event and before it committed. The event is rolled back, and another server applies it once.
#[tokio::test]
async fn event_of_a_killed_worker_is_applied_once_by_another() {
    let app = selling(&[]).await;
    sqlx::query("update plan set trial_days = 2 where plan_id = 'pro'").execute(&app.db).await.unwrap();
    app.stripe.hold();
    let mut ann = app.user("ann@example.com").await;
    buy(&mut ann, "pro", GOOD).await;
    let events = app.stripe.take_held_events();
    let created = events.iter().find(|event| event["type"] == "customer.subscription.created").unwrap().clone();
    let (db, config) = (app.db.clone(), app.config.clone());
    let stripe_url = app.stripe.url();
    // Marking an event as done waits for a lock that this test holds.
    sqlx::raw_sql(
        "create function wait() returns trigger language plpgsql as $$ begin perform pg_advisory_xact_lock_shared(7); return new; end $$;
         create trigger wait before update on stripe_event for each row when (new.done_at is not null) execute function wait()",
    )
    .execute(&db)
    .await
    .unwrap();
    let mut gate = db.acquire().await.unwrap();
    sqlx::raw_sql("select pg_advisory_lock(7)").execute(&mut *gate).await.unwrap();
    // Replaces the in-process server with a separate process that can be killed.
    let stopped = app.stop_server().await;
    let mut process = std::process::Command::new(env!("CARGO_BIN_EXE_quotient"))
        .env_clear()
        .env("DATABASE_URL", &config.database_url)
        .env("REDIS_URL", config.redis_url.as_deref().unwrap())
        .env("LISTEN_ADDR", "127.0.0.1:0")
        .env("STRIPE_SECRET_KEY", "sk_test_fake")
        .env("STRIPE_WEBHOOK_SECRET", WEBHOOK_SECRET)
        .env("STRIPE_BASE_URL", &stripe_url)
        .env("RUST_LOG", "off")
        .spawn()
        .unwrap();
    sqlx::query(
        "insert into stripe_event (event_id, type, body, created_at, received_at, run_at) values ('evt_kill', 'customer.subscription.created', $1, now(), now(), now())",
    )
    .bind(created.to_string())
    .execute(&db)
    .await
    .unwrap();
    stopped
        .until(
            "select exists (select from pg_locks where locktype = 'advisory' and objid = 7 and not granted
                            and database = (select oid from pg_database where datname = current_database()))",
        )
        .await;
    process.kill().unwrap();
    process.wait().unwrap();
    // Postgres notices a dead client only at its next write, so the backend is terminated here.
    sqlx::raw_sql(
        "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and objid = 7 and not granted
         and database = (select oid from pg_database where datname = current_database())",
    )
    .execute(&mut *gate)
    .await
    .unwrap();
    sqlx::raw_sql("select pg_advisory_unlock(7)").execute(&mut *gate).await.unwrap();
    drop(gate);
    let undone = "select done_at is null from stripe_event where event_id = 'evt_kill'";
    assert!(stopped.one::<bool>(undone).await && stopped.one::<bool>(ON_FREE).await);
    assert_eq!(stopped.one::<i64>(JOBS_OF_BILLING).await, 0);
    let (_url, _stop) = stopped.start_second().await;
    stopped.until(ALL_DONE).await;
    assert!(stopped.one::<bool>(ON_PRO).await);
    assert_eq!(stopped.one::<i64>(JOBS_OF_BILLING).await, 1);
}

/// Events without a current, valid signature are refused. Signed events of any type and API version are accepted (field note 36).
#[tokio::test]
async fn webhook_requires_a_valid_signature() {
    let app = TestApp::new().await;
    let body = json!({"id": "evt_1", "type": "something.new", "api_version": "2031-01-01", "data": {"object": {"new": [1]}}, "newer": {}});
    let body = body.to_string();
    let v1 = |at: i64, body: &str| format!("t={at},v1={}", signed(WEBHOOK_SECRET, at, body));
    let status = async |header: Option<String>, body: &str| post(&app.url, header, body.to_owned()).await.status();
    for bad in [
        None,
        Some(String::new()),
        Some("t=1,v1=zz".to_owned()),
        Some(v1(now() - 400, &body)),
        Some(v1(now() + 400, &body)),
        Some(signature("whsec_other", &body)),
    ] {
        assert_eq!(status(bad.clone(), &body).await, StatusCode::BAD_REQUEST, "{bad:?}");
    }
    assert_eq!(status(Some(v1(now(), &body)), &body.replace("something", "sometHing")).await, StatusCode::BAD_REQUEST);
    let garbage = "not json";
    assert_eq!(status(Some(v1(now(), garbage)), garbage).await, StatusCode::BAD_REQUEST);
    assert_eq!(app.one::<i64>("select count(*) from stripe_event").await, 0);
    let at = now();
    let two = format!("t={at},v1={},v1={}", signed("whsec_old", at, &body), signed(WEBHOOK_SECRET, at, &body));
    assert_eq!(status(Some(two), &body).await, StatusCode::OK);
    assert_eq!(status(Some(v1(now(), &body)), &body).await, StatusCode::OK, "a second copy");
    assert!(app.one::<bool>("select count(*) = 1 and bool_and(done_at is not null) from stripe_event").await);
}

/// An event is acknowledged only once it is stored: at once behind a thousand waiting events, and not while the database is down.
#[tokio::test]
async fn events_are_stored_before_they_are_acknowledged() {
    let app = selling(&[]).await;
    sqlx::query(
        "insert into stripe_event (event_id, type, body, created_at, received_at, run_at)
         select 'evt_' || n, 'customer.updated', '{\"id\":\"evt_' || n || '\",\"type\":\"customer.updated\",\"data\":{\"object\":{\"customer\":\"cus_' || n || '\"}}}', now(), now(), now()
         from generate_series(1, 1000) n",
    )
    .execute(&app.db)
    .await
    .unwrap();
    event(&app.url, &json!({"id": "evt_now", "type": "x"})).await;
    assert!(!app.one::<bool>(ALL_DONE).await, "it was acknowledged while others wait");
    app.stripe.set_webhook(&format!("{}/stripe/webhook", app.url), WEBHOOK_SECRET);
    let (admin, name) = app.database.shut().await;
    let body = json!({"id": "evt_lost", "type": "x"}).to_string();
    let answer = post(&app.url, Some(signature(WEBHOOK_SECRET, &body)), body).await;
    assert!(answer.status().is_server_error(), "{}", answer.status());
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("alter database {name} allow_connections true")))
        .execute(&admin)
        .await
        .unwrap();
    // Stripe sends an event again until it is acknowledged. The server refuses it until it has noticed that the database is back.
    let resend = async || {
        let body = json!({"id": "evt_lost", "type": "x"}).to_string();
        post(&app.url, Some(signature(WEBHOOK_SECRET, &body)), body).await.status()
    };
    let sending = async {
        while resend().await != StatusCode::OK {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), sending).await.expect("acknowledged once the database is back");
    assert_eq!(app.one::<i64>("select count(*) from stripe_event where event_id = 'evt_lost'").await, 1);
}
