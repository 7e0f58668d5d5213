//! Providers, models and prices as data: the subcommands, the form on `/admin/providers`, the price catalogue, and announced ends.

use super::{HAIKU, MINI, app, ask, finish, rows};
use crate::app::TestApp;
use clap::Parser as _;
use domain::Picos;
use http::StatusCode;
use server::cli::{Cli, Command};
use time::{Duration, OffsetDateTime};

fn command(words: &[&str]) -> Command {
    Cli::try_parse_from(["quotient"].iter().chain(words)).unwrap().command.unwrap()
}

/// Runs a subcommand and returns its output.
async fn run(app: &TestApp, words: &[&str]) -> String {
    app.run(command(words)).await
}

/// Runs a subcommand that must fail, and returns why.
async fn fails(app: &TestApp, words: &[&str]) -> String {
    let done = server::cli::run(command(words), &app.config, &mut std::io::sink()).await;
    format!("{:#}", done.unwrap_err())
}

/// A provider and a model are added, called, tested and removed without code. A test's cost is shown and isn't in the ledger.
#[tokio::test]
async fn a_provider_and_its_models_are_managed_by_commands() {
    let app = TestApp::with(&[("HOME_API_KEY", "secret of home")]).await;
    let ann = app.user("ann@example.com").await;
    let url = format!("{}/v1", app.provider.url());
    let added = run(
        &app,
        &[
            "providers",
            "add",
            "home",
            "--format",
            "openai",
            "--base-url",
            &url,
            "--key-variable",
            "HOME_API_KEY",
            "--max-in-flight",
            "3",
        ],
    )
    .await;
    assert_eq!(added, "home is saved. Add its models with models add --provider home.\n");
    let missing = run(&app, &["providers", "add", "away", "--base-url", &url, "--key-variable", "AWAY_API_KEY"]).await;
    assert!(missing.contains("Set AWAY_API_KEY in the server's environment"), "{missing}");
    let listed = run(&app, &["providers", "list"]).await;
    let line = |name: &str| listed.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    assert!(line("home").contains(&url) && line("home").contains("HOME_API_KEY is set") && line("home").ends_with('3'));
    assert!(line("away").contains("AWAY_API_KEY is missing") && line("anthropic").contains("ANTHROPIC_API_KEY is set"));
    assert!(!listed.contains("secret of home"), "keys are never shown");

    let price = ["--input", "0.5", "--output", "1.5", "--plans", "free"];
    let model = run(&app, &[&["models", "add", "tiny", "--provider", "home"][..], &price].concat()).await;
    assert_eq!(model, "tiny is available. Price per million tokens: $0.5 input, $1.5 output.\n");
    let models = run(&app, &["models", "list"]).await;
    assert!(models.lines().any(|line| line.starts_with("tiny ") && line.contains("home") && line.contains("$0.5")));
    for words in [["models", "test", "tiny"], ["providers", "test", "home"]] {
        let tested = run(&app, &words).await;
        let served = app.provider.served_calls().pop().unwrap();
        assert_eq!((served.model.as_str(), served.max_output), ("tiny", 16));
        let cost = Picos((served.input * 500_000 + served.output * 1_500_000).cast_signed());
        for part in [
            "tiny at home answers.".to_owned(),
            format!("{} input, 0 cache read, 0 cache write, {} output", served.input, served.output),
            "reported by the provider".to_owned(),
            format!("${}; it isn't in the ledger", cost.exact()),
        ] {
            assert!(tested.contains(&part), "{part} in {tested}");
        }
    }
    assert_eq!(app.one::<i64>("select count(*) from ai_usage").await, 0);
    assert!(fails(&app, &["models", "test", "nobody"]).await.contains("there is no model nobody"));
    assert!(fails(&app, &["providers", "test", "away"]).await.contains("has no models"));

    // A model that was never called is deleted; one that was called is switched off.
    assert!(fails(&app, &["providers", "remove", "home"]).await.contains("models belong to home"));
    let answer = ask(&ann, "tiny", "{{words:2}}").await;
    assert_eq!((finish(&answer).0, rows(&app, answer.turn).await[0].model.as_str()), ("finished", "tiny"));
    let removed = run(&app, &["models", "remove", "tiny"]).await;
    assert!(removed.starts_with("tiny is switched off and removed from all plans."), "{removed}");
    let off = "select not enabled and not exists (select from plan_model where model = 'tiny') from model where model = 'tiny'";
    assert!(app.one::<bool>(off).await);
    run(&app, &[&["models", "add", "unused", "--provider", "away"][..], &price].concat()).await;
    assert_eq!(run(&app, &["models", "remove", "unused"]).await, "unused is deleted.\n");
    assert_eq!(run(&app, &["providers", "remove", "away"]).await, "away is removed.\n");
    assert!(fails(&app, &["providers", "remove", "away"]).await.contains("there is no provider away"));
    assert!(fails(&app, &["models", "remove", "unused"]).await.contains("there is no model unused"));
    let key = ["providers", "add", "leak", "--key-variable", "SECRET_KEY"];
    assert!(fails(&app, &key).await.contains("ending in _API_KEY"), "no row can name another secret");
}

