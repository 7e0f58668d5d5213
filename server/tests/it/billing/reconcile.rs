//! Reconciliation with Stripe, and operation while Stripe is down or slow.

use super::{
    ALL_DONE, GOOD, ON_FREE, ON_PRO, all_applied, api, buy, control, event, go, pay, redirect_target, selling,
};
use http::StatusCode;
use serde_json::json;
use server::cli::{Billing, Command, Plans};

/// Reconciling finds and repairs each kind of drift that lost events leave, and finds nothing more on a second run.
#[tokio::test]
async fn reconcile_finds_and_repairs_each_drift() {
    let app = selling(&[]).await;
    let mut users = Vec::new();
    for name in ["cancel", "upgrade", "orphan", "deleted", "restored"] {
        let mut user = app.user(&format!("{name}@example.com")).await;
        buy(&mut user, "pro", GOOD).await;
        users.push(user);
    }
    app.until("select count(*) = 5 from account where plan_id = 'pro'").await;
    all_applied(&app).await;
    app.until("select not exists (select from job where done_at is null)").await;
    app.stripe.hold();
    let subscription = async |email: &str| -> String {
        let sql = "select subscription_id from subscription join account using (user_id) where email = $1";
        sqlx::query_scalar(sql).bind(email).fetch_one(&app.db).await.unwrap()
    };
    let (cancelled, upgraded, orphan, deleted, restored) = (
        subscription("cancel@example.com").await,
        subscription("upgrade@example.com").await,
        subscription("orphan@example.com").await,
        subscription("deleted@example.com").await,
        subscription("restored@example.com").await,
    );
    api(&app, "DELETE", &format!("subscriptions/{cancelled}"), &[]).await;
    let max: String = app.one("select monthly_price_id from plan where plan_id = 'max'").await;
    api(&app, "POST", &format!("subscriptions/{upgraded}"), &[("items[0][price]", &max)]).await;
    sqlx::raw_sql(
        "delete from subscription where user_id = (select user_id from account where email = 'orphan@example.com');
         update account set stripe_customer_id = null, plan_id = 'free' where email = 'orphan@example.com';
         delete from account where email = 'restored@example.com'",
    )
    .execute(&app.db)
    .await
    .unwrap();
    // An account deletion whose job was lost.
    app.stripe.set_down(true);
    users[3].form("/settings/delete", &[("password", "correct horse")]).await;
    app.until("select count(*) = 1 from job where kind = 'close_customer' and attempts > 0").await;
    sqlx::query("update job set done_at = now() where kind = 'close_customer'").execute(&app.db).await.unwrap();
    app.stripe.set_down(false);
    // A subscription created by hand at Stripe, without an account here.
    let stranger = api(&app, "POST", "customers", &[("email", "stranger@example.com")]).await;
    let stranger = stranger["id"].as_str().unwrap();
    control(&app, &format!("card/{stranger}"), &[("number", "4242424242424242")]).await;
    let foreign = api(&app, "POST", "subscriptions", &[("customer", stranger), ("items[0][price]", &max)]).await;
    let output = app.run(Command::Billing(Billing::Reconcile)).await;
    for id in [&cancelled, &upgraded, &orphan, &deleted, &restored] {
        assert!(output.contains(id.as_str()), "{id} in {output}");
    }
    assert!(output.contains("no account here: flagged, not changed"), "{output}");
    let plan = async |email: &str| -> String {
        sqlx::query_scalar("select plan_id from account where email = $1").bind(email).fetch_one(&app.db).await.unwrap()
    };
    assert_eq!(plan("cancel@example.com").await, "free");
    assert_eq!(plan("upgrade@example.com").await, "max");
    assert_eq!(plan("orphan@example.com").await, "pro");
    assert_eq!(app.stripe.object(&deleted).unwrap()["status"], "canceled");
    // When an account is missing for another reason, such as a restored backup, its subscription is kept.
    assert_eq!(app.stripe.object(&restored).unwrap()["status"], "trialing");
    assert_ne!(app.stripe.object(foreign["id"].as_str().unwrap()).unwrap()["status"], "canceled");
    sqlx::query("update account set plan_id = 'max' where email = 'cancel@example.com'")
        .execute(&app.db)
        .await
        .unwrap();
    let output = app.run(Command::Billing(Billing::Reconcile)).await;
    assert!(output.contains("matches neither their payments nor a grant"), "{output}");
    let output = app.run(Command::Billing(Billing::Reconcile)).await;
    // Those two remain for the owner to decide.
    assert_eq!(output.lines().count(), 3, "{output}");
    let mut admin = app.user("admin@example.com").await;
    let page = admin.text("/admin/health").await;
    assert!(page.contains("Subscription without an account"));
    let cleared =
        admin.form("/admin/health/clear", &[("kind", "orphan"), ("object", foreign["id"].as_str().unwrap())]).await;
    assert_eq!(redirect_target(&cleared), "/admin/health");
    assert_eq!(
        app.one::<i64>("select count(*) from billing_flag where kind = 'orphan' and cleared_at is null").await,
        1
    );
}

