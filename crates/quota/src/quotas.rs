//! Reserves, settles and releases a turn in the user's meter, in every budget and in the meter of its API key.

use crate::budget::{Budget, Caps, Spent, nanos};
use crate::counters::Counters;
use crate::history::{self, millis};
use crate::key::{KeyAdmission, KeyLimit, KeyMeters, KeyPermit, within};
use crate::limit::{Limit, USER_WINDOWS, quota_of, window_limits};
use domain::{ApiKeyId, ModelName, Picos, Quota, TurnId, Viewer};
use futures::future::{join_all, try_join_all};
use futures::{join, try_join};
use limits::{
    Admission, Allowance, Demand, Denial, Drift, End, Limits, Permit, Snapshot, Store, Unavailable, Window, Windows,
};
use std::time::Duration;
use store::usage::SpendScope;
use time::OffsetDateTime;

const DAY_MS: u64 = 86_400_000;
const QUARTER_MS: u64 = 900_000;

/// Spend of a budget in 24 hours, in nano-dollars, rounded up.
const SPEND: Windows = Windows::new(&[Window::amount("spend", DAY_MS, 96)]);
/// The meters of users, API keys, budgets and attempts.
#[derive(Clone)]
pub struct Quotas {
    store: Store,
    users: Limits,
    global: Limits,
    models: Limits,
    demo: Limits,
    keys: KeyMeters,
    pub(crate) counters: Counters,
    /// Distinguishes this deployment from others that share a Redis.
    pub(crate) name: String,
}

/// What one turn has reserved in the user's meter, in each capped budget, and in the meter of its API key.
#[must_use = "an admitted call must be settled or released"]
pub struct Reservation {
    /// The hold in the user's meter. A provider may be called only with it.
    pub permit: Permit,
    budgets: Vec<(Budget, Permit)>,
    key: Option<KeyPermit>,
}

impl Reservation {
    /// Returns the meter of the API key that the call was made with, including this call; `None` for the chat. [`crate::key_quota_of`] turns it
    /// into what is left.
    #[must_use]
    pub fn key_snapshot(&self) -> Option<&Snapshot> {
        self.key.as_ref().map(Permit::snapshot)
    }
}

/// The arguments of [`Quotas::new`].
pub struct Settings<'a> {
    /// Redis; `None` keeps the meters of a single process in memory.
    pub redis_url: Option<&'a str>,
    /// Distinguishes this deployment from others that share a Redis.
    pub name: String,
    /// The clock that histories are read by.
    pub now: fn() -> OffsetDateTime,
}

/// The result of requesting a reservation.
#[expect(clippy::large_enum_variant, reason = "returned once per call and matched at once")]
pub enum Verdict {
    /// Reserved.
    Granted(Reservation),
    /// This turn is running already.
    Running,
    /// Refused.
    Refused(Refused),
}

/// Why a reservation was refused.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    /// A limit of the user's plan is reached.
    Limit {
        /// The limit.
        limit: Limit,
        /// When the request would fit, in milliseconds.
        retry_after_ms: u64,
    },
    /// A cap of the API key is reached.
    Key {
        /// The cap.
        limit: KeyLimit,
        /// When the request would fit, in milliseconds.
        retry_after_ms: u64,
    },
    /// A budget has reached its spend cap.
    SpendCap {
        /// The budget.
        budget: Budget,
        /// When the request would fit, in milliseconds.
        retry_after_ms: u64,
    },
    /// The request is larger than the plan's limit and can never fit.
    TooLarge {
        /// The plan's limit in tokens.
        max: u64,
    },
}

impl Quotas {
    /// Creates the meters.
    ///
    /// # Errors
    /// Returns an error if the Redis URL can't be parsed.
    pub fn new(settings: Settings<'_>, db: &store::Db) -> Result<Self, Unavailable> {
        let Settings { redis_url, name, now } = settings;
        let store = match redis_url {
            Some(url) => Store::redis(url)?,
            None => Store::memory(),
        };
        let model_of = |key: &str| {
            let model = key.split_once('/').map(|(_, model)| ModelName(model.to_owned()));
            model.map_or(SpendScope::Global, SpendScope::Model)
        };
        Ok(Self {
            users: Limits::new(&store, "user", &USER_WINDOWS, history::of_user(db.clone(), now)),
            global: Limits::new(&store, "global", &SPEND, history::of_budget(db.clone(), now, |_| SpendScope::Global)),
            models: Limits::new(&store, "model", &SPEND, history::of_budget(db.clone(), now, model_of)),
            demo: Limits::new(&store, "demo", &SPEND, history::of_budget(db.clone(), now, |_| SpendScope::Demo)),
            keys: KeyMeters::new(&store, db, now),
            counters: Counters::new(&store),
            name,
            store,
        })
    }

