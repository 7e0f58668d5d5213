//! All meters: users, budgets (global and per model), and auth attempts.

use crate::{AppState, Config};
use app::api::context::USER;
use domain::{ModelName, Picos, Plan, Tokens, TurnId, Viewer};
use futures::future::join_all;
use limits::{
    Admission, Allowance, Demand, Denial, End, History, Limits, PastCall, Permit, Snapshot, Store, Unavailable, Window,
};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;

const DAY_MS: u64 = 86_400_000;
const QUARTER_MS: u64 = 900_000;

/// Spend of a budget in 24 hours, in nano-dollars, rounded up.
const SPEND: [Window; 1] = [Window::amount("spend", DAY_MS, 96)];
/// Auth attempts in 15 minutes.
const ATTEMPTS: [Window; 1] = [Window::calls("attempts", QUARTER_MS, 60)];

/// The meters of users, budgets and auth attempts.
#[derive(Clone)]
pub(crate) struct Meters {
    store: Store,
    pub users: Limits,
    global: Limits,
    models: Limits,
    attempts: Limits,
    /// Distinguishes this deployment from others that share a Redis.
    name: String,
}

/// Spend caps for any 24 hours. Passed with each turn, so that a changed cap applies to the next one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Caps {
    /// Global cap over all users.
    pub global: Option<Picos>,
    /// Caps of the requested model and its fallback, over all users.
    pub models: Vec<(ModelName, Picos)>,
}

/// A spend budget: the global one, or that of one model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Budget {
    Global,
    Model(ModelName),
}

/// The usage and cost of a turn that has ended.
pub(crate) struct Spent {
    /// Tokens as counted against plan limits.
    pub tokens: Tokens,
    /// Cost of the calls by model. Most turns have one call.
    pub costs: Vec<(ModelName, Picos)>,
}

impl Spent {
    /// Creates the usage of a turn with one call.
    pub(crate) fn on(tokens: Tokens, model: ModelName, cost: Picos) -> Self {
        Self { tokens, costs: vec![(model, cost)] }
    }

    /// Returns how to end a budget's hold: settled with the turn's cost, or released if none of the budget's models was called.
    fn end(&self, budget: &Budget) -> End {
        let is_its = |model: &ModelName| match budget {
            Budget::Global => true,
            Budget::Model(name) => name == model,
        };
        let costs = self.costs.iter().filter(|(model, _)| is_its(model)).map(|(_, cost)| *cost);
        costs.reduce(Picos::plus).map_or(End::Release, |cost| End::Settle(nanos(cost)))
    }
}

/// What one turn has reserved in the user's meter and in each capped budget.
#[must_use = "an admitted call must be settled or released"]
pub(crate) struct Reservation {
    pub permit: Permit,
    spend: Vec<(Budget, Permit)>,
}

/// The result of requesting a reservation.
pub(crate) enum Verdict {
    Granted(Reservation),
    Denied(Denial),
    /// A budget has reached its spend cap.
    SpendCap {
        budget: Budget,
        retry_after_ms: u64,
    },
    TooLarge {
        max: u64,
    },
    Running,
}

impl Meters {
    /// Creates the meters from the configuration.
    ///
    /// # Errors
    /// Returns an error if the Redis URL can't be parsed.
    pub(crate) fn new(config: &Config, db: &store::Db) -> Result<Self, Unavailable> {
        let store = match &config.redis_url {
            Some(url) => Store::redis(url)?,
            None => Store::memory(),
        };
        let name = hex::encode(&Sha256::digest(config.secret_key)[..12]);
        let model_of = |name: &str| name.split_once('/').map(|(_, model)| ModelName(model.to_owned()));
        Ok(Self {
            users: Limits::new(&store, "user", &USER, user_history(db.clone())),
            global: Limits::new(&store, "global", &SPEND, budget_history(db.clone(), |_| None)),
            models: Limits::new(&store, "model", &SPEND, budget_history(db.clone(), model_of)),
            attempts: Limits::without_history(&store, "attempt", &ATTEMPTS),
            name,
            store,
        })
    }

    /// Returns the budgets that have a cap, with the cap in nano-dollars.
    fn budgets(caps: &Caps) -> Vec<(Budget, u64)> {
        let global = caps.global.map(|cap| (Budget::Global, nanos(cap)));
        let models = caps.models.iter().map(|(model, cap)| (Budget::Model(model.clone()), nanos(*cap)));
        global.into_iter().chain(models).collect()
    }

    /// Returns a budget's meters and its key among them.
    fn budget(&self, budget: &Budget) -> (&Limits, String) {
        match budget {
            Budget::Global => (&self.global, self.name.clone()),
            Budget::Model(model) => (&self.models, format!("{}/{model}", self.name)),
        }
    }

