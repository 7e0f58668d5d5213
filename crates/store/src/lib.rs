//! All access to Postgres: one module of functions per noun. Every query for a user's rows has the user's id in its `WHERE` clause.

pub mod account;
pub mod account_rule;
pub mod account_token;
pub mod alert;
pub mod api_call;
pub mod api_key;
pub mod attachment;
pub mod attachment_data;
pub mod audit;
pub mod backdate;
pub mod billing_flag;
pub mod catalogue;
pub mod chat_settings;
pub mod checkout;
pub mod conversation;
mod db;
pub mod deleted_object;
pub mod deployment;
pub mod export;
pub mod external_identity;
pub mod factor_challenge;
pub mod feedback;
pub mod idle;
pub mod import;
pub mod invoice;
pub mod job;
pub mod known_browser;
pub mod ledger;
pub mod local_time;
pub mod message;
pub mod model;
pub mod model_rule;
pub mod passkey;
pub mod plan;
pub mod plan_rule;
pub mod plan_sale;
mod pool;
pub mod preset;
pub mod provider;
pub mod reconciliation;
pub mod recovery_code;
pub mod refusal;
pub mod retention;
pub mod rollup;
pub mod search;
pub mod security_event;
pub mod session;
pub mod share;
pub mod sign_in_state;
pub mod stripe_event;
pub mod subscription;
pub mod summary;
pub mod top_users;
pub mod totp;
pub mod turn;
pub mod usage;
pub mod usage_row;
mod watchdog;

pub use db::{Db, Tx};
pub use pool::Purpose;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::types::PgInterval;
use std::sync::LazyLock;

/// An error from Postgres, or stored data that can't be decoded.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A query, the connection or the pool failed.
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
    /// A migration failed.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
}

impl StoreError {
    /// Returns the name of the constraint that a value violates, if that is why the query failed.
    #[must_use]
    pub fn constraint(&self) -> Option<&str> {
        match self {
            Self::Sql(sqlx::Error::Database(error)) => error.constraint(),
            _ => None,
        }
    }
}

/// The result type of this crate's functions.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

static MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| {
    let mut migrations = sqlx::migrate!("../../migrations");
    // `newer_migrations` checks them instead: those of a newer release are accepted, those of another product are not.
    migrations.set_ignore_missing(true);
    migrations
});

/// Runs all pending migrations, as the owner of the tables, and grants the role `quotient_app` what it needs, if it exists. Servers that
/// start at the same time wait for each other.
///
/// # Errors
/// Returns an error if a migration fails, which is then rolled back, or under the conditions of [`newer_migrations`].
pub async fn migrate(db: &Db) -> Result<()> {
    newer_migrations(db).await?;
    db.migrate(&MIGRATIONS).await?;
    sqlx::query!("select grant_app_role()").fetch_one(db).await?;
    Ok(())
}

/// Returns whether all migrations of this build have been applied as they are here. Needs no privilege to change anything.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn is_migrated(db: &Db) -> Result<bool> {
    let applied = applied_migrations(db).await?;
    let is_applied = |migration: &sqlx::migrate::Migration| {
        applied.iter().any(|(version, sum)| *version == migration.version && sum.as_slice() == &*migration.checksum)
    };
    Ok(MIGRATIONS.iter().all(is_applied))
}

/// Lists the versions of migrations that a newer build has applied to the database, in ascending order. Empty unless this build is older
/// than the schema, as after a rollback, which works because migrations keep what the release before them uses.
///
/// # Errors
/// Returns an error if the query fails, or if the database has a migration that this build doesn't have and that is older than its latest
/// one: the database then belongs to another product or branch.
pub async fn newer_migrations(db: &Db) -> Result<Vec<i64>> {
    let latest = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
    let mut unknown: Vec<i64> = applied_migrations(db).await?.into_iter().map(|(version, _)| version).collect();
    unknown.retain(|version| MIGRATIONS.iter().all(|migration| migration.version != *version));
    unknown.sort_unstable();
    match unknown.first() {
        Some(foreign) if *foreign < latest => Err(MigrateError::VersionMissing(*foreign).into()),
        _ => Ok(unknown),
    }
}

/// Loads version and checksum of the migrations that were applied to the database. Empty if none were.
async fn applied_migrations(db: &Db) -> Result<Vec<(i64, Vec<u8>)>> {
    // sqlx creates this table itself, so the query macro can't check the statement.
    let applied = sqlx::query_as::<_, (i64, Vec<u8>)>("select version, checksum from _sqlx_migrations where success");
    match applied.fetch_all(db).await {
        Ok(applied) => Ok(applied),
        // undefined_table: nothing has been applied
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("42P01") => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

/// Returns the latest migration version in this build and the latest one applied to the database. The database may be ahead if a newer
/// server has migrated it.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn schema(db: &Db) -> Result<(i64, i64)> {
    let known = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
    // sqlx creates this table itself, outside our migrations, so the query macro can't check the statement.
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

/// Begins a read-only transaction whose snapshot is taken at its first statement.
///
/// # Errors
/// Returns an error if no connection is free in time or Postgres can't be reached.
pub async fn begin_reading(db: &Db) -> Result<Tx> {
    db.begin_with("begin isolation level repeatable read read only").await
}

/// Converts a duration to a Postgres interval in whole microseconds.
pub(crate) fn interval(duration: time::Duration) -> PgInterval {
    let microseconds = i64::try_from(duration.whole_microseconds()).unwrap_or(i64::MAX);
    PgInterval { months: 0, days: 0, microseconds }
}

/// Checks that Postgres responds to a query.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn ping(db: &Db) -> Result<()> {
    sqlx::query!("select 1 as one").fetch_one(db).await?;
    Ok(())
}
