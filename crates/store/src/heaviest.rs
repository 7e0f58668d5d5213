//! Who used what in a period: sums over days, and over hours at the period's edges.

use crate::Result;
use crate::usage::Totals;
use domain::{ModelName, Picos, PlanId, Tokens, UserId};
use sqlx::PgExecutor;
use time::{Date, OffsetDateTime};

/// What a table of the heaviest users is sorted by, the most first; for the margin the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Dollars.
    Cost,
    /// Tokens.
    Tokens,
    /// Turns.
    Requests,
    /// What they pay less what they cost: who costs most beyond it comes first.
    Margin,
    /// How often they were refused.
    Refusals,
    /// How far the estimates of their input were off.
    EstimateError,
}

/// Which part of the table.
pub struct Asked<'a> {
    /// The first hour.
    pub from: OffsetDateTime,
    /// The end, not included: the beginning of an hour.
    pub to: OffsetDateTime,
    /// Sorted by.
    pub order: Order,
    /// Only people on this plan now.
    pub plan: Option<&'a PlanId>,
    /// Only use of this model.
    pub model: Option<&'a ModelName>,
    /// Only addresses that hold this.
    pub search: Option<&'a str>,
    /// Rows to pass over.
    pub offset: i64,
    /// Rows at most.
    pub limit: i64,
}

/// One row of the heaviest users.
pub struct Heavy {
    /// Names them in the ledger.
    pub subject: String,
    /// The account; none once it is gone.
    pub user_id: Option<UserId>,
    /// Its address; none once it is gone.
    pub email: Option<String>,
    /// Its plan; none once it is gone.
    pub plan: Option<PlanId>,
    /// What was used.
    pub totals: Totals,
    /// Their input as it was estimated beforehand.
    pub estimated: Tokens,
    /// Refusals.
    pub refusals: u64,
    /// What their subscription pays for the period, by its days.
    pub pays: Picos,
    /// What everybody in the table used together, on all its pages.
    pub all: Totals,
    /// How many people are in the table, on all its pages.
    pub people: u64,
}

/// The whole UTC days within a period: the first, and the one after the last. What lies around them is read by hours.
fn days(from: OffsetDateTime, to: OffsetDateTime) -> (Date, Date) {
    let first =
        if from.time() == time::Time::MIDNIGHT { from.date() } else { from.date().saturating_add(time::Duration::DAY) };
    (first, to.date().max(first))
}

/// A pattern for `like` that finds a text anywhere, whatever signs are in it.
pub(crate) fn contains(text: &str) -> String {
    format!("%{}%", text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_"))
}

/// The heaviest users of a period. Who they are is looked up for a page's rows only, unless it is asked for by plan, address, refusals or
/// margin.
///
/// # Errors
/// When Postgres does.
pub async fn list(db: impl PgExecutor<'_>, asked: &Asked<'_>) -> Result<Vec<Heavy>> {
    let (order, wide) = match asked.order {
        Order::Cost => (0, false),
        Order::Tokens => (1, false),
        Order::Requests => (2, false),
        Order::Margin => (3, true),
        Order::Refusals => (4, true),
        Order::EstimateError => (5, false),
    };
    let wide = wide || asked.plan.is_some() || asked.search.is_some();
    let (first, after) = days(asked.from, asked.to);
    let pattern = asked.search.map(contains);
    let rows = sqlx::query!(
        r#"with part as (
             select subject, requests, input_tokens, cached_tokens, output_tokens, estimated_tokens, cost_picos
             from usage_day where day >= $3 and day < $4 and ($6::text is null or model = $6)
             union all
             select subject, requests, input_tokens, cache_read_tokens + cache_write_tokens, output_tokens, estimated_tokens, cost_picos
             from usage_hour
             where hour >= $1 and hour < least($3::date::timestamp at time zone 'UTC', $2) and ($6::text is null or model = $6)
             union all
             select subject, requests, input_tokens, cache_read_tokens + cache_write_tokens, output_tokens, estimated_tokens, cost_picos
             from usage_hour
             where hour >= greatest($4::date::timestamp at time zone 'UTC', $1) and hour < $2 and ($6::text is null or model = $6)
             union all
             -- who was refused and used nothing stands in the table only where refusals are what it is about
             select a.subject, 0, 0, 0, 0, 0, 0 from refusal_hour r join account a using (user_id)
             where $8 = 4 and $6::text is null and r.hour >= $1 and r.hour < $2
           ), person as (
             select subject, sum(requests)::bigint as requests, sum(input_tokens)::bigint as input, sum(cached_tokens)::bigint as cached,
                    sum(output_tokens)::bigint as output, sum(estimated_tokens)::bigint as estimated, sum(cost_picos) as cost
             from part group by subject
           ), known as (
             select p.*, a.user_id, a.email, a.plan_id, coalesce(r.n, 0) as refusals, coalesce(s.pays, 0) as pays
             from person p
             left join lateral (
               select user_id, email, plan_id from account where $9 and subject = p.subject order by created_at limit 1
             ) a on true
             left join lateral (
               select sum(n) as n from refusal_hour where $9 and user_id = a.user_id and hour >= $1 and hour < $2
             ) r on true
             left join lateral (select user_pays(a.user_id, $1, $2) as pays where $9 and a.user_id is not null) s on true
             where ($5::text is null or a.plan_id = $5) and ($7::text is null or a.email ilike $7)
           ), ranked as (
             select k.*, (sum(requests) over ())::bigint as all_requests, (sum(input) over ())::bigint as all_input,
                    (sum(cached) over ())::bigint as all_cached, (sum(output) over ())::bigint as all_output,
                    sum(cost) over () as all_cost, count(*) over () as people,
                    case $8::int when 0 then cost when 1 then input + cached + output when 2 then requests when 3 then cost - pays * 1000000000000
                      when 4 then refusals else abs(estimated - input - cached)::numeric / greatest(input + cached, 1) end as rank
             from known k
             order by rank desc, subject offset $10 limit $11
           )
           select r.subject as "subject!", a.user_id as "user_id?", a.email as "email?", a.plan_id as "plan_id?",
                  r.requests as "requests!", r.input as "input!", r.cached as "cached!", r.output as "output!",
                  r.estimated as "estimated!", r.cost::bigint as "cost!",
                  coalesce((select sum(n) from refusal_hour f where f.user_id = a.user_id and f.hour >= $1 and f.hour < $2), 0)::bigint as "refusals!",
                  case when a.user_id is null then 0 else user_pays(a.user_id, $1, $2) end as "pays!",
                  r.all_requests as "all_requests!", r.all_input as "all_input!", r.all_cached as "all_cached!",
                  r.all_output as "all_output!", r.all_cost::bigint as "all_cost!", r.people as "people!"
           from ranked r
           left join lateral (select user_id, email, plan_id from account where subject = r.subject order by created_at limit 1) a on true
           order by r.rank desc, r.subject"#,
        asked.from,
        asked.to,
        first,
        after,
        asked.plan.map(|plan| plan.0.as_str()),
        asked.model.map(|model| model.0.as_str()),
        pattern,
        order,
        wide,
        asked.offset,
        asked.limit,
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Heavy {
            subject: row.subject,
            user_id: row.user_id.map(Into::into),
            email: row.email,
            plan: row.plan_id.map(PlanId),
            totals: Totals {
                requests: Tokens::from_db(row.requests).0,
                input: Tokens::from_db(row.input),
                cached: Tokens::from_db(row.cached),
                output: Tokens::from_db(row.output),
                cost: Picos(row.cost),
            },
            estimated: Tokens::from_db(row.estimated),
            refusals: Tokens::from_db(row.refusals).0,
            pays: Picos::from_usd(row.pays.round_dp(12)).unwrap_or_default(),
            all: Totals {
                requests: Tokens::from_db(row.all_requests).0,
                input: Tokens::from_db(row.all_input),
                cached: Tokens::from_db(row.all_cached),
                output: Tokens::from_db(row.all_output),
                cost: Picos(row.all_cost),
            },
            people: Tokens::from_db(row.people).0,
        })
        .collect())
}

