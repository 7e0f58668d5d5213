//! Alerts: each is opened once and closed once.

use crate::app::TestApp;
use crate::visitor::problem;
use domain::Tokens;
use rust_decimal::Decimal;
use serde_json::Value;
use std::collections::HashSet;
use time::OffsetDateTime;

/// Each alert is sent once when it opens and once when it closes, by mail to every admin and as a signed webhook.
#[tokio::test]
async fn alerts_are_sent_once_when_opened_and_once_when_closed() {
    use base64::Engine as _;
    use hmac::{Hmac, KeyInit as _, Mac as _};
    let (sender, mut webhooks) = tokio::sync::mpsc::unbounded_channel::<(http::HeaderMap, String)>();
    let hook = axum::Router::new().route(
        "/hook",
        axum::routing::post(async move |headers: http::HeaderMap, body: String| {
            sender.send((headers, body)).unwrap();
        }),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, hook).await });
    let secret = base64::engine::general_purpose::STANDARD.encode([7_u8; 32]);
    let app = TestApp::with(&[
        ("ALERT_WEBHOOK_URL", &url),
        ("ALERT_WEBHOOK_SECRET", &format!("whsec_{secret}")),
        ("ALERT_USER_PERCENT", "60"),
        ("GLOBAL_DAILY_SPEND_USD", "10"),
    ])
    .await;
    app.user("admin@example.com").await;
    app.user("ann@example.com").await;
    app.user("tom@example.com").await;
    let spend = "insert into ai_usage (ai_usage_id, turn_id, user_id, subject, model, model_price_id, status, usage_source, input_tokens,
           output_tokens, estimated_tokens, reserved_tokens, cost_usd, created_at, settled_at)
         select gen_random_uuid(), gen_random_uuid(), user_id, subject, 'claude-haiku-4-5', (select model_price_id from model_price where model = 'claude-haiku-4-5' limit 1),
           'finished', 'exact', 0, 0, 100, 100, $2, now(), now() from account where email = $1";
    for (email, usd) in [("ann@example.com", 7), ("tom@example.com", 1)] {
        sqlx::query(spend).bind(email).bind(Decimal::from(usd)).execute(&app.db).await.unwrap();
    }
    sqlx::query(
        "insert into job (job_id, kind, key, payload, created_at, run_at, dead_at) values (gen_random_uuid(), 'mail', 'gone', '[1]', now(), now(), now())",
    )
    .execute(&app.db)
    .await
    .unwrap();
    let (_, _stop) = app.start_second().await; // It checks alerts at startup.
    // A call that the server has given up, because this machine was busy, is repeated with its id.
    let mut ids = HashSet::new();
    let mut next_call = async || {
        loop {
            let (headers, body) = webhooks.recv().await.unwrap();
            if ids.insert(headers["webhook-id"].to_str().unwrap().to_owned()) {
                break (headers, body);
            }
        }
    };
    let mut begun = Vec::new();
    for _ in 0..4 {
        let (headers, body) = next_call().await;
        let of = |name: &str| headers[name].to_str().unwrap().to_owned();
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&[7; 32]).unwrap();
        mac.update(format!("{}.{}.{body}", of("webhook-id"), of("webhook-timestamp")).as_bytes());
        let signature = base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes());
        assert_eq!(of("webhook-signature"), format!("v1,{signature}"));
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["state"], "begun");
        begun.push(body["message"].as_str().unwrap().to_owned());
    }
    begun.sort();
    assert_eq!(
        begun,
        [
            "1 job (such as mail) failed repeatedly and can be retried.",
            "50 % of the $10.00 daily spend cap is used.",
            "80 % of the $10.00 daily spend cap is used.",
            "ann@example.com accounts for more than 60 % of cost in the last 24 hours.",
        ]
    );
    let mails = "select count(*) from job where kind = 'mail' and payload->>'mail' = 'alert'";
    assert_eq!(app.one::<i64>(mails).await, 4, "one admin, four alerts");
    // Another user's cost rises and the dead letter is retried: two alerts close, one opens, and none is sent twice.
    sqlx::query(spend).bind("tom@example.com").bind(Decimal::from(6)).execute(&app.db).await.unwrap();
    sqlx::query("update job set dead_at = null, done_at = now() where key = 'gone'").execute(&app.db).await.unwrap();
    for _ in 0..2 {
        let (_, stop) = app.start_second().await;
        app.until("select count(*) = 3 from alert where ended_at is null").await;
        stop.cancel();
    }
    let mut after = Vec::new();
    for _ in 0..3 {
        let body: Value = serde_json::from_str(&next_call().await.1).unwrap();
        after.push(format!("{} {}", body["state"].as_str().unwrap(), body["kind"].as_str().unwrap()));
    }
    after.sort();
    assert_eq!(after, ["begun spend_cap", "over dead_letters", "over user_share"]);
    assert_eq!(app.one::<i64>(mails).await, 7);
    assert_eq!(app.one::<i64>("select count(*) from alert").await, 5);
}

