//! Paid plans: checkout and return, events in any order and any number, and failed payments. Stripe is the simulator on a real socket;
//! its state is the expected result.

mod events;
mod lapse;
mod mail;
mod reconcile;

use crate::app::{HTTP, TestApp};
use crate::visitor::TestClient;
use clap::Parser as _;
use fakes::WEBHOOK_SECRET;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::StatusCode;
use reqwest::header;
use rust_decimal::Decimal;
use serde_json::Value;
use server::cli::{Cli, Command, Plans};
use std::time::Duration;

/// A card whose payments succeed.
const GOOD: &str = "4242 4242 4242 4242";

/// A card that can be attached and whose later payments fail.
const FAILS_LATER: &str = "4000 0000 0000 0341";

/// Starts a deployment whose plans can be bought.
async fn selling(more: &[(&str, &str)]) -> TestApp {
    let app = TestApp::with(more).await;
    app.run(Command::Plans(Plans::Push)).await;
    // The server reconciles with Stripe at its start. What a test changes afterwards is repaired by no late run of that.
    app.until("select exists (select from reconciliation)").await;
    app
}

/// Returns a time zone in which the day is another one than in UTC, for the next hour at least.
fn other_zone() -> &'static str {
    let is_late = time::OffsetDateTime::now_utc().hour() >= 10;
    if is_late { "Pacific/Kiritimati" } else { "Pacific/Pago_Pago" }
}

/// Returns the date of a query's instant in a time zone as pages have it, such as "3 March 2026".
async fn local_day(app: &TestApp, zone: &str, instant: &'static str) -> String {
    let at: time::OffsetDateTime = app.one(instant).await;
    let sql = "select ($1::timestamptz at time zone $2)::date";
    let day: time::Date = sqlx::query_scalar(sql).bind(at).bind(zone).fetch_one(&app.db).await.unwrap();
    format!("{} {} {}", day.day(), day.month(), day.year())
}

/// Returns the target of a redirect.
fn redirect_target(response: &reqwest::Response) -> String {
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    response.headers()[header::LOCATION].to_str().unwrap().to_owned()
}

/// Opens the checkout of a plan. Returns the URL of Stripe's page.
async fn go(ann: &mut TestClient, plan: &str) -> String {
    redirect_target(&ann.form("/billing/checkout", &[("plan", plan), ("interval", "month")]).await)
}

/// Pays on the simulator's page. Returns the URL that it redirects to, without following it.
async fn pay(ann: &TestClient, url: &str, card: &str) -> String {
    redirect_target(&ann.client.post(url).form(&[("card", card)]).send().await.unwrap())
}

async fn buy(ann: &mut TestClient, plan: &str, card: &str) {
    let url = go(ann, plan).await;
    pay(ann, &url, card).await;
}

async fn control(app: &TestApp, path: &str, form: &[(&str, &str)]) {
    let url = format!("{}/_control/{path}", app.stripe.url());
    let done = HTTP.post(url).form(form).send().await.unwrap();
    assert_eq!(done.status(), StatusCode::OK);
}

/// Calls the simulator's API, as the owner would use Stripe's dashboard.
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

/// Returns the header that signs a body now. The clock is read once, because the time that is signed is the one that is sent.
fn signature(secret: &str, body: &str) -> String {
    let at = now();
    format!("t={at},v1={}", signed(secret, at, body))
}

/// Sends an event with a valid signature, as Stripe would.
async fn event(url: &str, event: &Value) {
    let body = event.to_string();
    let header = signature(WEBHOOK_SECRET, &body);
    assert_eq!(post(url, Some(header), body).await.status(), StatusCode::OK);
}

/// Waits until every event that the simulator has sent is received and applied, so that none changes anything later.
async fn all_applied(app: &TestApp) {
    let delivering = async {
        while app.stripe.undelivered_events() > 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), delivering).await.expect("every event is delivered");
    app.until(ALL_DONE).await;
}

/// Jobs except the mail that confirms an address, which each sign-up queues.
const JOBS_OF_BILLING: &str = "select count(*) from job where payload->>'mail' is distinct from 'verify_email'";

const ON_PRO: &str = "select plan_id = 'pro' from account where email = 'ann@example.com'";

const ON_FREE: &str = "select plan_id = 'free' from account where email = 'ann@example.com'";

const ALL_DONE: &str = "select not exists (select from stripe_event where done_at is null)";