/// While Stripe is down, checkout is refused with an explanation, no change is half applied, and chat works.
#[tokio::test]
async fn stripe_outage_refuses_checkout_and_leaves_chat_working() {
    let app = selling(&[]).await;
    let mut ann = app.user("ann@example.com").await;
    app.stripe.set_down(true);
    let refused = ann.form("/billing/checkout", &[("plan", "pro")]).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.text().await.unwrap().contains("Nothing was charged"));
    ann.send_and_read("{{words:1}}").await;
    event(
        &app.url,
        &json!({"id": "evt_1", "type": "customer.updated", "data": {"object": {"object": "customer", "id": "cus_1"}}}),
    )
    .await;
    app.until("select attempts > 0 and done_at is null and dead_at is null from stripe_event where event_id = 'evt_1'")
        .await;
    app.stripe.set_down(false);
    sqlx::query("update stripe_event set run_at = now()").execute(&app.db).await.unwrap();
    app.until(ALL_DONE).await;
    let url = go(&mut ann, "pro").await;
    pay(&ann, &url, GOOD).await;
    app.until(ON_PRO).await;
}

/// With the key of another Stripe account no plan is removed, until the owner confirms the change with `billing forget`.
#[tokio::test]
async fn key_of_another_stripe_account_removes_no_plan() {
    let app = selling(&[]).await;
    let mut ann = app.user("ann@example.com").await;
    buy(&mut ann, "pro", GOOD).await;
    app.until(ON_PRO).await;
    all_applied(&app).await;
    let elsewhere = fakes::FakeStripe::start(([127, 0, 0, 1], 0).into(), None).await.unwrap();
    let mut moved = app.stop_server().await;
    moved.config.stripe_base_url = Some(elsewhere.url());
    let (url, _stop) = moved.start_second().await;
    ann.url = url;
    moved.run(Command::Plans(Plans::Push)).await;
    let output = moved.run(Command::Billing(Billing::Reconcile)).await;
    assert!(output.contains("not repaired") && output.contains("of another account or mode"), "{output}");
    let refused = ann.form("/billing/checkout", &[("plan", "pro")]).await;
    assert!(refused.status().is_server_error());
    assert!(moved.one::<bool>(ON_PRO).await);
    assert!(moved.run(Command::Billing(Billing::Forget)).await.contains("Stripe account removed: 1."));
    assert!(moved.one::<bool>(ON_FREE).await);
    let url = go(&mut ann, "pro").await;
    assert!(url.starts_with(&elsewhere.url()));
}

