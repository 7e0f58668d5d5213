//! The processes and the database of a benchmark run.

use anyhow::{Context as _, ensure};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use std::io::BufRead as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::str::FromStr as _;
use std::time::{Duration, Instant};

/// Reads an environment variable that `./dev bench` sets.
///
/// # Errors
/// Returns an error if the variable isn't set.
#[allow(clippy::disallowed_methods, reason = "a benchmark reads its database URLs from the environment")]
pub fn env(name: &str) -> anyhow::Result<String> {
    std::env::var(name).with_context(|| format!("{name} isn't set: ./dev bench sets it"))
}

/// Returns the URL of a database for the owner of its tables, given the URL with which the server connects to it.
///
/// # Errors
/// Returns an error if `DATABASE_URL` is needed and isn't set, or a URL names no database.
#[allow(clippy::disallowed_methods, reason = "a benchmark reads its database URLs from the environment")]
pub fn owner_url(database: &str) -> anyhow::Result<String> {
    let owner = std::env::var("MIGRATE_DATABASE_URL").or_else(|_| env("DATABASE_URL"))?;
    let (head, _) = owner.rsplit_once('/').context("no database in MIGRATE_DATABASE_URL")?;
    let (_, name) = database.rsplit_once('/').context("no database in the URL")?;
    Ok(format!("{head}/{name}"))
}

/// Returns a TCP port on loopback that is free at the moment.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Returns the folder that holds this build's binaries.
fn binaries() -> anyhow::Result<PathBuf> {
    Ok(std::env::current_exe()?.parent().context("no folder")?.to_owned())
}

/// A child process that listens on an address; killed on drop.
pub struct Process {
    child: Child,
    /// Base URL that it listens on.
    pub url: String,
}

impl Process {
    /// Starts the fake provider, which responds without delay.
    pub fn fakes() -> anyhow::Result<Self> {
        let mut child =
            Command::new(binaries()?.join("fakes")).args(["provider", "127.0.0.1:0"]).stdout(Stdio::piped()).spawn()?;
        let mut url = String::new();
        std::io::BufReader::new(child.stdout.take().context("no stdout")?).read_line(&mut url)?;
        Ok(Self { child, url: url.trim().to_owned() })
    }

    /// Starts this program with other arguments, the last of which is its listen address.
    pub fn this(args: &[&str]) -> anyhow::Result<Self> {
        let child = Command::new(std::env::current_exe()?).args(args).spawn()?;
        Self::until_it_listens(child, args.last().context("no address")?)
    }

    /// Starts another program that listens on an address.
    ///
    /// # Errors
    /// Returns an error if it can't be started or doesn't listen in time.
    pub fn other(mut command: Command, address: &str) -> anyhow::Result<Self> {
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        Self::until_it_listens(child, address)
    }

