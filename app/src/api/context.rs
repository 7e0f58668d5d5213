//! What the server hands to the pages it draws: the databases and the meters, and who is looking. Exists on the server only.

use super::Refusal;
use crate::visit::Visit;
use domain::{Model, Plan, Problem, ProblemKind, Quota, Viewer, quota};
use leptos::prelude::*;
use std::{fmt::Display, sync::Arc};
use time::OffsetDateTime;

/// Logs a failure once and answers what a person may be told.
pub type Report = dyn Fn(&dyn Display) -> Problem + Send + Sync;

/// Where pages read from; filled by `server::build`.
#[derive(Clone)]
pub struct Sources {
    /// Postgres.
    pub db: store::Db,
    /// A few connections of their own for the owner's tables, whose queries are cut short: they never wait before a turn's.
    pub admin_db: store::Db,
    /// The meters.
    pub limits: limits::Limits,
    /// Whether a model can be asked: its vendor has a key, or it is the demo model and nobody has.
    pub offers: Arc<dyn Fn(&Model) -> bool + Send + Sync>,
    /// Every vendor that is asked, and for how many milliseconds it is left alone, if it is.
    pub vendors: Arc<dyn Fn() -> Vec<(String, Option<u64>)> + Send + Sync>,
    /// What the environment lets the house spend in a day.
    pub daily_spend: Option<domain::Picos>,
    /// What can be bought, and from whom.
    pub payments: super::billing::Payments,
    /// Where the pages of whoever takes payments are.
    pub payment_pages: Arc<[String]>,
    /// Logs a failure once and answers what a person may be told.
    pub report: Arc<Report>,
    /// The server's clock.
    pub now: fn() -> OffsetDateTime,
}

/// The sources of this request.
pub(crate) fn sources() -> Sources {
    expect_context()
}

/// Who is looking, or a refusal.
pub(crate) fn viewer() -> Result<Viewer, Refusal> {
    let visit = use_context::<Visit>();
    visit.and_then(|visit| visit.viewer).ok_or_else(|| refuse(Problem::sign_in_required()))
}

/// An admin who is looking; anybody else learns that there is nothing here.
pub(crate) fn admin() -> Result<Viewer, Refusal> {
    let visit = use_context::<Visit>();
    visit
        .and_then(|visit| visit.viewer)
        .filter(|viewer| viewer.is_admin)
        .ok_or_else(|| refuse(Problem::not_found("page")))
}

/// A refusal, and its status on the response.
pub(crate) fn refuse(problem: Problem) -> Refusal {
    if let (Some(response), Ok(status)) =
        (use_context::<leptos_axum::ResponseOptions>(), http::StatusCode::from_u16(problem.status()))
    {
        response.set_status(status);
    }
    Refusal(problem)
}

/// A failure of ours: logged once, told with its number.
pub(crate) fn fail(error: impl Display) -> Refusal {
    refuse((sources().report)(&error))
}

/// A person's windows, requests and tokens; what follows reads a picture by these places.
pub const PERSON: [limits::Window; 2] =
    [limits::Window::calls("requests", 60_000, 60), limits::Window::amount("tokens", 86_400_000, 48)];

/// The plan and the meters as one answer.
#[must_use]
pub fn quota_of(plan: &Plan, picture: &limits::Picture) -> Quota {
    let (requests, tokens) = (picture.window(0), picture.window(1));
    let held = tokens.used.saturating_add(tokens.reserved);
    Quota {
        plan: plan.id.0.clone(),
        requests: quota::Requests {
            limit: plan.requests_per_minute,
            remaining: plan.requests_per_minute.saturating_sub(requests.used),
            reset_ms: requests.reset_ms,
        },
        tokens: quota::TokensLeft {
            limit: plan.tokens_per_day.0,
            used: tokens.used,
            reserved: tokens.reserved,
            remaining: plan.tokens_per_day.0.saturating_sub(held),
            next_free_ms: tokens.next_free_ms,
        },
        in_flight: quota::InFlight { limit: plan.in_flight, now: picture.in_flight },
    }
}

