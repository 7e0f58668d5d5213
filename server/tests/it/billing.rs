//! Plans that are paid: the way to Stripe and back, its events in any order and any number, and what happens when money
//! stops coming. Stripe is the stand-in on a real socket; what it says is the oracle.

use crate::house::{TestHouse, Visitor};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::StatusCode;
use reqwest::header;
use serde_json::{Value, json};
use server::cli::{Billing, Command, Plans};
use stand_in::WEBHOOK_SECRET;
use std::time::{Duration, Instant};

const GOOD: &str = "4242 4242 4242 4242";
const FAILS_LATER: &str = "4000 0000 0000 0341";

/// A house whose plans can be bought.
async fn selling(more: &[(&str, &str)]) -> TestHouse {
    let house = TestHouse::with(more).await;
    house.run(Command::Plans(Plans::Push)).await;
    house
}

fn place(response: &reqwest::Response) -> String {
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    response.headers()[header::LOCATION].to_str().unwrap().to_owned()
}

/// Goes to the checkout of a plan.
async fn go(ann: &mut Visitor, plan: &str) -> String {
    place(&ann.form("/billing/checkout", &[("plan", plan), ("interval", "month")]).await)
}

/// Pays on the stand-in's page; where that leads back to is not followed.
async fn pay(ann: &Visitor, url: &str, card: &str) -> String {
    place(&ann.client.post(url).form(&[("card", card)]).send().await.unwrap())
}

async fn buy(ann: &mut Visitor, plan: &str, card: &str) {
    let url = go(ann, plan).await;
    pay(ann, &url, card).await;
}

async fn control(house: &TestHouse, path: &str, form: &[(&str, &str)]) {
    let url = format!("{}/_control/{path}", house.stripe.url());
    let done = reqwest::Client::new().post(url).form(form).send().await.unwrap();
    assert_eq!(done.status(), StatusCode::OK);
}

/// Asks the stand-in's API, as the owner would in Stripe's dashboard.
async fn api(house: &TestHouse, method: &str, path: &str, form: &[(&str, &str)]) -> Value {
    let url = format!("{}/v1/{path}", house.stripe.url());
    let request = reqwest::Client::new().request(method.parse().unwrap(), url).bearer_auth("sk_test_x").form(form);
    let done = request.send().await.unwrap();
    assert_eq!(done.status(), StatusCode::OK);
    done.json().await.unwrap()
}

