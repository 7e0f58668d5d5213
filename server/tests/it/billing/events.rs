//! Stripe's events: in any order, any number of times, and only with its signature.

use super::{ALL_DONE, FAILS_LATER, GOOD, ON_FREE, ON_PRO, buy, control, event, now, place, post, selling, signed};
use crate::app::TestApp;
use fakes::WEBHOOK_SECRET;
use http::StatusCode;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Field note 34: a hundred copies of each event at two servers have one effect.
#[tokio::test]
async fn a_hundred_copies_of_an_event_have_one_effect() {
    let app = selling(&[]).await;
    sqlx::query("update plan set trial_days = 2 where plan_id = 'pro'").execute(&app.db).await.unwrap();
    app.stripe.hold();
    let mut ann = app.user("ann@example.com").await;
    buy(&mut ann, "pro", GOOD).await;
    let events = app.stripe.held();
    let (second, _stop) = app.second().await;
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
    // the trial ends within three days, so there is a letter: one
    assert_eq!(app.one::<i64>("select count(*) from job where kind = 'mail'").await, 1);
    assert_eq!(app.one::<i64>("select count(*) from subscription").await, 1);
    assert_eq!(app.one::<i64>("select count(*) from trial").await, 1);
}

/// All orders of some things.
fn permutations(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    let shorter = permutations(count - 1);
    let insert = |place: usize| {
        shorter.iter().map(move |order| {
            let mut order = order.clone();
            order.insert(place, count - 1);
            order
        })
    };
    (0..count).flat_map(insert).collect()
}

/// Runs every order of the six events over a subscription whose state at Stripe is settled, and wants that state.
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
    // All of them under `./dev test --long`; else 25 in which each of the six comes first, last, and before each other one.
    let step = if crate::app::is_long() { 1 } else { 29 };
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

/// Field note 35: no order of events restores a plan that is over.
#[tokio::test]
async fn every_order_of_events_ends_as_stripe_says_cancelled() {
    let app = selling(&[]).await;
    app.stripe.hold();
    let mut ann = app.user("ann@example.com").await;
    buy(&mut ann, "max", FAILS_LATER).await;
    control(&app, "clock", &[("days", "120")]).await;
    assert_eq!(app.stripe.all("subscription")[0]["status"], "canceled");
    every_order(&app, &app.stripe.held(), ("free", "canceled")).await;
}

/// Field note 35, the other way: no order takes a plan that is paid.
#[tokio::test]
async fn every_order_of_events_ends_as_stripe_says_active() {
    let app = selling(&[]).await;
    app.stripe.hold();
    let mut ann = app.user("ann@example.com").await;
    buy(&mut ann, "max", FAILS_LATER).await;
    control(&app, "clock", &[("days", "40")]).await;
    let subscription = app.stripe.all("subscription")[0].clone();
    assert_eq!(subscription["status"], "past_due");
    // a new card pays what is open
    let url = place(&ann.form("/billing/portal", &[]).await);
    ann.client.post(&url).form(&[("do", "card"), ("card", GOOD)]).send().await.unwrap();
    let mut events = app.stripe.held();
    assert_eq!(app.stripe.object(subscription["id"].as_str().unwrap()).unwrap()["status"], "active");
    // an event that says it is over, which was true of nothing
    events.push(
        json!({"id": "evt_x", "type": "customer.subscription.deleted", "created": 1, "data": {"object": subscription}}),
    );
    every_order(&app, &events, ("max", "active")).await;
}