/// A slow Stripe delays no chat, and one user's checkout requests don't delay another's.
#[tokio::test]
async fn slow_stripe_delays_no_turn() {
    let app = selling(&[]).await;
    // Before Stripe is slow: a request to it is given up after eight seconds.
    let (mut ann, mut bob) = (app.user("ann@example.com").await, app.user("bob@example.com").await);
    buy(&mut ann, "pro", GOOD).await;
    app.until(ON_PRO).await;
    all_applied(&app).await;
    app.stripe.hold();
    // The simulator holds its responses to list and session requests until it is released.
    app.stripe.set_stalled(true);
    let clicks: Vec<_> = (0..6)
        .map(|_| {
            let mut ann = ann.clone();
            tokio::spawn(async move { ann.form("/billing/checkout", &[("plan", "max")]).await.status() })
        })
        .collect();
    while app.stripe.stalled_requests() == 0 {
        tokio::task::yield_now().await;
    }
    ann.send_and_read("{{words:1}}").await;
    assert_eq!(app.stripe.stalled_requests(), 1, "one concurrent Stripe request per user");
    // Another user reaches Stripe meanwhile.
    let bobs = tokio::spawn(async move { bob.form("/billing/checkout", &[("plan", "max")]).await.status() });
    while app.stripe.stalled_requests() == 1 && !bobs.is_finished() {
        tokio::task::yield_now().await;
    }
    assert_eq!(app.stripe.stalled_requests(), 2);
    app.stripe.set_stalled(false);
    for click in clicks.into_iter().chain([bobs]) {
        assert_eq!(click.await.unwrap(), StatusCode::SEE_OTHER);
    }
    assert_eq!(app.stripe.all("customer").len(), 2);
}

