//! How a plan is sold: its name, prices, trial and tagline. Its limits and models are in `plan_rule`.

use crate::{Db, Result};
use domain::PlanId;
use time::OffsetDateTime;

/// How a plan is sold. `None` leaves a value as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sale {
    /// The display name.
    pub name: Option<String>,
    /// Price of a month in the smallest unit of the currency; zero is free.
    pub monthly_cents: Option<i64>,
    /// Price of a year in the smallest unit of the currency; zero if it isn't sold by the year.
    pub yearly_cents: Option<i64>,
    /// Days of the free trial.
    pub trial_days: Option<i32>,
    /// One sentence for the pricing page.
    pub pitch: Option<String>,
}

/// Changes how a plan is sold, with an entry in the audit log. Returns false if there is no such plan. Subscriptions keep their price.
///
/// # Errors
/// Returns an error if a query fails.
pub async fn set(db: &Db, plan: &PlanId, sale: &Sale, now: OffsetDateTime) -> Result<bool> {
    let mut tx = crate::begin(db).await?;
    let done = sqlx::query!(
        "update plan set name = coalesce($2, name), monthly_cents = coalesce($3, monthly_cents), yearly_cents = coalesce($4, yearly_cents),
                         trial_days = coalesce($5, trial_days), pitch = coalesce($6, pitch)
         where plan_id = $1",
        plan.0,
        sale.name,
        sale.monthly_cents,
        sale.yearly_cents,
        sale.trial_days,
        sale.pitch,
    )
    .execute(&mut tx)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    record(&mut tx, "set_plan_sale", plan, sale, now).await?;
    tx.commit().await?;
    Ok(true)
}

/// Adds a plan, the largest of all, with the limits and models of another one, and with an entry in the audit log. Returns false if there is no
/// plan `like`, or the new one exists already.
///
/// # Errors
/// Returns an error if a query fails, also if the id isn't one (constraint `plan_plan_id_check`).
pub async fn add(db: &Db, plan: &PlanId, like: &PlanId, sale: &Sale, now: OffsetDateTime) -> Result<bool> {
    let mut tx = crate::begin(db).await?;
    let done = sqlx::query!(
        "insert into plan (plan_id, name, sort, requests_per_minute, tokens_per_day, in_flight, max_output, monthly_cents, yearly_cents, currency,
                           trial_days, pitch, shows_cost, storage_bytes, retention_days, api_keys)
         select $1::text, coalesce($3::text, name), (select max(sort) + 1 from plan), requests_per_minute, tokens_per_day, in_flight, max_output,
                coalesce($4::bigint, monthly_cents), coalesce($5::bigint, yearly_cents), currency, coalesce($6::int, trial_days),
                coalesce($7::text, pitch), shows_cost, storage_bytes, retention_days, api_keys
         from plan where plan_id = $2
         on conflict (plan_id) do nothing",
        plan.0,
        like.0,
        sale.name,
        sale.monthly_cents,
        sale.yearly_cents,
        sale.trial_days,
        sale.pitch,
    )
    .execute(&mut tx)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query!(
        "insert into plan_model (plan_id, model, sort) select $1::text, model, sort from plan_model where plan_id = $2",
        plan.0,
        like.0,
    )
    .execute(&mut tx)
    .await?;
    record(&mut tx, "add_plan", plan, sale, now).await?;
    tx.commit().await?;
    Ok(true)
}

/// Writes an entry in the audit log. The actor is the command line.
async fn record(tx: &mut crate::Tx, action: &str, plan: &PlanId, sale: &Sale, now: OffsetDateTime) -> Result<()> {
    let number = |what: &str, value: Option<i64>| value.map(|value| format!("{what} {value}"));
    let changes = [
        sale.name.as_ref().map(|name| format!("name {name}")),
        number("cents a month", sale.monthly_cents),
        number("cents a year", sale.yearly_cents),
        number("days of trial", sale.trial_days.map(i64::from)),
        sale.pitch.as_ref().map(|pitch| format!("tagline {pitch}")),
    ];
    let after = format!("{plan}: {}", changes.into_iter().flatten().collect::<Vec<_>>().join(", "));
    let entry = crate::audit::Entry { actor: None, target: None, action, before: None, after: Some(&after), why: None };
    crate::audit::write(&mut *tx, &entry, now).await
}
