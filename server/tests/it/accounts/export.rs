//! The export of everything that belongs to an account, and deletion without a password.

use super::external::{self, Browser};
use super::{factors, is_limited, redirect};
use crate::app::TestApp;
use crate::attachments::uploaded;
use crate::visitor::TestClient;
use http::{StatusCode, header};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{Cursor, Read as _};

/// Downloads an export and returns its files.
async fn export(client: &TestClient) -> BTreeMap<String, String> {
    let response = client.request("POST", "/settings/data/export").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/zip");
    assert_eq!(response.headers()[header::CACHE_CONTROL], "private, no-store");
    assert!(!response.headers().contains_key(header::CONTENT_ENCODING), "compressed once");
    let name = response.headers()[header::CONTENT_DISPOSITION].to_str().unwrap().to_owned();
    assert!(name.starts_with("attachment; filename=\"data-20") && name.ends_with(".zip\""), "{name}");
    let bytes = response.bytes().await.unwrap();
    let mut zip = zip::ZipArchive::new(Cursor::new(bytes.to_vec())).unwrap();
    let mut files = BTreeMap::new();
    for index in 0..zip.len() {
        let mut file = zip.by_index(index).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert!(files.insert(file.name().to_owned(), text).is_none(), "names are unique");
    }
    files
}

