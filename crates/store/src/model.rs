//! Models and their prices.

use crate::{Db, Result};
use domain::{
    MicrosPerMillion, Model, ModelName, OutputLimit, Price, PriceList, Provider, ProviderName, Thinking, Tokens,
};
use sqlx::PgExecutor;
use time::{Date, OffsetDateTime};
use uuid::Uuid;

/// Lists all enabled models, in the order of the model picker.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn list(db: impl PgExecutor<'_>) -> Result<Vec<Model>> {
    let rows = sqlx::query_as!(
        Row,
        r#"select m.model as "model?", m.label as "label?", m.context as "context?", m.max_output as "max_output?", m.fallback,
                  m.hedge_after_ms, m.input_permille, m.output_limit, m.thinking as "thinking?", m.takes_images as "takes_images?", m.efforts as "efforts?", m.min_cacheable,
                  m.first_byte_timeout_ms, m.idle_timeout_ms, m.ends_at,
                  v.provider as "provider?", v.label as "provider_label?", v.wire_format as "wire_format?", v.base_url, v.key_variable,
                  v.connect_timeout_ms, v.first_byte_timeout_ms as provider_first_byte_timeout_ms,
                  v.idle_timeout_ms as provider_idle_timeout_ms, v.max_in_flight
           from model m join provider v using (provider) where m.enabled order by m.sort, m.model"#
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().filter_map(Row::read).collect())
}

/// A row of `model` with its provider. Queries that join it from the left get no values where no model matches, so every column may be null.
pub(crate) struct Row {
    pub model: Option<String>,
    pub label: Option<String>,
    pub context: Option<i64>,
    pub max_output: Option<i64>,
    pub fallback: Option<String>,
    pub hedge_after_ms: Option<i32>,
    pub input_permille: Option<i64>,
    pub output_limit: Option<String>,
    pub thinking: Option<String>,
    pub takes_images: Option<bool>,
    pub efforts: Option<Vec<String>>,
    pub min_cacheable: Option<i64>,
    pub first_byte_timeout_ms: Option<i32>,
    pub idle_timeout_ms: Option<i32>,
    pub ends_at: Option<Date>,
    pub provider: Option<String>,
    pub provider_label: Option<String>,
    pub wire_format: Option<String>,
    pub base_url: Option<String>,
    pub key_variable: Option<String>,
    pub connect_timeout_ms: Option<i32>,
    pub provider_first_byte_timeout_ms: Option<i32>,
    pub provider_idle_timeout_ms: Option<i32>,
    pub max_in_flight: Option<i32>,
}

/// Moves the columns of [`Row`] out of a query's row that has others too. The columns have the names of the fields, as in [`list`].
macro_rules! from_row {
    ($row:ident) => {
        crate::model::Row {
            model: $row.model,
            label: $row.label,
            context: $row.context,
            max_output: $row.max_output,
            fallback: $row.fallback,
            hedge_after_ms: $row.hedge_after_ms,
            input_permille: $row.input_permille,
            output_limit: $row.output_limit,
            thinking: $row.thinking,
            takes_images: $row.takes_images,
            efforts: $row.efforts,
            min_cacheable: $row.min_cacheable,
            first_byte_timeout_ms: $row.first_byte_timeout_ms,
            idle_timeout_ms: $row.idle_timeout_ms,
            ends_at: $row.ends_at,
            provider: $row.provider,
            provider_label: $row.provider_label,
            wire_format: $row.wire_format,
            base_url: $row.base_url,
            key_variable: $row.key_variable,
            connect_timeout_ms: $row.connect_timeout_ms,
            provider_first_byte_timeout_ms: $row.provider_first_byte_timeout_ms,
            provider_idle_timeout_ms: $row.provider_idle_timeout_ms,
            max_in_flight: $row.max_in_flight,
        }
    };
}
pub(crate) use from_row;

