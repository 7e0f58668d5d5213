//! Faults of Redis: it hangs, dies, restarts empty, loses all data under load, runs out of memory, or turns read-only. Each time
//! decisions return within the bound, no call runs unmetered, and the limiter recovers without a restart. The bounds are ten times
//! those of `./dev bench limits`, because the machine that runs the tests may be busy.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

mod servers;

use limits::{Admission, Allowance, Demand, History, Limits, PastCall, Store, Unavailable, Window};
use servers::{Mode, Server, Wire};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const WINDOWS: [Window; 2] = [Window::calls("requests", 60_000, 60), Window::amount("tokens", 86_400_000, 96)];
const PLAN: Allowance<'_> = Allowance { limits: &[1_000_000, 1_000_000], in_flight: None };
const BOUND: Duration = Duration::from_secs(3);
const RECOVERY: Duration = Duration::from_secs(10);
/// Pause between two calls, so that a test doesn't starve the next one.
const PACE: Duration = Duration::from_millis(5);
/// Lets only one test run at a time, because the tests measure durations.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

fn limits_at(url: &str) -> Limits {
    Limits::without_history(&Store::redis(url).unwrap(), "user", &WINDOWS)
}

/// Admits and settles one call.
async fn call(limits: &Limits) -> Result<(), Unavailable> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let id = format!("call-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    match limits.admit("ann", &id, PLAN, Demand::exactly(1)).await? {
        Admission::Granted(permit) => limits.settle(permit, 1).await.map(drop),
        other => panic!("{other:?}"),
    }
}

/// Makes calls for the given time and asserts that each one fails within the bound.
async fn refuses(limits: &Limits, during: Duration) {
    let began = Instant::now();
    while began.elapsed() < during {
        let started = Instant::now();
        assert!(call(limits).await.is_err());
        assert!(started.elapsed() <= BOUND, "a decision took {:?}", started.elapsed());
        tokio::time::sleep(PACE).await;
    }
}

/// Retries until a call succeeds, and asserts that each attempt ends within the bound.
async fn recovers(limits: &Limits) {
    let began = Instant::now();
    loop {
        let started = Instant::now();
        let answer = limits.peek("ann").await;
        assert!(started.elapsed() <= BOUND, "a decision took {:?}", started.elapsed());
        if answer.is_ok() && call(limits).await.is_ok() {
            break;
        }
        assert!(began.elapsed() <= RECOVERY, "not recovered after {:?}", began.elapsed());
        tokio::time::sleep(PACE).await;
    }
    assert!(began.elapsed() <= RECOVERY, "{:?}", began.elapsed());
}

