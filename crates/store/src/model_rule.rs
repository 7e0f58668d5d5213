//! The owner's settings of a model: whether it is enabled, its fallback, its daily spend cap, how its provider is called, and its prices
//! from a date on. Each change writes an audit row in the same transaction.

use crate::model::{signed, unsigned};
use crate::{Db, Result};
use domain::{MicrosPerMillion, Model, ModelName, OutputLimit, Picos, Thinking, Tokens, UserId};
use sqlx::PgExecutor;
use std::collections::HashMap;
use time::{Date, OffsetDateTime};
use uuid::Uuid;

/// A model with its settings, for the admin pages.
pub struct ModelSettings {
    /// The model.
    pub model: Model,
    /// The model's settings.
    pub rules: Rules,
    /// The base tier's price in force; `None` if there is none, and then the model can't be used.
    pub price: Option<Tier>,
    /// The next base price (input, output) and when it takes effect.
    pub next_price: Option<(MicrosPerMillion, MicrosPerMillion, OffsetDateTime)>,
    /// Ids of the plans that allow the model, smallest first.
    pub plans: Vec<String>,
}

/// Prices of one tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tier {
    /// Per million input tokens.
    pub input: MicrosPerMillion,
    /// Per million input tokens read from a cache; `None` uses the input price.
    pub cache_read: Option<MicrosPerMillion>,
    /// Per million input tokens written to a cache; `None` uses the input price.
    pub cache_write: Option<MicrosPerMillion>,
    /// Per million input tokens written to a cache with the longer lifetime; `None` uses the price of `cache_write`.
    pub cache_write_long: Option<MicrosPerMillion>,
    /// Per million output tokens.
    pub output: MicrosPerMillion,
}

/// Settings of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Whether the model can be used.
    pub enabled: bool,
    /// The model that is called when this one is unavailable.
    pub fallback: Option<ModelName>,
    /// Milliseconds of silence after which the fallback is called as well; `None` disables hedging.
    pub hedge_after_ms: Option<u32>,
    /// Maximum spend of all users on this model in any 24 hours; `None` is unlimited.
    pub daily_spend: Option<Picos>,
    /// Maximum time to the response head, in milliseconds; `None` is the provider's.
    pub first_byte_timeout_ms: Option<u32>,
    /// Maximum silence within a response, in milliseconds; `None` is the provider's.
    pub idle_timeout_ms: Option<u32>,
    /// The request field that limits its output; `None` until it is learned from the first refusal.
    pub output_limit: Option<OutputLimit>,
    /// The day on which its provider switches it off, if announced.
    pub ends_at: Option<Date>,
    /// Whether it reads images.
    pub takes_images: bool,
    /// Whether it reasons before it answers.
    pub thinking: Thinking,
    /// The reasoning efforts that can be requested, lowest first; empty if it has no such setting.
    pub efforts: Vec<String>,
    /// Smallest prompt that its provider caches at an explicit breakpoint; `None` sets no breakpoints.
    pub min_cacheable: Option<Tokens>,
}

