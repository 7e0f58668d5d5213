//! Faults of Redis: it hangs, crashes, restarts empty, loses all data under load, runs out of memory, or turns read-only. Each
//! time decisions return within the bound, no call runs unmetered, and the limiter recovers without a restart. The bounds are ten
//! times those of `./dev bench limits`, because the machine that runs the tests may be busy.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

mod servers;

use limits::{Admission, Allowance, Demand, History, Limits, PastCall, Store, Unavailable, Window, Windows};
use servers::{FaultyProxy, Mode, Server, scheduled};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const WINDOWS: Windows =
    Windows::new(&[Window::calls("requests", 60_000, 60), Window::amount("tokens", 86_400_000, 96)]);
const PLAN: Allowance<'_> = Allowance { limits: &[1_000_000, 1_000_000], in_flight: None };
/// Durations are compared in [`scheduled`] time.
const DECISION_BOUND: Duration = Duration::from_secs(3);
const RECOVERY_BOUND: Duration = Duration::from_secs(10);
/// Pause between two calls, so that a test doesn't starve the next one.
const PACE: Duration = Duration::from_millis(5);
/// Lets only one test run at a time, because the tests measure durations.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

fn limits_at(url: &str) -> Limits {
    Limits::without_history(&Store::redis(url).unwrap(), "user", &WINDOWS)
}

/// Admits and settles one call.
async fn admit_and_settle(limits: &Limits) -> Result<(), Unavailable> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let id = format!("call-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    match limits.admit("ann", &id, PLAN, Demand::exactly(1)).await? {
        Admission::Granted(permit) => limits.settle(permit, 1).await.map(drop),
        other => panic!("{other:?}"),
    }
}

/// Asserts that a decision that began at this time took no longer than the bound.
#[track_caller]
fn assert_decided(started: Duration) {
    let took = scheduled().saturating_sub(started);
    assert!(took <= DECISION_BOUND, "a decision took {took:?}");
}

/// Makes calls for the given time and asserts that each one fails within the bound.
async fn assert_calls_fail(limits: &Limits, during: Duration) {
    let began = Instant::now();
    while began.elapsed() < during {
        let started = scheduled();
        assert!(admit_and_settle(limits).await.is_err());
        assert_decided(started);
        tokio::time::sleep(PACE).await;
    }
}

/// Retries until a call succeeds, and asserts that each attempt ends within the bound.
async fn assert_recovers(limits: &Limits) {
    let began = scheduled();
    loop {
        let started = scheduled();
        let reply = limits.peek("ann").await;
        assert_decided(started);
        let has_recovered = reply.is_ok() && admit_and_settle(limits).await.is_ok();
        let took = scheduled().saturating_sub(began);
        assert!(took <= RECOVERY_BOUND, "not recovered after {took:?}");
        if has_recovered {
            break;
        }
        tokio::time::sleep(PACE).await;
    }
}

