//! Databases of tests: copies of a migrated template, dropped once their test has finished.

use crate::settings::{env, owner_url};
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use std::mem;
use std::str::FromStr as _;
use std::sync::{Mutex, PoisonError};
use tokio::sync::OnceCell;
use uuid::Uuid;

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

/// Names of the template databases with all migrations applied, created once: with the test catalogue, and with the seed.
static TEMPLATE: OnceCell<String> = OnceCell::const_new();
static SEEDED: OnceCell<String> = OnceCell::const_new();

/// How many databases of finished tests are dropped at once. Postgres writes a checkpoint for each drop, which is cheap right after another.
const DROPPED_AT_ONCE: usize = 20;
/// Names of the databases whose tests have finished.
static FINISHED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// The database of one test. Every server that the test starts uses it, so it is kept until this value is dropped.
pub struct TestDatabase {
    name: String,
}

impl TestDatabase {
    /// Creates a database with the catalogue of most tests.
    pub async fn with_test_catalogue() -> Self {
        Self::copy(TEMPLATE.get_or_init(|| template(CATALOGUE)).await).await
    }

    /// Creates a database with the models and prices of the migrations.
    pub async fn seeded() -> Self {
        Self::copy(SEEDED.get_or_init(|| template("select 1")).await).await
    }

    async fn copy(template: &str) -> Self {
        let database = Self { name: format!("test_{}", Uuid::new_v4().simple()) };
        create_database(&database.name, template).await;
        database
    }

    /// Returns the URL with which a server connects.
    pub fn url(&self) -> String {
        let base = env("DATABASE_URL");
        let (head, _) = base.rsplit_once('/').unwrap();
        format!("{head}/{}", self.name)
    }

    /// Connects as the owner of the tables.
    pub async fn connect(&self) -> PgPool {
        PgPoolOptions::new().max_connections(4).connect_with(owner().database(&self.name)).await.unwrap()
    }

    /// Terminates all connections and refuses new ones. Returns a connection that can allow them again, and the database's name.
    pub async fn shut(&self) -> (PgPool, String) {
        let (admin, name) = (connect(owner()).await, self.name.clone());
        let sql = format!(
            "alter database {name} allow_connections false;
             select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&admin).await.unwrap();
        (admin, name)
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        FINISHED.lock().unwrap_or_else(PoisonError::into_inner).push(mem::take(&mut self.name));
    }
}

fn owner() -> PgConnectOptions {
    PgConnectOptions::from_str(&owner_url()).unwrap()
}

async fn connect(options: PgConnectOptions) -> PgPool {
    PgPoolOptions::new().max_connections(1).connect_with(options).await.unwrap()
}

async fn template(catalogue: &'static str) -> String {
    let name = format!("template_{}", Uuid::new_v4().simple());
    create_database(&name, "template0").await;
    let pool = connect(owner().database(&name)).await;
    store::migrate(&(&pool).into()).await.unwrap();
    sqlx::raw_sql(catalogue).execute(&pool).await.unwrap();
    // Postgres can't copy a database that has open connections.
    pool.close().await;
    name
}

/// Takes the names of the databases to drop, if there are enough of them.
fn finished() -> Vec<String> {
    let mut names = FINISHED.lock().unwrap_or_else(PoisonError::into_inner);
    if names.len() < DROPPED_AT_ONCE { Vec::new() } else { mem::take(&mut names) }
}

/// Creates a database as a copy of its template's files, after dropping those of finished tests. Their servers may still be connected until
/// their runtimes end, hence `force`.
async fn create_database(name: &str, template: &str) {
    let admin = connect(owner()).await;
    for finished in finished() {
        let sql = format!("drop database if exists {finished} with (force)");
        if sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&admin).await.is_err() {
            // Postgres waits five seconds for their connections to end. The database is dropped with the next ones.
            FINISHED.lock().unwrap_or_else(PoisonError::into_inner).push(finished);
        }
    }
    let sql = format!("create database {name} template {template} strategy file_copy");
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&admin).await.unwrap();
    admin.close().await;
}
