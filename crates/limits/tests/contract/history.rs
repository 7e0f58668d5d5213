//! Property tests that compare random histories with a plain list of calls.

use super::{DAY, MINUTE, T0, WINDOWS, allow, redis_url, unique_name};
use limits::{Admission, Demand, End, Limits, Permit, Store, Usage};
use proptest::prelude::*;

/// One step of a random history.
#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    /// input, output_min, and how much output_max is above it
    Admit(u64, u64, u64),
    Confirm(usize),
    Settle(usize, u64),
    /// Settles by id a call that may already have been settled or released, or have lapsed.
    Again(usize, u64),
    Release(usize),
    Limit(u64, u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => (0..DAY + 7_200_000).prop_map(Step::Wait),
        1 => (0..3 * 3_600_000_u64).prop_map(Step::Wait),
        2 => (0..20_000_u64).prop_map(Step::Wait),
        5 => (0..400_u64, 0..200_u64, 0..500_u64).prop_map(|(i, l, m)| Step::Admit(i, l, m)),
        2 => any::<usize>().prop_map(Step::Confirm),
        3 => (any::<usize>(), 0..900_u64).prop_map(|(n, used)| Step::Settle(n, used)),
        1 => (any::<usize>(), 0..900_u64).prop_map(|(n, used)| Step::Again(n, used)),
        1 => any::<usize>().prop_map(Step::Release),
        1 => (1..8_u64, 300..2_000_u64).prop_map(|(requests, tokens)| Step::Limit(requests, tokens)),
    ]
}

/// A call in the plain list.
#[derive(Debug)]
struct Call {
    id: String,
    at: u64,
    held: u64,
    confirmed: bool,
    used: Option<u64>,
    lapsed: bool,
    released: bool,
    permit: Option<Permit>,
}

impl Call {
    fn is_held(&self, now: u64) -> bool {
        self.used.is_none() && !self.released && (self.confirmed || now < self.at + 10_000)
    }

    /// Whether it counts as a request: not if it was released, or lapsed before it was settled.
    fn was_made(&self, now: u64) -> bool {
        !self.released && !self.lapsed && (self.confirmed || self.used.is_some() || now < self.at + 10_000)
    }

    /// Settles the call: its tokens count even if the hold had lapsed, but the refunded request isn't counted again. A call can't be
    /// settled more than an hour after it lapsed.
    fn end(&mut self, now: u64, used: u64) {
        if self.used.is_none() && !self.released && (self.is_held(now) || now < self.at + 3_610_000) {
            self.lapsed = !self.was_made(now);
            self.used = Some(used);
        }
    }
}

/// Computes requests, tokens used, tokens held and calls held from the list, with the windows widened by `wide` milliseconds.
fn count(calls: &[Call], now: u64, wide: (u64, u64)) -> (u64, u64, u64, u64) {
    let requests = calls.iter().filter(|call| call.at + MINUTE + wide.0 > now && call.was_made(now)).count() as u64;
    let used = calls.iter().filter(|call| call.at + DAY + wide.1 > now).filter_map(|call| call.used).sum();
    let held: Vec<u64> = calls.iter().filter(|call| call.is_held(now)).map(|call| call.held).collect();
    (requests, used, held.iter().sum(), held.len() as u64)
}

