//! The pages and forms of API keys.

use super::create;
use crate::app::TestApp;
use http::{StatusCode, header};
use sha2::{Digest as _, Sha256};

/// A key's secret is on one page only, and the database has its hash. The plan's number of keys holds for requests at the same time.
#[tokio::test]
async fn a_key_is_shown_once_and_the_plan_limits_their_number() {
    let app = TestApp::new().await;
    let mut ann = app.user("ann@example.com").await;
    let (id, secret) = create(&app, &mut ann, "Editor <b>", &[("tokens_per_day", "1000"), ("expires", "30")]).await;
    assert!(secret.starts_with("sk-") && secret.len() > 46, "{secret}");
    let page = ann.text("/settings/keys").await;
    assert!(!page.contains(&secret) && page.contains(&format!("{}…", &secret[..16])), "{page}");
    assert!(page.contains("Editor &lt;b&gt;") && !page.contains("Editor <b>"));
    assert!(
        page.contains(&format!("{}/v1/chat/completions", app.config.public_url)),
        "the snippets have this deployment's URL"
    );
    let hash: Vec<u8> = app.one("select secret_hash from api_key").await;
    assert_eq!(hash, Sha256::digest(&secret).to_vec());
    assert!(
        app.one::<bool>(
            "select expires_at between created_at + interval '29 days' and created_at + interval '31 days' from api_key"
        )
        .await
    );
    app.until("select exists (select from job where kind = 'mail' and payload->>'mail' = 'api_key_created')").await;
    assert!(app.one::<bool>("select exists (select from security_event where kind = 'api_key_created')").await);

    let refused = ann.form("/settings/keys", &[("name", "Second"), ("tokens_per_day", "12")]).await;
    assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert!(refused.text().await.unwrap().contains("Your plan allows 1 API key. Revoke one first"));
    app.plan("ann@example.com", "pro").await;
    let requests = (0..16).map(|n| {
        let mut ann = ann.clone();
        async move { ann.form("/settings/keys", &[("name", &format!("Key {n}"))]).await.status() }
    });
    let created = futures::future::join_all(requests).await.into_iter().filter(|status| *status == StatusCode::OK);
    assert_eq!(created.count(), 4);
    assert_eq!(app.one::<i64>("select count(*) from api_key").await, 5);

    // A revoked key makes room.
    let revoked = ann.form(&format!("/settings/keys/{id}/revoke"), &[]).await;
    assert_eq!(revoked.headers()[header::LOCATION], "/settings/keys?saved=key-revoked");
    create(&app, &mut ann, "Sixth", &[]).await;
    assert_eq!(ann.get(&format!("/settings/keys/{id}")).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_key_needs_a_verified_address_and_a_recent_proof_of_identity() {
    let app = TestApp::new().await;
    let mut ann = app.unverified_user("ann@example.com").await;
    assert_eq!(ann.form("/settings/keys", &[("name", "A")]).await.status(), StatusCode::FORBIDDEN);
    assert!(ann.text("/settings/keys").await.contains("Confirm your email address"));
    app.verify("ann@example.com").await;
    app.sql("update session set authenticated_at = now() - interval '11 minutes'").await;
    let asked = ann.form("/settings/keys", &[("name", "A")]).await;
    assert!(asked.headers()[header::LOCATION].to_str().unwrap().starts_with("/sign-in/confirm"));
    assert!(ann.text("/settings/keys").await.contains("/sign-in/confirm?next=/settings/keys"));
    assert_eq!(app.one::<i64>("select count(*) from api_key").await, 0);
}

/// What was entered is shown again with what is wrong with it, and a change applies to the key's row.
#[tokio::test]
async fn a_key_is_changed_paused_and_resumed() {
    let app = TestApp::new().await;
    let (mut ann, mut eve) = (app.user("ann@example.com").await, app.user("eve@example.com").await);
    let (id, _) = create(&app, &mut ann, "Editor", &[]).await;
    let path = format!("/settings/keys/{id}");
    let bad =
        [("name", "Server"), ("requests_per_minute", "0"), ("dollars_per_month", "1.234"), ("allowed_origins", "x")];
    let rejected = ann.form(&path, &bad).await;
    assert_eq!(rejected.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let page = rejected.text().await.unwrap();
    for shown in ["value=\"Server\"", "value=\"1.234\"", "Enter a whole number above zero", "Enter one per line"] {
        assert!(page.contains(shown), "{shown} in {page}");
    }
    let good = [
        ("name", "Server"),
        ("model", "claude-haiku-4-5"),
        ("endpoint", "messages"),
        ("requests_per_minute", "5"),
        ("dollars_per_month", "2.50"),
        ("allowed_origins", "https://app.example.com/"),
    ];
    assert_eq!(ann.form(&path, &good).await.status(), StatusCode::SEE_OTHER);
    let row = "select name = 'Server' and models = array['claude-haiku-4-5'] and endpoints = array['messages'] and requests_per_minute = 5
                      and dollars_per_month = 2.5 and allowed_origins = array['https://app.example.com'] and tokens_per_day is null
               from api_key";
    assert!(app.one::<bool>(row).await);
    let edit = ann.text(&path).await;
    assert!(edit.contains("value=\"2.5\"") && edit.contains("https://app.example.com"), "{edit}");

    assert!(ann.text(&format!("{path}/pause")).await.contains("Pause key"));
    for (what, column) in
        [("pause", "select paused_at is not null from api_key"), ("resume", "select paused_at is null from api_key")]
    {
        let form = format!("{path}/{what}");
        assert_eq!(eve.form(&form, &[]).await.status(), StatusCode::NOT_FOUND, "{what} of another user's key");
        assert_eq!(ann.form(&form, &[]).await.status(), StatusCode::SEE_OTHER);
        assert!(app.one::<bool>(column).await, "{what}");
    }
    for path in [path.clone(), format!("{path}/pause")] {
        assert_eq!(eve.get(&path).await.status(), StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(eve.form(&path, &good).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(eve.form(&format!("{path}/revoke"), &[]).await.status(), StatusCode::NOT_FOUND);
    assert!(app.one::<bool>("select revoked_at is null from api_key").await);
}

/// The owner sees a user's keys without their values, and can revoke them with a reason.
#[tokio::test]
async fn an_admin_revokes_a_key() {
    let app = TestApp::new().await;
    let (mut ann, mut admin) = (app.user("ann@example.com").await, app.user("admin@example.com").await);
    let (id, secret) = create(&app, &mut ann, "Editor", &[]).await;
    let user: uuid::Uuid = app.one("select user_id from account where email = 'ann@example.com'").await;
    let other: uuid::Uuid = app.one("select user_id from account where email = 'admin@example.com'").await;
    let page = admin.text(&format!("/admin/users/{user}")).await;
    assert!(page.contains("Editor") && page.contains(&secret[..16]) && !page.contains(&secret));
    let revoke = format!("/admin/users/{user}/keys/{id}/revoke");
    assert_eq!(admin.form(&revoke, &[("why", "")]).await.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let of_other = format!("/admin/users/{other}/keys/{id}/revoke");
    assert_eq!(admin.form(&of_other, &[("why", "leaked")]).await.status(), StatusCode::NOT_FOUND);
    assert!(app.one::<bool>("select revoked_at is null from api_key").await);
    assert_eq!(admin.form(&revoke, &[("why", "leaked")]).await.status(), StatusCode::SEE_OTHER);
    let audited =
        "select exists (select from audit where action = 'revoke_api_key' and why = 'leaked' and after = 'revoked')
                          and (select revoked_at is not null from api_key)";
    assert!(app.one::<bool>(audited).await);

    let plan = [
        ("requests", "10"),
        ("tokens", "50000"),
        ("in_flight", "2"),
        ("max_output", "4096"),
        ("model", "claude-haiku-4-5"),
        ("api_keys", "0"),
    ];
    assert_eq!(admin.form("/admin/plans/free", &plan).await.status(), StatusCode::SEE_OTHER);
    let refused = ann.form("/settings/keys", &[("name", "Next")]).await;
    assert!(refused.text().await.unwrap().contains("Your plan doesn"));
    let page = ann.text("/settings/keys").await;
    assert!(page.contains("See larger plans") && !page.contains("Revoke one"), "{page}");
}

/// Usage is split by chat and key, on the user's page and in the file.
#[tokio::test]
async fn usage_is_split_by_chat_and_key() {
    let app = TestApp::new().await;
    let mut ann = app.user("ann@example.com").await;
    ann.send_and_read("{{words:3}}").await;
    assert!(!ann.text("/usage").await.contains("By chat and API key"));
    let (id, _) = create(&app, &mut ann, "Editor", &[]).await;
    for key in [id, uuid::Uuid::now_v7()] {
        let copy = "insert into ai_usage (ai_usage_id, turn_id, purpose, user_id, subject, model, model_price_id, status, usage_source, input_tokens,
                                          output_tokens, estimated_tokens, reserved_tokens, cost_usd, created_at, settled_at, api_key_id)
                    select gen_random_uuid(), gen_random_uuid(), 'api', user_id, subject, model, model_price_id, 'finished', 'exact', 7, 3, 7, 10,
                           0.5, created_at, settled_at, $1 from ai_usage where purpose = 'chat'";
        sqlx::query(copy).bind(key).execute(&app.db).await.unwrap();
    }
    let page = ann.text("/usage").await;
    for shown in ["By chat and API key", "Chat", "Editor", "Deleted key"] {
        assert!(page.contains(shown), "{shown}");
    }
    let csv = ann.text("/usage.csv?days=7").await;
    assert!(csv.lines().next().unwrap().ends_with("corrects,api_key_id,api_key"), "{csv}");
    assert_eq!(csv.lines().filter(|line| line.ends_with(&format!("{id},Editor"))).count(), 1, "{csv}");
    let keys = ann.text("/settings/keys").await;
    assert!(keys.contains("Last 30 days: 1 call, 10 tokens"), "{keys}");
}