impl Row {
    /// Converts the row. Returns `None` if it is empty or if this release doesn't support the wire format.
    pub(crate) fn read(self) -> Option<Model> {
        Some(Model {
            name: ModelName(self.model?),
            label: self.label?,
            provider: Provider {
                name: ProviderName(self.provider?),
                label: self.provider_label?,
                wire_format: self.wire_format?.parse().ok()?,
                base_url: self.base_url,
                key_variable: self.key_variable,
                connect_timeout_ms: unsigned(self.connect_timeout_ms),
                first_byte_timeout_ms: unsigned(self.provider_first_byte_timeout_ms),
                idle_timeout_ms: unsigned(self.provider_idle_timeout_ms),
                max_in_flight: unsigned(self.max_in_flight),
            },
            context: Tokens::from_db(self.context?),
            max_output: Tokens::from_db(self.max_output?),
            fallback: self.fallback.map(ModelName),
            hedge_after_ms: unsigned(self.hedge_after_ms),
            input_permille: self.input_permille.and_then(|permille| u64::try_from(permille).ok()),
            output_limit: self.output_limit.and_then(|name| name.parse().ok()),
            thinking: self.thinking.and_then(|name| name.parse().ok()).unwrap_or_default(),
            takes_images: self.takes_images.unwrap_or(false),
            efforts: self.efforts.unwrap_or_default(),
            min_cacheable: self.min_cacheable.map(Tokens::from_db),
            first_byte_timeout_ms: unsigned(self.first_byte_timeout_ms),
            idle_timeout_ms: unsigned(self.idle_timeout_ms),
            ends_at: self.ends_at,
        })
    }
}

/// Converts a number that a check constraint keeps from being negative.
pub(crate) fn unsigned(number: Option<i32>) -> Option<u32> {
    number.and_then(|number| u32::try_from(number).ok())
}

/// Converts a number to Postgres' `int`. Saturates.
pub(crate) fn signed(number: Option<u32>) -> Option<i32> {
    number.map(|number| i32::try_from(number).unwrap_or(i32::MAX))
}

