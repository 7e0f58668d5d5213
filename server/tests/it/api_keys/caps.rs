//! The caps of a key in the meters, over two servers that share Redis and the database.

use super::create;
use crate::app::TestApp;
use domain::{ApiKeyId, ModelName, Picos, Tokens, TurnId, Viewer};
use quota::{Caps, Demand, KeyCaps, KeyLimit, Quotas, Refused, Settings, Spent, Verdict, key_quota_of};
use time::OffsetDateTime;
use uuid::Uuid;

const CENT: Picos = Picos(10_000_000_000);

/// The meters of one more server.
fn quotas(app: &TestApp) -> Quotas {
    let settings =
        Settings { redis_url: app.config.redis_url.as_deref(), name: "caps".to_owned(), now: OffsetDateTime::now_utc };
    Quotas::new(settings, &app.store).unwrap()
}

async fn viewer(app: &TestApp, email: &str) -> Viewer {
    let id = sqlx::query_scalar::<_, Uuid>("select user_id from account where email = $1");
    let id = id.bind(email).fetch_one(&app.db).await.unwrap();
    store::account::viewer(&app.store, id.into()).await.unwrap().unwrap()
}

fn caps(key: KeyCaps) -> Caps {
    Caps { key: Some(key), ..Caps::default() }
}

fn demand(input: u64, output: u64) -> Demand {
    Demand { input, output_min: output, output_max: output }
}

/// Field notes 1 and 2 for keys: 64 calls at the same time on two servers never exceed a cap of the key, and a refused key takes nothing from
/// its user's meter, nor a refused user from the key's.
#[tokio::test]
async fn parallel_calls_on_two_servers_never_exceed_a_cap_of_the_key() {
    let app = TestApp::new().await;
    app.limits("free", 1_000, 1_000_000, 1_000).await;
    let mut ann = app.user("ann@example.com").await;
    let (id, _) = create(&app, &mut ann, "Editor", &[]).await;
    let (viewer, servers) = (viewer(&app, "ann@example.com").await, [quotas(&app), quotas(&app)]);
    let id = ApiKeyId::from(id);
    let none = KeyCaps::without_caps(id);
    for (key, limit, fitting) in [
        (KeyCaps { requests_per_minute: Some(7), ..none }, KeyLimit::Requests, 7),
        (KeyCaps { tokens_per_day: Some(Tokens(1_000)), ..none }, KeyLimit::Tokens, 10),
        (KeyCaps { monthly: Some(Picos(5 * CENT.0)), ..none }, KeyLimit::Dollars, 5),
    ] {
        let caps = caps(key);
        let calls = (0..64).map(|n: usize| {
            servers[n % 2].admit(&viewer, TurnId::at(OffsetDateTime::now_utc()), demand(60, 40), CENT, &caps)
        });
        let (mut granted, mut refused) = (Vec::new(), 0);
        for verdict in futures::future::join_all(calls).await {
            match verdict.unwrap() {
                Verdict::Granted(reservation) => granted.push(reservation),
                Verdict::Refused(Refused::Key { limit: found, retry_after_ms }) => {
                    assert!(found == limit && retry_after_ms > 0, "{found:?}");
                    refused += 1;
                }
                _ => panic!("not by the key"),
            }
        }
        assert_eq!((granted.len(), refused), (fitting, 64 - fitting), "{limit:?}");
        let user = servers[0].peek(&viewer.subject).await.unwrap();
        assert_eq!(user.in_flight, fitting as u64, "a refused key takes nothing from its user");
        for reservation in granted {
            servers[1].release(reservation).await.unwrap();
        }
        let key_meter = servers[0].peek_key(id).await.unwrap();
        assert_eq!((key_meter.in_flight, key_meter.window(1).reserved, key_meter.window(2).reserved), (0, 0, 0));
    }

    // A refused user takes nothing from the key.
    app.limits("free", 1_000, 10, 1_000).await;
    let viewer = self::viewer(&app, "ann@example.com").await;
    let refused =
        servers[0].admit(&viewer, TurnId::at(OffsetDateTime::now_utc()), demand(60, 40), CENT, &caps(none)).await;
    assert!(matches!(refused.unwrap(), Verdict::Refused(Refused::TooLarge { .. } | Refused::Limit { .. })));
    assert_eq!(servers[0].peek_key(id).await.unwrap().window(1).reserved, 0);
}

