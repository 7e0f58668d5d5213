//! Compares the models in the database with a price catalogue, and applies the changes that an owner has chosen.

pub use domain::catalogue::Difference;

use crate::model_rule::{NewPrice, Tier, insert_price, write_audit};
use crate::{Db, Result};
use domain::catalogue::{CatalogueEntry, CatalogueTier, EndChange, compare, find};
use domain::{MicrosPerMillion, ModelName, ProviderName, Tokens, UserId};
use sqlx::PgExecutor;
use time::{Date, OffsetDateTime};

/// Compares the prices in force at `now` and the end dates of all models with a catalogue, in the order of the model picker. Models that
/// aren't in it, and those that don't differ, are left out.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn differences(
    db: impl PgExecutor<'_>,
    entries: &[CatalogueEntry],
    now: OffsetDateTime,
) -> Result<Vec<Difference>> {
    let rows = sqlx::query!(
        r#"select m.model, m.provider, m.ends_at, p.above_tokens as "above?", p.input_micros_per_million as "input?",
                  p.cache_read_micros_per_million as "cache_read?", p.cache_write_micros_per_million as "cache_write?",
                  p.cache_write_long_micros_per_million as "cache_write_long?", p.output_micros_per_million as "output?"
           from model m
           left join lateral (
             select distinct on (coalesce(above_tokens, 0)) * from model_price where model = m.model and effective_at <= $1
             order by coalesce(above_tokens, 0), effective_at desc
           ) p on true
           order by m.sort, m.model, p.above_tokens nulls first"#,
        now,
    )
    .fetch_all(db)
    .await?;
    let mut models: Vec<Known> = Vec::new();
    for row in rows {
        if models.last().is_none_or(|known| known.model.0 != row.model) {
            let (model, provider) = (ModelName(row.model), ProviderName(row.provider));
            models.push(Known { model, provider, ends_at: row.ends_at, tiers: Vec::new() });
        }
        if let (Some(known), Some((input, output))) = (models.last_mut(), row.input.zip(row.output)) {
            known.tiers.push(CatalogueTier {
                above: row.above.map(|above| Tokens::from_db(above).0),
                input: MicrosPerMillion(input),
                cache_read: row.cache_read.map(MicrosPerMillion),
                cache_write: row.cache_write.map(MicrosPerMillion),
                cache_write_long: row.cache_write_long.map(MicrosPerMillion),
                output: MicrosPerMillion(output),
            });
        }
    }
    let differing = models.iter().filter_map(|known| {
        let entry = find(entries, &known.provider, &known.model)?;
        compare(&known.model, &known.tiers, known.ends_at, entry)
    });
    Ok(differing.collect())
}

/// A model in the database, with the prices in force.
struct Known {
    model: ModelName,
    provider: ProviderName,
    ends_at: Option<Date>,
    tiers: Vec<CatalogueTier>,
}

/// The changes that were applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Prices that were added.
    pub prices: u64,
    /// Prices that weren't added, because the tier already has a price from the same instant and prices are never edited.
    pub kept: u64,
    /// End dates that were set.
    pub end_dates: u64,
}

/// Adds the prices of the chosen differences from `effective_at` on and sets their end dates, all or nothing. Each change writes an audit
/// row; `actor` is `None` for the command line. Models that no longer exist are skipped.
///
/// # Errors
/// Returns an error if a query fails; then nothing has changed.
pub async fn apply(
    db: &Db,
    actor: Option<UserId>,
    chosen: &[Difference],
    effective_at: OffsetDateTime,
    now: OffsetDateTime,
) -> Result<Applied> {
    let mut tx = crate::begin(db).await?;
    let mut applied = Applied::default();
    for Difference { model, prices, ends_at, .. } in chosen {
        let known = sqlx::query!("select 1 as one from model where model = $1 for update", model.0);
        if known.fetch_optional(&mut tx).await?.is_none() {
            continue;
        }
        for change in prices {
            let CatalogueTier { above, input, cache_read, cache_write, cache_write_long, output } = change.new;
            let new = NewPrice {
                above: above.map(|above| Tokens(above).to_db()),
                tier: Tier { input, cache_read, cache_write, cache_write_long, output },
                effective_at,
            };
            if insert_price(&mut tx, actor, model, &new, now).await? {
                applied.prices += 1;
            } else {
                applied.kept += 1;
            }
        }
        if let Some(EndChange { old, new }) = ends_at {
            sqlx::query!("update model set ends_at = $2 where model = $1", model.0, *new).execute(&mut tx).await?;
            let before = old.map(|day| format!("ends on {day}"));
            let after = format!("ends on {new}");
            write_audit(&mut tx, actor, "set_model", model, before.as_deref(), &after, now).await?;
            applied.end_dates += 1;
        }
    }
    tx.commit().await?;
    Ok(applied)
}
