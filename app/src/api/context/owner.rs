//! Loads the data of the owner's pages.

use super::api_key::keys_with_use;
use super::model::warnings;
use super::{PageState, Reader, Refusal, billing_of, refuse, usage_of};
use crate::view::admin::{
    AUDIT_ROWS, AccountList, AuditList, KeyFigures, ModelUse, Moment, PlanRow, TopUsersView, USER_ROWS, UsageInterval,
};
use domain::report::start_of_hour;
use domain::{AccountSummary, ModelName, Picos, Plan, Problem, ReportPeriod, Tokens, UsageFilter};
use std::collections::BTreeMap;
use store::rollup::{Include, Interval};
use time::OffsetDateTime;

/// Distance between the first and the last day of the shortest sparkline, which has 30 days.
const SPARKLINE: time::Duration = time::Duration::days(29);
/// Distance between the first and the last day of the longest sparkline, which has 92 days.
const LONGEST_SPARKLINE: time::Duration = time::Duration::days(91);
/// The longest period whose usage is shown by the hour.
const HOURLY: time::Duration = time::Duration::days(2);

/// Loads the top users of a period. All figures from the ledger are as of the same moment: the last refresh for a standard period, now for
/// a custom one.
pub(crate) async fn top_users(state: &PageState, mut filter: UsageFilter) -> Result<TopUsersView, Refusal> {
    let fail = |error| state.fail(error);
    // Concurrent requests of admins run one at a time, so that they don't delay chat. The semaphore is never closed.
    let _permit = state.report_permits.acquire().await;
    let now = (state.now)();
    let mut tx = store::begin_reading(&state.admin_db).await.map_err(fail)?;
    let as_of = store::rollup::as_of(&mut tx, filter.period).await.map_err(fail)?;
    let (from, to) = filter.period.bounds(as_of.unwrap_or(now));
    let include = match filter.period {
        ReportPeriod::Custom(..) => Include::Everything,
        _ => Include::Refreshed,
    };
    let mut top_users = store::top_users::list(&mut tx, &filter, UsageFilter::ROWS, now).await.map_err(fail)?;
    let pages = last_page(top_users.count, UsageFilter::ROWS);
    if filter.page > pages {
        filter.page = pages;
        top_users = store::top_users::list(&mut tx, &filter, UsageFilter::ROWS, now).await.map_err(fail)?;
    }
    let summary = store::rollup::summary(&mut tx, filter.period, (from, to)).await.map_err(fail)?;
    let interval = if to - from <= HOURLY { Interval::Hour } else { Interval::Day };
    let used = store::rollup::totals(&mut tx, (from, to), include, interval).await.map_err(fail)?;
    let change = change(&mut tx, (from, to), as_of.unwrap_or(now), include).await.map_err(fail)?;
    let moment = moment(&mut tx, state.daily_spend, now).await.map_err(fail)?;
    let last = (to - time::Duration::SECOND).date().max(from.date());
    let line = (from.date().min(last - SPARKLINE).max(last - LONGEST_SPARKLINE), last);
    let ids: Vec<i32> = top_users.rows.iter().map(|row| row.subject_id).collect();
    let mut lines = store::top_users::by_day(&mut tx, &ids, line.0, line.1).await.map_err(fail)?;
    for row in &mut top_users.rows {
        row.line = lines.remove(&row.subject_id).unwrap_or_default();
    }
    let models = store::model_rule::list(&mut tx, now).await.map_err(fail)?;
    let cache_savings = store::rollup::cache_savings(&mut tx, (from, to), include).await.map_err(fail)?;
    let warnings = warnings(state, &mut tx, &models, now.date()).await?;
    let plans = store::plan::list(&mut tx).await.map_err(fail)?;
    let kept_from = store::ledger::kept_from(&mut tx).await.map_err(fail)?;
    tx.commit().await.map_err(fail)?;

    let intervals = every_interval(used.intervals, (from, to), interval);
    let (by_model, all_models) = model_use(used.by_model);
    Ok(TopUsersView {
        as_of: if filter.period.is_standard() { as_of } else { Some(now) },
        total: top_users.all,
        users: top_users.users,
        count: top_users.count,
        change,
        rows: top_users.rows,
        page: filter.page,
        intervals,
        is_hourly: interval == Interval::Hour,
        line: Some(line),
        by_model,
        all_models,
        kept_from: kept_from.filter(|kept| from < *kept),
        revenue: summary.revenue,
        other_currencies: summary.other_currencies,
        refusals: summary.refusals,
        cache_savings,
        warnings,
        now: moment,
        plans: plans.into_iter().map(|plan| plan.id).collect(),
        models: models.into_iter().map(|row| row.model.name).collect(),
    })
}