/// Field note 10: after a payment the next message runs under the new limit, and recorded usage stays.
#[tokio::test]
async fn paid_plan_applies_to_the_next_message() {
    let app = selling(&[]).await;
    let mut ann = app.user("ann@example.com").await;
    for _ in 0..10 {
        ann.send_and_read("{{words:20}}").await;
    }
    assert_eq!(ann.send_message("hi").await.status(), StatusCode::TOO_MANY_REQUESTS);
    let used = ann.quota().await["tokens"]["used"].clone();
    let url = go(&mut ann, "pro").await;
    assert!(url.starts_with(&app.stripe.url()));
    let back = pay(&ann, &url, GOOD).await;
    assert!(back.starts_with(&app.config.public_url));
    app.until(ON_PRO).await;
    let quota = ann.quota().await;
    assert_eq!((quota["plan"].as_str(), &quota["tokens"]["used"]), (Some("pro"), &used));
    ann.send_and_read("{{words:1}}").await;
    let page = ann.text("/settings/billing").await;
    for text in ["Trial", "FAKE-0001", "Test mode: no money moves"] {
        assert!(page.contains(text), "{text}");
    }
    // The return from checkout has the same effect without any event.
    app.stripe.hold();
    let mut bob = app.user("bob@example.com").await;
    let url = go(&mut bob, "max").await;
    pay(&bob, &url, GOOD).await;
    assert_eq!(redirect_target(&bob.get("/billing/return?bought=yes").await), "/settings/billing?from=checkout");
    assert_eq!(bob.quota().await["plan"], "max");
}

/// Field note 95: a price that was changed here but not yet at Stripe is never charged. Once it is pushed, page and checkout agree.
#[tokio::test]
async fn a_checkout_charges_what_the_page_shows() {
    let app = selling(&[]).await;
    let mut ann = app.user("ann@example.com").await;
    app.sql("update plan set monthly_cents = 2500 where plan_id = 'pro'").await;
    assert!(ann.text("/pricing").await.contains("$25"));
    let refused = ann.form("/billing/checkout", &[("plan", "pro"), ("interval", "month")]).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(app.stripe.all("checkout.session").is_empty());
    app.run(Command::Plans(Plans::Push)).await;
    buy(&mut ann, "pro", GOOD).await;
    app.until("select count(*) = 1 and bool_and(amount_minor = 2500) from subscription").await;
}

/// Field note 90: revenue is what was invoiced. A coupon counts from its first invoice to the first one without it.
#[tokio::test]
async fn a_discount_counts_as_it_was_invoiced() {
    let app = selling(&[]).await;
    let mut ann = app.user("ann@example.com").await;
    app.sql("update plan set trial_days = 0").await;
    let url = go(&mut ann, "pro").await;
    let customer = app.stripe.all("customer")[0]["id"].as_str().unwrap().to_owned();
    control(&app, &format!("discount/{customer}"), &[("percent_off", "25")]).await;
    pay(&ann, &url, GOOD).await;
    app.until("select count(*) = 1 from subscription where status = 'active' and amount_minor = 2000").await;
    app.until("select bool_and(list_minor = 2000 and net_minor = 1500 and paid_minor = 1500) from invoice").await;
    // What ten days within the next month are paid for, and what they are at $15 and $20 a month.
    let revenue = "select round(sum(prorated_usd(amount_minor, period, paid)), 9) from subscriptions_paid(now() + interval '2 days', now() + interval '12 days')";
    let at_15 = "select round(prorated_usd(1500, 'month', interval '10 days'), 9)";
    assert_eq!(app.one::<Decimal>(revenue).await, app.one::<Decimal>(at_15).await);
    control(&app, &format!("discount/{customer}"), &[("percent_off", "0")]).await;
    control(&app, "clock", &[("days", "32")]).await;
    app.until("select count(*) = 2 and count(*) filter (where net_minor = 2000) = 1 from invoice").await;
    assert_eq!(app.one::<Decimal>(revenue).await, app.one::<Decimal>(at_15).await, "the first month is as it was");
    let later = "select round(sum(prorated_usd(amount_minor, period, paid)), 9) from subscriptions_paid(now() + interval '35 days', now() + interval '45 days')";
    let at_20 = "select round(prorated_usd(2000, 'month', interval '10 days'), 9)";
    assert_eq!(app.one::<Decimal>(later).await, app.one::<Decimal>(at_20).await);
    // An invoice that is withdrawn discounts nothing.
    app.sql("update invoice set status = 'void' where net_minor = 1500").await;
    assert!(app.one::<bool>("select not exists (select from subscription_discount)").await);
    // The discounts of a subscription are computed without reading the invoices of others.
    let mut tx = app.db.begin().await.unwrap();
    sqlx::query("set local enable_seqscan = off").execute(&mut *tx).await.unwrap();
    let explain = "explain select net_minor from invoice where subscription_id = 'sub_1' and status in ('open', 'paid') order by created_at";
    let plan: Vec<String> = sqlx::query_scalar(explain).fetch_all(&mut *tx).await.unwrap();
    assert!(plan.iter().any(|line| line.contains("invoice_subscription")), "{plan:?}");
}