/// What is left for somebody; the meters being away is a problem of its own.
pub(crate) async fn quota(viewer: &Viewer) -> Result<Quota, Refusal> {
    match sources().limits.peek(&viewer.subject).await {
        Ok(picture) => Ok(quota_of(&viewer.plan, &picture)),
        Err(error) => {
            let logged = (sources().report)(&error);
            Err(Refusal(Problem {
                incident: logged.incident,
                ..Problem::new(ProblemKind::LimitsUnavailable, "Your limits can't be read for a moment.")
            }))
        }
    }
}

/// Gathers the chat page; the conversation must be the viewer's.
pub(crate) async fn chat_view(id: Option<domain::ConversationId>) -> Result<super::conversation::ChatView, Refusal> {
    use super::conversation::{ChatView, Choice, Listed};
    let (sources, viewer) = (sources(), viewer()?);
    let now = (sources.now)();
    let listed = store::conversation::list(&sources.db, viewer.user_id, 200).await.map_err(fail)?;
    let (mut open, mut messages, mut running) = (None, Vec::new(), None);
    if let Some(id) = id {
        let found = store::conversation::open(&sources.db, viewer.user_id, id).await.map_err(fail)?;
        let found = found.ok_or_else(|| refuse(Problem::not_found("conversation")))?;
        messages = store::message::list(&sources.db, viewer.user_id, id).await.map_err(fail)?;
        running = store::turn::running(&sources.db, viewer.user_id, id, now).await.map_err(fail)?;
        open = Some(Listed { id, title: found.title });
    }
    let models = store::model::list(&sources.db).await.map_err(fail)?;
    let mut models: Vec<Choice> = models
        .into_iter()
        .filter(|model| (sources.offers)(model))
        .map(|model| Choice {
            allowed: viewer.plan.allows(&model.name),
            is_demo: model.vendor == domain::Vendor::Demo,
            name: model.name,
            label: model.label,
        })
        .collect();
    // The plan's own order, what it doesn't allow last.
    models.sort_by_key(|choice| viewer.plan.models.iter().position(|name| *name == choice.name).unwrap_or(usize::MAX));
    Ok(ChatView {
        listed: listed.into_iter().map(|c| Listed { id: c.id, title: c.title }).collect(),
        open,
        messages,
        running,
        models,
        quota: quota(&viewer).await.ok(),
    })
}

impl From<store::usage::Totals> for super::usage::Sum {
    fn from(totals: store::usage::Totals) -> Self {
        Self {
            requests: totals.requests,
            input: totals.input,
            cached: totals.cached,
            output: totals.output,
            cost: totals.cost,
        }
    }
}

/// What somebody used in the last days, today included.
pub(crate) async fn usage_of(person: &Viewer, days: u16) -> Result<super::usage::UsageView, Refusal> {
    use super::usage::{Sum, UsageView};
    let sources = sources();
    let (db, zone, now) = (&sources.db, person.time_zone.as_str(), (sources.now)());
    let today = store::usage::today(db, zone, now).await.map_err(fail)?;
    let first = today - time::Duration::days(i64::from(days.clamp(1, 90)) - 1);
    let rows = store::usage::by_day_and_model(db, person.user_id, zone, first).await.map_err(fail)?;
    let returns = store::usage::comes_back(db, &person.subject, zone, now).await.map_err(fail)?;
    let last = store::usage::last_turns(db, person.user_id, zone, 20).await.map_err(fail)?;
    let mut by_day: Vec<(time::Date, Sum)> =
        std::iter::successors(Some(first), |day| day.next_day().filter(|next| *next <= today))
            .map(|day| (day, Sum::default()))
            .collect();
    let mut models: Vec<(domain::ModelName, Sum)> = Vec::new();
    let mut total = Sum::default();
    for row in rows {
        let sum = Sum::from(row.totals);
        total = total.plus(sum);
        if let Some((_, of_day)) = by_day.iter_mut().find(|(day, _)| *day == row.day) {
            *of_day = of_day.plus(sum);
        }
        match models.iter_mut().find(|(model, _)| *model == row.model) {
            Some((_, of_model)) => *of_model = of_model.plus(sum),
            None => models.push((row.model, sum)),
        }
    }
    models.sort_by_key(|(_, sum)| std::cmp::Reverse(sum.cost));
    let turn = |turn: store::usage::LastTurn| super::usage::Turn {
        at: turn.at,
        model: turn.model,
        status: turn.status,
        tokens: turn.tokens,
        cost: turn.cost,
    };
    Ok(UsageView {
        days: by_day,
        models,
        total,
        quota: quota(person).await.ok(),
        returns,
        last: last.into_iter().map(turn).collect(),
        time_zone: person.time_zone.clone(),
    })
}

