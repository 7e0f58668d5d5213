//! Failed payments and ended subscriptions.

use super::{
    FAILS_LATER, GOOD, ON_FREE, ON_PRO, all_applied, api, buy, control, event, go, local_day, now, other_zone, pay,
    redirect_target, selling,
};
use crate::app::TestApp;
use domain::{Amount, Period, PlanId, Subscription, SubscriptionStatus};
use http::StatusCode;
use serde_json::json;
use store::subscription;
use time::{Duration, OffsetDateTime};

/// Field note 37: an overdue plan is kept for some days of grace, then ends, and a payment restores it.
#[tokio::test]
async fn overdue_plan_ends_after_grace_and_is_restored_by_payment() {
    let app = selling(&[("BILLING_GRACE_DAYS", "40")]).await;
    let mut ann = app.user("ann@example.com").await;
    buy(&mut ann, "pro", FAILS_LATER).await;
    app.until(ON_PRO).await;
    // The trial ends and its payment fails. Stripe's clock is ahead of the server's by some days, so the grace is long.
    control(&app, "clock", &[("days", "8")]).await;
    app.until("select bool_and(status = 'past_due' and grace_until > now()) from subscription").await;
    assert!(app.one::<bool>(ON_PRO).await, "the plan is kept");
    assert!(ann.text("/usage").await.contains("Your last payment failed"));
    assert!(ann.text("/settings/billing").await.contains("Payment overdue"));
    app.until("select count(*) = 1 from job where key like 'mail:payment_failed:%' and done_at is not null").await;
    // A pending event would recompute the grace.
    all_applied(&app).await;
    let zone = other_zone();
    ann.form("/settings/time-zone", &[("zone", zone)]).await;
    let day = local_day(&app, zone, "select grace_until from subscription").await;
    assert!(ann.text("/usage").await.contains(&format!("Your plan stays active until {day}.")));
    sqlx::query("update subscription set grace_until = now() - interval '1 minute'").execute(&app.db).await.unwrap();
    // A starting server checks grace periods at once.
    let (second, _stop) = app.start_second().await;
    app.until(ON_FREE).await;
    assert_eq!(app.one::<i64>("select count(*) from job where key like 'mail:grace_over:%'").await, 1);
    let outbox = reqwest::get(format!("{second}/dev/outbox")).await.unwrap().text().await.unwrap();
    assert!(outbox.contains("Your account moved to the free plan") && outbox.contains("ann@example.com"));
    let url = redirect_target(&ann.form("/billing/portal", &[]).await);
    ann.client.post(&url).form(&[("do", "card"), ("card", GOOD)]).send().await.unwrap();
    app.until(ON_PRO).await;
    assert!(app.one::<bool>("select grace_until is null and not grace_is_over from subscription").await);
}

/// A user who pays the older of two open invoices stays overdue, with a later grace period, which ends as the first one did.
#[tokio::test]
async fn a_later_grace_period_ends_too() {
    let app = TestApp::new().await.stop_server().await;
    let now = OffsetDateTime::now_utc().replace_nanosecond(0).unwrap();
    let put = async |grace_until: OffsetDateTime| {
        let overdue = Subscription {
            id: "sub".into(),
            customer_id: "cus".into(),
            user_id: None,
            plan: Some(PlanId("pro".into())),
            status: SubscriptionStatus::PastDue,
            period: Period::Month,
            amount: Amount { minor: 2_000, currency: "usd".into() },
            is_adjusted: false,
            created_at: now - Duration::days(60),
            period_end: now + Duration::days(20),
            ends_at: None,
            trial_end: None,
            ended_at: None,
            grace_until: Some(grace_until),
        };
        subscription::put(&app.store, &overdue, now).await.unwrap();
    };
    let end = async |at: OffsetDateTime| {
        let due = subscription::grace_over(&app.store, at).await.unwrap().len();
        let mut tx = store::begin(&app.store).await.unwrap();
        let is_ended = subscription::end_grace(&mut tx, "sub", at).await.unwrap();
        tx.commit().await.unwrap();
        (due, is_ended)
    };
    put(now - Duration::DAY).await;
    assert_eq!(end(now).await, (1, true));
    // The same state once more ends nothing again.
    put(now - Duration::DAY).await;
    assert_eq!(end(now).await, (0, false));
    put(now + Duration::DAY).await;
    assert_eq!(end(now).await, (0, false));
    assert_eq!(end(now + Duration::days(2)).await, (1, true));
}