/// Prices and end dates are imported from a catalogue file: shown first, added only where chosen, exact to the last digit.
#[tokio::test]
async fn prices_are_imported_from_a_catalogue() {
    let app = app().await;
    let ann = app.user("ann@example.com").await;
    let file = std::env::temp_dir().join(format!("catalogue-{}.json", uuid::Uuid::new_v4()));
    let catalogue = r#"{
        "sample_spec": {"input_cost_per_token": 0.0, "output_cost_per_token": 0.0},
        "claude-haiku-4-5": {
            "litellm_provider": "anthropic", "mode": "chat", "max_input_tokens": 200000, "max_output_tokens": 64000,
            "input_cost_per_token": 9e-07, "output_cost_per_token": 4.5e-06, "cache_read_input_token_cost": 9.0e-08,
            "cache_creation_input_token_cost": 1.25e-06, "cache_creation_input_token_cost_above_1hr": 2e-06,
            "deprecation_date": "2027-10-01"
        },
        "openai/gpt-5-mini": {
            "input_cost_per_token": 2.5e-07, "output_cost_per_token": 2e-06, "cache_read_input_token_cost": 2.5e-08,
            "input_cost_per_token_above_200k_tokens": 0.0000005, "output_cost_per_token_above_200k_tokens": 0.000003
        },
        "gpt-4o-mini": {"input_cost_per_token": 1.5e-07, "output_cost_per_token": 6e-07, "cache_read_input_token_cost": 7.5e-08},
        "dall-e": {"input_cost_per_pixel": 1e-08, "output_cost_per_pixel": 0.0}
    }"#;
    std::fs::write(&file, catalogue).unwrap();
    let path = file.to_str().unwrap();
    let prices = "select count(*) from model_price";
    let before: i64 = app.one(prices).await;
    let shown = run(&app, &["prices", "import", path]).await;
    let has = |output: &str, cells: &[&str]| output.lines().any(|line| cells.iter().all(|cell| line.contains(cell)));
    assert!(has(&shown, &[HAIKU, "base", "input", "$1", "\u{2192} $0.9"]), "{shown}");
    assert!(has(&shown, &[HAIKU, "base", "output", "$5", "\u{2192} $4.5"]), "{shown}");
    assert!(has(&shown, &[HAIKU, "end date", "none", "\u{2192} 2027-10-01"]), "{shown}");
    assert!(has(&shown, &[MINI, "above 200,000", "input", "$0.25", "\u{2192} $0.5"]), "{shown}");
    assert!(
        !has(&shown, &["gpt-4o-mini", "$"]) && !shown.contains("dall-e"),
        "what doesn't differ isn't shown: {shown}"
    );
    assert!(has(&shown, &["Not in the catalogue:", "claude-opus-4-7"]), "{shown}");
    assert!(shown.ends_with("Nothing was changed. Add --yes MODEL,MODEL or --all to apply.\n"), "{shown}");
    assert_eq!(app.one::<i64>(prices).await, before);

    let first = ask(&ann, HAIKU, "{{words:2}}").await;
    let applied = run(&app, &["prices", "import", path, "--yes", HAIKU]).await;
    assert!(applied.ends_with("Prices added: 1. End dates set: 1.\n"), "{applied}");
    let second = ask(&ann, HAIKU, "{{words:2}}").await;
    let (old, new) = (rows(&app, first.turn).await.remove(0), rows(&app, second.turn).await.remove(0));
    let picos = |cost: &str| Picos::from_usd(cost.parse().unwrap()).unwrap().0;
    assert_eq!(picos(&old.cost_usd), old.input_tokens * 1_000_000 + old.output_tokens * 5_000_000);
    assert_eq!(
        picos(&new.cost_usd),
        new.input_tokens * 900_000 + new.output_tokens * 4_500_000,
        "the new price applies"
    );
    assert!(app.one::<bool>("select ends_at = '2027-10-01' from model where model = 'claude-haiku-4-5'").await);

    // From a later day on, and for all that still differ. Not from tomorrow, which may begin meanwhile.
    let day = (OffsetDateTime::now_utc() + Duration::days(2)).date().to_string();
    let applied = run(&app, &["prices", "import", path, "--all", "--from", &day]).await;
    assert!(applied.ends_with("Prices added: 1. End dates set: 0.\n"), "{applied}");
    let later = "select effective_at > now() and above_tokens = 200000 and input_micros_per_million = 500000 and output_micros_per_million = 3000000
                 from model_price where model = 'gpt-5-mini' order by effective_at desc limit 1";
    assert!(app.one::<bool>(later).await);
    assert!(
        fails(&app, &["prices", "import", path, "--yes", "gpt-4o-mini"]).await.contains("gpt-4o-mini doesn't differ")
    );
    std::fs::write(&file, "not JSON").unwrap();
    assert!(fails(&app, &["prices", "import", path]).await.contains("not a price catalogue"));
    std::fs::remove_file(&file).unwrap();
}