/// What each model cost on each day of a period.
///
/// # Errors
/// When Postgres does.
pub async fn cost_by_day(
    db: impl PgExecutor<'_>,
    from: OffsetDateTime,
    to: OffsetDateTime,
) -> Result<Vec<(Date, ModelName, Picos)>> {
    let (first, after) = days(from, to);
    let rows = sqlx::query!(
        r#"select day as "day!", model as "model!", sum(cost_picos)::bigint as "cost!" from (
             select day, model, cost_picos from usage_day where day >= $3 and day < $4
             union all
             select (hour at time zone 'UTC')::date, model, cost_picos from usage_hour
             where hour >= $1 and hour < least($3::date::timestamp at time zone 'UTC', $2)
             union all
             select (hour at time zone 'UTC')::date, model, cost_picos from usage_hour
             where hour >= greatest($4::date::timestamp at time zone 'UTC', $1) and hour < $2
           ) part group by 1, 2 order by 1, 2"#,
        from,
        to,
        first,
        after,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (row.day, ModelName(row.model), Picos(row.cost))).collect())
}

/// What the house takes in, refuses and does.
pub struct Around {
    /// What subscriptions pay for the period, by its days.
    pub revenue: Picos,
    /// How often people were refused, by reason, the most frequent first.
    pub refusals: Vec<(String, u64)>,
    /// Turns that run now.
    pub running: u64,
    /// Tokens held for them.
    pub reserved: Tokens,
}

/// What stands around the table of a period.
///
/// # Errors
/// When Postgres does.
pub async fn around(db: &crate::Db, from: OffsetDateTime, to: OffsetDateTime) -> Result<Around> {
    let now = sqlx::query!(
        r#"select coalesce((select sum(user_pays(user_id, $1, $2)) from (
                    select distinct user_id from subscription where user_id is not null) s), 0) as "revenue!",
                  count(*) as "running!", coalesce(sum(u.reserved_tokens), 0)::bigint as "reserved!"
           from turn t join ai_usage u on u.turn_id = t.turn_id and u.created_at = t.created_at
           where t.ended_at is null and u.status = 'pending'"#,
        from,
        to
    )
    .fetch_one(db)
    .await?;
    let refusals = sqlx::query!(
        r#"select kind, sum(n)::bigint as "n!" from refusal_hour where hour >= $1 and hour < $2 group by kind order by 2 desc, 1"#,
        from,
        to
    )
    .fetch_all(db)
    .await?;
    Ok(Around {
        revenue: Picos::from_usd(now.revenue.round_dp(12)).unwrap_or_default(),
        refusals: refusals.into_iter().map(|row| (row.kind, Tokens::from_db(row.n).0)).collect(),
        running: Tokens::from_db(now.running).0,
        reserved: Tokens::from_db(now.reserved),
    })
}
