//! The owner's settings of a model: whether it is enabled, its fallback, its daily spend cap, and its prices from a date on. Each change
//! writes an audit row in the same transaction.

use crate::model::Row;
use crate::{Db, Result};
use domain::{MicrosPerMillion, Model, ModelName, Picos, UserId};
use sqlx::PgExecutor;
use time::OffsetDateTime;
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
}

/// Lists all models in the order of the model picker.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn list(db: impl PgExecutor<'_>, now: OffsetDateTime) -> Result<Vec<ModelSettings>> {
    let rows = sqlx::query!(
        r#"select m.model, m.label, m.provider, m.base_url, m.context, m.max_output, m.fallback, m.hedge_after_ms, m.input_permille,
                  m.enabled, m.daily_spend_usd,
                  p.input_micros_per_million as "input?", p.cache_read_micros_per_million as "cache_read?",
                  p.cache_write_micros_per_million as "cache_write?", p.output_micros_per_million as "output?",
                  n.input_micros_per_million as "next_input?", n.output_micros_per_million as "next_output?", n.effective_at as "next_at?",
                  array(select pm.plan_id from plan_model pm join plan using (plan_id) where pm.model = m.model
                        order by plan.sort) as "plans!"
           from model m
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
        let rules = Rules {
            enabled: row.enabled,
            fallback: row.fallback.clone().map(ModelName),
            hedge_after_ms: row.hedge_after_ms.and_then(|ms| u32::try_from(ms).ok()),
            daily_spend: row.daily_spend_usd.and_then(Picos::from_usd),
        };
        let price = row.input.zip(row.output).map(|(input, output)| Tier {
            input: MicrosPerMillion(input),
            cache_read: row.cache_read.map(MicrosPerMillion),
            cache_write: row.cache_write.map(MicrosPerMillion),
            output: MicrosPerMillion(output),
        });
        let next = row.next_input.zip(row.next_output).zip(row.next_at);
        let model = Row {
            model: row.model,
            label: row.label,
            provider: row.provider,
            base_url: row.base_url,
            context: row.context,
            max_output: row.max_output,
            fallback: row.fallback,
            hedge_after_ms: row.hedge_after_ms,
            input_permille: row.input_permille,
        };
        Some(ModelSettings {
            model: model.read()?,
            rules,
            price,
            next_price: next.map(|((input, output), at)| (MicrosPerMillion(input), MicrosPerMillion(output), at)),
            plans: row.plans,
        })
    });
    Ok(models.collect())
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
    let cap = rules.daily_spend.map_or_else(|| "no cap".to_owned(), |cap| format!("${} a day", cap.exact()));
    let fallback = rules.fallback.as_ref().map_or_else(|| "no fallback".to_owned(), |name| format!("fallback {name}"));
    let hedged = rules.hedge_after_ms.map(|ms| format!(", hedged after {ms} ms of silence")).unwrap_or_default();
    format!("{}, {cap}, {fallback}{hedged}", if rules.enabled { "on" } else { "off" })
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
        "select enabled, fallback, hedge_after_ms, daily_spend_usd from model where model = $1 for update",
        model.0
    )
    .fetch_optional(&mut tx)
    .await?;
    let Some(before) = before else { return Ok(Set::NoModel) };
    let before = Rules {
        enabled: before.enabled,
        fallback: before.fallback.map(ModelName),
        hedge_after_ms: before.hedge_after_ms.and_then(|ms| u32::try_from(ms).ok()),
        daily_spend: before.daily_spend_usd.and_then(Picos::from_usd),
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
            "update model set enabled = $2, fallback = $3, hedge_after_ms = $5, daily_spend_usd = $4 where model = $1",
            model.0,
            new.enabled,
            new.fallback.as_ref().map(|name| name.0.as_str()),
            new.daily_spend.map(Picos::to_usd),
            new.hedge_after_ms.and_then(|ms| i32::try_from(ms).ok()),
        )
        .execute(&mut tx)
        .await?;
        write_audit(&mut tx, actor, "set_model", model, Some(&describe(&before)), &describe(&new), now).await?;
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
    let added = sqlx::query!(
        "insert into model_price (model_price_id, model, effective_at, above_tokens, input_micros_per_million, cache_read_micros_per_million,
                                  cache_write_micros_per_million, output_micros_per_million)
         values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict (model, above_tokens, effective_at) do nothing",
        Uuid::now_v7(),
        model.0,
        new.effective_at,
        new.above,
        new.tier.input.0,
        new.tier.cache_read.map(|price| price.0),
        new.tier.cache_write.map(|price| price.0),
        new.tier.output.0,
    )
    .execute(&mut tx)
    .await?;
    if added.rows_affected() == 0 {
        return Ok(Added::SameMoment);
    }
    let Tier { input, cache_read, cache_write, output } = new.tier;
    let usd = |price: Option<MicrosPerMillion>| price.unwrap_or(input).to_usd();
    let above = new.above.map(|tokens| format!("above {tokens} tokens: ")).unwrap_or_default();
    let after = format!(
        "{above}${} input, ${} cache read, ${} cache write, ${} output, effective {}",
        input.to_usd(),
        usd(cache_read),
        usd(cache_write),
        output.to_usd(),
        new.effective_at
    );
    write_audit(&mut tx, actor, "add_price", model, None, &after, now).await?;
    tx.commit().await?;
    Ok(Added::Yes)
}

/// Writes an audit row about a model.
async fn write_audit(
    tx: &mut crate::Tx,
    actor: UserId,
    action: &str,
    model: &ModelName,
    before: Option<&str>,
    after: &str,
    now: OffsetDateTime,
) -> Result<()> {
    let (before, after) = (before.map(|before| format!("{model}: {before}")), format!("{model}: {after}"));
    let entry = crate::audit::Entry {
        actor: Some(actor),
        target: None,
        action,
        before: before.as_deref(),
        after: Some(&after),
        why: None,
    };
    crate::audit::write(&mut *tx, &entry, now).await
}
