//! Responses that outlive their connection or server.

use super::begun;
use crate::app::TestApp;
use crate::visitor::{EventReader, TestClient, events};
use domain::{Outcome, TurnEvent};
use http::StatusCode;
use limits::PastCall;
use serde_json::json;
use std::time::Duration;

/// Field note 24: a silent stream sends a heartbeat at least every 15 seconds.
#[tokio::test]
async fn silent_stream_sends_a_heartbeat() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    let (mut reading, _) = begun(&ann, "{{words:4}}{{hold}}").await;
    let beating = async {
        while reading.comments == 0 {
            assert!(reading.more().await);
        }
    };
    tokio::time::timeout(Duration::from_secs(120), beating).await.expect("a heartbeat arrives");
    app.provider.release();
}

/// The events of an ended turn are replayed from any id on, also by another server, and the stream then closes. An id out of range is
/// rejected.
#[tokio::test]
async fn ended_turn_replays_and_closes() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    let all = ann.send_and_read("{{words:5}}").await;
    let TurnEvent::Turn { turn_id, .. } = &all[0].1 else { panic!() };
    let (url, _stop) = app.start_second().await;
    for visitor in [ann.clone(), TestClient { url, ..ann.clone() }] {
        for after in [0, 3, all.len(), all.len() + 7] {
            let rest = events(visitor.get(&format!("/api/turns/{turn_id}/events?after={after}")).await).await;
            assert_eq!(rest, all[after.min(all.len())..], "after {after}");
        }
        let absurd = visitor.get(&format!("/api/turns/{turn_id}/events?after=18446744073709551615")).await;
        assert_eq!(absurd.status(), StatusCode::UNPROCESSABLE_ENTITY);
    }
    assert_eq!(ann.get("/api/turns/nonsense/events").await.status(), StatusCode::NOT_FOUND);
}

/// Counts the statements by which a server looks a turn up.
const COUNTS_LOOKUPS: &str = "
    create table lookup ();
    create function count_lookup() returns boolean language plpgsql security definer as $$
    begin
      if current_query() like '%from turn where turn_id = $1%' then
        insert into lookup default values;
      end if;
      return true;
    end $$;
    create policy count_lookup on turn using (count_lookup());
    alter table turn enable row level security";

/// A turn that begins and ends after a follower has read its log, and before the follower reads its row, is followed from its log.
#[tokio::test]
async fn a_turn_that_ends_while_it_is_looked_up_is_followed() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    let all = ann.send_and_read("{{words:3}}").await;
    let TurnEvent::Turn { turn_id, .. } = &all[0].1 else { panic!() };
    let (url, _stop) = app.start_second().await;
    let there = TestClient { url, ..ann.clone() };
    // The state before its first event: the turn runs and has no log.
    let (key, mut redis) = (format!("turn:{{{turn_id}}}:log"), app.redis.clone());
    let log: Vec<String> = redis::cmd("LRANGE").arg(&key).arg(0).arg(-1).query_async(&mut redis).await.unwrap();
    let () = redis::cmd("DEL").arg(&key).query_async(&mut redis).await.unwrap();
    app.sql("update turn set ended_at = null, alive_until = now() + interval '1 hour'").await;
    app.sql(COUNTS_LOOKUPS).await;
    let path = format!("/api/turns/{turn_id}/events");
    let following = tokio::spawn(async move { events(there.get(&path).await).await });
    app.until("select count(*) >= 3 from lookup").await;
    let mut lock = app.db.begin().await.unwrap();
    sqlx::query("lock table turn in access exclusive mode").execute(&mut *lock).await.unwrap();
    app.until(
        "select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'
                          and query like '%from turn where turn_id = $1%')",
    )
    .await;
    let () = redis::cmd("RPUSH").arg(&key).arg(&log).query_async(&mut redis).await.unwrap();
    sqlx::query("update turn set ended_at = now()").execute(&mut *lock).await.unwrap();
    lock.commit().await.unwrap();
    assert_eq!(following.await.unwrap(), all);
}

