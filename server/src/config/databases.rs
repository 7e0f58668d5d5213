//! Connections to Postgres and Redis.

use super::{Config, Variables};

/// Reads the section's variables. `DATABASE_URL` is required.
pub(super) fn read(vars: &Variables, config: &mut Config) {
    match vars.secret_text("DATABASE_URL") {
        Some(url) => config.database_url = url,
        None => {
            vars.report("DATABASE_URL", "required", "a Postgres URL, like postgres://user:password@127.0.0.1/database");
        }
    }
    config.migrate_database_url = vars.secret_text("MIGRATE_DATABASE_URL");
    config.redis_url = vars.secret_text("REDIS_URL");
}
