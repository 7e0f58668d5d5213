//! Tests the Stripe client against the simulator, and the simulator's objects against async-stripe's own types, which require every field
//! that Stripe's public API description marks as always present.

#![allow(clippy::unwrap_used, missing_docs, reason = "a failed unwrap fails the test")]

use billing::{Fetched, ForSale, Found, NewCheckout, NewCustomer, PortalFlow, PortalPlan, Stripe, StripeError};
use domain::{Invoice, Period, Plan, PlanId, SubscriptionStatus, Tokens, UserId};
use fakes::FakeStripe;
use stripe::{Client, ClientBuilder};

fn plan(id: &str, monthly_cents: i64, yearly_cents: i64) -> Plan {
    Plan {
        id: PlanId(id.to_owned()),
        name: id.to_owned(),
        sort: 2,
        requests_per_minute: 1,
        tokens_per_day: Tokens(1),
        in_flight: 1,
        max_output: Tokens(1),
        storage_bytes: 1,
        monthly_cents,
        yearly_cents,
        currency: "usd".to_owned(),
        trial_days: 0,
        monthly_price_id: None,
        yearly_price_id: None,
        shows_cost: true,
        pitch: String::new(),
        models: Vec::new(),
    }
}

async fn start() -> (FakeStripe, Stripe, Client) {
    let fake = FakeStripe::start(([127, 0, 0, 1], 0).into(), None).await.unwrap();
    let ours = Stripe::new("sk_test_x", Some(&fake.url())).unwrap();
    let typed = ClientBuilder::new("sk_test_x").url(format!("{}/", fake.url())).build().unwrap();
    (fake, ours, typed)
}

async fn pay(url: &str, card: &str) -> reqwest::Response {
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    client.post(url).form(&[("card", card)]).send().await.unwrap()
}

#[tokio::test]
async fn pushing_a_plan_is_idempotent_and_replaces_changed_prices() {
    let (fake, ours, typed) = start().await;
    let mut pro = plan("pro", 2_000, 20_000);
    let first = ours.push_plan(&ForSale { plan: &pro, title: "Acme Pro" }).await.unwrap();
    assert_eq!(first.changes.len(), 3);
    let again = ours.push_plan(&ForSale { plan: &pro, title: "Acme Pro" }).await.unwrap();
    assert_eq!((again.changes.len(), &again.monthly, &again.yearly), (0, &first.monthly, &first.yearly));
    pro.monthly_cents = 2_500;
    let changed = ours.push_plan(&ForSale { plan: &pro, title: "Acme Pro" }).await.unwrap();
    assert!(changed.changes.len() == 1 && changed.monthly != first.monthly && changed.yearly == first.yearly);
    let offered = [PortalPlan { product_id: changed.product_id, price_ids: vec![changed.monthly.unwrap()] }];
    let (portal, is_new) = ours.push_portal(None, &offered, "https://x.example").await.unwrap();
    assert!(is_new);
    assert_eq!(ours.push_portal(Some(&portal), &offered, "https://x.example").await.unwrap(), (portal.clone(), false));
    // async-stripe's types can parse the simulator's objects.
    use stripe_billing::billing_portal_configuration::RetrieveBillingPortalConfiguration;
    use stripe_product::{price::ListPrice, product::RetrieveProduct};
    assert_eq!(ListPrice::new().send(&typed).await.unwrap().data.len(), 3);
    RetrieveProduct::new("plan_pro").send(&typed).await.unwrap();
    RetrieveBillingPortalConfiguration::new(portal.as_str()).send(&typed).await.unwrap();
    assert_eq!(fake.all("product").len(), 1);
}