/// Pushing plans twice changes nothing. A new plan needs one row, and the pricing page shows every plan on sale.
#[tokio::test]
async fn pushing_plans_is_idempotent_and_includes_new_rows() {
    let app = selling(&[]).await;
    assert!(app.run(Command::Plans(Plans::Push)).await.contains("up to date"));
    sqlx::query(
        "insert into plan (plan_id, name, sort, requests_per_minute, tokens_per_day, in_flight, max_output, monthly_cents, pitch)
         values ('team', 'Team', 9, 900, 9000000, 30, 32768, 50000, 'For all of you.')",
    )
    .execute(&app.db)
    .await
    .unwrap();
    let output = app.run(Command::Plans(Plans::Push)).await;
    assert!(output.contains("plan_team_month: $500 a month") && output.contains("portal: configured"), "{output}");
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
    assert_eq!(redirect_target(&app.visitor().form("/billing/checkout", &[("plan", "pro")]).await), "/sign-in");
}

/// Field note 96: plans are added, changed and sold without a migration. What a plan can't be is refused with a reason.
#[tokio::test]
async fn plans_are_added_and_changed_by_commands() {
    let app = selling(&[]).await;
    let command =
        |words: &[&str]| Cli::try_parse_from(["quotient", "plans"].iter().chain(words)).unwrap().command.unwrap();
    let sale = ["--name", "Team", "--monthly-cents", "25000", "--yearly-cents", "0", "--pitch", "For a small team."];
    let added = app.run(command(&[&["add", "team", "--like", "max"][..], &sale].concat())).await;
    assert!(added.contains("Added team with"), "{added}");
    let changed = app.run(command(&["set", "pro", "--monthly-cents", "2500", "--trial-days", "0"])).await;
    assert!(changed.contains("Run plans push"), "{changed}");
    let pushed = app.run(command(&["push"])).await;
    assert!(pushed.contains("plan_team_month: $250 a month"), "{pushed}");
    let listed = app.run(command(&["list"])).await;
    assert!(listed.lines().any(|line| line.starts_with("team") && line.contains("$250")), "{listed}");
    let mut ann = app.user("ann@example.com").await;
    let page = ann.text("/pricing").await;
    assert!(page.contains("For a small team.") && page.contains("$25"), "{page}");
    buy(&mut ann, "pro", GOOD).await;
    app.until("select count(*) = 1 from subscription where amount_minor = 2500 and status = 'active'").await;
    for (words, reason) in [
        (&["set", "pro"][..], "nothing to change"),
        (&["set", "none", "--name", "None"][..], "there is no plan none"),
        (&["set", "free", "--monthly-cents", "5"][..], "is the free plan"),
        (&["set", "pro", "--name", "\u{202e}orP"][..], "--name"),
        (&["add", "team", "--like", "max"][..], "exists already"),
        (&["add", "Team!", "--like", "max"][..], "isn't a valid id"),
    ] {
        let error = server::cli::run(command(words), &app.config, &mut std::io::sink()).await.unwrap_err();
        assert!(format!("{error:#}").contains(reason), "{words:?}: {error:#}");
    }
    let audit =
        "select string_agg(action, ' ' order by created_at) from audit where actor_id is null and action like '%plan%'";
    assert_eq!(app.one::<String>(audit).await, "add_plan set_plan_sale");
}

