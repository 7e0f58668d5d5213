//! The contract that memory, Redis and a cluster of three nodes all fulfill, tested at chosen instants.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

mod amounts;
mod history;
#[path = "../servers/mod.rs"]
mod servers;

use limits::{
    Admission, Allowance, Amounts, Demand, Denial, End, History, Limits, PastCall, Permit, Reason, Store, Window,
    Windows,
};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const MINUTE: u64 = 60_000;
const DAY: u64 = 86_400_000;
const WINDOWS: Windows = Windows::new(&[Window::calls("requests", MINUTE, 60), Window::amount("tokens", DAY, 96)]);
/// A set with two amounts, which a call carries as `[tokens, images]`.
const WINDOWS_WITH_IMAGES: Windows<[u64; 2]> = Windows::new(&[
    Window::calls("requests", MINUTE, 60),
    Window::amount("tokens", DAY, 96),
    Window::amount("images", DAY / 4, 36),
]);
const REQUESTS: Reason = Reason::Window(0);
const TOKENS: Reason = Reason::Window(1);
/// An arbitrary instant that isn't aligned to any bucket.
const T0: u64 = 1_764_000_123_456;

#[allow(clippy::disallowed_methods, reason = "./dev sets the URL of the tests' Redis")]
fn redis_url() -> String {
    std::env::var("REDIS_URL").expect("REDIS_URL isn't set: run the tests with ./dev test")
}

/// Returns a connection that waits for its replies. By default, a client gives up after half a second, which one may take on a busy machine.
async fn connection() -> redis::aio::MultiplexedConnection {
    let patient = redis::AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
    redis::Client::open(redis_url()).unwrap().get_multiplexed_async_connection_with_config(&patient).await.unwrap()
}

