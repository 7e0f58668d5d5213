//! `seed`: an admin, 60 users on mixed plans, and 90 days of realistic usage. Development builds only; there is no other fake data.

use crate::{AppState, Config, accounts::password::Passwords};
use anyhow::ensure;
use domain::{
    Amount, Invoice, MessageStatus, ModelName, Outcome, Period, Plan, PriceList, Subscription, SubscriptionStatus,
    Tokens, TurnId, Usage, UsageSource, UserId, brand,
};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::io::Write;
use store::account::NewAccount;
use store::turn::{InsertOutcome, NewTurn, Record};
use time::Duration;

const USERS: usize = 60;
const DAYS: i64 = 90;
const PASSWORD: &str = "demo company";
const NAMES: [&str; 20] = [
    "Ada", "Ben", "Chloe", "Deniz", "Eva", "Farid", "Greta", "Hugo", "Ines", "Jonas", "Kira", "Liam", "Mina", "Noor",
    "Olga", "Pavel", "Quinn", "Rosa", "Sven", "Tara",
];
const QUESTIONS: [&str; 6] = [
    "Summarise the minutes of Monday's call",
    "Draft a friendly reminder about invoice 2041",
    "Why does this query scan the whole table?",
    "Translate the release notes to German",
    "Three names for a newsletter about bread",
    "Explain the notice period in this lease",
];

/// Fills an empty database and refreshes the usage rollups. Adds no data if the database was seeded before. Paid plans are granted by an
/// admin, or subscribed to if `are_paying`; a server that is connected to Stripe reports these subscriptions as drift.
pub(super) async fn run(config: &Config, db: &store::Db, are_paying: bool, out: &mut impl Write) -> anyhow::Result<()> {
    fill(config, db, are_paying, out).await?;
    store::rollup::refresh(db, Duration::ZERO).await?;
    Ok(())
}

/// Adds the users and their usage.
async fn fill(config: &Config, db: &store::Db, are_paying: bool, out: &mut impl Write) -> anyhow::Result<()> {
    let app = AppState::new(config.clone(), db.clone())?;
    let now = AppState::now();
    store::ledger::make_months(db, now - Duration::days(DAYS + 31), now).await?;
    // A fixed seed, so that the data is the same every time.
    let mut rng = StdRng::seed_from_u64(7);
    let hash = Passwords::new()?.hash(PASSWORD.into()).await?;
    let plans = store::plan::list(db).await?;
    let mut turns = 0_u32;
    for n in 0..=USERS {
        let (name, email) = match n {
            0 => ("Olive".to_owned(), "admin@example.com".to_owned()),
            n => {
                let name = NAMES[n % NAMES.len()];
                (name.to_owned(), format!("{}{n}@example.com", name.to_lowercase()))
            }
        };
        let user_id = UserId::at(now - Duration::days(DAYS));
        let subject = app.subject(&email)?;
        let new = NewAccount {
            user_id,
            email: &email,
            name: &name,
            password_hash: Some(hash.as_str()),
            subject: &subject,
            is_admin: n == 0,
            email_verified_at: Some(now - Duration::days(DAYS)),
            address_hash: &subject,
            sign_up_block: None,
            accepted_terms: Some((brand::TERMS_VERSION, now - Duration::days(DAYS))),
        };
        if store::account::create(db, &new).await? == store::account::Created::EmailTaken {
            writeln!(out, "The account {email} already exists. No demo data was added.")?;
            return Ok(());
        }
        let plan = match n % 10 {
            0..=5 => "free",
            6..=8 => "pro",
            _ => "max",
        };
        match plans.iter().find(|known| known.id.0 == plan && known.monthly_cents > 0) {
            // Some users on paid plans have a granted plan.
            Some(paid) if are_paying && n % 20 != 8 => {
                subscribe(db, user_id, n, paid, now).await?;
            }
            _ => {
                store::account::set_plan(db, user_id, user_id, &plan.to_owned().into(), None, now).await?;
            }
        }
        // A few users account for most of the usage, as shown on the top users page.
        let weight = if n % 13 == 4 {
            12
        } else if n % 5 == 1 {
            4
        } else {
            1
        };
        for day in (0..DAYS).rev() {
            let start = now - Duration::days(day);
            let weekend = matches!(start.weekday(), time::Weekday::Saturday | time::Weekday::Sunday);
            if rng.random_range(0..10) < if weekend { 8 } else { 5 } {
                continue;
            }
            for _ in 0..rng.random_range(1..=weight.min(4)) {
                let at = start - Duration::minutes(rng.random_range(0..700));
                if add_turn(db, &mut rng, user_id, &subject, plan, weight, at).await? {
                    turns += 1;
                }
                if plan == "free" && rng.random_range(0..6) == 0 {
                    let kind = if rng.random_range(0..3) == 0 { "requests_limit" } else { "tokens_limit" };
                    store::refusal::add(db, user_id, kind, at, rng.random_range(1..5)).await?;
                }
            }
        }
    }
    writeln!(out, "Added {USERS} users and {turns} turns. Sign in as admin@example.com, password: {PASSWORD}")?;
    Ok(())
}