    /// Starts the release server as production does.
    pub fn quotient(database: &str, provider: &str) -> anyhow::Result<Self> {
        let address = format!("127.0.0.1:{}", free_port()?);
        let child = Command::new(binaries()?.join("quotient"))
            .env_clear()
            .env("DATABASE_URL", database)
            .env("MIGRATE_DATABASE_URL", owner_url(database)?)
            .env("REDIS_URL", env("REDIS_URL")?)
            .env("LISTEN_ADDR", &address)
            .env("SECRET_KEY", format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple()))
            .env("ANTHROPIC_API_KEY", "bench")
            .env("ANTHROPIC_BASE_URL", provider)
            .env("TRUSTED_PROXIES", "127.0.0.1")
            .env("GLOBAL_DAILY_SPEND_USD", "none")
            .env("API_REQUESTS_PER_MINUTE", "1000000")
            .env("TITLES", "text")
            .env("RUST_LOG", "error")
            .spawn()
            .context("target/release/quotient isn't built: ./dev bench builds it")?;
        Self::until_it_listens(child, &address)
    }

    /// Starts a server at `url` with these settings and no others.
    ///
    /// # Errors
    /// Returns an error if the server can't be started or doesn't listen within a minute.
    pub fn with_settings(url: &str, settings: &[(&str, String)], more: &[(&str, &str)]) -> anyhow::Result<Self> {
        let address = url.strip_prefix("http://").context("no address")?;
        let child = Command::new(binaries()?.join("quotient"))
            .env_clear()
            .envs(settings.iter().map(|(name, value)| (*name, value.as_str())))
            .envs(more.iter().copied())
            .env("LISTEN_ADDR", address)
            .spawn()
            .context("the server binary is missing from this program's folder")?;
        Self::until_it_listens(child, address)
    }

    fn until_it_listens(child: Child, address: &str) -> anyhow::Result<Self> {
        let process = Self { child, url: format!("http://{address}") };
        let began = Instant::now();
        while std::net::TcpStream::connect(address).is_err() {
            ensure!(began.elapsed() < Duration::from_secs(60), "no listener on {address} after a minute");
            std::thread::park_timeout(Duration::from_millis(20));
        }
        Ok(process)
    }

    /// Returns the resident memory, in bytes.
    pub fn resident(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS")).context("no VmRSS")?;
        Ok(line.split_whitespace().nth(1).context("no number")?.parse::<u64>()? * 1_024)
    }

    /// Returns the CPU time used so far, in user and kernel mode, with a resolution of 10 ms.
    pub fn cpu(&self) -> anyhow::Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let fields: Vec<&str> = stat.rsplit_once(')').context("no name")?.1.split_whitespace().collect();
        let ticks = |n: usize| fields.get(n).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
        Ok(Duration::from_millis((ticks(11) + ticks(12)) * 10))
    }

    /// Sends SIGTERM, as production does, and waits for the exit.
    pub fn stop(mut self) -> anyhow::Result<()> {
        Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A database created for this run.
pub struct Database {
    /// URL with which the server connects.
    pub url: String,
    name: String,
    pool: PgPool,
    admin: PgPool,
}

impl Database {
    /// Creates a database with a unique name.
    ///
    /// # Errors
    /// Returns an error if the query fails.
    pub async fn fresh() -> anyhow::Result<Self> {
        let base = env("DATABASE_URL")?;
        let name = format!("bench_{}", uuid::Uuid::now_v7().simple());
        let options = PgConnectOptions::from_str(&owner_url(&base)?)?;
        let admin = PgPoolOptions::new().max_connections(1).connect_with(options).await?;
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!("create database {name}"))).execute(&admin).await?;
        let url = format!("{}/{name}", base.rsplit_once('/').context("no database in DATABASE_URL")?.0);
        let options = PgConnectOptions::from_str(&owner_url(&url)?)?;
        let pool = PgPoolOptions::new().max_connections(2).connect_with(options).await?;
        sqlx::raw_sql("create table bare (id uuid primary key, at timestamptz not null)").execute(&pool).await?;
        Ok(Self { url, name, pool, admin })
    }

    /// Raises every plan's limits so far that no request is refused.
    pub async fn no_limits(&self) -> anyhow::Result<()> {
        let sql =
            "update plan set requests_per_minute = 1000000000, tokens_per_day = 1000000000000, in_flight = 1000000";
        sqlx::raw_sql(sql).execute(&self.pool).await?;
        Ok(())
    }

    /// Returns the connection pool.
    #[must_use]
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Returns the single value of a query.
    ///
    /// # Errors
    /// Returns an error if the query fails.
    pub async fn one<T>(&self, sql: &'static str) -> anyhow::Result<T>
    where
        T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
    {
        Ok(sqlx::query_scalar(sql).fetch_one(&self.pool).await?)
    }

    /// Runs one or more statements.
    ///
    /// # Errors
    /// Returns an error if one fails.
    pub async fn run(&self, sql: &'static str) -> anyhow::Result<()> {
        sqlx::raw_sql(sql).execute(&self.pool).await?;
        Ok(())
    }

    /// Refuses new connections and terminates existing ones, or allows connections again.
    ///
    /// # Errors
    /// Returns an error if a statement fails.
    pub async fn shut(&self, shut: bool) -> anyhow::Result<()> {
        let (name, allowed) = (&self.name, !shut);
        let sql = format!(
            "alter database {name} allow_connections {allowed};
             select pg_terminate_backend(pid) from pg_stat_activity where {shut} and datname = '{name}'"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&self.admin).await?;
        Ok(())
    }

    /// Inserts and commits one row.
    pub async fn insert(&self) -> anyhow::Result<()> {
        sqlx::query("insert into bare values ($1, now())").bind(uuid::Uuid::now_v7()).execute(&self.pool).await?;
        Ok(())
    }

    /// Waits up to 30 s until every turn is settled, then compares the ledger with what the provider served.
    pub async fn compare(&self, provider: &str) -> anyhow::Result<String> {
        let began = Instant::now();
        while sqlx::query_scalar::<_, i64>("select count(*) from turn where meter_settled_at is null")
            .fetch_one(&self.pool)
            .await?
            > 0
        {
            ensure!(began.elapsed() < Duration::from_secs(30), "some turns were not settled within 30 s");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let journal: Vec<serde_json::Value> = serde_json::from_str(
            &crate::user::client()?.get(format!("{provider}/journal")).send().await?.text().await?,
        )?;
        // Calls of the pass-through send no system prompt, which distinguishes them from the server's.
        let (ledger, sum) = (self.ledger().await?, |key: &str, of: &[&serde_json::Value]| {
            of.iter().filter_map(|call| call[key].as_i64()).sum::<i64>()
        });
        let ours: Vec<&serde_json::Value> = journal.iter().filter(|call| call["system"] == true).collect();
        let input = sum("input", &ours) + sum("cache_read", &ours) + sum("cache_write", &ours);
        let served = (i64::try_from(ours.len())?, input, sum("output", &ours));
        ensure!(ledger == served, "the ledger has {ledger:?}, the provider served {served:?}");
        Ok(format!("{} calls, {} input and {} output tokens: equal", served.0, served.1, served.2))
    }

    async fn ledger(&self) -> anyhow::Result<(i64, i64, i64)> {
        let sql = "select count(*), coalesce(sum(input_tokens + cache_read_tokens + cache_write_tokens), 0)::bigint, coalesce(sum(output_tokens), 0)::bigint
                   from ai_usage where usage_source = 'exact'";
        Ok(sqlx::query_as(sql).fetch_one(&self.pool).await?)
    }

    /// Drops the database, terminating its connections.
    ///
    /// # Errors
    /// Returns an error if the query fails.
    pub async fn drop(self) -> anyhow::Result<()> {
        self.pool.close().await;
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!("drop database {} with (force)", self.name)))
            .execute(&self.admin)
            .await?;
        Ok(())
    }
}
