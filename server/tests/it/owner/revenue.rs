//! Revenue of subscriptions, for any order of updates from Stripe.

use crate::app::TestApp;
use domain::{Amount, Invoice, Invoiced, Period, PlanId, Subscription, SubscriptionStatus};
use rand::RngExt as _;
use rust_decimal::Decimal;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

/// Revenue and refusals of a period that is not kept summed up.
async fn summary(tx: &mut store::Tx, from: OffsetDateTime, to: OffsetDateTime) -> store::rollup::Summary {
    let period = domain::ReportPeriod::Custom(from.date(), to.date());
    store::rollup::summary(tx, period, (from, to)).await.unwrap()
}

/// Revenue counts the days that were paid for, in dollars, including deleted users and subscriptions that stopped paying.
#[tokio::test]
async fn revenue_is_what_was_paid_for() {
    let app = TestApp::new().await;
    app.user("ann@example.com").await;
    let id: Uuid = app.one("select user_id from account").await;
    let now = OffsetDateTime::now_utc().replace_nanosecond(0).unwrap();
    let days = Duration::days;
    // User, plan, status, days since start, end and last payment, cents a month: paid days of the last thirty.
    let cases = [
        (Some(id), Some("pro"), "active", 90, None, Some(20), 1_000, 30),
        (None, Some("pro"), "active", 10, None, Some(10), 2_000, 10),
        (None, Some("pro"), "canceled", 60, Some(5), Some(20), 3_000, 25),
        (Some(id), Some("pro"), "unpaid", 90, None, Some(52), 4_000, 8),
        (Some(id), Some("pro"), "paused", 90, None, Some(80), 5_000, 0),
        (Some(id), Some("pro"), "active", 90, None, None, 6_000, 0),
        (None, None, "active", 90, None, Some(20), 7_000, 0),
    ];
    let mut expected = Decimal::ZERO;
    for (n, (user, plan, status, begun, ended, paid, cents, counts)) in cases.into_iter().enumerate() {
        let name = format!("sub{n}");
        sqlx::query(
            "insert into subscription (subscription_id, customer_id, user_id, plan_id, status, period, amount_minor, currency, is_adjusted,
               created_at, period_end, ended_at, fetched_at)
             values ($1, 'cus', $2, $3, $4, 'month', $5, 'usd', false, $6, $7, $8, $7)",
        )
        .bind(&name)
        .bind(user)
        .bind(plan)
        .bind(status)
        .bind(i64::from(cents))
        .bind(now - days(begun))
        .bind(now)
        .bind(ended.map(|ended| now - days(ended)))
        .execute(&app.db)
        .await
        .unwrap();
        if let Some(paid) = paid {
            sqlx::query(
                "insert into invoice (invoice_id, customer_id, subscription_id, status, due_minor, paid_minor, currency, created_at)
                 values ($1, 'cus', $1, 'paid', $2, $2, 'usd', $3)",
            )
            .bind(&name)
            .bind(i64::from(cents))
            .bind(now - days(paid))
            .execute(&app.db)
            .await
            .unwrap();
        }
        // A month is a twelfth of 365.25 days, but a single payment pays for one calendar month.
        let paid_for = match status {
            "unpaid" => {
                let sql = "select extract(epoch from $1::timestamptz + interval '1 month' - $2::timestamptz)::bigint";
                let seconds: i64 =
                    sqlx::query_scalar(sql).bind(now - days(52)).bind(now - days(30)).fetch_one(&app.db).await.unwrap();
                assert!((seconds - counts * 86_400).abs() <= 2 * 86_400);
                seconds
            }
            _ => counts * 86_400,
        };
        expected += Decimal::from(cents) / Decimal::from(100) * Decimal::from(paid_for) / Decimal::from(2_629_800);
    }
    // The price tripled five days ago and counts only from then on.
    sqlx::query("update subscription set amount_minor = 3000, fetched_at = $1 where subscription_id = 'sub0'")
        .bind(now - days(5))
        .execute(&app.db)
        .await
        .unwrap();
    expected += Decimal::from(20 * 5 * 86_400) / Decimal::from(2_629_800);
    let mut tx = store::begin(&app.store).await.unwrap();
    let found = summary(&mut tx, now - days(30), now).await;
    assert_eq!(found.revenue.to_usd().round_dp(9), expected.round_dp(9));
}