fn json(files: &BTreeMap<String, String>, name: &str) -> Value {
    serde_json::from_str(&files[name]).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A conversation with an awkward title and 2 000 messages, some of them large.
const LONG: &str = "
    insert into conversation (conversation_id, user_id, title)
    select gen_random_uuid(), user_id, '../../etc: \"passwd\"' || chr(10) || 'ü' from account where email = 'ann@example.com';
    insert into message (message_id, parent_id, conversation_id, turn_id, role, body, status, model, created_at)
    select ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid,
           case when n > 1 then ('00000000-0000-7000-8000-' || lpad((n - 1)::text, 12, '0'))::uuid end, conversation_id, gen_random_uuid(),
           case when n % 2 = 1 then 'user' else 'assistant' end, 'message ' || n || repeat(' word', case when n % 100 = 0 then 100000 else 1 end),
           'finished', case when n % 2 = 0 then 'claude-haiku-4-5' end, now()
    from conversation, generate_series(1, 2000) n where title like '..%';
    -- A response that was regenerated is a version beside the one that the page shows.
    insert into message (message_id, parent_id, conversation_id, turn_id, role, body, status, created_at)
    select gen_random_uuid(), ('00000000-0000-7000-8000-' || lpad('1999', 12, '0'))::uuid, conversation_id, gen_random_uuid(), 'assistant',
           'another version', 'finished', now()
    from conversation where title like '..%';
    update conversation set leaf_id = ('00000000-0000-7000-8000-' || lpad('2000', 12, '0'))::uuid where title like '..%'";

#[tokio::test]
async fn everything_of_a_user_is_exported_and_nothing_of_others() {
    let app = TestApp::new().await;
    let (ann, bob) = (app.user("ann@example.com").await, app.user("bob@example.com").await);
    ann.send_and_read("A question of ann {{words:3}}").await;
    bob.send_and_read("A secret of bob {{words:3}}").await;
    uploaded(&ann, "plan.md", b"# Plan of ann".to_vec()).await;
    uploaded(&bob, "plan.md", b"# Plan of bob".to_vec()).await;
    app.sql(LONG).await;
    let files = export(&ann).await;
    assert_eq!(files["attachments/001-plan.md"], "# Plan of ann");
    assert_eq!(json(&files, "attachments.json")[0]["path"], "attachments/001-plan.md");
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    for name in [
        "README.txt",
        "account.json",
        "api_keys.json",
        "attachments.json",
        "billing.json",
        "chat_settings.json",
        "ratings.json",
        "security_events.json",
        "sessions.json",
        "shared_links.json",
        "usage.csv",
        "ways_to_sign_in.json",
    ] {
        assert!(names.contains(&name) && (name == "README.txt" || files["README.txt"].contains(name)), "{name}");
    }
    let folder: Vec<&&str> = names.iter().filter(|name| name.starts_with("conversations/")).collect();
    assert_eq!(folder.len(), 4, "{names:?}");
    assert!(folder.iter().all(|name| name.matches('/').count() == 1 && !name.contains("..")), "{folder:?}");
    assert!(files.values().all(|text| !text.contains("bob")), "nothing of bob's");

    let account = json(&files, "account.json");
    assert_eq!((&account["email"], &account["has_password"]), (&"ann@example.com".into(), &true.into()));
    assert!(account["email_verified_at"].is_string() && account["created_at"].is_string());
    assert_eq!(account["terms_version"], domain::brand::TERMS_VERSION);
    assert!(account["terms_accepted_at"].is_string());
    assert_eq!(json(&files, "sessions.json").as_array().unwrap().len(), 1);
    assert!(json(&files, "security_events.json").as_array().unwrap().iter().any(|event| event["kind"] == "sign_in"));
    assert_eq!(json(&files, "billing.json")["subscriptions"], Value::Array(Vec::new()));
    assert_eq!(files["usage.csv"].lines().count(), 2, "a head and one call");

    let of = |ending: &str| {
        let mut found = files.iter().filter(|(name, text)| name.ends_with(ending) && text.contains("message 1999"));
        found.next().unwrap_or_else(|| panic!("no long conversation among {names:?}"))
    };
    let (name, markdown) = of(".md");
    assert!(name.contains("etc-passwd-ü") && markdown.starts_with("# ../../etc: \"passwd\" ü\n"), "{name}");
    assert_eq!(markdown.matches("\n## ").count(), 2_000, "the versions that the page shows");
    let conversation: Value = serde_json::from_str(of(".json").1).unwrap();
    let messages = conversation["messages"].as_array().unwrap();
    assert_eq!(messages.len(), 2_001, "every version");
    assert!(messages.iter().any(|message| message["text"] == "another version"));
    assert_eq!(conversation["leaf_id"], "00000000-0000-7000-8000-000000002000");
    let shown = messages.iter().filter(|message| message["text"] != "another version");
    for (n, message) in (1..).zip(shown) {
        let text = message["text"].as_str().unwrap();
        assert!(text.starts_with(&format!("message {n} word")), "{n}: in order, each once");
        let parent = (n > 1).then(|| format!("00000000-0000-7000-8000-{:012}", n - 1));
        assert_eq!(message["parent_id"].as_str(), parent.as_deref(), "{n}");
    }
    let asked = files.iter().filter(|(name, text)| name.ends_with(".md") && text.contains("A question of ann"));
    assert_eq!(asked.count(), 1);
    for secret in ["password_hash", "argon2", "token_hash"] {
        assert!(files.values().all(|text| !text.contains(secret)), "{secret}");
    }
}

#[tokio::test]
async fn ways_to_sign_in_are_exported_without_their_keys() {
    let (app, _issuer) = external::start().await;
    let mut ann = Browser::of(&app, app.user("ann@example.com").await);
    app.user("bob@example.com").await;
    app.sql(
        "insert into passkey (credential_id, passkey_id, user_id, name, credential, created_at)
         select convert_to(email, 'UTF8'), gen_random_uuid(), user_id, 'Key of ' || email, '{\"key\": \"of a passkey\"}',
                '2026-01-02 03:04:05Z' from account;
         insert into identity (issuer, subject, user_id, email, created_at, last_used_at)
         select 'https://gone.example', email, user_id, null, '2026-01-02 03:04:05Z', now() from account
         where email like 'ann%'",
    )
    .await;
    let name = "ways_to_sign_in.json";
    let mut expected = json!({
        "identities": [{ "provider": "https://gone.example", "email": null, "connected_at": "2026-01-02T03:04:05Z" }],
        "passkeys": [
            { "name": "Key of ann@example.com", "created_at": "2026-01-02T03:04:05Z", "last_used_at": null },
        ],
        "has_authenticator_app": false,
    });
    assert_eq!(json(&export(&ann.client).await, name), expected);

    let back = ann.leave("/settings/identities/acme/link", &[]).await;
    assert_eq!(redirect(&ann.get(&back).await), "/settings/security?saved=connected");
    factors::set_up(&mut ann.client).await;
    app.sql(
        "update passkey set last_used_at = '2026-02-03 00:00:00Z';
         update identity set created_at = '2026-01-03 00:00:00Z' where email is not null",
    )
    .await;
    let connected = json!({ "provider": "Acme", "email": "ann@example.com", "connected_at": "2026-01-03T00:00:00Z" });
    expected["identities"].as_array_mut().unwrap().push(connected);
    expected["passkeys"][0]["last_used_at"] = json!("2026-02-03T00:00:00Z");
    expected["has_authenticator_app"] = json!(true);
    let files = export(&ann.client).await;
    assert_eq!(json(&files, name), expected);
    for secret in ["of a passkey", "secret_encrypted", "code_hash", "bob"] {
        assert!(files.values().all(|text| !text.contains(secret)), "{secret}");
    }
}

#[tokio::test]
async fn exports_are_limited_and_need_a_session() {
    let app = TestApp::new().await;
    let mut ann = app.user("ann@example.com").await;
    assert_eq!(redirect(&app.visitor().form("/settings/data/export", &[]).await), "/sign-in");
    let opened = ann.get("/settings/data/export").await;
    assert_eq!(opened.status(), StatusCode::METHOD_NOT_ALLOWED, "no link starts one");
    assert!(opened.text().await.unwrap().contains("Page not found"), "a browser gets a page");
    for _ in 0..20 {
        assert!(export(&ann).await.contains_key("account.json"));
    }
    is_limited(ann.form("/settings/data/export", &[]).await).await;
}

/// An account without a password is deleted after a recent proof of identity only.
#[tokio::test]
async fn an_account_without_a_password_is_deleted_after_a_recent_proof() {
    let app = TestApp::new().await;
    let mut ann = app.user("ann@example.com").await;
    assert!(ann.text("/settings/data").await.contains("Confirm with your password"));
    app.sql(
        "update account set password_hash = null; update session set authenticated_at = now() - interval '11 minutes'",
    )
    .await;
    let page = ann.text("/settings/data").await;
    assert!(!page.contains("Confirm with your password") && page.contains("/sign-in/confirm?next=/settings/data"));
    for password in ["", "correct horse"] {
        let asked = ann.form("/settings/delete", &[("password", password)]).await;
        assert_eq!(redirect(&asked), "/sign-in/confirm?next=/settings/data");
    }
    assert_eq!(app.one::<i64>("select count(*) from account").await, 1);
    app.sql("update session set authenticated_at = now()").await;
    assert!(!ann.text("/settings/data").await.contains("/sign-in/confirm"));
    assert_eq!(redirect(&ann.form("/settings/delete", &[]).await), "/");
    assert_eq!(app.one::<i64>("select count(*) from account").await, 0);
    app.until("select count(*) = 1 from job where payload->>'mail' = 'account_deleted'").await;
}