/// A turn is recorded, but Redis fails before it is settled: the reaper settles it, so that the hold doesn't last for a day.
#[tokio::test]
async fn reaper_settles_an_unsettled_turn() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    ann.send_and_read("{{words:5}}").await;
    let subject: String = app.one("select subject from account").await;
    let call: String = app.one("select turn_id::text from turn").await;
    let used = ann.quota().await["tokens"]["used"].clone();
    // The state after a Redis failure between recording and settling.
    let at_ms: i64 = app.one("select (extract(epoch from created_at) * 1000)::bigint from turn").await;
    let held = PastCall { call, at_ms: at_ms as u64, amount: 900, running: true };
    app.users(None).discard(&subject).await.unwrap();
    app.users(Some(held)).peek(&subject).await.unwrap();
    assert_eq!(ann.quota().await["tokens"]["reserved"], 900);
    // The server notes settled turns once a second. The test waits for that before it clears the note.
    app.until("select meter_settled_at is not null from turn").await;
    sqlx::query("update turn set meter_settled_at = null, ended_at = ended_at - interval '1 minute'")
        .execute(&app.db)
        .await
        .unwrap();
    let (_, _stop) = app.start_second().await; // Its reaper runs at startup.
    app.until("select meter_settled_at is not null from turn").await;
    let quota = ann.quota().await;
    assert_eq!((&quota["tokens"]["reserved"], &quota["tokens"]["used"]), (&json!(0), &used));
}

/// Another server of the deployment streams the same events and can stop the turn.
#[tokio::test]
async fn another_server_can_follow_and_stop_a_turn() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    let (url, _stop) = app.start_second().await;
    let there = TestClient { url, ..ann.clone() };
    let (mut reading, turn) = begun(&ann, "{{words:20}}{{hold}}").await;
    let mut following = EventReader::new(there.get(&format!("/api/turns/{turn}/events")).await);
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

/// The pending row of a process that is gone is finalized once with status `lost`, and its hold is settled.
#[tokio::test]
async fn reaper_ends_a_lost_turn() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    ann.send_and_read("{{words:5}}").await;
    let used = ann.quota().await["tokens"]["used"].as_u64().unwrap();
    // The state after kill -9 between calling the provider and recording.
    sqlx::query(
        "with t as (insert into turn (turn_id, user_id, subject, request_hash, alive_until, created_at)
           select gen_random_uuid(), user_id, subject, '', now() + interval '1 hour', now() from account returning *)
         insert into ai_usage (ai_usage_id, turn_id, user_id, subject, model, model_price_id, status, estimated_tokens, reserved_tokens, created_at)
         select gen_random_uuid(), t.turn_id, t.user_id, t.subject, 'claude-haiku-4-5', (select model_price_id from model_price where model = 'claude-haiku-4-5'), 'pending', 100, 600, t.created_at from t",
    )
    .execute(&app.db)
    .await
    .unwrap();
    // The rebuilt meter includes the hold of the pending row.
    let key: String = app.one("select 'meter:{user:' || subject || '}' from account").await;
    let () = redis::cmd("DEL").arg(key).query_async(&mut app.redis.clone()).await.unwrap();
    assert_eq!(ann.quota().await["tokens"]["reserved"], 600);
    // Expires only now, because the reaper of the first server may run at any time.
    app.sql("update turn set alive_until = now() - interval '1 second' where ended_at is null").await;
    let (_, _stop) = app.start_second().await; // Its reaper runs at startup.
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
    tokio::time::timeout(Duration::from_secs(120), waiting).await.expect("the meter includes the lost turn");
}