/// Runs a random history and compares each reply with the plain list.
async fn check_history(limits: &Limits, steps: Vec<Step>, mut dump: impl AsyncFnMut(&str) -> Vec<u8>) {
    let ann = unique_name("ann");
    let (mut now, mut limit, mut calls) = (T0, [5_u64, 1_000], Vec::<Call>::new());
    for step in steps {
        match step {
            Step::Wait(ms) => now += ms,
            Step::Limit(requests, tokens) => limit = [requests, tokens],
            Step::Admit(input, output_min, extra) => {
                let (demand, plan) = (Demand { input, output_min, output_max: output_min + extra }, allow(&limit, 6));
                let (id, before) = (unique_name("call"), dump(&ann).await);
                let (requests, used, held, in_flight) = count(&calls, now, (0, 0));
                match limits.at(now).admit(&ann, &id, plan, demand).await.unwrap() {
                    Admission::Granted(permit) => {
                        assert!(requests < limit[0] && in_flight < 6, "calls");
                        assert!(used + held + permit.reserved() <= limit[1], "tokens: {used} {held} {permit:?}");
                        assert!(permit.output() >= output_min && permit.output() <= output_min + extra);
                        let held = permit.reserved();
                        calls.push(Call {
                            id,
                            at: now,
                            held,
                            confirmed: false,
                            used: None,
                            lapsed: false,
                            released: false,
                            permit: Some(permit),
                        });
                    }
                    Admission::TooLarge { max } => {
                        assert!(input > max || limit[1] < output_min, "{demand:?} {limit:?}");
                    }
                    Admission::Denied(denial) => {
                        // nothing was written
                        assert_eq!(dump(&ann).await, before);
                        // with windows that are one bucket longer, the plain list refuses too
                        let (requests, used, held, _) = count(&calls, now, (1_000, 900_000));
                        let full =
                            requests >= limit[0] || in_flight >= 6 || used + held + input + output_min > limit[1];
                        assert!(full, "refused although it fits: {denial:?} {requests} {used} {held} {demand:?}");
                        // the time is exact if time alone makes room and no hold lapses before it
                        let lapses = calls.iter().any(|call| call.is_held(now) && !call.confirmed);
                        if denial.fits_ms.iter().all(Option::is_some) && in_flight < 6 && !lapses {
                            let at = now + denial.retry_after_ms;
                            let early =
                                limits.at(at - 1).admit(&ann, &unique_name("call"), plan, demand).await.unwrap();
                            assert!(matches!(early, Admission::Denied(_)), "{early:?} one ms early: {denial:?}");
                            match limits.at(at).admit(&ann, &unique_name("call"), plan, demand).await.unwrap() {
                                Admission::Granted(permit) => drop(limits.at(at).release(permit).await.unwrap()),
                                other => panic!("{other:?} at the returned time: {denial:?}"),
                            }
                            now = at;
                        }
                    }
                    Admission::Running => panic!("running"),
                }
            }
            Step::Confirm(n) if !calls.is_empty() => {
                let index = n % calls.len();
                let call = &mut calls[index];
                if let Some(permit) = &call.permit {
                    let is_confirmed = limits.at(now).confirm(permit).await.unwrap();
                    assert_eq!(is_confirmed, call.is_held(now));
                    call.confirmed |= is_confirmed;
                }
            }
            Step::Settle(n, used) if !calls.is_empty() => {
                let index = n % calls.len();
                if let Some(permit) = calls[index].permit.take() {
                    limits.at(now).settle(permit, used).await.unwrap();
                    calls[index].end(now, used);
                }
            }
            Step::Again(n, used) if !calls.is_empty() => {
                let index = n % calls.len();
                let call = &mut calls[index];
                // Only the first settlement counts, even if the hold has lapsed, and none counts after a release.
                limits.at(now).end(&ann, &call.id, call.at, End::Settle(used)).await.unwrap();
                call.end(now, used);
            }
            Step::Release(n) if !calls.is_empty() => {
                let index = n % calls.len();
                if let Some(permit) = calls[index].permit.take() {
                    limits.at(now).release(permit).await.unwrap();
                    calls[index].released |= calls[index].used.is_none();
                }
            }
            Step::Confirm(_) | Step::Settle(..) | Step::Again(..) | Step::Release(_) => {}
        }
        let snapshot = limits.at(now).peek(&ann).await.unwrap();
        let (low, high) = (count(&calls, now, (0, 0)), count(&calls, now, (1_000, 900_000)));
        assert_eq!((snapshot.window(1).reserved, snapshot.in_flight), (low.2, low.3));
        assert!((low.0..=high.0).contains(&snapshot.window(0).used), "requests {snapshot:?} {low:?} {high:?}");
        assert!((low.1..=high.1).contains(&snapshot.window(1).used), "tokens {snapshot:?} {low:?} {high:?}");
        // usage is exact to the bucket, and so are the times at which the first and the last of it leave
        let (span, width) = (WINDOWS[1].span_ms, WINDOWS[1].width_ms);
        let counts = |call: &&Call| call.at / width >= (now - span) / width && call.used.is_some_and(|used| used > 0);
        let used = calls.iter().filter(counts).filter_map(|call| call.used).sum();
        let expires_ms = |call: &Call| (call.at / width + 1) * width + span - now;
        let (first, last) =
            (calls.iter().filter(counts).min_by_key(|c| c.at), calls.iter().filter(counts).max_by_key(|c| c.at));
        let expected =
            Usage { used, reserved: low.2, next_free_ms: first.map(expires_ms), reset_ms: last.map(expires_ms) };
        assert_eq!(snapshot.window(1), expected);
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Whether `./dev test --long` asked for more histories.
#[allow(clippy::disallowed_methods, reason = "./dev sets this variable for long runs")]
fn is_long_run() -> bool {
    std::env::var_os("QUOTIENT_TEST_LONG").is_some()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if is_long_run() { 100_000 } else { 10_000 }, max_shrink_iters: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn memory_agrees_with_a_plain_list(steps in prop::collection::vec(step(), 1..40)) {
        let limits = Limits::without_history(&Store::memory(), "user", &WINDOWS);
        runtime().block_on(check_history(&limits, steps, async |_: &str| Vec::new()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if is_long_run() { 2_000 } else { 500 }, max_shrink_iters: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn redis_agrees_with_a_plain_list(steps in prop::collection::vec(step(), 1..40)) {
        runtime().block_on(async {
            let limits = Limits::without_history(&Store::redis(&redis_url()).unwrap(), "user", &WINDOWS);
            let redis = redis::Client::open(redis_url()).unwrap().get_multiplexed_async_connection().await.unwrap();
            check_history(&limits, steps, async |subject: &str| {
                let key = format!("meter:{{user:{subject}}}");
                redis::cmd("DUMP").arg(key).query_async(&mut redis.clone()).await.unwrap_or_default()
            })
            .await;
        });
    }
}
