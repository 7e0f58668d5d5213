//! Responses that outlive a connection or a server.

use super::begun;
use crate::app::TestApp;
use crate::visitor::{Reading, Visitor, events};
use domain::{Outcome, TurnEvent};
use http::StatusCode;
use limits::PastCall;
use serde_json::json;
use std::time::Duration;

/// Field note 24: silence is broken by a heartbeat, at most every 15 s.
#[tokio::test]
async fn a_silent_answer_has_a_heartbeat() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    let (mut reading, _) = begun(&ann, "{{words:4}}{{hold}}").await;
    let beating = async {
        while reading.comments == 0 {
            assert!(reading.more().await);
        }
    };
    tokio::time::timeout(Duration::from_secs(120), beating).await.expect("a heartbeat");
    app.provider.release();
}

/// An ended turn's events replay and close, also from the last one on, here and elsewhere; a number that is none is told.
#[tokio::test]
async fn an_ended_answer_replays_and_closes() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    let all = ann.answer("{{words:5}}").await;
    let TurnEvent::Turn { turn_id, .. } = &all[0].1 else { panic!() };
    let (url, _stop) = app.second().await;
    for visitor in [ann.clone(), Visitor { url, ..ann.clone() }] {
        for after in [0, 3, all.len(), all.len() + 7] {
            let rest = events(visitor.get(&format!("/api/turns/{turn_id}/events?after={after}")).await).await;
            assert_eq!(rest, all[after.min(all.len())..], "after {after}");
        }
        let absurd = visitor.get(&format!("/api/turns/{turn_id}/events?after=18446744073709551615")).await;
        assert_eq!(absurd.status(), StatusCode::UNPROCESSABLE_ENTITY);
    }
    assert_eq!(ann.get("/api/turns/nonsense/events").await.status(), StatusCode::NOT_FOUND);
}

/// Recorded, and then the meters couldn't be told: the reaper tells them, and the hold doesn't stand for a day.
#[tokio::test]
async fn a_hold_that_was_not_settled_is_healed() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    ann.answer("{{words:5}}").await;
    let subject: String = app.one("select subject from account").await;
    let call: String = app.one("select turn_id::text from turn").await;
    let used = ann.quota().await["tokens"]["used"].clone();
    // as Redis going away between the record and the settlement would leave it
    let at_ms: i64 = app.one("select (extract(epoch from created_at) * 1000)::bigint from turn").await;
    let held = PastCall { call, at_ms: at_ms as u64, amount: 900, running: true };
    app.users(None).forget(&subject).await.unwrap();
    app.users(Some(held)).peek(&subject).await.unwrap();
    assert_eq!(ann.quota().await["tokens"]["reserved"], 900);
    // The server writes it down once a second; only then can it be taken back.
    app.until("select settled_at is not null from turn").await;
    sqlx::query("update turn set settled_at = null, ended_at = ended_at - interval '1 minute'")
        .execute(&app.db)
        .await
        .unwrap();
    let (_, _stop) = app.second().await; // its reaper looks at once
    app.until("select settled_at is not null from turn").await;
    let quota = ann.quota().await;
    assert_eq!((&quota["tokens"]["reserved"], &quota["tokens"]["used"]), (&json!(0), &used));
}

/// Another server of the deployment reads the same events, and its Stop arrives.
#[tokio::test]
async fn another_server_follows_and_stops() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    let (url, _stop) = app.second().await;
    let there = Visitor { url, ..ann.clone() };
    let (mut reading, turn) = begun(&ann, "{{words:20}}{{hold}}").await;
    let mut following = Reading::new(there.get(&format!("/api/turns/{turn}/events")).await);
    assert_eq!(following.next().await.map(|(id, _)| id), Some(1));
    assert_eq!(
        there.request("POST", &format!("/api/turns/{turn}/stop")).send().await.unwrap().status(),
        StatusCode::NO_CONTENT
    );
    let (mut here, mut other) = (Vec::new(), Vec::new());
    while let Some(event) = reading.next().await {
        here.push(event);
    }
    while let Some(event) = following.next().await {
        other.push(event);
    }
    assert!(matches!(here.last(), Some((_, TurnEvent::Finish { outcome: Outcome::Stopped, .. }))));
    assert_eq!(here, other);
}

/// A process that is gone leaves a pending row: it is ended once, as lost, and its hold with it.
#[tokio::test]
async fn a_lost_turn_is_ended() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    ann.answer("{{words:5}}").await;
    let used = ann.quota().await["tokens"]["used"].as_u64().unwrap();
    // as a kill -9 between asking and recording would leave it
    sqlx::query(
        "with t as (insert into turn (turn_id, user_id, subject, request_hash, alive_until, created_at)
           select gen_random_uuid(), user_id, subject, '', now() - interval '1 s', now() from account returning *)
         insert into ai_usage (ai_usage_id, turn_id, user_id, subject, model, model_price_id, status, estimated_tokens, reserved_tokens, created_at)
         select gen_random_uuid(), t.turn_id, t.user_id, t.subject, 'claude-haiku-4-5', (select model_price_id from model_price where model = 'claude-haiku-4-5'), 'pending', 100, 600, t.created_at from t",
    )
    .execute(&app.db)
    .await
    .unwrap();
    // Its hold is in the meters, as the ledger has it.
    let key: String = app.one("select 'meter:{user:' || subject || '}' from account").await;
    let () = redis::cmd("DEL").arg(key).query_async(&mut app.redis.clone()).await.unwrap();
    assert_eq!(ann.quota().await["tokens"]["reserved"], 600);
    let (_, _stop) = app.second().await; // its reaper looks at once
    app.until("select not exists (select from ai_usage where status = 'pending')").await;
    assert_eq!(
        app.one::<i64>("select input_tokens from ai_usage where status = 'lost' and usage_source = 'estimated'").await,
        100
    );
    let waiting = async {
        while ann.quota().await["tokens"]["used"] != used + 100 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), waiting).await.expect("the meter follows");
}

#[tokio::test]
async fn a_server_that_is_told_to_go_ends_its_turns_first() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    let (mut reading, _) = begun(&ann, "{{words:30}}{{pace:20}}").await;
    let db = app.db.clone();
    let shutting = tokio::spawn(app.shut());
    let mut last = None;
    while let Some((_, event)) = reading.next().await {
        last = Some(event);
    }
    assert!(matches!(last, Some(TurnEvent::Finish { outcome: Outcome::Finished, .. })), "{last:?}");
    shutting.await.unwrap();
    let pending: i64 =
        sqlx::query_scalar("select count(*) from ai_usage where status <> 'finished'").fetch_one(&db).await.unwrap();
    assert_eq!(pending, 0);
}