/// Field note 90. Random histories of a subscription as the Stripe sync writes them: changed and corrected prices, payments before and after
/// them, discounts, duplicate writes, trials, ends. Each period counts at its own price, as far as it was paid for, and as it was invoiced.
#[tokio::test]
async fn each_period_counts_at_its_own_price() {
    let app = TestApp::new().await.stop_server().await;
    let mut rng = rand::rng();
    let now = OffsetDateTime::now_utc().replace_nanosecond(0).unwrap();
    let mut counted = 0;
    for n in 0..150 {
        let begun = now - Duration::hours(rng.random_range(30 * 24..200 * 24));
        let mut subscription = Subscription {
            id: "sub".into(),
            customer_id: "cus".into(),
            user_id: None,
            plan: Some(PlanId("pro".into())),
            status: SubscriptionStatus::Active,
            period: Period::Month,
            amount: Amount { minor: 2_000, currency: "usd".into() },
            is_adjusted: false,
            created_at: begun,
            period_end: now,
            ends_at: None,
            trial_end: rng.random_bool(0.3).then(|| begun + Duration::days(7)),
            ended_at: None,
            grace_until: None,
        };
        let (mut at, mut last_paid, mut log) = (begun, None, vec![format!("{begun} {:?}", subscription.trial_end)]);
        // The start of each price.
        let mut prices: Vec<(OffsetDateTime, i64, Period)> = vec![(begun, 2_000, Period::Month)];
        // The start of each invoice, and what it charges of 100 list cents.
        let mut invoiced: Vec<(OffsetDateTime, i64)> = Vec::new();
        for step in 0..rng.random_range(1..7) {
            at += Duration::hours(if step == 0 { 0 } else { rng.random_range(0..30 * 24) });
            if step > 0 && rng.random_bool(0.6) {
                let price = (rng.random_range(1..9) * 500, if rng.random() { Period::Month } else { Period::Year });
                (subscription.amount.minor, subscription.period) = price;
                // A price seen at the same time as the last one replaces it as a correction.
                if prices.last().is_some_and(|last| last.0 == at) {
                    prices.pop();
                }
                if prices.last().is_none_or(|last| (last.1, last.2) != price) {
                    prices.push((at, price.0, price.1));
                }
            }
            if rng.random_bool(0.2) {
                (subscription.status, subscription.ended_at) = (SubscriptionStatus::Canceled, Some(at));
            } else if rng.random_bool(0.2) {
                (subscription.status, subscription.ended_at) = (SubscriptionStatus::Unpaid, None);
            }
            let is_paid = rng.random_bool(0.5);
            let choice: usize = rng.random_range(0..4);
            let percent: i64 = [100, 100, 80, 50][choice];
            let net_minor = subscription.amount.minor * percent / 100;
            // Of invoices of the same time the last one counts.
            if invoiced.last().is_some_and(|last| last.0 == at) {
                invoiced.pop();
            }
            invoiced.push((at, percent));
            let invoice = Invoice {
                id: format!("in{step}"),
                customer_id: "cus".into(),
                subscription_id: Some("sub".into()),
                number: None,
                status: if is_paid { "paid" } else { "open" }.into(),
                due: Amount { minor: net_minor, currency: "usd".into() },
                paid_minor: if is_paid { net_minor } else { 0 },
                invoiced: Some(Invoiced { list_minor: subscription.amount.minor, net_minor, credited_minor: 0 }),
                url: None,
                created_at: at,
            };
            if is_paid {
                last_paid = Some(at);
            }
            log.push(format!("{at} {:?} {:?} {percent} {is_paid}", subscription.status, subscription.amount.minor));
            let invoice_first: bool = rng.random();
            for turn in 0..2 {
                if (turn == 0) == invoice_first {
                    store::invoice::put(&app.store, &invoice, None).await.unwrap();
                } else {
                    for _ in 0..rng.random_range(1..3) {
                        store::subscription::put(&app.store, &subscription, at).await.unwrap();
                    }
                }
            }
        }
        let after_last_paid: Option<OffsetDateTime> =
            sqlx::query_scalar("select ($1::timestamptz at time zone 'UTC' + $2::interval) at time zone 'UTC'")
                .bind(last_paid)
                .bind(sqlx::postgres::types::PgInterval {
                    months: if subscription.period == Period::Year { 12 } else { 1 },
                    days: 0,
                    microseconds: 0,
                })
                .fetch_one(&app.db)
                .await
                .unwrap();
        let unpaid_from = (subscription.status != SubscriptionStatus::Active).then_some(after_last_paid).flatten();
        for _ in 0..5 {
            let from = now - Duration::hours(rng.random_range(1..220 * 24));
            let to = from + Duration::hours(rng.random_range(1..90 * 24));
            let mut expected = Decimal::ZERO;
            for (index, (since, minor, period)) in prices.iter().enumerate() {
                let begins = [from, *since].into_iter().chain(subscription.trial_end).max().unwrap();
                let next = prices.get(index + 1).map(|next| next.0);
                let ends = [Some(to), next, subscription.ended_at, unpaid_from].into_iter().flatten().min().unwrap();
                let whole = if *period == Period::Year { 31_557_600 } else { 2_629_800 };
                for (n, (since, percent)) in invoiced.iter().enumerate() {
                    let begins = if n == 0 { begins } else { begins.max(*since) };
                    let ends = invoiced.get(n + 1).map_or(ends, |next| ends.min(next.0));
                    let seconds = (ends - begins).whole_seconds().max(0);
                    expected += Decimal::from(minor * percent / 100) / Decimal::from(100) * Decimal::from(seconds)
                        / Decimal::from(whole);
                }
            }
            if last_paid.is_none() {
                expected = Decimal::ZERO;
            }
            let mut tx = store::begin(&app.store).await.unwrap();
            let pays = summary(&mut tx, from, to).await.revenue.to_usd();
            assert!(
                (pays - expected).abs() < Decimal::new(1, 9),
                "case {n}: {pays} instead of {expected}, {from} to {to}: {log:#?}"
            );
            counted += usize::from(expected > Decimal::ZERO);
        }
        sqlx::query("delete from subscription").execute(&app.db).await.unwrap();
        sqlx::query("delete from invoice").execute(&app.db).await.unwrap();
    }
    assert!(counted > 100, "only {counted} periods had revenue");
}