/// Updates `input_permille` of each model: the input tokens that its provider counts per thousand tokens of our estimate. It is the 99th
/// percentile of the last thousand calls with exact usage, so that estimates err slightly high. Models with fewer than 200 such calls keep
/// their value.
/// API calls are left out: what their users choose to send, such as tools and images at addresses, is counted by upper bounds, and would
/// lower the estimates of everyone.
///
/// `newest` bounds the work: the maximum number of ledger rows, of all models, that are read in the order of the primary key.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn update_estimates(db: impl PgExecutor<'_>, since: OffsetDateTime, newest: i64) -> Result<()> {
    sqlx::query!(
        "update model m set input_permille = learned.permille
         from (
           select model, least(5000, greatest(500, ceil(percentile_disc(0.99) within group (order by permille))))::bigint as permille
           from (
             select model, (input_tokens + cache_read_tokens + cache_write_tokens)::numeric * 1000 / counted_tokens as permille,
                    row_number() over (partition by model order by created_at desc) as recency
             from (select * from ai_usage where created_at >= $1 order by created_at desc limit $2) recent
             where usage_source = 'exact' and corrects is null and output_tokens > 0 and counted_tokens > 0 and purpose <> 'api'
           ) call
           where recency <= 1000 group by model having count(*) >= 200
         ) learned
         where m.model = learned.model and m.input_permille is distinct from learned.permille",
        since,
        newest,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Stores the request field that a model's server accepts for the output limit.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn set_output_limit(db: impl PgExecutor<'_>, model: &ModelName, limit: OutputLimit) -> Result<()> {
    sqlx::query!(
        "update model set output_limit = $2 where model = $1 and output_limit is distinct from $2",
        model.0,
        limit.as_str(),
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Returns the price list of a model at an instant, with the newest row in effect for each tier. Returns `None` if the model has no price,
/// in which case it can't be called.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn price(db: impl PgExecutor<'_>, model: &ModelName, at: OffsetDateTime) -> Result<Option<PriceList>> {
    let rows = sqlx::query!(
        r#"select distinct on (coalesce(above_tokens, 0))
                  model_price_id, coalesce(above_tokens, 0) as "above!", input_micros_per_million as input,
                  cache_read_micros_per_million as cache_read, cache_write_micros_per_million as cache_write,
                  cache_write_long_micros_per_million as cache_write_long, output_micros_per_million as output
           from model_price where model = $1 and effective_at <= $2
           order by coalesce(above_tokens, 0), effective_at desc"#,
        model.0,
        at,
    )
    .fetch_all(db)
    .await?;
    let tiers = rows.into_iter().map(|row| Price {
        id: row.model_price_id.into(),
        above: Tokens::from_db(row.above),
        input: MicrosPerMillion(row.input),
        cache_read: row.cache_read.map(MicrosPerMillion),
        cache_write: row.cache_write.map(MicrosPerMillion),
        cache_write_long: row.cache_write_long.map(MicrosPerMillion),
        output: MicrosPerMillion(row.output),
    });
    Ok(PriceList::new(tiers.collect()))
}

/// A model to add, or an existing model's new price and changed settings. `None` keeps an existing model's value.
pub struct NewModel<'a> {
    /// The model's name in the provider's API.
    pub name: &'a ModelName,
    /// Display name. Defaults to `name` for a new model.
    pub label: Option<&'a str>,
    /// The provider, which must exist.
    pub provider: &'a ProviderName,
    /// Maximum number of tokens of prompt and response together. Defaults to 128 000 for a new model.
    pub context: Option<Tokens>,
    /// Maximum number of tokens of a response. Defaults to 16 384 for a new model.
    pub max_output: Option<Tokens>,
    /// Whether it reasons before it answers. Defaults to never for a new model.
    pub thinking: Option<Thinking>,
    /// Whether it reads images. Defaults to no for a new model.
    pub takes_images: Option<bool>,
    /// Reasoning efforts that can be requested, lowest first.
    pub efforts: Option<&'a [String]>,
    /// Smallest prompt that is cached at an explicit breakpoint.
    pub min_cacheable: Option<Tokens>,
    /// The request field that limits its output.
    pub output_limit: Option<OutputLimit>,
    /// Maximum time to the response head, in milliseconds.
    pub first_byte_timeout_ms: Option<u32>,
    /// Maximum silence within a response, in milliseconds.
    pub idle_timeout_ms: Option<u32>,
    /// The day on which its provider switches it off.
    pub ends_at: Option<Date>,
    /// Price per million input tokens.
    pub input: MicrosPerMillion,
    /// Price per million input tokens read from a cache; `None` uses the input price.
    pub cache_read: Option<MicrosPerMillion>,
    /// Price per million input tokens written to a cache; `None` uses the input price.
    pub cache_write: Option<MicrosPerMillion>,
    /// Price per million input tokens written to a cache with the longer lifetime; `None` uses the price of `cache_write`.
    pub cache_write_long: Option<MicrosPerMillion>,
    /// Price per million output tokens.
    pub output: MicrosPerMillion,
    /// Plans that allow the model, in addition to those that already do. `None` adds a new model to every plan.
    pub plans: Option<&'a [String]>,
}

