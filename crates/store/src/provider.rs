//! LLM providers: endpoints and how they are called. Their API keys are never stored, only the names of the environment variables that hold
//! them.

use crate::Result;
use crate::model::{signed, unsigned};
use domain::{Provider, ProviderName};
use sqlx::PgExecutor;

/// A row of `provider`.
struct Row {
    provider: String,
    label: String,
    wire_format: String,
    base_url: Option<String>,
    key_variable: Option<String>,
    connect_timeout_ms: Option<i32>,
    first_byte_timeout_ms: Option<i32>,
    idle_timeout_ms: Option<i32>,
    max_in_flight: Option<i32>,
}

impl Row {
    /// Converts the row. Returns `None` if this release doesn't support the wire format.
    fn read(self) -> Option<Provider> {
        Some(Provider {
            name: ProviderName(self.provider),
            label: self.label,
            wire_format: self.wire_format.parse().ok()?,
            base_url: self.base_url,
            key_variable: self.key_variable,
            connect_timeout_ms: unsigned(self.connect_timeout_ms),
            first_byte_timeout_ms: unsigned(self.first_byte_timeout_ms),
            idle_timeout_ms: unsigned(self.idle_timeout_ms),
            max_in_flight: unsigned(self.max_in_flight),
        })
    }
}

/// Lists all providers by name.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn list(db: impl PgExecutor<'_>) -> Result<Vec<Provider>> {
    let rows = sqlx::query_as!(
        Row,
        "select provider, label, wire_format, base_url, key_variable, connect_timeout_ms, first_byte_timeout_ms, idle_timeout_ms,
                max_in_flight
         from provider order by provider"
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().filter_map(Row::read).collect())
}

/// Loads a provider.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn find(db: impl PgExecutor<'_>, name: &ProviderName) -> Result<Option<Provider>> {
    let row = sqlx::query_as!(
        Row,
        "select provider, label, wire_format, base_url, key_variable, connect_timeout_ms, first_byte_timeout_ms, idle_timeout_ms,
                max_in_flight
         from provider where provider = $1",
        name.0,
    )
    .fetch_optional(db)
    .await?;
    Ok(row.and_then(Row::read))
}

/// Adds a provider, or replaces all settings of the one with this name. Every server uses them from its next turn on.
///
/// # Errors
/// Returns an error if the query fails or a value violates a constraint; [`crate::StoreError::constraint`] names it.
pub async fn save(db: impl PgExecutor<'_>, provider: &Provider) -> Result<()> {
    sqlx::query!(
        "insert into provider (provider, label, wire_format, base_url, key_variable, connect_timeout_ms, first_byte_timeout_ms,
                               idle_timeout_ms, max_in_flight)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         on conflict (provider) do update set label = excluded.label, wire_format = excluded.wire_format, base_url = excluded.base_url,
           key_variable = excluded.key_variable, connect_timeout_ms = excluded.connect_timeout_ms,
           first_byte_timeout_ms = excluded.first_byte_timeout_ms, idle_timeout_ms = excluded.idle_timeout_ms,
           max_in_flight = excluded.max_in_flight",
        provider.name.0,
        provider.label,
        provider.wire_format.as_str(),
        provider.base_url,
        provider.key_variable,
        signed(provider.connect_timeout_ms),
        signed(provider.first_byte_timeout_ms),
        signed(provider.idle_timeout_ms),
        signed(provider.max_in_flight),
    )
    .execute(db)
    .await?;
    Ok(())
}

/// The result of removing a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removed {
    /// It was removed.
    Yes,
    /// It doesn't exist.
    NotFound,
    /// A model, possibly one that is switched off, belongs to it; nothing was removed.
    InUse,
}

/// Removes a provider that no model belongs to.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn remove(db: impl PgExecutor<'_>, name: &ProviderName) -> Result<Removed> {
    let row = sqlx::query!(
        r#"with removed as (
             delete from provider p where p.provider = $1 and not exists (select from model m where m.provider = p.provider) returning 1
           )
           select exists (select from removed) as "is_removed!", exists (select from provider where provider = $1) as "is_known!""#,
        name.0,
    )
    .fetch_one(db)
    .await;
    match row {
        Ok(row) if row.is_removed => Ok(Removed::Yes),
        Ok(row) if row.is_known => Ok(Removed::InUse),
        Ok(_) => Ok(Removed::NotFound),
        // A model was added to it while this statement ran.
        Err(error) if error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_foreign_key_violation) => {
            Ok(Removed::InUse)
        }
        Err(error) => Err(error.into()),
    }
}
