//! The database role of the server: it owns nothing, so that what makes it run a foreign statement can't change ledger or audit log.

use crate::app::TestApp;
use crate::settings::owner_url;
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use std::str::FromStr as _;

/// SQLSTATE of a missing privilege, and of an exception that a trigger raises.
const DENIED: &str = "42501";
const RAISED: &str = "P0001";

/// Connects as the server does.
async fn as_server(app: &TestApp) -> PgPool {
    let options = PgConnectOptions::from_str(&app.config.database_url).unwrap();
    PgPoolOptions::new().max_connections(1).connect_with(options).await.unwrap()
}

/// Returns the SQLSTATE with which a statement fails; empty if it succeeds.
async fn state(db: &PgPool, sql: &'static str) -> String {
    match sqlx::raw_sql(sql).execute(db).await {
        Ok(_) => String::new(),
        Err(sqlx::Error::Database(error)) => error.code().unwrap_or_default().into_owned(),
        Err(error) => panic!("{sql}: {error}"),
    }
}

#[tokio::test]
async fn the_server_owns_nothing_and_is_no_superuser() {
    let app = TestApp::new().await;
    let db = as_server(&app).await;
    let role = "select current_user = 'quotient_app' and not rolsuper and not rolcreatedb and not rolcreaterole and not rolbypassrls
                from pg_roles where rolname = current_user";
    assert!(sqlx::query_scalar::<_, bool>(role).fetch_one(&db).await.unwrap(), "run the tests with ./dev test");
    let owned = "select count(*) from pg_class c join pg_roles r on r.oid = c.relowner where r.rolname = current_user";
    assert_eq!(sqlx::query_scalar::<_, i64>(owned).fetch_one(&db).await.unwrap(), 0);
    for sql in [
        "create table mine (id int)",
        "create table public.mine (id int)",
        "drop table audit",
        "alter table ai_usage disable trigger all",
        "drop trigger audit_guard on audit",
        "create or replace function audit_guard() returns trigger language plpgsql as 'begin return new; end'",
        "set session_replication_role = replica",
        "select * from pg_authid",
        "select grant_app_role()",
        "insert into _sqlx_migrations select * from _sqlx_migrations",
        "create role another superuser",
    ] {
        assert_eq!(state(&db, sql).await, DENIED, "{sql}");
    }
}

#[tokio::test]
async fn the_server_cannot_change_ledger_or_audit_rows() {
    let app = TestApp::new().await;
    let (mut admin, ann) = (app.user("admin@example.com").await, app.user("ann@example.com").await);
    ann.send_and_read("{{words:3}}").await;
    let id: uuid::Uuid = app.one("select user_id from account where email = 'ann@example.com'").await;
    admin.form(&format!("/admin/users/{id}/plan"), &[("plan", "pro")]).await;
    app.until("select bool_and(status = 'finished') from ai_usage").await;
    let (calls, entries) = ("select jsonb_agg(u)::text from ai_usage u", "select jsonb_agg(a)::text from audit a");
    let before = (app.one::<String>(calls).await, app.one::<String>(entries).await);
    let db = as_server(&app).await;
    for (sql, expected) in [
        ("update audit set action = 'nothing'", DENIED),
        ("delete from audit", DENIED),
        ("truncate audit", DENIED),
        ("delete from ai_usage", DENIED),
        ("truncate ai_usage", DENIED),
        ("update ai_usage set cost_usd = 0", RAISED),
        ("update ai_usage set status = 'pending', settled_at = null", RAISED),
        ("select ai_usage_drop('infinity')", ""),
    ] {
        assert_eq!(state(&db, sql).await, expected, "{sql}");
    }
    let partition = "select relname::text from pg_class c join pg_inherits i on i.inhrelid = c.oid
                     where i.inhparent = 'ai_usage'::regclass order by 1 limit 1";
    let partition: String = app.one(partition).await;
    for sql in [format!("select * from {partition}"), format!("update {partition} set cost_usd = 0")] {
        let error = sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&db).await.unwrap_err();
        assert_eq!(error.as_database_error().unwrap().code().as_deref(), Some(DENIED));
    }
    assert_eq!((app.one::<String>(calls).await, app.one::<String>(entries).await), before);
    // What the server does is possible: deleting an account leaves both without its user.
    admin.form("/sign-out", &[]).await;
    let mut ann = ann;
    let done = ann.form("/settings/delete", &[("password", crate::app::PASSWORD)]).await;
    assert_eq!(super::redirect(&done), "/");
    assert!(app.one::<bool>("select bool_and(user_id is null) from ai_usage").await);
    assert!(app.one::<bool>("select bool_and(target_user_id is null and target_email is not null) from audit").await);
}

