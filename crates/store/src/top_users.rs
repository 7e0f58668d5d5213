//! Who used what in a period. Everybody's sums are read from spans and ranked here; who they are is looked up for a page's rows.

use crate::span::{self, Sums, Users};
use crate::usage::Totals;
use crate::{Result, Tx};
use domain::{ModelName, Picos, PlanId, Tokens, UserId};
use rust_decimal::Decimal;
use sqlx::PgExecutor;
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use time::{Date, OffsetDateTime};

/// What a table of the top users is sorted by, the most first; for the margin the least.
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
pub struct UsageFilter<'a> {
    /// The first hour.
    pub from: OffsetDateTime,
    /// The end, not included: the beginning of an hour.
    pub to: OffsetDateTime,
    /// Sorted by.
    pub order: Order,
    /// Only users on this plan now.
    pub plan: Option<&'a PlanId>,
    /// Only use of this model.
    pub model: Option<&'a ModelName>,
    /// Only addresses that hold this.
    pub search: Option<&'a str>,
    /// Rows to pass over.
    pub offset: usize,
    /// Rows at most.
    pub limit: usize,
}

/// One row of the top users.
pub struct UserUsage {
    /// Numbers them in the ledger's sums.
    pub subject_id: i32,
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
}

/// The top users of a period.
pub struct TopUsers {
    /// A page of them.
    pub rows: Vec<UserUsage>,
    /// What everybody in the table used together, on all its pages.
    pub all: Totals,
    /// How many users used something, on all its pages.
    pub users: usize,
    /// How many rows the table has, on all its pages: also who was refused and used nothing, where refusals are what it is about.
    pub count: usize,
}

/// A pattern for `like` that finds a text anywhere, whatever signs are in it.
pub(crate) fn contains(text: &str) -> String {
    format!("%{}%", text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_"))
}

/// The top users of a period. Several statements: within one transaction they are of one moment.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn list(db: &mut Tx, filter: &UsageFilter<'_>) -> Result<TopUsers> {
    let mut users = span::users(db, filter.from, filter.to, filter.model).await?;
    let mut refusals = match filter.order {
        Order::Refusals => refusals(db, filter).await?,
        _ => HashMap::new(),
    };
    if filter.plan.is_some() || filter.search.is_some() {
        let fits = who(db, filter).await?;
        users.retain(|id, _| fits.contains(id));
        refusals.retain(|id, _| fits.contains(id));
    }
    let active = users.len();
    if filter.model.is_none() {
        for id in refusals.keys() {
            users.entry(*id).or_default();
        }
    }
    // A subscription says nothing beside one model's part of the cost.
    let pays = match filter.order {
        Order::Margin if filter.model.is_none() => pays(db, filter).await?,
        _ => HashMap::new(),
    };
    let rank = |id: &i32, sums: &Sums| match filter.order {
        Order::Cost => i128::from(sums.cost),
        Order::Tokens => i128::from(sums.tokens()),
        Order::Requests => i128::from(sums.requests),
        Order::Margin => i128::from(sums.cost) - i128::from(pays.get(id).map_or(0, |pays| pays.0)),
        Order::Refusals => i128::from(refusals.get(id).copied().unwrap_or(0)),
        // parts of a thousand million
        Order::EstimateError => {
            let real = i128::from(sums.input) + i128::from(sums.cached);
            (i128::from(sums.estimated) - real).abs() * 1_000_000_000 / real.max(1)
        }
    };
    let all = users.values().fold(Sums::default(), |mut all, sums| {
        all += sums;
        all
    });
    let mut ranked: Vec<_> = users.iter().map(|(id, sums)| (Reverse(rank(id, sums)), *id)).collect();
    // Only as far as the page reaches.
    let reach = filter.offset.saturating_add(filter.limit);
    if reach < ranked.len() {
        ranked.select_nth_unstable(reach);
        ranked.truncate(reach);
    }
    ranked.sort_unstable();
    let page: Vec<i32> = ranked.into_iter().skip(filter.offset).map(|(_, id)| id).collect();
    Ok(TopUsers {
        rows: told(db, filter, &page, &users).await?,
        all: Totals::from(&all),
        users: active,
        count: users.len(),
    })
}

fn dollars(pays: Decimal) -> Picos {
    Picos::from_usd(pays.round_dp(12)).unwrap_or_default()
}

/// A page's rows, in its order: who they are, what they pay and how often they were refused.
async fn told(db: &mut Tx, filter: &UsageFilter<'_>, page: &[i32], users: &Users) -> Result<Vec<UserUsage>> {
    let rows = sqlx::query!(
        r#"select s.subject_id, s.subject, a.user_id as "user_id?", a.email as "email?", a.plan_id as "plan_id?",
                  coalesce((select sum(f.n) from refusal_hour f join account b using (user_id)
                            where b.subject = s.subject and f.hour >= $2 and f.hour < $3), 0)::bigint as "refusals!",
                  coalesce((select sum(price_over(d.amount_minor, d.period, d.paid)) from subscriptions_paid($2, $3) d
                            where d.subject_id = s.subject_id), 0) as "pays!"
           from unnest($1::int[]) with ordinality p (subject_id, place)
           join usage_subject s on s.subject_id = p.subject_id
           left join lateral (
             select user_id, email, plan_id from account where subject = s.subject order by created_at, user_id limit 1
           ) a on true
           order by p.place"#,
        page,
        filter.from,
        filter.to,
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let sums = users.get(&row.subject_id).copied().unwrap_or_default();
            UserUsage {
                subject_id: row.subject_id,
                subject: row.subject,
                user_id: row.user_id.map(Into::into),
                email: row.email,
                plan: row.plan_id.map(PlanId),
                totals: Totals::from(&sums),
                estimated: Tokens::from_db(sums.estimated),
                refusals: row.refusals.max(0).cast_unsigned(),
                pays: dollars(row.pays),
            }
        })
        .collect())
}