/// A worker that is killed after the effect and before it could say so: the effect is there once, by another's hand.
#[tokio::test]
async fn a_worker_killed_before_its_acknowledgement_has_no_effect() {
    let app = selling(&[]).await;
    sqlx::query("update plan set trial_days = 2 where plan_id = 'pro'").execute(&app.db).await.unwrap();
    app.stripe.hold();
    let mut ann = app.user("ann@example.com").await;
    buy(&mut ann, "pro", GOOD).await;
    let events = app.stripe.held();
    let created = events.iter().find(|event| event["type"] == "customer.subscription.created").unwrap().clone();
    let (db, config) = (app.db.clone(), app.config.clone());
    let stripe_url = app.stripe.url();
    // Acknowledging waits for a lock that we hold.
    sqlx::raw_sql(
        "create function wait() returns trigger language plpgsql as $$ begin perform pg_advisory_xact_lock_shared(7); return new; end $$;
         create trigger wait before update on stripe_event for each row when (new.done_at is not null) execute function wait()",
    )
    .execute(&db)
    .await
    .unwrap();
    let mut gate = db.acquire().await.unwrap();
    sqlx::raw_sql("select pg_advisory_lock(7)").execute(&mut *gate).await.unwrap();
    // The in-process server goes, a process of its own comes.
    let fakeg = app.leave().await;
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
    fakeg.until("select exists (select from pg_locks where locktype = 'advisory' and objid = 7 and not granted)").await;
    process.kill().unwrap();
    process.wait().unwrap();
    // Postgres notices a dead client when it next writes to it; a crashed machine's backends end likewise.
    sqlx::raw_sql(
        "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and objid = 7 and not granted",
    )
    .execute(&mut *gate)
    .await
    .unwrap();
    sqlx::raw_sql("select pg_advisory_unlock(7)").execute(&mut *gate).await.unwrap();
    drop(gate);
    let undone = "select done_at is null from stripe_event where event_id = 'evt_kill'";
    assert!(fakeg.one::<bool>(undone).await && fakeg.one::<bool>(ON_FREE).await);
    assert_eq!(fakeg.one::<i64>("select count(*) from job").await, 0);
    let (_url, _stop) = fakeg.second().await;
    fakeg.until(ALL_DONE).await;
    assert!(fakeg.one::<bool>(ON_PRO).await);
    assert_eq!(fakeg.one::<i64>("select count(*) from job").await, 1);
}

/// What isn't signed by Stripe, now, is refused; what is, is taken, whatever it is about (field note 36).
#[tokio::test]
async fn the_door_is_the_signature() {
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
        Some(format!("t={},v1={}", now(), signed("whsec_other", now(), &body))),
    ] {
        assert_eq!(status(bad.clone(), &body).await, StatusCode::BAD_REQUEST, "{bad:?}");
    }
    assert_eq!(status(Some(v1(now(), &body)), &body.replace("something", "sometHing")).await, StatusCode::BAD_REQUEST);
    let garbage = "not json";
    assert_eq!(status(Some(v1(now(), garbage)), garbage).await, StatusCode::BAD_REQUEST);
    assert_eq!(app.one::<i64>("select count(*) from stripe_event").await, 0);
    let two =
        format!("t={},v1={},v1={}", now(), signed("whsec_old", now(), &body), signed(WEBHOOK_SECRET, now(), &body));
    assert_eq!(status(Some(two), &body).await, StatusCode::OK);
    assert_eq!(status(Some(v1(now(), &body)), &body).await, StatusCode::OK, "a second copy");
    assert!(app.one::<bool>("select count(*) = 1 and bool_and(done_at is not null) from stripe_event").await);
}

/// With no database there is no yes; with a thousand events waiting there is one at once.
#[tokio::test]
async fn events_are_stored_before_they_are_answered() {
    let app = selling(&[]).await;
    sqlx::query(
        "insert into stripe_event (event_id, type, body, created_at, received_at, run_at)
         select 'evt_' || n, 'customer.updated', '{\"id\":\"evt_' || n || '\",\"type\":\"customer.updated\",\"data\":{\"object\":{\"customer\":\"cus_' || n || '\"}}}', now(), now(), now()
         from generate_series(1, 1000) n",
    )
    .execute(&app.db)
    .await
    .unwrap();
    let began = Instant::now();
    event(&app.url, &json!({"id": "evt_now", "type": "x"})).await;
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    app.stripe.watch(&format!("{}/stripe/webhook", app.url), WEBHOOK_SECRET);
    let (admin, name) = app.shut_database().await;
    let body = json!({"id": "evt_lost", "type": "x"}).to_string();
    let answer = post(&app.url, Some(format!("t={},v1={}", now(), signed(WEBHOOK_SECRET, now(), &body))), body).await;
    assert!(answer.status().is_server_error(), "{}", answer.status());
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("alter database {name} allow_connections true")))
        .execute(&admin)
        .await
        .unwrap();
    event(&app.url, &json!({"id": "evt_lost", "type": "x"})).await;
    assert_eq!(app.one::<i64>("select count(*) from stripe_event where event_id = 'evt_lost'").await, 1);
}
