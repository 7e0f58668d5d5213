//! Every meter of the house: people's, the purses (the whole house's and each model's own), and the doors that anybody may knock at.

use crate::{Config, House};
use app::api::context::PERSON;
use domain::{ModelName, Picos, Plan, Tokens, TurnId, Viewer};
use futures::future::join_all;
use limits::{
    Admission, Allowance, Denial, End, History, Limits, Need, PastCall, Permit, Picture, Store, Unavailable, Window,
};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;

const DAY_MS: u64 = 86_400_000;
const QUARTER_MS: u64 = 900_000;

/// What a purse spends in any day, in whole nano-dollars, rounded up.
const SPEND: [Window; 1] = [Window::amount("spend", DAY_MS, 96)];
/// Knocks at a door in any quarter of an hour.
const KNOCKS: [Window; 1] = [Window::calls("knocks", QUARTER_MS, 60)];

/// The meters.
#[derive(Clone)]
pub(crate) struct Meters {
    store: Store,
    pub people: Limits,
    house: Limits,
    models: Limits,
    doors: Limits,
    /// Names this house among those that share a Redis.
    name: String,
}

/// What may be spent in any day, where there is a cap; an argument of each turn, so that a new one counts with the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Caps {
    /// By everybody together.
    pub house: Option<Picos>,
    /// On this model, by everybody together.
    pub model: Option<(ModelName, Picos)>,
}

/// Whose money it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purse {
    House,
    Model,
}

/// Leave to make one call: the person's, and each purse's that has a cap.
#[must_use = "an admitted call is settled or released"]
pub(crate) struct Leave {
    pub permit: Permit,
    spend: Vec<(Purse, Permit)>,
}

/// The answer to a turn that asks for leave.
pub(crate) enum Verdict {
    Granted(Leave),
    Denied(Denial),
    /// A purse has spent its day.
    SpendCap {
        purse: Purse,
        retry_after_ms: u64,
    },
    TooLarge {
        max: u64,
    },
    Running,
}

impl Meters {
    /// # Errors
    /// When the address of Redis can't be read.
    pub(crate) fn new(config: &Config, db: &store::Db) -> Result<Self, Unavailable> {
        let store = match &config.redis_url {
            Some(url) => Store::redis(url)?,
            None => Store::memory(),
        };
        let name = hex::encode(&Sha256::digest(config.secret_key)[..12]);
        let model_of = |name: &str| name.split_once('/').map(|(_, model)| ModelName(model.to_owned()));
        Ok(Self {
            people: Limits::new(&store, "person", &PERSON, used(db.clone())),
            house: Limits::new(&store, "house", &SPEND, spent(db.clone(), |_| None)),
            models: Limits::new(&store, "model", &SPEND, spent(db.clone(), model_of)),
            doors: Limits::without_history(&store, "door", &KNOCKS),
            name,
            store,
        })
    }

    /// The purses that have a cap: whose, their meters, the subject and the cap in nano-dollars.
    fn purses(&self, caps: &Caps) -> Vec<(Purse, &Limits, String, u64)> {
        let house = caps.house.map(|cap| (Purse::House, &self.house, self.name.clone(), nanos(cap)));
        let model = caps
            .model
            .as_ref()
            .map(|(model, cap)| (Purse::Model, &self.models, format!("{}/{model}", self.name), nanos(*cap)));
        house.into_iter().chain(model).collect()
    }

    fn purse(&self, purse: Purse) -> &Limits {
        match purse {
            Purse::House => &self.house,
            Purse::Model => &self.models,
        }
    }

    /// Asks the person's meters and the purses at once; where one refuses, the others have it back before this answers.
    pub(crate) async fn admit(
        &self,
        viewer: &Viewer,
        turn: TurnId,
        need: Need,
        worst: Picos,
        caps: &Caps,
    ) -> Result<Verdict, Unavailable> {
        let turn = turn.to_string();
        let limits = limits_of(&viewer.plan);
        let allowance = Allowance { limits: &limits, in_flight: Some(viewer.plan.in_flight) };
        let person = self.people.admit(&viewer.subject, &turn, allowance, need);
        let purses = self.purses(caps);
        if purses.is_empty() {
            return Ok(match person.await? {
                Admission::Granted(permit) => Verdict::Granted(Leave { permit, spend: Vec::new() }),
                refused => refusal(refused),
            });
        }
        let mine = house_call(&viewer.subject, &turn);
        let money = purses.iter().map(|(_, spend, subject, cap)| {
            let (cap, mine) = ([*cap], &mine);
            async move {
                let mut tried = 0;
                loop {
                    let allowance = Allowance { limits: &cap, in_flight: None };
                    match spend.admit(subject, mine, allowance, Need::exactly(nanos(worst))).await {
                        // A copy of this turn has just let go of the person's meters, and lets go of this one next.
                        Ok(Admission::Running) if tried < 5 => {
                            tried += 1;
                            tokio::time::sleep(Duration::from_millis(20)).await;
                        }
                        answer => break answer,
                    }
                }
            }
        });
        let (person, money) = tokio::join!(person, join_all(money));
        let (mut spend, mut refused) = (Vec::new(), None);
        for ((purse, ..), answer) in purses.iter().zip(money) {
            match answer {
                Ok(Admission::Granted(permit)) => spend.push((*purse, permit)),
                Ok(answer) => refused = refused.or(Some(Ok((*purse, answer)))),
                Err(error) => refused = Some(Err(error)),
            }
        }
        match (person, refused) {
            (Ok(Admission::Granted(permit)), None) => Ok(Verdict::Granted(Leave { permit, spend })),
            (person, refused) => {
                // What can't be given back lapses; it changes no verdict.
                for (purse, permit) in spend {
                    let _ = self.purse(purse).release(permit).await;
                }
                match person? {
                    Admission::Granted(permit) => drop(self.people.release(permit).await),
                    refused => return Ok(refusal(refused)),
                }
                Ok(match refused.transpose()? {
                    Some((purse, Admission::Denied(Denial { retry_after_ms, .. }))) => {
                        Verdict::SpendCap { purse, retry_after_ms }
                    }
                    Some((purse, Admission::TooLarge { .. })) => {
                        Verdict::SpendCap { purse, retry_after_ms: QUARTER_MS }
                    }
                    _ => Verdict::Running,
                })
            }
        }
    }