/// Whose plan and address fit. Where accounts share a subject it is the first one that counts.
async fn who(db: &mut Tx, filter: &UsageFilter<'_>) -> Result<HashSet<i32>> {
    let ids = sqlx::query_scalar!(
        "select s.subject_id from account a join usage_subject s using (subject)
         where ($1::text is null or a.plan_id = $1) and ($2::text is null or a.email ilike $2)
           and not exists (select from account b where b.subject = a.subject and (b.created_at, b.user_id) < (a.created_at, a.user_id))",
        filter.plan.map(|plan| plan.0.as_str()),
        filter.search.map(contains),
    )
    .fetch_all(db)
    .await?;
    Ok(ids.into_iter().collect())
}

/// How often each was refused.
async fn refusals(db: &mut Tx, filter: &UsageFilter<'_>) -> Result<HashMap<i32, i64>> {
    let rows = sqlx::query!(
        r#"select s.subject_id, sum(r.n)::bigint as "n!"
           from refusal_hour r join account a using (user_id) join usage_subject s using (subject)
           where r.hour >= $1 and r.hour < $2 group by s.subject_id"#,
        filter.from,
        filter.to,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (row.subject_id, row.n)).collect())
}

/// What each pays; accounts that share a subject pay together, as they cost together.
async fn pays(db: &mut Tx, filter: &UsageFilter<'_>) -> Result<HashMap<i32, Picos>> {
    let rows = sqlx::query!(
        r#"select subject_id as "subject_id!", sum(price_over(amount_minor, period, paid)) as "pays!"
           from subscriptions_paid($1, $2) where subject_id is not null group by subject_id"#,
        filter.from,
        filter.to,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (row.subject_id, dollars(row.pays))).collect())
}

/// What some users cost on each UTC day from one to another, both included: for each of them as many as there are days.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn by_day(db: &mut Tx, users: &[i32], first: Date, last: Date) -> Result<HashMap<i32, Vec<Picos>>> {
    // A row for each of them and not for each of their days: those would take three times as long.
    let rows = sqlx::query!(
        r#"select subject_id, array_agg(day - $2) as "places!", array_agg(cost_picos) as "costs!"
           from usage_day where subject_id = any($1) and day >= $2 and day <= $3 group by subject_id"#,
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
        for (place, cost) in row.places.into_iter().zip(row.costs) {
            let at = usize::try_from(place).ok().and_then(|place| line.get_mut(place));
            at.into_iter().for_each(|at| *at = Picos(cost));
        }
    }
    Ok(lines)
}

/// What the deployment takes in and refuses.
pub struct Around {
    /// What subscriptions in dollars pay for the period, by its days.
    pub revenue: Picos,
    /// How many live subscriptions are in other currencies, and left out.
    pub other_currencies: u64,
    /// How often users were refused, by reason, the most frequent first.
    pub refusals: Vec<(String, u64)>,
}

/// What stands around the table of a period.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn around(db: &mut Tx, from: OffsetDateTime, to: OffsetDateTime) -> Result<Around> {
    let paid = sqlx::query!(
        // The same price of many is multiplied once.
        r#"select coalesce((select sum(price_over(amount_minor, period, paid)) from (
                    select amount_minor, period, sum(paid) as paid from subscriptions_paid($1, $2) group by amount_minor, period) p), 0) as "revenue!",
                  (select count(*) from subscription where currency <> 'usd' and status in ('active', 'past_due')) as "other_currencies!""#,
        from,
        to
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
    Ok(Around {
        revenue: dollars(paid.revenue),
        other_currencies: paid.other_currencies.max(0).cast_unsigned(),
        refusals: refusals.into_iter().map(|row| (row.kind, row.n.max(0).cast_unsigned())).collect(),
    })
}

/// How many turns run, and how many tokens are held for them.
///
/// # Errors
/// Returns an error if the query fails.
pub async fn running(db: impl PgExecutor<'_>) -> Result<(u64, Tokens)> {
    let row = sqlx::query!(
        r#"select count(*) as "running!", coalesce(sum(reserved), 0)::bigint as "reserved!"
           from (
             select max(u.reserved_tokens) as reserved
             from turn t join ai_usage u on u.turn_id = t.turn_id and u.created_at = t.created_at
             where t.ended_at is null and u.status = 'pending' group by t.turn_id
           ) turns"#
    )
    .fetch_one(db)
    .await?;
    Ok((row.running.max(0).cast_unsigned(), Tokens::from_db(row.reserved)))
}