    /// Reserves a turn in the user's meter, then in all budgets concurrently. If one of them refuses, the other reservations are released
    /// before this returns. The user's meter comes first, so that a refused user never takes from the shared budgets, not even briefly.
    pub(crate) async fn admit(
        &self,
        viewer: &Viewer,
        turn: TurnId,
        demand: Demand,
        max_cost: Picos,
        caps: &Caps,
    ) -> Result<Verdict, Unavailable> {
        let turn = turn.to_string();
        let limits = limits_of(&viewer.plan);
        let allowance = Allowance { limits: &limits, in_flight: Some(viewer.plan.in_flight) };
        let permit = match self.users.admit(&viewer.subject, &turn, allowance, demand).await? {
            Admission::Granted(permit) => permit,
            refused => return Ok(refusal(refused)),
        };
        let call = call_key(&viewer.subject, &turn);
        let budgets = Self::budgets(caps);
        let requests = budgets.into_iter().map(async |(budget, cap)| {
            let answer = self.spend(&budget, &call, cap, nanos(max_cost)).await;
            (budget, answer)
        });
        let mut reservation = Reservation { permit, spend: Vec::new() };
        let mut refused = None;
        for (budget, answer) in join_all(requests).await {
            match answer {
                Ok(Admission::Granted(permit)) => reservation.spend.push((budget, permit)),
                Ok(answer) => refused = refused.or(Some(Ok((budget, answer)))),
                Err(error) => refused = Some(Err(error)),
            }
        }
        let Some(refused) = refused else { return Ok(Verdict::Granted(reservation)) };
        // Holds that can't be released lapse; the verdict is the same.
        let _ = self.release(reservation).await;
        Ok(match refused? {
            (budget, Admission::Denied(Denial { retry_after_ms, .. })) => Verdict::SpendCap { budget, retry_after_ms },
            (budget, Admission::TooLarge { .. }) => Verdict::SpendCap { budget, retry_after_ms: QUARTER_MS },
            _ => Verdict::Running,
        })
    }

