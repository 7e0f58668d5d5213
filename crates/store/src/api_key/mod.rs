//! API keys: their rows, the caps in them, and who calls with one. `caller.rs` authenticates, `history.rs` reads the ledger by key.

mod caller;
mod history;

pub use caller::{authenticate, is_allowed_origin, mark_used};
pub use domain::ApiKey;
pub use history::{history, sweep_sums, usage_of_keys};

use crate::{Result, Tx};
use domain::{ApiEndpoint, ApiKeyId, ModelName, Picos, Tokens, TripReason, UserId};
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// Converts a row to an [`ApiKey`]. The columns that the view `viewer` also has must be selected as `key_name` and `key_models`.
macro_rules! from_row {
    ($row:ident) => {
        domain::ApiKey {
            id: $row.api_key_id.into(),
            user_id: $row.user_id.into(),
            name: $row.key_name,
            prefix: $row.prefix,
            models: $row.key_models.map(|models| models.into_iter().map(domain::ModelName).collect()),
            endpoints: $row
                .endpoints
                .map(|names| names.iter().filter_map(|name| domain::ApiEndpoint::parse(name)).collect()),
            requests_per_minute: $row.key_requests.and_then(|n| u64::try_from(n).ok()),
            tokens_per_day: $row.key_tokens.map(domain::Tokens::from_db),
            monthly: $row.dollars_per_month.and_then(domain::Picos::from_usd),
            allowed_origins: $row.allowed_origins,
            created_at: $row.created_at,
            last_used_at: $row.last_used_at,
            expires_at: $row.expires_at,
            revoked_at: $row.revoked_at,
            paused_at: $row.paused_at,
            pause_reason: $row.pause_reason,
            trip: $row.tripped_until.zip($row.trip_reason.as_deref().and_then(domain::TripReason::parse)),
        }
    };
}
pub(crate) use from_row;

/// What a key may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyScope {
    /// The models that it may call; `None` allows all of the plan.
    pub models: Option<Vec<ModelName>>,
    /// The endpoints that it may call; `None` allows all.
    pub endpoints: Option<Vec<ApiEndpoint>>,
    /// Maximum number of requests in any 60 seconds; at least 1.
    pub requests_per_minute: Option<i32>,
    /// Maximum number of tokens in any 24 hours; at least 1.
    pub tokens_per_day: Option<Tokens>,
    /// Maximum cost in any 30 days, in whole cents; more than zero.
    pub monthly: Option<Picos>,
    /// Origins of web pages that may call with it.
    pub allowed_origins: Vec<String>,
}

impl KeyScope {
    fn model_names(&self) -> Option<Vec<String>> {
        self.models.as_ref().map(|models| models.iter().map(|model| model.0.clone()).collect())
    }

    fn endpoint_names(&self) -> Option<Vec<String>> {
        self.endpoints.as_ref().map(|endpoints| endpoints.iter().map(|found| found.as_str().to_owned()).collect())
    }
}

/// A key to create.
pub struct NewApiKey<'a> {
    /// Its id.
    pub id: ApiKeyId,
    /// Its user.
    pub user_id: UserId,
    /// The name that the user gave it: 1 to 60 characters.
    pub name: &'a str,
    /// The first characters of the secret.
    pub prefix: &'a str,
    /// SHA-256 of the whole secret.
    pub secret_hash: &'a [u8; 32],
    /// What it may do.
    pub scope: &'a KeyScope,
    /// When it stops working; `None` if it never does.
    pub expires_at: Option<OffsetDateTime>,
    /// When it is created.
    pub now: OffsetDateTime,
}

/// The result of creating a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Creation {
    /// It was created.
    Created,
    /// The user has as many keys that still work as the plan allows: this number.
    TooMany(i32),
    /// The user has created too many keys in a day, most of which are revoked.
    TooOften,
}

/// Number of keys that a user can create in 24 hours, revoked ones included, beyond those that the plan allows.
const SPARE_A_DAY: i64 = 50;