/// The hourly job creates months of the ledger, which belong to the owner, and drops old ones, but never the last four.
#[tokio::test]
async fn the_server_maintains_the_months_of_the_ledger() {
    let app = TestApp::new().await;
    let db = as_server(&app).await;
    let ahead = "select ai_usage_create_partitions(now(), now() + interval '6 months')";
    assert_eq!(state(&db, ahead).await, "");
    let owners = "select count(distinct c.relowner) from pg_class c where c.relname like 'ai\\_usage%' and c.relkind in ('r', 'p')";
    assert_eq!(app.one::<i64>(owners).await, 1);
    let last = "select exists (select from pg_class where relname = to_char(now() at time zone 'UTC' + interval '6 months', '\"ai_usage_\"YYYY_MM'))";
    assert!(app.one::<bool>(last).await);
    app.sql("select ai_usage_create_partitions(now() - interval '8 months', now())").await;
    assert_eq!(state(&db, "select ai_usage_drop(now())").await, "");
    let oldest =
        "select min(c.relname::text) = to_char(now() at time zone 'UTC' - interval '4 months', '\"ai_usage_\"YYYY_MM')
                  from pg_class c join pg_inherits i on i.inhrelid = c.oid where i.inhparent = 'ai_usage'::regclass";
    assert!(app.one::<bool>(oldest).await);
}

/// A month of the ledger is created without a deadlock with a transaction that has changed what the ledger refers to, and then uses the ledger.
#[tokio::test]
async fn a_new_month_waits_before_it_locks_the_ledger() {
    let app = TestApp::new().await;
    let mut tx = app.db.begin().await.unwrap();
    sqlx::query("delete from model_price where false").execute(&mut *tx).await.unwrap();
    let db = app.db.clone();
    let created = tokio::spawn(async move {
        sqlx::query("select ai_usage_create_partitions(now(), now() + interval '6 months')").execute(&db).await
    });
    // Databases that were copied from the same template have the same ids of tables, and all of them share `pg_locks`.
    app.until(
        "select exists (select from pg_locks where relation = 'model_price'::regclass and not granted
                        and database = (select oid from pg_database where datname = current_database()))",
    )
    .await;
    let held = "select count(*) from pg_locks where relation = 'ai_usage'::regclass and mode = 'AccessExclusiveLock'
                and database = (select oid from pg_database where datname = current_database())";
    assert_eq!(app.one::<i64>(held).await, 0);
    sqlx::query("select count(*) from ai_usage").execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    created.await.unwrap().unwrap();
}

/// A server whose role may not migrate starts on a migrated database only.
#[tokio::test]
async fn pending_migrations_need_the_owner() {
    let app = TestApp::new().await;
    app.sql("delete from _sqlx_migrations where version = (select max(version) from _sqlx_migrations)").await;
    let error = server::build(app.config.clone()).await.err().expect("the role may not migrate");
    assert!(format!("{error:#}").contains("MIGRATE_DATABASE_URL"), "{error:#}");
}

/// Field note 96: a server of the previous release starts on a schema that a newer one has migrated, with and without the owner's URL, and
/// so do subcommands. Migrations that neither has belong to another product.
#[tokio::test]
async fn an_older_server_starts_on_a_newer_schema() {
    let app = TestApp::new().await;
    let insert = "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
                  values (9999, 'of a newer release', true, '\\x00', 0)";
    app.sql(insert).await;
    let (url, _stop) = app.start_second().await;
    let ready = reqwest::get(format!("{url}/readyz")).await.unwrap();
    assert_eq!(ready.status(), http::StatusCode::OK);
    let owner = Some(owner_of(&app));
    let (url, _stop) = app.start_second_with(|config| config.migrate_database_url = owner.clone()).await;
    let mut ann = app.user("ann@example.com").await;
    ann.url = url;
    ann.send_and_read("{{words:3}}").await;
    let config = server::Config { migrate_database_url: owner, ..app.config.clone() };
    server::cli::run(server::cli::Command::Migrate, &config, &mut Vec::new()).await.unwrap();
    let admin = app.user("admin@example.com").await;
    assert!(admin.text("/admin/health").await.contains("newer than this server"));

    app.sql("update _sqlx_migrations set version = 0 where version = 9999").await;
    let error = server::build(app.config.clone()).await.err().expect("the schema is of another product");
    assert!(format!("{error:#}").contains("missing"), "{error:#}");
}

/// Returns the URL with which the owner of the tables connects to a deployment's database.
fn owner_of(app: &TestApp) -> String {
    let (head, name) = (owner_url(), app.config.database_url.clone());
    let ((head, _), (_, name)) = (head.rsplit_once('/').unwrap(), name.rsplit_once('/').unwrap());
    format!("{head}/{name}")
}

/// A role that is created after the migrations gets its privileges when they run again.
#[tokio::test]
async fn privileges_are_granted_again_after_they_were_lost() {
    let app = TestApp::new().await;
    app.sql("revoke all on all tables in schema public from quotient_app").await;
    let db = as_server(&app).await;
    assert_eq!(state(&db, "select from account").await, DENIED);
    let mut config = app.config.clone();
    config.migrate_database_url = Some(owner_of(&app));
    server::cli::run(server::cli::Command::Migrate, &config, &mut Vec::new()).await.unwrap();
    assert_eq!(state(&db, "select from account").await, "");
    assert_eq!(state(&db, "delete from audit").await, DENIED);
}
