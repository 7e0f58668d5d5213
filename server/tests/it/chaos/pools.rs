//! The rules of the connection pools to Postgres, without a server.

use super::wire::Wire;
use crate::database::TestDatabase;
use sqlx::PgPool;
use std::time::Duration;
use store::{Db, Purpose, StoreError};
use tokio::time::Instant;

/// Size of a pool of [`Purpose::Commands`]. These pools have no watchdog, so what tests with them show is not its work.
const SIZE: usize = 4;
/// Longer than a connection may be unused without a ping before its next use.
const UNUSED: Duration = Duration::from_millis(1_100);

/// Runs a statement and returns the process id of the Postgres backend that served it.
async fn backend(db: &Db) -> Result<i32, StoreError> {
    Ok(sqlx::query_scalar("select pg_backend_pid()").fetch_one(db).await?)
}

/// Terminates a backend and waits until it is gone.
async fn terminate(owner: &PgPool, backend: i32) {
    let gone: bool =
        sqlx::query_scalar("select pg_terminate_backend($1, 60000)").bind(backend).fetch_one(owner).await.unwrap();
    assert!(gone);
}

/// Opens a transaction on every connection of a pool.
async fn take_all(db: &Db) -> Vec<store::Tx> {
    let mut taken = Vec::new();
    while taken.len() < SIZE {
        taken.push(store::begin(db).await.unwrap());
    }
    taken
}

/// Statements end after a time that depends on the pool's purpose, transactions of requests don't stay idle, and admin pages change nothing.
#[tokio::test]
async fn every_pool_has_its_session_settings() {
    let database = TestDatabase::with_test_catalogue().await;
    let purposes = [
        (Purpose::Requests, "off force_generic_plan 8s 1min off"),
        (Purpose::Reports, "off force_generic_plan 10s 0 on"),
        (Purpose::Jobs, "off force_generic_plan 10min 0 off"),
        (Purpose::Commands, "off force_generic_plan 0 0 off"),
    ];
    for (purpose, expected) in purposes {
        let db = Db::connect(&database.url(), purpose).await.unwrap();
        let settings: String = sqlx::query_scalar(
            "select concat_ws(' ', current_setting('jit'), current_setting('plan_cache_mode'), current_setting('statement_timeout'),
                              current_setting('idle_in_transaction_session_timeout'), current_setting('default_transaction_read_only'))",
        )
        .fetch_one(&db)
        .await
        .unwrap();
        assert_eq!(settings, expected, "{purpose:?}");
    }
}

/// A statement that finds no free connection waits, and is refused as a temporary failure after five seconds. A connection that becomes free
/// meanwhile goes to it.
#[tokio::test]
async fn statements_wait_a_limited_time_for_a_connection() {
    let database = TestDatabase::with_test_catalogue().await;
    let db = Db::connect(&database.url(), Purpose::Commands).await.unwrap();
    let mut taken = take_all(&db).await;
    // The paused clock advances to the next timer at once, since nothing else happens.
    tokio::time::pause();
    let began = Instant::now();
    let refused = store::begin(&db).await.unwrap_err();
    let waited = began.elapsed();
    tokio::time::resume();
    assert!(refused.is_unavailable(), "{refused}");
    assert!((4..=6).contains(&waited.as_secs()), "{waited:?}");

    let mut waiting = Box::pin(store::begin(&db));
    assert!(futures::poll!(waiting.as_mut()).is_pending());
    taken.pop().unwrap().commit().await.unwrap();
    waiting.await.unwrap();
}

/// A connection is used by one statement after the other. One that Postgres has closed fails at most the statement that begins right after,
/// and none once it was unused for a second, because it is pinged first.
#[tokio::test]
async fn closed_connections_are_replaced() {
    let database = TestDatabase::with_test_catalogue().await;
    let owner = database.connect().await;
    let db = Db::connect(&database.url(), Purpose::Commands).await.unwrap();
    let first = backend(&db).await.unwrap();
    assert_eq!(backend(&db).await.unwrap(), first);
    terminate(&owner, first).await;
    if let Err(error) = backend(&db).await {
        assert!(error.is_unavailable(), "{error}");
    }
    let second = backend(&db).await.unwrap();
    assert_ne!(second, first);
    terminate(&owner, second).await;
    tokio::time::sleep(UNUSED).await;
    assert_ne!(backend(&db).await.unwrap(), second);
}

/// A connection that no longer responds gives its place in the pool back: the ping before its next use and the rollback of a dropped transaction
/// have time limits.
#[tokio::test]
async fn frozen_connections_leave_the_pool() {
    let database = TestDatabase::with_test_catalogue().await;
    let (wire, url) = Wire::to_postgres(&database.url()).await;
    let db = Db::connect(&url, Purpose::Commands).await.unwrap();
    let unused = backend(&db).await.unwrap();
    wire.freeze();
    tokio::time::sleep(UNUSED).await;
    let recovery = async {
        assert_ne!(backend(&db).await.unwrap(), unused);
        let taken = take_all(&db).await;
        wire.freeze();
        drop(taken);
        while store::begin(&db).await.is_err() {}
    };
    tokio::time::timeout(Duration::from_secs(120), recovery).await.expect("the pool has a connection that works");
}

/// The watchdog replaces the pool also if its first attempt to connect again fails, so that Postgres doesn't count as down.
#[tokio::test]
async fn lost_connections_are_replaced_after_a_failed_attempt() {
    let database = TestDatabase::with_test_catalogue().await;
    let owner = database.connect().await;
    let (wire, url) = Wire::to_postgres(&database.url()).await;
    let db = Db::connect(&url, Purpose::Requests).await.unwrap();
    let mut taken = Vec::new();
    while taken.len() < 20 {
        taken.push(store::begin(&db).await.unwrap());
    }
    let watchdog_is_connected = "select count(*) = 1 from pg_stat_activity
        where datname = current_database() and application_name = 'quotient' and state = 'idle'";
    while !sqlx::query_scalar::<_, bool>(watchdog_is_connected).fetch_one(&owner).await.unwrap() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let before = wire.accepted();
    wire.set_silent(true);
    wire.freeze();
    while wire.accepted() == before {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    wire.set_silent(false);
    let recovery = async {
        // At once while Postgres counts as down, otherwise after five seconds.
        while store::begin(&db).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), recovery).await.expect("the frozen pool was replaced");
    assert_eq!(taken.len(), 20, "none was given back");
}
