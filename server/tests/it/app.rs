//! `TestApp`: a server with its own database, and its users.

use crate::database::TestDatabase;
use crate::settings::{self, env};
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
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use time::OffsetDateTime;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// HTTP client for requests that need no cookies. It pools no connections, because a pooled connection would belong to the runtime of the
/// test that opened it.
pub static HTTP: LazyLock<Client> = LazyLock::new(|| {
    let builder = Client::builder().redirect(redirect::Policy::none()).pool_max_idle_per_host(0);
    builder.build().unwrap()
});

/// The password of every user that [`TestApp`] signs up.
pub const PASSWORD: &str = "correct horse";

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
    pub database: TestDatabase,
    stop: CancellationToken,
    running: JoinHandle<anyhow::Result<()>>,
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
        Self::on(TestDatabase::with_test_catalogue().await, more, change).await
    }

    /// Starts a deployment with the models and prices of the migrations.
    pub async fn seeded() -> Self {
        Self::on(TestDatabase::seeded().await, &[], |_| {}).await
    }

    /// Starts a deployment on a new database.
    async fn on(database: TestDatabase, more: &[(&str, &str)], change: impl FnOnce(&mut Config)) -> Self {
        server::telemetry::tls();
        let db = database.connect().await;
        let provider = FakeProvider::start(([127, 0, 0, 1], 0).into()).await.unwrap();
        let stripe = FakeStripe::start(([127, 0, 0, 1], 0).into(), None).await.unwrap();
        let mut config = settings::of_fakes(&database.url(), &provider, &stripe, more);
        change(&mut config);
        // By default, a client gives up after half a second, which a reply may take on a busy machine.
        let patient = redis::AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let redis = redis::Client::open(env("REDIS_URL")).unwrap();
        let redis = redis.get_multiplexed_async_connection_with_config(&patient).await.unwrap();
        let (url, stop, running) = start(config.clone()).await;
        stripe.set_webhook(&format!("{url}/stripe/webhook"), WEBHOOK_SECRET);
        Self { url, store: (&db).into(), db, provider, stripe, redis, config, database, stop, running }
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

    /// Returns a client that isn't signed in. It uses no connection again that the server may be about to close, which it does after 15 seconds.
    pub fn visitor(&self) -> TestClient {
        let builder = Client::builder().redirect(redirect::Policy::none()).pool_idle_timeout(Duration::from_secs(5));
        let client = builder.build().unwrap();
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
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(120), waiting)
            .await
            .unwrap_or_else(|_| panic!("not true after 120 s: {sql}"));
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
