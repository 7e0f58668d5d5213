//! Plans that are paid: the way to Stripe and back, its events in any order and any number, and what happens when money
//! stops coming. Stripe is the fake on a real socket; what it says is the oracle.

mod events;
mod lapse;
mod mail;
mod reconcile;

use crate::app::{HTTP, TestApp};
use crate::visitor::Visitor;
use fakes::WEBHOOK_SECRET;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::StatusCode;
use reqwest::header;
use serde_json::Value;
use server::cli::{Command, Plans};

const GOOD: &str = "4242 4242 4242 4242";

const FAILS_LATER: &str = "4000 0000 0000 0341";

/// A deployment whose plans can be bought.
async fn selling(more: &[(&str, &str)]) -> TestApp {
    let app = TestApp::with(more).await;
    app.run(Command::Plans(Plans::Push)).await;
    app
}

fn place(response: &reqwest::Response) -> String {
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    response.headers()[header::LOCATION].to_str().unwrap().to_owned()
}

/// Goes to the checkout of a plan.
async fn go(ann: &mut Visitor, plan: &str) -> String {
    place(&ann.form("/billing/checkout", &[("plan", plan), ("interval", "month")]).await)
}

/// Pays on the fake's page; where that leads back to is not followed.
async fn pay(ann: &Visitor, url: &str, card: &str) -> String {
    place(&ann.client.post(url).form(&[("card", card)]).send().await.unwrap())
}

async fn buy(ann: &mut Visitor, plan: &str, card: &str) {
    let url = go(ann, plan).await;
    pay(ann, &url, card).await;
}

async fn control(app: &TestApp, path: &str, form: &[(&str, &str)]) {
    let url = format!("{}/_control/{path}", app.stripe.url());
    let done = HTTP.post(url).form(form).send().await.unwrap();
    assert_eq!(done.status(), StatusCode::OK);
}

