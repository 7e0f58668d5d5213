//! The live demo: it answers without an account, is limited by address and by its own budget, and is in the ledger and the owner's report.

use crate::app::TestApp;
use crate::visitor::problem;
use domain::sse::{SseEvent, SseParser};
use domain::{ReportPeriod, UsageFilter};
use http::StatusCode;
use reqwest::Response;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// With a proxy, so that requests can come from any address.
const BEHIND_PROXY: (&str, &str) = ("TRUSTED_PROXIES", "127.0.0.1");

/// Asks a question.
async fn ask(app: &TestApp, text: &str) -> Response {
    app.visitor().request("POST", "/api/demo").json(&json!({ "text": text })).send().await.unwrap()
}

/// Asks a question from an address.
async fn ask_from(app: &TestApp, address: &str, text: &str) -> Response {
    let request = app.visitor().request("POST", "/api/demo").header("x-forwarded-for", address);
    request.json(&json!({ "text": text })).send().await.unwrap()
}

/// Reads an answer to its end.
async fn read(mut response: Response) -> Vec<SseEvent> {
    assert_eq!(response.status(), StatusCode::OK);
    let (mut parser, mut all) = (SseParser::new(), Vec::new());
    while let Some(bytes) = response.chunk().await.unwrap() {
        all.extend(parser.feed(&bytes));
    }
    all
}

fn data(event: &SseEvent) -> Value {
    serde_json::from_str(&event.data).unwrap()
}

/// Puts the HTML of an answer together.
fn html(events: &[SseEvent]) -> String {
    let mut blocks = Vec::<String>::new();
    for event in events.iter().filter(|event| event.name == "block") {
        for update in data(event)["updates"].as_array().unwrap() {
            let block = usize::try_from(update["block"].as_u64().unwrap()).unwrap();
            let keep = usize::try_from(update["keep"].as_u64().unwrap_or(0)).unwrap();
            blocks.resize(blocks.len().max(block + 1), String::new());
            blocks[block].truncate(keep);
            blocks[block].push_str(update["html"].as_str().unwrap());
        }
    }
    blocks.concat()
}

#[tokio::test]
async fn a_visitor_gets_one_answer_of_which_only_a_ledger_row_is_kept() {
    let app = TestApp::new().await;
    let events = read(ask(&app, "{{words:5}} Why?").await).await;
    let (first, last) = (events.first().unwrap(), events.last().unwrap());
    // The cheapest model of the test catalogue.
    assert_eq!((first.name.as_str(), data(first)["label"].as_str()), ("turn", Some("GPT-4o mini")));
    assert_eq!((last.name.as_str(), data(last)["outcome"].as_str()), ("finish", Some("finished")));
    assert!(html(&events).contains("word5") && html(&events).starts_with('<'), "{}", html(&events));
    let row: (String, bool, String, String, bool, bool) = sqlx::query_as(
        "select purpose, user_id is null, model, status, cost_usd > 0, reserved_tokens - estimated_tokens <= 300 from ai_usage",
    )
    .fetch_one(&app.db)
    .await
    .unwrap();
    let (purpose, has_no_user, model, status, has_cost, is_short) = row;
    assert_eq!((purpose.as_str(), model.as_str(), status.as_str()), ("demo", "gpt-4o-mini", "finished"));
    assert!(has_no_user && has_cost && is_short);
    let subject: String = app.one("select subject from ai_usage").await;
    assert!(subject.len() == 64 && subject.bytes().all(|byte| byte.is_ascii_hexdigit()), "{subject}");
    assert!(
        app.one::<bool>(
            "select not exists (select from message) and not exists (select from conversation)
               and bool_and(user_id is null and conversation_id is null and ended_at is not null) from turn"
        )
        .await
    );
    app.until("select bool_and(meter_settled_at is not null) from turn").await;
    // Nobody can follow it.
    let ann = app.user("ann@example.com").await;
    let turn = data(first)["turn_id"].as_str().unwrap().to_owned();
    assert_eq!(ann.get(&format!("/api/turns/{turn}/events")).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_demo_model_answers_while_no_provider_has_a_key() {
    let app = TestApp::with(&[("ANTHROPIC_API_KEY", "")]).await;
    let events = read(ask(&app, "Show me a table").await).await;
    assert_eq!(data(&events[0])["label"], "Demo model");
    assert!(html(&events).contains("<table"));
    assert_eq!(app.one::<String>("select model from ai_usage").await, "demo");
}

#[tokio::test]
async fn questions_are_short_and_refusals_call_nobody() {
    let app = TestApp::new().await;
    for text in ["", "  \n", &"a".repeat(501)] {
        let refused = ask(&app, text).await;
        assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(problem(refused).await["field"], "text");
    }
    sqlx::query("update deployment set paused = true").execute(&app.db).await.unwrap();
    let refused = ask(&app, "Why?").await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(problem(refused).await["message"].as_str().unwrap().contains("Sign up to continue"));
    sqlx::query("update deployment set paused = false").execute(&app.db).await.unwrap();
    // A provider that fails is a row, and an explanation for visitors.
    let failed = ask(&app, "{{status:500}} Why?").await;
    assert!(failed.status().is_server_error(), "{}", failed.status());
    let failed = problem(failed).await;
    let message = failed["message"].as_str().unwrap();
    assert!(message.contains("ign up to continue") && !message.contains("message box"), "{message}");
}

/// An address has four questions in a minute and ten attempts in a quarter of an hour. An IPv6 address counts as its /64.
#[tokio::test]
async fn each_address_is_limited() {
    let app = TestApp::with(&[BEHIND_PROXY]).await;
    let mut kinds = Vec::new();
    for n in 0..12 {
        let response = ask_from(&app, "203.0.113.7", &format!("{{{{words:2}}}} {n}")).await;
        if n < 4 {
            read(response).await;
            continue;
        }
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS, "{n}");
        assert!(response.headers().contains_key("retry-after"));
        let problem = problem(response).await;
        assert!(problem["message"].as_str().unwrap().contains("Sign up to continue"), "{problem}");
        kinds.push(problem["kind"].as_str().unwrap().to_owned());
    }
    assert_eq!(kinds, [["requests_limit"; 6].as_slice(), &["attempts_limit"; 2]].concat());
    for n in 0..5 {
        let response = ask_from(&app, &format!("2001:db8:1:2::{n}"), "{{words:2}}").await;
        assert_eq!(response.status() == StatusCode::OK, n < 4, "{n}");
        if n < 4 {
            read(response).await;
        }
    }
    read(ask_from(&app, "203.0.113.8", "{{words:2}}").await).await;
    assert_eq!(app.provider.served_calls().len(), 9);
    assert_eq!(app.one::<i64>("select count(distinct subject) from ai_usage").await, 3);
}

/// A call of this purpose by the cheapest model that cost a dollar.
fn costly(purpose: &'static str) -> String {
    format!(
        "insert into ai_usage (ai_usage_id, turn_id, purpose, subject, model, model_price_id, status, usage_source, input_tokens, output_tokens,
           estimated_tokens, reserved_tokens, cost_usd, created_at, settled_at)
         select gen_random_uuid(), gen_random_uuid(), '{purpose}', 'someone', model, model_price_id, 'finished', 'exact', 1, 1, 1, 2, 1, now(), now()
         from model_price where model = 'gpt-4o-mini' limit 1"
    )
}

