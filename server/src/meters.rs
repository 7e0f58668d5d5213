//! Every meter of the house: people's, the house's own money, and the doors that anybody may knock at.

use crate::{Config, House};
use app::api::context::PERSON;
use domain::{Picos, Plan, Tokens, TurnId, Viewer};
use limits::{
    Admission, Allowance, Denial, End, History, Limits, Need, PastCall, Permit, Picture, Store, Unavailable, Window,
};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;

const DAY_MS: u64 = 86_400_000;
const QUARTER_MS: u64 = 900_000;

/// What the whole house spends in any day, in whole nano-dollars, rounded up.
const SPEND: [Window; 1] = [Window::amount("spend", DAY_MS, 96)];
/// Knocks at a door in any quarter of an hour.
const KNOCKS: [Window; 1] = [Window::calls("knocks", QUARTER_MS, 60)];

/// The meters.
#[derive(Clone)]
pub(crate) struct Meters {
    store: Store,
    pub people: Limits,
    spend: Option<Spend>,
    doors: Limits,
}

/// The house's own meter.
#[derive(Clone)]
struct Spend {
    limits: Limits,
    /// Names this house among those that share a Redis.
    subject: String,
    /// In nano-dollars.
    cap: u64,
}

/// Leave to make one call: the person's, and the house's where it has a cap.
#[must_use = "an admitted call is settled or released"]
pub(crate) struct Leave {
    pub permit: Permit,
    spend: Option<Permit>,
}

/// The answer to a turn that asks for leave.
pub(crate) enum Verdict {
    Granted(Leave),
    Denied(Denial),
    /// The house has spent its day.
    SpendCap {
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
        let spend = config.daily_spend.map(|cap| Spend {
            limits: Limits::new(&store, "house", &SPEND, spent(db.clone())),
            subject: hex::encode(&Sha256::digest(config.secret_key)[..12]),
            cap: nanos(cap),
        });
        Ok(Self {
            people: Limits::new(&store, "person", &PERSON, used(db.clone())),
            doors: Limits::without_history(&store, "door", &KNOCKS),
            spend,
            store,
        })
    }

    /// Asks the person's meters and the house's at once; where one refuses, the other has it back before this answers.
    pub(crate) async fn admit(
        &self,
        viewer: &Viewer,
        turn: TurnId,
        need: Need,
        worst: Picos,
    ) -> Result<Verdict, Unavailable> {
        let turn = turn.to_string();
        let limits = limits_of(&viewer.plan);
        let allowance = Allowance { limits: &limits, in_flight: Some(viewer.plan.in_flight) };
        let person = self.people.admit(&viewer.subject, &turn, allowance, need);
        let Some(house) = &self.spend else {
            return Ok(match person.await? {
                Admission::Granted(permit) => Verdict::Granted(Leave { permit, spend: None }),
                refused => refusal(refused),
            });
        };
        let (spend, cap, mine) = (&house.limits, [house.cap], house_call(&viewer.subject, &turn));
        let allowance = Allowance { limits: &cap, in_flight: None };
        let money = async {
            let mut tried = 0;
            loop {
                match spend.admit(&house.subject, &mine, allowance, Need::exactly(nanos(worst))).await {
                    // A copy of this turn has just let go of the person's meters, and lets go of this one next.
                    Ok(Admission::Running) if tried < 5 => {
                        tried += 1;
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    answer => break answer,
                }
            }
        };
        match tokio::join!(person, money) {
            (Ok(Admission::Granted(permit)), Ok(Admission::Granted(spend))) => {
                Ok(Verdict::Granted(Leave { permit, spend: Some(spend) }))
            }
            (Ok(Admission::Granted(permit)), refused) => {
                // What can't be given back lapses; it changes no verdict.
                let _ = self.people.release(permit).await;
                Ok(match refused? {
                    Admission::Running => Verdict::Running,
                    Admission::Denied(denial) => Verdict::SpendCap { retry_after_ms: denial.retry_after_ms },
                    _ => Verdict::SpendCap { retry_after_ms: QUARTER_MS },
                })
            }
            (refused, money) => {
                if let Ok(Admission::Granted(permit)) = money {
                    let _ = spend.release(permit).await;
                }
                refused.map(refusal)
            }
        }
    }

    /// Says that the call is written down. False where a hold had lapsed.
    pub(crate) async fn confirm(&self, leave: &Leave) -> Result<bool, Unavailable> {
        let house = match (&self.spend, &leave.spend) {
            (Some(house), Some(permit)) => house.limits.confirm(permit).await?,
            _ => true,
        };
        Ok(self.people.confirm(&leave.permit).await? && house)
    }

    /// Counts what the call used and cost. One meter's trouble is no reason to leave the other untold.
    pub(crate) async fn settle(&self, leave: Leave, used: Tokens, cost: Picos) -> Result<Picture, Unavailable> {
        let house = match (&self.spend, leave.spend) {
            (Some(house), Some(permit)) => house.limits.settle(permit, nanos(cost)).await.map(drop),
            _ => Ok(()),
        };
        let picture = self.people.settle(leave.permit, used.0).await?;
        house.map(|()| picture)
    }

    /// Gives everything back, as far as it can.
    pub(crate) async fn release(&self, leave: Leave) -> Result<(), Unavailable> {
        let house = match (&self.spend, leave.spend) {
            (Some(house), Some(permit)) => house.limits.release(permit).await.map(drop),
            _ => Ok(()),
        };
        self.people.release(leave.permit).await?;
        house
    }

    /// Settles the holds of a turn whose process is gone, or whose meters weren't told: where one still stands.
    pub(crate) async fn settle_by_id(
        &self,
        subject: &str,
        turn: TurnId,
        at: OffsetDateTime,
        (used, cost): (Tokens, Picos),
    ) -> Result<(), Unavailable> {
        let (turn, at_ms) = (turn.to_string(), millis(at));
        if let Some(house) = &self.spend {
            house.limits.end(&house.subject, &house_call(subject, &turn), at_ms, End::Settle(nanos(cost))).await?;
        }
        self.people.end(subject, &turn, at_ms, End::Settle(used.0)).await.map(drop)
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

/// What the house's meter is rebuilt from: the ledger by quarters of an hour, the last hour turn by turn.
fn spent(db: store::Db) -> History {
    Arc::new(move |_| {
        let db = db.clone();
        Box::pin(async move {
            let now = House::now();
            let since = now - time::Duration::hours(25);
            let past = store::usage::spent(&db, since, now - time::Duration::hours(1)).await;
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