/// Adds a model, or changes an existing one, with a price that takes effect at `now`, in one transaction. Earlier prices don't change, and
/// a disabled model stays disabled. Returns whether the model is enabled.
///
/// # Errors
/// Returns an error if the query fails, or the provider or a plan doesn't exist.
pub async fn add(db: &Db, new: &NewModel<'_>, now: OffsetDateTime) -> Result<bool> {
    let mut tx = crate::begin(db).await?;
    let known = sqlx::query_scalar!("select enabled from model where model = $1 for update", new.name.0)
        .fetch_optional(&mut tx)
        .await?;
    sqlx::query!(
        "insert into model (model, label, provider, context, max_output, sort, thinking, efforts, min_cacheable, output_limit,
                            first_byte_timeout_ms, idle_timeout_ms, ends_at, takes_images)
         values ($1, coalesce($2, $1), $3, coalesce($4::bigint, 128000), coalesce($5::bigint, 16384),
                 (select coalesce(max(sort), 0) + 1 from model), coalesce($6, 'none'), coalesce($7::text[], '{}'), $8, $9, $10, $11, $12,
                 coalesce($13, false))
         on conflict (model) do update set label = coalesce($2, model.label), provider = $3,
           context = coalesce($4::bigint, model.context), max_output = coalesce($5::bigint, model.max_output),
           thinking = coalesce($6, model.thinking), efforts = coalesce($7::text[], model.efforts),
           min_cacheable = coalesce($8, model.min_cacheable), output_limit = coalesce($9, model.output_limit),
           first_byte_timeout_ms = coalesce($10, model.first_byte_timeout_ms),
           idle_timeout_ms = coalesce($11, model.idle_timeout_ms), ends_at = coalesce($12, model.ends_at),
           takes_images = coalesce($13, model.takes_images)",
        new.name.0,
        new.label,
        new.provider.0,
        new.context.map(Tokens::to_db),
        new.max_output.map(Tokens::to_db),
        new.thinking.map(Thinking::as_str),
        new.efforts,
        new.min_cacheable.map(Tokens::to_db),
        new.output_limit.map(OutputLimit::as_str),
        signed(new.first_byte_timeout_ms),
        signed(new.idle_timeout_ms),
        new.ends_at,
        new.takes_images,
    )
    .execute(&mut tx)
    .await?;
    sqlx::query!(
        "insert into model_price (model_price_id, model, effective_at, input_micros_per_million, cache_read_micros_per_million,
                                  cache_write_micros_per_million, cache_write_long_micros_per_million, output_micros_per_million)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
        Uuid::now_v7(),
        new.name.0,
        now,
        new.input.0,
        new.cache_read.map(|price| price.0),
        new.cache_write.map(|price| price.0),
        new.cache_write_long.map(|price| price.0),
        new.output.0,
    )
    .execute(&mut tx)
    .await?;
    let is_for_all = known.is_none() && new.plans.is_none();
    sqlx::query!(
        "insert into plan_model (plan_id, model, sort)
         select plan_id, $1, (select coalesce(max(sort), 0) + 1 from plan_model m where m.plan_id = p.plan_id)
         from (select plan_id from plan where $2 union select unnest($3::text[])) p
         on conflict do nothing",
        new.name.0,
        is_for_all,
        new.plans.unwrap_or_default(),
    )
    .execute(&mut tx)
    .await?;
    tx.commit().await?;
    Ok(known.unwrap_or(true))
}

/// The result of removing a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemovedModel {
    /// It was never called, and is deleted with its prices.
    Deleted,
    /// The ledger refers to it, so it is switched off and removed from every plan.
    SwitchedOff,
    /// The model doesn't exist.
    NotFound,
}

/// Removes a model from every plan and as a fallback, and deletes it if it was never called. Otherwise it is switched off, because the
/// ledger refers to its prices.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn remove(db: &Db, model: &ModelName) -> Result<RemovedModel> {
    let mut tx = crate::begin(db).await?;
    let known = sqlx::query!("select 1 as one from model where model = $1 for update", model.0);
    if known.fetch_optional(&mut tx).await?.is_none() {
        return Ok(RemovedModel::NotFound);
    }
    sqlx::query!("update model set fallback = null, hedge_after_ms = null where fallback = $1", model.0)
        .execute(&mut tx)
        .await?;
    sqlx::query!("delete from plan_model where model = $1", model.0).execute(&mut tx).await?;
    // A call that is being admitted needs the price, whose row the delete below locks: one of the two fails.
    let is_used = sqlx::query_scalar!(
        r#"select exists (select from usage_total where model = $1) or exists (select from ai_usage where model = $1) as "is_used!""#,
        model.0,
    )
    .fetch_one(&mut tx)
    .await?;
    if is_used {
        sqlx::query!("update model set enabled = false where model = $1", model.0).execute(&mut tx).await?;
    } else {
        sqlx::query!("delete from model_price where model = $1", model.0).execute(&mut tx).await?;
        sqlx::query!("delete from model where model = $1", model.0).execute(&mut tx).await?;
    }
    tx.commit().await?;
    Ok(if is_used { RemovedModel::SwitchedOff } else { RemovedModel::Deleted })
}
