//! What Redis may do to us: hang, die, come back empty, lose everything under load, run out of memory, turn read-only. Each time a
//! decision comes in the end, nothing runs unmetered, and all is well again without a restart. The bounds here are ten times those
//! that `./dev bench limits` holds the limiter to: this machine may be busy.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

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
/// Between two asks: a test of one Redis must not starve the next.
const PACE: Duration = Duration::from_millis(5);
/// Times are measured here, so one test at a time.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

fn limits_at(url: &str) -> Limits {
    Limits::without_history(&Store::redis(url).unwrap(), "user", &WINDOWS)
}

/// One call, admitted and settled.
async fn call(limits: &Limits) -> Result<(), Unavailable> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let id = format!("call-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    match limits.admit("ann", &id, PLAN, Demand::exactly(1)).await? {
        Admission::Granted(permit) => limits.settle(permit, 1).await.map(drop),
        other => panic!("{other:?}"),
    }
}

/// Asks for so long and wants a no each time, within the bound.
async fn refuses(limits: &Limits, during: Duration) {
    let began = Instant::now();
    while began.elapsed() < during {
        let asked = Instant::now();
        assert!(call(limits).await.is_err());
        assert!(asked.elapsed() <= BOUND, "a decision took {:?}", asked.elapsed());
        tokio::time::sleep(PACE).await;
    }
}

/// Asks until it is a yes, each time within the bound.
async fn recovers(limits: &Limits) {
    let began = Instant::now();
    loop {
        let asked = Instant::now();
        let answer = limits.peek("ann").await;
        assert!(asked.elapsed() <= BOUND, "a decision took {:?}", asked.elapsed());
        if answer.is_ok() && call(limits).await.is_ok() {
            break;
        }
        assert!(began.elapsed() <= RECOVERY, "not well again after {:?}", began.elapsed());
        tokio::time::sleep(PACE).await;
    }
    assert!(began.elapsed() <= RECOVERY, "{:?}", began.elapsed());
}

/// Field note 9.
#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_hangs_for_eight_seconds() {
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
async fn a_redis_that_dies_and_comes_back_empty() {
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
async fn a_redis_without_memory_or_leave_to_write() {
    let _alone = ALONE.lock().await;
    let server = Server::fresh();
    let limits = limits_at(&server.url());
    call(&limits).await.unwrap();
    server.ask(&["CONFIG", "SET", "maxmemory", "1"]).unwrap();
    refuses(&limits, Duration::from_millis(500)).await;
    server.ask(&["CONFIG", "SET", "maxmemory", "0"]).unwrap();
    recovers(&limits).await;
    // as the old master finds itself after a failover
    server.ask(&["REPLICAOF", "127.0.0.1", "1"]).unwrap();
    refuses(&limits, Duration::from_millis(500)).await;
    server.ask(&["REPLICAOF", "NO", "ONE"]).unwrap();
    recovers(&limits).await;
}

/// A connection that takes everything and answers nothing, as after a failing switch: the next one is another.
#[tokio::test(flavor = "multi_thread")]
async fn a_half_open_connection_is_replaced() {
    let _alone = ALONE.lock().await;
    let server = Server::fresh();
    let wire = Wire::to(server.port).await;
    let limits = limits_at(&wire.url());
    call(&limits).await.unwrap();
    wire.goes(Mode::Swallows);
    let asked = Instant::now();
    assert!(call(&limits).await.is_err());
    assert!(asked.elapsed() <= BOUND, "{:?}", asked.elapsed());
    recovers(&limits).await;
}

/// The script has run, and its answer is lost: the call isn't made, and what was held for it comes back by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_reset_in_the_middle_of_a_script() {
    let _alone = ALONE.lock().await;
    let server = Server::fresh();
    let (wire, straight) = (Wire::to(server.port).await, limits_at(&server.url()));
    let limits = limits_at(&wire.url());
    call(&limits).await.unwrap();
    wire.goes(Mode::ResetsAnswers);
    let asked = Instant::now();
    assert!(limits.admit("ann", "lost", PLAN, Demand::exactly(500)).await.is_err());
    assert!(asked.elapsed() <= BOUND, "{:?}", asked.elapsed());
    let held = straight.peek("ann").await.unwrap();
    assert_eq!((held.window(1).reserved, held.in_flight), (500, 1), "the script did run");
    wire.goes(Mode::Carries);
    recovers(&limits).await;
    // Asked again under its id the call still waits for itself; ten seconds after the grant that nobody heard of, it is free again.
    let again = limits.admit("ann", "lost", PLAN, Demand::exactly(500)).await.unwrap();
    assert!(matches!(again, Admission::Running), "{again:?}");
    #[allow(clippy::disallowed_methods, reason = "Redis' clock is this machine's")]
    let later = u64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap() + 10_000;
    assert_eq!(limits.at(later).peek("ann").await.unwrap().window(1).reserved, 0);
    let again = limits.at(later).admit("ann", "lost", PLAN, Demand::exactly(500)).await.unwrap();
    assert!(matches!(again, Admission::Granted(_)), "{again:?}");
}