/// Deleting an account cancels its subscription. It requires the password, and the only admin can't be deleted.
#[tokio::test]
async fn deleting_an_account_cancels_its_subscription() {
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

/// Field note 94: no duplicate customer goes on being charged after the account is deleted, whether its metadata name the user or only its
/// address is theirs. Customers of others are left alone.
#[tokio::test]
async fn deleting_an_account_cancels_the_subscriptions_of_duplicate_customers() {
    let app = selling(&[]).await;
    let (mut ann, _bob) = (app.user("ann@example.com").await, app.user("bob@example.com").await);
    buy(&mut ann, "pro", GOOD).await;
    app.until(ON_PRO).await;
    all_applied(&app).await;
    // The server learns nothing of what follows by events.
    app.stripe.hold();
    let user = async |email: &str| -> String {
        let sql = "select user_id::text from account where email = $1";
        sqlx::query_scalar(sql).bind(email).fetch_one(&app.db).await.unwrap()
    };
    let (ann_id, bob_id) = (user("ann@example.com").await, user("bob@example.com").await);
    let pro: String = app.one("select monthly_price_id from plan where plan_id = 'pro'").await;
    let mut found = Vec::new();
    for (email, owner, is_theirs) in [
        ("old@example.com", Some(&ann_id), true),
        ("ann@example.com", None, true),
        ("ann@example.com", Some(&bob_id), false),
        ("other@example.com", None, false),
    ] {
        let mut form = vec![("email", email)];
        form.extend(owner.map(|owner| ("metadata[user_id]", owner.as_str())));
        let customer = api(&app, "POST", "customers", &form).await["id"].as_str().unwrap().to_owned();
        control(&app, &format!("card/{customer}"), &[("number", "4242424242424242")]).await;
        let subscription = [("customer", customer.as_str()), ("items[0][price]", &pro)];
        let subscription = api(&app, "POST", "subscriptions", &subscription).await;
        found.push((subscription["id"].as_str().unwrap().to_owned(), is_theirs));
    }
    assert_eq!(redirect_target(&ann.form("/settings/delete", &[("password", "correct horse")]).await), "/");
    app.until("select count(*) = 4 and bool_and(done_at is not null) from job where kind like 'close_%'").await;
    for (subscription, is_theirs) in found {
        assert_eq!(app.stripe.object(&subscription).unwrap()["status"] == "canceled", is_theirs, "{subscription}");
    }
    assert_eq!(app.stripe.all("subscription")[0]["status"], "canceled");
}

/// When a customer is deleted at Stripe, the plan ends and the user can buy again.
#[tokio::test]
async fn user_can_buy_again_after_the_customer_was_deleted_at_stripe() {
    let app = selling(&[]).await;
    let mut ann = app.user("ann@example.com").await;
    buy(&mut ann, "pro", GOOD).await;
    app.until(ON_PRO).await;
    let customer: String = app.one("select stripe_customer_id from account").await;
    // First with the deletion event delivered, then without.
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

/// A second failed month has its own grace period, counted from its own invoice and not from an older open one.
#[tokio::test]
async fn each_failed_payment_has_its_own_grace() {
    let app = selling(&[]).await;
    let mut ann = app.user("ann@example.com").await;
    buy(&mut ann, "max", GOOD).await;
    app.until("select plan_id = 'max' from account").await;
    all_applied(&app).await;
    let subscription = app.stripe.all("subscription")[0].clone();
    let (id, customer) = (subscription["id"].as_str().unwrap(), subscription["customer"].as_str().unwrap());
    let invoice = app.stripe.all("invoice")[0].clone();
    // An old open invoice, a paid one, and one whose payment has just failed.
    for (n, status, created) in
        [(1, "open", now() - 70 * 86_400), (2, "paid", now() - 40 * 86_400), (3, "open", now() - 86_400)]
    {
        let mut made = invoice.clone();
        made["id"] = json!(format!("in_{n}"));
        made["status"] = json!(status);
        made["created"] = json!(created);
        app.stripe.insert_object(made);
    }
    let mut first = invoice;
    first["created"] = json!(now() - 100 * 86_400);
    app.stripe.insert_object(first);
    let mut overdue = subscription.clone();
    overdue["status"] = json!("past_due");
    app.stripe.insert_object(overdue);
    event(
        &app.url,
        &json!({"id": "evt_f", "type": "invoice.payment_failed", "data": {"object": {"customer": customer}}}),
    )
    .await;
    app.until("select bool_and(status = 'past_due') from subscription").await;
    assert!(app.one::<bool>("select plan_id = 'max' from account").await);
    let days: f64 = app.one("select extract(epoch from grace_until - now())::float8 / 86400 from subscription").await;
    assert!((5.9..6.1).contains(&days), "{days} days of grace for {id}");
}

/// Field note 89: a subscription to which the owner has added another item keeps its plan, and costs both.
#[tokio::test]
async fn the_plan_is_found_among_several_items() {
    let app = selling(&[]).await;
    let mut ann = app.user("ann@example.com").await;
    buy(&mut ann, "pro", GOOD).await;
    app.until(ON_PRO).await;
    all_applied(&app).await;
    let id = |object: &serde_json::Value| object["id"].as_str().unwrap().to_owned();
    let product = id(&api(&app, "POST", "products", &[("name", "More storage")]).await);
    let price =
        [("product", product.as_str()), ("currency", "usd"), ("unit_amount", "300"), ("recurring[interval]", "month")];
    let price = id(&api(&app, "POST", "prices", &price).await);
    let subscription = id(&app.stripe.all("subscription")[0]);
    control(&app, &format!("item/{subscription}"), &[("price", &price)]).await;
    app.until("select amount_minor = 2300 from subscription").await;
    all_applied(&app).await;
    assert!(app.one::<bool>(ON_PRO).await);
    assert_eq!(app.one::<i64>("select count(*) from billing_flag where kind = 'unknown_product'").await, 0);
    assert_eq!(app.one::<i64>("select count(*) from subscription where plan_id = 'pro'").await, 1);
}