/// Field note 3 for keys: a lost meter is rebuilt from the ledger by the key's id, running calls included, and holds of a process that is gone
/// are settled by the turn's id.
#[tokio::test]
async fn a_lost_meter_of_a_key_is_rebuilt_from_the_ledger() {
    let app = TestApp::new().await;
    let mut ann = app.user("ann@example.com").await;
    let (key, _) = create(&app, &mut ann, "Editor", &[]).await;
    ann.send_and_read("{{words:3}}").await;
    let rows = "insert into ai_usage (ai_usage_id, turn_id, purpose, user_id, subject, model, model_price_id, status, usage_source, input_tokens,
                                      output_tokens, estimated_tokens, reserved_tokens, cost_usd, created_at, settled_at, api_key_id)
                select gen_random_uuid(), gen_random_uuid(), 'api', user_id, subject, model, model_price_id,
                       case when hours = 0 then 'pending' else 'finished' end, case when hours = 0 then null else 'exact' end,
                       case when hours = 0 then 0 else 60 end, case when hours = 0 then 0 else 40 end, 60, 100,
                       case when hours = 0 then 0 else 0.01 end, now() - make_interval(hours => hours),
                       case when hours = 0 then null else now() end, $1
                from ai_usage, unnest(array[0, 2, 48]) hours where purpose = 'chat'";
    sqlx::query(rows).bind(key).execute(&app.db).await.unwrap();
    let (quotas, id) = (quotas(&app), ApiKeyId::from(key));
    let caps_of_key = KeyCaps { tokens_per_day: Some(Tokens(1_000)), monthly: Some(CENT), ..KeyCaps::without_caps(id) };
    let meter = quotas.peek_key(id).await.unwrap();
    assert_eq!((meter.in_flight, meter.window(1).used, meter.window(1).reserved), (1, 100, 100));
    assert_eq!(meter.window(2).used, 20_000_000, "two cents in 30 days, in nano-dollars");
    assert_eq!(key_quota_of(&caps_of_key, &meter).tokens.unwrap().remaining, 800);
    assert_eq!(quotas.key_drift(id).await.unwrap(), None);

    // The chat isn't the key's.
    let other = quotas.peek_key(ApiKeyId::at(OffsetDateTime::now_utc())).await.unwrap();
    assert_eq!((other.in_flight, other.window(1).used), (0, 0));

    let (turn, subject, at): (Uuid, String, OffsetDateTime) =
        sqlx::query_as("select turn_id, subject, created_at from ai_usage where status = 'pending'")
            .fetch_one(&app.db)
            .await
            .unwrap();
    let spent = Spent::on(Tokens(80), ModelName("claude-haiku-4-5".to_owned()), CENT);
    for _ in 0..2 {
        quotas.settle_by_id(&subject, turn.into(), at, &spent, &caps(caps_of_key)).await.unwrap();
    }
    let meter = quotas.peek_key(id).await.unwrap();
    assert_eq!((meter.in_flight, meter.window(1).used, meter.window(1).reserved), (0, 180, 0));

    // A call that has been running for hours is found by its turn. The row above is still pending in the ledger.
    let running = "with begun as (
           insert into turn (turn_id, user_id, subject, request_hash, alive_until, created_at)
           select gen_random_uuid(), user_id, subject, ''::bytea, now() + interval '10 minutes', now() - interval '3 hours' from account
           returning turn_id, user_id, subject, created_at
         )
         insert into ai_usage (ai_usage_id, turn_id, purpose, user_id, subject, model, model_price_id, status, estimated_tokens,
                               reserved_tokens, created_at, api_key_id)
         select gen_random_uuid(), begun.turn_id, 'api', begun.user_id, begun.subject, chat.model, chat.model_price_id, 'pending', 60, 100,
                begun.created_at, $1
         from begun, ai_usage chat where chat.purpose = 'chat'";
    sqlx::query(running).bind(key).execute(&app.db).await.unwrap();
    quotas.discard_key(id).await.unwrap();
    let meter = quotas.peek_key(id).await.unwrap();
    assert_eq!((meter.in_flight, meter.window(1).used, meter.window(1).reserved), (2, 100, 200));
}

/// Idle keys are listed in rounds that continue one another, so that each key's meter is compared with the ledger.
#[tokio::test]
async fn rounds_of_idle_keys_cover_all() {
    let app = TestApp::new().await;
    app.sql("update plan set api_keys = 2").await;
    let mut ann = app.user("ann@example.com").await;
    let (one, _) = create(&app, &mut ann, "One", &[]).await;
    let (two, _) = create(&app, &mut ann, "Two", &[]).await;
    ann.send_and_read("{{words:3}}").await;
    let rows = "insert into ai_usage (ai_usage_id, turn_id, purpose, user_id, subject, model, model_price_id, status, usage_source, input_tokens,
                                      output_tokens, estimated_tokens, reserved_tokens, cost_usd, created_at, settled_at, api_key_id)
                select gen_random_uuid(), gen_random_uuid(), 'api', user_id, subject, model, model_price_id, 'finished', 'exact', 60, 40, 60, 100,
                       0.01, now() - interval '2 hours', now() - interval '1 hour', id
                from ai_usage, unnest($1::uuid[]) id where purpose = 'chat'";
    sqlx::query(rows).bind(vec![one, two]).execute(&app.db).await.unwrap();
    let now = OffsetDateTime::now_utc();
    let mut keys = store::idle::IdleKeys::default();
    let mut rounds = Vec::new();
    for _ in 0..4 {
        rounds.push(keys.next_round(&app.store, now - time::Duration::hours(25), now, 1).await.unwrap());
    }
    let [one, two] = [one, two].map(ApiKeyId::from);
    assert_eq!(rounds, [vec![one], vec![two], vec![], vec![one]]);
}