/// A master that was replaced and goes on as a replica: who is still connected to it may only read, and has to ask anew for the
/// master.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_master_that_became_a_replica_is_left() {
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
        "what a replica was told may be older than what the master counted: without a history it starts anew"
    );
}

/// Field note 101: a Redis that comes back from an old snapshot has forgotten what was counted since. The first touch notices it, and
/// builds the meters from the history.
#[tokio::test(flavor = "multi_thread")]
async fn a_stale_snapshot_is_noticed_at_once() {
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
    assert_eq!(limits.peek("ann").await.unwrap().window(1).used, 2_001, "the snapshot's 1 000 are not believed");
    drop(server);
    std::fs::remove_dir_all(folder).unwrap();
}

/// Field note 3: all meters are lost again and again under load, and no more runs than the limit allows, because what runs stands
/// in the history, and what doesn't stand there yet isn't confirmed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flushing_everything_under_load_grants_no_more() {
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
    // Everything is lost once per so many calls, not per so much time: a busy machine makes fewer calls in a millisecond.
    let asked = Arc::new(AtomicU64::new(0));
    let flushing = {
        let (done, asked) = (Arc::clone(&done), Arc::clone(&asked));
        let client = redis::Client::open(server.url()).unwrap();
        std::thread::spawn(move || {
            let mut connection = client.get_connection().unwrap();
            let (mut flushed, mut next) = (0, 0);
            while !done.load(Ordering::Relaxed) {
                if asked.load(Ordering::Relaxed) < next {
                    std::thread::park_timeout(Duration::from_micros(100));
                    continue;
                }
                let () = redis::cmd("FLUSHALL").query(&mut connection).unwrap();
                flushed += 1;
                next = asked.load(Ordering::Relaxed) + 48;
            }
            flushed
        })
    };
    let workers = (0..16).map(|worker| {
        let (limits, ledger, asked) = (limits.clone(), Arc::clone(&ledger), Arc::clone(&asked));
        tokio::spawn(async move {
            for n in 0..60 {
                asked.fetch_add(1, Ordering::Relaxed);
                let id = format!("{worker}-{n}");
                let plan = Allowance { limits: &[1_000_000, LIMIT], in_flight: None };
                let Ok(Admission::Granted(permit)) = limits.admit("ann", &id, plan, Demand::exactly(10)).await else {
                    continue;
                };
                let row = PastCall { call: id.clone(), at_ms: permit.at_ms(), amount: 10, running: true };
                ledger.lock().unwrap().push(row);
                // Written down, and then the hold must still stand; else the call is undone, and never made.
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
    assert!(made >= LIMIT / 2, "{made} of {LIMIT}: hardly anything ran");
}