/// What a summary or a title has received is in no log, so all the output that was reserved for it is charged. The prompt of a turn may have been
/// written to the provider's cache.
#[tokio::test]
async fn reaper_charges_what_may_have_been_billed() {
    let app = TestApp::new().await;
    app.user("ann@example.com").await;
    app.sql("update model set min_cacheable = 1").await;
    app.sql(
        "with t as (insert into turn (turn_id, user_id, subject, request_hash, alive_until, created_at)
           select gen_random_uuid(), user_id, subject, '', now() - interval '1 second', now() from account, generate_series(1, 3) returning *)
         insert into ai_usage (ai_usage_id, turn_id, purpose, user_id, subject, model, model_price_id, status, estimated_tokens, reserved_tokens, created_at)
         select gen_random_uuid(), t.turn_id, (array['summary', 'title', 'chat'])[(row_number() over ())::int], t.user_id, t.subject, 'claude-haiku-4-5',
                (select model_price_id from model_price where model = 'claude-haiku-4-5'), 'pending', 100, 600, t.created_at from t",
    )
    .await;
    let (_, _stop) = app.start_second().await; // Its reaper runs at startup.
    app.until("select not exists (select from ai_usage where status = 'pending')").await;
    let is_charged = "select count(*) = 3 and bool_and(status = 'lost' and cost_usd > 0 and case purpose
                        when 'chat' then (input_tokens, cache_write_tokens, output_tokens) = (0, 100, 0)
                        else (input_tokens, cache_write_tokens, output_tokens) = (100, 0, 500) end)
                      from ai_usage";
    assert!(app.one::<bool>(is_charged).await);
}

/// A turn that finishes although another server has ended it as lost, with an estimate, corrects the ledger: ledger, rollups and meter then have
/// what the provider counted.
#[tokio::test]
async fn a_lost_turn_that_finishes_corrects_the_ledger() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    let (mut reading, _) = begun(&ann, "{{words:8}}{{hold}}").await;
    // What a reaper writes, except that the turn isn't marked as ended: at its next heartbeat this server would cancel the call.
    app.sql(
        "update ai_usage set status = 'lost', usage_source = 'estimated', input_tokens = estimated_tokens, output_tokens = 900,
           cost_usd = 0.5, settled_at = now()",
    )
    .await;
    app.provider.release();
    let mut last = None;
    while let Some((_, event)) = reading.next().await {
        last = Some(event);
    }
    assert!(matches!(last, Some(TurnEvent::Failed { .. })), "{last:?}");
    let served = app.provider.served_calls().pop().unwrap();
    let (input, output): (i64, i64) =
        sqlx::query_as("select sum(input_tokens)::bigint, sum(output_tokens)::bigint from ai_usage")
            .fetch_one(&app.db)
            .await
            .unwrap();
    assert_eq!((input as u64, output as u64), (served.input, served.output));
    let is_exact = "select sum(u.cost_usd) = sum(u.input_tokens::numeric * p.input_micros_per_million
                                                 + u.output_tokens::numeric * p.output_micros_per_million) / 1000000000000
                      and count(*) = 2 and count(*) filter (where u.corrects is not null and u.usage_source = 'exact') = 1
                      and count(distinct u.created_at) = 1
                    from ai_usage u join model_price p using (model_price_id)";
    assert!(app.one::<bool>(is_exact).await);
    let is_summed = "select sum(requests) = 1 and sum(calls) = 1 and sum(cost_picos) = (select sum(cost_usd) * 1000000000000 from ai_usage)
                     from usage_hour";
    assert!(app.one::<bool>(is_summed).await);
    let quota = ann.quota().await;
    assert_eq!((&quota["tokens"]["used"], &quota["tokens"]["reserved"]), (&json!(input + output), &json!(0)));
}

#[tokio::test]
async fn shutdown_waits_for_running_turns() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    let (mut reading, _) = begun(&ann, "{{words:30}}{{pace:20}}").await;
    let shutting = tokio::spawn(app.stop_server());
    let mut last = None;
    while let Some((_, event)) = reading.next().await {
        last = Some(event);
    }
    assert!(matches!(last, Some(TurnEvent::Finish { outcome: Outcome::Finished, .. })), "{last:?}");
    let app = shutting.await.unwrap();
    assert_eq!(app.one::<i64>("select count(*) from ai_usage where status <> 'finished'").await, 0);
}