/// Field note 9: Redis hangs for eight seconds.
#[tokio::test(flavor = "multi_thread")]
async fn limiter_recovers_after_redis_hangs() {
    let _alone = ALONE.lock().await;
    let server = Server::fresh();
    let limits = limits_at(&server.url());
    call(&limits).await.unwrap();
    server.signal("-STOP");
    refuses(&limits, Duration::from_secs(8)).await;
    server.signal("-CONT");
    recovers(&limits).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limiter_recovers_after_redis_restarts_empty() {
    let _alone = ALONE.lock().await;
    let server = Server::fresh();
    let port = server.port;
    let limits = limits_at(&server.url());
    call(&limits).await.unwrap();
    drop(server);
    refuses(&limits, Duration::from_secs(1)).await;
    let _server = Server::start(port, &[]);
    recovers(&limits).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_fail_while_redis_is_out_of_memory_or_read_only() {
    let _alone = ALONE.lock().await;
    let server = Server::fresh();
    let limits = limits_at(&server.url());
    call(&limits).await.unwrap();
    server.ask(&["CONFIG", "SET", "maxmemory", "1"]).unwrap();
    refuses(&limits, Duration::from_millis(500)).await;
    server.ask(&["CONFIG", "SET", "maxmemory", "0"]).unwrap();
    recovers(&limits).await;
    // like a former master after a failover
    server.ask(&["REPLICAOF", "127.0.0.1", "1"]).unwrap();
    refuses(&limits, Duration::from_millis(500)).await;
    server.ask(&["REPLICAOF", "NO", "ONE"]).unwrap();
    recovers(&limits).await;
}

/// A connection that accepts data and never responds, as behind a failing switch, is replaced.
#[tokio::test(flavor = "multi_thread")]
async fn a_half_open_connection_is_replaced() {
    let _alone = ALONE.lock().await;
    let server = Server::fresh();
    let wire = Wire::to(server.port).await;
    let limits = limits_at(&wire.url());
    call(&limits).await.unwrap();
    wire.goes(Mode::Swallows);
    let started = Instant::now();
    assert!(call(&limits).await.is_err());
    assert!(started.elapsed() <= BOUND, "{:?}", started.elapsed());
    recovers(&limits).await;
}

/// The script runs but its reply is lost: the call isn't made, and its hold lapses.
#[tokio::test(flavor = "multi_thread")]
async fn hold_lapses_if_the_reply_to_its_admission_is_lost() {
    let _alone = ALONE.lock().await;
    let server = Server::fresh();
    let (wire, straight) = (Wire::to(server.port).await, limits_at(&server.url()));
    let limits = limits_at(&wire.url());
    call(&limits).await.unwrap();
    wire.goes(Mode::ResetsAnswers);
    let started = Instant::now();
    assert!(limits.admit("ann", "lost", PLAN, Demand::exactly(500)).await.is_err());
    assert!(started.elapsed() <= BOUND, "{:?}", started.elapsed());
    let held = straight.peek("ann").await.unwrap();
    assert_eq!((held.window(1).reserved, held.in_flight), (500, 1), "the script ran");
    wire.goes(Mode::Carries);
    recovers(&limits).await;
    // A retry with the same id finds the call running. Ten seconds after the lost grant the hold has lapsed.
    let again = limits.admit("ann", "lost", PLAN, Demand::exactly(500)).await.unwrap();
    assert!(matches!(again, Admission::Running), "{again:?}");
    #[allow(clippy::disallowed_methods, reason = "Redis runs on this machine and has the same clock")]
    let later = u64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap() + 10_000;
    assert_eq!(limits.at(later).peek("ann").await.unwrap().window(1).reserved, 0);
    let again = limits.at(later).admit("ann", "lost", PLAN, Demand::exactly(500)).await.unwrap();
    assert!(matches!(again, Admission::Granted(_)), "{again:?}");
}

/// A former master that has become a replica accepts reads only, so its connections are replaced by connections to the new master.
#[tokio::test(flavor = "multi_thread")]
async fn connection_to_a_demoted_master_is_replaced() {
    let _alone = ALONE.lock().await;
    let (old, new) = (Server::fresh(), Server::fresh());
    let port = old.port.to_string();
    new.ask(&["REPLICAOF", "127.0.0.1", &port]).unwrap();
    let wire = Wire::to(old.port).await;
    let limits = limits_at(&wire.url());
    call(&limits).await.unwrap();
    let key = "meter:{user:ann}";
    new.until(&["EXISTS", key], |answer| answer == Ok(redis::Value::Int(1)));
    new.ask(&["REPLICAOF", "NO", "ONE"]).unwrap();
    let port = new.port.to_string();
    old.ask(&["REPLICAOF", "127.0.0.1", &port]).unwrap();
    wire.leads_to(new.port);
    recovers(&limits).await;
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
    let _alone = ALONE.lock().await;
    let folder = std::env::temp_dir().join(format!("quotient-snapshot-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let dir = folder.to_str().unwrap();
    let server = Server::fresh_in(dir);
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
    server.ask(&["SAVE"]).unwrap();
    spend("after").await;
    drop(server);
    let server = Server::start(port, &["--dir", dir]);
    assert_eq!(server.ask(&["EXISTS", "meter:{user:ann}"]), Ok(redis::Value::Int(1)), "the snapshot was loaded");
    recovers(&limits).await;
    assert_eq!(limits.peek("ann").await.unwrap().window(1).used, 2_001, "the snapshot's 1,000 are discarded");
    drop(server);
    std::fs::remove_dir_all(folder).unwrap();
}

/// Field note 3: all meters are lost repeatedly under load, and no more calls run than the limit allows, because running calls are in
/// the history, and calls that aren't in it yet aren't confirmed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flushing_redis_under_load_does_not_exceed_the_limit() {
    const LIMIT: u64 = 2_000;
    let _alone = ALONE.lock().await;
    let server = Server::fresh();
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
    // Redis is flushed once per number of calls, not per interval, because a busy machine makes fewer calls in a millisecond.
    let call_count = Arc::new(AtomicU64::new(0));
    let flushing = {
        let (done, call_count) = (Arc::clone(&done), Arc::clone(&call_count));
        let client = redis::Client::open(server.url()).unwrap();
        std::thread::spawn(move || {
            let mut connection = client.get_connection().unwrap();
            let (mut flushed, mut next) = (0, 0);
            while !done.load(Ordering::Relaxed) {
                if call_count.load(Ordering::Relaxed) < next {
                    std::thread::park_timeout(Duration::from_micros(100));
                    continue;
                }
                let () = redis::cmd("FLUSHALL").query(&mut connection).unwrap();
                flushed += 1;
                next = call_count.load(Ordering::Relaxed) + 48;
            }
            flushed
        })
    };
    let workers = (0..16).map(|worker| {
        let (limits, ledger, call_count) = (limits.clone(), Arc::clone(&ledger), Arc::clone(&call_count));
        tokio::spawn(async move {
            for n in 0..60 {
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