/// The heaviest users of a period.
pub(crate) async fn heaviest(asked: super::admin::Asked) -> Result<super::admin::HeaviestView, Refusal> {
    use super::admin::{Asked, HeaviestView, Heavy, Order};
    let sources = sources();
    let db = &sources.admin_db;
    let now = (sources.now)();
    let (from, to) = asked.period.span(now);
    let found = store::heaviest::Asked {
        from,
        to,
        order: match asked.order {
            Order::Cost => store::heaviest::Order::Cost,
            Order::Tokens => store::heaviest::Order::Tokens,
            Order::Requests => store::heaviest::Order::Requests,
            Order::Margin => store::heaviest::Order::Margin,
            Order::Refusals => store::heaviest::Order::Refusals,
            Order::Estimate => store::heaviest::Order::EstimateError,
        },
        plan: asked.plan.as_ref(),
        model: asked.model.as_ref(),
        search: Some(asked.search.as_str()).filter(|text| !text.is_empty()),
        offset: i64::from(asked.page.saturating_sub(1)) * i64::from(Asked::ROWS),
        limit: i64::from(Asked::ROWS),
    };
    let rows = store::heaviest::list(db, &found).await.map_err(fail)?;
    let around = store::heaviest::around(db, from, to).await.map_err(fail)?;
    let costs = store::heaviest::cost_by_day(db, from, to).await.map_err(fail)?;
    let listed = store::model_rule::list(db, now).await.map_err(fail)?;
    let switches = store::house::switches(db).await.map_err(fail)?;
    let plans = store::plan::list(db).await.map_err(fail)?;
    let last = (to - time::Duration::SECOND).date();
    let mut days: Vec<_> = std::iter::successors(Some(from.date()), |day| day.next_day().filter(|next| *next <= last))
        .map(|day| (day, Vec::new()))
        .collect();
    for (day, model, cost) in costs {
        if let Some((_, of_day)) = days.iter_mut().find(|(known, _)| *known == day) {
            of_day.push((model, cost));
        }
    }
    Ok(HeaviestView {
        total: rows.first().map(|row| row.all.clone().into()).unwrap_or_default(),
        people: rows.first().map_or(0, |row| row.people),
        rows: rows
            .into_iter()
            .map(|row| Heavy {
                user_id: row.user_id,
                email: row.email,
                plan: row.plan,
                sum: row.totals.into(),
                estimated: row.estimated,
                refusals: row.refusals,
                pays: row.pays,
            })
            .collect(),
        days,
        revenue: around.revenue,
        refusals: around.refusals,
        running: around.running,
        reserved: around.reserved,
        today: (
            listed.iter().fold(domain::Picos::ZERO, |sum, row| sum.plus(row.spent)),
            [switches.daily_spend, sources.daily_spend].into_iter().flatten().min(),
        ),
        plans: plans.into_iter().map(|plan| plan.id).collect(),
        models: listed.into_iter().map(|row| row.model.name).collect(),
    })
}

impl From<store::audit::Written> for super::admin::Written {
    fn from(row: store::audit::Written) -> Self {
        Self {
            at: row.at,
            actor: row.actor,
            subject: row.subject,
            subject_id: row.subject_id,
            action: row.action,
            before: row.before,
            after: row.after,
            why: row.why,
        }
    }
}

/// Accounts, the newest first.
pub(crate) async fn people(search: &str, page: u32) -> Result<(Vec<super::admin::Listed>, u64), Refusal> {
    let search: String = search.chars().filter(|c| !c.is_control()).take(200).collect();
    let offset = i64::from(page.clamp(1, 100_000) - 1) * 50;
    let search = Some(search.trim()).filter(|text| !text.is_empty());
    let rows = store::account::list(&sources().admin_db, search, offset, 50).await.map_err(fail)?;
    let all = rows.first().map_or(0, |row| row.all.unsigned_abs());
    let listed = |row: store::account::Listed| super::admin::Listed {
        user_id: row.user_id,
        email: row.email,
        plan: row.plan,
        is_admin: row.is_admin,
        is_paused: row.is_paused,
        created_at: row.created_at,
    };
    Ok((rows.into_iter().map(listed).collect(), all))
}