/// Creates a key, unless the user has as many as the plan allows. The user's row is locked, so that requests at the same time don't exceed the
/// number.
///
/// # Errors
/// Returns an error if a query fails or the account doesn't exist.
pub async fn create(tx: &mut Tx, new: &NewApiKey<'_>) -> Result<Creation> {
    let max = sqlx::query_scalar!(
        "select p.api_keys from account a join plan p using (plan_id) where a.user_id = $1 for no key update of a",
        Uuid::from(new.user_id),
    )
    .fetch_one(&mut *tx)
    .await?;
    if count(&mut *tx, new.user_id, new.now).await? >= i64::from(max) {
        return Ok(Creation::TooMany(max));
    }
    let created = sqlx::query_scalar!(
        r#"select count(*) as "n!" from api_key where user_id = $1 and created_at > $2::timestamptz - interval '24 hours'"#,
        Uuid::from(new.user_id),
        new.now,
    );
    if created.fetch_one(&mut *tx).await? >= i64::from(max) + SPARE_A_DAY {
        return Ok(Creation::TooOften);
    }
    let (models, endpoints) = (new.scope.model_names(), new.scope.endpoint_names());
    sqlx::query!(
        "insert into api_key (api_key_id, user_id, name, prefix, secret_hash, models, endpoints, requests_per_minute, tokens_per_day,
                              dollars_per_month, allowed_origins, created_at, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        Uuid::from(new.id),
        Uuid::from(new.user_id),
        new.name,
        new.prefix,
        &new.secret_hash[..],
        models.as_deref(),
        endpoints.as_deref(),
        new.scope.requests_per_minute,
        new.scope.tokens_per_day.map(Tokens::to_db),
        new.scope.monthly.map(Picos::to_usd),
        &new.scope.allowed_origins,
        new.now,
        new.expires_at,
    )
    .execute(&mut *tx)
    .await?;
    Ok(Creation::Created)
}

/// Counts a user's keys that are neither revoked nor expired.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn count(db: impl PgExecutor<'_>, owner: UserId, now: OffsetDateTime) -> Result<i64> {
    Ok(sqlx::query_scalar!(
        r#"select count(*) as "n!" from api_key
           where user_id = $1 and revoked_at is null and (expires_at is null or expires_at > $2)"#,
        Uuid::from(owner),
        now,
    )
    .fetch_one(db)
    .await?)
}

/// Returns how many keys a user's plan allows; zero if the account doesn't exist.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn allowed(db: impl PgExecutor<'_>, owner: UserId) -> Result<i32> {
    let found = sqlx::query_scalar!(
        "select p.api_keys from account a join plan p using (plan_id) where a.user_id = $1",
        Uuid::from(owner),
    );
    Ok(found.fetch_optional(db).await?.unwrap_or(0))
}

/// Lists a user's keys that aren't revoked, the oldest first, expired ones included.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn list(db: impl PgExecutor<'_>, owner: UserId) -> Result<Vec<ApiKey>> {
    let rows = sqlx::query!(
        r#"select api_key_id, user_id, name as key_name, prefix, models as key_models, endpoints, requests_per_minute as key_requests,
                  tokens_per_day as key_tokens, dollars_per_month, allowed_origins, created_at, last_used_at, expires_at, revoked_at,
                  paused_at, pause_reason, tripped_until, trip_reason
           from api_key where user_id = $1 and revoked_at is null order by created_at, api_key_id"#,
        Uuid::from(owner),
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| from_row!(row)).collect())
}

/// Loads one of a user's keys, unless it is revoked.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn load(db: impl PgExecutor<'_>, owner: UserId, id: ApiKeyId) -> Result<Option<ApiKey>> {
    let row = sqlx::query!(
        r#"select api_key_id, user_id, name as key_name, prefix, models as key_models, endpoints, requests_per_minute as key_requests,
                  tokens_per_day as key_tokens, dollars_per_month, allowed_origins, created_at, last_used_at, expires_at, revoked_at,
                  paused_at, pause_reason, tripped_until, trip_reason
           from api_key where user_id = $1 and api_key_id = $2 and revoked_at is null"#,
        Uuid::from(owner),
        Uuid::from(id),
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| from_row!(row)))
}