/// Starts another server, which checks all alerts once at startup, and waits until it has.
async fn run_alert_check(app: &TestApp) {
    // Closes the dead-letter alert and adds a dead job, so that the check opens a new alert and its end can be observed. The lock keeps
    // other servers from checking meanwhile.
    let mut tx = store::begin(&app.store).await.unwrap();
    sqlx::query("select pg_advisory_xact_lock(hashtext('alert'))").execute(&mut tx).await.unwrap();
    for sql in [
        "update alert set ended_at = now() where kind = 'dead_letters' and ended_at is null",
        "insert into job (job_id, kind, payload, created_at, run_at, dead_at) values (gen_random_uuid(), 'mail', '[1]', now(), now(), now())",
    ] {
        sqlx::query(sql).execute(&mut tx).await.unwrap();
    }
    tx.commit().await.unwrap();
    let (_, stop) = app.start_second().await;
    app.until("select exists (select from alert where kind = 'dead_letters' and ended_at is null)").await;
    stop.cancel();
}

/// The server that opens a provider's circuit raises the alert at once. The alert closes once no server has seen the circuit open for a
/// while.
#[tokio::test]
async fn an_open_circuit_alerts_at_once() {
    let app = TestApp::new().await;
    app.user("admin@example.com").await;
    let ann = app.user("ann@example.com").await;
    let mails = async |app: &TestApp, over: bool| -> i64 {
        sqlx::query_scalar("select count(*) from job where payload->>'mail' = 'alert' and payload->>'message' like 'Anthropic failed%' and (payload->>'is_over')::bool = $1")
            .bind(over)
            .fetch_one(&app.db)
            .await
            .unwrap()
    };
    for n in 0..2 {
        ann.send_message(&format!("{{{{status:500}}}}{{{{after:0}}}} {n}")).await;
    }
    let is_open = "select count(*) = 1 from alert where kind = 'circuit' and about = 'Anthropic' and ended_at is null";
    app.until(is_open).await;
    assert_eq!((mails(&app, false).await, mails(&app, true).await), (1, 0));
    // The server that opened the circuit is gone. Others don't see it open, but the alert stays until some time has passed.
    let app = app.stop_server().await;
    run_alert_check(&app).await;
    assert!(app.one::<bool>(is_open).await);
    sqlx::query("update alert set seen_at = seen_at - interval '3 minutes'").execute(&app.db).await.unwrap();
    run_alert_check(&app).await;
    assert!(!app.one::<bool>(is_open).await);
    assert_eq!((mails(&app, false).await, mails(&app, true).await), (1, 1));
}

/// The drift alert stays open until no meter has differed from the ledger for a day.
#[tokio::test]
async fn drift_alert_stays_open_for_a_day() {
    let app = TestApp::new().await;
    let now = OffsetDateTime::now_utc();
    store::usage::record_drift(&app.store, "a subject", Tokens(7), Tokens(5), now).await.unwrap();
    run_alert_check(&app).await;
    let expected = "1 usage counter differed from the ledger in the last 24 hours and was rebuilt.";
    assert_eq!(
        app.one::<String>("select message from alert where kind = 'drift' and ended_at is null").await,
        expected
    );
    sqlx::query("update meter_drift set at = at - interval '25 hours'").execute(&app.db).await.unwrap();
    run_alert_check(&app).await;
    assert!(
        app.one::<bool>("select count(*) = 1 and bool_and(ended_at is not null) from alert where kind = 'drift'").await
    );
}

