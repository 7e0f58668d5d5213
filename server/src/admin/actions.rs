//! Admin actions. Each writes an audit row: in the same transaction if the effect is a database change, otherwise right after it.

use crate::AppState;
use crate::failure::Failure;
use crate::jobs::{meters, reconcile_now};
use domain::{ApiKeyId, ModelName, OutputLimit, Picos, PlanId, Problem, Quota, Thinking, Tokens, UserId};
use store::account_rule::{AccountChange, ChangeOutcome};
use store::model_rule::{Added, NewPrice, Rules as ModelRules, Set};
use store::plan_rule::Rules as PlanRules;
use store::turn::Switches;
use time::Date;

/// Grants a user a plan, with an optional reason for the audit log.
pub(crate) async fn grant_plan(
    app: &AppState,
    admin: UserId,
    user_id: UserId,
    plan: &PlanId,
    why: Option<&str>,
) -> Result<(), Failure> {
    match store::account::set_plan(&app.db, admin, user_id, plan, why, AppState::now()).await? {
        true => Ok(()),
        false => Err(Problem::invalid("plan", "This user or plan doesn't exist. No changes were saved.").into()),
    }
}

/// An action on a user.
pub(crate) enum UserAction {
    /// A change of the account.
    Change(AccountChange),
    /// Rebuilds the user's meters from the ledger, which drops holds of turns that no longer run.
    RebuildMeters,
}

/// Performs an action on a user. The reason is recorded in the audit log with the effect.
pub(crate) async fn act(
    app: &AppState,
    admin: UserId,
    user_id: UserId,
    action: UserAction,
    why: &str,
) -> Result<(), Failure> {
    let change = match action {
        UserAction::Change(change) => change,
        UserAction::RebuildMeters => return rebuild_meters(app, admin, user_id, why).await,
    };
    match store::account_rule::apply(&app.db, admin, user_id, change, Some(why), AppState::now()).await? {
        ChangeOutcome::Yes => Ok(()),
        ChangeOutcome::NoUser => Err(Problem::not_found("account").into()),
        ChangeOutcome::LastAdmin => Err(Problem::invalid(
            "act",
            "This is the only admin. Make another user an admin first. No changes were saved.",
        )
        .into()),
        ChangeOutcome::Unverified => Err(Problem::invalid(
            "act",
            "This user hasn't confirmed their email, so anyone may have created the account. No changes were saved.",
        )
        .into()),
    }
}

/// Discards a user's meters, which are then rebuilt from the ledger on next use, and writes the audit row.
async fn rebuild_meters(app: &AppState, admin: UserId, user_id: UserId, why: &str) -> Result<(), Failure> {
    let found = store::account::viewer(&app.db, user_id).await?;
    let user = found.ok_or_else(|| Problem::not_found("account"))?;
    let before = app.quotas.quota(&user).await?;
    app.quotas.discard(&user.subject).await?;
    let after = app.quotas.quota(&user).await?;
    let describe = |quota: &Quota| {
        format!("{} used, {} held for {}", quota.tokens.used, quota.tokens.reserved, quota.in_flight.now)
    };
    let (before, after) = (describe(&before), describe(&after));
    let entry = store::audit::Entry {
        actor: Some(admin),
        target: Some(user_id),
        action: "rebuild_meters",
        before: Some(&before),
        after: Some(&after),
        why: Some(why),
    };
    Ok(store::audit::write(&app.db, &entry, AppState::now()).await?)
}

/// Revokes one of a user's API keys permanently, with its audit row. The row names the key by its prefix.
pub(crate) async fn revoke_api_key(
    app: &AppState,
    admin: UserId,
    user_id: UserId,
    key_id: ApiKeyId,
    why: &str,
) -> Result<(), Failure> {
    let now = AppState::now();
    let mut tx = store::begin(&app.db).await?;
    let revoked = store::api_key::revoke(&mut tx, user_id, key_id, now).await?;
    let (_, prefix) = revoked.ok_or_else(|| Problem::not_found("API key"))?;
    let before = format!("{prefix}… works");
    let entry = store::audit::Entry {
        actor: Some(admin),
        target: Some(user_id),
        action: "revoke_api_key",
        before: Some(&before),
        after: Some("revoked"),
        why: Some(why),
    };
    store::audit::write(&mut tx, &entry, now).await?;
    Ok(tx.commit().await?)
}

