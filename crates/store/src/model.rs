//! Models and their prices.

use crate::{Db, Result};
use domain::{MicrosPerMillion, Model, ModelName, Price, PriceList, Provider, Tokens};
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// All enabled models, in the order of the picker.
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
    /// The model; none of a provider that this release doesn't know.
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

/// Learns how many input tokens a model counts per thousand of ours: the 99th percentile of the last thousand calls that its provider
/// counted, where there are two hundred at least, so that estimates err high and by little.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn learn(db: impl PgExecutor<'_>, since: OffsetDateTime) -> Result<()> {
    sqlx::query!(
        "update model m set input_permille = learned.permille
         from model listed, lateral (
           select least(5000, greatest(500, ceil(percentile_disc(0.99) within group (order by permille))))::bigint as permille
           from (
             select (input_tokens + cache_read_tokens + cache_write_tokens)::numeric * 1000 / counted_tokens as permille
             from ai_usage
             where model = listed.model and created_at >= $1 and usage_source = 'exact' and corrects is null and output_tokens > 0
               and counted_tokens > 0
             order by created_at desc limit 1000
           ) told having count(*) >= 200
         ) learned
         -- A rarely used model is not searched for among all rows.
         where (select sum(calls) from (
                  select model, hour, calls from usage_total union all select model, hour, calls from usage_delta
                ) t where t.model = listed.model and t.hour >= $1) >= 200
           and m.model = listed.model and m.input_permille is distinct from learned.permille",
        since,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// The price of a model at an instant: for each tier the newest row that is in force. None where there is none, and
/// then the model can't be asked.
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

/// A model that the owner adds, or one that gets a new price from now on and keeps what isn't said.
pub struct NewModel<'a> {
    /// The provider's name for it.
    pub name: &'a ModelName,
    /// The name users read; a new one's is the provider's.
    pub label: Option<&'a str>,
    /// Whose wire format.
    pub provider: Provider,
    /// Where it is served; a new one, and one that goes to another provider, at the provider's.
    pub base_url: Option<&'a str>,
    /// Tokens of prompt and answer together; a new one's are 128 000.
    pub context: Option<Tokens>,
    /// Tokens of one answer; a new one's are 16 384.
    pub max_output: Option<Tokens>,
    /// Per million input tokens.
    pub input: MicrosPerMillion,
    /// Per million input tokens read from a cache; none is the input's.
    pub cache_read: Option<MicrosPerMillion>,
    /// Per million input tokens written to a cache; none is the input's.
    pub cache_write: Option<MicrosPerMillion>,
    /// Per million output tokens.
    pub output: MicrosPerMillion,
    /// Plans that allow it besides those that do; none given, a new one is allowed by every plan.
    pub plans: Option<&'a [String]>,
}

/// Adds a model, or changes what is said of one, with a price from `now` on, in one transaction. Earlier prices stay as they are, and one
/// that is switched off stays off. Whether it is on.
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
