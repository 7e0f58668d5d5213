//! All access to Postgres: one file of plain functions per noun. Every query about a user's rows has the owner in its WHERE clause.

pub mod account;
pub mod account_rule;
pub mod alert;
pub mod audit;
pub mod billing_flag;
pub mod checkout;
pub mod conversation;
mod db;
pub mod deployment;
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
pub mod top_users;
pub mod turn;
pub mod usage;
pub mod usage_row;
mod watchdog;

pub use db::{Db, Purpose, Tx};

use sqlx::postgres::types::PgInterval;

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

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations");

/// Brings the schema up to date; several servers starting at once wait for each other.
///
/// # Errors
/// Returns an error if a migration fails; that migration is then rolled back.
pub async fn migrate(db: &Db) -> Result<()> {
    db.migrate(&MIGRATIONS).await
}

/// The last migration that this build knows, and the last that the database has had: another server may be newer.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn schema(db: &Db) -> Result<(i64, i64)> {
    let known = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
    // The table is sqlx's own and in none of our migrations, so the macro can't check this.
    let found = sqlx::query_scalar("select coalesce(max(version), 0) from _sqlx_migrations where success");
    Ok((known, found.fetch_one(db).await?))
}

/// Begins a transaction.
///
/// # Errors
/// Returns an error if no connection is free in time or Postgres can't be reached.
pub async fn begin(db: &Db) -> Result<Tx> {
    db.begin_with("begin").await
}

/// Begins a transaction that reads, and sees everything as it is at its first statement.
///
/// # Errors
/// Returns an error if no connection is free in time or Postgres can't be reached.
pub async fn begin_reading(db: &Db) -> Result<Tx> {
    db.begin_with("begin isolation level repeatable read read only").await
}

/// A pause as Postgres' interval, whole microseconds.
pub(crate) fn interval(pause: time::Duration) -> PgInterval {
    let microseconds = i64::try_from(pause.whole_microseconds()).unwrap_or(i64::MAX);
    PgInterval { months: 0, days: 0, microseconds }
}

/// Whether Postgres answers.
///
/// # Errors
/// When it doesn't.
pub async fn ping(db: &Db) -> Result<()> {
    sqlx::query!("select 1 as one").fetch_one(db).await?;
    Ok(())
}