    /// Reserves a call's maximum cost in one budget.
    async fn spend(&self, budget: &Budget, call: &str, cap: u64, max_cost: u64) -> Result<Admission, Unavailable> {
        let ((limits, name), cap, mut tried) = (self.budget(budget), [cap], 0);
        loop {
            let allowance = Allowance { limits: &cap, in_flight: None };
            match limits.admit(&name, call, allowance, Demand::exactly(max_cost)).await {
                // A duplicate of this turn has released the user's meter and is about to release this budget.
                Ok(Admission::Running) if tried < 5 => {
                    tried += 1;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                answer => return answer,
            }
        }
    }

    /// Confirms the holds once the ledger row is written. Returns `false` if a hold had lapsed.
    pub(crate) async fn confirm(&self, reservation: &Reservation) -> Result<bool, Unavailable> {
        let mut all_held = self.users.confirm(&reservation.permit).await?;
        for (budget, permit) in &reservation.spend {
            all_held &= self.budget(budget).0.confirm(permit).await?;
        }
        Ok(all_held)
    }

    /// Counts a turn's usage in the user's meter and its cost in each budget. Tries every meter, even if one fails.
    pub(crate) async fn settle(&self, reservation: Reservation, spent: &Spent) -> Result<Snapshot, Unavailable> {
        let mut budgets = Ok(());
        for (budget, permit) in reservation.spend {
            let limits = self.budget(&budget).0;
            let settled = match spent.end(&budget) {
                End::Release => limits.release(permit).await,
                End::Settle(cost) => limits.settle(permit, cost).await,
            };
            budgets = budgets.and(settled.map(drop));
        }
        let snapshot = self.users.settle(reservation.permit, spent.tokens.0).await?;
        budgets.map(|()| snapshot)
    }

    /// Releases a reservation in full. Tries every meter, even if one fails.
    pub(crate) async fn release(&self, reservation: Reservation) -> Result<(), Unavailable> {
        let mut budgets = Ok(());
        for (budget, permit) in reservation.spend {
            budgets = budgets.and(self.budget(&budget).0.release(permit).await.map(drop));
        }
        self.users.release(reservation.permit).await?;
        budgets
    }

    /// Settles the remaining holds of a turn whose process is gone or whose meters weren't settled. `caps` must contain every model that
    /// has a cap, since a turn's fallback isn't recorded.
    pub(crate) async fn settle_by_id(
        &self,
        subject: &str,
        turn: TurnId,
        at: OffsetDateTime,
        spent: &Spent,
        caps: &Caps,
    ) -> Result<(), Unavailable> {
        let (turn, at_ms) = (turn.to_string(), millis(at));
        for (budget, _) in Self::budgets(caps) {
            let (limits, name) = self.budget(&budget);
            limits.end(&name, &call_key(subject, &turn), at_ms, spent.end(&budget)).await?;
        }
        self.users.end(subject, &turn, at_ms, End::Settle(spent.tokens.0)).await.map(drop)
    }

    /// Discards a turn's meters, so that they are rebuilt from the ledger. Used if holds are missing; the ledger has the turn by then.
    pub(crate) async fn rebuild(&self, reservation: &Reservation) -> Result<(), Unavailable> {
        self.users.forget(reservation.permit.subject()).await?;
        for (budget, permit) in &reservation.spend {
            self.budget(budget).0.forget(permit.subject()).await?;
        }
        Ok(())
    }

    /// Compares the budgets with the ledger and discards those that differ, so that they are rebuilt. Runs after a cap was set, because a
    /// budget without a cap isn't counted, and periodically, so that no error persists. Budgets are always in use, so a difference of up to
    /// 1 % is attributed to turns that are just ending.
    pub(crate) async fn mend_budgets(&self, caps: &Caps) -> Result<(), Unavailable> {
        for (budget, _) in Self::budgets(caps) {
            let (limits, name) = self.budget(&budget);
            let differs = async || -> Result<bool, Unavailable> {
                let drift = limits.drift(&name).await?;
                Ok(drift.is_some_and(|drift| {
                    let (found, ledger) = (drift.found.window(0).used, drift.expected.window(0).used);
                    found.abs_diff(ledger) > ledger / 100
                }))
            };
            if !differs().await? {
                continue;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            if differs().await? {
                tracing::warn!(?budget, "budget differs from the ledger; rebuilding it");
                metrics::counter!("quotient_meter_drift_total").increment(1);
                limits.forget(&name).await?;
            }
        }
        Ok(())
    }

    /// Counts an auth attempt under `key`. Returns the milliseconds until the next one is allowed if there were too many.
    pub(crate) async fn count_attempt(&self, key: &str, limit: u64) -> Result<Option<u64>, Unavailable> {
        let limits = [limit];
        let attempt = uuid::Uuid::new_v4().to_string();
        match self
            .attempts
            .admit(key, &attempt, Allowance { limits: &limits, in_flight: None }, Demand::exactly(0))
            .await?
        {
            Admission::Granted(permit) => self.attempts.settle(permit, 0).await.map(|_| None),
            Admission::Denied(denial) => Ok(Some(denial.retry_after_ms)),
            Admission::TooLarge { .. } | Admission::Running => Ok(None),
        }
    }

    /// Checks that the meters can be reached.
    pub(crate) async fn ping(&self) -> Result<(), Unavailable> {
        self.store.ping().await
    }
}

/// Returns a plan's limits in the order of `USER`.
fn limits_of(plan: &Plan) -> [u64; 2] {
    [plan.requests_per_minute, plan.tokens_per_day.0]
}

fn refusal(admission: Admission) -> Verdict {
    match admission {
        Admission::Denied(denial) => Verdict::Denied(denial),
        Admission::TooLarge { max } => Verdict::TooLarge { max },
        Admission::Running | Admission::Granted(_) => Verdict::Running,
    }
}

/// Names a turn in the budgets, which all users share. Clients choose turn ids, and two users may choose the same one.
fn call_key(subject: &str, turn: &str) -> String {
    format!("{subject}/{turn}")
}

/// Converts to nano-dollars, rounded up, so that a budget never counts less than was spent.
fn nanos(amount: Picos) -> u64 {
    u64::try_from(amount.0).unwrap_or(0).div_ceil(1_000)
}

fn millis(at: OffsetDateTime) -> u64 {
    u64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap_or(0)
}

/// Returns the history that a user's meter is rebuilt from: ledger rows of the last 25 hours, pending ones as holds.
fn user_history(db: store::Db) -> History {
    Arc::new(move |subject| {
        let db = db.clone();
        Box::pin(async move {
            let since = AppState::now() - time::Duration::hours(25);
            let past = store::usage::since(&db, &subject, since).await.map_err(|error| error.to_string())?;
            let call = |past: store::usage::Past| PastCall {
                call: past.turn_id.to_string(),
                at_ms: millis(past.at),
                amount: past.tokens.0,
                running: past.pending,
            };
            Ok(past.into_iter().map(call).collect())
        })
    })
}

/// Returns the history that a budget is rebuilt from: ledger sums per 15 minutes, and single turns for the last hour. `model_of` extracts
/// the model from the budget's key; `None` means the global budget.
fn budget_history(db: store::Db, model_of: fn(&str) -> Option<ModelName>) -> History {
    Arc::new(move |name| {
        let db = db.clone();
        Box::pin(async move {
            let now = AppState::now();
            let since = now - time::Duration::hours(25);
            let model = model_of(&name);
            let past = store::usage::spent(&db, model.as_ref(), since, now - time::Duration::hours(1)).await;
            let call = |past: store::usage::Spent| PastCall {
                call: past.call,
                at_ms: millis(past.at),
                amount: nanos(past.cost),
                running: past.pending,
            };
            Ok(past.map_err(|error| error.to_string())?.into_iter().map(call).collect())
        })
    })
}