/// Lists all models in the order of the model picker.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn list(db: impl PgExecutor<'_>, now: OffsetDateTime) -> Result<Vec<ModelSettings>> {
    let rows = sqlx::query!(
        r#"select m.model as "model?", m.label as "label?", m.context as "context?", m.max_output as "max_output?", m.fallback,
                  m.hedge_after_ms, m.input_permille, m.output_limit, m.thinking as "thinking?", m.takes_images as "takes_images?", m.efforts as "efforts?", m.min_cacheable,
                  m.first_byte_timeout_ms, m.idle_timeout_ms, m.ends_at,
                  v.provider as "provider?", v.label as "provider_label?", v.wire_format as "wire_format?", v.base_url, v.key_variable,
                  v.connect_timeout_ms, v.first_byte_timeout_ms as provider_first_byte_timeout_ms,
                  v.idle_timeout_ms as provider_idle_timeout_ms, v.max_in_flight,
                  m.enabled, m.daily_spend_usd,
                  p.input_micros_per_million as "input?", p.cache_read_micros_per_million as "cache_read?",
                  p.cache_write_micros_per_million as "cache_write?", p.cache_write_long_micros_per_million as "cache_write_long?",
                  p.output_micros_per_million as "output?",
                  n.input_micros_per_million as "next_input?", n.output_micros_per_million as "next_output?", n.effective_at as "next_at?",
                  array(select pm.plan_id from plan_model pm join plan using (plan_id) where pm.model = m.model
                        order by plan.sort) as "plans!"
           from model m join provider v using (provider)
           left join lateral (
             select * from model_price
             where model = m.model and above_tokens is null and effective_at <= $1 order by effective_at desc limit 1
           ) p on true
           left join lateral (
             select * from model_price
             where model = m.model and above_tokens is null and effective_at > $1 order by effective_at limit 1
           ) n on true
           order by m.sort, m.model"#,
        now,
    )
    .fetch_all(db)
    .await?;
    let models = rows.into_iter().filter_map(|row| {
        let price = row.input.zip(row.output).map(|(input, output)| Tier {
            input: MicrosPerMillion(input),
            cache_read: row.cache_read.map(MicrosPerMillion),
            cache_write: row.cache_write.map(MicrosPerMillion),
            cache_write_long: row.cache_write_long.map(MicrosPerMillion),
            output: MicrosPerMillion(output),
        });
        let next = row.next_input.zip(row.next_output).zip(row.next_at);
        let (enabled, daily_spend, plans) = (row.enabled, row.daily_spend_usd.and_then(Picos::from_usd), row.plans);
        let model = crate::model::from_row!(row).read()?;
        let rules = Rules {
            enabled,
            fallback: model.fallback.clone(),
            hedge_after_ms: model.hedge_after_ms,
            daily_spend,
            first_byte_timeout_ms: model.first_byte_timeout_ms,
            idle_timeout_ms: model.idle_timeout_ms,
            output_limit: model.output_limit,
            ends_at: model.ends_at,
            takes_images: model.takes_images,
            thinking: model.thinking,
            efforts: model.efforts.clone(),
            min_cacheable: model.min_cacheable,
        };
        Some(ModelSettings {
            model,
            rules,
            price,
            next_price: next.map(|((input, output), at)| (MicrosPerMillion(input), MicrosPerMillion(output), at)),
            plans,
        })
    });
    Ok(models.collect())
}

/// Returns each model's highest price in force, over all tiers and kinds of tokens.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn highest_prices(
    db: impl PgExecutor<'_>,
    now: OffsetDateTime,
) -> Result<HashMap<ModelName, MicrosPerMillion>> {
    let rows = sqlx::query!(
        r#"select model as "model!",
                  max(greatest(input_micros_per_million, cache_read_micros_per_million, cache_write_micros_per_million,
                               cache_write_long_micros_per_million, output_micros_per_million)) as "highest!"
           from (
             select distinct on (model, coalesce(above_tokens, 0)) * from model_price where effective_at <= $1
             order by model, coalesce(above_tokens, 0), effective_at desc
           ) price group by model"#,
        now,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (ModelName(row.model), MicrosPerMillion(row.highest))).collect())
}

/// The result of changing a model's settings.
#[derive(Debug, PartialEq, Eq)]
pub enum Set {
    /// The settings were saved. Every server uses them from its next turn on.
    Yes,
    /// The model doesn't exist.
    NoModel,
    /// The fallback doesn't exist or is the model itself.
    NoFallback,
}