/// Sets the name and the scope of one of a user's keys. Returns false if the user has no such key.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn update(
    db: impl PgExecutor<'_>,
    owner: UserId,
    id: ApiKeyId,
    name: &str,
    scope: &KeyScope,
) -> Result<bool> {
    let (models, endpoints) = (scope.model_names(), scope.endpoint_names());
    let done = sqlx::query!(
        "update api_key set name = $3, models = $4, endpoints = $5, requests_per_minute = $6, tokens_per_day = $7,
                            dollars_per_month = $8, allowed_origins = $9
         where user_id = $1 and api_key_id = $2 and revoked_at is null",
        Uuid::from(owner),
        Uuid::from(id),
        name,
        models.as_deref(),
        endpoints.as_deref(),
        scope.requests_per_minute,
        scope.tokens_per_day.map(Tokens::to_db),
        scope.monthly.map(Picos::to_usd),
        &scope.allowed_origins,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Pauses one of a user's keys. Returns false if the user has no such key. A key that is paused keeps its time and reason.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn pause(
    db: impl PgExecutor<'_>,
    owner: UserId,
    id: ApiKeyId,
    reason: Option<&str>,
    now: OffsetDateTime,
) -> Result<bool> {
    let done = sqlx::query!(
        "update api_key set pause_reason = case when paused_at is null then $3 else pause_reason end, paused_at = coalesce(paused_at, $4)
         where user_id = $1 and api_key_id = $2 and revoked_at is null",
        Uuid::from(owner),
        Uuid::from(id),
        reason,
        now,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Ends the pause of one of a user's keys, and what the loop breaker has refused it for. Returns false if the user has no such key.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn resume(db: impl PgExecutor<'_>, owner: UserId, id: ApiKeyId) -> Result<bool> {
    let done = sqlx::query!(
        "update api_key set paused_at = null, pause_reason = null, tripped_until = null, trip_reason = null
         where user_id = $1 and api_key_id = $2 and revoked_at is null",
        Uuid::from(owner),
        Uuid::from(id),
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Revokes one of a user's keys permanently. Returns its name and prefix; `None` if the user has no such key.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn revoke(
    db: impl PgExecutor<'_>,
    owner: UserId,
    id: ApiKeyId,
    now: OffsetDateTime,
) -> Result<Option<(String, String)>> {
    let row = sqlx::query!(
        "update api_key set revoked_at = $3 where user_id = $1 and api_key_id = $2 and revoked_at is null returning name, prefix",
        Uuid::from(owner),
        Uuid::from(id),
        now,
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| (row.name, row.prefix)))
}

/// A key that the loop breaker has begun to refuse.
pub struct TrippedKey {
    /// The key's id.
    pub id: ApiKeyId,
    /// Its user.
    pub user_id: UserId,
    /// The user's email.
    pub email: String,
    /// The name that the user gave the key.
    pub name: String,
    /// The first characters of its secret.
    pub prefix: String,
    /// Why it is refused.
    pub reason: TripReason,
}

/// Makes the loop breaker refuse a key until an instant. Returns the key; `None` if it is refused already or doesn't exist, so that of many
/// servers one reports it.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn trip(
    db: impl PgExecutor<'_>,
    id: ApiKeyId,
    reason: TripReason,
    until: OffsetDateTime,
    now: OffsetDateTime,
) -> Result<Option<TrippedKey>> {
    let row = sqlx::query!(
        "update api_key k set tripped_until = $2, trip_reason = $3 from account a
         where k.api_key_id = $1 and a.user_id = k.user_id and k.revoked_at is null
           and (k.tripped_until is null or k.tripped_until <= $4)
         returning k.user_id, k.name, k.prefix, a.email",
        Uuid::from(id),
        until,
        reason.as_str(),
        now,
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| TrippedKey {
        id,
        user_id: row.user_id.into(),
        email: row.email,
        name: row.name,
        prefix: row.prefix,
        reason,
    }))
}

/// Lists the keys that the loop breaker refuses at an instant, of all users, at most 100.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn list_tripped(db: impl PgExecutor<'_>, now: OffsetDateTime) -> Result<Vec<TrippedKey>> {
    let rows = sqlx::query!(
        r#"select k.api_key_id, k.user_id, k.name, k.prefix, k.trip_reason as "reason!", a.email
           from api_key k join account a using (user_id)
           where k.tripped_until > $1 and k.revoked_at is null order by k.tripped_until limit 100"#,
        now,
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .filter_map(|row| {
            Some(TrippedKey {
                reason: TripReason::parse(&row.reason)?,
                id: row.api_key_id.into(),
                user_id: row.user_id.into(),
                email: row.email,
                name: row.name,
                prefix: row.prefix,
            })
        })
        .collect())
}

/// Removes keys that were revoked, or expired, before an instant. Their ledger rows are kept.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn remove_ended(db: impl PgExecutor<'_>, before: OffsetDateTime) -> Result<()> {
    sqlx::query!("delete from api_key where revoked_at < $1 or expires_at < $1", before).execute(db).await?;
    Ok(())
}
