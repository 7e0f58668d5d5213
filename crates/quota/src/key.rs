//! The caps of an API key, within the limits of its user: requests per minute, tokens per day and dollars in 30 days.

use crate::budget::{Spent, nanos};
use crate::history::{self, millis};
use crate::key_caps::KeyCaps;
use domain::{ApiKeyId, Picos, Problem, ProblemKind, TurnId, quota};
use limits::{
    Admission, Allowance, Demand, Denial, Drift, End, Limits, Permit, Reason, Snapshot, Store, Unavailable, Window,
    Windows,
};
use time::OffsetDateTime;

const MINUTE_MS: u64 = 60_000;
const DAY_MS: u64 = 86_400_000;
const MONTH_MS: u64 = 30 * DAY_MS;

/// The windows of a key's meter. The amounts of a call are its tokens and its cost in nano-dollars. The buckets of amounts are whole half hours,
/// because lost meters are rebuilt from sums by half hour (`usage_key`).
pub const KEY_WINDOWS: Windows<[u64; 2]> = Windows::new(&[
    Window::calls("requests", MINUTE_MS, 60),
    Window::amount("tokens", DAY_MS, 48),
    Window::amount("spend", MONTH_MS, 120),
]);

/// Permission to make a call with a key, next to that of its user.
pub(crate) type KeyPermit = Permit<[u64; 2]>;

/// A cap of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyLimit {
    /// Requests in any 60 seconds.
    Requests,
    /// Tokens in any 24 hours.
    Tokens,
    /// Cost in any 30 days.
    Dollars,
}

impl KeyLimit {
    /// The cap that refused a call.
    fn of(reason: Reason) -> Self {
        match reason {
            // A key has no limit of concurrent calls: its user has.
            Reason::Window(0) | Reason::InFlight => Self::Requests,
            Reason::Window(1) => Self::Tokens,
            Reason::Window(_) => Self::Dollars,
        }
    }

    /// Retry delay of a call that can never fit: its user may raise the cap meanwhile.
    fn span_ms(self) -> u64 {
        match self {
            Self::Requests => MINUTE_MS,
            Self::Tokens => DAY_MS,
            Self::Dollars => MONTH_MS,
        }
    }

    /// The problem shown to the caller. What its user can do about it is on `/settings/keys`.
    #[must_use]
    pub fn problem(self, retry_after_ms: u64) -> Problem {
        let (kind, message) = match self {
            Self::Requests => {
                (ProblemKind::RequestsLimit, "This API key has reached its own limit of requests per minute.")
            }
            Self::Tokens => {
                (ProblemKind::TokensLimit, "This request needs more tokens than this API key has left for today.")
            }
            Self::Dollars => {
                (ProblemKind::TokensLimit, "This request may cost more than this API key has left for 30 days.")
            }
        };
        Problem { retry_after_ms: Some(retry_after_ms), ..Problem::new(kind, message) }
    }
}

/// What a key has left, in the windows that have a cap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyQuota {
    /// Requests in any 60 seconds.
    pub requests: Option<quota::Requests>,
    /// Tokens in any 24 hours.
    pub tokens: Option<quota::TokensLeft>,
    /// Cost in any 30 days: the cap, and what is left of it.
    pub monthly: Option<(Picos, Picos)>,
}

/// Combines a key's caps with a snapshot of its meter into what is left.
#[must_use]
pub fn key_quota_of(caps: &KeyCaps, snapshot: &Snapshot) -> KeyQuota {
    let [requests, tokens, spend] = [0, 1, 2].map(|index| snapshot.window(index));
    let left = |limit: u64, usage: limits::Usage| limit.saturating_sub(usage.used.saturating_add(usage.reserved));
    let picos = |nanos: u64| Picos(i64::try_from(nanos.saturating_mul(1_000)).unwrap_or(i64::MAX));
    let [_, _, spend_limit] = caps.limits();
    KeyQuota {
        requests: caps.requests_per_minute.map(|limit| quota::Requests {
            limit,
            remaining: limit.saturating_sub(requests.used),
            reset_ms: requests.reset_ms,
        }),
        tokens: caps.tokens_per_day.map(|limit| quota::TokensLeft {
            limit: limit.0,
            used: tokens.used,
            reserved: tokens.reserved,
            remaining: left(limit.0, tokens),
            next_free_ms: tokens.next_free_ms,
        }),
        monthly: caps.monthly.map(|cap| (cap, picos(left(spend_limit, spend)))),
    }
}