/// Returns a unique name, also across processes that share a Redis.
fn unique_name(what: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let nanos = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos();
    format!("{what}-{}-{nanos}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

fn fixed_history<A: Amounts>(past: Vec<PastCall<A>>) -> History<A> {
    Arc::new(move |_| {
        let past = past.clone();
        Box::pin(async move { Ok(past) })
    })
}

const fn allow(limits: &[u64], in_flight: u64) -> Allowance<'_> {
    Allowance { limits, in_flight: Some(in_flight) }
}

/// Returns one store of each kind.
fn stores() -> [Store; 3] {
    [Store::memory(), Store::redis(&redis_url()).unwrap(), Store::redis(servers::cluster()).unwrap()]
}

/// Runs a test against each kind of store.
async fn for_each_store<F: AsyncFn(Limits)>(test: F) {
    for store in stores() {
        test(Limits::without_history(&store, "user", &WINDOWS)).await;
    }
}

async fn admit_granted<A: Amounts>(
    limits: &Limits<A>,
    now: u64,
    subject: &str,
    allowance: Allowance<'_>,
    demand: Demand<A>,
) -> Permit<A> {
    match limits.at(now).admit(subject, &unique_name("call"), allowance, demand).await.unwrap() {
        Admission::Granted(permit) => permit,
        other => panic!("{other:?}"),
    }
}

async fn admit_denied<A: Amounts>(
    limits: &Limits<A>,
    now: u64,
    subject: &str,
    allowance: Allowance<'_>,
    demand: Demand<A>,
) -> Denial {
    match limits.at(now).admit(subject, &unique_name("call"), allowance, demand).await.unwrap() {
        Admission::Denied(denial) => denial,
        other => panic!("{other:?}"),
    }
}

/// Field notes 13 and 14: the same demand is refused one millisecond before the time that a refusal returns, and admitted at it.
#[tokio::test]
async fn retry_time_of_a_refusal_is_exact() {
    for_each_store(async |limits| {
        let plan = allow(&[100, 1_000], 10);
        for (demand, frees) in [(101, T0), (700, T0), (701, T0 + DAY / 3)] {
            let ann = unique_name("ann");
            for (at, tokens) in [(T0, 600), (T0 + DAY / 3, 300)] {
                let permit = admit_granted(&limits, at, &ann, plan, Demand::exactly(tokens)).await;
                limits.at(at).settle(permit, tokens).await.unwrap();
            }
            let now = T0 + DAY / 2;
            let denial = admit_denied(&limits, now, &ann, plan, Demand::exactly(demand)).await;
            assert_eq!((denial.reason, denial.fits_ms[0]), (TOKENS, Some(0)));
            assert_eq!(denial.fits_ms[1], Some(denial.retry_after_ms));
            let at = now + denial.retry_after_ms;
            assert!((frees + DAY..=frees + DAY + 900_000).contains(&at), "{demand}: {denial:?}");
            admit_denied(&limits, at - 1, &ann, plan, Demand::exactly(demand)).await;
            let _permit = admit_granted(&limits, at, &ann, plan, Demand::exactly(demand)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn request_window_slides_and_release_refunds_the_request() {
    for_each_store(async |limits| {
        let (ann, plan, one) = (unique_name("ann"), allow(&[3, 1_000_000], 10), Demand::exactly(1));
        for n in 0..3 {
            let permit = admit_granted(&limits, T0 + n * 1_000, &ann, plan, one).await;
            limits.at(T0 + n * 1_000).settle(permit, 1).await.unwrap();
        }
        let denial = admit_denied(&limits, T0 + 3_000, &ann, plan, one).await;
        assert_eq!(denial.reason, REQUESTS);
        let later = T0 + 3_000 + denial.retry_after_ms;
        let permit = admit_granted(&limits, later, &ann, plan, one).await;
        admit_denied(&limits, later, &ann, plan, one).await;
        let snapshot = limits.at(later).release(permit).await.unwrap();
        assert_eq!((snapshot.window(0).used, snapshot.in_flight, snapshot.window(1).reserved), (2, 0, 0));
        let _permit = admit_granted(&limits, later, &ann, plan, one).await;
    })
    .await;
}

/// Field notes 4 and 5: the output is capped at what is left, the rest of the hold is refunded, and a demand that can never fit is
/// reported as too large.
#[tokio::test]
async fn output_is_capped_at_what_is_left() {
    for_each_store(async |limits| {
        let (ann, plan) = (unique_name("ann"), allow(&[100, 1_000], 10));
        let demand = Demand { input: 100, output_min: 256, output_max: 4_000 };
        let permit = admit_granted(&limits, T0, &ann, plan, demand).await;
        assert_eq!((permit.output(), permit.reserved()), (900, 1_000));
        let denial = admit_denied(&limits, T0, &ann, plan, demand).await;
        assert_eq!(denial.fits_ms, [Some(0), None], "only the end of the running call makes room");
        let snapshot = limits.at(T0).settle(permit, 150).await.unwrap();
        assert_eq!((snapshot.window(1).used, snapshot.window(1).reserved), (150, 0));
        assert_eq!(admit_granted(&limits, T0, &ann, plan, demand).await.output(), 750);
        let never = Demand { input: 745, ..demand };
        let admission = limits.at(T0).admit(&ann, &unique_name("call"), plan, never).await.unwrap();
        assert!(matches!(admission, Admission::TooLarge { max: 744 }), "{admission:?}");
    })
    .await;
}

#[tokio::test]
async fn settling_twice_counts_once_even_past_the_limit() {
    for_each_store(async |limits| {
        let (ann, call, plan) = (unique_name("ann"), unique_name("call"), allow(&[100, 1_000], 10));
        let demand = Demand::exactly(500);
        let Admission::Granted(permit) = limits.at(T0).admit(&ann, &call, plan, demand).await.unwrap() else {
            panic!()
        };
        let again = limits.at(T0).admit(&ann, &call, plan, demand).await.unwrap();
        assert!(matches!(again, Admission::Running), "{again:?}");
        limits.at(T0).settle(permit, 5_000).await.unwrap();
        for end in [End::Settle(5_000), End::Release] {
            let snapshot = limits.at(T0).end(&ann, &call, T0, end).await.unwrap();
            assert_eq!((snapshot.window(1).used, snapshot.window(0).used), (5_000, 1), "{end:?}");
        }
        assert_eq!(admit_denied(&limits, T0, &ann, plan, Demand::exactly(1)).await.reason, TOKENS);
        // settling does nothing without a hold, or if the hold was admitted at another time
        let snapshot = limits.at(T0).end(&ann, &unique_name("call"), T0, End::Settle(7)).await.unwrap();
        assert_eq!(snapshot.window(1).used, 5_000);
        let roomy = allow(&[100, 10_000], 10);
        let Admission::Granted(permit) = limits.at(T0 + 6_000).admit(&ann, &call, roomy, demand).await.unwrap() else {
            panic!()
        };
        let snapshot = limits.at(T0 + 6_000).end(&ann, &call, T0, End::Settle(5_000)).await.unwrap();
        assert_eq!(
            (snapshot.window(1).used, snapshot.window(1).reserved),
            (5_000, 500),
            "an old settlement doesn't affect the new hold"
        );
        let snapshot = limits.at(T0 + 6_000).settle(permit, 200).await.unwrap();
        assert_eq!((snapshot.window(1).used, snapshot.window(1).reserved), (5_200, 0));
    })
    .await;
}

#[tokio::test]
async fn unconfirmed_hold_lapses_and_confirmed_hold_stays() {
    for_each_store(async |limits| {
        let (ann, plan) = (unique_name("ann"), allow(&[100, 1_000], 10));
        let unconfirmed = admit_granted(&limits, T0, &ann, plan, Demand::exactly(400)).await;
        let confirmed = admit_granted(&limits, T0, &ann, plan, Demand::exactly(400)).await;
        assert!(limits.at(T0).confirm(&confirmed).await.unwrap());
        let soon = limits.at(T0 + 9_999).peek(&ann).await.unwrap();
        assert_eq!((soon.window(1).reserved, soon.in_flight, soon.window(0).used), (800, 2, 2));
        let later = limits.at(T0 + 10_000).peek(&ann).await.unwrap();
        assert_eq!((later.window(1).reserved, later.in_flight, later.window(0).used), (400, 1, 1));
        assert!(!limits.at(T0 + 10_000).confirm(&unconfirmed).await.unwrap(), "a lapsed hold can't be confirmed");
        assert!(limits.at(T0 + 10_000).confirm(&confirmed).await.unwrap(), "confirming is idempotent");
        // a late settlement still counts
        let snapshot = limits.at(T0 + 20_000).settle(unconfirmed, 300).await.unwrap();
        assert_eq!((snapshot.window(1).used, snapshot.window(1).reserved), (300, 400));
        assert_eq!(limits.at(T0 + 20_000).settle(confirmed, 100).await.unwrap().window(1).used, 400);
    })
    .await;
}

/// Field notes 10 and 11: limits are arguments, and counters belong to users.
#[tokio::test]
async fn new_limit_applies_at_once_and_refills_nothing() {
    for_each_store(async |limits| {
        let ann = unique_name("ann");
        let permit = admit_granted(&limits, T0, &ann, allow(&[1, 1_000], 10), Demand::exactly(900)).await;
        limits.at(T0).settle(permit, 900).await.unwrap();
        admit_denied(&limits, T0, &ann, allow(&[1, 1_000], 10), Demand::exactly(10)).await;
        let permit = admit_granted(&limits, T0, &ann, allow(&[10, 10_000], 10), Demand::exactly(9_100)).await;
        limits.at(T0).release(permit).await.unwrap();
        admit_denied(&limits, T0, &ann, allow(&[10, 900], 10), Demand::exactly(1)).await;
        assert_eq!(
            admit_denied(&limits, T0, &ann, allow(&[10, 9_000], 0), Demand::exactly(1)).await.reason,
            Reason::InFlight
        );
    })
    .await;
}

/// Field note 3: lost meters are rebuilt, including the holds of running calls, and a pending settlement isn't counted twice.
#[tokio::test]
async fn cold_meters_are_rebuilt_from_history() {
    for store in stores() {
        let ann = unique_name("ann");
        let call = |name: &str, at_ms, amount, running| PastCall { call: name.to_owned(), at_ms, amount, running };
        let past = vec![
            call("old", T0 - DAY - 2_000_000, 999, false),
            call("morning", T0 - DAY / 2, 300, false),
            call("recorded", T0 - 5_000, 200, false),
            call("running", T0 - 1_000, 400, true),
        ];
        let limits = Limits::new(&store, "user", &WINDOWS, fixed_history(past));
        for _ in 0..2 {
            let snapshot = limits.at(T0).peek(&ann).await.unwrap();
            let tokens = snapshot.window(1);
            assert_eq!((tokens.used, tokens.reserved, snapshot.in_flight, snapshot.window(0).used), (500, 400, 1, 2));
            limits.discard(&ann).await.unwrap();
        }
        let snapshot = limits.at(T0).end(&ann, "recorded", T0 - 5_000, End::Settle(200)).await.unwrap();
        assert_eq!(snapshot.window(1).used, 500, "recorded before the meters were lost, so rebuilding settled it");
        let snapshot = limits.at(T0).end(&ann, "running", T0 - 1_000, End::Settle(50)).await.unwrap();
        assert_eq!((snapshot.window(1).used, snapshot.window(1).reserved), (550, 0));
    }
}

/// Field note 3: if meters are lost again while their history is read, they aren't rebuilt from it, because it may lack a call that was
/// granted, confirmed and settled in between.
#[tokio::test]
async fn history_read_before_another_loss_is_discarded() {
    for store in stores() {
        let (ann, plan) = (unique_name("ann"), allow(&[100, 1_000], 10));
        let ledger: Arc<std::sync::Mutex<Vec<PastCall>>> = Arc::default();
        let written = Arc::clone(&ledger);
        let truth: History = Arc::new(move |_| {
            let past = written.lock().unwrap().clone();
            Box::pin(async move { Ok(past) })
        });
        let others = Limits::new(&store, "user", &WINDOWS, truth);
        let (read, first) = (Arc::clone(&ledger), Arc::new(AtomicU64::new(0)));
        let slow: History = Arc::new(move |subject| {
            let (others, ledger, first) = (others.clone(), Arc::clone(&read), Arc::clone(&first));
            Box::pin(async move {
                let past = ledger.lock().unwrap().clone();
                if first.fetch_add(1, Ordering::Relaxed) == 0 {
                    let permit = admit_granted(&others, T0, &subject, plan, Demand::exactly(400)).await;
                    let call = PastCall { call: "between".to_owned(), at_ms: T0, amount: 400, running: false };
                    ledger.lock().unwrap().push(call);
                    assert!(others.at(T0).confirm(&permit).await.unwrap());
                    others.at(T0).settle(permit, 400).await.unwrap();
                    others.discard(&subject).await.unwrap();
                }
                Ok(past)
            })
        });
        let limits = Limits::new(&store, "user", &WINDOWS, slow);
        assert_eq!(limits.at(T0).peek(&ann).await.unwrap().window(1).used, 400);
    }
}

/// A sum without buckets, as an interrupted write would leave it, is rebuilt, so that it locks no user out.
#[tokio::test]
async fn a_broken_meter_is_rebuilt() {
    let ann = unique_name("ann");
    let limits = Limits::without_history(&Store::redis(&redis_url()).unwrap(), "user", &WINDOWS);
    let permit = admit_granted(&limits, T0, &ann, allow(&[10, 1_000], 10), Demand::exactly(500)).await;
    limits.at(T0).settle(permit, 500).await.unwrap();
    let mut redis = connection().await;
    let key = format!("meter:{{user:{ann}}}");
    let () = redis::cmd("HDEL")
        .arg(&key)
        .arg(2_000_000_000_000 + T0 / 900_000 / 8)
        .arg(1_000_000_000_000 + T0 / 1_000 / 8)
        .query_async(&mut redis)
        .await
        .unwrap();
    for at in [T0 + DAY / 2, T0 + DAY + 1_000_000] {
        let snapshot = limits.at(at).peek(&ann).await.unwrap();
        assert!(snapshot.window(0).used == 0 && snapshot.window(1).used <= 500);
        drop(admit_granted(&limits, at, &ann, allow(&[10, 1_000], 10), Demand::exactly(300)).await);
    }
}

/// Usage that has left its window is deleted: three days of usage take as much space as one, and unused meters take none.
#[tokio::test]
async fn expired_usage_is_deleted_from_redis() {
    let limits = Limits::without_history(&Store::redis(&redis_url()).unwrap(), "user", &WINDOWS);
    let (ann, plan) = (unique_name("ann"), allow(&[1_000, 1 << 50], 10));
    let mut redis = connection().await;
    let key = format!("meter:{{user:{ann}}}");
    let mut max_fields = 0;
    for now in (T0..T0 + 3 * DAY).step_by(15_000).chain([T0 + 3 * DAY + MINUTE, T0 + 5 * DAY]) {
        let permit = admit_granted(&limits, now, &ann, plan, Demand::exactly(1)).await;
        limits.at(now).settle(permit, 1).await.unwrap();
        max_fields = redis::cmd("HLEN").arg(&key).query_async::<u64>(&mut redis).await.unwrap().max(max_fields);
    }
    // the head; five fields for a minute of requests; fourteen for a day's 97 buckets, eight per field
    assert!(max_fields <= 1 + 5 + 14, "{max_fields} fields");
    let left: u64 = redis::cmd("HLEN").arg(&key).query_async(&mut redis).await.unwrap();
    assert_eq!(left, 3);
    // a release leaves no fields behind
    let permit = admit_granted(&limits, T0 + 9 * DAY, &ann, plan, Demand::exactly(1)).await;
    limits.at(T0 + 9 * DAY).release(permit).await.unwrap();
    let left: u64 = redis::cmd("HLEN").arg(&key).query_async(&mut redis).await.unwrap();
    assert_eq!(left, 1);
}

/// Field notes 1 and 2: of sixty-four concurrent calls from two processes, exactly as many are granted as fit.
#[test]
fn concurrent_calls_from_two_processes_get_exactly_what_fits() {
    // Cargo builds a package's examples together with its tests, in the directory next to theirs.
    let test = std::env::current_exe().unwrap();
    let burst = test.parent().and_then(Path::parent).unwrap().join("examples/burst");
    let mut processes = [0, 1].map(|_| {
        let (stdin, stdout) = (Stdio::piped(), Stdio::piped());
        let mut process = Command::new(&burst).arg(redis_url()).stdin(stdin).stdout(stdout).spawn().unwrap();
        let replies = BufReader::new(process.stdout.take().unwrap()).lines();
        (process.stdin.take().unwrap(), replies, process)
    });
    for seed in 0..200_u64 {
        let (ann, demand, limit) = (unique_name("ann"), 1 + seed * 7 % 331, 2_000);
        for (input, _, _) in &mut processes {
            writeln!(input, "{ann} {demand} {limit} 32").unwrap();
        }
        let granted =
            processes.each_mut().map(|(_, replies, _)| replies.next().unwrap().unwrap().parse::<u64>().unwrap());
        assert_eq!(granted.iter().sum::<u64>(), (limit / demand).min(64), "demand {demand}: {granted:?}");
    }
    for (input, _, mut process) in processes {
        drop(input);
        assert!(process.wait().unwrap().success());
    }
}

/// Field note 8: demands are unsigned and bounded. Numbers that Lua can't represent exactly are refused, and so is a wrong number of
/// limits.
#[tokio::test]
async fn numbers_that_lua_cannot_represent_are_refused() {
    for_each_store(async |limits| {
        for (plan, demand) in [
            (allow(&[1, 1 << 53], 1), Demand::exactly(1)),
            (allow(&[1, 100], 1), Demand::exactly(1 << 53)),
            (allow(&[1], 1), Demand::exactly(1)),
        ] {
            assert!(limits.admit("ann", "call", plan, demand).await.is_err(), "{demand:?}");
        }
    })
    .await;
}

/// Field note 9: no decision takes longer than its bound, even if the server never responds.
#[tokio::test]
async fn a_silent_redis_is_unavailable_within_the_bound() {
    // a listener that accepts connections and never responds
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let store = Store::redis(&format!("redis://{}", silent.local_addr().unwrap())).unwrap();
    let limits = Limits::without_history(&store, "user", &WINDOWS);
    for _ in 0..3 {
        let began = servers::scheduled();
        assert!(limits.admit("ann", "call", allow(&[1, 1], 1), Demand::exactly(1)).await.is_err());
        let took = servers::scheduled().saturating_sub(began);
        assert!(took.as_secs() < 4, "{took:?}");
    }
}
