//! Figures that aren't in the report's rows: revenue, refusals, savings by prompt caching, and users with a large share of the usage.

use super::totals::Include;
use crate::{Result, Tx};
use domain::report::start_of_hour;
use domain::{Picos, ReportPeriod};
use rust_decimal::Decimal;
use sqlx::PgExecutor;
use time::OffsetDateTime;

/// Revenue and refusals of a period, of all users.
pub struct Summary {
    /// What subscriptions in US dollars pay for the period, prorated.
    pub revenue: Picos,
    /// Live subscriptions in other currencies, which the revenue leaves out.
    pub other_currencies: u64,
    /// Refusals by kind, the most frequent first.
    pub refusals: Vec<(String, u64)>,
}

/// Returns when the report of a standard period was last refreshed; `None` for a custom period, and before the first refresh.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn as_of(db: &mut Tx, period: ReportPeriod) -> Result<Option<OffsetDateTime>> {
    Ok(sqlx::query_scalar!("select as_of from usage_period where period = $1", period.as_str())
        .fetch_optional(db)
        .await?)
}

/// Reads revenue and refusals of a period.
///
/// # Errors
/// Returns an error if a query fails.
pub async fn summary(
    db: &mut Tx,
    period: ReportPeriod,
    (from, to): (OffsetDateTime, OffsetDateTime),
) -> Result<Summary> {
    let paid = sqlx::query!(
        r#"select coalesce((select revenue_picos from usage_period where period = $3),
                           (select (sum(prorated_usd(amount_minor, period, paid)) * 1000000000000)::bigint
                            from (select amount_minor, period, sum(paid) as paid from subscriptions_paid($1, $2) group by 1, 2) p), 0) as "revenue!",
                  (select count(*) from subscription where currency <> 'usd' and status in ('active', 'past_due')) as "other_currencies!""#,
        from,
        to,
        period.as_str(),
    )
    .fetch_one(&mut *db)
    .await?;
    let refusals = sqlx::query!(
        r#"select kind, sum(n)::bigint as "n!" from refusal_hour where hour >= $1 and hour < $2 group by kind order by 2 desc, 1"#,
        from,
        to
    )
    .fetch_all(db)
    .await?;
    Ok(Summary {
        revenue: Picos(paid.revenue),
        other_currencies: paid.other_currencies.max(0).cast_unsigned(),
        refusals: refusals.into_iter().map(|row| (row.kind, row.n.max(0).cast_unsigned())).collect(),
    })
}

/// Reads what prompt caching saved all users in a period: the cost of the tokens read from caches at the input price less their own, minus
/// what writing to caches cost above the input price, by each call's own price. Negative if more was spent on writing than was saved.
///
/// Whole hours are read from their sums, the rest of the period from the ledger, whose rows are always up to date.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn cache_savings(
    db: impl PgExecutor<'_>,
    (from, to): (OffsetDateTime, OffsetDateTime),
    include: Include,
) -> Result<Picos> {
    let first = start_of_hour(from);
    let first = if first == from { first } else { first + time::Duration::HOUR }.min(to);
    let last = start_of_hour(to).max(first);
    let saved = sqlx::query_scalar!(
        r#"select coalesce(sum(picos), 0)::bigint as "picos!"
           from (
             select picos from cache_saving where hour >= $2 and hour < $3
             union all
             select saved_picos from usage_delta where $5 and hour >= $2 and hour < $3
             union all
             select cache_saving_picos(p, u.cache_read_tokens, u.cache_write_tokens, u.cache_write_long_tokens)
             from ai_usage u join model_price p using (model_price_id)
             where u.status <> 'pending' and (u.created_at >= $1 and u.created_at < $2 or u.created_at >= $3 and u.created_at < $4)
           ) saved"#,
        from,
        first,
        last,
        to,
        include.unfolded(),
    )
    .fetch_one(db)
    .await?;
    Ok(Picos(saved))
}

/// A user with a large share of all users' cost or tokens.
pub struct LargeShare {
    /// Key of the ledger.
    pub subject: String,
    /// The account's email; `None` once it is deleted.
    pub email: Option<String>,
    /// The user's cost.
    pub cost: Picos,
    /// The user's tokens.
    pub tokens: u64,
    /// The cost of all users.
    pub all_cost: Picos,
    /// The tokens of all users.
    pub all_tokens: u64,
}

/// Lists users who account for more than `percent` % of all users' cost or tokens since `since`. Returns an empty list while only one user
/// has usage. At most 200. Without the demo on the site, which has a budget of its own.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn large_shares(db: &mut Tx, since: OffsetDateTime, percent: u8) -> Result<Vec<LargeShare>> {
    let rows = sqlx::query!(
        r#"with used as (
             select subject_id, sum(cost_picos) as cost, sum(input_tokens + cache_read_tokens + cache_write_tokens + output_tokens) as tokens
             from usage_hour
             where hour >= $1 and subject_id is distinct from (select subject_id from usage_subject where subject = 'demo')
             group by subject_id
           ), total as (
             select sum(cost) as cost, sum(tokens) as tokens, count(*) as users from used
           )
           select s.subject, a.email as "email?", u.cost::bigint as "cost!", u.tokens::bigint as "tokens!",
                  t.cost::bigint as "all_cost!", t.tokens::bigint as "all_tokens!"
           from total t
           join used u on u.cost * 100 > t.cost * $2 or u.tokens * 100 > t.tokens * $2
           join usage_subject s using (subject_id)
           left join account a using (user_id)
           where t.users > 1
           order by u.cost desc, u.tokens desc limit 200"#,
        since,
        Decimal::from(percent),
    )
    .fetch_all(db)
    .await?;
    let share = |n: i64| n.max(0).cast_unsigned();
    Ok(rows
        .into_iter()
        .map(|row| LargeShare {
            subject: row.subject,
            email: row.email,
            cost: Picos(row.cost),
            tokens: share(row.tokens),
            all_cost: Picos(row.all_cost),
            all_tokens: share(row.all_tokens),
        })
        .collect())
}