/// Returns the number of the last page, which is 1 if there are no rows.
fn last_page(rows: u64, page_rows: u32) -> u32 {
    u32::try_from(rows.div_ceil(u64::from(page_rows)).max(1)).unwrap_or(u32::MAX)
}

/// Loads the figures of the period's whole hours and of as many hours before it. Returns `None` while the period has no whole hour, because
/// the current hour can't be compared with a complete one.
async fn change(
    tx: &mut store::Tx,
    (from, to): (OffsetDateTime, OffsetDateTime),
    now: OffsetDateTime,
    include: Include,
) -> store::Result<Option<(KeyFigures, KeyFigures)>> {
    let end = to.min(start_of_hour(now));
    if end <= from {
        return Ok(None);
    }
    let current = store::rollup::figures(tx, (from, end), include).await?;
    let before = store::rollup::figures(tx, (from - (end - from), from), include).await?;
    Ok(Some((current.into(), before.into())))
}

impl From<store::rollup::PeriodFigures> for KeyFigures {
    fn from(figures: store::rollup::PeriodFigures) -> Self {
        let requests = figures.requests.max(0).cast_unsigned();
        Self { cost: figures.cost, tokens: Tokens::from_db(figures.tokens), requests }
    }
}

/// Returns the usage in each hour or day of a period, including those without usage.
fn every_interval(
    mut used: BTreeMap<OffsetDateTime, store::rollup::IntervalTotals>,
    (from, to): (OffsetDateTime, OffsetDateTime),
    interval: Interval,
) -> Vec<UsageInterval> {
    let (first, step) = match interval {
        Interval::Hour => (start_of_hour(from), time::Duration::HOUR),
        Interval::Day => (from.date().midnight().assume_utc(), time::Duration::DAY),
    };
    let starts = std::iter::successors(Some(first), |at| at.checked_add(step)).take_while(|at| *at < to);
    starts
        .map(|at| {
            let totals = used.remove(&at).unwrap_or_default();
            UsageInterval {
                at,
                cost: totals.cost.into_iter().map(|(model, cost)| (ModelName(model), cost)).collect(),
                tokens: Tokens::from_db(totals.tokens),
                requests: totals.requests.max(0).cast_unsigned(),
            }
        })
        .collect()
}

/// Returns the usage by model, most expensive first, and the usage of all models.
fn model_use(used: BTreeMap<String, store::rollup::Totals>) -> (Vec<(ModelName, ModelUse)>, ModelUse) {
    let mut total = store::rollup::Totals::default();
    used.values().for_each(|totals| total += totals);
    let mut by_model: Vec<(ModelName, ModelUse)> =
        used.into_iter().map(|(model, totals)| (ModelName(model), totals.into())).collect();
    by_model.sort_by_key(|(_, used)| std::cmp::Reverse(used.cost));
    (by_model, total.into())
}

/// Loads the running turns and the spending of the deployment now. `env_spend` is the cap set in the environment.
async fn moment(tx: &mut store::Tx, env_spend: Option<Picos>, now: OffsetDateTime) -> store::Result<Moment> {
    let (running, reserved) = store::turn::count_running(&mut *tx).await?;
    let spent = store::rollup::spent_in_whole_hours(tx, now).await?;
    let switches = store::deployment::switches(&mut *tx).await?;
    let cap = [switches.daily_spend, env_spend].into_iter().flatten().min();
    Ok(Moment { running, reserved, spent, cap })
}

impl From<store::rollup::Totals> for ModelUse {
    fn from(totals: store::rollup::Totals) -> Self {
        Self {
            calls: totals.calls.max(0).cast_unsigned(),
            failed: totals.failed.max(0).cast_unsigned(),
            cost: totals.cost(),
            cache_write: Tokens::from_db(totals.cache_write),
            cache_write_long: Tokens::from_db(totals.cache_write_long),
            reasoning: Tokens::from_db(totals.reasoning),
            ttft_ms: totals.ttft(50).zip(totals.ttft(95)),
        }
    }
}

/// Loads a page of accounts, newest first. A number beyond the last page loads the last page.
pub(crate) async fn users(state: &PageState, search: &str, is_risky: bool, page: u32) -> Result<AccountList, Refusal> {
    let search: String = search.chars().filter(|c| !c.is_control()).take(200).collect();
    let search = Some(search.trim()).filter(|text| !text.is_empty());
    let filter = store::account::AccountFilter { search, is_risky };
    let mut page = page.clamp(1, 100_000);
    let (mut rows, mut all) = accounts(state, filter, page).await?;
    if rows.is_empty() && page > 1 {
        // A page without rows doesn't know how many accounts there are.
        let (_, found) = accounts(state, filter, 1).await?;
        page = last_page(found, USER_ROWS);
        (rows, all) = accounts(state, filter, page).await?;
    }
    Ok(AccountList { rows, all, page })
}