/// Adds a subscription that has been paid for a while. Some are yearly.
async fn subscribe(
    db: &store::Db,
    user_id: UserId,
    n: usize,
    plan: &Plan,
    now: time::OffsetDateTime,
) -> anyhow::Result<()> {
    let (period, minor) = match n % 4 {
        1 if plan.yearly_cents > 0 => (Period::Year, plan.yearly_cents),
        _ => (Period::Month, plan.monthly_cents),
    };
    let begun = now - Duration::days(DAYS - i64::try_from(n)? % 50);
    let trial_end = begun + Duration::days(plan.trial_days.into());
    let length = Duration::days(if period == Period::Year { 365 } else { 30 });
    let amount = Amount { minor, currency: plan.currency.clone() };
    let (id, customer_id) = (format!("sub_demo_{n}"), format!("cus_demo_{n}"));
    let mut tx = store::begin(db).await?;
    let mut paid_until = trial_end;
    while paid_until < now {
        let paid = Invoice {
            id: format!("in_demo_{n}_{}", paid_until.date()),
            customer_id: customer_id.clone(),
            subscription_id: Some(id.clone()),
            number: Some(format!("DEMO-{n}-{}", paid_until.date())),
            status: "paid".to_owned(),
            due: amount.clone(),
            paid_minor: minor,
            url: None,
            created_at: paid_until,
        };
        store::invoice::put(&mut tx, &paid, Some(user_id)).await?;
        paid_until += length;
    }
    let subscription = Subscription {
        id,
        customer_id,
        user_id: Some(user_id),
        plan: Some(plan.id.clone()),
        status: SubscriptionStatus::Active,
        period,
        amount,
        is_adjusted: false,
        created_at: begun,
        period_end: paid_until,
        ends_at: None,
        trial_end: (plan.trial_days > 0).then_some(trial_end),
        ended_at: None,
        grace_until: None,
    };
    store::subscription::put(&mut tx, &subscription, now).await?;
    if subscription.trial_end.is_some() {
        store::subscription::tried(&mut tx, user_id, &subscription.id, begun).await?;
    }
    store::subscription::entitle(&mut tx, user_id, now).await?;
    Ok(tx.commit().await?)
}

/// Picks a model of a plan that had a price at an instant, with that price. Before its first price, its predecessor takes its place.
async fn pick_model(
    db: &store::Db,
    rng: &mut StdRng,
    plan: &str,
    at: time::OffsetDateTime,
) -> anyhow::Result<Option<(ModelName, PriceList)>> {
    // Models with their predecessors; a model that is listed twice is used twice as often.
    let models: &[[&str; 2]] = match plan {
        "free" => {
            &[["claude-haiku-5-5", "claude-haiku-4-5"], ["gpt-6-luna", "gpt-5-mini"], ["gpt-6-luna", "gpt-4o-mini"]]
        }
        "pro" => &[
            ["claude-sonnet-5-5", "claude-sonnet-4-6"],
            ["claude-haiku-5-5", "claude-haiku-4-5"],
            ["gpt-6.1-terra", "gpt-5.4-mini"],
        ],
        _ => &[
            ["claude-sonnet-5-5", "claude-sonnet-4-6"],
            ["claude-opus-5-5", "claude-opus-4-7"],
            ["gpt-6.1-sol", "gpt-5.4"],
        ],
    };
    for name in models[rng.random_range(0..models.len())] {
        let model = ModelName(name.to_owned());
        if let Some(price) = store::model::price(db, &model, at).await? {
            return Ok(Some((model, price)));
        }
    }
    Ok(None)
}

