//! Applies migrations before the server or a subcommand uses the database.

use crate::Config;
use anyhow::Context as _;
use store::{Db, Purpose};

/// Applies pending migrations: with the owner's connection if `MIGRATE_DATABASE_URL` is set, otherwise with the server's own, and only if
/// something is pending. A server whose role owns nothing therefore starts on a database that `quotient migrate` has migrated.
///
/// A newer schema, as after a rollback to an older release, is accepted and logged (field note 96).
///
/// # Errors
/// Returns an error if Postgres can't be reached, a migration fails, or the database has migrations of another product.
pub(crate) async fn migrate(config: &Config) -> anyhow::Result<()> {
    let Some(url) = &config.migrate_database_url else {
        let db = connect(&config.database_url, "DATABASE_URL").await?;
        warn_of_newer_schema(&db).await?;
        if store::is_migrated(&db).await.context("applied migrations")? {
            return Ok(());
        }
        return store::migrate(&db)
            .await
            .context("migrations, with DATABASE_URL; MIGRATE_DATABASE_URL names the owner of the tables");
    };
    let owner = connect(url, "MIGRATE_DATABASE_URL").await?;
    warn_of_newer_schema(&owner).await?;
    store::migrate(&owner).await.context("migrations")
}

/// Logs the migrations that a newer release has applied.
async fn warn_of_newer_schema(db: &Db) -> anyhow::Result<()> {
    let newer = store::newer_migrations(db).await.context("applied migrations")?;
    if !newer.is_empty() {
        tracing::warn!(
            migrations = ?newer,
            "the database was migrated by a newer release; this one runs on its schema. Go back by one release at most"
        );
    }
    Ok(())
}

async fn connect(url: &str, name: &str) -> anyhow::Result<Db> {
    Db::connect(url, Purpose::Commands).await.with_context(|| format!("can't connect to Postgres at {name}"))
}
