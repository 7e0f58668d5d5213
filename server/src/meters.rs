//! Every meter: users', the budgets (the global one and each model's own), and attempts to sign in or up.

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

/// What a budget spends in any day, in whole nano-dollars, rounded up.
const SPEND: [Window; 1] = [Window::amount("spend", DAY_MS, 96)];
/// Attempts to sign in or up in any quarter of an hour.
const ATTEMPTS: [Window; 1] = [Window::calls("attempts", QUARTER_MS, 60)];

/// The meters.
#[derive(Clone)]
pub(crate) struct Meters {
    store: Store,
    pub users: Limits,
    global: Limits,
    models: Limits,
    attempts: Limits,
    /// Names this deployment among those that share a Redis.
    name: String,
}

/// What may be spent in any day, where there is a cap; an argument of each turn, so that a new one counts with the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Caps {
    /// By everybody together.
    pub global: Option<Picos>,
    /// On a model, by everybody together: the one that is asked, and whoever may stand in for it.
    pub models: Vec<(ModelName, Picos)>,
}

/// Whose money it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Budget {
    Global,
    Model(ModelName),
}

/// What a turn used and cost when it ended.
pub(crate) struct Spent {
    /// Tokens, as plans count them.
    pub tokens: Tokens,
    /// The cost of each model's calls; most turns have one.
    pub costs: Vec<(ModelName, Picos)>,
}

impl Spent {
    /// A turn of one call.
    pub(crate) fn on(tokens: Tokens, model: ModelName, cost: Picos) -> Self {
        Self { tokens, costs: vec![(model, cost)] }
    }

    /// Ends a budget's hold: with what the turn cost it, or unused if it asked none of that budget's models.
    fn end(&self, budget: &Budget) -> End {
        let is_its = |model: &ModelName| match budget {
            Budget::Global => true,
            Budget::Model(name) => name == model,
        };
        let costs = self.costs.iter().filter(|(model, _)| is_its(model)).map(|(_, cost)| *cost);
        costs.reduce(Picos::plus).map_or(End::Release, |cost| End::Settle(nanos(cost)))
    }
}

/// What is reserved for one turn: in the user's meters, and in each budget that has a cap.
#[must_use = "an admitted call is settled or released"]
pub(crate) struct Reservation {
    pub permit: Permit,
    spend: Vec<(Budget, Permit)>,
}

