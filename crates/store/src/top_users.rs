//! The owner's report of usage, cost and revenue by user in a period.

use crate::rollup::Sums;
use crate::{Result, Tx};
use domain::{Picos, PlanId, ReportPeriod, Tokens, UsageFilter, UsageSum, UserUsage};
use std::collections::HashMap;
use time::{Date, OffsetDateTime};

/// A page of the report.
#[derive(Default)]
pub struct TopUsers {
    /// The rows of the page.
    pub rows: Vec<UserUsage>,
    /// Usage of all rows on all pages.
    pub all: UsageSum,
    /// Users with usage, on all pages, without the demo on the site.
    pub users: u64,
    /// Rows on all pages, including users who were only refused.
    pub count: u64,
}

/// Returns a `like` pattern that matches strings containing `text`.
pub(crate) fn contains(text: &str) -> String {
    format!("%{}%", text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_"))
}

/// A row of the report with the sums of all rows. The subject is `None` if the page is empty.
struct ReportRow {
    subject_id: Option<i32>,
    subject: Option<String>,
    user_id: Option<uuid::Uuid>,
    email: Option<String>,
    plan_id: Option<String>,
    requests: Option<i64>,
    input: Option<i64>,
    cached: Option<i64>,
    output: Option<i64>,
    estimated: Option<i64>,
    cost: Option<i64>,
    refusals: Option<i64>,
    paid: Option<i64>,
    count: i64,
    users: i64,
    all_requests: i64,
    all_input: i64,
    all_cached: i64,
    all_output: i64,
    all_cost: i64,
}

/// Reads a page of `page_rows` rows of the report, without the cost by day, which [`by_day`] returns.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn list(db: &mut Tx, filter: &UsageFilter, page_rows: u32, now: OffsetDateTime) -> Result<TopUsers> {
    if matches!(filter.period, ReportPeriod::Custom(..)) {
        // Planned for its number of days, so that long periods are summed by two processes.
        sqlx::raw_sql("set local plan_cache_mode = force_custom_plan").execute(&mut *db).await?;
    }
    let rows = page(db, filter, page_rows, now).await?;
    let Some(first) = rows.first() else { return Ok(TopUsers::default()) };
    let all = Sums {
        requests: first.all_requests,
        input: first.all_input,
        cached: first.all_cached,
        output: first.all_output,
        estimated: 0,
        cost: first.all_cost,
    };
    Ok(TopUsers {
        all: UsageSum::from(&all),
        users: first.users.max(0).cast_unsigned(),
        count: first.count.max(0).cast_unsigned(),
        rows: rows.into_iter().filter_map(ReportRow::user_usage).collect(),
    })
}

impl ReportRow {
    fn user_usage(self) -> Option<UserUsage> {
        let sums = Sums {
            requests: self.requests?,
            input: self.input?,
            cached: self.cached?,
            output: self.output?,
            estimated: self.estimated?,
            cost: self.cost?,
        };
        Some(UserUsage {
            subject_id: self.subject_id?,
            subject: self.subject?,
            user_id: self.user_id.map(Into::into),
            email: self.email,
            plan: self.plan_id.map(PlanId),
            sum: UsageSum::from(&sums),
            estimated: Tokens::from_db(sums.estimated),
            refusals: self.refusals?.max(0).cast_unsigned(),
            paid: Picos(self.paid?),
            line: Vec::new(),
        })
    }
}

