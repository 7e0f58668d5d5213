//! Property tests that compare random histories with a plain list of calls.

use super::{DAY, T0, WINDOWS, WINDOWS_WITH_IMAGES, allow, connection, redis_url, unique_name};
use limits::{Admission, Amounts, Demand, Denial, End, Limits, Permit, Snapshot, Store, Unit, Usage, Window, Windows};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Maximum number of concurrent calls.
const IN_FLIGHT: u64 = 6;

/// All fields of a subject's hash, in a fixed order.
type Fields = BTreeMap<Vec<u8>, Vec<u8>>;

/// Tokens and images. Meters with a single amount count the tokens only.
type Pair = [u64; 2];

/// One step of a random history.
#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    /// input, output_min, and how much output_max is above it
    Admit(Pair, Pair, Pair),
    Confirm(usize),
    Settle(usize, Pair),
    /// Settles by id a call that may already have been settled or released, or have lapsed.
    Again(usize, Pair),
    Release(usize),
    /// Limits of requests, tokens and images.
    Limit([u64; 3]),
}

fn pair(tokens: u64, images: u64) -> impl Strategy<Value = Pair> {
    (0..tokens, 0..images).prop_map(|(tokens, images)| [tokens, images])
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => (0..DAY + 7_200_000).prop_map(Step::Wait),
        1 => (0..3 * 3_600_000_u64).prop_map(Step::Wait),
        2 => (0..20_000_u64).prop_map(Step::Wait),
        5 => (pair(400, 4), pair(200, 2), pair(500, 3)).prop_map(|(i, l, m)| Step::Admit(i, l, m)),
        2 => any::<usize>().prop_map(Step::Confirm),
        3 => (any::<usize>(), pair(900, 5)).prop_map(|(n, used)| Step::Settle(n, used)),
        1 => (any::<usize>(), pair(900, 5)).prop_map(|(n, used)| Step::Again(n, used)),
        1 => any::<usize>().prop_map(Step::Release),
        1 => (1..8_u64, 300..2_000_u64, 3..12_u64).prop_map(|(requests, tokens, images)| Step::Limit([requests, tokens, images])),
    ]
}

/// A call in the plain list.
#[derive(Debug)]
struct Call<A> {
    id: String,
    at: u64,
    held: A,
    confirmed: bool,
    used: Option<A>,
    lapsed: bool,
    released: bool,
    permit: Option<Permit<A>>,
}

impl<A: Amounts> Call<A> {
    fn new(id: String, at: u64, permit: Permit<A>) -> Self {
        let held = permit.reserved();
        let permit = Some(permit);
        Self { id, at, held, confirmed: false, used: None, lapsed: false, released: false, permit }
    }

    fn is_held(&self, now: u64) -> bool {
        self.used.is_none() && !self.released && (self.confirmed || now < self.at + 10_000)
    }

    /// Whether it counts as a request: not if it was released, or lapsed before it was settled.
    fn was_made(&self, now: u64) -> bool {
        !self.released && !self.lapsed && (self.confirmed || self.used.is_some() || now < self.at + 10_000)
    }

    /// Settles the call: its amounts count even if the hold had lapsed, but the refunded request isn't counted again. A call can't be
    /// settled more than an hour after it lapsed.
    fn end(&mut self, now: u64, used: A) {
        if self.used.is_none() && !self.released && (self.is_held(now) || now < self.at + 3_610_000) {
            self.lapsed = !self.was_made(now);
            self.used = Some(used);
        }
    }

    /// Returns what the call counts for in a window at an instant: one request if it was made, or the amount that it used.
    fn used_in(&self, now: u64, index: Option<usize>) -> u64 {
        match index {
            None => u64::from(self.was_made(now)),
            Some(index) => self.used.map_or(0, |used| used.get(index)),
        }
    }
}

/// Meters and the plain list that they are compared with.
struct Comparison<A: Amounts> {
    limits: Limits<A>,
    /// Each window with the index of its amount; `None` for requests.
    windows: Vec<(Window, Option<usize>)>,
    subject: String,
    now: u64,
    /// Limits of requests, tokens and images.
    limit: [u64; 3],
    calls: Vec<Call<A>>,
}

impl<A: Amounts> Comparison<A> {
    fn new(store: &Store, windows: &Windows<A>) -> Self {
        let limits = Limits::without_history(store, "user", windows);
        let mut amounts = 0..;
        let mut index = |window: &Window| (window.unit == Unit::Amount).then(|| amounts.next().unwrap());
        let windows = windows.as_slice().iter().map(|window| (*window, index(window))).collect();
        Self { limits, windows, subject: unique_name("ann"), now: T0, limit: [5, 1_000, 8], calls: Vec::new() }
    }