/// Sets a plan's limits and models.
pub(crate) async fn set_plan_rules(
    app: &AppState,
    admin: UserId,
    plan: &PlanId,
    rules: &PlanRules,
) -> Result<(), Failure> {
    match store::plan_rule::set(&app.db, admin, plan, rules, AppState::now()).await? {
        true => Ok(()),
        false => Err(Problem::not_found("plan or model").into()),
    }
}

/// Sets after how many days without a message conversations are erased: those of a plan's users, or of all with `None`. No days keep them.
pub(crate) async fn set_retention(
    app: &AppState,
    admin: UserId,
    plan: Option<&PlanId>,
    days: Option<u32>,
) -> Result<(), Failure> {
    match store::retention::set(&app.db, admin, plan, days, AppState::now()).await? {
        true => Ok(()),
        false => Err(Problem::not_found("plan").into()),
    }
}

/// A change of the global switches. `None` leaves a switch unchanged.
pub(crate) struct GlobalChange {
    /// Whether chat is paused.
    pub paused: Option<bool>,
    /// Maximum spend of all users in any 24 hours; `Some(None)` is unlimited.
    pub daily_spend: Option<Option<Picos>>,
}

/// Pauses or resumes chat and sets the global spend cap.
pub(crate) async fn set_global(app: &AppState, admin: UserId, new: GlobalChange) -> Result<(), Failure> {
    let change = |switches: &mut Switches| {
        switches.paused = new.paused.unwrap_or(switches.paused);
        switches.daily_spend = new.daily_spend.unwrap_or(switches.daily_spend);
    };
    store::deployment::set_switches(&app.db, admin, change, AppState::now()).await?;
    compare_budgets(app);
    Ok(())
}

/// A change of a model's rules. `None` leaves a rule unchanged.
pub(crate) struct ModelChange {
    /// Whether the model can be used.
    pub enabled: Option<bool>,
    /// Maximum spend of all users on this model in any 24 hours; `Some(None)` is unlimited.
    pub daily_spend: Option<Option<Picos>>,
    /// The fallback; `Some(None)` is none.
    pub fallback: Option<Option<ModelName>>,
    /// Milliseconds of silence after which the turn is hedged; `Some(None)` disables hedging.
    pub hedge_after_ms: Option<Option<u32>>,
    /// Whether it reads images.
    pub takes_images: Option<bool>,
    /// How the model is called.
    pub calls: CallSettings,
}

/// How a model is called, as submitted; `None` leaves the current value unchanged.
pub(crate) struct CallSettings {
    /// Request field that limits the output; `Some(None)` is learned from the first refusal.
    pub output_limit: Option<Option<OutputLimit>>,
    /// Maximum milliseconds until a response begins; `Some(None)` is the provider's.
    pub first_byte_timeout_ms: Option<Option<u32>>,
    /// Maximum milliseconds of silence within a response; `Some(None)` is the provider's.
    pub idle_timeout_ms: Option<Option<u32>>,
    /// The day on which the model ends; `Some(None)` if none is announced.
    pub ends_at: Option<Option<Date>>,
    /// Whether it reasons before it answers.
    pub thinking: Option<Thinking>,
    /// The reasoning efforts that can be requested, lowest first.
    pub efforts: Option<Vec<String>>,
    /// Smallest prompt that is cached at an explicit breakpoint; `Some(None)` sets no breakpoints.
    pub min_cacheable: Option<Option<Tokens>>,
}

impl CallSettings {
    /// Sets the submitted values.
    fn apply(self, rules: &mut ModelRules) {
        rules.output_limit = self.output_limit.unwrap_or(rules.output_limit);
        rules.first_byte_timeout_ms = self.first_byte_timeout_ms.unwrap_or(rules.first_byte_timeout_ms);
        rules.idle_timeout_ms = self.idle_timeout_ms.unwrap_or(rules.idle_timeout_ms);
        rules.ends_at = self.ends_at.unwrap_or(rules.ends_at);
        rules.thinking = self.thinking.unwrap_or(rules.thinking);
        rules.min_cacheable = self.min_cacheable.unwrap_or(rules.min_cacheable);
        if let Some(efforts) = self.efforts {
            rules.efforts = efforts;
        }
    }
}