/// Refunds and disputes are flagged. A dead letter is shown and can be replayed, and the replay is audited.
#[tokio::test]
async fn owner_sees_flags_and_replays_dead_letters() {
    let app = selling(&[]).await;
    let mut admin = app.user("admin@example.com").await;
    let mut ann = app.user("ann@example.com").await;
    buy(&mut ann, "max", GOOD).await;
    app.until("select plan_id = 'max' from account where email = 'ann@example.com'").await;
    let charge = app.stripe.all("charge")[0]["id"].as_str().unwrap().to_owned();
    api(&app, "POST", "refunds", &[("charge", &charge), ("amount", "500")]).await;
    control(&app, &format!("dispute/{charge}"), &[]).await;
    app.until("select count(*) = 2 from billing_flag").await;
    api(&app, "POST", "refunds", &[("charge", &charge), ("amount", "200")]).await;
    app.until("select bool_or(amount_minor = 700) from billing_flag where kind = 'refund'").await;
    assert!(
        app.one::<bool>("select amount_minor = 700 and currency = 'usd' from billing_flag where kind = 'refund'").await
    );
    assert!(app.one::<bool>("select amount_minor = 10000 from billing_flag where kind = 'dispute'").await);
    sqlx::query(
        "insert into stripe_event (event_id, type, body, created_at, received_at, run_at, attempts, error, dead_at)
         values ('evt_dead', 'customer.updated', '{\"id\":\"evt_dead\",\"type\":\"customer.updated\",\"data\":{\"object\":{\"customer\":\"cus_none\"}}}', now(), now(), now(), 14, 'it was so', now())",
    )
    .execute(&app.db)
    .await
    .unwrap();
    let page = admin.text("/admin/health").await;
    for text in ["Refund", "Chargeback", "ann@example.com", "$7", "evt_dead", "it was so"] {
        assert!(page.contains(text), "{text}");
    }
    assert_eq!(ann.get("/admin/health").await.status(), StatusCode::NOT_FOUND);
    assert_eq!(ann.form("/admin/health/replay", &[("event", "evt_dead")]).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(redirect_target(&admin.form("/admin/health/replay", &[("event", "evt_dead")]).await), "/admin/health");
    app.until("select done_at is not null from stripe_event where event_id = 'evt_dead'").await;
    let again = admin.form("/admin/health/replay", &[("event", "evt_dead")]).await;
    assert_eq!(again.status(), StatusCode::NOT_FOUND);
    assert!(again.text().await.unwrap().contains("This dead letter"));
    assert_eq!(app.one::<i64>("select count(*) from audit where action = 'replay' and after = 'evt_dead'").await, 1);
}

/// Field note 92: a chargeback that was won is shown as won, in whatever order its events arrive, and doesn't come back once dismissed.
#[tokio::test]
async fn a_chargeback_that_was_won_is_shown_as_won() {
    let app = selling(&[]).await;
    let (mut admin, mut ann) = (app.user("admin@example.com").await, app.user("ann@example.com").await);
    buy(&mut ann, "max", GOOD).await;
    app.until("select plan_id = 'max' from account where email = 'ann@example.com'").await;
    let charge = app.stripe.all("charge")[0]["id"].as_str().unwrap().to_owned();
    let dispute = async |id: &str, kind: &str, dispute: &str, status: &str| {
        let object = json!({"object": "dispute", "id": dispute, "charge": charge, "amount": 10_000, "currency": "usd", "status": status});
        event(&app.url, &json!({"id": id, "type": kind, "data": {"object": object}})).await;
        app.until(ALL_DONE).await;
    };
    dispute("evt_1", "charge.dispute.created", "du_1", "needs_response").await;
    let page = admin.text("/admin/health").await;
    assert!(page.contains("Chargeback<") && !page.contains("Chargeback won"), "{page}");
    dispute("evt_2", "charge.dispute.closed", "du_1", "won").await;
    dispute("evt_3", "charge.dispute.closed", "du_2", "won").await;
    dispute("evt_4", "charge.dispute.created", "du_2", "needs_response").await;
    let open = "select count(*) from billing_flag where kind = 'dispute' and cleared_at is null";
    assert_eq!(app.one::<i64>(open).await, 0);
    let page = admin.text("/admin/health").await;
    assert_eq!((page.matches("Chargeback won").count(), page.contains("Chargeback<")), (2, false), "{page}");
    admin.form("/admin/health/clear", &[("kind", "dispute_won"), ("object", "du_1")]).await;
    dispute("evt_5", "charge.dispute.funds_reinstated", "du_1", "won").await;
    assert_eq!(admin.text("/admin/health").await.matches("Chargeback won").count(), 1);
    // One that was lost stays a chargeback.
    dispute("evt_6", "charge.dispute.closed", "du_3", "lost").await;
    assert_eq!(app.one::<i64>(open).await, 1);
}

/// Field note 91: a user who has paid in another currency gets an explanation and isn't asked to try again, and admins are alerted until one dismisses it.
#[tokio::test]
async fn another_currency_is_explained_and_alerted() {
    let app = selling(&[]).await;
    let (mut admin, mut ann) = (app.user("admin@example.com").await, app.user("ann@example.com").await);
    go(&mut ann, "pro").await;
    let customer = app.stripe.all("customer")[0]["id"].as_str().unwrap().to_owned();
    control(&app, &format!("currency/{customer}"), &[("currency", "eur")]).await;
    let refused = ann.form("/billing/checkout", &[("plan", "pro"), ("interval", "month")]).await;
    assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let page = refused.text().await.unwrap();
    assert!(
        page.contains("You have paid in another currency before") && page.contains("Nothing was charged"),
        "{page}"
    );
    assert!(admin.text("/admin/health").await.contains("the user has paid in another currency"));
    let (_, _second) = app.start_second().await; // It checks alerts at startup.
    app.until("select count(*) = 1 from alert where kind = 'other_currency' and ended_at is null").await;
    admin.form("/admin/health/clear", &[("kind", "other_currency"), ("object", &customer)]).await;
    let (_, _third) = app.start_second().await;
    app.until("select count(*) = 1 and bool_and(ended_at is not null) from alert where kind = 'other_currency'").await;
}
