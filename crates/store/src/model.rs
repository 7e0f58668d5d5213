//! Models and their prices.

use crate::{Db, Result};
use domain::{MicrosPerMillion, Model, ModelName, Price, PriceList, Provider, Tokens};
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// Lists all enabled models, in the order of the model picker.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn list(db: impl PgExecutor<'_>) -> Result<Vec<Model>> {
    let rows = sqlx::query_as!(
        Row,
        "select model, label, provider, base_url, context, max_output, fallback, hedge_after_ms, input_permille
         from model where enabled order by sort, model"
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().filter_map(Row::read).collect())
}

/// A row of `model`.
pub(crate) struct Row {
    pub model: String,
    pub label: String,
    pub provider: String,
    pub base_url: Option<String>,
    pub context: i64,
    pub max_output: i64,
    pub fallback: Option<String>,
    pub hedge_after_ms: Option<i32>,
    pub input_permille: Option<i64>,
}

impl Row {
    /// Converts the row. Returns `None` if this release doesn't support the provider.
    pub(crate) fn read(self) -> Option<Model> {
        Some(Model {
            name: ModelName(self.model),
            label: self.label,
            provider: self.provider.parse::<Provider>().ok()?,
            base_url: self.base_url,
            context: Tokens::from_db(self.context),
            max_output: Tokens::from_db(self.max_output),
            fallback: self.fallback.map(ModelName),
            hedge_after_ms: self.hedge_after_ms.and_then(|ms| u32::try_from(ms).ok()),
            input_permille: self.input_permille.and_then(|permille| u64::try_from(permille).ok()),
        })
    }
}

/// Updates `input_permille` of each model: the input tokens that its provider counts per thousand tokens of our estimate. It is the 99th
/// percentile of the last thousand calls with exact usage, so that estimates err slightly high. Models with fewer than 200 such calls are
/// skipped.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn learn(db: impl PgExecutor<'_>, since: OffsetDateTime) -> Result<()> {
    sqlx::query!(
        "update model m set input_permille = learned.permille
         from model candidate, lateral (
           select least(5000, greatest(500, ceil(percentile_disc(0.99) within group (order by permille))))::bigint as permille
           from (
             select (input_tokens + cache_read_tokens + cache_write_tokens)::numeric * 1000 / counted_tokens as permille
             from ai_usage
             where model = candidate.model and created_at >= $1 and usage_source = 'exact' and corrects is null and output_tokens > 0
               and counted_tokens > 0
             order by created_at desc limit 1000
           ) recent_calls having count(*) >= 200
         ) learned
         -- A rarely used model is not searched for among all rows.
         where (select sum(calls) from (
                  select model, hour, calls from usage_total union all select model, hour, calls from usage_delta
                ) t where t.model = candidate.model and t.hour >= $1) >= 200
           and m.model = candidate.model and m.input_permille is distinct from learned.permille",
        since,
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
                  output_micros_per_million as output
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
    /// The provider, which determines the wire format.
    pub provider: Provider,
    /// Base URL of the API. Defaults to the provider's for a new model and for one that changes its provider.
    pub base_url: Option<&'a str>,
    /// Maximum number of tokens of prompt and response together. Defaults to 128 000 for a new model.
    pub context: Option<Tokens>,
    /// Maximum number of tokens of a response. Defaults to 16 384 for a new model.
    pub max_output: Option<Tokens>,
    /// Price per million input tokens.
    pub input: MicrosPerMillion,
    /// Price per million input tokens read from a cache; `None` uses the input price.
    pub cache_read: Option<MicrosPerMillion>,
    /// Price per million input tokens written to a cache; `None` uses the input price.
    pub cache_write: Option<MicrosPerMillion>,
    /// Price per million output tokens.
    pub output: MicrosPerMillion,
    /// Plans that allow the model, in addition to those that already do. `None` adds a new model to every plan.
    pub plans: Option<&'a [String]>,
}

/// Adds a model, or changes an existing one, with a price that takes effect at `now`, in one transaction. Earlier prices don't change, and
/// a disabled model stays disabled. Returns whether the model is enabled.
///
/// # Errors
/// Returns an error if the query fails or a plan doesn't exist.
pub async fn add(db: &Db, new: &NewModel<'_>, now: OffsetDateTime) -> Result<bool> {
    let mut tx = crate::begin(db).await?;
    let known = sqlx::query_scalar!("select enabled from model where model = $1 for update", new.name.0)
        .fetch_optional(&mut tx)
        .await?;
    sqlx::query!(
        "insert into model (model, label, provider, base_url, context, max_output, sort)
         values ($1, coalesce($2, $1), $3, $4, coalesce($5::bigint, 128000), coalesce($6::bigint, 16384), (select coalesce(max(sort), 0) + 1 from model))
         on conflict (model) do update set label = coalesce($2, model.label), provider = $3,
           base_url = case when model.provider = $3 then coalesce($4, model.base_url) else $4 end,
           context = coalesce($5::bigint, model.context), max_output = coalesce($6::bigint, model.max_output)",
        new.name.0,
        new.label,
        new.provider.as_str(),
        new.base_url,
        new.context.map(Tokens::to_db),
        new.max_output.map(Tokens::to_db),
    )
    .execute(&mut tx)
    .await?;
    sqlx::query!(
        "insert into model_price (model_price_id, model, effective_at, input_micros_per_million, cache_read_micros_per_million,
                                  cache_write_micros_per_million, output_micros_per_million)
         values ($1, $2, $3, $4, $5, $6, $7)",
        Uuid::now_v7(),
        new.name.0,
        now,
        new.input.0,
        new.cache_read.map(|price| price.0),
        new.cache_write.map(|price| price.0),
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