    /// Computes a window's usage from the list, with the window widened by `wide` milliseconds.
    fn used(&self, (window, index): (Window, Option<usize>), wide: u64) -> u64 {
        let counted = self.calls.iter().filter(|call| call.at + window.span_ms + wide > self.now);
        counted.map(|call| call.used_in(self.now, index)).sum()
    }

    /// Computes from the list what running calls hold of an amount; a request isn't held.
    fn held(&self, index: Option<usize>) -> u64 {
        let held = self.calls.iter().filter(|call| call.is_held(self.now));
        index.map_or(0, |index| held.map(|call| call.held.get(index)).sum())
    }

    fn in_flight(&self) -> u64 {
        self.calls.iter().filter(|call| call.is_held(self.now)).count() as u64
    }

    async fn admit(&mut self, demand: Demand<A>, dump: &mut impl AsyncFnMut(&str) -> Fields) {
        let limit = self.limit;
        let plan = allow(&limit[..self.windows.len()], IN_FLIGHT);
        let (id, before) = (unique_name("call"), dump(&self.subject).await);
        match self.limits.at(self.now).admit(&self.subject, &id, plan, demand).await.unwrap() {
            Admission::Granted(permit) => {
                assert!(self.in_flight() < IN_FLIGHT, "calls");
                for (&(window, index), limit) in self.windows.iter().zip(limit) {
                    let granted = index.map_or(1, |index| permit.reserved().get(index));
                    let (used, held) = (self.used((window, index), 0), self.held(index));
                    assert!(used + held + granted <= limit, "{}: {used} {held} {permit:?}", window.name);
                    if let Some(index) = index {
                        let (low, high) = (demand.output_min.get(index), demand.output_max.get(index));
                        assert!((low..=high).contains(&permit.output().get(index)), "{demand:?} {permit:?}");
                    }
                }
                self.calls.push(Call::new(id, self.now, permit));
            }
            Admission::TooLarge { max } => {
                let is_too_large = |(&(_, index), limit): (&(Window, Option<usize>), u64)| {
                    index.is_some_and(|index| {
                        demand.input.get(index) > max.get(index) || limit < demand.output_min.get(index)
                    })
                };
                assert!(self.windows.iter().zip(limit).any(is_too_large), "{demand:?} {limit:?}");
            }
            Admission::Denied(denial) => {
                assert_eq!(dump(&self.subject).await, before, "nothing was written");
                self.check_denial(&denial, demand).await;
            }
            Admission::Running => panic!("running"),
        }
    }

    async fn check_denial(&mut self, denial: &Denial, demand: Demand<A>) {
        let limit = self.limit;
        let plan = allow(&limit[..self.windows.len()], IN_FLIGHT);
        // with windows that are one bucket longer, the plain list refuses too
        let is_full = |(&(window, index), limit): (&(Window, Option<usize>), u64)| {
            let wanted = index.map_or(1, |index| demand.input.get(index) + demand.output_min.get(index));
            self.used((window, index), window.width_ms) + self.held(index) + wanted > limit
        };
        let is_refused = self.in_flight() >= IN_FLIGHT || self.windows.iter().zip(limit).any(is_full);
        assert!(is_refused, "refused although it fits: {denial:?} {demand:?}");
        // the time is exact if time alone makes room and no hold lapses before it
        let lapses = self.calls.iter().any(|call| call.is_held(self.now) && !call.confirmed);
        if denial.fits_ms.iter().all(Option::is_some) && self.in_flight() < IN_FLIGHT && !lapses {
            let at = self.now + denial.retry_after_ms;
            let admit_at =
                async |at| self.limits.at(at).admit(&self.subject, &unique_name("call"), plan, demand).await.unwrap();
            let early = admit_at(at - 1).await;
            assert!(matches!(early, Admission::Denied(_)), "{early:?} one ms early: {denial:?}");
            match admit_at(at).await {
                Admission::Granted(permit) => drop(self.limits.at(at).release(permit).await.unwrap()),
                other => panic!("{other:?} at the returned time: {denial:?}"),
            }
            self.now = at;
        }
    }

