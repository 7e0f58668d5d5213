//! The usage that users and owners see equals the ledger; admin settings and their audit.

use crate::app::TestApp;
use crate::visitor::{EventReader, problem};
use domain::{Picos, Tokens, TurnEvent};
use http::StatusCode;
use rust_decimal::Decimal;

/// Field note 33: the pages show the same numbers as the database.
#[tokio::test]
async fn usage_and_admin_show_the_ledger() {
    let app = TestApp::new().await;
    let (ann, tom, admin) =
        (app.user("ann@example.com").await, app.user("tom@example.com").await, app.user("admin@example.com").await);
    for words in [30, 200] {
        ann.send_and_read(&format!("{{{{words:{words}}}}}")).await;
    }
    tom.send_and_read("{{words:10}}").await;
    let row: (i64, i64, Decimal) = sqlx::query_as(
        "select count(*), sum(input_tokens + cache_read_tokens + cache_write_tokens + output_tokens)::bigint, sum(cost_usd)
         from ai_usage join account using (user_id) where email = 'ann@example.com'",
    )
    .fetch_one(&app.db)
    .await
    .unwrap();
    let (tokens, cost) = (Tokens::from_db(row.1).to_string(), Picos::from_usd(row.2).unwrap().to_string());
    let own = ann.text("/usage?days=7").await;
    // The server's own refresh at its start saw none of this; the button recomputes the figures and returns to the same query.
    let refreshed = admin.request("POST", "/admin/refresh?period=7d").form(&[("", "")]).send().await.unwrap();
    assert_eq!(refreshed.headers()["location"], "/admin?period=7d");
    let top_users = admin.text("/admin?period=7d").await;
    assert!(top_users.contains("Figures as of ") && top_users.contains(" UTC."));
    for page in [&own, &top_users] {
        for number in [&tokens, &cost] {
            assert!(page.contains(&format!(">{number}<")), "{number}");
        }
    }
    assert!(top_users.find("ann@example.com") < top_users.find("tom@example.com"), "highest cost first");
    let total = Picos::from_usd(app.one("select sum(cost_usd) from ai_usage").await).unwrap().to_string();
    assert!(top_users.contains(&format!("<strong>{total}</strong>")));
    assert!(!own.contains("tom@example.com"));
    // A time of tomorrow is named with its day: "0:00" alone would seem to be soon.
    let refill: String = app
        .one("select to_char(date_bin('30 minutes', created_at, 'epoch') at time zone 'UTC' + interval '24 hours 30 minutes', 'FMHH24:MI, FMDD Mon')
              from ai_usage where user_id = (select user_id from account where email = 'ann@example.com') limit 1")
        .await;
    assert!(own.contains(&format!(">{refill}<")), "{refill}");
}

#[tokio::test]
async fn admin_plan_changes_are_audited() {
    let app = TestApp::new().await;
    let (mut ann, mut admin) = (app.user("ann@example.com").await, app.user("admin@example.com").await);
    let id: uuid::Uuid = app.one("select user_id from account where email = 'ann@example.com'").await;
    let path = format!("/admin/users/{id}/plan");
    assert_eq!(ann.form(&path, &[("plan", "max")]).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(admin.form(&path, &[("plan", "gold")]).await.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let long = "x".repeat(501);
    assert_eq!(admin.form(&path, &[("plan", "pro"), ("why", &long)]).await.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let because = [("plan", "pro"), ("why", "a year of patience")];
    assert_eq!(admin.form(&path, &because).await.status(), StatusCode::SEE_OTHER);
    assert_eq!(ann.quota().await["plan"], "pro");
    assert_eq!(
        app.one::<String>("select action || ' ' || before || ' ' || after || ' ' || why from audit").await,
        "set_plan free pro a year of patience"
    );
    // A reason is optional.
    assert_eq!(admin.form(&path, &[("plan", "free")]).await.status(), StatusCode::SEE_OTHER);
    assert!(app.one::<bool>("select bool_or(why is null) and count(*) = 2 from audit").await);
    assert!(admin.text(&format!("/admin/users/{id}")).await.contains("ann@example.com"));
}

/// Models have their display names, as in the chat, also after the owner has disabled them.
#[tokio::test]
async fn models_of_usage_have_their_labels() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    ann.send_and_read("{{words:30}}").await;
    app.sql("update model set enabled = false where model in (select model from ai_usage)").await;
    let model: String = app.one("select model from ai_usage").await;
    let label: String = app.one("select label from model where model in (select model from ai_usage)").await;
    assert_ne!(model, label);
    let page = ann.text("/usage").await;
    assert_eq!(page.matches(&format!("title=\"{model}\"")).count(), 2, "by model, and the recent response");
    assert!(page.contains(&format!(">{label}<")) && !page.contains(&format!(">{model}<")));
    // A period without usage isn't the time before the first response.
    let tom = app.user("tom@example.com").await;
    assert!(tom.text("/usage").await.contains("No usage yet"));
    app.sql(
        "select ai_usage_create_partitions(now() - interval '2 months', now());
         insert into ai_usage (ai_usage_id, turn_id, purpose, user_id, subject, model, model_price_id, status, usage_source, input_tokens,
                               output_tokens, estimated_tokens, reserved_tokens, cost_usd, created_at, settled_at)
         select gen_random_uuid(), gen_random_uuid(), 'chat', tom.user_id, tom.subject, u.model, u.model_price_id, 'finished', 'exact', 60,
                40, 60, 100, 0.01, now() - interval '20 days', now()
         from ai_usage u, account tom where tom.email = 'tom@example.com'",
    )
    .await;
    let (week, month) = (tom.text("/usage?days=7").await, tom.text("/usage?days=30").await);
    assert!(week.contains("No usage in the last 7 days") && week.contains(&format!(">{label}<")), "{week}");
    assert!(month.contains("Tokens by day"), "{month}");
}

/// Users on a plan that hides costs see none on any page, in exports or in events. The owner still does.
#[tokio::test]
async fn plan_can_hide_costs_from_its_users() {
    let app = TestApp::new().await;
    let (ann, mut admin) = (app.user("ann@example.com").await, app.user("admin@example.com").await);
    let id: uuid::Uuid = app.one("select user_id from account where email = 'ann@example.com'").await;
    ann.send_and_read("{{words:30}}").await;
    let conversation: uuid::Uuid = app.one("select conversation_id from conversation").await;
    let pages = ["/usage".to_owned(), format!("/chat/{conversation}"), "/usage.csv?period=7d".to_owned()];
    let cost = Picos::from_usd(app.one("select sum(cost_usd) from ai_usage").await).unwrap();
    for (page, shown) in pages.iter().zip([cost.to_string(), cost.to_string(), cost.exact()]) {
        assert!(ann.text(page).await.contains(&shown), "{page} before");
    }
    let rules = [
        ("requests", "10"),
        ("tokens", "50000"),
        ("in_flight", "2"),
        ("max_output", "4096"),
        ("model", "claude-haiku-4-5"),
    ];
    // Fields missing from a form stay unchanged.
    admin.form("/admin/plans/free", &rules).await;
    assert!(ann.text("/usage").await.contains(&cost.to_string()));
    let rules = [&rules[..], &[("shows_cost", "no")]].concat();
    assert_eq!(admin.form("/admin/plans/free", &rules).await.status(), StatusCode::SEE_OTHER);
    let tokens = Tokens::from_db(app.one("select (input_tokens + output_tokens)::bigint from ai_usage").await);
    for page in &pages {
        let text = ann.text(page).await;
        assert!(!text.contains("$0") && !text.contains("cost_usd") && !text.contains(&cost.exact()), "{page} after");
        assert!(page.ends_with(".csv?period=7d") || text.contains(&tokens.to_string()), "{page}");
    }
    let events = ann.send_and_read("{{words:3}}").await;
    assert!(matches!(events.last(), Some((_, TurnEvent::Finish { cost_usd: None, .. }))), "{events:?}");
    let cost = Picos::from_usd(app.one("select sum(cost_usd) from ai_usage").await).unwrap();
    assert!(admin.text(&format!("/admin/users/{id}")).await.contains(&cost.to_string()));
    assert!(admin.text("/admin/audit").await.contains("cost not shown"));
}

/// The admin pages show running turns, reserved tokens and sessions, and the time to first token once the turn has ended.
#[tokio::test]
async fn admin_pages_show_holds_and_time_to_first_token() {
    let app = TestApp::new().await;
    let (ann, admin) = (app.user("ann@example.com").await, app.user("admin@example.com").await);
    let id: uuid::Uuid = app.one("select user_id from account where email = 'ann@example.com'").await;
    let mut reading = EventReader::new(ann.send_message("{{words:9}}{{hold}}").await);
    reading.next().await.unwrap();
    let page = admin.text(&format!("/admin/users/{id}")).await;
    let reserved = Tokens::from_db(app.one("select reserved_tokens from ai_usage").await).to_string();
    assert!(page.contains(&format!(">{reserved}<")) && page.contains(">running<"), "{page}");
    assert_eq!(page.matches("Signed in until").count(), 1);
    assert!(admin.text("/admin").await.contains("1 response running"));
    app.provider.release();
    while reading.next().await.is_some() {}
    app.until("select bool_and(meter_settled_at is not null) from turn").await;
    let page = admin.text(&format!("/admin/users/{id}")).await;
    assert!(page.contains("nothing reserved"));
    assert!(app.one::<bool>("select ttft_ms between 0 and 30000 from ai_usage").await);
    let ms: i32 = app.one("select two_digits(ttft_ms) from ai_usage").await;
    app.refresh_report().await;
    let page = admin.text("/admin").await;
    let shown = match ms {
        ..1_000 => format!("{ms} ms"),
        1_000..10_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        _ => format!("{} s", ms / 1_000),
    };
    assert_eq!(page.matches(&format!(">{shown}<")).count(), 2, "p50 and p95: {shown}");
}

/// Subscriptions in other currencies are excluded from revenue in dollars, and the page says so.
#[tokio::test]
async fn other_currencies_are_excluded_from_revenue() {
    let app = TestApp::new().await;
    let admin = app.user("admin@example.com").await;
    admin.send_and_read("{{words:3}}").await;
    for (currency, minor, pays) in [("usd", 2_000, 20), ("jpy", 2_000, 0)] {
        for sql in [
            "delete from subscription",
            "insert into invoice (invoice_id, customer_id, user_id, subscription_id, status, due_minor, paid_minor, currency, created_at)
             select 'in' || $1, 'cus', user_id, 'sub', 'paid', $2, $2, $1, now() from account",
            "insert into subscription (subscription_id, customer_id, user_id, plan_id, status, period, amount_minor, currency, is_adjusted,
               created_at, period_end, fetched_at)
             select 'sub', 'cus', user_id, 'pro', 'active', 'month', $2, $1, false, now() - interval '60 days', now(), now() from account",
        ] {
            let query = sqlx::query(sql);
            let query = if sql.starts_with("delete") { query } else { query.bind(currency).bind(i64::from(minor)) };
            query.execute(&app.db).await.unwrap();
        }
        let sql = "select round(coalesce(sum(prorated_usd(amount_minor, period, paid)), 0), 9) from subscriptions_paid(now() - interval '2629800 seconds', now())";
        assert_eq!(app.one::<Decimal>(sql).await, Decimal::from(pays), "{currency}");
        app.refresh_report().await;
        let page = admin.text("/admin").await;
        assert_eq!(page.contains("subscriptions in other currencies"), currency == "jpy");
    }
}

/// Owner pages and server functions return 404 to everyone but admins.
#[tokio::test]
async fn owner_pages_and_functions_are_404_for_others() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    let id: uuid::Uuid = app.one("select user_id from account").await;
    for visitor in [&ann, &app.visitor()] {
        for path in
            ["/admin".to_owned(), format!("/admin/users/{id}"), "/admin/models".to_owned(), "/admin/health".to_owned()]
        {
            assert_eq!(visitor.get(&path).await.status(), StatusCode::NOT_FOUND, "{path}");
        }
        for path in ["/admin/global", "/admin/models/demo", "/admin/models/demo/price"] {
            let acted = visitor.request("POST", path).form(&[("state", "off")]).send().await.unwrap();
            assert_eq!(acted.status(), StatusCode::NOT_FOUND, "{path}");
        }
        assert!(!app.one::<bool>("select paused from deployment").await);
        for (name, body) in [
            ("admin_top_users", "filter[period]=Day&filter[order]=Cost&filter[search]=&filter[page]=1".to_owned()),
            ("admin_audit", "page=1".to_owned()),
            ("admin_user", format!("id={id}")),
        ] {
            let response = visitor
                .request("POST", &format!("/fn/{name}"))
                .header("content-type", "application/x-www-form-urlencoded")
                .body(body)
                .send()
                .await
                .unwrap();
            assert_eq!(response.status(), StatusCode::NOT_FOUND, "{name}");
        }
    }
}

/// Field note 31: ledger rows outlive the account and lose only the reference to the user.
#[tokio::test]
async fn the_ledger_outlives_the_account() {
    let app = TestApp::new().await;
    let (ann, admin) = (app.user("ann@example.com").await, app.user("admin@example.com").await);
    ann.send_and_read("{{words:30}}").await;
    let cost: Decimal = app.one("select sum(cost_usd) from ai_usage").await;
    sqlx::query("delete from account where email = 'ann@example.com'").execute(&app.db).await.unwrap();
    assert_eq!(app.one::<Decimal>("select sum(cost_usd) from ai_usage where user_id is null").await, cost);
    app.refresh_report().await;
    assert!(admin.text("/admin").await.contains("deleted account"));
    // Signing up again refills nothing.
    let again = app.user("ann@example.com").await;
    assert!(again.quota().await["tokens"]["used"].as_u64().unwrap() > 0);
    assert!(sqlx::query("delete from ai_usage").execute(&app.db).await.is_err(), "the ledger is append-only");
}

/// The owner can switch chat off, set spend caps, fallbacks and dated prices. Each change applies to the next turn and is audited. Invalid
/// values are rejected with a problem and change nothing.
#[tokio::test]
async fn the_owner_sets_models_and_global_limits() {
    let app = TestApp::new().await;
    let (ann, mut admin) = (app.user("ann@example.com").await, app.user("admin@example.com").await);
    ann.send_and_read("{{words:9}}").await;
    let off = admin.form("/admin/global", &[("state", "off"), ("daily_spend", "")]).await;
    assert_eq!(
        (off.status(), off.headers()["location"].to_str().unwrap()),
        (StatusCode::SEE_OTHER, "/admin/models?saved=yes")
    );
    assert_eq!(ann.send_message("{{words:1}}").await.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(admin.text("/admin/models").await.contains("Chat is switched off"));
    admin.form("/admin/global", &[("state", "on"), ("daily_spend", "0.01")]).await;
    assert_eq!(problem(ann.send_message("{{words:1}}").await).await["kind"], "spend_cap");
    admin.form("/admin/global", &[("state", "on"), ("daily_spend", "")]).await;
    ann.send_and_read("{{words:1}}").await;

    let rules = |state, cap, other| [("state", state), ("daily_spend", cap), ("fallback", other)];
    admin.form("/admin/models/claude-haiku-4-5", &rules("off", "", "")).await;
    assert_eq!(ann.send_message("{{words:1}}").await.status(), StatusCode::UNPROCESSABLE_ENTITY);
    admin.form("/admin/models/claude-haiku-4-5", &rules("on", "12.50", "gpt-5-mini")).await;
    ann.send_and_read("{{words:1}}").await;
    let is_stored = "select fallback = 'gpt-5-mini' and daily_spend_usd = 12.5 and enabled from model where model = 'claude-haiku-4-5'";
    assert!(app.one::<bool>(is_stored).await);
    // Hedging requires a fallback.
    let path = "/admin/models/claude-haiku-4-5";
    let hedge = |after, other| [("hedge_after", after), ("fallback", other)];
    assert_eq!(admin.form(path, &hedge("1.5", "gpt-5-mini")).await.status(), StatusCode::UNPROCESSABLE_ENTITY);
    admin.form(path, &hedge("3", "gpt-5-mini")).await;
    let hedged = "select hedge_after_ms = 3000 from model where model = 'claude-haiku-4-5'";
    assert!(app.one::<bool>(hedged).await);
    let page = admin.text("/admin/models").await;
    let fields: Vec<&str> =
        page.split("name=\"hedge_after\"").skip(1).filter_map(|rest| rest.split('>').next()).collect();
    assert_eq!(fields.iter().filter(|field| field.contains("value=\"3\"")).count(), 1, "{fields:?}");
    admin.form(path, &hedge("3", "")).await;
    assert!(
        app.one::<bool>(
            "select hedge_after_ms is null and fallback is null from model where model = 'claude-haiku-4-5'"
        )
        .await
    );
    admin.form(path, &hedge("", "gpt-5-mini")).await;
    // A form from an outdated page doesn't undo later changes: missing fields stay unchanged.
    admin.form("/admin/models/claude-haiku-4-5", &[("state", "off")]).await;
    admin.form("/admin/models/claude-haiku-4-5", &[("daily_spend", "12.50"), ("fallback", "gpt-5-mini")]).await;
    assert!(app.one::<bool>("select not enabled and daily_spend_usd = 12.5 and fallback = 'gpt-5-mini' from model where model = 'claude-haiku-4-5'").await);
    admin.form("/admin/models/claude-haiku-4-5", &[("state", "on")]).await;
    assert!(app.one::<bool>(is_stored).await);
    for (fields, then) in [
        ([("daily_spend", "30")], "select not paused and daily_spend_usd = 30 from deployment"),
        ([("state", "off")], "select paused and daily_spend_usd = 30 from deployment"),
        ([("daily_spend", "20")], "select paused and daily_spend_usd = 20 from deployment"),
        ([("state", "on")], "select not paused and daily_spend_usd = 20 from deployment"),
        ([("daily_spend", "")], "select not paused and daily_spend_usd is null from deployment"),
    ] {
        admin.form("/admin/global", &fields).await;
        assert!(app.one::<bool>(then).await, "{fields:?}");
    }
    let page = admin.text("/admin/models").await;
    assert!(page.contains("value=\"12.5\"") && page.contains("Claude Haiku 4.5"), "{page}");

    // A new price applies to later calls and leaves earlier costs unchanged.
    let before: Decimal = app.one("select sum(cost_usd) from ai_usage").await;
    admin
        .form(
            "/admin/models/claude-haiku-4-5/price",
            &[("input", "100"), ("output", "500"), ("cache_read", ""), ("effective_at", "")],
        )
        .await;
    assert_eq!(app.one::<Decimal>("select sum(cost_usd) from ai_usage").await, before);
    ann.send_and_read("{{words:1}}").await;
    let last: Decimal = app.one("select cost_usd from ai_usage order by created_at desc limit 1").await;
    let first: Decimal =
        app.one("select cost_usd from ai_usage where output_tokens = 2 order by created_at limit 1").await;
    assert_eq!(last, first * Decimal::ONE_HUNDRED);

    // Cache writes and long prompts can have their own prices. A missing cache price defaults to the input price.
    let tier = [
        ("input", "3"),
        ("output", "4"),
        ("cache_write", "3.75"),
        ("above", "200000"),
        ("effective_at", "2098-01-01T00:00"),
    ];
    assert_eq!(admin.form("/admin/models/gpt-5-mini/price", &tier).await.status(), StatusCode::SEE_OTHER);
    let tiers = "select (input_micros_per_million, cache_read_micros_per_million is null, cache_write_micros_per_million, output_micros_per_million, above_tokens) = (3000000, true, 3750000, 4000000, 200000)
                  from model_price where model = 'gpt-5-mini' order by effective_at desc limit 1";
    assert!(app.one::<bool>(tiers).await);
    // Two prices can't take effect at the same time, and the first is kept.
    let later = [("input", "7"), ("output", "8"), ("effective_at", "2099-01-01T00:00")];
    let added = admin.form("/admin/models/gpt-5-mini/price", &later).await;
    assert_eq!(added.status(), StatusCode::SEE_OTHER);
    let again = [("input", "9"), ("output", "9"), ("effective_at", "2099-01-01T00:00")];
    let refused = admin.form("/admin/models/gpt-5-mini/price", &again).await;
    assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let kept = "select input_micros_per_million = 7000000 from model_price where model = 'gpt-5-mini' order by effective_at desc limit 1";
    assert!(app.one::<bool>(kept).await);

    // Invalid values.
    let prices: i64 = app.one("select count(*) from model_price").await;
    for (path, fields) in [
        ("/admin/global", vec![("state", "on"), ("daily_spend", "-1")]),
        ("/admin/global", vec![("state", "on"), ("daily_spend", "0.001")]),
        ("/admin/global", vec![("state", "maybe")]),
        ("/admin/models/claude-haiku-4-5", rules("on", "", "claude-haiku-4-5").to_vec()),
        ("/admin/models/claude-haiku-4-5", rules("on", "", "nobody-at-all").to_vec()),
        ("/admin/models/claude-haiku-4-5/price", vec![("input", "-1"), ("output", "1")]),
        (
            "/admin/models/claude-haiku-4-5/price",
            vec![("input", "1"), ("output", "1"), ("effective_at", "2020-01-01T00:00")],
        ),
        ("/admin/models/claude-haiku-4-5/price", vec![("input", "1"), ("output", "1"), ("above", "0")]),
        ("/admin/models/claude-haiku-4-5/price", vec![("input", "1"), ("output", "1"), ("cache_write", "-1")]),
    ] {
        let refused = admin.form(path, &fields).await;
        assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY, "{path} {fields:?}");
    }
    let missing = admin.form("/admin/models/nobody-at-all", &rules("on", "", "")).await;
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);
    assert!(app.one::<bool>(is_stored).await);
    assert_eq!(app.one::<i64>("select count(*) from model_price").await, prices);
    let acts: Vec<String> =
        sqlx::query_scalar("select action from audit order by created_at").fetch_all(&app.db).await.unwrap();
    assert_eq!(
        acts,
        ["set_global"; 3]
            .into_iter()
            .chain(["set_model"; 7])
            .chain(["set_global"; 5])
            .chain(["add_price"; 3])
            .collect::<Vec<_>>()
    );
}