/// The owner adds a provider with a form and a model of it answers. Invalid values are explained and change nothing.
#[tokio::test]
async fn the_owner_adds_a_provider_with_a_form() {
    let app = app().await;
    let (ann, mut admin) = (app.user("ann@example.com").await, app.user("admin@example.com").await);
    let url = format!("{}/v1", app.provider.url());
    let form = |name: &'static str, url: &str, variable: &'static str| -> Vec<(&'static str, String)> {
        let fields = [
            ("current", ""),
            ("name", name),
            ("label", "Home server"),
            ("format", "openai"),
            ("base_url", url),
            ("key_variable", variable),
            ("connect_timeout_ms", ""),
            ("first_byte_timeout_ms", ""),
            ("idle_timeout_ms", "300000"),
            ("max_in_flight", "2"),
        ];
        fields.map(|(field, value)| (field, value.to_owned())).to_vec()
    };
    let mut send = async |fields: Vec<(&'static str, String)>| {
        let fields: Vec<(&str, &str)> = fields.iter().map(|(field, value)| (*field, value.as_str())).collect();
        admin.form("/admin/providers", &fields).await
    };
    for (bad, part) in [
        (form("Home", &url, ""), "a-z"),
        (form("home", "ftp://x", ""), "https://"),
        (form("home", &url, "SECRET_KEY"), "_API_KEY"),
        (form("anthropic", &url, ""), "exists"),
    ] {
        let refused = send(bad).await;
        assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY, "{part}");
        assert!(refused.text().await.unwrap().contains(part), "{part}");
    }
    assert_eq!(app.one::<i64>("select count(*) from provider").await, 3);
    let added = send(form("home", &url, "")).await;
    assert_eq!(added.status(), StatusCode::SEE_OTHER);
    assert_eq!(added.headers()["location"], "/admin/providers?saved=yes");
    let page = admin.text("/admin/providers").await;
    assert!(page.contains("Home server") && page.contains(&url) && page.contains("ANTHROPIC_API_KEY"), "{page}");
    assert!(!page.contains("test-key"), "keys are never shown");
    // The environment's URL is used, so it is shown in place of the stored one, which the form still changes.
    app.sql("update provider set base_url = 'https://stored.example/v1' where provider = 'openai'").await;
    let page = admin.text("/admin/providers").await;
    assert!(page.contains("OPENAI_BASE_URL") && !page.contains("https://stored.example/v1"), "{page}");
    let edited = admin.text("/admin/providers?edit=openai").await;
    assert!(
        edited.contains("used in place of this base URL") && edited.contains("https://stored.example/v1"),
        "{edited}"
    );
    assert!(admin.text("/admin/audit").await.contains("Home server"));
    app.move_model(MINI, "home").await;
    let answer = ask(&ann, MINI, "{{words:2}}").await;
    assert_eq!((finish(&answer).0, answer.text.as_str()), ("finished", "word1 word2 "));
    // A provider that has models isn't removed; one without is.
    assert_eq!(admin.form("/admin/providers/home/remove", &[]).await.status(), StatusCode::UNPROCESSABLE_ENTITY);
    app.move_model(MINI, "openai").await;
    assert_eq!(admin.form("/admin/providers/home/remove", &[]).await.status(), StatusCode::SEE_OTHER);
    assert_eq!(app.one::<i64>("select count(*) from provider").await, 3);
}