/// Sets a model's rules.
pub(crate) async fn set_model(
    app: &AppState,
    admin: UserId,
    model: &ModelName,
    new: ModelChange,
) -> Result<(), Failure> {
    let change = |rules: &mut ModelRules| {
        rules.enabled = new.enabled.unwrap_or(rules.enabled);
        rules.takes_images = new.takes_images.unwrap_or(rules.takes_images);
        rules.daily_spend = new.daily_spend.unwrap_or(rules.daily_spend);
        if let Some(fallback) = new.fallback {
            rules.fallback = fallback;
        }
        rules.hedge_after_ms = new.hedge_after_ms.unwrap_or(rules.hedge_after_ms);
        new.calls.apply(rules);
    };
    match store::model_rule::set(&app.db, admin, model, change, AppState::now()).await? {
        Set::Yes => {
            compare_budgets(app);
            Ok(())
        }
        Set::NoModel => Err(Problem::not_found("model").into()),
        Set::NoFallback => {
            Err(Problem::invalid("fallback", "The fallback must be another model. No changes were saved.").into())
        }
    }
}

/// Adds a price that applies from an instant on.
pub(crate) async fn add_price(
    app: &AppState,
    admin: UserId,
    model: &ModelName,
    price: &NewPrice,
) -> Result<(), Failure> {
    match store::model_rule::add_price(&app.db, admin, model, price, AppState::now()).await? {
        Added::Yes => {
            compare_budgets(app);
            Ok(())
        }
        Added::NoModel => Err(Problem::not_found("model").into()),
        Added::SameMoment => {
            let message = "Another price starts at the same time, and prices are never edited. Choose a later time.";
            Err(Problem::invalid("effective_at", message).into())
        }
    }
}

/// A budget is counted only while it has a cap, so a new cap is compared with the ledger immediately.
fn compare_budgets(app: &AppState) {
    tokio::spawn(meters::compare_budgets(app.clone()));
}

/// Compares with Stripe now.
pub(crate) async fn reconcile(app: &AppState, admin: UserId) -> Result<(), Failure> {
    app.billing()?;
    reconcile_now(app).await?;
    note(app, admin, "reconcile", "stripe").await
}

/// The dead letters that are made due again.
pub(crate) enum Replay {
    /// All failed jobs.
    Jobs,
    /// The Stripe event with this id.
    Event(String),
}

/// Makes a failed Stripe event, or all failed jobs, due again.
pub(crate) async fn replay(app: &AppState, admin: UserId, what: Replay) -> Result<(), Failure> {
    match what {
        Replay::Jobs => {
            store::job::replay(&app.db).await?;
            note(app, admin, "replay", "jobs").await
        }
        Replay::Event(id) => {
            if !store::stripe_event::replay(&app.db, &id).await? {
                return Err(Problem::not_found("dead letter").into());
            }
            if let Ok(billing) = app.billing() {
                billing.event_arrived.notify_one();
            }
            note(app, admin, "replay", &id).await
        }
    }
}

/// Clears a billing flag.
pub(crate) async fn clear_flag(app: &AppState, admin: UserId, kind: &str, object: &str) -> Result<(), Failure> {
    if !store::billing_flag::clear(&app.db, kind, object, AppState::now()).await? {
        return Err(Problem::not_found("flag").into());
    }
    note(app, admin, "clear_flag", &format!("{kind} {object}")).await
}

/// Writes an audit row for an action that isn't on a user.
pub(crate) async fn note(app: &AppState, admin: UserId, action: &str, what: &str) -> Result<(), Failure> {
    let entry =
        store::audit::Entry { actor: Some(admin), target: None, action, before: None, after: Some(what), why: None };
    Ok(store::audit::write(&app.db, &entry, AppState::now()).await?)
}