/// A yearly subscription that began 146 days ago and was canceled 73 days ago, unless it is still live, after a fifth of its year.
fn yearly(now: OffsetDateTime, is_canceled: bool) -> Subscription {
    let begun = now - Duration::days(146);
    Subscription {
        id: "sub".into(),
        customer_id: "cus".into(),
        user_id: None,
        plan: Some(PlanId("pro".into())),
        status: if is_canceled { SubscriptionStatus::Canceled } else { SubscriptionStatus::Active },
        period: Period::Year,
        amount: Amount { minor: 36_500, currency: "usd".into() },
        is_adjusted: false,
        created_at: begun,
        period_end: begun + Duration::days(365),
        ends_at: None,
        trial_end: None,
        ended_at: is_canceled.then(|| now - Duration::days(73)),
        grace_until: None,
    }
}

/// The invoice of that year, which charged an amount of which credit notes took off a part.
fn invoice_of_year(now: OffsetDateTime, charged_minor: i64, credited_minor: i64) -> Invoice {
    Invoice {
        id: "in".into(),
        customer_id: "cus".into(),
        subscription_id: Some("sub".into()),
        number: None,
        status: "paid".into(),
        due: Amount { minor: charged_minor, currency: "usd".into() },
        paid_minor: charged_minor,
        invoiced: Some(Invoiced { list_minor: 36_500, net_minor: charged_minor - credited_minor, credited_minor }),
        url: None,
        created_at: now - Duration::days(146),
    }
}

/// Field note 90. A credit note for the time after a subscription ended takes nothing off the time before, whichever is synced first. What it
/// takes off beyond that is a discount, as is any credit note of a subscription that runs on.
#[tokio::test]
async fn a_credit_note_for_unused_time_is_no_discount() {
    let app = TestApp::new().await.stop_server().await;
    let now = OffsetDateTime::now_utc().replace_nanosecond(0).unwrap();
    let put_subscription = async |is_canceled: bool| {
        store::subscription::put(&app.store, &yearly(now, is_canceled), now).await.unwrap();
    };
    let put_invoice = async |charged: i64, credited: i64| {
        store::invoice::put(&app.store, &invoice_of_year(now, charged, credited), None).await.unwrap();
    };
    // Asserts what the 73 days count for, as the price of a year in cents.
    let counts = async |price: i64, case: &str| {
        let mut tx = store::begin(&app.store).await.unwrap();
        let (from, to) = (now - Duration::days(146), now - Duration::days(73));
        let found = summary(&mut tx, from, to).await.revenue.to_usd();
        let expected = Decimal::from(price * 73 * 86_400) / Decimal::from(100) / Decimal::from(31_557_600);
        assert!((found - expected).abs() < Decimal::new(1, 9), "{case}: {found} instead of {expected}");
    };
    // What was charged, what was credited, and the price that the used time counts at. Four fifths of the time are unused.
    for (charged, credited, price) in [
        (36_500, 29_200, 36_500),
        (36_500, 10_000, 36_500),
        (36_500, 32_850, 18_250),
        (36_500, 36_500, 0),
        (18_250, 14_600, 18_250),
        (18_250, 0, 18_250),
    ] {
        for order in ["credit note first", "end first", "both at once"] {
            sqlx::query("delete from invoice").execute(&app.db).await.unwrap();
            sqlx::query("delete from subscription").execute(&app.db).await.unwrap();
            let case = format!("{credited} of {charged} credited, {order}");
            if order != "both at once" {
                put_subscription(false).await;
                put_invoice(charged, 0).await;
                counts(charged, &case).await;
            }
            if order == "end first" {
                put_subscription(true).await;
            }
            put_invoice(charged, credited).await;
            if order == "credit note first" {
                counts(charged - credited, &case).await;
            }
            if order != "end first" {
                put_subscription(true).await;
            }
            counts(price, &case).await;
        }
    }
}