/// Field note 37: a plan change in the portal is applied, and a canceled subscription runs until its period ends.
#[tokio::test]
async fn portal_changes_are_applied() {
    let app = selling(&[]).await;
    let mut ann = app.user("ann@example.com").await;
    buy(&mut ann, "pro", GOOD).await;
    app.until(ON_PRO).await;
    // Buying a second plan changes the subscription and never creates a second one.
    let url = go(&mut ann, "max").await;
    assert!(url.contains("/portal/"));
    let price: String = app.one("select monthly_price_id from plan where plan_id = 'max'").await;
    let back = ann.client.post(&url).form(&[("do", "switch"), ("price", &price)]).send().await.unwrap();
    assert!(redirect_target(&back).ends_with("/billing/return?bought=yes"));
    app.until("select plan_id = 'max' from account").await;
    assert_eq!(app.stripe.all("subscription").len(), 1);
    // A canceled plan is kept until the period ends.
    let url = redirect_target(&ann.form("/billing/portal", &[]).await);
    ann.client.post(&url).form(&[("do", "cancel")]).send().await.unwrap();
    app.until("select bool_and(ends_at is not null) from subscription").await;
    assert_eq!(ann.quota().await["plan"], "max");
    assert!(ann.text("/settings/billing").await.contains("be charged again"));
    control(&app, "clock", &[("days", "32")]).await;
    app.until(ON_FREE).await;
    app.until("select count(*) = 1 from job where key like 'mail:plan_ended:%'").await;
}

/// Field note 37: each user gets one trial, also after deleting the account and signing up again.
#[tokio::test]
async fn trial_is_granted_once_per_user() {
    let app = selling(&[]).await;
    let mut ann = app.user("ann@example.com").await;
    // Opening a second checkout closes the first.
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
    assert_eq!(redirect_target(&gone), "/");
    let mut again = app.user("ann@example.com").await;
    assert!(!again.text("/pricing").await.contains("free trial"));
    buy(&mut again, "pro", GOOD).await;
    app.until(ON_PRO).await;
    assert_eq!(app.one::<i64>("select count(*) from subscription where trial_end is not null").await, 1);
}

/// Without a Stripe key the pages say so, and name the setting to admins only. Checkout is refused with an explanation, and an admin can still
/// grant plans.
#[tokio::test]
async fn app_works_without_a_stripe_key() {
    let app = TestApp::with(&[("STRIPE_SECRET_KEY", "")]).await;
    let mut ann = app.user("ann@example.com").await;
    let mut admin = app.user("admin@example.com").await;
    for page in ["/pricing", "/settings/billing"] {
        let (text, of_admin) = (ann.text(page).await, admin.text(page).await);
        assert!(text.contains("set up on this server") && !text.contains("STRIPE_SECRET_KEY"), "{page}");
        assert!(of_admin.contains("STRIPE_SECRET_KEY"), "{page}");
    }
    assert!(!app.visitor().text("/pricing").await.contains("STRIPE_SECRET_KEY"));
    let refused = ann.form("/billing/checkout", &[("plan", "pro")]).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.text().await.unwrap().contains("set up on this server"));
    assert_eq!(post(&app.url, None, "{}".into()).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    let id: uuid::Uuid = app.one("select user_id from account where email = 'ann@example.com'").await;
    admin.form(&format!("/admin/users/{id}/plan"), &[("plan", "max")]).await;
    assert_eq!(ann.quota().await["plan"], "max");
    assert!(ann.text("/settings/billing").await.contains("given to you by the site owner"));
    admin.text("/admin/health").await;
}

/// The granted plan and the paid plan are stored separately, and the larger one applies.
#[tokio::test]
async fn granted_and_paid_plans_are_independent() {
    let app = selling(&[]).await;
    let mut admin = app.user("admin@example.com").await;
    let mut ann = app.user("ann@example.com").await;
    let id: uuid::Uuid = app.one("select user_id from account where email = 'ann@example.com'").await;
    let path = format!("/admin/users/{id}/plan");
    admin.form(&path, &[("plan", "pro")]).await;
    buy(&mut ann, "max", GOOD).await;
    app.until("select plan_id = 'max' from account where email = 'ann@example.com'").await;
    admin.form(&path, &[("plan", "free")]).await;
    assert_eq!(ann.quota().await["plan"], "max", "granting a smaller plan doesn't remove the paid one");
    admin.form(&path, &[("plan", "pro")]).await;
    let subscription = app.stripe.all("subscription")[0]["id"].as_str().unwrap().to_owned();
    api(&app, "DELETE", &format!("subscriptions/{subscription}"), &[]).await;
    app.until(ON_PRO).await;
}