/// Returns the usage of a call. A third of the calls read half of their prompt from a cache; of them, Claude models write a quarter of the
/// prompt to the cache, a tenth of that with the longer lifetime.
fn usage_of(model: &ModelName, rng: &mut StdRng, weight: u64) -> Usage {
    let (prompt, output) = (rng.random_range(200..6_000) * weight, rng.random_range(80..1_800));
    let is_cached = rng.random_range(0..3) == 0;
    let is_claude = model.0.starts_with("claude");
    let cache_read = if is_cached { prompt / 2 } else { 0 };
    let cache_write = if is_cached && is_claude { prompt / 4 } else { 0 };
    Usage {
        input: Tokens(prompt - cache_read - cache_write),
        cache_read: Tokens(cache_read),
        cache_write: Tokens(cache_write),
        cache_write_long: Tokens(cache_write / 10),
        output: Tokens(output),
        // Only OpenAI reports reasoning tokens, and gpt-4o-mini doesn't reason.
        reasoning: Tokens(if is_claude || model.0.starts_with("gpt-4") { 0 } else { output / 3 }),
    }
}

/// Adds one turn and its ledger row. Returns whether they were added; they aren't if the model has no price.
async fn add_turn(
    db: &store::Db,
    rng: &mut StdRng,
    user_id: UserId,
    subject: &str,
    plan: &str,
    weight: u64,
    at: time::OffsetDateTime,
) -> anyhow::Result<bool> {
    let Some((model, price)) = pick_model(db, rng, plan, at).await? else {
        return Ok(false);
    };
    let usage = usage_of(&model, rng, weight);
    // Longer prompts have a longer time to first token.
    let ttft_ms = rng.random_range(240..900) + i32::try_from(usage.prompt().0 / 40)?;
    // One in 60 calls fails at the provider.
    let outcome = if rng.random_range(0..60) == 0 { Outcome::Failed } else { Outcome::Finished };
    let (turn_id, conversation_id) = (TurnId::at(at), domain::ConversationId::at(at));
    let question = QUESTIONS[rng.random_range(0..QUESTIONS.len())];
    let (price_id, cost) = price.price(&usage);
    let inserted = store::turn::write_pending(
        db,
        &NewTurn {
            turn_id,
            user_id,
            subject,
            conversation_id,
            new_title: Some(question),
            retry_of: None,
            text: question,
            html: None,
            request_hash: b"seed",
            history_cut: None,
            model: &model,
            price_id,
            counted: usage.prompt(),
            // Most estimates are slightly too high, some slightly too low.
            estimated: Tokens(usage.prompt().0 * rng.random_range(97..112) / 100),
            reserved: usage.counted(),
            now: at,
        },
    )
    .await?;
    let InsertOutcome::New(call) = inserted else { return Ok(false) };
    let end = Record {
        turn_id,
        conversation_id: Some(conversation_id),
        call,
        model: &model,
        text: "This is demo data. No model was called.",
        html: None,
        reasoning: "",
        message_status: if outcome == Outcome::Failed { MessageStatus::Failed } else { MessageStatus::Finished },
        outcome,
        usage: &usage,
        source: UsageSource::Exact,
        price_id,
        cost,
        provider_request_id: None,
        provider_failed: outcome == Outcome::Failed,
        ttft_ms: Some(ttft_ms),
        other_failed: false,
        now: at + Duration::seconds(9),
    };
    ensure!(store::turn::record(db, &end).await?, "a demo turn was recorded twice");
    store::turn::mark_settled(db, &[turn_id]).await?;
    Ok(true)
}