/// Formats a model's settings for the audit log.
fn describe(rules: &Rules) -> String {
    let mut parts = vec![
        if rules.enabled { "on".to_owned() } else { "off".to_owned() },
        rules.daily_spend.map_or_else(|| "no cap".to_owned(), |cap| format!("${} a day", cap.exact())),
        rules.fallback.as_ref().map_or_else(|| "no fallback".to_owned(), |name| format!("fallback {name}")),
    ];
    parts.extend(rules.hedge_after_ms.map(|ms| format!("hedged after {ms} ms")));
    parts.extend(rules.first_byte_timeout_ms.map(|ms| format!("first byte within {ms} ms")));
    parts.extend(rules.idle_timeout_ms.map(|ms| format!("at most {ms} ms of silence")));
    parts.extend(rules.output_limit.map(|limit| format!("output limited by {}", limit.as_str())));
    if rules.takes_images {
        parts.push("takes images".to_owned());
    }
    match rules.thinking {
        Thinking::None => {}
        Thinking::Optional => parts.push("may reason".to_owned()),
        Thinking::Always => parts.push("always reasons".to_owned()),
    }
    if !rules.efforts.is_empty() {
        parts.push(format!("efforts {}", rules.efforts.join(" ")));
    }
    parts.extend(rules.min_cacheable.map(|tokens| format!("cached from {tokens} tokens")));
    parts.extend(rules.ends_at.map(|day| format!("ends on {day}")));
    parts.join(", ")
}

/// Applies `change` to a model's current settings under a row lock and writes an audit row if they differ. Without a fallback, hedging is
/// disabled.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn set(
    db: &Db,
    actor: UserId,
    model: &ModelName,
    change: impl FnOnce(&mut Rules),
    now: OffsetDateTime,
) -> Result<Set> {
    let mut tx = crate::begin(db).await?;
    let before = sqlx::query!(
        "select enabled, fallback, hedge_after_ms, daily_spend_usd, first_byte_timeout_ms, idle_timeout_ms, output_limit, ends_at,
                takes_images, thinking, efforts, min_cacheable
         from model where model = $1 for update",
        model.0
    )
    .fetch_optional(&mut tx)
    .await?;
    let Some(before) = before else { return Ok(Set::NoModel) };
    let before = Rules {
        enabled: before.enabled,
        fallback: before.fallback.map(ModelName),
        hedge_after_ms: unsigned(before.hedge_after_ms),
        daily_spend: before.daily_spend_usd.and_then(Picos::from_usd),
        first_byte_timeout_ms: unsigned(before.first_byte_timeout_ms),
        idle_timeout_ms: unsigned(before.idle_timeout_ms),
        output_limit: before.output_limit.and_then(|name| name.parse().ok()),
        ends_at: before.ends_at,
        takes_images: before.takes_images,
        thinking: before.thinking.parse().unwrap_or_default(),
        efforts: before.efforts,
        min_cacheable: before.min_cacheable.map(Tokens::from_db),
    };
    let mut new = before.clone();
    change(&mut new);
    new.hedge_after_ms = new.hedge_after_ms.filter(|_| new.fallback.is_some());
    if let Some(other) = &new.fallback {
        let known =
            sqlx::query!("select 1 as one from model where model = $1", other.0).fetch_optional(&mut tx).await?;
        if known.is_none() || other == model {
            return Ok(Set::NoFallback);
        }
    }
    if before != new {
        sqlx::query!(
            "update model set enabled = $2, fallback = $3, daily_spend_usd = $4, hedge_after_ms = $5, first_byte_timeout_ms = $6,
                    idle_timeout_ms = $7, output_limit = $8, ends_at = $9, takes_images = $10, thinking = $11, efforts = $12,
                    min_cacheable = $13
             where model = $1",
            model.0,
            new.enabled,
            new.fallback.as_ref().map(|name| name.0.as_str()),
            new.daily_spend.map(Picos::to_usd),
            signed(new.hedge_after_ms),
            signed(new.first_byte_timeout_ms),
            signed(new.idle_timeout_ms),
            new.output_limit.map(OutputLimit::as_str),
            new.ends_at,
            new.takes_images,
            new.thinking.as_str(),
            &new.efforts[..],
            new.min_cacheable.map(Tokens::to_db),
        )
        .execute(&mut tx)
        .await?;
        write_audit(&mut tx, Some(actor), "set_model", model, Some(&describe(&before)), &describe(&new), now).await?;
    }
    tx.commit().await?;
    Ok(Set::Yes)
}