/// Reads the rows of a page: a standard period from `usage_report`, a custom one from the sums of its days, refusals and payments. Without a
/// filter by account, the sums of a standard period are those of its last refresh (`whole`). The parts that aren't needed are planned but never
/// executed. `lateral` looks up the few subjects of the page: the planner can't take the limit into account and would hash all of them.
async fn page(db: &mut Tx, filter: &UsageFilter, page_rows: u32, now: OffsetDateTime) -> Result<Vec<ReportRow>> {
    let (from, to) = filter.period.bounds(now);
    let rows = sqlx::query_as!(
        ReportRow,
        r#"with whole as materialized (
             select t.* from usage_report_total t join usage_period using (period, as_of)
             where period = $1 and t.model = $2 and $3::text is null and $4::text is null
           ), used as (
             select subject_id, sum(requests)::bigint as requests, sum(input_tokens)::bigint as input_tokens,
                    sum(cache_read_tokens + cache_write_tokens)::bigint as cached_tokens, sum(output_tokens)::bigint as output_tokens,
                    sum(estimated_tokens)::bigint as estimated_tokens, sum(cost_picos)::bigint as cost_picos
             from usage_day
             where day >= ($8::timestamptz at time zone 'UTC')::date and ($2 = '' or model = $2)
               and day < (($9::timestamptz - interval '1 hour') at time zone 'UTC')::date + 1 and $8 < $9
             group by subject_id
           ), refused as (
             select s.subject_id, sum(r.n)::bigint as n
             from refusal_hour r join account a using (user_id) join usage_subject s on s.subject = reported_subject(a)
             where r.hour >= $8 and r.hour < $9 group by s.subject_id
           ), paid as (
             select subject_id, (sum(prorated_usd(amount_minor, period, paid)) * 1000000000000)::bigint as picos
             from subscriptions_paid($8, $9) where $2 = '' and subject_id is not null group by subject_id
           ), listed as materialized (
             select f.*
             from (
               select subject_id, is_active, requests, input_tokens, cached_tokens, output_tokens, estimated_tokens, cost_picos, refusals, paid_picos
               from usage_report where period = $1 and model = $2 and not exists (select from whole)
               union all
               select subject_id, u.subject_id is not null, coalesce(requests, 0), coalesce(input_tokens, 0), coalesce(cached_tokens, 0),
                      coalesce(output_tokens, 0), coalesce(estimated_tokens, 0), coalesce(cost_picos, 0), coalesce(n, 0), coalesce(picos, 0)
               from used u full join refused r using (subject_id) left join paid p using (subject_id)
               where $1 = 'custom' and ($2 = '' or u.subject_id is not null)
             ) f
             where $3::text is null and $4::text is null or f.subject_id in (
               select s.subject_id from usage_subject s join account a using (user_id)
               where ($3::text is null or a.plan_id = $3) and ($4::text is null or a.email ilike $4))
           ), total as (
             select rows, users, requests, input_tokens, cached_tokens, output_tokens, cost_picos from whole
             union all
             select count(*), count(*) filter (where is_active and subject_id is distinct from (select subject_id from usage_subject where subject = 'demo')),
                    coalesce(sum(requests), 0)::bigint, coalesce(sum(input_tokens), 0)::bigint, coalesce(sum(cached_tokens), 0)::bigint,
                    coalesce(sum(output_tokens), 0)::bigint, coalesce(sum(cost_picos), 0)::bigint
             from listed having not exists (select from whole)
           ), page as (
             select f.*, case $5
                      when 'cost' then cost_picos when 'tokens' then input_tokens + cached_tokens + output_tokens
                      when 'requests' then requests when 'margin' then cost_picos - paid_picos when 'refusals' then refusals
                      else (abs(estimated_tokens - input_tokens - cached_tokens)::numeric * 1000000
                            / greatest(input_tokens + cached_tokens, 1))::bigint end as rank
             from (
               select subject_id, is_active, requests, input_tokens, cached_tokens, output_tokens, estimated_tokens, cost_picos, refusals, paid_picos
               from usage_report where period = $1 and model = $2 and exists (select from whole)
               union all
               select * from listed
             ) f order by rank desc, subject_id offset $6 limit $7
           )
           select page.subject_id as "subject_id?", s.subject as "subject?", a.user_id as "user_id?", a.email as "email?", a.plan_id as "plan_id?",
                  page.requests as "requests?", page.input_tokens as "input?", page.cached_tokens as "cached?", page.output_tokens as "output?",
                  page.estimated_tokens as "estimated?", page.cost_picos as "cost?", page.refusals as "refusals?", page.paid_picos as "paid?",
                  total.rows as "count!", total.users as "users!", total.requests as "all_requests!", total.input_tokens as "all_input!",
                  total.cached_tokens as "all_cached!", total.output_tokens as "all_output!", total.cost_picos as "all_cost!"
           from total left join page on true
           left join lateral (select subject, user_id from usage_subject where subject_id = page.subject_id limit 1) s on true
           left join lateral (select user_id, email, plan_id from account where user_id = s.user_id limit 1) a on true
           order by page.rank desc, page.subject_id"#,
        filter.period.as_str(),
        filter.model.as_ref().map_or("", |model| model.0.as_str()),
        filter.plan.as_ref().map(|plan| plan.0.as_str()),
        Some(filter.search.as_str()).filter(|text| !text.is_empty()).map(contains),
        filter.order.as_str(),
        i64::from(filter.page.saturating_sub(1)) * i64::from(page_rows),
        i64::from(page_rows),
        from,
        to,
    );
    Ok(rows.fetch_all(db).await?)
}

/// Reads the cost of some users on each UTC day from `first` to `last`, both included; each user's list has one entry per day.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn by_day(db: &mut Tx, users: &[i32], first: Date, last: Date) -> Result<HashMap<i32, Vec<Picos>>> {
    // One row per user instead of one per day takes a third of the time.
    let rows = sqlx::query!(
        r#"select subject_id as "subject_id!", array_agg(day - $2::date) as "indexes!", array_agg(cost) as "costs!"
           from (
             select subject_id, day, sum(cost_picos)::bigint as cost from usage_day
             where subject_id = any($1) and day >= $2 and day <= $3 group by subject_id, day
           ) d group by subject_id"#,
        users,
        first,
        last,
    )
    .fetch_all(db)
    .await?;
    let days = usize::try_from((last - first).whole_days() + 1).unwrap_or(0);
    let mut lines: HashMap<i32, Vec<Picos>> = users.iter().map(|id| (*id, vec![Picos::ZERO; days])).collect();
    for row in rows {
        let Some(line) = lines.get_mut(&row.subject_id) else { continue };
        for (index, cost) in row.indexes.into_iter().zip(row.costs) {
            let day = usize::try_from(index).ok().and_then(|index| line.get_mut(index));
            day.into_iter().for_each(|day| *day = Picos(cost));
        }
    }
    Ok(lines)
}
