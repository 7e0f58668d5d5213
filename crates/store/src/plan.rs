//! Plans and their ids in Stripe.

use crate::Result;
use domain::{Plan, PlanId};
use sqlx::PgExecutor;

/// Converts a row of `plan` to a [`domain::Plan`]. The name must be selected as `plan_name` and the models as `models`, as in the view
/// `viewer`.
macro_rules! from_row {
    ($row:ident) => {
        domain::Plan {
            id: domain::PlanId($row.plan_id),
            name: $row.plan_name,
            sort: $row.sort,
            requests_per_minute: domain::Tokens::from_db($row.requests_per_minute).0,
            tokens_per_day: domain::Tokens::from_db($row.tokens_per_day),
            in_flight: domain::Tokens::from_db($row.in_flight).0,
            max_output: domain::Tokens::from_db($row.max_output),
            storage_bytes: u64::try_from($row.storage_bytes).unwrap_or(0),
            monthly_cents: $row.monthly_cents,
            yearly_cents: $row.yearly_cents,
            currency: $row.currency,
            trial_days: u32::try_from($row.trial_days).unwrap_or(0),
            monthly_price_id: $row.monthly_price_id,
            yearly_price_id: $row.yearly_price_id,
            shows_cost: $row.shows_cost,
            pitch: $row.pitch,
            models: $row.models.into_iter().map(Into::into).collect(),
        }
    };
}
pub(crate) use from_row;

/// Lists all plans, smallest first.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn list(db: impl PgExecutor<'_>) -> Result<Vec<Plan>> {
    let rows = sqlx::query!(
        r#"select p.*, p.name as plan_name, array(select pm.model from plan_model pm where pm.plan_id = p.plan_id order by pm.sort) as "models!"
           from plan p order by p.sort"#
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| from_row!(row)).collect())
}

/// A plan's ids in Stripe.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AtStripe {
    /// Product id. Doesn't change over the plan's lifetime.
    pub product_id: Option<String>,
    /// Current monthly price id.
    pub monthly_price_id: Option<String>,
    /// Current yearly price id.
    pub yearly_price_id: Option<String>,
}

/// Stores a plan's ids in Stripe. Returns false if they are unchanged.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn set_at_stripe(db: impl PgExecutor<'_>, plan: &PlanId, ids: &AtStripe) -> Result<bool> {
    let done = sqlx::query!(
        "update plan set stripe_product_id = $2, monthly_price_id = $3, yearly_price_id = $4
         where plan_id = $1 and (stripe_product_id, monthly_price_id, yearly_price_id) is distinct from ($2, $3, $4)",
        plan.0,
        ids.product_id,
        ids.monthly_price_id,
        ids.yearly_price_id,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Lists the Stripe product id of every plan that has one.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn products(db: impl PgExecutor<'_>) -> Result<Vec<(String, PlanId)>> {
    let rows = sqlx::query!(
        r#"select stripe_product_id as "product!", plan_id from plan where stripe_product_id is not null"#
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (row.product, PlanId(row.plan_id))).collect())
}

/// Loads a Stripe id that belongs to no other row, such as `portal`.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn setting(db: impl PgExecutor<'_>, name: &str) -> Result<Option<String>> {
    Ok(sqlx::query_scalar!("select value from stripe_setting where name = $1", name).fetch_optional(db).await?)
}

/// Stores a Stripe id that belongs to no other row.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn set_setting(db: impl PgExecutor<'_>, name: &str, value: &str) -> Result<()> {
    sqlx::query!(
        "insert into stripe_setting (name, value) values ($1, $2) on conflict (name) do update set value = excluded.value",
        name,
        value
    )
    .execute(db)
    .await?;
    Ok(())
}
