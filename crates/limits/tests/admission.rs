//! The meters against a real Redis, at instants of our own choosing, and against a plain list of what happened.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use limits::{Admission, Allowance, Denial, End, History, Limits, Need, PastTurn, Permit, Window};
use proptest::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const MINUTE: u64 = 60_000;
const DAY: u64 = 86_400_000;
/// Some day, aligned to nothing in particular.
const T0: u64 = 1_764_000_123_456;

#[allow(clippy::disallowed_methods, reason = "tests find Redis where ./dev put it")]
fn redis_url() -> String {
    std::env::var("REDIS_URL").expect("REDIS_URL isn't set: run the tests with ./dev test")
}

/// A name nobody else uses, also not another process on the same Redis.
fn fresh(what: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let nanos = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos();
    format!("{what}-{}-{nanos}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

fn history(past: Vec<PastTurn>) -> History {
    Arc::new(move |_| {
        let past = past.clone();
        Box::pin(async move { Ok(past) })
    })
}

fn limits() -> Limits {
    Limits::new(&redis_url(), history(Vec::new())).unwrap()
}

const fn allow(requests: u64, tokens: u64, in_flight: u64) -> Allowance {
    Allowance { requests_per_minute: requests, tokens_per_day: tokens, in_flight }
}

const fn exactly(tokens: u64) -> Need {
    Need { input: tokens, output_min: 0, output_max: 0 }
}

async fn granted(limits: &Limits, now: u64, subject: &str, allowance: Allowance, need: Need) -> Permit {
    match limits.at(now).admit(subject, &fresh("turn"), allowance, need).await.unwrap() {
        Admission::Granted(permit) => permit,
        other => panic!("{other:?}"),
    }
}

async fn denied(limits: &Limits, now: u64, subject: &str, allowance: Allowance, need: Need) -> Denial {
    match limits.at(now).admit(subject, &fresh("turn"), allowance, need).await.unwrap() {
        Admission::Denied(denial) => denial,
        other => panic!("{other:?}"),
    }
}

/// Field notes 13 and 14: one millisecond before the time that a refusal names it refuses, and at it it admits.
#[tokio::test]
async fn the_time_of_a_refusal_is_exact() {
    let (limits, plan) = (limits(), allow(100, 1_000, 10));
    for (need, frees) in [(101, T0), (700, T0), (701, T0 + DAY / 3)] {
        let ann = fresh("ann");
        for (at, tokens) in [(T0, 600), (T0 + DAY / 3, 300)] {
            let permit = granted(&limits, at, &ann, plan, exactly(tokens)).await;
            limits.at(at).settle(permit, tokens).await.unwrap();
        }
        let now = T0 + DAY / 2;
        let denial = denied(&limits, now, &ann, plan, exactly(need)).await;
        assert_eq!(denial.window, Window::Tokens);
        let at = now + denial.retry_after_ms;
        assert!((frees + DAY..=frees + DAY + 900_000).contains(&at), "{need}: {denial:?}");
        denied(&limits, at - 1, &ann, plan, exactly(need)).await;
        let _permit = granted(&limits, at, &ann, plan, exactly(need)).await;
    }
}

#[tokio::test]
async fn requests_slide_and_a_release_gives_them_back() {
    let (limits, ann) = (limits(), fresh("ann"));
    let plan = allow(3, 1_000_000, 10);
    for n in 0..3 {
        let permit = granted(&limits, T0 + n * 1_000, &ann, plan, exactly(1)).await;
        limits.at(T0 + n * 1_000).settle(permit, 1).await.unwrap();
    }
    let denial = denied(&limits, T0 + 3_000, &ann, plan, exactly(1)).await;
    assert_eq!(denial.window, Window::Requests);
    let permit = granted(&limits, T0 + 3_000 + denial.retry_after_ms, &ann, plan, exactly(1)).await;
    let later = T0 + 3_000 + denial.retry_after_ms;
    denied(&limits, later, &ann, plan, exactly(1)).await;
    let picture = limits.at(later).release(permit).await.unwrap();
    assert_eq!((picture.requests, picture.in_flight, picture.tokens_reserved), (2, 0, 0));
    let _permit = granted(&limits, later, &ann, plan, exactly(1)).await;
}

/// Field note 4: the answer shrinks to what is left, and the rest of the hold comes back.
#[tokio::test]
async fn output_shrinks_to_what_is_left() {
    let (limits, ann) = (limits(), fresh("ann"));
    let (plan, need) = (allow(100, 1_000, 10), Need { input: 100, output_min: 256, output_max: 4_000 });
    let permit = granted(&limits, T0, &ann, plan, need).await;
    assert_eq!((permit.output(), permit.reserved()), (900, 1_000));
    denied(&limits, T0, &ann, plan, need).await;
    let picture = limits.at(T0).settle(permit, 150).await.unwrap();
    assert_eq!((picture.tokens_used, picture.tokens_reserved), (150, 0));
    assert_eq!(granted(&limits, T0, &ann, plan, need).await.output(), 750);
    // field note 5: what can never fit says so, with the largest input that could
    let never = Need { input: 745, ..need };
    let answer = limits.at(T0).admit(&ann, &fresh("turn"), plan, never).await.unwrap();
    assert!(matches!(answer, Admission::TooLarge { max: 744 }), "{answer:?}");
}

#[tokio::test]
async fn settling_twice_counts_once_and_past_the_limit_counts() {
    let (limits, ann, turn) = (limits(), fresh("ann"), fresh("turn"));
    let plan = allow(100, 1_000, 10);
    let Admission::Granted(permit) = limits.at(T0).admit(&ann, &turn, plan, exactly(500)).await.unwrap() else {
        panic!()
    };
    let again = limits.at(T0).admit(&ann, &turn, plan, exactly(500)).await.unwrap();
    assert!(matches!(again, Admission::Running), "{again:?}");
    limits.at(T0).settle(permit, 5_000).await.unwrap();
    for end in [End::Settle(5_000), End::Release] {
        let picture = limits.at(T0).end(&ann, &turn, T0, end).await.unwrap();
        assert_eq!((picture.tokens_used, picture.requests), (5_000, 1), "{end:?}");
    }
    assert_eq!(denied(&limits, T0, &ann, plan, exactly(1)).await.window, Window::Tokens);
}

#[tokio::test]
async fn an_unconfirmed_hold_lapses_and_a_confirmed_one_stays() {
    let (limits, ann) = (limits(), fresh("ann"));
    let plan = allow(100, 1_000, 10);
    let lost = granted(&limits, T0, &ann, plan, exactly(400)).await;
    let kept = granted(&limits, T0, &ann, plan, exactly(400)).await;
    assert!(limits.at(T0).confirm(&kept).await.unwrap());
    let soon = limits.at(T0 + 9_999).peek(&ann).await.unwrap();
    assert_eq!((soon.tokens_reserved, soon.in_flight, soon.requests), (800, 2, 2));
    let later = limits.at(T0 + 10_000).peek(&ann).await.unwrap();
    assert_eq!((later.tokens_reserved, later.in_flight, later.requests), (400, 1, 1));
    // a settlement that comes late still counts, and only once
    let picture = limits.at(T0 + 20_000).settle(lost, 300).await.unwrap();
    assert_eq!((picture.tokens_used, picture.tokens_reserved), (300, 400));
    assert_eq!(limits.at(T0 + 20_000).settle(kept, 100).await.unwrap().tokens_used, 400);
}

/// Field notes 10 and 11: the limit is an argument, the counter is the person's.
#[tokio::test]
async fn a_new_limit_counts_at_once_and_refills_nothing() {
    let (limits, ann) = (limits(), fresh("ann"));
    let permit = granted(&limits, T0, &ann, allow(1, 1_000, 10), exactly(900)).await;
    limits.at(T0).settle(permit, 900).await.unwrap();
    denied(&limits, T0, &ann, allow(1, 1_000, 10), exactly(10)).await;
    let permit = granted(&limits, T0, &ann, allow(10, 10_000, 10), exactly(9_100)).await;
    limits.at(T0).release(permit).await.unwrap();
    denied(&limits, T0, &ann, allow(10, 900, 10), exactly(1)).await;
}

/// Field note 3: lost meters are rebuilt, holds of running turns with them, and a settlement on its way isn't doubled.
#[tokio::test]
async fn cold_meters_are_rebuilt_from_history() {
    let ann = fresh("ann");
    let turn = |name: &str, at_ms, tokens, running| PastTurn { turn: name.to_owned(), at_ms, tokens, running };
    let past = vec![
        turn("old", T0 - DAY - 2_000_000, 999, false),
        turn("morning", T0 - DAY / 2, 300, false),
        turn("recorded", T0 - 5_000, 200, false),
        turn("running", T0 - 1_000, 400, true),
    ];
    let limits = Limits::new(&redis_url(), history(past)).unwrap();
    let picture = limits.at(T0).peek(&ann).await.unwrap();
    assert_eq!((picture.tokens_used, picture.tokens_reserved, picture.in_flight, picture.requests), (500, 400, 1, 2));
    let picture = limits.at(T0).end(&ann, "recorded", T0 - 5_000, End::Settle(200)).await.unwrap();
    assert_eq!(picture.tokens_used, 500, "recorded before the meters were lost: settled by the rebuilding");
    let picture = limits.at(T0).end(&ann, "running", T0 - 1_000, End::Settle(50)).await.unwrap();
    assert_eq!((picture.tokens_used, picture.tokens_reserved), (550, 0));
}

/// Field notes 1 and 2: as many as fit, to the one, however many ask at once.
#[tokio::test]
async fn many_at_once_get_what_fits_to_the_one() {
    for need in [7, 100, 333] {
        let (limits, ann) = (limits(), fresh("ann"));
        let plan = allow(1_000, 2_000, 1_000);
        let asked = (0..64).map(|_| {
            let (limits, ann) = (limits.at(T0), ann.clone());
            async move { limits.admit(&ann, &fresh("turn"), plan, exactly(need)).await.unwrap() }
        });
        let answers = join(asked).await;
        let admitted = answers.iter().filter(|answer| matches!(answer, Admission::Granted(_))).count();
        assert_eq!(admitted as u64, (2_000 / need).min(64), "need {need}");
    }
}

async fn join<F: Future<Output = Admission> + Send + 'static>(all: impl Iterator<Item = F>) -> Vec<Admission> {
    let tasks: Vec<_> = all.map(tokio::spawn).collect();
    let mut out = Vec::new();
    for task in tasks {
        out.push(task.await.unwrap());
    }
    out
}

/// One step of a random history.
#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    Use(u64, u64),
    Abandon(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..3 * 3_600_000_u64).prop_map(Step::Wait),
        (0..2_000_u64).prop_map(Step::Wait),
        (1..600_u64, 0..700_u64).prop_map(|(need, used)| Step::Use(need, used)),
        (1..600_u64).prop_map(Step::Abandon),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Against a list of every use: no admission takes any trailing window over its limit, nothing is refused that a
    /// list with whole buckets would take, and the sums agree.
    #[test]
    fn no_window_is_ever_exceeded_and_little_is_wasted(steps in prop::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (limits, ann, plan) = (limits(), fresh("ann"), allow(5, 1_000, 10));
            let (mut now, mut uses) = (T0, Vec::<(u64, u64)>::new());
            let within = |uses: &[(u64, u64)], now: u64, span: u64| -> (u64, u64) {
                let inside = uses.iter().filter(|(at, _)| *at + span > now);
                inside.fold((0, 0), |(count, sum), (_, tokens)| (count + 1, sum + tokens))
            };
            for step in steps {
                let (need, used) = match step {
                    Step::Wait(ms) => { now += ms; continue }
                    Step::Use(need, used) => (need, Some(used)),
                    Step::Abandon(need) => (need, None),
                };
                match limits.at(now).admit(&ann, &fresh("turn"), plan, exactly(need)).await.unwrap() {
                    Admission::Granted(permit) => {
                        assert!(within(&uses, now, MINUTE).0 < 5, "requests");
                        assert!(within(&uses, now, DAY).1 + need <= 1_000, "tokens");
                        let ended = match used {
                            Some(used) => { uses.push((now, used)); limits.at(now).settle(permit, used).await }
                            None => limits.at(now).release(permit).await,
                        };
                        assert_eq!(ended.unwrap().tokens_reserved, 0);
                    }
                    Admission::Denied(_) => {
                        // with one more bucket's width counted, a plain list refuses too
                        let (requests, tokens) = (within(&uses, now, MINUTE + 1_000).0, within(&uses, now, DAY + 900_000).1);
                        assert!(requests >= 5 || tokens + need > 1_000, "refused for nothing: {requests} {tokens} {need}");
                    }
                    other => panic!("{other:?}"),
                }
                let picture = limits.at(now).peek(&ann).await.unwrap();
                assert!(picture.tokens_used >= within(&uses, now, DAY).1 && picture.tokens_used <= within(&uses, now, DAY + 900_000).1);
            }
        });
    }
}

/// Field note 9: no decision takes longer than its bound, whatever is at the other end.
#[tokio::test]
async fn a_silent_redis_is_unavailable_within_the_bound() {
    // a listener that accepts and never answers
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", silent.local_addr().unwrap());
    let limits = Limits::new(&url, history(Vec::new())).unwrap();
    for _ in 0..3 {
        let began = std::time::Instant::now();
        let answer = limits.admit("ann", "turn", allow(1, 1, 1), exactly(1)).await;
        assert!(answer.is_err());
        assert!(began.elapsed().as_millis() < 400, "{:?}", began.elapsed());
    }
}