/// The answer to a turn that asks for a reservation.
pub(crate) enum Verdict {
    Granted(Reservation),
    Denied(Denial),
    /// A budget has spent its day.
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
            users: Limits::new(&store, "user", &USER, used(db.clone())),
            global: Limits::new(&store, "global", &SPEND, spent(db.clone(), |_| None)),
            models: Limits::new(&store, "model", &SPEND, spent(db.clone(), model_of)),
            attempts: Limits::without_history(&store, "attempt", &ATTEMPTS),
            name,
            store,
        })
    }

    /// The budgets that have a cap: whose, and the cap in nano-dollars.
    fn budgets(caps: &Caps) -> Vec<(Budget, u64)> {
        let global = caps.global.map(|cap| (Budget::Global, nanos(cap)));
        let models = caps.models.iter().map(|(model, cap)| (Budget::Model(model.clone()), nanos(*cap)));
        global.into_iter().chain(models).collect()
    }

    /// A budget's meters and its name among them.
    fn budget(&self, budget: &Budget) -> (&Limits, String) {
        match budget {
            Budget::Global => (&self.global, self.name.clone()),
            Budget::Model(model) => (&self.models, format!("{}/{model}", self.name)),
        }
    }

    /// Asks the user's meters, then all budgets at once; where one refuses, the others have it back before this answers. The user comes
    /// first, since what they may not have must not take from the budgets that everybody shares, not for a moment.
    pub(crate) async fn admit(
        &self,
        viewer: &Viewer,
        turn: TurnId,
        demand: Demand,
        worst: Picos,
        caps: &Caps,
    ) -> Result<Verdict, Unavailable> {
        let turn = turn.to_string();
        let limits = limits_of(&viewer.plan);
        let allowance = Allowance { limits: &limits, in_flight: Some(viewer.plan.in_flight) };
        let permit = match self.users.admit(&viewer.subject, &turn, allowance, demand).await? {
            Admission::Granted(permit) => permit,
            refused => return Ok(refusal(refused)),
        };
        let mine = call_key(&viewer.subject, &turn);
        let budgets = Self::budgets(caps);
        let asked = budgets.into_iter().map(async |(budget, cap)| {
            let answer = self.spend(&budget, &mine, cap, nanos(worst)).await;
            (budget, answer)
        });
        let mut reservation = Reservation { permit, spend: Vec::new() };
        let mut refused = None;
        for (budget, answer) in join_all(asked).await {
            match answer {
                Ok(Admission::Granted(permit)) => reservation.spend.push((budget, permit)),
                Ok(answer) => refused = refused.or(Some(Ok((budget, answer)))),
                Err(error) => refused = Some(Err(error)),
            }
        }
        let Some(refused) = refused else { return Ok(Verdict::Granted(reservation)) };
        // What can't be given back lapses; it changes no verdict.
        let _ = self.release(reservation).await;
        Ok(match refused? {
            (budget, Admission::Denied(Denial { retry_after_ms, .. })) => Verdict::SpendCap { budget, retry_after_ms },
            (budget, Admission::TooLarge { .. }) => Verdict::SpendCap { budget, retry_after_ms: QUARTER_MS },
            _ => Verdict::Running,
        })
    }

    /// Asks one budget for the most that a call may cost.
    async fn spend(&self, budget: &Budget, call: &str, cap: u64, worst: u64) -> Result<Admission, Unavailable> {
        let ((limits, name), cap, mut tried) = (self.budget(budget), [cap], 0);
        loop {
            let allowance = Allowance { limits: &cap, in_flight: None };
            match limits.admit(&name, call, allowance, Demand::exactly(worst)).await {
                // A copy of this turn has just let go of the user's meters, and lets go of this one next.
                Ok(Admission::Running) if tried < 5 => {
                    tried += 1;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                answer => return answer,
            }
        }
    }

    /// Says that the call is written down. False where a hold had lapsed.
    pub(crate) async fn confirm(&self, reservation: &Reservation) -> Result<bool, Unavailable> {
        let mut stands = self.users.confirm(&reservation.permit).await?;
        for (budget, permit) in &reservation.spend {
            stands &= self.budget(budget).0.confirm(permit).await?;
        }
        Ok(stands)
    }

    /// Counts what the turn used, and what it cost each budget. Every meter is tried, also after one that failed.
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

    /// Gives everything back, as far as it can.
    pub(crate) async fn release(&self, reservation: Reservation) -> Result<(), Unavailable> {
        let mut budgets = Ok(());
        for (budget, permit) in reservation.spend {
            budgets = budgets.and(self.budget(&budget).0.release(permit).await.map(drop));
        }
        self.users.release(reservation.permit).await?;
        budgets
    }

    /// Settles the holds of a turn whose process is gone, or whose meters weren't told: where one still stands. `caps` name every model
    /// that has one, since who was to stand in isn't written down.
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

    /// Has the meters of a turn built from the ledger where its holds are missing: the ledger has it by now.
    pub(crate) async fn rebuild(&self, reservation: &Reservation) -> Result<(), Unavailable> {
        self.users.forget(reservation.permit.subject()).await?;
        for (budget, permit) in &reservation.spend {
            self.budget(budget).0.forget(permit.subject()).await?;
        }
        Ok(())
    }

    /// Compares the budgets with the ledger, and has those built from it again that differ: after a cap was set, since without one nothing
    /// is counted, and now and then, so that no fault of theirs lasts. Budgets are never quiet, so what differs by less than a hundredth is
    /// taken for turns that are just ending.
    pub(crate) async fn mend_budgets(&self, caps: &Caps) -> Result<(), Unavailable> {
        for (budget, _) in Self::budgets(caps) {
            let (limits, name) = self.budget(&budget);
            let far = async || -> Result<bool, Unavailable> {
                let drift = limits.drift(&name).await?;
                Ok(drift.is_some_and(|drift| {
                    let (found, ledger) = (drift.found.window(0).used, drift.expected.window(0).used);
                    found.abs_diff(ledger) > ledger / 100
                }))
            };
            if !far().await? {
                continue;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            if far().await? {
                tracing::warn!(?budget, "a budget differed from the ledger and is rebuilt");
                metrics::counter!("quotient_meter_drift_total").increment(1);
                limits.forget(&name).await?;
            }
        }
        Ok(())
    }

    /// Counts an attempt by `who`. Returns when to try again, in milliseconds, if there were too many.
    pub(crate) async fn count_attempt(&self, who: &str, limit: u64) -> Result<Option<u64>, Unavailable> {
        let limits = [limit];
        let attempt = uuid::Uuid::new_v4().to_string();
        match self
            .attempts
            .admit(who, &attempt, Allowance { limits: &limits, in_flight: None }, Demand::exactly(0))
            .await?
        {
            Admission::Granted(permit) => self.attempts.settle(permit, 0).await.map(|_| None),
            Admission::Denied(denial) => Ok(Some(denial.retry_after_ms)),
            Admission::TooLarge { .. } | Admission::Running => Ok(None),
        }
    }

    /// Whether the meters answer.
    pub(crate) async fn ping(&self) -> Result<(), Unavailable> {
        self.store.ping().await
    }
}

/// The limits of a plan, in the order of `USER`.
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

/// Names a turn among all users' turns: clients choose turn ids, and two users may choose the same.
fn call_key(subject: &str, turn: &str) -> String {
    format!("{subject}/{turn}")
}

/// Whole nano-dollars, rounded up, so that a budget never counts less than was spent.
fn nanos(amount: Picos) -> u64 {
    u64::try_from(amount.0).unwrap_or(0).div_ceil(1_000)
}

fn millis(at: OffsetDateTime) -> u64 {
    u64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap_or(0)
}

/// What a user's meters are rebuilt from: the ledger's rows of the trailing day, pending ones as holds.
fn used(db: store::Db) -> History {
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

/// What a budget is rebuilt from: the ledger by quarters of an hour, the last hour turn by turn; `model_of` finds the model in the
/// budget's name, none is everybody's.
fn spent(db: store::Db, model_of: fn(&str) -> Option<ModelName>) -> History {
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