#[tokio::test]
async fn paid_checkout_is_readable_by_both_clients() {
    let (_fake, ours, typed) = start().await;
    let pro = plan("pro", 2_000, 0);
    let at = ours.push_plan(&ForSale { plan: &pro, title: "Pro" }).await.unwrap();
    let user_id = UserId::at(time::OffsetDateTime::now_utc());
    let new = NewCustomer { user_id, email: "ann@example.com", name: "Ann" };
    let customer = ours.create_customer(&new).await.unwrap();
    assert!(
        matches!(ours.customer(&customer).await.unwrap(), Found::Current(found) if found.user_id() == Some(user_id))
    );
    assert!(matches!(ours.customer("cus_nobody").await.unwrap(), Found::Unknown));
    let checkout = || NewCheckout {
        customer_id: &customer,
        price_id: at.monthly.as_ref().unwrap(),
        trial_days: 7,
        automatic_tax: true,
        success_url: "https://x.example/back?s={CHECKOUT_SESSION_ID}",
        cancel_url: "https://x.example/pricing",
    };
    let abandoned = ours.open_checkout(&checkout()).await.unwrap();
    assert!(ours.expire_checkout(&abandoned.id).await.unwrap());
    assert!(!ours.expire_checkout("cs_nothing").await.unwrap());
    assert_eq!(pay(&abandoned.url.unwrap(), "4242424242424242").await.status(), 404);
    let opened = ours.open_checkout(&checkout()).await.unwrap();
    let url = opened.url.unwrap();
    assert_eq!(pay(&url, "4000000000000002").await.status(), 200, "a declined card shows the page again");
    let paid = pay(&url, "4242 4242 4242 4242").await;
    assert_eq!(paid.headers()["location"], format!("https://x.example/back?s={}", opened.id));
    let [subscription] = ours.subscriptions(&customer, &[]).await.unwrap().try_into().unwrap();
    assert_eq!((subscription.status, subscription.period), (SubscriptionStatus::Trialing, Period::Month));
    assert_eq!((subscription.amount.minor, subscription.product_id.as_deref()), (2_000, Some("plan_pro")));
    let [invoice] = ours.invoices(&customer).await.unwrap().try_into().unwrap();
    assert_eq!(invoice.subscription_id.as_deref(), Some(subscription.id.as_str()));
    let portal = ours.open_portal(&customer, None, "https://x.example", &PortalFlow::Overview).await.unwrap();
    assert!(portal.contains("/portal/"));
    use stripe_billing::{
        billing_portal_session::CreateBillingPortalSession, invoice::ListInvoice, subscription::RetrieveSubscription,
    };
    use stripe_checkout::checkout_session::RetrieveCheckoutSession;
    use stripe_core::customer::RetrieveCustomer;
    RetrieveSubscription::new(subscription.id.as_str()).send(&typed).await.unwrap();
    ListInvoice::new().customer(customer.as_str()).send(&typed).await.unwrap();
    RetrieveCustomer::new(customer.as_str()).send(&typed).await.unwrap();
    RetrieveCheckoutSession::new(opened.id.as_str()).send(&typed).await.unwrap();
    CreateBillingPortalSession::new().customer(customer.as_str()).send(&typed).await.unwrap();
}

#[tokio::test]
async fn outage_returns_an_error_in_bounded_time() {
    let (fake, ours, _) = start().await;
    fake.set_down(true);
    let began = std::time::Instant::now();
    assert!(matches!(ours.customer("cus_x").await, Err(StripeError::Unreachable(_))));
    assert_eq!(fake.request_count(), 3, "the request is attempted three times");
    assert!(began.elapsed() < std::time::Duration::from_secs(60));
    let unreachable = Stripe::new("sk_test_x", Some("http://127.0.0.1:1")).unwrap();
    assert!(matches!(unreachable.customer("cus_x").await, Err(StripeError::Unreachable(_))));
    fake.set_down(false);
    let wrong = Stripe::new("nonsense", Some(&fake.url())).unwrap();
    assert!(matches!(wrong.customer("cus_x").await, Err(StripeError::Refused { status: 401, .. })));
}