/// Field note 9: Redis hangs for eight seconds.
#[tokio::test(flavor = "multi_thread")]
async fn limiter_recovers_after_redis_hangs() {
    let _guard = ONE_AT_A_TIME.lock().await;
    let server = Server::start_fresh();
    let limits = limits_at(&server.url());
    admit_and_settle(&limits).await.unwrap();
    server.signal("-STOP");
    assert_calls_fail(&limits, Duration::from_secs(8)).await;
    server.signal("-CONT");
    assert_recovers(&limits).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limiter_recovers_after_redis_restarts_empty() {
    let _guard = ONE_AT_A_TIME.lock().await;
    let server = Server::start_fresh();
    let port = server.port;
    let limits = limits_at(&server.url());
    admit_and_settle(&limits).await.unwrap();
    drop(server);
    assert_calls_fail(&limits, Duration::from_secs(1)).await;
    let _server = Server::start(port, &[]);
    assert_recovers(&limits).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_fail_while_redis_is_out_of_memory_or_read_only() {
    let _guard = ONE_AT_A_TIME.lock().await;
    let server = Server::start_fresh();
    let limits = limits_at(&server.url());
    admit_and_settle(&limits).await.unwrap();
    server.query(&["CONFIG", "SET", "maxmemory", "1"]).unwrap();
    assert_calls_fail(&limits, Duration::from_millis(500)).await;
    server.query(&["CONFIG", "SET", "maxmemory", "0"]).unwrap();
    assert_recovers(&limits).await;
    // like a former master after a failover
    server.query(&["REPLICAOF", "127.0.0.1", "1"]).unwrap();
    assert_calls_fail(&limits, Duration::from_millis(500)).await;
    server.query(&["REPLICAOF", "NO", "ONE"]).unwrap();
    assert_recovers(&limits).await;
}

/// A connection that accepts data and never responds, as behind a failing switch, is replaced.
#[tokio::test(flavor = "multi_thread")]
async fn a_half_open_connection_is_replaced() {
    let _guard = ONE_AT_A_TIME.lock().await;
    let server = Server::start_fresh();
    let proxy = FaultyProxy::start(server.port).await;
    let limits = limits_at(&proxy.url());
    admit_and_settle(&limits).await.unwrap();
    proxy.set_mode(Mode::BlackHole);
    let started = scheduled();
    assert!(admit_and_settle(&limits).await.is_err());
    assert_decided(started);
    assert_recovers(&limits).await;
}

/// The script runs but its reply is lost: the call isn't made, and its hold lapses.
#[tokio::test(flavor = "multi_thread")]
async fn hold_lapses_if_the_reply_to_its_admission_is_lost() {
    let _guard = ONE_AT_A_TIME.lock().await;
    let server = Server::start_fresh();
    let (proxy, direct) = (FaultyProxy::start(server.port).await, limits_at(&server.url()));
    let limits = limits_at(&proxy.url());
    admit_and_settle(&limits).await.unwrap();
    // The time stands still, because the recovery may take as long as the hold lasts.
    let (now, later) = (limits.at(1_764_000_123_456), limits.at(1_764_000_133_456));
    assert_eq!(now.peek("bob").await.unwrap().in_flight, 0);
    proxy.set_mode(Mode::ResetReplies);
    let started = scheduled();
    assert!(now.admit("bob", "no-reply", PLAN, Demand::exactly(500)).await.is_err());
    assert_decided(started);
    // The script runs, even if the client gave up before its request arrived.
    let direct = direct.at(1_764_000_123_456);
    let running = async {
        loop {
            let held = direct.peek("bob").await.unwrap();
            if held.in_flight > 0 {
                break held;
            }
        }
    };
    let held = tokio::time::timeout(Duration::from_secs(120), running).await.expect("the script didn't run");
    assert_eq!((held.window(1).reserved, held.in_flight), (500, 1));
    proxy.set_mode(Mode::Forward);
    assert_recovers(&limits).await;
    // A retry with the same id finds the call running. Ten seconds after the lost grant the hold has lapsed.
    let again = now.admit("bob", "no-reply", PLAN, Demand::exactly(500)).await.unwrap();
    assert!(matches!(again, Admission::Running), "{again:?}");
    assert_eq!(later.peek("bob").await.unwrap().window(1).reserved, 0);
    let again = later.admit("bob", "no-reply", PLAN, Demand::exactly(500)).await.unwrap();
    assert!(matches!(again, Admission::Granted(_)), "{again:?}");
}

/// A former master that has become a replica accepts reads only, so its connections are replaced by connections to the new master.
#[tokio::test(flavor = "multi_thread")]
async fn connection_to_a_demoted_master_is_replaced() {
    let _guard = ONE_AT_A_TIME.lock().await;
    let (old, new) = (Server::start_fresh(), Server::start_fresh());
    let port = old.port.to_string();
    new.query(&["REPLICAOF", "127.0.0.1", &port]).unwrap();
    let proxy = FaultyProxy::start(old.port).await;
    let limits = limits_at(&proxy.url());
    admit_and_settle(&limits).await.unwrap();
    let key = "meter:{user:ann}";
    new.wait_for(&["EXISTS", key], |reply| reply == Ok(redis::Value::Int(1)));
    new.query(&["REPLICAOF", "NO", "ONE"]).unwrap();
    let port = new.port.to_string();
    old.query(&["REPLICAOF", "127.0.0.1", &port]).unwrap();
    proxy.set_target(new.port);
    assert_recovers(&limits).await;
    assert_eq!(
        limits.peek("ann").await.unwrap().window(1).used,
        1,
        "a replica's data may be older than its master's: without a history the meters start at zero"
    );
}

/// Field note 101: a Redis that restarted from an old snapshot lacks what was counted since. The first access detects this and rebuilds
/// the meters from the history.
#[tokio::test(flavor = "multi_thread")]
async fn meters_from_a_stale_snapshot_are_rebuilt() {
    let _guard = ONE_AT_A_TIME.lock().await;
    let folder = std::env::temp_dir().join(format!("quotient-snapshot-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let dir = folder.to_str().unwrap();
    let server = Server::start_in(dir);
    let port = server.port;
    let past: Arc<Mutex<Vec<PastCall>>> = Arc::default();
    let history: History = {
        let past = Arc::clone(&past);
        Arc::new(move |_| {
            let past = past.lock().unwrap().clone();
            Box::pin(async move { Ok(past) })
        })
    };
    let limits = Limits::new(&Store::redis(&server.url()).unwrap(), "user", &WINDOWS, history);
    let spend = async |id: &str| {
        let Admission::Granted(permit) = limits.admit("ann", id, PLAN, Demand::exactly(1_000)).await.unwrap() else {
            panic!("not granted");
        };
        past.lock().unwrap().push(PastCall {
            call: id.to_owned(),
            at_ms: permit.at_ms(),
            amount: 1_000,
            running: false,
        });
        limits.settle(permit, 1_000).await.unwrap();
    };
    spend("before").await;
    server.query(&["SAVE"]).unwrap();
    spend("after").await;
    drop(server);
    let server = Server::start(port, &["--dir", dir]);
    assert_eq!(server.query(&["EXISTS", "meter:{user:ann}"]), Ok(redis::Value::Int(1)), "the snapshot was loaded");
    assert_recovers(&limits).await;
    assert_eq!(limits.peek("ann").await.unwrap().window(1).used, 2_001, "the snapshot's 1,000 are discarded");
    drop(server);
    std::fs::remove_dir_all(folder).unwrap();
}

/// Field note 3: all meters are lost repeatedly under load, and no more calls run than the limit allows, because running calls are in
/// the history, and calls that aren't in it yet aren't confirmed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flushing_redis_under_load_does_not_exceed_the_limit() {
    const LIMIT: u64 = 2_000;
    let _guard = ONE_AT_A_TIME.lock().await;
    let server = Server::start_fresh();
    let ledger: Arc<Mutex<Vec<PastCall>>> = Arc::default();
    let history: History = {
        let ledger = Arc::clone(&ledger);
        Arc::new(move |_| {
            let past = ledger.lock().unwrap().clone();
            Box::pin(async move { Ok(past) })
        })
    };
    let limits = Limits::new(&Store::redis(&server.url()).unwrap(), "user", &WINDOWS, history);
    let done = Arc::new(std::sync::atomic::AtomicBool::new(false));
    // Redis is flushed once per number of calls, not per interval, because a busy machine makes fewer calls in a millisecond. `due` is the
    // number at which the next flush is due. Calls wait for a flush that is late.
    let (call_count, due) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let flushing = {
        let (done, call_count, due) = (Arc::clone(&done), Arc::clone(&call_count), Arc::clone(&due));
        let client = redis::Client::open(server.url()).unwrap();
        std::thread::spawn(move || {
            let mut connection = client.get_connection().unwrap();
            let mut flushed = 0;
            while !done.load(Ordering::Relaxed) {
                if call_count.load(Ordering::Relaxed) < due.load(Ordering::Relaxed) {
                    std::thread::park_timeout(Duration::from_micros(100));
                    continue;
                }
                if redis::cmd("FLUSHALL").exec(&mut connection).is_err() {
                    // Calls wait no longer, and the number of flushes is too small.
                    due.store(u64::MAX / 2, Ordering::Relaxed);
                    break;
                }
                flushed += 1;
                due.store(call_count.load(Ordering::Relaxed) + 48, Ordering::Relaxed);
            }
            flushed
        })
    };
    let workers = (0..16).map(|worker| {
        let (limits, ledger) = (limits.clone(), Arc::clone(&ledger));
        let (call_count, due) = (Arc::clone(&call_count), Arc::clone(&due));
        tokio::spawn(async move {
            for n in 0..60 {
                while call_count.load(Ordering::Relaxed) > due.load(Ordering::Relaxed) + 48 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                call_count.fetch_add(1, Ordering::Relaxed);
                let id = format!("{worker}-{n}");
                let plan = Allowance { limits: &[1_000_000, LIMIT], in_flight: None };
                let Ok(Admission::Granted(permit)) = limits.admit("ann", &id, plan, Demand::exactly(10)).await else {
                    continue;
                };
                let row = PastCall { call: id.clone(), at_ms: permit.at_ms(), amount: 10, running: true };
                ledger.lock().unwrap().push(row);
                // After it is recorded, its hold must still exist; otherwise the record is removed and the call isn't made.
                if !limits.confirm(&permit).await.unwrap_or(false) {
                    ledger.lock().unwrap().retain(|row| row.call != id);
                    let _ = limits.release(permit).await;
                    continue;
                }
                ledger.lock().unwrap().iter_mut().filter(|row| row.call == id).for_each(|row| row.running = false);
                let _ = limits.settle(permit, 10).await;
            }
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        worker.await.unwrap();
    }
    done.store(true, Ordering::Relaxed);
    assert!(flushing.join().unwrap() > 3);
    let made: u64 = ledger.lock().unwrap().iter().map(|row| row.amount).sum();
    assert!(made <= LIMIT, "{made} of {LIMIT} were used");
    assert!(made >= LIMIT / 2, "{made} of {LIMIT}: too few calls ran");
}