/// Plans, and every model that one could allow.
pub(crate) async fn plans() -> Result<(Vec<Plan>, Vec<domain::ModelName>), Refusal> {
    let db = &sources().admin_db;
    let plans = store::plan::list(db).await.map_err(fail)?;
    let models = store::model_rule::list(db, (sources().now)()).await.map_err(fail)?;
    Ok((plans, models.into_iter().map(|row| row.model.name).collect()))
}

/// What admins did; a page of a hundred.
pub(crate) async fn audit(page: u32) -> Result<Vec<super::admin::Written>, Refusal> {
    let offset = i64::from(page.clamp(1, 100_000) - 1) * 100;
    let rows = store::audit::list(&sources().admin_db, None, offset, 100).await.map_err(fail)?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// One person, for an admin.
pub(crate) async fn person(id: domain::UserId) -> Result<super::admin::PersonView, Refusal> {
    let sources = sources();
    let found = store::account::person(&sources.db, id).await.map_err(fail)?;
    let person = found.ok_or_else(|| refuse(Problem::not_found("account")))?;
    let plans = store::plan::list(&sources.db).await.map_err(fail)?;
    let usage = usage_of(&person.viewer, 30).await?;
    let billing = billing_of(&person.viewer).await?;
    let granted = person.granted;
    let standing = store::account_rule::standing(&sources.db, id, (sources.now)()).await.map_err(fail)?;
    let standing = standing.ok_or_else(|| refuse(Problem::not_found("account")))?;
    let audit = store::audit::list(&sources.db, Some(id), 0, 50).await.map_err(fail)?;
    let own = |until| super::admin::OwnLimits { requests: standing.requests, tokens: standing.tokens, until };
    Ok(super::admin::PersonView {
        limits: standing.until.map(own),
        paused_at: standing.paused_at,
        sessions: standing.sessions,
        audit: audit.into_iter().map(Into::into).collect(),
        viewer: person.viewer,
        created_at: person.created_at,
        granted,
        plans,
        usage,
        billing,
    })
}

/// All plans, and what they are to whoever is looking.
pub(crate) async fn shop() -> Result<super::plan::Shop, Refusal> {
    use super::plan::{Offer, Shop};
    let sources = sources();
    let plans = store::plan::list(&sources.db).await.map_err(fail)?;
    let models = store::model::list(&sources.db).await.map_err(fail)?;
    let label = |name: &domain::ModelName| {
        let found = models.iter().find(|model| model.name == *name && model.vendor != domain::Vendor::Demo);
        found.map(|model| model.label.clone())
    };
    let offers =
        plans.into_iter().map(|plan| Offer { models: plan.models.iter().filter_map(label).collect(), plan }).collect();
    let (mut may_try, mut pays) = (true, None);
    if let Some(viewer) = use_context::<Visit>().and_then(|visit| visit.viewer) {
        let payer = store::account::payer(&sources.db, viewer.user_id).await.map_err(fail)?;
        may_try = payer.is_some_and(|payer| !payer.tried);
        let theirs = store::subscription::of_user(&sources.db, viewer.user_id).await.map_err(fail)?;
        let live = theirs.into_iter().find(|subscription| subscription.status.is_live());
        pays = live.and_then(|live| Some((live.plan?, live.period)));
    }
    Ok(Shop { offers, payments: sources.payments, may_try, pays })
}

/// A person's billing.
pub(crate) async fn billing_of(person: &Viewer) -> Result<super::billing::BillingView, Refusal> {
    let sources = sources();
    let now = (sources.now)();
    let theirs = store::subscription::of_user(&sources.db, person.user_id).await.map_err(fail)?;
    let plans = store::plan::list(&sources.db).await.map_err(fail)?;
    let named = |id: &domain::PlanId| plans.iter().find(|plan| plan.id == *id).map(|plan| plan.name.clone());
    let counts = theirs.iter().find(|subscription| subscription.status.is_live()).or(theirs.first()).cloned();
    let held = theirs.iter().any(|found| found.holds(now) && found.plan.as_ref() == Some(&person.plan.id));
    Ok(super::billing::BillingView {
        payments: sources.payments,
        paid_plan: counts.as_ref().and_then(|counts| named(counts.plan.as_ref()?)),
        subscription: counts,
        granted: !person.plan.is_free() && !held,
        fallback: plans.first().map(|plan| plan.name.clone()).unwrap_or_default(),
        invoices: store::invoice::list(&sources.db, person.user_id, 24).await.map_err(fail)?,
        quota: quota(person).await.ok(),
    })
}

/// How the house is: payments, for now.
pub(crate) async fn health() -> Result<super::admin::HealthView, Refusal> {
    use super::admin::{Dead, Flag, HealthView};
    let sources = sources();
    let inbox = store::stripe_event::inbox(&sources.db).await.map_err(fail)?;
    let queue = store::job::queue(&sources.db).await.map_err(fail)?;
    let flags = store::billing_flag::standing(&sources.db).await.map_err(fail)?;
    let last = store::reconciliation::last(&sources.db).await.map_err(fail)?;
    let drift = |value: serde_json::Value| serde_json::from_value(value).unwrap_or_default();
    Ok(HealthView {
        payments: sources.payments,
        waiting: inbox.waiting,
        oldest: inbox.oldest,
        last_event: inbox.last,
        dead: inbox
            .dead
            .into_iter()
            .map(|dead| Dead {
                id: dead.id,
                kind: dead.kind,
                error: dead.error.unwrap_or_default(),
                attempts: dead.attempts,
                at: dead.dead_at,
            })
            .collect(),
        flags: flags
            .into_iter()
            .map(|flag| Flag {
                kind: flag.kind,
                object_id: flag.object_id,
                user_id: flag.user_id,
                email: flag.email,
                amount: flag.amount,
                at: flag.created_at,
            })
            .collect(),
        vendors: (sources.vendors)(),
        alerts: store::alert::list(&sources.db, 20)
            .await
            .map_err(fail)?
            .into_iter()
            .map(|alert| (alert.said, alert.began_at, alert.ended_at))
            .collect(),
        drifts: store::usage::drifts(&sources.db, (sources.now)() - time::Duration::days(1)).await.map_err(fail)?,
        jobs_waiting: queue.waiting,
        jobs_dead: queue.dead,
        job_error: queue.last_error,
        compared: last.map(|last| (last.began_at, last.checked, drift(last.drift))),
    })
}

/// Models, their prices and their switches.
pub(crate) async fn models() -> Result<super::admin::ModelsView, Refusal> {
    use super::admin::{ModelRow, ModelsView};
    let sources = sources();
    let switches = store::house::switches(&sources.db).await.map_err(fail)?;
    let listed = store::model_rule::list(&sources.db, (sources.now)()).await.map_err(fail)?;
    // Cents at least, and more where a price has more.
    let usd = |price: domain::MicrosPerMillion| {
        let exact = price.to_usd().to_string();
        let decimals = exact.split_once('.').map_or(0, |(_, decimals)| decimals.len());
        format!("{exact}{}{}", if decimals == 0 { "." } else { "" }, "0".repeat(2_usize.saturating_sub(decimals)))
    };
    let spent = listed.iter().fold(domain::Picos::ZERO, |sum, row| sum.plus(row.spent));
    let row = |row: store::model_rule::Listed| ModelRow {
        is_connected: (sources.offers)(&row.model),
        name: row.model.name,
        label: row.model.label,
        vendor: row.model.vendor.as_str().to_owned(),
        is_on: row.rules.enabled,
        price: row.price.map(|(input, cached, output)| (usd(input), cached.map(usd), usd(output))),
        next_price: row.next_price.map(|(input, output, at)| (usd(input), usd(output), at)),
        plans: row.plans,
        fallback: row.rules.fallback,
        daily_spend: row.rules.daily_spend,
        spent: row.spent,
    };
    Ok(ModelsView {
        is_paused: switches.paused,
        daily_spend: switches.daily_spend,
        env_spend: sources.daily_spend,
        spent,
        models: listed.into_iter().map(row).collect(),
    })
}