/// A provider takes at most as many calls at once as its row says. Further ones are refused with a time to retry, or fall back.
#[tokio::test]
async fn a_provider_takes_only_so_many_calls_at_once() {
    let app = app().await;
    app.sql("update provider set max_in_flight = 1 where provider = 'openai'").await;
    let ann = app.user("ann@example.com").await;
    let running = ann.post(&serde_json::json!({"model": MINI, "text": "{{words:4}}{{hold:1}}"})).await;
    assert_eq!(running.status(), StatusCode::OK);
    let refused = ann.post(&serde_json::json!({"model": MINI, "text": "{{words:1}}"})).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(app.provider.call_count("{{words:1}}"), 0);
    app.sql("update model set fallback = 'claude-haiku-4-5' where model = 'gpt-5-mini'").await;
    assert_eq!(rows(&app, ask(&ann, MINI, "{{words:1}} now?").await.turn).await.last().unwrap().model, HAIKU);
    app.provider.release();
    crate::visitor::events(running).await;
}

/// Field note 62: a model that its provider switches off within thirty days is announced on the owner's pages and by mail, once.
#[tokio::test]
async fn ends_of_models_are_announced() {
    let app = app().await;
    let admin = app.user("admin@example.com").await;
    let (soon, late) = (OffsetDateTime::now_utc() + Duration::days(14), OffsetDateTime::now_utc() + Duration::days(90));
    for (model, day) in [(MINI, soon.date()), (HAIKU, late.date())] {
        let sql = "update model set ends_at = $2 where model = $1";
        sqlx::query(sql).bind(model).bind(day).execute(&app.db).await.unwrap();
    }
    let (soon, late) = (soon.date().to_string(), late.date().to_string());
    let models = admin.text("/admin/models").await;
    assert!(models.contains(&format!("Ends on {soon}")) && models.contains(&format!("Ends on {late}")));
    let overview = admin.text("/admin").await;
    assert!(overview.contains("GPT-5 mini") && overview.contains(&soon) && !overview.contains(&late), "{overview}");
    for _ in 0..2 {
        let (_, stop) = app.start_second().await; // It checks alerts at startup.
        app.until("select count(*) = 1 from alert where kind = 'model_ends' and ended_at is null").await;
        stop.cancel();
    }
    let mails = "select count(*) from job where kind = 'mail' and payload->>'mail' = 'alert' and payload->>'message' like '%GPT-5 mini%'";
    assert_eq!(app.one::<i64>(mails).await, 1, "announced once");
}