/// Loads the rows of a page of accounts.
async fn accounts(
    state: &PageState,
    filter: store::account::AccountFilter<'_>,
    page: u32,
) -> Result<(Vec<AccountSummary>, u64), Refusal> {
    let offset = i64::from(page - 1) * i64::from(USER_ROWS);
    let found = store::account::list(&state.admin_db, filter, offset, i64::from(USER_ROWS)).await;
    found.map_err(|error| state.fail(error))
}

/// Days of which a plan's maximum cost is shown.
const COST_DAYS: u64 = 30;

/// Loads all plans, and the names of all models that a plan can allow.
pub(crate) async fn plans(state: &PageState) -> Result<(Vec<PlanRow>, Vec<ModelName>), Refusal> {
    let (db, fail, now) = (&state.admin_db, |error| state.fail(error), (state.now)());
    let plans = store::plan::list(db).await.map_err(fail)?;
    let models = store::model_rule::list(db, now).await.map_err(fail)?;
    let keys = store::plan_rule::api_keys(db).await.map_err(fail)?;
    let highest = store::model_rule::highest_prices(db, now).await.map_err(fail)?;
    let max_cost = |plan: &Plan| {
        let usable = models.iter().filter(|row| row.rules.enabled && plan.allows(&row.model.name));
        let tokens = plan.tokens_per_day.0.saturating_mul(COST_DAYS);
        usable.filter_map(|row| Some((highest.get(&row.model.name)?.of(tokens), row.model.name.clone()))).max()
    };
    let row = |plan: Plan| PlanRow {
        api_keys: keys.get(&plan.id).map_or(0, |keys| keys.unsigned_abs()),
        max_cost: max_cost(&plan),
        plan,
    };
    Ok((plans.into_iter().map(row).collect(), models.iter().map(|row| row.model.name.clone()).collect()))
}

/// Loads a page of the audit log, newest first.
pub(crate) async fn audit(state: &PageState, page: u32) -> Result<AuditList, Refusal> {
    let offset = i64::from(page.clamp(1, 100_000) - 1) * i64::from(AUDIT_ROWS);
    // One more shows whether there are older ones.
    let entries = store::audit::list(&state.admin_db, None, offset, i64::from(AUDIT_ROWS) + 1).await;
    let mut rows = entries.map_err(|error| state.fail(error))?;
    let page_rows = AUDIT_ROWS as usize;
    let has_more = rows.len() > page_rows;
    rows.truncate(page_rows);
    Ok(AuditList { rows, has_more })
}

/// Loads a user's admin page.
pub(crate) async fn user(state: &PageState, id: domain::UserId) -> Result<crate::view::admin::UserView, Refusal> {
    let (db, fail) = (&state.admin_db, |error| state.fail(error));
    let found = store::account::user(db, id).await.map_err(fail)?;
    let user = found.ok_or_else(|| refuse(Problem::not_found("account")))?;
    let plans = store::plan::list(db).await.map_err(fail)?;
    let usage = usage_of(state, db, &user.viewer, 30, Reader::Owner).await?;
    let billing = billing_of(state, &user.viewer).await?;
    let keys = keys_with_use(state, db, id, (state.now)(), true).await.map_err(fail)?;
    let granted = user.granted;
    let rules = store::account_rule::load(db, id, (state.now)()).await.map_err(fail)?;
    let rules = rules.ok_or_else(|| refuse(Problem::not_found("account")))?;
    let audit = store::audit::list(db, Some(id), 0, 50).await.map_err(fail)?;
    let holds = store::turn::list_held(db, id).await.map_err(fail)?;
    let own = |until| crate::view::admin::OwnLimits { requests: rules.requests, tokens: rules.tokens, until };
    Ok(crate::view::admin::UserView {
        now: (state.now)(),
        keys,
        limits: rules.until.map(own),
        paused_at: rules.paused_at,
        sessions: rules.sessions,
        holds,
        audit,
        viewer: user.viewer,
        created_at: user.created_at,
        granted,
        plans,
        usage,
        billing,
    })
}

