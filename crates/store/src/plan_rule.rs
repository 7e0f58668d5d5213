//! A plan's limits and models, which admins can change. Prices are set in Stripe by `plans push`.

use crate::{Db, Result};
use domain::{ModelName, PlanId, UserId};
use sqlx::PgExecutor;
use std::collections::HashMap;
use time::OffsetDateTime;

/// A plan's limits and models. All numbers are positive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Requests per minute.
    pub requests: i64,
    /// Tokens per 24 hours.
    pub tokens: i64,
    /// Maximum concurrent responses.
    pub in_flight: i64,
    /// Maximum output tokens per response.
    pub max_output: i64,
    /// Maximum bytes of a user's files; `None` leaves the setting unchanged. May be zero.
    pub storage_bytes: Option<i64>,
    /// Whether users on the plan see the cost of their usage; `None` leaves the setting unchanged.
    pub shows_cost: Option<bool>,
    /// Number of API keys that a user may have, from zero; `None` leaves the setting unchanged.
    pub api_keys: Option<i32>,
    /// Allowed models, the default first.
    pub models: Vec<ModelName>,
}

impl Rules {
    /// Formats the rules for the audit log.
    fn describe(&self) -> String {
        let models: Vec<&str> = self.models.iter().map(|model| model.0.as_str()).collect();
        let Self { requests, tokens, in_flight, max_output, storage_bytes, shows_cost, .. } = self;
        let storage = domain::attachment::format_bytes(u64::try_from(storage_bytes.unwrap_or(0)).unwrap_or(0));
        let keys = self.api_keys.unwrap_or_default();
        let shown = if shows_cost.unwrap_or(true) { "cost shown" } else { "cost not shown" };
        format!(
            "{requests} requests per minute, {tokens} tokens per day, {in_flight} at once, {max_output} per response, {storage} of files, {keys} API keys, {shown}; {}",
            models.join(" ")
        )
    }
}

/// Sets a plan's rules and writes an audit row. Returns false if the plan or one of the models doesn't exist. The rules apply from each
/// user's next message on.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn set(db: &Db, actor: UserId, plan: &PlanId, rules: &Rules, now: OffsetDateTime) -> Result<bool> {
    let mut tx = crate::begin(db).await?;
    let before = sqlx::query!(
        r#"select requests_per_minute, tokens_per_day, in_flight, max_output, storage_bytes, shows_cost, api_keys,
                  array(select pm.model from plan_model pm where pm.plan_id = p.plan_id order by pm.sort) as "models!"
           from plan p where plan_id = $1 for no key update"#,
        plan.0
    )
    .fetch_optional(&mut tx)
    .await?;
    let Some(before) = before else { return Ok(false) };
    let before = Rules {
        requests: before.requests_per_minute,
        tokens: before.tokens_per_day,
        in_flight: before.in_flight,
        max_output: before.max_output,
        storage_bytes: Some(before.storage_bytes),
        shows_cost: Some(before.shows_cost),
        api_keys: Some(before.api_keys),
        models: before.models.into_iter().map(ModelName).collect(),
    };
    sqlx::query!(
        "update plan set requests_per_minute = $2, tokens_per_day = $3, in_flight = $4, max_output = $5, shows_cost = coalesce($6, shows_cost),
                         storage_bytes = coalesce($7, storage_bytes), api_keys = coalesce($8, api_keys)
         where plan_id = $1",
        plan.0,
        rules.requests,
        rules.tokens,
        rules.in_flight,
        rules.max_output,
        rules.shows_cost,
        rules.storage_bytes,
        rules.api_keys,
    )
    .execute(&mut tx)
    .await?;
    sqlx::query!("delete from plan_model where plan_id = $1", plan.0).execute(&mut tx).await?;
    let models: Vec<String> = rules.models.iter().map(|model| model.0.clone()).collect();
    let set = sqlx::query!(
        "insert into plan_model (plan_id, model, sort)
         select $1, model, min(position) from unnest($2::text[]) with ordinality as requested (name, position) join model on model = name group by model",
        plan.0,
        &models
    )
    .execute(&mut tx)
    .await?;
    if set.rows_affected() != u64::try_from(models.len()).unwrap_or(0) {
        return Ok(false);
    }
    let after = Rules {
        shows_cost: rules.shows_cost.or(before.shows_cost),
        storage_bytes: rules.storage_bytes.or(before.storage_bytes),
        api_keys: rules.api_keys.or(before.api_keys),
        ..rules.clone()
    };
    let (was, is) = (before.describe(), after.describe());
    let entry = crate::audit::Entry {
        actor: Some(actor),
        target: None,
        action: "set_plan_rules",
        before: Some(&format!("{plan}: {was}")),
        after: Some(&is),
        why: None,
    };
    crate::audit::write(&mut tx, &entry, now).await?;
    tx.commit().await?;
    Ok(true)
}

/// Returns how many API keys a user may have, by plan.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn api_keys(db: impl PgExecutor<'_>) -> Result<HashMap<PlanId, i32>> {
    let rows = sqlx::query!("select plan_id, api_keys from plan").fetch_all(db).await?;
    Ok(rows.into_iter().map(|row| (PlanId(row.plan_id), row.api_keys)).collect())
}
