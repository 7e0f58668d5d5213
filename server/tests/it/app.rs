//! `TestApp`: a server with its own database, and its users.

use crate::visitor::TestClient;
use fakes::{FakeProvider, FakeStripe, WEBHOOK_SECRET};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::StatusCode;
use limits::{History, Limits, PastCall, Store, Window, Windows};
use quota::USER_WINDOWS;
use reqwest::{Client, redirect};
use server::Config;
use server::cli::Command;
use sha2::{Digest as _, Sha256};
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use std::collections::HashMap;
use std::str::FromStr;
use std::sync::{Arc, LazyLock};
use time::OffsetDateTime;
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

#[allow(clippy::disallowed_methods, reason = "./dev passes the database URLs in the environment")]
fn env(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} isn't set: run the tests with ./dev test"))
}

/// Returns the database URL of the tables' owner. Without one, the tests run as the owner alone.
#[allow(clippy::disallowed_methods, reason = "./dev passes the database URLs in the environment")]
pub fn owner_url() -> String {
    std::env::var("MIGRATE_DATABASE_URL").unwrap_or_else(|_| env("DATABASE_URL"))
}

/// HTTP client for requests that need no cookies. It pools no connections, because a pooled connection would belong to the runtime of the
/// test that opened it.
pub static HTTP: LazyLock<Client> = LazyLock::new(|| {
    let builder = Client::builder().redirect(redirect::Policy::none()).pool_max_idle_per_host(0);
    builder.build().unwrap()
});

/// Returns whether `./dev test --long` requested long tests at their full length.
#[allow(clippy::disallowed_methods, reason = "./dev requests long runs through the environment")]
pub fn is_long() -> bool {
    std::env::var_os("QUOTIENT_TEST_LONG").is_some()
}

/// The password of every user that [`TestApp`] signs up.
pub const PASSWORD: &str = "correct horse";

/// Settings without the limits that most tests would otherwise reach: they aren't about what one address may do in a minute, or what the
/// whole deployment may spend.
const UNLIMITED: [(&str, &str); 2] = [("GLOBAL_DAILY_SPEND_USD", "none"), ("API_REQUESTS_PER_MINUTE", "1000000")];

/// A running server with its database, Redis, fake provider and Stripe simulator.
pub struct TestApp {
    pub url: String,
    /// The database, as the owner of its tables. The server itself connects as `quotient_app`, which owns nothing.
    pub db: PgPool,
    /// The same, in the type that `store` functions take.
    pub store: store::Db,
    pub provider: FakeProvider,
    /// The Stripe simulator, which sends its events to the server.
    pub stripe: FakeStripe,
    pub redis: redis::aio::MultiplexedConnection,
    /// The server's configuration, reused to start further servers on the same databases.
    pub config: Config,
    stop: CancellationToken,
    running: JoinHandle<anyhow::Result<()>>,
}

/// Parses a configuration from names and values, as from the environment. The last value of a name wins.
pub fn config(pairs: &[(&str, &str)]) -> Config {
    let pairs: HashMap<String, String> = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Config::read(pairs).unwrap()
}

/// The catalogue of most tests: models that never think, with prices that differ by model, so that tests don't change with the seed.
/// `providers/seed.rs` tests the seed itself, on a database without this.
const CATALOGUE: &str = "
    update model set enabled = false, sort = sort + 20
    where model in ('claude-haiku-5-5', 'claude-sonnet-5-5', 'claude-opus-5-5', 'gpt-6-luna', 'gpt-6.1-terra', 'gpt-6.1-sol');
    delete from plan_model where model in (select model from model where sort > 20);
    update model set enabled = true, sort = old.sort, thinking = 'none', efforts = '{}', min_cacheable = null, ends_at = null
    from (values ('claude-sonnet-4-6', 1), ('claude-haiku-4-5', 2), ('claude-opus-4-7', 3), ('gpt-5.4-mini', 4), ('gpt-5.4', 5),
                 ('gpt-5-mini', 6), ('gpt-4o-mini', 7), ('demo', 8)) as old (model, sort)
    where old.model = model.model";