    /// Returns a budget's meters and its key among them.
    fn budget(&self, budget: &Budget) -> (&Limits, String) {
        match budget {
            Budget::Global => (&self.global, self.name.clone()),
            Budget::Model(model) => (&self.models, format!("{}/{model}", self.name)),
            Budget::Demo => (&self.demo, self.name.clone()),
        }
    }

    /// Reads a user's remaining quota.
    ///
    /// # Errors
    /// Returns an error if the meters can't be read.
    pub async fn quota(&self, viewer: &Viewer) -> Result<Quota, Unavailable> {
        Ok(quota_of(&viewer.plan, &self.users.peek(&viewer.subject).await?))
    }

    /// Reads a user's meter.
    ///
    /// # Errors
    /// Returns an error if the meters can't be read.
    pub async fn peek(&self, subject: &str) -> Result<Snapshot, Unavailable> {
        self.users.peek(subject).await
    }

    /// Reads the meter of an API key.
    ///
    /// # Errors
    /// Returns an error if the meters can't be read.
    pub async fn peek_key(&self, id: ApiKeyId) -> Result<Snapshot, Unavailable> {
        self.keys.peek(id).await
    }

    /// Compares the meter of an API key with the ledger. Returns `None` if they agree.
    ///
    /// # Errors
    /// Returns an error if the meters or the ledger can't be read.
    pub async fn key_drift(&self, id: ApiKeyId) -> Result<Option<Drift>, Unavailable> {
        self.keys.drift(id).await
    }

    /// Discards the meter of an API key, which is then rebuilt from the ledger on next use.
    ///
    /// # Errors
    /// Returns an error if the meters can't be reached.
    pub async fn discard_key(&self, id: ApiKeyId) -> Result<(), Unavailable> {
        self.keys.discard(&id.to_string()).await
    }

    /// Compares a user's meter with the ledger. Returns `None` if they agree.
    ///
    /// # Errors
    /// Returns an error if the meters or the ledger can't be read.
    pub async fn drift(&self, subject: &str) -> Result<Option<Drift>, Unavailable> {
        self.users.drift(subject).await
    }

    /// Discards a user's meter, which is then rebuilt from the ledger on next use.
    ///
    /// # Errors
    /// Returns an error if the meters can't be reached.
    pub async fn discard(&self, subject: &str) -> Result<(), Unavailable> {
        self.users.discard(subject).await
    }