/// The result of reserving a call in a key's meter.
pub(crate) enum KeyAdmission {
    Granted(KeyPermit),
    Refused { limit: KeyLimit, retry_after_ms: u64 },
    Running,
}

/// The meters of keys.
#[derive(Clone)]
pub(crate) struct KeyMeters(Limits<[u64; 2]>);

impl KeyMeters {
    pub(crate) fn new(store: &Store, db: &store::Db, now: fn() -> OffsetDateTime) -> Self {
        Self(Limits::new(store, "key", &KEY_WINDOWS, history::of_key(db.clone(), now)))
    }

    /// Reserves a call's tokens and maximum cost in all windows, or in none.
    pub(crate) async fn admit(
        &self,
        caps: &KeyCaps,
        turn: &str,
        demand: Demand,
        max_cost: Picos,
    ) -> Result<KeyAdmission, Unavailable> {
        let limits = caps.limits();
        let demand = Demand {
            input: [demand.input, nanos(max_cost)],
            output_min: [demand.output_min, 0],
            output_max: [demand.output_max, 0],
        };
        let allowance = Allowance { limits: &limits, in_flight: None };
        Ok(match self.0.admit(&caps.id.to_string(), turn, allowance, demand).await? {
            Admission::Granted(permit) => KeyAdmission::Granted(permit),
            Admission::Denied(Denial { reason, retry_after_ms, .. }) => {
                KeyAdmission::Refused { limit: KeyLimit::of(reason), retry_after_ms }
            }
            Admission::TooLarge { max } => {
                let limit = if demand.input[0] > max[0] { KeyLimit::Tokens } else { KeyLimit::Dollars };
                KeyAdmission::Refused { limit, retry_after_ms: limit.span_ms() }
            }
            Admission::Running => KeyAdmission::Running,
        })
    }

    /// Confirms the hold. Returns false if it has lapsed.
    pub(crate) async fn confirm(&self, permit: &KeyPermit) -> Result<bool, Unavailable> {
        self.0.confirm(permit).await
    }

    /// Counts what a call has used and cost.
    pub(crate) async fn settle(&self, permit: KeyPermit, spent: &Spent) -> Result<(), Unavailable> {
        self.0.settle(permit, amounts(spent)).await.map(drop)
    }

    /// Releases a hold in full.
    pub(crate) async fn release(&self, permit: KeyPermit) -> Result<(), Unavailable> {
        self.0.release(permit).await.map(drop)
    }

    /// Settles the remaining hold of a turn.
    pub(crate) async fn settle_by_id(
        &self,
        id: ApiKeyId,
        turn: TurnId,
        at: OffsetDateTime,
        spent: &Spent,
    ) -> Result<(), Unavailable> {
        let end = End::Settle(amounts(spent));
        self.0.end(&id.to_string(), &turn.to_string(), millis(at), end).await.map(drop)
    }

    pub(crate) async fn peek(&self, id: ApiKeyId) -> Result<Snapshot, Unavailable> {
        self.0.peek(&id.to_string()).await
    }

    /// Compares a meter with the ledger. Each call's cost is rounded up to nano-dollars, and the ledger's sums once, so a difference in cost of up
    /// to 1 % is ignored.
    pub(crate) async fn drift(&self, id: ApiKeyId) -> Result<Option<Drift>, Unavailable> {
        let drift = self.0.drift(&id.to_string()).await?;
        Ok(drift.filter(|Drift { found, expected }| {
            let tokens = |snapshot: &Snapshot| (snapshot.window(1).used, snapshot.window(1).reserved);
            let spend = |snapshot: &Snapshot| snapshot.window(2).used.saturating_add(snapshot.window(2).reserved);
            found.in_flight != expected.in_flight
                || tokens(found) != tokens(expected)
                || spend(found).abs_diff(spend(expected)) > spend(expected) / 100
        }))
    }

    /// Discards the meter with this name, so that it is rebuilt.
    pub(crate) async fn discard(&self, name: &str) -> Result<(), Unavailable> {
        self.0.discard(name).await
    }
}