/// Only its own calls count against the demo's budget, and users chat on when it is used up.
#[tokio::test]
async fn the_demo_has_a_budget_of_its_own() {
    let app = TestApp::with(&[("DEMO_DAILY_SPEND_USD", "1"), BEHIND_PROXY]).await;
    sqlx::raw_sql(sqlx::AssertSqlSafe(costly("chat"))).execute(&app.db).await.unwrap();
    read(ask_from(&app, "203.0.113.1", "{{words:2}}").await).await;
    sqlx::raw_sql(sqlx::AssertSqlSafe(costly("demo"))).execute(&app.db).await.unwrap();
    // The meter is rebuilt from the ledger.
    let key = format!("meter:{{demo:{}}}", hex::encode(&Sha256::digest(app.config.secret_key)[..12]));
    assert_eq!(redis::cmd("DEL").arg(key).query_async::<i64>(&mut app.redis.clone()).await.unwrap(), 1);
    let refused = ask_from(&app, "203.0.113.2", "{{words:2}}").await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    let refused = problem(refused).await;
    is_used_up(&refused);
    let ann = app.user("ann@example.com").await;
    ann.send_and_read("{{words:2}}").await;
    assert_eq!(app.provider.served_calls().len(), 2);
}

/// Checks that a refusal has the time at which the demo works again.
fn is_used_up(refused: &Value) {
    assert_eq!(refused["kind"], "spend_cap");
    let message = refused["message"].as_str().unwrap();
    assert!(message.starts_with("The demo has reached its daily spend cap. It works again in "), "{message}");
    assert!(message.ends_with(". Sign up to continue."), "{message}");
    assert!(refused["retry_after_ms"].as_u64().is_some_and(|ms| ms > 0), "{refused}");
}

/// A model whose own spend cap is reached isn't called, and doesn't end the demo while another model is allowed.
#[tokio::test]
async fn the_next_cheapest_model_answers_at_the_spend_cap_of_the_cheapest() {
    let app = TestApp::new().await;
    sqlx::raw_sql(sqlx::AssertSqlSafe(costly("chat"))).execute(&app.db).await.unwrap();
    app.sql("update model set daily_spend_usd = 0.5 where model = 'gpt-4o-mini'").await;
    let events = read(ask(&app, "{{words:2}}").await).await;
    assert_eq!(data(&events[0])["label"], "GPT-5 mini");
    app.until("select bool_and(meter_settled_at is not null) from turn").await;
    assert!(
        app.one::<bool>("select count(*) = 1 and bool_and(model = 'gpt-5-mini') from ai_usage where purpose = 'demo'")
            .await
    );
    // The caps of all models are reached.
    app.sql(
        "insert into ai_usage (ai_usage_id, turn_id, purpose, subject, model, model_price_id, status, usage_source, input_tokens, output_tokens,
           estimated_tokens, reserved_tokens, cost_usd, created_at, settled_at)
         select gen_random_uuid(), gen_random_uuid(), 'chat', 'someone', model, model_price_id, 'finished', 'exact', 1, 1, 1, 2, 1, now(), now()
         from (select distinct on (model) model, model_price_id from model_price where model <> 'gpt-4o-mini' order by model) as price;
         update model set daily_spend_usd = 0.5",
    )
    .await;
    let refused = ask(&app, "{{words:2}}").await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    is_used_up(&problem(refused).await);
    assert_eq!(app.provider.served_calls().len(), 1);
}

