//! A turn's log in memory and in Redis: the same events for every reader, from any id.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use domain::{Problem, TurnEvent, TurnId};
use futures::StreamExt as _;
use relay::{Entry, Relay};
use std::time::Duration;
use uuid::Uuid;

#[allow(clippy::disallowed_methods, reason = "./dev sets the URL of the tests' Redis")]
fn redis_url() -> String {
    std::env::var("REDIS_URL").expect("REDIS_URL isn't set: run the tests with ./dev test")
}

fn delta(text: &str) -> TurnEvent {
    TurnEvent::Delta { text: text.to_owned() }
}

fn failed() -> TurnEvent {
    TurnEvent::Failed { problem: Problem::model_failed() }
}

async fn rest(relay: &Relay, turn: TurnId, after: u64) -> Vec<u64> {
    let tail = relay.tail(turn, after).await.unwrap().unwrap();
    let reading = tail.map(|entry| entry.id).collect();
    tokio::time::timeout(Duration::from_secs(60), reading).await.expect("the stream didn't end")
}

/// Returns a connection that waits for its replies. By default, a client gives up after half a second, which one may take on a busy machine.
async fn connection() -> redis::aio::MultiplexedConnection {
    let patient = redis::AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
    redis::Client::open(redis_url()).unwrap().get_multiplexed_async_connection_with_config(&patient).await.unwrap()
}

#[tokio::test]
async fn all_readers_get_the_same_events_from_any_number() {
    let (owner, elsewhere) = (Relay::redis(&redis_url()).unwrap(), Relay::redis(&redis_url()).unwrap());
    let (memory, turn) = (Relay::memory(), TurnId::from(Uuid::now_v7()));
    for (owner, readers) in [(&owner, vec![&owner, &elsewhere]), (&memory, vec![&memory])] {
        let mut log = owner.open(turn);
        assert!(owner.tail(turn, 0).await.unwrap().is_none(), "a turn without events may never begin");
        log.append(&[delta("a"), delta("b")]).await;
        log.append(&[]).await;
        log.append(&[delta("c")]).await;
        let early = readers.iter().map(|reader| rest(reader, turn, 1));
        let writing = async {
            log.append(&[delta("d"), failed()]).await;
            drop(log);
        };
        let (early, ()) = tokio::join!(futures::future::join_all(early), writing);
        assert!(early.iter().all(|ids| ids == &[2, 3, 4, 5]), "{early:?}");
        for reader in readers {
            assert_eq!(rest(reader, turn, 0).await, [1, 2, 3, 4, 5]);
            assert_eq!(rest(reader, turn, 4).await, [5]);
            assert!(rest(reader, turn, 5).await.is_empty());
            let kept: Vec<Option<TurnEvent>> = reader.so_far(turn).await.unwrap().iter().map(Entry::event).collect();
            assert_eq!(kept[..4], ["a", "b", "c", "d"].map(|text| Some(delta(text))));
        }
    }
}

/// An append that timed out may have arrived: duplicate entries are read once, and a missing number ends the stream.
#[tokio::test]
async fn duplicates_are_read_once_and_a_gap_ends_the_stream() {
    let (relay, turn) = (Relay::redis(&redis_url()).unwrap(), TurnId::from(Uuid::now_v7()));
    let line = |id: u64, text: &str| format!(r#"{id} delta {{"text":"{text}"}}"#);
    let lines = [line(1, "a"), line(2, "b"), line(1, "a"), line(2, "b"), line(3, "c"), line(5, "e")];
    let () = redis::cmd("RPUSH")
        .arg(format!("turn:{{{turn}}}:log"))
        .arg(&lines)
        .query_async(&mut connection().await)
        .await
        .unwrap();
    assert_eq!(rest(&relay, turn, 0).await, [1, 2, 3]);
    assert_eq!(rest(&relay, turn, 2).await, [3]);
}

/// Redis has only the beginning and the end of a log that is too long. Readers on the owner's server read all of it, also after its end.
#[tokio::test]
async fn a_log_that_is_too_long_for_redis_stays_in_memory() {
    let (owner, turn) = (Relay::redis(&redis_url()).unwrap(), TurnId::from(Uuid::now_v7()));
    let mut log = owner.open(turn);
    let text = "x".repeat(3 << 20);
    for _ in 0..3 {
        log.append(&[delta(&text)]).await;
    }
    log.append(&[failed()]).await;
    drop(log);
    assert_eq!(rest(&owner, turn, 0).await, [1, 2, 3, 4]);
}

/// If the owner crashes, another server ends its log, once, with the next number.
#[tokio::test]
async fn log_without_an_owner_is_ended_once() {
    let (owner, elsewhere) = (Relay::redis(&redis_url()).unwrap(), Relay::redis(&redis_url()).unwrap());
    let turn = TurnId::from(Uuid::now_v7());
    let mut log = owner.open(turn);
    log.append(&[delta("a")]).await;
    std::mem::forget(log);
    elsewhere.end(turn, &failed()).await.unwrap();
    elsewhere.end(turn, &failed()).await.unwrap();
    assert_eq!(rest(&elsewhere, turn, 0).await, [1, 2]);
    let left: i64 =
        redis::cmd("TTL").arg(format!("turn:{{{turn}}}:log")).query_async(&mut connection().await).await.unwrap();
    assert!((500..=600).contains(&left), "kept for ten minutes: {left}");
}

/// A stop request arrives from any server, even before the first event.
#[tokio::test]
async fn stop_arrives_from_any_server() {
    for (owner, presses) in
        [(Relay::memory(), None), (Relay::redis(&redis_url()).unwrap(), Some(Relay::redis(&redis_url()).unwrap()))]
    {
        let turn = TurnId::from(Uuid::now_v7());
        let log = owner.open(turn);
        presses.as_ref().unwrap_or(&owner).stop(turn).await.unwrap();
        tokio::time::timeout(Duration::from_secs(30), log.stopped()).await.expect("the stop request didn't arrive");
    }
}