/// Returns a demand whose output is at most what a key's meter has granted.
pub(crate) fn within(permit: &KeyPermit, demand: Demand) -> Demand {
    Demand { output_max: demand.output_max.min(permit.output()[0]), ..demand }
}

fn amounts(spent: &Spent) -> [u64; 2] {
    [spent.tokens.0, nanos(spent.cost())]
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::Tokens;
    use time::macros::datetime;

    const CENT: Picos = Picos(10_000_000_000);

    fn caps(requests: Option<u64>, tokens: Option<u64>, monthly: Option<Picos>) -> KeyCaps {
        let id = ApiKeyId::at(datetime!(2026-11-27 12:00 UTC));
        KeyCaps { id, requests_per_minute: requests, tokens_per_day: tokens.map(Tokens), monthly }
    }

    /// Meters in memory without a history, at a fixed time, so that no hold lapses.
    fn meters() -> KeyMeters {
        KeyMeters(Limits::without_history(&Store::memory(), "key", &KEY_WINDOWS).at(1_764_000_123_456))
    }

    fn demand(input: u64, output_max: u64) -> Demand {
        Demand { input, output_min: 1, output_max }
    }

    async fn refused(meters: &KeyMeters, caps: &KeyCaps, demand: Demand, max_cost: Picos) -> Option<KeyLimit> {
        let turn = uuid::Uuid::new_v4().to_string();
        match meters.admit(caps, &turn, demand, max_cost).await.unwrap() {
            KeyAdmission::Refused { limit, retry_after_ms } => {
                assert!(retry_after_ms > 0);
                Some(limit)
            }
            KeyAdmission::Granted(_) | KeyAdmission::Running => None,
        }
    }

    #[tokio::test]
    async fn each_cap_refuses_what_exceeds_it() {
        let meters = meters();
        for (caps, limit) in [
            (caps(Some(1), None, None), KeyLimit::Requests),
            (caps(None, Some(150), None), KeyLimit::Tokens),
            (caps(None, None, Some(Picos(15 * CENT.0))), KeyLimit::Dollars),
        ] {
            let first = meters.admit(&caps, "first", demand(90, 10), Picos(10 * CENT.0)).await.unwrap();
            assert!(matches!(first, KeyAdmission::Granted(_)), "{limit:?}");
            assert_eq!(refused(&meters, &caps, demand(90, 10), Picos(10 * CENT.0)).await, Some(limit));
        }
        // What can never fit.
        assert_eq!(refused(&meters, &caps(None, Some(50), None), demand(90, 10), CENT).await, Some(KeyLimit::Tokens));
        assert_eq!(
            refused(&meters, &caps(None, None, Some(CENT)), demand(9, 1), Picos(2 * CENT.0)).await,
            Some(KeyLimit::Dollars)
        );
    }

    #[tokio::test]
    async fn output_shrinks_to_what_the_key_has_left_and_a_settled_call_refunds_the_rest() {
        let (meters, caps) = (meters(), caps(Some(5), Some(100), Some(CENT)));
        let KeyAdmission::Granted(permit) = meters.admit(&caps, "a", demand(60, 500), CENT).await.unwrap() else {
            panic!("refused")
        };
        assert_eq!(within(&permit, demand(60, 500)).output_max, 40);
        let quota = key_quota_of(&caps, permit.snapshot());
        assert_eq!((quota.requests.unwrap().remaining, quota.tokens.unwrap().remaining), (4, 0));
        assert_eq!(quota.monthly, Some((CENT, Picos::ZERO)));
        let spent = Spent::on(Tokens(70), domain::ModelName("m".to_owned()), Picos(CENT.0 / 4));
        meters.settle(permit, &spent).await.unwrap();
        let quota = key_quota_of(&caps, &meters.peek(caps.id).await.unwrap());
        assert_eq!((quota.tokens.as_ref().unwrap().used, quota.tokens.unwrap().remaining), (70, 30));
        assert_eq!(quota.monthly, Some((CENT, Picos(CENT.0 / 4 * 3))));
    }

    #[test]
    fn a_key_without_caps_has_nothing_to_show() {
        let snapshot = Snapshot { in_flight: 0, windows: Vec::new() };
        let quota = key_quota_of(&caps(None, None, None), &snapshot);
        assert_eq!(quota, KeyQuota { requests: None, tokens: None, monthly: None });
    }
}