/// The events of a demo are only in the memory of its server. If that dies, the call costs what was reserved, also in the demo's budget.
#[tokio::test]
async fn a_lost_demo_costs_what_was_reserved() {
    let app = TestApp::new().await;
    // The state after kill -9 while the answer was streamed.
    app.sql(
        "with t as (insert into turn (turn_id, subject, request_hash, alive_until, created_at)
           values (gen_random_uuid(), 'someone', '', now() - interval '1 s', now()) returning *)
         insert into ai_usage (ai_usage_id, turn_id, purpose, subject, model, model_price_id, status, estimated_tokens, reserved_tokens, created_at)
         select gen_random_uuid(), t.turn_id, 'demo', t.subject, 'gpt-4o-mini',
                (select model_price_id from model_price where model = 'gpt-4o-mini' limit 1), 'pending', 100, 400, t.created_at from t",
    )
    .await;
    let (_, _stop) = app.start_second().await; // Its reaper runs at startup.
    app.until("select bool_and(meter_settled_at is not null) from turn").await;
    assert!(
        app.one::<bool>(
            "select status = 'lost' and usage_source = 'estimated' and input_tokens = 100 and output_tokens = 300 and cost_usd > 0
             from ai_usage"
        )
        .await
    );
}

#[tokio::test]
async fn a_budget_of_zero_turns_the_demo_off() {
    let (on, off) = (TestApp::new().await, TestApp::with(&[("DEMO_DAILY_SPEND_USD", "0")]).await);
    let form = "id=\"demo-form\"";
    assert!(on.visitor().text("/").await.contains(form) && !off.visitor().text("/").await.contains(form));
    assert!(!on.user("ann@example.com").await.text("/").await.contains(form), "users have the chat");
    assert_eq!(ask(&off, "Why?").await.status(), StatusCode::NOT_FOUND);
    assert!(off.provider.served_calls().is_empty());
    assert_eq!(on.visitor().get("/demo.js").await.status(), StatusCode::OK);
}

/// The owner's report has one row for all calls of the demo, whatever the address, and a rebuild doesn't change it.
#[tokio::test]
async fn reports_show_the_demo_as_one_row() {
    let app = TestApp::with(&[BEHIND_PROXY]).await;
    let admin = app.user("admin@example.com").await;
    admin.send_and_read("{{words:3}}").await;
    for address in ["203.0.113.1", "203.0.113.2", "2001:db8::1"] {
        read(ask_from(&app, address, "{{words:3}}").await).await;
    }
    assert_eq!(app.one::<i64>("select count(distinct subject) from ai_usage").await, 4);
    app.until("select bool_and(status <> 'pending') from ai_usage").await;
    for round in ["as recorded", "rebuilt"] {
        app.refresh_report().await;
        let mut tx = store::begin_reading(&app.store).await.unwrap();
        let filter = UsageFilter { period: ReportPeriod::STANDARD[0], page: 1, ..UsageFilter::default() };
        let report = store::top_users::list(&mut tx, &filter, 10, time::OffsetDateTime::now_utc()).await.unwrap();
        let demos: Vec<_> = report.rows.iter().filter(|row| row.is_demo()).collect();
        assert_eq!((report.count, report.users, demos.len()), (2, 1, 1), "{round}");
        assert!(demos[0].sum.requests == 3 && demos[0].user_id.is_none() && demos[0].sum.cost.0 > 0, "{round}");
        assert!(
            app.one::<bool>(
                "select (select sum(cost_picos) from usage_day) = (select sum(cost_usd) * 1000000000000 from ai_usage)
                    and (select users = 1 from usage_period where period = '24h')"
            )
            .await,
            "{round}"
        );
        let page = admin.text("/admin?period=24h").await;
        assert!(page.contains("Demo on the site") && !page.contains("deleted account"), "{round}");
        drop(tx);
        store::rollup::rebuild(&app.store).await.unwrap();
    }
}

/// The owner sees what the demo costs before a user's first call.
#[tokio::test]
async fn figures_are_shown_when_only_the_demo_was_used() {
    let app = TestApp::new().await;
    read(ask(&app, "{{words:3}}").await).await;
    app.until("select bool_and(status <> 'pending') from ai_usage").await;
    app.refresh_report().await;
    let page = app.user("admin@example.com").await.text("/admin?period=24h").await;
    assert!(page.contains("<section class=\"figures\">") && page.contains("Demo on the site"), "{page}");
}