/// A price that takes effect at a given time.
pub struct NewPrice {
    /// Lower bound of the tier: applies to prompts with more tokens than this. `None` is the base tier.
    pub above: Option<i64>,
    /// Prices of the tier.
    pub tier: Tier,
    /// When the price takes effect. Earlier calls keep their price.
    pub effective_at: OffsetDateTime,
}

/// The result of adding a price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// The price was added.
    Yes,
    /// The model doesn't exist.
    NoModel,
    /// Refused: the tier already has a price with the same effective time, and prices are never edited.
    SameMoment,
}

/// Adds a price to a model and writes an audit row. Earlier prices are kept.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn add_price(
    db: &Db,
    actor: UserId,
    model: &ModelName,
    new: &NewPrice,
    now: OffsetDateTime,
) -> Result<Added> {
    let mut tx = crate::begin(db).await?;
    let known = sqlx::query!("select 1 as one from model where model = $1 for update", model.0);
    if known.fetch_optional(&mut tx).await?.is_none() {
        return Ok(Added::NoModel);
    }
    if !insert_price(&mut tx, Some(actor), model, new, now).await? {
        return Ok(Added::SameMoment);
    }
    tx.commit().await?;
    Ok(Added::Yes)
}

/// Inserts a price and writes an audit row. Returns false if the tier already has a price with the same effective time.
pub(crate) async fn insert_price(
    tx: &mut crate::Tx,
    actor: Option<UserId>,
    model: &ModelName,
    new: &NewPrice,
    now: OffsetDateTime,
) -> Result<bool> {
    let Tier { input, cache_read, cache_write, cache_write_long, output } = new.tier;
    let added = sqlx::query!(
        "insert into model_price (model_price_id, model, effective_at, above_tokens, input_micros_per_million, cache_read_micros_per_million,
                                  cache_write_micros_per_million, cache_write_long_micros_per_million, output_micros_per_million)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9) on conflict (model, above_tokens, effective_at) do nothing",
        Uuid::now_v7(),
        model.0,
        new.effective_at,
        new.above,
        input.0,
        cache_read.map(|price| price.0),
        cache_write.map(|price| price.0),
        cache_write_long.map(|price| price.0),
        output.0,
    )
    .execute(&mut *tx)
    .await?;
    if added.rows_affected() == 0 {
        return Ok(false);
    }
    let write = cache_write.unwrap_or(input);
    let above = new.above.map(|tokens| format!("above {tokens} tokens ")).unwrap_or_default();
    let after = format!(
        "{above}${} in, ${} from a cache, ${} to a cache, ${} to a cache for longer, ${} out, from {}",
        input.to_usd(),
        cache_read.unwrap_or(input).to_usd(),
        write.to_usd(),
        cache_write_long.unwrap_or(write).to_usd(),
        output.to_usd(),
        new.effective_at
    );
    write_audit(tx, actor, "add_price", model, None, &after, now).await?;
    Ok(true)
}

/// Writes an audit row about a model.
pub(crate) async fn write_audit(
    tx: &mut crate::Tx,
    actor: Option<UserId>,
    action: &str,
    model: &ModelName,
    before: Option<&str>,
    after: &str,
    now: OffsetDateTime,
) -> Result<()> {
    let (before, after) = (before.map(|before| format!("{model}: {before}")), format!("{model}: {after}"));
    let entry =
        crate::audit::Entry { actor, target: None, action, before: before.as_deref(), after: Some(&after), why: None };
    crate::audit::write(&mut *tx, &entry, now).await
}