    /// Reserves a turn in the meter of its API key, if it has one, in the user's meter, then in all budgets concurrently. If one of them
    /// refuses, the other reservations are released before this returns. The key's meter comes before the user's, so that a key that has
    /// reached its caps never takes from the user's other calls, and the user's before the shared budgets, not even briefly.
    pub async fn admit(
        &self,
        viewer: &Viewer,
        turn: TurnId,
        demand: Demand,
        max_cost: Picos,
        caps: &Caps,
    ) -> Result<Verdict, Unavailable> {
        let turn = turn.to_string();
        let key = match &caps.key {
            None => None,
            Some(key) => match self.keys.admit(key, &turn, demand, max_cost).await? {
                KeyAdmission::Granted(permit) => Some(permit),
                KeyAdmission::Running => return Ok(Verdict::Running),
                KeyAdmission::Refused { limit, retry_after_ms } => {
                    return Ok(Verdict::Refused(Refused::Key { limit, retry_after_ms }));
                }
            },
        };
        let demand = key.as_ref().map_or(demand, |key| within(key, demand));
        let limits = window_limits(&viewer.plan);
        let allowance = Allowance { limits: &limits, in_flight: Some(viewer.plan.in_flight) };
        let permit = match self.users.admit(&viewer.subject, &turn, allowance, demand).await {
            Ok(Admission::Granted(permit)) => permit,
            refused => {
                if let Some(key) = key {
                    // A hold that can't be released lapses; the verdict is the same.
                    let _ = self.keys.release(key).await;
                }
                return refused.map(refusal);
            }
        };
        let call = call_key(&viewer.subject, &turn);
        let budgets = caps.budgets();
        let requests = budgets.into_iter().map(async |(budget, cap)| {
            let answer = self.spend(&budget, &call, cap, nanos(max_cost)).await;
            (budget, answer)
        });
        let mut reservation = Reservation { permit, budgets: Vec::new(), key };
        let mut refused = None;
        for (budget, answer) in join_all(requests).await {
            match answer {
                Ok(Admission::Granted(permit)) => reservation.budgets.push((budget, permit)),
                Ok(answer) => refused = refused.or(Some(Ok((budget, answer)))),
                Err(error) => refused = Some(Err(error)),
            }
        }
        let Some(refused) = refused else { return Ok(Verdict::Granted(reservation)) };
        // Holds that can't be released lapse; the verdict is the same.
        let _ = self.release(reservation).await;
        let (budget, retry_after_ms) = match refused? {
            (budget, Admission::Denied(Denial { retry_after_ms, .. })) => (budget, retry_after_ms),
            (budget, Admission::TooLarge { .. }) => (budget, QUARTER_MS),
            _ => return Ok(Verdict::Running),
        };
        Ok(Verdict::Refused(Refused::SpendCap { budget, retry_after_ms }))
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

    /// Confirms the holds once the ledger row is written, in all meters at once. Returns `false` if a hold had lapsed.
    pub async fn confirm(&self, reservation: &Reservation) -> Result<bool, Unavailable> {
        let budgets = reservation.budgets.iter().map(|(budget, permit)| self.budget(budget).0.confirm(permit));
        let key = async {
            match &reservation.key {
                Some(key) => self.keys.confirm(key).await,
                None => Ok(true),
            }
        };
        let (user, budgets, key) = try_join!(self.users.confirm(&reservation.permit), try_join_all(budgets), key)?;
        Ok(user && key && budgets.into_iter().all(|is_held| is_held))
    }

    /// Counts a turn's usage in the user's meter and its cost in each budget, in all of them at once, even if one fails.
    pub async fn settle(&self, reservation: Reservation, spent: &Spent) -> Result<Snapshot, Unavailable> {
        let budgets = reservation.budgets.into_iter().map(async |(budget, permit)| {
            let limits = self.budget(&budget).0;
            match spent.end(&budget) {
                End::Release => limits.release(permit).await.map(drop),
                End::Settle(cost) => limits.settle(permit, cost).await.map(drop),
            }
        });
        let key = async {
            match reservation.key {
                Some(key) => self.keys.settle(key, spent).await,
                None => Ok(()),
            }
        };
        let user = self.users.settle(reservation.permit, spent.tokens.0);
        let (budgets, key, user) = join!(join_all(budgets), key, user);
        budgets.into_iter().fold(key, Result::and).and(user)
    }

    /// Releases a reservation in full. Tries every meter, even if one fails.
    pub async fn release(&self, reservation: Reservation) -> Result<(), Unavailable> {
        let mut budgets = Ok(());
        for (budget, permit) in reservation.budgets {
            budgets = budgets.and(self.budget(&budget).0.release(permit).await.map(drop));
        }
        if let Some(key) = reservation.key {
            budgets = budgets.and(self.keys.release(key).await);
        }
        self.users.release(reservation.permit).await?;
        budgets
    }

    /// Settles the remaining holds of a turn whose process has crashed or was stopped, or whose meters weren't settled. `caps` must
    /// contain every model that has a cap, since a turn's fallback isn't recorded.
    pub async fn settle_by_id(
        &self,
        subject: &str,
        turn: TurnId,
        at: OffsetDateTime,
        spent: &Spent,
        caps: &Caps,
    ) -> Result<(), Unavailable> {
        if let Some(key) = &caps.key {
            self.keys.settle_by_id(key.id, turn, at, spent).await?;
        }
        let (turn, at_ms) = (turn.to_string(), millis(at));
        for (budget, _) in caps.budgets() {
            let (limits, name) = self.budget(&budget);
            limits.end(&name, &call_key(subject, &turn), at_ms, spent.end(&budget)).await?;
        }
        self.users.end(subject, &turn, at_ms, End::Settle(spent.tokens.0)).await.map(drop)
    }

    /// Discards a turn's meters, so that they are rebuilt from the ledger. Used if holds are missing; the ledger has the turn by then.
    pub async fn rebuild(&self, reservation: &Reservation) -> Result<(), Unavailable> {
        self.users.discard(reservation.permit.subject()).await?;
        for (budget, permit) in &reservation.budgets {
            self.budget(budget).0.discard(permit.subject()).await?;
        }
        if let Some(key) = &reservation.key {
            self.keys.discard(key.subject()).await?;
        }
        Ok(())
    }

    /// Compares the budgets with the ledger and discards those that differ, so that they are rebuilt. Runs after a cap was set, because a
    /// budget without a cap isn't counted, and periodically, so that no error persists. Budgets are always in use, so a difference of up to
    /// 1 % is attributed to turns that are just ending.
    pub async fn rebuild_drifted_budgets(&self, caps: &Caps) -> Result<(), Unavailable> {
        for (budget, _) in caps.budgets() {
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
                limits.discard(&name).await?;
            }
        }
        Ok(())
    }

    /// Checks that the meters can be reached.
    pub async fn ping(&self) -> Result<(), Unavailable> {
        self.store.ping().await
    }
}

fn refusal(admission: Admission) -> Verdict {
    match admission {
        Admission::Denied(Denial { reason, retry_after_ms, .. }) => {
            Verdict::Refused(Refused::Limit { limit: Limit::of(reason), retry_after_ms })
        }
        Admission::TooLarge { max } => Verdict::Refused(Refused::TooLarge { max }),
        Admission::Running | Admission::Granted(_) => Verdict::Running,
    }
}

/// Names a turn in the budgets, which all users share. Clients choose turn ids, and two users may choose the same one.
fn call_key(subject: &str, turn: &str) -> String {
    format!("{subject}/{turn}")
}