/// Loads the health of the deployment: payments, providers, alerts, meters, jobs, schema, and the freshness of the usage report.
pub(crate) async fn health(state: &PageState) -> Result<crate::view::admin::HealthView, Refusal> {
    use crate::view::admin::HealthView;
    let (db, fail) = (&state.admin_db, |error| state.fail(error));
    let inbox = store::stripe_event::inbox(db).await.map_err(fail)?;
    let queue = store::job::queue(db).await.map_err(fail)?;
    let flags = store::billing_flag::list_open(db).await.map_err(fail)?;
    let last = store::reconciliation::last(db).await.map_err(fail)?;
    let drift = |value: serde_json::Value| serde_json::from_value(value).unwrap_or_default();
    Ok(HealthView {
        payments: state.payments,
        waiting: inbox.waiting,
        oldest: inbox.oldest,
        last_event: inbox.last,
        dead_letters: inbox.dead_letters,
        flags,
        providers: (state.providers)(),
        ignored_forward: (state.ignored_forward)(),
        alerts: store::alert::list(db, 20)
            .await
            .map_err(fail)?
            .into_iter()
            .map(|alert| (alert.message, alert.began_at, alert.ended_at))
            .collect(),
        drifts: store::usage::drifts(db, (state.now)() - time::Duration::days(1)).await.map_err(fail)?,
        jobs_waiting: queue.waiting,
        jobs_dead: queue.dead,
        jobs_erased: queue.erased,
        job_error: queue.last_error,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        schema: store::schema(db).await.map_err(fail)?,
        report: store::rollup::freshness(db).await.map(|report| (report.as_of, report.unfolded)).map_err(fail)?,
        compared: last.map(|last| (last.began_at, last.checked, drift(last.drift))),
    })
}

/// Number of comments that are shown of each model.
const COMMENTS: i64 = 5;

fn comment_row(found: store::feedback::Comment) -> crate::view::admin::CommentRow {
    let store::feedback::Comment { model, is_good, text, user_id, email, created_at } = found;
    crate::view::admin::CommentRow { model: ModelName(model), is_good, text, user_id, email, created_at }
}

/// Loads all models with their prices and settings, and the global limits.
pub(crate) async fn models(state: &PageState) -> Result<crate::view::admin::ModelsView, Refusal> {
    use crate::view::admin::{ModelRow, ModelsView, PriceRow};
    let fail = |error| state.fail(error);
    let switches = store::deployment::switches(&state.admin_db).await.map_err(fail)?;
    let models = store::model_rule::list(&state.admin_db, (state.now)()).await.map_err(fail)?;
    // At least two decimals, and more if the price has more.
    let usd = |price: domain::MicrosPerMillion| {
        let exact = price.to_usd().to_string();
        let decimals = exact.split_once('.').map_or(0, |(_, decimals)| decimals.len());
        format!("{exact}{}{}", if decimals == 0 { "." } else { "" }, "0".repeat(2_usize.saturating_sub(decimals)))
    };
    let now = (state.now)();
    let mut tx = store::begin_reading(&state.admin_db).await.map_err(fail)?;
    let used = store::rollup::spent_in_a_day(&mut tx, now).await.map_err(fail)?;
    let ratings = store::feedback::by_model(&mut tx).await.map_err(fail)?;
    let comments = store::feedback::latest_comments(&mut tx, COMMENTS).await.map_err(fail)?;
    tx.commit().await.map_err(fail)?;
    let spent = |model: Option<&ModelName>| {
        let of = used.iter().filter(|(name, _)| model.is_none_or(|model| **name == model.0));
        of.fold(Picos::ZERO, |sum, (_, cost)| sum.plus(*cost))
    };
    let rating = |model: &ModelName| ratings.get(&model.0).copied().unwrap_or_default();
    let row = |row: store::model_rule::ModelSettings| ModelRow {
        is_connected: (state.offers)(&row.model),
        rated: rating(&row.model.name).rated,
        good: rating(&row.model.name).good,
        spent: spent(Some(&row.model.name)),
        is_on: row.rules.enabled,
        price: row.price.map(|tier| PriceRow {
            input: usd(tier.input),
            cache_read: tier.cache_read.map(usd),
            cache_write: tier.cache_write.map(usd),
            cache_write_long: tier.cache_write_long.map(usd),
            output: usd(tier.output),
        }),
        next_price: row.next_price.map(|(input, output, at)| (usd(input), usd(output), at)),
        plans: row.plans,
        daily_spend: row.rules.daily_spend,
        model: row.model,
    };
    Ok(ModelsView {
        is_paused: switches.paused,
        daily_spend: switches.daily_spend,
        env_spend: state.daily_spend,
        spent: spent(None),
        models: models.into_iter().map(row).collect(),
        comments: comments.into_iter().map(comment_row).collect(),
        today: now.date(),
    })
}
