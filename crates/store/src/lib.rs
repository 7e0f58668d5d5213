//! The door to Postgres: one file of plain functions per noun. Every query about a person's rows names its owner.

pub mod account;
pub mod account_rule;
pub mod alert;
pub mod audit;
pub mod billing_flag;
pub mod checkout;
pub mod conversation;
pub mod heaviest;
pub mod house;
pub mod invoice;
pub mod job;
pub mod ledger;
pub mod message;
pub mod model;
pub mod model_rule;
pub mod plan;
pub mod plan_rule;
pub mod reconciliation;
pub mod refusal;
pub mod session;
pub mod span;
pub mod stripe_event;
pub mod subscription;
pub mod turn;
pub mod usage;
pub mod usage_row;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use std::{str::FromStr, time::Duration};

/// A pool of connections.
pub type Db = sqlx::PgPool;
/// An open transaction; rolled back when dropped.
pub type Tx = sqlx::Transaction<'static, sqlx::Postgres>;

/// Postgres refused or can't be reached.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The query, the connection or the pool.
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
    /// A span that is none: its packing isn't ours.
    #[error("a span can't be read: {0}")]
    Span(postcard::Error),
    /// A migration.
    #[error(transparent)]
    Migrate(#[from] sqlx::migrate::MigrateError),
}

/// What every function here answers.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// What every connection of ours says first. Our queries are short: compiling one, or planning it anew over every partition each time,
/// costs more than running it.
const SETTINGS: &str = "set jit = off; set plan_cache_mode = force_generic_plan";
/// Long queries of the owner's tables end; they may read and not write.
const OWNERS_SETTINGS: &str = "set jit = off; set plan_cache_mode = force_generic_plan; set statement_timeout = '10s'; set default_transaction_read_only = on; set work_mem = '32MB'";

/// Opens a pool.
///
/// # Errors
/// When the URL can't be read or the database doesn't answer within five seconds.
pub async fn connect(url: &str, max_connections: u32) -> Result<Db> {
    pool(max_connections, SETTINGS).connect_with(options(url)?).await.map_err(Into::into)
}

/// A small pool of its own for the owner's tables, so that they never wait before a turn's queries; opened as it is needed.
///
/// # Errors
/// When the URL can't be read.
pub fn connect_owners(url: &str) -> Result<Db> {
    Ok(pool(4, OWNERS_SETTINGS).connect_lazy_with(options(url)?))
}

fn options(url: &str) -> Result<PgConnectOptions> {
    Ok(PgConnectOptions::from_str(url)?.application_name("quotient"))
}

fn pool(max_connections: u32, settings: &'static str) -> PgPoolOptions {
    PgPoolOptions::new().max_connections(max_connections).acquire_timeout(Duration::from_secs(5)).after_connect(
        move |connection, _| Box::pin(async move { sqlx::raw_sql(settings).execute(connection).await.map(drop) }),
    )
}

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations");

/// Brings the schema up to date; several servers starting at once wait for each other.
///
/// # Errors
/// When a migration fails; the schema is then as before it.
pub async fn migrate(db: &Db) -> Result<()> {
    Ok(MIGRATIONS.run(db).await?)
}

/// The last migration that this build knows, and the last that the database has had: another server may be newer.
///
/// # Errors
/// When Postgres does.
pub async fn schema(db: &Db) -> Result<(i64, i64)> {
    let known = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
    // The table is sqlx's own and in none of our migrations, so the macro can't check this.
    let found = sqlx::query_scalar("select coalesce(max(version), 0) from _sqlx_migrations where success");
    Ok((known, found.fetch_one(db).await?))
}

/// Begins a transaction.
///
/// # Errors
/// When no connection can be had.
pub async fn begin(db: &Db) -> Result<Tx> {
    Ok(db.begin().await?)
}

/// Begins a transaction that reads, and sees everything as it is at its first statement.
///
/// # Errors
/// When no connection can be had.
pub async fn begin_reading(db: &Db) -> Result<Tx> {
    Ok(db.begin_with("begin isolation level repeatable read read only").await?)
}

/// Whether Postgres answers.
///
/// # Errors
/// When it doesn't.
pub async fn ping(db: &Db) -> Result<()> {
    sqlx::query!("select 1 as one").fetch_one(db).await?;
    Ok(())
}