/// Asks the fake's API, as the owner would in Stripe's dashboard.
async fn api(app: &TestApp, method: &str, path: &str, form: &[(&str, &str)]) -> Value {
    let url = format!("{}/v1/{path}", app.stripe.url());
    let request = HTTP.request(method.parse().unwrap(), url).bearer_auth("sk_test_x").form(form);
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
    let mut request = HTTP.post(format!("{url}/stripe/webhook")).body(body);
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

/// Field note 10, by way of money: a user pays, and the next message runs under the new limit; used stays used.
#[tokio::test]
async fn a_paid_plan_counts_from_the_next_message_on() {
    let app = selling(&[]).await;
    let mut ann = app.user("ann@example.com").await;
    for _ in 0..10 {
        ann.answer("{{words:20}}").await;
    }
    assert_eq!(ann.ask("hi").await.status(), StatusCode::TOO_MANY_REQUESTS);
    let used = ann.quota().await["tokens"]["used"].clone();
    let url = go(&mut ann, "pro").await;
    assert!(url.starts_with(&app.stripe.url()));
    let back = pay(&ann, &url, GOOD).await;
    assert!(back.starts_with(&app.config.public_url));
    app.until(ON_PRO).await;
    let quota = ann.quota().await;
    assert_eq!((quota["plan"].as_str(), &quota["tokens"]["used"]), (Some("pro"), &used));
    ann.answer("{{words:1}}").await;
    let page = ann.text("/settings/billing").await;
    for said in ["Trial", "FAKE-0001", "Test mode: no money moves"] {
        assert!(page.contains(said), "{said}");
    }
    // the same on the way back, without any event
    app.stripe.hold();
    let mut bob = app.user("bob@example.com").await;
    let url = go(&mut bob, "max").await;
    pay(&bob, &url, GOOD).await;
    assert_eq!(place(&bob.get("/billing/return?bought=yes").await), "/settings/billing?from=checkout");
    assert_eq!(bob.quota().await["plan"], "max");
}

/// Pushing plans twice changes nothing; a plan is one row; what is sold stands on the pricing page for everybody.
#[tokio::test]
async fn plans_are_rows_and_pushed_once() {
    let app = selling(&[]).await;
    assert!(app.run(Command::Plans(Plans::Push)).await.contains("up to date"));
    sqlx::query(
        "insert into plan (plan_id, name, sort, requests_per_minute, tokens_per_day, in_flight, max_output, monthly_cents, pitch)
         values ('team', 'Team', 9, 900, 9000000, 30, 32768, 50000, 'For all of you.')",
    )
    .execute(&app.db)
    .await
    .unwrap();
    let said = app.run(Command::Plans(Plans::Push)).await;
    assert!(said.contains("plan_team_month: $500 a month") && said.contains("portal: configured"), "{said}");
    let page = app.visitor().text("/pricing?interval=year").await;
    for expected in ["$200", "$1,000", "Team", "$500", "Save $40 a year", "Start 7-day free trial"] {
        assert!(page.contains(expected), "{expected}");
    }
    let mut ann = app.user("ann@example.com").await;
    buy(&mut ann, "team", GOOD).await;
    app.until("select plan_id = 'team' from account").await;
    let bad = ann.form("/billing/checkout", &[("plan", "free"), ("interval", "month")]).await;
    assert_eq!(bad.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let bad = ann.form("/billing/checkout", &[("plan", "team"), ("interval", "year")]).await;
    assert_eq!(bad.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(
        app.visitor().form("/billing/checkout", &[("plan", "pro")]).await.headers()["location"],
        "/sign-in?next=/billing/checkout"
    );
}

/// Field note 37: a subscription that is cancelled runs to its end; a change of plan in the portal lands.
#[tokio::test]
async fn the_portal_changes_land() {
    let app = selling(&[]).await;
    let mut ann = app.user("ann@example.com").await;
    buy(&mut ann, "pro", GOOD).await;
    app.until(ON_PRO).await;
    // a second plan is a change of the first, never a second subscription
    let url = go(&mut ann, "max").await;
    assert!(url.contains("/portal/"));
    let price: String = app.one("select monthly_price_id from plan where plan_id = 'max'").await;
    let back = ann.client.post(&url).form(&[("do", "switch"), ("price", &price)]).send().await.unwrap();
    assert!(place(&back).ends_with("/billing/return?bought=yes"));
    app.until("select plan_id = 'max' from account").await;
    assert_eq!(app.stripe.all("subscription").len(), 1);
    // cancelled: kept until the period ends
    let url = place(&ann.form("/billing/portal", &[]).await);
    ann.client.post(&url).form(&[("do", "cancel")]).send().await.unwrap();
    app.until("select bool_and(ends_at is not null) from subscription").await;
    assert_eq!(ann.quota().await["plan"], "max");
    assert!(ann.text("/settings/billing").await.contains("be charged again"));
    control(&app, "clock", &[("days", "32")]).await;
    app.until(ON_FREE).await;
    app.until("select count(*) = 1 from job where key like 'mail:plan_ended:%'").await;
}

/// Field note 37: one trial per user ever, also for somebody who comes back under a new account.
#[tokio::test]
async fn a_trial_is_had_once() {
    let app = selling(&[]).await;
    let mut ann = app.user("ann@example.com").await;
    // two open pages: the first can't be paid once the second is open
    let (first, second) = (go(&mut ann, "pro").await, go(&mut ann, "pro").await);
    assert_eq!(ann.client.get(&first).send().await.unwrap().status(), StatusCode::NOT_FOUND);
    pay(&ann, &second, GOOD).await;
    app.until("select count(*) = 1 from subscription where status = 'trialing'").await;
    let id = app.stripe.all("subscription")[0]["id"].as_str().unwrap().to_owned();
    api(&app, "DELETE", &format!("subscriptions/{id}"), &[]).await;
    app.until(ON_FREE).await;
    buy(&mut ann, "pro", GOOD).await;
    app.until("select exists (select from subscription where status = 'active' and trial_end is null)").await;
    let gone = ann.form("/settings/delete", &[("password", "correct horse")]).await;
    assert_eq!(place(&gone), "/");
    let mut again = app.user("ann@example.com").await;
    assert!(!again.text("/pricing").await.contains("free trial"));
    buy(&mut again, "pro", GOOD).await;
    app.until(ON_PRO).await;
    assert_eq!(app.one::<i64>("select count(*) from subscription where trial_end is not null").await, 1);
}

/// With no key nothing breaks: the pages say so and what to set, buying is refused in words, an admin still gives plans.
#[tokio::test]
async fn without_a_key_everything_else_works() {
    let app = TestApp::with(&[("STRIPE_SECRET_KEY", "")]).await;
    let mut ann = app.user("ann@example.com").await;
    for page in ["/pricing", "/settings/billing"] {
        let text = ann.text(page).await;
        assert!(text.contains("set up on this server") && text.contains("STRIPE_SECRET_KEY"), "{page}");
    }
    let refused = ann.form("/billing/checkout", &[("plan", "pro")]).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.text().await.unwrap().contains("set up on this server"));
    assert_eq!(post(&app.url, None, "{}".into()).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    let mut admin = app.user("admin@example.com").await;
    let id: uuid::Uuid = app.one("select user_id from account where email = 'ann@example.com'").await;
    admin.form(&format!("/admin/users/{id}/plan"), &[("plan", "max")]).await;
    assert_eq!(ann.quota().await["plan"], "max");
    assert!(ann.text("/settings/billing").await.contains("given to you by the site owner"));
    admin.text("/admin/health").await;
}

/// What an admin gave and what is paid stand side by side; the larger holds.
#[tokio::test]
async fn a_gift_and_a_payment_don_t_undo_each_other() {
    let app = selling(&[]).await;
    let mut admin = app.user("admin@example.com").await;
    let mut ann = app.user("ann@example.com").await;
    let id: uuid::Uuid = app.one("select user_id from account where email = 'ann@example.com'").await;
    let path = format!("/admin/users/{id}/plan");
    admin.form(&path, &[("plan", "pro")]).await;
    buy(&mut ann, "max", GOOD).await;
    app.until("select plan_id = 'max' from account where email = 'ann@example.com'").await;
    admin.form(&path, &[("plan", "free")]).await;
    assert_eq!(ann.quota().await["plan"], "max", "what is paid is not taken by a smaller gift");
    admin.form(&path, &[("plan", "pro")]).await;
    let subscription = app.stripe.all("subscription")[0]["id"].as_str().unwrap().to_owned();
    api(&app, "DELETE", &format!("subscriptions/{subscription}"), &[]).await;
    app.until(ON_PRO).await;
}