    /// Says that the call is written down. False where a hold had lapsed.
    pub(crate) async fn confirm(&self, leave: &Leave) -> Result<bool, Unavailable> {
        let mut stands = self.people.confirm(&leave.permit).await?;
        for (purse, permit) in &leave.spend {
            stands &= self.purse(*purse).confirm(permit).await?;
        }
        Ok(stands)
    }

    /// Counts what the call used and cost. One meter's trouble is no reason to leave the other untold.
    pub(crate) async fn settle(&self, leave: Leave, used: Tokens, cost: Picos) -> Result<Picture, Unavailable> {
        let mut purses = Ok(());
        for (purse, permit) in leave.spend {
            purses = purses.and(self.purse(purse).settle(permit, nanos(cost)).await.map(drop));
        }
        let picture = self.people.settle(leave.permit, used.0).await?;
        purses.map(|()| picture)
    }

    /// Gives everything back, as far as it can.
    pub(crate) async fn release(&self, leave: Leave) -> Result<(), Unavailable> {
        let mut purses = Ok(());
        for (purse, permit) in leave.spend {
            purses = purses.and(self.purse(purse).release(permit).await.map(drop));
        }
        self.people.release(leave.permit).await?;
        purses
    }

    /// Settles the holds of a turn whose process is gone, or whose meters weren't told: where one still stands.
    pub(crate) async fn settle_by_id(
        &self,
        subject: &str,
        turn: TurnId,
        at: OffsetDateTime,
        (used, cost): (Tokens, Picos),
        caps: &Caps,
    ) -> Result<(), Unavailable> {
        let (turn, at_ms) = (turn.to_string(), millis(at));
        for (_, spend, name, _) in self.purses(caps) {
            spend.end(&name, &house_call(subject, &turn), at_ms, End::Settle(nanos(cost))).await?;
        }
        self.people.end(subject, &turn, at_ms, End::Settle(used.0)).await.map(drop)
    }

    /// Builds the meters of a turn from the ledger where they were lost: it has the turn by now.
    pub(crate) async fn rebuild(&self, subject: &str, leave: &Leave) -> Result<(), Unavailable> {
        self.people.peek(subject).await?;
        for (purse, permit) in &leave.spend {
            self.purse(*purse).forget(permit.subject()).await?;
        }
        Ok(())
    }

    /// Rebuilds the purses from the ledger with the next turn: after a cap was set, since without one nothing is counted, and now and
    /// then, so that no fault of theirs lasts.
    pub(crate) async fn forget_purses(&self, caps: &Caps) -> Result<(), Unavailable> {
        for (_, spend, name, _) in self.purses(caps) {
            spend.forget(&name).await?;
        }
        Ok(())
    }

    /// Counts a knock at a door, by whoever it is. When to come back, where it were too many.
    pub(crate) async fn knock(&self, who: &str, limit: u64) -> Result<Option<u64>, Unavailable> {
        let limits = [limit];
        let knock = uuid::Uuid::new_v4().to_string();
        match self.doors.admit(who, &knock, Allowance { limits: &limits, in_flight: None }, Need::exactly(0)).await? {
            Admission::Granted(permit) => self.doors.settle(permit, 0).await.map(|_| None),
            Admission::Denied(denial) => Ok(Some(denial.retry_after_ms)),
            Admission::TooLarge { .. } | Admission::Running => Ok(None),
        }
    }

    /// Whether the meters answer.
    pub(crate) async fn ping(&self) -> Result<(), Unavailable> {
        self.store.ping().await
    }
}

/// The limits of a plan, in the order of `PERSON`.
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

/// Names a turn among the house's: clients choose the ids of turns, and each person's are their own.
fn house_call(subject: &str, turn: &str) -> String {
    format!("{subject}/{turn}")
}

/// Whole nano-dollars, rounded up: the house never spends more than it counts.
fn nanos(amount: Picos) -> u64 {
    u64::try_from(amount.0).unwrap_or(0).div_ceil(1_000)
}

fn millis(at: OffsetDateTime) -> u64 {
    u64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap_or(0)
}

/// What a person's meters are rebuilt from: the ledger's rows of the trailing day, pending ones as holds.
fn used(db: store::Db) -> History {
    Arc::new(move |subject| {
        let db = db.clone();
        Box::pin(async move {
            let since = House::now() - time::Duration::hours(25);
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

/// What a purse is rebuilt from: the ledger by quarters of an hour, the last hour turn by turn; `model_of` finds the model in the
/// purse's name, none is everybody's.
fn spent(db: store::Db, model_of: fn(&str) -> Option<ModelName>) -> History {
    Arc::new(move |name| {
        let db = db.clone();
        Box::pin(async move {
            let now = House::now();
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