/// Names of the template databases with all migrations applied, created once: with the test catalogue, and with the seed. Each test's
/// database is a copy of one.
static TEMPLATE: OnceCell<String> = OnceCell::const_new();
static SEEDED: OnceCell<String> = OnceCell::const_new();

async fn template(options: PgConnectOptions, catalogue: &'static str) -> String {
    let name = format!("template_{}", Uuid::new_v4().simple());
    create_database(&options, &name, "template0").await;
    let pool = PgPoolOptions::new().max_connections(1).connect_with(options.database(&name)).await.unwrap();
    store::migrate(&(&pool).into()).await.unwrap();
    sqlx::raw_sql(catalogue).execute(&pool).await.unwrap();
    // Postgres can't copy a database that has open connections.
    pool.close().await;
    name
}

async fn create_database(options: &PgConnectOptions, name: &str, template: &str) {
    let admin = PgPoolOptions::new().max_connections(1).connect_with(options.clone()).await.unwrap();
    let sql = format!("create database {name} template {template}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&admin).await.unwrap();
    admin.close().await;
}

impl TestApp {
    /// Starts a deployment with both providers' keys set. `admin@example.com` becomes an admin at sign-up.
    pub async fn new() -> Self {
        Self::with(&[]).await
    }

    /// Starts a deployment with additional or overridden settings.
    pub async fn with(more: &[(&str, &str)]) -> Self {
        Self::with_config(more, |_| {}).await
    }

    /// Starts a deployment with additional settings and a changed configuration.
    pub async fn with_config(more: &[(&str, &str)], change: impl FnOnce(&mut Config)) -> Self {
        let options = PgConnectOptions::from_str(&owner_url()).unwrap();
        let template = TEMPLATE.get_or_init(|| template(options, CATALOGUE)).await;
        Self::on(template, more, change).await
    }

    /// Starts a deployment with the models and prices of the migrations.
    pub async fn seeded() -> Self {
        let options = PgConnectOptions::from_str(&owner_url()).unwrap();
        let template = SEEDED.get_or_init(|| template(options, "select 1")).await;
        Self::on(template, &[], |_| {}).await
    }

    /// Starts a deployment on a copy of a template database.
    async fn on(template: &str, more: &[(&str, &str)], change: impl FnOnce(&mut Config)) -> Self {
        server::telemetry::tls();
        let (base, name) = (env("DATABASE_URL"), format!("test_{}", Uuid::new_v4().simple()));
        let options = PgConnectOptions::from_str(&owner_url()).unwrap();
        create_database(&options, &name, template).await;
        let db = PgPoolOptions::new().max_connections(4).connect_with(options.database(&name)).await.unwrap();
        let provider = FakeProvider::start(([127, 0, 0, 1], 0).into()).await.unwrap();
        let stripe = FakeStripe::start(([127, 0, 0, 1], 0).into(), None).await.unwrap();
        let stripe_url = stripe.url();
        let secret = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        let (head, _) = base.rsplit_once('/').unwrap();
        let (database_url, redis_url) = (format!("{head}/{name}"), env("REDIS_URL"));
        let (anthropic, openai) = (provider.url(), format!("{}/v1", provider.url()));
        let site = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/site");
        let mut pairs = vec![
            ("DATABASE_URL", database_url.as_str()),
            ("REDIS_URL", redis_url.as_str()),
            ("LISTEN_ADDR", "127.0.0.1:0"),
            ("SECRET_KEY", secret.as_str()),
            ("SITE_ROOT", site),
            ("ANTHROPIC_API_KEY", "test-key"),
            ("ADMIN_EMAILS", "admin@example.com"),
            ("STRIPE_SECRET_KEY", "sk_test_fake"),
            ("STRIPE_WEBHOOK_SECRET", WEBHOOK_SECRET),
            ("STRIPE_BASE_URL", stripe_url.as_str()),
            ("GLOBAL_DAILY_SPEND_USD", "none"),
            ("API_REQUESTS_PER_MINUTE", "1000000"),
        ];
        pairs.extend(UNLIMITED);
        // Without Anthropic's key there is no other, so that the demo model answers.
        if !more.contains(&("ANTHROPIC_API_KEY", "")) {
            pairs.extend([
                ("ANTHROPIC_BASE_URL", anthropic.as_str()),
                ("OPENAI_API_KEY", "test-key"),
                ("OPENAI_BASE_URL", openai.as_str()),
            ]);
        }
        pairs.extend_from_slice(more);
        let mut config = config(&pairs);
        change(&mut config);
        let redis = redis::Client::open(redis_url).unwrap().get_multiplexed_async_connection().await.unwrap();
        let (url, stop, running) = start(config.clone()).await;
        stripe.set_webhook(&format!("{url}/stripe/webhook"), WEBHOOK_SECRET);
        Self { url, store: (&db).into(), db, provider, stripe, redis, config, stop, running }
    }

    /// Refreshes the usage report, as the server does once a minute.
    pub async fn refresh_report(&self) {
        assert!(store::rollup::refresh(&self.store, time::Duration::ZERO).await.unwrap());
    }

    /// Runs a subcommand and returns its output.
    pub async fn run(&self, command: Command) -> String {
        let mut output = Vec::new();
        server::cli::run(command, &self.config, &mut output).await.unwrap();
        String::from_utf8(output).unwrap()
    }

    /// Starts another server of the same deployment. Returns its URL and the token that stops it.
    pub async fn start_second(&self) -> (String, CancellationToken) {
        let (url, stop, _) = start(self.config.clone()).await;
        (url, stop)
    }

    /// Starts another server of the same deployment with a changed configuration. Returns its URL and the token that stops it.
    pub async fn start_second_with(&self, change: impl FnOnce(&mut Config)) -> (String, CancellationToken) {
        let mut config = self.config.clone();
        change(&mut config);
        let (url, stop, _) = start(config).await;
        (url, stop)
    }

    /// Returns a client that isn't signed in.
    pub fn visitor(&self) -> TestClient {
        let client = Client::builder().redirect(redirect::Policy::none()).build().unwrap();
        TestClient { url: self.url.clone(), client, cookie: None, browser: None }
    }

    /// Signs up a user with a verified address and returns their client.
    pub async fn user(&self, email: &str) -> TestClient {
        let user = self.unverified_user(email).await;
        self.verify(email).await;
        user
    }

    /// Signs up a user whose address isn't verified, and returns their client.
    pub async fn unverified_user(&self, email: &str) -> TestClient {
        let mut visitor = self.visitor();
        let response = visitor.form("/sign-up", &[("email", email), ("password", PASSWORD)]).await;
        assert_eq!(response.status(), StatusCode::SEE_OTHER, "{email}");
        visitor.keep_browser(&response);
        visitor
    }

    /// Verifies a user's address directly in the database.
    pub async fn verify(&self, email: &str) {
        let sql = "select user_id from account where lower(email) = lower($1)";
        let user: Uuid = sqlx::query_scalar(sql).bind(email).fetch_one(&self.db).await.unwrap();
        let (subject, now) = (self.subject_of(email), OffsetDateTime::now_utc());
        let verified = store::account::mark_verified(&self.store, user.into(), email, &subject, now).await.unwrap();
        assert_ne!(verified, store::account::Verified::OtherAddress, "{email}");
    }

    /// Returns the subject of a verified address.
    pub fn subject_of(&self, email: &str) -> String {
        let lower = email.to_lowercase();
        let (local, host) = lower.rsplit_once('@').unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.config.secret_key).unwrap();
        mac.update(format!("{}@{host}", local.split('+').next().unwrap()).as_bytes());
        hex::encode(mac.finalize().into_bytes())
    }

    /// Returns the subject under which a user's usage is counted.
    pub async fn subject(&self, email: &str) -> String {
        let sql = "select subject from account where email = $1";
        sqlx::query_scalar(sql).bind(email).fetch_one(&self.db).await.unwrap()
    }

    /// Stops the server and keeps its databases, provider and Stripe simulator.
    pub async fn stop_server(mut self) -> Self {
        self.stop.cancel();
        (&mut self.running).await.unwrap().unwrap();
        self
    }

    /// Terminates all connections to the database and refuses new ones. Returns a connection that can allow them again, and the
    /// database's name.
    pub async fn shut_database(&self) -> (PgPool, String) {
        let name = self.config.database_url.rsplit_once('/').unwrap().1.to_owned();
        let options = PgConnectOptions::from_str(&owner_url()).unwrap();
        let admin = PgPoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
            "alter database {name} allow_connections false;
             select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'"
        )))
        .execute(&admin)
        .await
        .unwrap();
        (admin, name)
    }

    /// Starts a server of this deployment as a separate process, with additional settings, and waits until it listens.
    pub async fn process(&self, more: &[(&str, &str)]) -> Process {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (addr, config) = (format!("127.0.0.1:{port}"), &self.config);
        let key = hex::encode(config.secret_key);
        let child = std::process::Command::new(env!("CARGO_BIN_EXE_quotient"))
            .env_clear()
            .env("DATABASE_URL", &config.database_url)
            .env("REDIS_URL", config.redis_url.as_deref().unwrap())
            .env("LISTEN_ADDR", &addr)
            .env("SECRET_KEY", key)
            .env("ANTHROPIC_API_KEY", "test-key")
            .env("ANTHROPIC_BASE_URL", self.provider.url())
            .env("OPENAI_API_KEY", "test-key")
            .env("OPENAI_BASE_URL", format!("{}/v1", self.provider.url()))
            .env("GLOBAL_DAILY_SPEND_USD", "none")
            .env("API_REQUESTS_PER_MINUTE", "1000000")
            .env("RUST_LOG", "off")
            .envs(UNLIMITED)
            .envs(more.iter().copied())
            .spawn()
            .unwrap();
        let process = Process { child, url: format!("http://{addr}") };
        let began = std::time::Instant::now();
        while reqwest::get(format!("{}/healthz", process.url)).await.is_err() {
            assert!(began.elapsed().as_secs() < 120, "the process doesn't listen after 120 s");
            tokio::task::yield_now().await;
        }
        process
    }

    /// Stops the server as SIGTERM would, and waits for it to finish.
    pub async fn shutdown(self) {
        self.stop.cancel();
        self.running.await.unwrap().unwrap();
    }

    /// Sets a user's plan directly in the database.
    pub async fn plan(&self, email: &str, plan: &str) {
        let done = sqlx::query("update account set plan_id = $2 where email = $1")
            .bind(email)
            .bind(plan)
            .execute(&self.db)
            .await;
        assert_eq!(done.unwrap().rows_affected(), 1);
    }

    /// Sets a plan's limits directly in the database: requests per minute, tokens per day, concurrent turns.
    pub async fn limits(&self, plan: &str, requests: i64, tokens: i64, in_flight: i64) {
        sqlx::query("update plan set requests_per_minute = $2, tokens_per_day = $3, in_flight = $4 where plan_id = $1")
            .bind(plan)
            .bind(requests)
            .bind(tokens)
            .bind(in_flight)
            .execute(&self.db)
            .await
            .unwrap();
    }

    /// Adds a provider.
    pub async fn add_provider(&self, name: &str, wire_format: &str, base_url: &str, key_variable: Option<&str>) {
        sqlx::query(
            "insert into provider (provider, label, wire_format, base_url, key_variable) values ($1, $1, $2, $3, $4)",
        )
        .bind(name)
        .bind(wire_format)
        .bind(base_url)
        .bind(key_variable)
        .execute(&self.db)
        .await
        .unwrap();
    }

    /// Moves a model to another provider.
    pub async fn move_model(&self, model: &str, provider: &str) {
        let sql = "update model set provider = $2 where model = $1";
        let done = sqlx::query(sql).bind(model).bind(provider).execute(&self.db).await.unwrap();
        assert_eq!(done.rows_affected(), 1, "{model}");
    }

    /// Moves a model to a provider that can't be reached.
    pub async fn cut_off(&self, model: &str) {
        self.add_provider("unreachable", "openai", "http://127.0.0.1:9/v1", None).await;
        self.move_model(model, "unreachable").await;
    }

    /// Runs statements whose effect the test checks otherwise.
    pub async fn sql(&self, sql: &'static str) {
        sqlx::raw_sql(sql).execute(&self.db).await.unwrap();
    }

    /// Returns the single value of a query.
    pub async fn one<T>(&self, sql: &'static str) -> T
    where
        T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
    {
        sqlx::query_scalar(sql).fetch_one(&self.db).await.unwrap()
    }

    /// Accesses the deployment's meters of one kind directly in Redis. A missing meter is rebuilt from `past`; with `None` that fails.
    fn meters(&self, kind: &'static str, windows: &Windows, past: Option<PastCall>) -> Limits {
        let history: History = Arc::new(move |subject| {
            let past = past.clone().ok_or_else(|| format!("no history to rebuild the meter of {subject}"));
            Box::pin(async move { Ok(vec![past?]) })
        });
        let url = self.config.redis_url.as_deref().unwrap();
        Limits::new(&Store::redis(url).unwrap(), kind, windows, history)
    }

    /// Accesses users' meters directly in Redis. A missing meter is rebuilt from `past`.
    pub fn users(&self, past: Option<PastCall>) -> Limits {
        self.meters("user", &USER_WINDOWS, past)
    }

    /// Deletes a budget's meter, as an eviction would: the global one, or a model's. Returns whether it existed.
    pub async fn forget_budget(&self, model: Option<&str>) -> bool {
        let app = hex::encode(&Sha256::digest(self.config.secret_key)[..12]);
        let budget = model.map_or_else(|| format!("global:{app}"), |model| format!("model:{app}/{model}"));
        let key = format!("meter:{{{budget}}}");
        redis::cmd("DEL").arg(key).query_async::<i64>(&mut self.redis.clone()).await.unwrap() == 1
    }

    /// Returns what is used and reserved in a budget, in nano-dollars per day: the global one, or a model's.
    pub async fn budget(&self, model: Option<&str>) -> (u64, u64) {
        const SPEND: Windows = Windows::new(&[Window::amount("spend", 86_400_000, 96)]);
        let app = hex::encode(&Sha256::digest(self.config.secret_key)[..12]);
        let (kind, subject) = match model {
            Some(model) => ("model", format!("{app}/{model}")),
            None => ("global", app),
        };
        let snapshot = self.meters(kind, &SPEND, None).peek(&subject).await.unwrap();
        (snapshot.window(0).used, snapshot.window(0).reserved)
    }

    /// Waits until a query returns true. Panics after 120 s.
    pub async fn until(&self, sql: &'static str) {
        let waiting = async {
            while !self.one::<bool>(sql).await {
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(120), waiting)
            .await
            .unwrap_or_else(|_| panic!("not true after 120 s: {sql}"));
    }
}

/// A server in a separate process, killed on drop.
pub struct Process {
    child: std::process::Child,
    pub url: String,
}

impl Process {
    /// Sends a signal, given as `kill` takes it (`-TERM`).
    pub fn signal(&self, name: &str) {
        let done = std::process::Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
        assert!(done.success());
    }

    /// Returns the processor time that the process has used, in ticks of the system (mostly 10 ms).
    pub fn cpu_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // The fields after the command's name, which may contain spaces: proc(5) counts utime as the 14th and stime as the 15th.
        let (_, fields) = stat.rsplit_once(')').unwrap();
        fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
    }

    /// Waits up to 120 s for the process to exit. Returns its exit code, or `None` if a signal killed it.
    pub async fn ended(mut self) -> Option<i32> {
        let waiting = async {
            loop {
                if let Some(status) = self.child.try_wait().unwrap() {
                    return status.code();
                }
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(120), waiting).await.expect("the process exits")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn start(config: Config) -> (String, CancellationToken, JoinHandle<anyhow::Result<()>>) {
    let server = server::build(config).await.unwrap();
    let listener = server.listen().await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let stop = CancellationToken::new();
    let running = tokio::spawn(server.serve(listener, stop.clone().cancelled_owned()));
    (url, stop, running)
}
