//! `seed`: the demo company agrees with the Stripe simulator and with its own ledger, and its pages show it.

use crate::app::TestApp;
use crate::visitor::TestClient;
use http::StatusCode;
use server::cli::{Billing, Command};
use uuid::Uuid;

const PASSWORD: &str = "demo company";

async fn sign_in(app: &TestApp, email: &str) -> TestClient {
    let mut visitor = app.visitor();
    let response = visitor.form("/sign-in", &[("email", email), ("password", PASSWORD)]).await;
    assert_eq!(response.status(), StatusCode::SEE_OTHER, "{email}");
    visitor.keep_browser(&response);
    visitor
}

#[tokio::test]
async fn demo_company_agrees_with_stripe_and_the_ledger() {
    let app = TestApp::seeded().await;
    let output = app.run(Command::Seed { users: 40, days: 120 }).await;
    assert!(output.contains("Added 42 users"), "{output}");
    // Payments: every kind of subscription, each as it is at Stripe.
    let subscriptions = app.stripe.all("subscription");
    let statuses: Vec<&str> = subscriptions.iter().filter_map(|found| found["status"].as_str()).collect();
    for status in ["active", "past_due", "canceled"] {
        assert!(statuses.contains(&status), "{statuses:?}");
    }
    let compared = app.run(Command::Billing(Billing::Reconcile)).await;
    assert_eq!(compared, format!("{} subscriptions compared, 0 differed.\n", subscriptions.len()));
    let invoices = app.stripe.all("invoice");
    let paid: i64 = invoices.iter().filter_map(|invoice| invoice["amount_paid"].as_i64()).sum();
    assert!(paid > 20_000, "{paid}");
    assert_eq!(app.one::<i64>("select sum(paid_minor)::bigint from invoice").await, paid);
    assert_eq!(app.one::<i64>("select count(*) from invoice").await, i64::try_from(invoices.len()).unwrap());
    assert!(app.one::<bool>("select bool_and(created_at <= now()) from invoice").await);
    // Users: more and more of them, some unverified.
    let grows = "select count(*) filter (where created_at > now() - interval '60 days')
                   > count(*) filter (where created_at <= now() - interval '60 days') from account";
    assert!(app.one::<bool>(grows).await);
    assert!(app.one::<i64>("select count(*) from account where email_verified_at is null").await > 0);
    let strangers = "select count(*) from ai_usage join account using (user_id) where email_verified_at is null";
    assert_eq!(app.one::<i64>(strangers).await, 0);
    // Usage: final, settled, within every limit, and equal in ledger and rollups.
    assert!(app.one::<i64>("select count(*) from ai_usage").await > 300);
    assert_eq!(app.one::<i64>("select count(*) from ai_usage where status = 'pending'").await, 0);
    assert_eq!(app.one::<i64>("select count(*) from turn where meter_settled_at is null").await, 0);
    assert!(app.one::<i64>("select count(distinct model) from ai_usage").await >= 5);
    assert!(app.one::<i64>("select count(distinct status) from ai_usage").await >= 3);
    assert!(app.one::<i64>("select count(*) from feedback").await > 10);
    let sums = "select (select sum(cost_usd) * 1000000000000 from ai_usage) = (select sum(cost_picos) from usage_day)";
    assert!(app.one::<bool>(sums).await);
    let over = "select exists (
                  select from ai_usage u join account a using (user_id) join plan p on p.plan_id = 'free'
                  where a.plan_id = 'free' and a.stripe_customer_id is null
                  group by u.user_id, u.created_at::date, p.tokens_per_day
                  having sum(u.input_tokens + u.cache_read_tokens + u.cache_write_tokens + u.output_tokens) > p.tokens_per_day)";
    assert!(!app.one::<bool>(over).await);
    // Pages.
    let admin = sign_in(&app, "admin@example.com").await;
    let page = admin.text("/admin?period=30d").await;
    assert!(page.contains("@harbor.example") || page.contains("@studio.example"), "{page}");
    let demo = sign_in(&app, "demo@example.com").await;
    assert!(demo.text("/settings/billing").await.contains("FAKE-"));
    let newest =
        "select conversation_id from conversation join account using (user_id) where email = 'demo@example.com'
                  order by updated_at desc limit 1";
    let page = demo.text(&format!("/chat/{}", app.one::<Uuid>(newest).await)).await;
    assert!(page.contains("How does a lease end") && page.contains("<table"), "{page}");
    // A second run adds nothing.
    let again = app.run(Command::Seed { users: 40, days: 120 }).await;
    assert!(again.contains("No demo data was added"), "{again}");
    assert_eq!(app.one::<i64>("select count(*) from account").await, 42);
}