fn signed(secret: &str, at: i64, body: &str) -> String {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("{at}.{body}").as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

fn now() -> i64 {
    time::OffsetDateTime::now_utc().unix_timestamp()
}

async fn post(url: &str, header: Option<String>, body: String) -> reqwest::Response {
    let mut request = reqwest::Client::new().post(format!("{url}/stripe/webhook")).body(body);
    if let Some(header) = header {
        request = request.header("stripe-signature", header);
    }
    request.send().await.unwrap()
}

/// Sends an event as Stripe would.
async fn event(url: &str, event: &Value) {
    let body = event.to_string();
    let header = format!("t={},v1={}", now(), signed(WEBHOOK_SECRET, now(), &body));
    assert_eq!(post(url, Some(header), body).await.status(), StatusCode::OK);
}

const ON_PRO: &str = "select plan_id = 'pro' from account where email = 'ann@example.com'";
const ON_FREE: &str = "select plan_id = 'free' from account where email = 'ann@example.com'";
const ALL_DONE: &str = "select not exists (select from stripe_event where done_at is null)";

/// Field note 10, by way of money: a person pays, and the next message runs under the new limit; used stays used.
#[tokio::test]
async fn a_paid_plan_counts_from_the_next_message_on() {
    let house = selling(&[]).await;
    let mut ann = house.person("ann@example.com").await;
    for _ in 0..10 {
        ann.answer("{{words:20}}").await;
    }
    assert_eq!(ann.ask("hi").await.status(), StatusCode::TOO_MANY_REQUESTS);
    let used = ann.quota().await["tokens"]["used"].clone();
    let url = go(&mut ann, "pro").await;
    assert!(url.starts_with(&house.stripe.url()));
    let back = pay(&ann, &url, GOOD).await;
    assert!(back.starts_with(&house.config.public_url));
    house.until(ON_PRO).await;
    let quota = ann.quota().await;
    assert_eq!((quota["plan"].as_str(), &quota["tokens"]["used"]), (Some("pro"), &used));
    ann.answer("{{words:1}}").await;
    let page = ann.text("/settings/billing").await;
    for said in ["Trial", "STANDIN-0001", "Stripe stand-in, no money moves"] {
        assert!(page.contains(said), "{said}");
    }
    // the same on the way back, without any event
    house.stripe.hold();
    let mut bob = house.person("bob@example.com").await;
    let url = go(&mut bob, "max").await;
    pay(&bob, &url, GOOD).await;
    assert_eq!(place(&bob.get("/billing/return?bought=yes").await), "/settings/billing?from=checkout");
    assert_eq!(bob.quota().await["plan"], "max");
}

/// Pushing plans twice changes nothing; a plan is one row; what is sold stands on the pricing page for everybody.
#[tokio::test]
async fn plans_are_rows_and_pushed_once() {
    let house = selling(&[]).await;
    assert!(house.run(Command::Plans(Plans::Push)).await.contains("nothing was changed"));
    sqlx::query(
        "insert into plan (plan_id, name, sort, requests_per_minute, tokens_per_day, in_flight, max_output, monthly_cents, pitch)
         values ('team', 'Team', 9, 900, 9000000, 30, 32768, 50000, 'For all of you.')",
    )
    .execute(&house.db)
    .await
    .unwrap();
    let said = house.run(Command::Plans(Plans::Push)).await;
    assert!(said.contains("plan_team_month: $500 a month") && said.contains("portal: configured"), "{said}");
    let page = house.visitor().text("/pricing?interval=year").await;
    for expected in ["$200", "$1,000", "Team", "$500", "$40 less than by the month", "Try it 7 days for free"] {
        assert!(page.contains(expected), "{expected}");
    }
    let mut ann = house.person("ann@example.com").await;
    buy(&mut ann, "team", GOOD).await;
    house.until("select plan_id = 'team' from account").await;
    let bad = ann.form("/billing/checkout", &[("plan", "free"), ("interval", "month")]).await;
    assert_eq!(bad.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let bad = ann.form("/billing/checkout", &[("plan", "team"), ("interval", "year")]).await;
    assert_eq!(bad.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(
        house.visitor().form("/billing/checkout", &[("plan", "pro")]).await.headers()["location"],
        "/sign-in?next=/billing/checkout"
    );
}

/// Field note 34: a hundred copies of each event at two servers have one effect.
#[tokio::test]
async fn a_hundred_copies_of_an_event_have_one_effect() {
    let house = selling(&[]).await;
    sqlx::query("update plan set trial_days = 2 where plan_id = 'pro'").execute(&house.db).await.unwrap();
    house.stripe.hold();
    let mut ann = house.person("ann@example.com").await;
    buy(&mut ann, "pro", GOOD).await;
    let events = house.stripe.held();
    let (second, _stop) = house.second().await;
    for sent in &events {
        let copies = (0..100).map(|n| event(if n % 2 == 0 { &house.url } else { &second }, sent));
        futures::future::join_all(copies).await;
    }
    house.until(ALL_DONE).await;
    assert_eq!(
        house.one::<i64>("select count(*) from stripe_event where type !~ '^(product|price)'").await as usize,
        events.len()
    );
    assert!(house.one::<bool>(ON_PRO).await);
    // the trial ends within three days, so there is a letter: one
    assert_eq!(house.one::<i64>("select count(*) from job where kind = 'mail'").await, 1);
    assert_eq!(house.one::<i64>("select count(*) from subscription").await, 1);
    assert_eq!(house.one::<i64>("select count(*) from trial").await, 1);
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
async fn every_order(house: &TestHouse, events: &[Value], wanted: (&str, &str)) {
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
    for (n, order) in orders.into_iter().enumerate() {
        sqlx::raw_sql("truncate stripe_event, subscription, invoice; update account set plan_id = 'free'")
            .execute(&house.db)
            .await
            .unwrap();
        for index in &order {
            let mut sent = six[*index].clone();
            sent["id"] = json!(format!("evt_{n}_{index}"));
            event(&house.url, &sent).await;
        }
        house.until(ALL_DONE).await;
        let plan: String = house.one("select plan_id from account").await;
        let status: String =
            house.one("select status from subscription order by created_at desc, subscription_id limit 1").await;
        assert_eq!((plan.as_str(), status.as_str()), wanted, "{order:?}");
    }
}

/// Field note 35: no order of events restores a plan that is over.
#[tokio::test]
async fn every_order_of_events_ends_as_stripe_says_cancelled() {
    let house = selling(&[]).await;
    house.stripe.hold();
    let mut ann = house.person("ann@example.com").await;
    buy(&mut ann, "max", FAILS_LATER).await;
    control(&house, "clock", &[("days", "120")]).await;
    assert_eq!(house.stripe.all("subscription")[0]["status"], "canceled");
    every_order(&house, &house.stripe.held(), ("free", "canceled")).await;
}

/// Field note 35, the other way: no order takes a plan that is paid.
#[tokio::test]
async fn every_order_of_events_ends_as_stripe_says_active() {
    let house = selling(&[]).await;
    house.stripe.hold();
    let mut ann = house.person("ann@example.com").await;
    buy(&mut ann, "max", FAILS_LATER).await;
    control(&house, "clock", &[("days", "40")]).await;
    let subscription = house.stripe.all("subscription")[0].clone();
    assert_eq!(subscription["status"], "past_due");
    // a new card pays what is open
    let url = place(&ann.form("/billing/portal", &[]).await);
    ann.client.post(&url).form(&[("do", "card"), ("card", GOOD)]).send().await.unwrap();
    let mut events = house.stripe.held();
    assert_eq!(house.stripe.object(subscription["id"].as_str().unwrap()).unwrap()["status"], "active");
    // an event that says it is over, which was true of nothing
    events.push(
        json!({"id": "evt_x", "type": "customer.subscription.deleted", "created": 1, "data": {"object": subscription}}),
    );
    every_order(&house, &events, ("max", "active")).await;
}

/// A worker that is killed after the effect and before it could say so: the effect is there once, by another's hand.
#[tokio::test]
async fn a_worker_killed_before_its_acknowledgement_has_no_effect() {
    let house = selling(&[]).await;
    sqlx::query("update plan set trial_days = 2 where plan_id = 'pro'").execute(&house.db).await.unwrap();
    house.stripe.hold();
    let mut ann = house.person("ann@example.com").await;
    buy(&mut ann, "pro", GOOD).await;
    let events = house.stripe.held();
    let created = events.iter().find(|event| event["type"] == "customer.subscription.created").unwrap().clone();
    let (db, config) = (house.db.clone(), house.config.clone());
    let stripe_url = house.stripe.url();
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
    let standing = house.leave().await;
    let mut process = std::process::Command::new(env!("CARGO_BIN_EXE_quotient"))
        .env_clear()
        .env("DATABASE_URL", &config.database_url)
        .env("REDIS_URL", config.redis_url.as_deref().unwrap())
        .env("LISTEN_ADDR", "127.0.0.1:0")
        .env("STRIPE_SECRET_KEY", "sk_test_standin")
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
    standing
        .until("select exists (select from pg_locks where locktype = 'advisory' and objid = 7 and not granted)")
        .await;
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
    assert!(standing.one::<bool>(undone).await && standing.one::<bool>(ON_FREE).await);
    assert_eq!(standing.one::<i64>("select count(*) from job").await, 0);
    let (_url, _stop) = standing.second().await;
    standing.until(ALL_DONE).await;
    assert!(standing.one::<bool>(ON_PRO).await);
    assert_eq!(standing.one::<i64>("select count(*) from job").await, 1);
}

/// What isn't signed by Stripe, now, is refused; what is, is taken, whatever it is about (field note 36).
#[tokio::test]
async fn the_door_is_the_signature() {
    let house = TestHouse::new().await;
    let body = json!({"id": "evt_1", "type": "something.new", "api_version": "2031-01-01", "data": {"object": {"new": [1]}}, "newer": {}});
    let body = body.to_string();
    let v1 = |at: i64, body: &str| format!("t={at},v1={}", signed(WEBHOOK_SECRET, at, body));
    let status = async |header: Option<String>, body: &str| post(&house.url, header, body.to_owned()).await.status();
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
    assert_eq!(house.one::<i64>("select count(*) from stripe_event").await, 0);
    let two =
        format!("t={},v1={},v1={}", now(), signed("whsec_old", now(), &body), signed(WEBHOOK_SECRET, now(), &body));
    assert_eq!(status(Some(two), &body).await, StatusCode::OK);
    assert_eq!(status(Some(v1(now(), &body)), &body).await, StatusCode::OK, "a second copy");
    assert!(house.one::<bool>("select count(*) = 1 and bool_and(done_at is not null) from stripe_event").await);
}

/// With no database there is no yes; with a thousand events waiting there is one at once.
#[tokio::test]
async fn events_are_stored_before_they_are_answered() {
    let house = selling(&[]).await;
    sqlx::query(
        "insert into stripe_event (event_id, type, body, created_at, received_at, run_at)
         select 'evt_' || n, 'customer.updated', '{\"id\":\"evt_' || n || '\",\"type\":\"customer.updated\",\"data\":{\"object\":{\"customer\":\"cus_' || n || '\"}}}', now(), now(), now()
         from generate_series(1, 1000) n",
    )
    .execute(&house.db)
    .await
    .unwrap();
    let began = Instant::now();
    event(&house.url, &json!({"id": "evt_now", "type": "x"})).await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    house.stripe.watch(&format!("{}/stripe/webhook", house.url), WEBHOOK_SECRET);
    let (admin, name) = house.shut_database().await;
    let body = json!({"id": "evt_lost", "type": "x"}).to_string();
    let answer = post(&house.url, Some(format!("t={},v1={}", now(), signed(WEBHOOK_SECRET, now(), &body))), body).await;
    assert!(answer.status().is_server_error(), "{}", answer.status());
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("alter database {name} allow_connections true")))
        .execute(&admin)
        .await
        .unwrap();
    event(&house.url, &json!({"id": "evt_lost", "type": "x"})).await;
    assert_eq!(house.one::<i64>("select count(*) from stripe_event where event_id = 'evt_lost'").await, 1);
}

/// Field note 37: an overdue payment has days of grace, then the plan goes, and a payment brings it back.
#[tokio::test]
async fn overdue_is_kept_for_a_while_then_free_until_it_is_paid() {
    let house = selling(&[("BILLING_GRACE_DAYS", "40")]).await;
    let mut ann = house.person("ann@example.com").await;
    buy(&mut ann, "pro", FAILS_LATER).await;
    house.until(ON_PRO).await;
    // The trial ends and its payment fails; by our own clock that is in some days, so the grace is long.
    control(&house, "clock", &[("days", "8")]).await;
    house.until("select bool_and(status = 'past_due' and grace_until > now()) from subscription").await;
    assert!(house.one::<bool>(ON_PRO).await, "the plan is kept");
    assert!(
        ann.text("/usage").await.contains("didn&#x27;t go through")
            || ann.text("/usage").await.contains("didn't go through")
    );
    assert!(ann.text("/settings/billing").await.contains("Payment overdue"));
    house.until("select count(*) = 1 from job where key like 'mail:payment_failed:%' and done_at is not null").await;
    sqlx::query("update subscription set grace_until = now() - interval '1 minute'").execute(&house.db).await.unwrap();
    // A server that starts looks at once.
    let (second, _stop) = house.second().await;
    house.until(ON_FREE).await;
    assert_eq!(house.one::<i64>("select count(*) from job where key like 'mail:grace_over:%'").await, 1);
    let outbox = reqwest::get(format!("{second}/dev/outbox")).await.unwrap().text().await.unwrap();
    assert!(outbox.contains("You are on the free plan for now") && outbox.contains("ann@example.com"));
    let url = place(&ann.form("/billing/portal", &[]).await);
    ann.client.post(&url).form(&[("do", "card"), ("card", GOOD)]).send().await.unwrap();
    house.until(ON_PRO).await;
    assert!(house.one::<bool>("select grace_until is null and not grace_is_over from subscription").await);
}

/// Field note 37: a subscription that is cancelled runs to its end; a change of plan in the portal lands.
#[tokio::test]
async fn the_portal_changes_land() {
    let house = selling(&[]).await;
    let mut ann = house.person("ann@example.com").await;
    buy(&mut ann, "pro", GOOD).await;
    house.until(ON_PRO).await;
    // a second plan is a change of the first, never a second subscription
    let url = go(&mut ann, "max").await;
    assert!(url.contains("/portal/"));
    let price: String = house.one("select monthly_price_id from plan where plan_id = 'max'").await;
    let back = ann.client.post(&url).form(&[("do", "switch"), ("price", &price)]).send().await.unwrap();
    assert!(place(&back).ends_with("/billing/return?bought=yes"));
    house.until("select plan_id = 'max' from account").await;
    assert_eq!(house.stripe.all("subscription").len(), 1);
    // cancelled: kept until the period ends
    let url = place(&ann.form("/billing/portal", &[]).await);
    ann.client.post(&url).form(&[("do", "cancel")]).send().await.unwrap();
    house.until("select bool_and(ends_at is not null) from subscription").await;
    assert_eq!(ann.quota().await["plan"], "max");
    assert!(ann.text("/settings/billing").await.contains("Nothing more is charged"));
    control(&house, "clock", &[("days", "32")]).await;
    house.until(ON_FREE).await;
    house.until("select count(*) = 1 from job where key like 'mail:plan_ended:%'").await;
}

/// Field note 37: one trial per person ever, also for somebody who comes back under a new account.
#[tokio::test]
async fn a_trial_is_had_once() {
    let house = selling(&[]).await;
    let mut ann = house.person("ann@example.com").await;
    // two open pages: the first can't be paid once the second is open
    let (first, second) = (go(&mut ann, "pro").await, go(&mut ann, "pro").await);
    assert_eq!(ann.client.get(&first).send().await.unwrap().status(), StatusCode::NOT_FOUND);
    pay(&ann, &second, GOOD).await;
    house.until("select count(*) = 1 from subscription where status = 'trialing'").await;
    let id = house.stripe.all("subscription")[0]["id"].as_str().unwrap().to_owned();
    api(&house, "DELETE", &format!("subscriptions/{id}"), &[]).await;
    house.until(ON_FREE).await;
    buy(&mut ann, "pro", GOOD).await;
    house.until("select exists (select from subscription where status = 'active' and trial_end is null)").await;
    let gone = ann.form("/settings/delete", &[("password", "correct horse")]).await;
    assert_eq!(place(&gone), "/");
    let mut again = house.person("ann@example.com").await;
    assert!(!again.text("/pricing").await.contains("days for free"));
    buy(&mut again, "pro", GOOD).await;
    house.until(ON_PRO).await;
    assert_eq!(house.one::<i64>("select count(*) from subscription where trial_end is not null").await, 1);
}

/// A deleted account cancels what it paid for; the password is asked for first, and the last admin stays.
#[tokio::test]
async fn a_deleted_account_pays_no_longer() {
    let house = selling(&[]).await;
    let mut ann = house.person("ann@example.com").await;
    buy(&mut ann, "pro", GOOD).await;
    house.until(ON_PRO).await;
    let wrong = ann.form("/settings/delete", &[("password", "wrong")]).await;
    assert_eq!(wrong.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert!(wrong.text().await.unwrap().contains("Nothing was deleted"));
    ann.form("/settings/delete", &[("password", "correct horse")]).await;
    house.until("select count(*) = 0 from account").await;
    house.until("select bool_and(status = 'canceled' and user_id is null) from subscription").await;
    assert_eq!(house.stripe.all("subscription")[0]["status"], "canceled");
    let mut admin = house.person("admin@example.com").await;
    let refused = admin.form("/settings/delete", &[("password", "correct horse")]).await;
    assert!(refused.text().await.unwrap().contains("the only admin"));
}

/// A customer that was deleted at Stripe's side: the plan goes, and buying again works.
#[tokio::test]
async fn a_customer_deleted_at_stripe_heals() {
    let house = selling(&[]).await;
    let mut ann = house.person("ann@example.com").await;
    buy(&mut ann, "pro", GOOD).await;
    house.until(ON_PRO).await;
    let customer: String = house.one("select stripe_customer_id from account").await;
    // once with its event, once without
    api(&house, "DELETE", &format!("customers/{customer}"), &[]).await;
    house.until("select stripe_customer_id is null and plan_id = 'free' from account").await;
    buy(&mut ann, "pro", GOOD).await;
    house.until(ON_PRO).await;
    house.stripe.hold();
    let customer: String = house.one("select stripe_customer_id from account").await;
    api(&house, "DELETE", &format!("customers/{customer}"), &[]).await;
    let url = go(&mut ann, "pro").await;
    pay(&ann, &url, GOOD).await;
    ann.get("/billing/return").await;
    assert!(house.one::<bool>(ON_PRO).await);
}

/// What lost events would have said is found by comparing, and mended: each kind of drift, and nothing on a second run.
#[tokio::test]
async fn reconciling_finds_and_mends_each_drift() {
    let house = selling(&[]).await;
    let mut people = Vec::new();
    for name in ["cancel", "upgrade", "orphan", "deleted", "restored"] {
        let mut person = house.person(&format!("{name}@example.com")).await;
        buy(&mut person, "pro", GOOD).await;
        people.push(person);
    }
    house.until("select count(*) = 5 from account where plan_id = 'pro'").await;
    house.until(ALL_DONE).await;
    house.until("select not exists (select from job where done_at is null)").await;
    house.stripe.hold();
    let subscription = async |email: &str| -> String {
        let sql = "select subscription_id from subscription join account using (user_id) where email = $1";
        sqlx::query_scalar(sql).bind(email).fetch_one(&house.db).await.unwrap()
    };
    let (cancelled, upgraded, orphan, deleted, restored) = (
        subscription("cancel@example.com").await,
        subscription("upgrade@example.com").await,
        subscription("orphan@example.com").await,
        subscription("deleted@example.com").await,
        subscription("restored@example.com").await,
    );
    api(&house, "DELETE", &format!("subscriptions/{cancelled}"), &[]).await;
    let max: String = house.one("select monthly_price_id from plan where plan_id = 'max'").await;
    api(&house, "POST", &format!("subscriptions/{upgraded}"), &[("items[0][price]", &max)]).await;
    sqlx::raw_sql(
        "delete from subscription where user_id = (select user_id from account where email = 'orphan@example.com');
         update account set stripe_customer_id = null, plan_id = 'free' where email = 'orphan@example.com';
         delete from account where email = 'restored@example.com'",
    )
    .execute(&house.db)
    .await
    .unwrap();
    // a deletion whose job was lost
    house.stripe.set_down(true);
    people[3].form("/settings/delete", &[("password", "correct horse")]).await;
    house.until("select count(*) = 1 from job where kind = 'close_customer' and attempts > 0").await;
    sqlx::query("update job set done_at = now() where kind = 'close_customer'").execute(&house.db).await.unwrap();
    house.stripe.set_down(false);
    // one that somebody made by hand, for nobody here
    let stranger = api(&house, "POST", "customers", &[("email", "stranger@example.com")]).await;
    let stranger = stranger["id"].as_str().unwrap();
    control(&house, &format!("card/{stranger}"), &[("number", "4242424242424242")]).await;
    let foreign = api(&house, "POST", "subscriptions", &[("customer", stranger), ("items[0][price]", &max)]).await;
    let said = house.run(Command::Billing(Billing::Reconcile)).await;
    for id in [&cancelled, &upgraded, &orphan, &deleted, &restored] {
        assert!(said.contains(id.as_str()), "{id} in {said}");
    }
    assert!(said.contains("nobody's here: flagged, left alone"), "{said}");
    let plan = async |email: &str| -> String {
        sqlx::query_scalar("select plan_id from account where email = $1")
            .bind(email)
            .fetch_one(&house.db)
            .await
            .unwrap()
    };
    assert_eq!(plan("cancel@example.com").await, "free");
    assert_eq!(plan("upgrade@example.com").await, "max");
    assert_eq!(plan("orphan@example.com").await, "pro");
    assert_eq!(house.stripe.object(&deleted).unwrap()["status"], "canceled");
    // an account that is missing for another reason, as after a restore, loses nothing
    assert_eq!(house.stripe.object(&restored).unwrap()["status"], "trialing");
    assert_ne!(house.stripe.object(foreign["id"].as_str().unwrap()).unwrap()["status"], "canceled");
    sqlx::query("update account set plan_id = 'max' where email = 'cancel@example.com'")
        .execute(&house.db)
        .await
        .unwrap();
    let said = house.run(Command::Billing(Billing::Reconcile)).await;
    assert!(said.contains("doesn't follow from what they pay"), "{said}");
    let said = house.run(Command::Billing(Billing::Reconcile)).await;
    // those two stay the owner's to judge
    assert_eq!(said.lines().count(), 3, "{said}");
    let mut admin = house.person("admin@example.com").await;
    let page = admin.text("/admin/health").await;
    assert!(page.contains("A subscription of nobody here"));
    let cleared =
        admin.form("/admin/health/clear", &[("kind", "orphan"), ("object", foreign["id"].as_str().unwrap())]).await;
    assert_eq!(place(&cleared), "/admin/health");
    assert_eq!(
        house.one::<i64>("select count(*) from billing_flag where kind = 'orphan' and cleared_at is null").await,
        1
    );
}

/// With no key nothing breaks: the pages say so and what to set, buying is refused in words, an admin still gives plans.
#[tokio::test]
async fn without_a_key_everything_else_works() {
    let house = TestHouse::with(&[("STRIPE_SECRET_KEY", "")]).await;
    let mut ann = house.person("ann@example.com").await;
    for page in ["/pricing", "/settings/billing"] {
        let text = ann.text(page).await;
        assert!(text.contains("connected on this server") && text.contains("STRIPE_SECRET_KEY"), "{page}");
    }
    let refused = ann.form("/billing/checkout", &[("plan", "pro")]).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.text().await.unwrap().contains("connected on this server"));
    assert_eq!(post(&house.url, None, "{}".into()).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    let mut admin = house.person("admin@example.com").await;
    let id: uuid::Uuid = house.one("select user_id from account where email = 'ann@example.com'").await;
    admin.form(&format!("/admin/users/{id}/plan"), &[("plan", "max")]).await;
    assert_eq!(ann.quota().await["plan"], "max");
    assert!(ann.text("/settings/billing").await.contains("gave you this plan"));
    admin.text("/admin/health").await;
}

/// What an admin gave and what is paid stand side by side; the larger holds.
#[tokio::test]
async fn a_gift_and_a_payment_don_t_undo_each_other() {
    let house = selling(&[]).await;
    let mut admin = house.person("admin@example.com").await;
    let mut ann = house.person("ann@example.com").await;
    let id: uuid::Uuid = house.one("select user_id from account where email = 'ann@example.com'").await;
    let path = format!("/admin/users/{id}/plan");
    admin.form(&path, &[("plan", "pro")]).await;
    buy(&mut ann, "max", GOOD).await;
    house.until("select plan_id = 'max' from account where email = 'ann@example.com'").await;
    admin.form(&path, &[("plan", "free")]).await;
    assert_eq!(ann.quota().await["plan"], "max", "what is paid is not taken by a smaller gift");
    admin.form(&path, &[("plan", "pro")]).await;
    let subscription = house.stripe.all("subscription")[0]["id"].as_str().unwrap().to_owned();
    api(&house, "DELETE", &format!("subscriptions/{subscription}"), &[]).await;
    house.until(ON_PRO).await;
}

/// Stripe down: a kind sentence, nothing half done, and chat is untouched.
#[tokio::test]
async fn with_stripe_down_checkout_says_so_and_chat_goes_on() {
    let house = selling(&[]).await;
    let mut ann = house.person("ann@example.com").await;
    house.stripe.set_down(true);
    let refused = ann.form("/billing/checkout", &[("plan", "pro")]).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.text().await.unwrap().contains("Nothing was charged"));
    ann.answer("{{words:1}}").await;
    event(
        &house.url,
        &json!({"id": "evt_1", "type": "customer.updated", "data": {"object": {"object": "customer", "id": "cus_1"}}}),
    )
    .await;
    house
        .until("select attempts > 0 and done_at is null and dead_at is null from stripe_event where event_id = 'evt_1'")
        .await;
    house.stripe.set_down(false);
    sqlx::query("update stripe_event set run_at = now()").execute(&house.db).await.unwrap();
    house.until(ALL_DONE).await;
    let url = go(&mut ann, "pro").await;
    pay(&ann, &url, GOOD).await;
    house.until(ON_PRO).await;
}

/// A key of another Stripe account takes nobody's plan; the owner can say that it is meant.
#[tokio::test]
async fn another_account_s_key_takes_no_plan() {
    let house = selling(&[]).await;
    let mut ann = house.person("ann@example.com").await;
    buy(&mut ann, "pro", GOOD).await;
    house.until(ON_PRO).await;
    house.until(ALL_DONE).await;
    let elsewhere = stand_in::StripeStandIn::start(([127, 0, 0, 1], 0).into(), None).await.unwrap();
    let mut moved = house.leave().await;
    moved.config.stripe_base_url = Some(elsewhere.url());
    let (url, _stop) = moved.second().await;
    ann.url = url;
    moved.run(Command::Plans(Plans::Push)).await;
    let said = moved.run(Command::Billing(Billing::Reconcile)).await;
    assert!(said.contains("not mended") && said.contains("of another account or mode"), "{said}");
    let refused = ann.form("/billing/checkout", &[("plan", "pro")]).await;
    assert!(refused.status().is_server_error());
    assert!(moved.one::<bool>(ON_PRO).await);
    assert!(moved.run(Command::Billing(Billing::Forget)).await.contains("1 customers"));
    assert!(moved.one::<bool>(ON_FREE).await);
    let url = go(&mut ann, "pro").await;
    assert!(url.starts_with(&elsewhere.url()));
}

/// A Stripe that takes its time holds up nobody's chat, and one person's clicks hold up nobody else's.
#[tokio::test]
async fn a_slow_stripe_delays_no_turn() {
    let house = selling(&[]).await;
    let mut ann = house.person("ann@example.com").await;
    buy(&mut ann, "pro", GOOD).await;
    house.until(ON_PRO).await;
    house.until(ALL_DONE).await;
    house.stripe.hold();
    // answers to lists and sessions wait until they are let go
    house.stripe.stall(true);
    let clicks: Vec<_> = (0..6)
        .map(|_| {
            let mut ann = ann.clone();
            tokio::spawn(async move { ann.form("/billing/checkout", &[("plan", "max")]).await.status() })
        })
        .collect();
    while house.stripe.stalled() == 0 {
        tokio::task::yield_now().await;
    }
    ann.answer("{{words:1}}").await;
    assert_eq!(house.stripe.stalled(), 1, "one way to Stripe at a time per person");
    // somebody else gets through to Stripe meanwhile
    let mut bob = house.person("bob@example.com").await;
    let bobs = tokio::spawn(async move { bob.form("/billing/checkout", &[("plan", "max")]).await.status() });
    while house.stripe.stalled() == 1 && !bobs.is_finished() {
        tokio::task::yield_now().await;
    }
    assert_eq!(house.stripe.stalled(), 2);
    house.stripe.stall(false);
    for click in clicks.into_iter().chain([bobs]) {
        assert_eq!(click.await.unwrap(), StatusCode::SEE_OTHER);
    }
    assert_eq!(house.stripe.all("customer").len(), 2);
}

/// A second month that fails has its own days of grace: it counts from its own invoice, not from an older one left open.
#[tokio::test]
async fn each_failure_has_its_own_grace() {
    let house = selling(&[]).await;
    let mut ann = house.person("ann@example.com").await;
    buy(&mut ann, "max", GOOD).await;
    house.until("select plan_id = 'max' from account").await;
    house.until(ALL_DONE).await;
    let subscription = house.stripe.all("subscription")[0].clone();
    let (id, customer) = (subscription["id"].as_str().unwrap(), subscription["customer"].as_str().unwrap());
    let invoice = house.stripe.all("invoice")[0].clone();
    // an old open one, a paid one, and one that has just failed
    for (n, status, created) in
        [(1, "open", now() - 70 * 86_400), (2, "paid", now() - 40 * 86_400), (3, "open", now() - 86_400)]
    {
        let mut made = invoice.clone();
        made["id"] = json!(format!("in_{n}"));
        made["status"] = json!(status);
        made["created"] = json!(created);
        house.stripe.plant(made);
    }
    let mut first = invoice;
    first["created"] = json!(now() - 100 * 86_400);
    house.stripe.plant(first);
    let mut overdue = subscription.clone();
    overdue["status"] = json!("past_due");
    house.stripe.plant(overdue);
    event(
        &house.url,
        &json!({"id": "evt_f", "type": "invoice.payment_failed", "data": {"object": {"customer": customer}}}),
    )
    .await;
    house.until("select bool_and(status = 'past_due') from subscription").await;
    assert!(house.one::<bool>("select plan_id = 'max' from account").await);
    let days: f64 = house.one("select extract(epoch from grace_until - now())::float8 / 86400 from subscription").await;
    assert!((5.9..6.1).contains(&days), "{days} days for {id}");
}

/// Refunds and disputes are flagged; a dead letter is shown and replayed; each act is written down.
#[tokio::test]
async fn the_owner_sees_what_to_look_at() {
    let house = selling(&[]).await;
    let mut admin = house.person("admin@example.com").await;
    let mut ann = house.person("ann@example.com").await;
    buy(&mut ann, "max", GOOD).await;
    house.until("select plan_id = 'max' from account where email = 'ann@example.com'").await;
    let charge = house.stripe.all("charge")[0]["id"].as_str().unwrap().to_owned();
    api(&house, "POST", "refunds", &[("charge", &charge), ("amount", "500")]).await;
    control(&house, &format!("dispute/{charge}"), &[]).await;
    house.until("select count(*) = 2 from billing_flag").await;
    api(&house, "POST", "refunds", &[("charge", &charge), ("amount", "200")]).await;
    house.until("select bool_or(amount_minor = 700) from billing_flag where kind = 'refund'").await;
    assert!(
        house
            .one::<bool>("select amount_minor = 700 and currency = 'usd' from billing_flag where kind = 'refund'")
            .await
    );
    assert!(house.one::<bool>("select amount_minor = 10000 from billing_flag where kind = 'dispute'").await);
    sqlx::query(
        "insert into stripe_event (event_id, type, body, created_at, received_at, run_at, attempts, error, dead_at)
         values ('evt_dead', 'customer.updated', '{\"id\":\"evt_dead\",\"type\":\"customer.updated\",\"data\":{\"object\":{\"customer\":\"cus_none\"}}}', now(), now(), now(), 14, 'it was so', now())",
    )
    .execute(&house.db)
    .await
    .unwrap();
    let page = admin.text("/admin/health").await;
    for said in ["Money was given back", "A bank asks for money back", "ann@example.com", "$7", "evt_dead", "it was so"]
    {
        assert!(page.contains(said), "{said}");
    }
    assert_eq!(ann.get("/admin/health").await.status(), StatusCode::NOT_FOUND);
    assert_eq!(ann.form("/admin/health/replay", &[("event", "evt_dead")]).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(place(&admin.form("/admin/health/replay", &[("event", "evt_dead")]).await), "/admin/health");
    house.until("select done_at is not null from stripe_event where event_id = 'evt_dead'").await;
    let again = admin.form("/admin/health/replay", &[("event", "evt_dead")]).await;
    assert_eq!(again.status(), StatusCode::NOT_FOUND);
    assert!(again.text().await.unwrap().contains("This dead letter"));
    assert_eq!(house.one::<i64>("select count(*) from audit where action = 'replay' and after = 'evt_dead'").await, 1);
}

/// Mail is queued with its cause and handed over by SMTP; a server that says later is asked later.
#[tokio::test]
async fn mail_is_handed_over_and_tried_again() {
    let (port, mut letters) = smtp().await;
    let house =
        selling(&[("SMTP_URL", &format!("smtp://127.0.0.1:{port}")), ("MAIL_FROM", "The House <house@example.com>")])
            .await;
    sqlx::query("update plan set trial_days = 2 where plan_id = 'pro'").execute(&house.db).await.unwrap();
    let mut ann = house.person("ann@example.com").await;
    buy(&mut ann, "pro", GOOD).await;
    house.until("select count(*) = 1 from job where attempts = 1 and done_at is null and error like '%451%'").await;
    sqlx::query("update job set run_at = now()").execute(&house.db).await.unwrap();
    let letter = letters.recv().await.unwrap();
    for said in [
        "From: \"The House\" <house@example.com>",
        "To: ann@example.com",
        "Subject: Your Pro trial ends on",
        "text/plain",
        "text/html",
    ] {
        assert!(letter.contains(said), "{said} in {letter}");
    }
    house.until("select bool_and(done_at is not null) from job").await;
}

/// A mail server of a few lines, which says "later" to the first letter.
async fn smtp() -> (u16, tokio::sync::mpsc::UnboundedReceiver<String>) {
    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut refused = false;
        while let Ok((socket, _)) = listener.accept().await {
            let (read, mut write) = socket.into_split();
            let mut lines = BufReader::new(read).lines();
            write.write_all(b"220 test\r\n").await.unwrap();
            while let Ok(Some(line)) = lines.next_line().await {
                let answer = match line.split(' ').next().unwrap_or_default() {
                    "RCPT" if !refused => {
                        refused = true;
                        "451 later"
                    }
                    "DATA" => {
                        write.write_all(b"354 go on\r\n").await.unwrap();
                        let mut letter = String::new();
                        while let Ok(Some(line)) = lines.next_line().await {
                            if line == "." {
                                break;
                            }
                            letter.push_str(&line);
                            letter.push('\n');
                        }
                        sender.send(letter).unwrap();
                        "250 taken"
                    }
                    "QUIT" => "221 bye",
                    _ => "250 ok",
                };
                write.write_all(format!("{answer}\r\n").as_bytes()).await.unwrap();
            }
        }
    });
    (port, receiver)
}
