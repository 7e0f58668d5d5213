//! Payments that fail and subscriptions that end.

use super::{ALL_DONE, FAILS_LATER, GOOD, ON_FREE, ON_PRO, api, buy, control, event, go, now, pay, place, selling};
use http::StatusCode;
use serde_json::json;

/// Field note 37: an overdue payment has days of grace, then the plan goes, and a payment brings it back.
#[tokio::test]
async fn overdue_is_kept_for_a_while_then_free_until_it_is_paid() {
    let app = selling(&[("BILLING_GRACE_DAYS", "40")]).await;
    let mut ann = app.user("ann@example.com").await;
    buy(&mut ann, "pro", FAILS_LATER).await;
    app.until(ON_PRO).await;
    // The trial ends and its payment fails; by our own clock that is in some days, so the grace is long.
    control(&app, "clock", &[("days", "8")]).await;
    app.until("select bool_and(status = 'past_due' and grace_until > now()) from subscription").await;
    assert!(app.one::<bool>(ON_PRO).await, "the plan is kept");
    assert!(ann.text("/usage").await.contains("Your last payment failed"));
    assert!(ann.text("/settings/billing").await.contains("Payment overdue"));
    app.until("select count(*) = 1 from job where key like 'mail:payment_failed:%' and done_at is not null").await;
    // An event that is still to be handled would work out the grace anew.
    app.until(ALL_DONE).await;
    sqlx::query("update subscription set grace_until = now() - interval '1 minute'").execute(&app.db).await.unwrap();
    // A server that starts looks at once.
    let (second, _stop) = app.second().await;
    app.until(ON_FREE).await;
    assert_eq!(app.one::<i64>("select count(*) from job where key like 'mail:grace_over:%'").await, 1);
    let outbox = reqwest::get(format!("{second}/dev/outbox")).await.unwrap().text().await.unwrap();
    assert!(outbox.contains("Your account moved to the free plan") && outbox.contains("ann@example.com"));
    let url = place(&ann.form("/billing/portal", &[]).await);
    ann.client.post(&url).form(&[("do", "card"), ("card", GOOD)]).send().await.unwrap();
    app.until(ON_PRO).await;
    assert!(app.one::<bool>("select grace_until is null and not grace_is_over from subscription").await);
}

/// A deleted account cancels what it paid for; the password is asked for first, and the last admin stays.
#[tokio::test]
async fn a_deleted_account_pays_no_longer() {
    let app = selling(&[]).await;
    let mut ann = app.user("ann@example.com").await;
    buy(&mut ann, "pro", GOOD).await;
    app.until(ON_PRO).await;
    let wrong = ann.form("/settings/delete", &[("password", "wrong")]).await;
    assert_eq!(wrong.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert!(wrong.text().await.unwrap().contains("was not deleted"));
    ann.form("/settings/delete", &[("password", "correct horse")]).await;
    app.until("select count(*) = 0 from account").await;
    app.until("select bool_and(status = 'canceled' and user_id is null) from subscription").await;
    assert_eq!(app.stripe.all("subscription")[0]["status"], "canceled");
    let mut admin = app.user("admin@example.com").await;
    let refused = admin.form("/settings/delete", &[("password", "correct horse")]).await;
    assert!(refused.text().await.unwrap().contains("the only admin"));
}

/// A customer that was deleted at Stripe's side: the plan goes, and buying again works.
#[tokio::test]
async fn a_customer_deleted_at_stripe_heals() {
    let app = selling(&[]).await;
    let mut ann = app.user("ann@example.com").await;
    buy(&mut ann, "pro", GOOD).await;
    app.until(ON_PRO).await;
    let customer: String = app.one("select stripe_customer_id from account").await;
    // once with its event, once without
    api(&app, "DELETE", &format!("customers/{customer}"), &[]).await;
    app.until("select stripe_customer_id is null and plan_id = 'free' from account").await;
    buy(&mut ann, "pro", GOOD).await;
    app.until(ON_PRO).await;
    app.stripe.hold();
    let customer: String = app.one("select stripe_customer_id from account").await;
    api(&app, "DELETE", &format!("customers/{customer}"), &[]).await;
    let url = go(&mut ann, "pro").await;
    pay(&ann, &url, GOOD).await;
    ann.get("/billing/return").await;
    assert!(app.one::<bool>(ON_PRO).await);
}

/// A second month that fails has its own days of grace: it counts from its own invoice, not from an older one left open.
#[tokio::test]
async fn each_failure_has_its_own_grace() {
    let app = selling(&[]).await;
    let mut ann = app.user("ann@example.com").await;
    buy(&mut ann, "max", GOOD).await;
    app.until("select plan_id = 'max' from account").await;
    app.until(ALL_DONE).await;
    let subscription = app.stripe.all("subscription")[0].clone();
    let (id, customer) = (subscription["id"].as_str().unwrap(), subscription["customer"].as_str().unwrap());
    let invoice = app.stripe.all("invoice")[0].clone();
    // an old open one, a paid one, and one that has just failed
    for (n, status, created) in
        [(1, "open", now() - 70 * 86_400), (2, "paid", now() - 40 * 86_400), (3, "open", now() - 86_400)]
    {
        let mut made = invoice.clone();
        made["id"] = json!(format!("in_{n}"));
        made["status"] = json!(status);
        made["created"] = json!(created);
        app.stripe.plant(made);
    }
    let mut first = invoice;
    first["created"] = json!(now() - 100 * 86_400);
    app.stripe.plant(first);
    let mut overdue = subscription.clone();
    overdue["status"] = json!("past_due");
    app.stripe.plant(overdue);
    event(
        &app.url,
        &json!({"id": "evt_f", "type": "invoice.payment_failed", "data": {"object": {"customer": customer}}}),
    )
    .await;
    app.until("select bool_and(status = 'past_due') from subscription").await;
    assert!(app.one::<bool>("select plan_id = 'max' from account").await);
    let days: f64 = app.one("select extract(epoch from grace_until - now())::float8 / 86400 from subscription").await;
    assert!((5.9..6.1).contains(&days), "{days} days for {id}");
}