    async fn run(&mut self, step: Step, dump: &mut impl AsyncFnMut(&str) -> Fields) {
        let amounts = |pair: Pair| A::from_fn(|index| pair[index]);
        let (now, count) = (self.now, self.calls.len());
        let limits = self.limits.at(now);
        match step {
            Step::Wait(ms) => self.now += ms,
            Step::Limit(limit) => self.limit = limit,
            Step::Admit(input, output_min, extra) => {
                let output_max = A::from_fn(|index| output_min[index] + extra[index]);
                let demand = Demand { input: amounts(input), output_min: amounts(output_min), output_max };
                self.admit(demand, dump).await;
            }
            Step::Confirm(n) if count > 0 => {
                let call = &mut self.calls[n % count];
                if let Some(permit) = &call.permit {
                    let is_confirmed = limits.confirm(permit).await.unwrap();
                    assert_eq!(is_confirmed, call.is_held(now));
                    call.confirmed |= is_confirmed;
                }
            }
            Step::Settle(n, used) if count > 0 => {
                let call = &mut self.calls[n % count];
                if let Some(permit) = call.permit.take() {
                    limits.settle(permit, amounts(used)).await.unwrap();
                    call.end(now, amounts(used));
                }
            }
            Step::Again(n, used) if count > 0 => {
                let call = &mut self.calls[n % count];
                // Only the first settlement counts, even if the hold has lapsed, and none counts after a release.
                limits.end(&self.subject, &call.id, call.at, End::Settle(amounts(used))).await.unwrap();
                call.end(now, amounts(used));
            }
            Step::Release(n) if count > 0 => {
                let call = &mut self.calls[n % count];
                if let Some(permit) = call.permit.take() {
                    limits.release(permit).await.unwrap();
                    call.released |= call.used.is_none();
                }
            }
            Step::Confirm(_) | Step::Settle(..) | Step::Again(..) | Step::Release(_) => {}
        }
    }

    fn check_snapshot(&self, snapshot: &Snapshot) {
        assert_eq!((snapshot.in_flight, snapshot.windows.len()), (self.in_flight(), self.windows.len()));
        for (&(window, index), usage) in self.windows.iter().zip(&snapshot.windows) {
            let (low, high) = (self.used((window, index), 0), self.used((window, index), window.width_ms));
            assert!((low..=high).contains(&usage.used), "{}: {snapshot:?} {low:?} {high:?}", window.name);
            assert_eq!(usage.reserved, self.held(index), "{}", window.name);
            if index.is_none() {
                continue;
            }
            // usage is exact to the bucket, and so are the times at which the first and the last of it leave
            let (now, span, width) = (self.now, window.span_ms, window.width_ms);
            let counts = |call: &&Call<A>| call.at / width >= (now - span) / width && call.used_in(now, index) > 0;
            let expires_ms = |call: &Call<A>| (call.at / width + 1) * width + span - now;
            let counted: Vec<_> = self.calls.iter().filter(counts).collect();
            let expected = Usage {
                used: counted.iter().map(|call| call.used_in(now, index)).sum(),
                reserved: self.held(index),
                next_free_ms: counted.iter().map(|call| expires_ms(call)).min(),
                reset_ms: counted.iter().map(|call| expires_ms(call)).max(),
            };
            assert_eq!(*usage, expected, "{}", window.name);
        }
    }
}

/// Runs a random history and compares each reply with the plain list.
async fn check_history<A: Amounts>(
    store: &Store,
    windows: &Windows<A>,
    steps: Vec<Step>,
    mut dump: impl AsyncFnMut(&str) -> Fields,
) {
    let mut comparison = Comparison::new(store, windows);
    for step in steps {
        comparison.run(step, &mut dump).await;
        let snapshot = comparison.limits.at(comparison.now).peek(&comparison.subject).await.unwrap();
        comparison.check_snapshot(&snapshot);
    }
}

fn check_in_memory<A: Amounts>(windows: &Windows<A>, steps: Vec<Step>) {
    runtime().block_on(check_history(&Store::memory(), windows, steps, async |_: &str| Fields::new()));
}

fn check_in_redis<A: Amounts>(windows: &Windows<A>, steps: Vec<Step>) {
    runtime().block_on(async {
        let redis = connection().await;
        check_history(&Store::redis(&redis_url()).unwrap(), windows, steps, async |subject: &str| {
            let key = format!("meter:{{user:{subject}}}");
            redis::cmd("HGETALL").arg(key).query_async(&mut redis.clone()).await.unwrap()
        })
        .await;
    });
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Whether `./dev test --long` requests more histories.
#[allow(clippy::disallowed_methods, reason = "./dev sets this variable for long runs")]
fn is_long_run() -> bool {
    std::env::var_os("QUOTIENT_TEST_LONG").is_some()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if is_long_run() { 100_000 } else { 10_000 }, max_shrink_iters: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn memory_agrees_with_a_plain_list(steps in prop::collection::vec(step(), 1..40)) {
        check_in_memory(&WINDOWS, steps);
    }

    #[test]
    fn memory_agrees_with_a_plain_list_of_two_amounts(steps in prop::collection::vec(step(), 1..40)) {
        check_in_memory(&WINDOWS_WITH_IMAGES, steps);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if is_long_run() { 2_000 } else { 500 }, max_shrink_iters: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn redis_agrees_with_a_plain_list(steps in prop::collection::vec(step(), 1..40)) {
        check_in_redis(&WINDOWS, steps);
    }

    #[test]
    fn redis_agrees_with_a_plain_list_of_two_amounts(steps in prop::collection::vec(step(), 1..40)) {
        check_in_redis(&WINDOWS_WITH_IMAGES, steps);
    }
}