/// The alert on a model's spend cap has levels. The highest opens once a request is refused, and each closes only when spending is well
/// below it.
#[tokio::test]
async fn model_spend_cap_alerts_do_not_flap() {
    let app = TestApp::new().await;
    app.user("admin@example.com").await;
    let ann = app.user("ann@example.com").await;
    sqlx::query("update model set daily_spend_usd = 5 where model = 'claude-haiku-4-5'")
        .execute(&app.db)
        .await
        .unwrap();
    let spend = async |micros: i64| {
        sqlx::query(
            "insert into ai_usage (ai_usage_id, turn_id, user_id, subject, model, model_price_id, status, usage_source, input_tokens,
               output_tokens, estimated_tokens, reserved_tokens, cost_usd, created_at, settled_at, corrects)
             select gen_random_uuid(), gen_random_uuid(), user_id, subject, 'claude-haiku-4-5', (select model_price_id from model_price where model = 'claude-haiku-4-5' limit 1),
               'finished', 'exact', 0, 0, 100, 100, $1::numeric / 1000000, now(), now(), case when $1 < 0 then gen_random_uuid() end
             from account where email = 'ann@example.com'",
        )
        .bind(micros)
        .execute(&app.db)
        .await
        .unwrap();
    };
    let open_spend_alerts = async || -> Vec<String> {
        run_alert_check(&app).await;
        sqlx::query_scalar("select about from alert where kind = 'spend_cap' and ended_at is null order by 1")
            .fetch_all(&app.db)
            .await
            .unwrap()
    };
    let level = |n: &str| format!("model:claude-haiku-4-5:{n}");
    assert_eq!(open_spend_alerts().await, Vec::<String>::new());
    spend(4_999_000).await;
    assert_eq!(open_spend_alerts().await, [level("50"), level("80")]);
    // These rows weren't written by turns, so the budget lacks them. Deleting it rebuilds it from the ledger.
    app.forget_budget(Some("claude-haiku-4-5")).await;
    let refused = ann.send_message("{{words:9}}").await;
    assert_eq!(problem(refused).await["kind"], "spend_cap");
    app.until("select exists (select from refusal_hour where kind = 'spend_cap')").await;
    assert_eq!(open_spend_alerts().await, [level("100"), level("50"), level("80")]);
    // No further refusals, and spending falls slightly: the alert stays open.
    sqlx::query("update refusal_hour set hour = hour - interval '3 hours'").execute(&app.db).await.unwrap();
    spend(-200_000).await;
    assert_eq!(open_spend_alerts().await, [level("100"), level("50"), level("80")]);
    spend(-200_000).await;
    assert_eq!(open_spend_alerts().await, [level("50"), level("80")]);
    spend(-700_000).await; // 3.899: below 80 %, not well below
    assert_eq!(open_spend_alerts().await, [level("50"), level("80")]);
    spend(-200_000).await;
    assert_eq!(open_spend_alerts().await, [level("50")]);
    assert!(app.one::<bool>("select count(*) = 3 from alert where kind = 'spend_cap'").await, "no alert opened twice");
    assert!(app.one::<bool>("select bool_and(message like '%daily spend cap on Claude Haiku 4.5 is used.') from alert where kind = 'spend_cap'").await);
}

/// The alerts and the job that removes the content of old jobs don't read all jobs: those that are done are kept.
#[tokio::test]
async fn open_jobs_and_those_with_content_are_found_by_an_index() {
    let app = TestApp::new().await;
    let mut tx = app.db.begin().await.unwrap();
    sqlx::query("set local enable_seqscan = off").execute(&mut *tx).await.unwrap();
    for (sql, index) in [
        ("explain select count(*) from job where done_at is null", "job_open"),
        (
            "explain update job set payload = '{}' where payload <> '{}' and (done_at < now() or (dead_at < now() and kind = 'mail'))",
            "job_content",
        ),
    ] {
        let plan: Vec<String> = sqlx::query_scalar(sql).fetch_all(&mut *tx).await.unwrap();
        assert!(plan.iter().any(|line| line.contains(index)), "{plan:?}");
    }
}

/// The messages of alerts name users, so they are deleted some time after their end.
#[tokio::test]
async fn alerts_are_deleted_thirty_days_after_their_end() {
    let app = TestApp::new().await;
    app.sql(
        "insert into alert (alert_id, kind, about, message, began_at, seen_at, ended_at)
         select gen_random_uuid(), 'user_share', age::text, 'ann@example.com accounts for more', now() - age, now() - age, now() - age
         from (values (interval '29 days'), (interval '31 days')) as ended (age)",
    )
    .await;
    let (_, _stop) = app.start_second().await; // It deletes expired rows at startup.
    app.until("select array_agg(about) = '{29 days}' from alert where kind = 'user_share'").await;
}

/// A redirect arrives elsewhere without the alert, so it is a failure that the owner sees.
#[tokio::test]
async fn a_webhook_that_redirects_has_not_received_the_alert() {
    use axum::routing::{get, post};
    let hook = axum::Router::new()
        .route("/hook", post(async || axum::response::Redirect::to("/moved")))
        .route("/moved", get(async || "ok"));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, hook).await });
    let app = TestApp::with(&[
        ("ALERT_WEBHOOK_URL", &url),
        ("ALERT_WEBHOOK_SECRET", "whsec_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="),
    ])
    .await;
    app.sql(
        "insert into job (job_id, kind, key, payload, created_at, run_at)
         values (gen_random_uuid(), 'alert_webhook', 'moved', '{\"kind\": \"drift\"}', now(), now())",
    )
    .await;
    app.until("select done_at is not null or attempts > 0 from job where key = 'moved'").await;
    assert_eq!(
        app.one::<Option<String>>("select error from job where key = 'moved'").await.as_deref(),
        Some("alert webhook responded with 303 See Other")
    );
}
