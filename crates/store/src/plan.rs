//! The plans on offer.

use crate::Result;
use domain::{Plan, PlanId, Tokens};
use sqlx::PgExecutor;

/// All plans, the smallest first.
///
/// # Errors
/// When Postgres does.
pub async fn list(db: impl PgExecutor<'_>) -> Result<Vec<Plan>> {
    let rows = sqlx::query!(
        r#"select p.*, array(select pm.model from plan_model pm where pm.plan_id = p.plan_id order by pm.sort) as "models!"
           from plan p order by p.sort"#
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Plan {
            id: PlanId(row.plan_id),
            name: row.name,
            sort: row.sort,
            requests_per_minute: Tokens::from_db(row.requests_per_minute).0,
            tokens_per_day: Tokens::from_db(row.tokens_per_day),
            in_flight: Tokens::from_db(row.in_flight).0,
            max_output: Tokens::from_db(row.max_output),
            monthly_cents: row.monthly_cents,
            pitch: row.pitch,
            models: row.models.into_iter().map(Into::into).collect(),
        })
        .collect())
}