/// Creates a customer with a subscription of the past, and returns that with its invoices.
async fn with_history(fake: &FakeStripe, ours: &Stripe, name: &str, form: &[(&str, &str)]) -> (Fetched, Vec<Invoice>) {
    let user_id = UserId::at(time::OffsetDateTime::now_utc());
    let new = NewCustomer { user_id, email: &format!("{name}@example.com"), name };
    let customer = ours.create_customer(&new).await.unwrap();
    let url = format!("{}/_control/history/{customer}", fake.url());
    let done = reqwest::Client::new().post(url).form(form).send().await.unwrap();
    assert_eq!(done.status(), 200, "{name}");
    let [subscription] = ours.subscriptions(&customer, &[]).await.unwrap().try_into().unwrap();
    (subscription, ours.invoices(&customer).await.unwrap())
}

/// A subscription of the past has the invoices and the state that a running simulator would have given it, and sends no events.
#[tokio::test]
async fn history_has_every_invoice_up_to_now() {
    let (fake, ours, typed) = start().await;
    let pro = plan("pro", 2_000, 0);
    let at = ours.push_plan(&ForSale { plan: &pro, title: "Pro" }).await.unwrap();
    let (monthly, events) = (at.monthly.unwrap(), fake.all("event").len());
    let now = time::OffsetDateTime::now_utc().replace_nanosecond(0).unwrap();
    let days_ago = |days: i64| (now - time::Duration::days(days)).unix_timestamp().to_string();
    let [d100, d80, d33, d20, d10, d1] = [100, 80, 33, 20, 10, 1].map(days_ago);
    let price = ("price", monthly.as_str());
    let form = [price, ("begins_at", d100.as_str()), ("trial_days", "7")];
    let (running, invoices) = with_history(&fake, &ours, "running", &form).await;
    assert_eq!((running.status, running.ends_at, running.ended_at), (SubscriptionStatus::Active, None, None));
    assert_eq!(running.created_at, now - time::Duration::days(100));
    assert!(now < running.period_end && running.period_end <= now + time::Duration::days(31), "{running:?}");
    // The trial's invoice of nothing, and four months in the 93 days since.
    assert_eq!(invoices.len(), 5, "{invoices:?}");
    assert!(invoices.iter().all(|invoice| invoice.status == "paid" && invoice.created_at <= now), "{invoices:?}");
    assert_eq!(invoices.iter().map(|invoice| invoice.paid_minor).sum::<i64>(), 4 * 2_000);
    let form = [price, ("begins_at", d100.as_str()), ("cancels_at", d80.as_str())];
    let (ended, _) = with_history(&fake, &ours, "ended", &form).await;
    assert_eq!(ended.status, SubscriptionStatus::Canceled);
    assert!(ended.ended_at.is_some_and(|at| at < now - time::Duration::days(60)), "{ended:?}");
    let form = [price, ("begins_at", d10.as_str()), ("cancels_at", d1.as_str())];
    let (ending, _) = with_history(&fake, &ours, "ending", &form).await;
    assert_eq!((ending.status, ending.ends_at), (SubscriptionStatus::Active, Some(ending.period_end)));
    let form = [price, ("begins_at", d33.as_str()), ("card_fails_at", d20.as_str())];
    let (overdue, invoices) = with_history(&fake, &ours, "overdue", &form).await;
    assert_eq!(overdue.status, SubscriptionStatus::PastDue);
    assert_eq!(invoices.iter().filter(|invoice| invoice.status == "open").count(), 1, "{invoices:?}");
    // Each customer was created at the API, which is an event; nothing of their past is one.
    assert_eq!(fake.all("event").len(), events + 4);
    assert!(fake.all("test_helpers.test_clock").is_empty());
    use stripe_billing::{invoice::ListInvoice, subscription::RetrieveSubscription};
    RetrieveSubscription::new(running.id.as_str()).send(&typed).await.unwrap();
    ListInvoice::new().customer(running.customer_id.as_str()).send(&typed).await.unwrap();
    let nobody = format!("{}/_control/history/cus_nobody", fake.url());
    let done = reqwest::Client::new().post(nobody).form(&[price, ("begins_at", "1")]).send().await.unwrap();
    assert_eq!(done.status(), 404);
}
