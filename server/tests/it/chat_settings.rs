//! Instructions, presets, settings of conversations, temporary chats, retention, and comments on responses.

use crate::app::TestApp;
use crate::visitor::{TestClient, events, problem};
use domain::TurnEvent;
use http::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

const UNKNOWN: &str = "0193a000-0000-7000-8000-000000000000";

/// Sends a message and returns its turn and conversation.
async fn send(user: &TestClient, body: Value) -> (Uuid, Uuid) {
    let response = user.post(&body).await;
    assert_eq!(response.status(), StatusCode::OK, "{body}");
    let all = events(response).await;
    let TurnEvent::Turn { turn_id, conversation_id, .. } = &all[0].1 else { panic!("{all:?}") };
    ((*turn_id).into(), (*conversation_id).into())
}

fn words(text: &str) -> u64 {
    text.split_whitespace().count() as u64
}

async fn estimate(user: &TestClient, body: Value) -> u64 {
    let response = user.request("POST", "/api/estimate").json(&body).send().await.unwrap();
    response.json::<Value>().await.unwrap()["input_tokens"].as_u64().unwrap()
}

/// What a user and a conversation instruct is sent, and is part of the estimate, of the reservation and of the bill.
#[tokio::test]
async fn instructions_are_sent_estimated_and_reserved() {
    let app = TestApp::new().await;
    let (mut ann, eve) = (app.user("ann@example.com").await, app.user("eve@example.com").await);
    let plain = json!({"model": "claude-haiku-4-5", "text": "{{words:2}}"});
    let before = estimate(&ann, plain.clone()).await;
    send(&ann, plain.clone()).await;
    let saved =
        ann.form("/settings/chat/instructions", &[("account_instructions", "Call me Ann.\r\nBe brief. ")]).await;
    assert_eq!(saved.headers()["location"], "/settings/chat?saved=instructions");
    assert!(ann.text("/settings/chat").await.contains("Call me Ann.\nBe brief.</textarea>"));
    let own = estimate(&ann, plain.clone()).await;
    let mut with_settings = plain.clone();
    with_settings["settings"] = json!({"instructions": "Answer in rhymes", "answer_length": "short"});
    let both = estimate(&ann, with_settings.clone()).await;
    assert!(before < own && own < both, "{before} {own} {both}");
    let (turn, conversation) = send(&ann, with_settings).await;
    let served = app.provider.served_calls();
    let added = "Instructions of the user for all conversations: Call me Ann. Be brief. Instructions of the user for this conversation: \
                 Answer in rhymes Keep answers short: a few sentences, at most 120 words.";
    assert_eq!(served[1].input - served[0].input, words(added));
    assert_eq!((served[0].max_output, served[1].max_output), (4_096, 512), "the length caps the output");
    let row = "select estimated_tokens, reserved_tokens, input_tokens from ai_usage where turn_id = $1";
    let row: (i64, i64, i64) = sqlx::query_as(row).bind(turn).fetch_one(&app.db).await.unwrap();
    assert_eq!(row, (both as i64, both as i64 + 512, served[1].input as i64));
    // The conversation keeps its settings.
    send(&ann, json!({"conversation_id": conversation, "text": "{{words:2}}"})).await;
    let served = app.provider.served_calls();
    assert_eq!((served[2].max_output, served[2].model.as_str()), (512, "claude-haiku-4-5"));
    // Other users have none of this.
    send(&eve, plain).await;
    assert_eq!(app.provider.served_calls()[3].input, served[0].input);
    let long = "x".repeat(4_001);
    let refused = ann.form("/settings/chat/instructions", &[("account_instructions", &long)]).await;
    assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let page = refused.text().await.unwrap();
    assert!(page.contains("Use at most 4,000 characters") && page.contains(&long), "what was entered is kept");
}

#[tokio::test]
async fn a_conversation_remembers_model_and_settings_and_belongs_to_its_user() {
    let app = TestApp::new().await;
    let (mut ann, mut eve) = (app.user("ann@example.com").await, app.user("eve@example.com").await);
    app.sql("update model set efforts = '{low,high}' where model = 'gpt-5-mini'").await;
    let (_, id) = send(&ann, json!({"model": "gpt-5-mini", "effort": "high", "text": "{{words:2}}"})).await;
    let page = ann.text(&format!("/chat/{id}")).await;
    assert!(page.contains("data-chosen=\"gpt-5-mini\"") && page.contains("data-chosen=\"high\""), "{page}");
    send(&ann, json!({"conversation_id": id, "text": "{{words:2}}"})).await;
    let served = app.provider.served_calls().remove(1);
    assert_eq!((served.model.as_str(), served.effort.as_deref()), ("gpt-5-mini", Some("high")));
    // A request that names a model says what its effort is.
    send(&ann, json!({"conversation_id": id, "model": "gpt-5-mini", "text": "{{words:2}}"})).await;
    assert_eq!(app.provider.served_calls().remove(2).effort, None);
    let path = format!("/chat/{id}/settings");
    let fields =
        [("instructions", "Rhyme"), ("model", "claude-haiku-4-5"), ("effort", ""), ("answer_length", "medium")];
    assert_eq!(eve.form(&path, &fields).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(ann.form(&path, &fields).await.headers()["location"], format!("/chat/{id}").as_str());
    let stored = "select concat_ws(' ', instructions, model, effort, answer_length) from conversation";
    assert_eq!(app.one::<String>(stored).await, "Rhyme claude-haiku-4-5 medium");
    for (name, value, message) in [
        ("model", "claude-opus-4-7", "isn&#x27;t included in your plan"),
        ("model", "nothing", "This model doesn&#x27;t exist"),
        ("effort", "high", "Claude Haiku 4.5 has no adjustable reasoning effort"),
        ("answer_length", "endless", "Choose an answer length"),
    ] {
        let changed = fields.map(|(field, old)| (field, if field == name { value } else { old }));
        let refused = ann.form(&path, &changed).await;
        assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY, "{value}");
        let page = refused.text().await.unwrap();
        assert!(page.contains(message) || page.contains(&message.replace("&#x27;", "'")), "{value}: {page}");
        assert!(page.contains("Rhyme</textarea>"), "what was entered is kept");
    }
    assert_eq!(app.one::<String>(stored).await, "Rhyme claude-haiku-4-5 medium");
    assert_eq!(ann.form(&format!("/chat/{UNKNOWN}/settings"), &fields).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn presets_are_created_used_changed_and_deleted_by_their_user_only() {
    let app = TestApp::new().await;
    let (mut ann, mut eve) = (app.user("ann@example.com").await, app.user("eve@example.com").await);
    let fields = |name: &'static str| [("name", name), ("instructions", "Be formal"), ("answer_length", "short")];
    let created = ann.form("/settings/chat/presets", &fields("Letters")).await;
    assert_eq!(created.headers()["location"], "/settings/chat?saved=preset");
    let taken = ann.form("/settings/chat/presets", &fields("LETTERS")).await;
    assert_eq!(taken.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert!(taken.text().await.unwrap().contains("another preset with this name"));
    let blank = ann.form("/settings/chat/presets", &fields(" ")).await;
    assert!(blank.text().await.unwrap().contains("Enter a name"));
    let preset: Uuid = app.one("select preset_id from preset").await;
    let (_, id) = send(&ann, json!({"model": "claude-haiku-4-5", "text": "{{words:2}}"})).await;
    let (of_ann, of_eve) = (format!("/chat/{id}/settings"), send(&eve, json!({"text": "{{words:2}}"})).await.1);
    let chosen = preset.to_string();
    assert_eq!(ann.form(&of_ann, &[("preset", &chosen)]).await.status(), StatusCode::SEE_OTHER);
    assert_eq!(app.one::<i64>("select count(*) from conversation where instructions = 'Be formal'").await, 1);
    assert_eq!(
        eve.form(&format!("/chat/{of_eve}/settings"), &[("preset", &chosen)]).await.status(),
        StatusCode::NOT_FOUND
    );
    assert!(ann.text(&format!("/chat?preset={preset}")).await.contains("Be formal</textarea>"));
    assert_eq!(eve.get(&format!("/chat?preset={preset}")).await.status(), StatusCode::NOT_FOUND);
    let path = format!("/settings/chat/presets/{preset}");
    assert_eq!(eve.form(&path, &fields("Mine")).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(eve.form(&format!("{path}/delete"), &[]).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(ann.form(&path, &fields("Formal letters")).await.status(), StatusCode::SEE_OTHER);
    assert!(ann.text("/settings/chat").await.contains("Formal letters"));
    assert_eq!(ann.form(&format!("{path}/delete"), &[]).await.status(), StatusCode::SEE_OTHER);
    assert_eq!(app.one::<i64>("select count(*) from preset").await, 0);
    // The maximum holds for requests at the same time.
    app.sql(
        "insert into preset (preset_id, user_id, name, created_at)
         select gen_random_uuid(), user_id, 'p' || n, now() from account, generate_series(1, 48) n where email = 'ann@example.com'",
    )
    .await;
    let more = (0..16).map(|n| {
        let mut ann = ann.clone();
        async move { ann.form("/settings/chat/presets", &[("name", &format!("more {n}"))]).await.status() }
    });
    let statuses = futures::future::join_all(more).await;
    let created = statuses.iter().filter(|status| **status == StatusCode::SEE_OTHER).count();
    assert_eq!((created, app.one::<i64>("select count(*) from preset").await), (2, 50), "{statuses:?}");
}

#[tokio::test]
async fn a_temporary_chat_is_not_listed_and_ends() {
    let app = TestApp::new().await;
    let (mut ann, mut eve) = (app.user("ann@example.com").await, app.user("eve@example.com").await);
    assert!(ann.text("/chat?temporary=yes").await.contains("data-temporary"));
    let body = json!({"model": "claude-haiku-4-5", "text": "{{words:2}} secret", "temporary": true});
    let (_, id) = send(&ann, body.clone()).await;
    let page = ann.text("/chat").await;
    assert!(!page.contains(&id.to_string()), "not listed");
    let page = ann.text(&format!("/chat/{id}")).await;
    assert!(page.contains("Temporary chat: not in your list") && page.contains(&format!("/chat/{id}/end")));
    assert_eq!(app.one::<String>("select title from conversation").await, "Temporary chat");
    // Neither when it is open, nor if it is pinned or archived.
    for path in ["pin", "archive"] {
        ann.form(&format!("/chat/{id}/{path}"), &[("on", "true")]).await;
        for list in [format!("/chat/list?current={id}"), "/chat/archived".to_owned()] {
            assert!(!ann.text(&list).await.contains(&id.to_string()), "{list} after {path}");
        }
    }
    let mut later = body;
    later["conversation_id"] = json!(id);
    assert_eq!(problem(ann.post(&later).await).await["field"], "temporary");
    let used = ann.quota().await["tokens"]["used"].clone();
    assert_eq!(eve.form(&format!("/chat/{id}/end"), &[]).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(ann.form(&format!("/chat/{id}/end"), &[]).await.headers()["location"], "/chat");
    assert_eq!(app.one::<i64>("select count(*) from message").await, 0);
    assert_eq!(
        (&ann.quota().await["tokens"]["used"], app.one::<i64>("select count(*) from ai_usage").await),
        (&used, 1)
    );
    let (_, kept) = send(&ann, json!({"model": "claude-haiku-4-5", "text": "{{words:2}}"})).await;
    assert_eq!(ann.form(&format!("/chat/{kept}/end"), &[]).await.status(), StatusCode::NOT_FOUND, "it isn't temporary");
}

/// The smaller number of days of plan and deployment applies. The job runs when a server starts, and then every hour.
#[tokio::test]
async fn conversations_are_erased_after_their_days() {
    let app = TestApp::new().await;
    let (mut admin, ann) = (app.user("admin@example.com").await, app.user("ann@example.com").await);
    assert!(ann.text("/settings/data").await.contains("kept until you delete them"));
    for (plan, days) in [("", "30"), ("free", "10"), ("pro", "")] {
        let saved = admin.form("/admin/retention", &[("plan", plan), ("days", days)]).await;
        assert_eq!(saved.headers()["location"], "/admin/plans?saved=yes");
    }
    for days in ["0", "3651", "a week"] {
        let refused = admin.form("/admin/retention", &[("plan", "free"), ("days", days)]).await;
        assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY, "{days}");
    }
    assert_eq!(
        admin.form("/admin/retention", &[("plan", "none"), ("days", "1")]).await.status(),
        StatusCode::NOT_FOUND
    );
    assert_eq!(app.one::<i64>("select count(*) from audit where action = 'set_retention'").await, 2);
    assert!(ann.text("/settings/data").await.contains("permanently deleted 10 days after its last message"));
    app.plan("admin@example.com", "pro").await;
    app.sql(
        "insert into conversation (conversation_id, user_id, title, updated_at, is_temporary)
         select gen_random_uuid(), user_id, plan_id || ' ' || age || case when is_temporary then ' temporary' else '' end,
                now() - make_interval(days => age), is_temporary
         from account, unnest(array[2, 9, 11, 29, 31]) age, unnest(array[true, false]) is_temporary;
         insert into conversation (conversation_id, user_id, title, updated_at, is_temporary)
         select gen_random_uuid(), user_id, 'recent', now() - interval '23 hours', true from account where plan_id = 'free'",
    )
    .await;
    let (_, stop) = app.start_second().await;
    app.until("select count(*) = 7 from conversation").await;
    let left = app.one::<String>("select string_agg(title, ', ' order by title) from conversation").await;
    assert_eq!(left, "free 2, free 9, pro 11, pro 2, pro 29, pro 9, recent");
    stop.cancel();
}

/// A conversation that is continued while the job erases is kept.
#[tokio::test]
async fn a_conversation_that_is_continued_meanwhile_is_kept() {
    let app = TestApp::new().await.stop_server().await;
    app.sql(
        "insert into account (user_id, email, password_hash, subject) values (gen_random_uuid(), 'ann@example.com', '', 'ann');
         insert into conversation (conversation_id, user_id, title, updated_at, is_temporary)
         select gen_random_uuid(), user_id, 'Old', now() - interval '2 days', true from account",
    )
    .await;
    let mut turn = app.db.begin().await.unwrap();
    sqlx::query("update conversation set updated_at = now()").execute(&mut *turn).await.unwrap();
    let db = app.store.clone();
    let erasing = tokio::spawn(async move {
        store::retention::erase_expired(&db, time::OffsetDateTime::now_utc(), 10).await.unwrap()
    });
    app.until(
        "select count(*) = 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
    )
    .await;
    turn.commit().await.unwrap();
    assert_eq!(erasing.await.unwrap(), 0);
}

/// Deleting a conversation or an account finds the rows that refer to it by an index, except in tables that stay small.
#[tokio::test]
async fn rows_of_conversations_and_accounts_are_found_by_an_index() {
    let app = TestApp::new().await;
    let without_index =
        "select string_agg(k.conrelid::regclass || '.' || a.attname, ', ' order by k.conrelid::regclass::text)
         from pg_constraint k join pg_attribute a on a.attrelid = k.conrelid and a.attnum = k.conkey[1]
         where k.contype = 'f' and k.conparentid = 0
           and k.confrelid in ('account'::regclass, 'conversation'::regclass, 'message'::regclass)
           and not exists (select from pg_index i where i.indrelid = k.conrelid and i.indkey[0] = k.conkey[1])";
    let without_index: String = app.one(without_index).await;
    assert_eq!(without_index, "audit.actor_id, billing_flag.user_id, factor_challenge.user_id");
}

/// Comments are shown to the owner as text, and outlive their conversation but not their user.
#[tokio::test]
async fn the_owner_reads_comments_on_responses() {
    let app = TestApp::new().await;
    let (ann, eve, admin) =
        (app.user("ann@example.com").await, app.user("eve@example.com").await, app.user("admin@example.com").await);
    let (turn, _) = send(&ann, json!({"model": "claude-haiku-4-5", "text": "{{words:2}}"})).await;
    let rate = async |user: &TestClient, body: Value| {
        let request = user.request("POST", &format!("/api/turns/{turn}/feedback")).json(&body);
        request.send().await.unwrap()
    };
    let comment = "<b>Wrong</b> figures";
    let sent = rate(&ann, json!({"good": false, "comment": comment})).await;
    assert_eq!(sent.status(), StatusCode::NO_CONTENT);
    let stored = "select coalesce(comment, 'none') from feedback";
    assert_eq!(rate(&ann, json!({"good": true})).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(app.one::<String>(stored).await, comment, "a change of the rating keeps the comment");
    assert_eq!(rate(&eve, json!({"good": true, "comment": "mine"})).await.status(), StatusCode::NOT_FOUND);
    let long = problem(rate(&ann, json!({"good": true, "comment": "x".repeat(2_001)})).await).await;
    assert_eq!(long["field"], "comment");
    app.sql("delete from conversation").await;
    let page = admin.text("/admin/models").await;
    assert!(page.contains("&lt;b&gt;Wrong&lt;/b&gt; figures") && page.contains("ann@example.com"), "{page}");
    assert_eq!(ann.get("/admin/models").await.status(), StatusCode::NOT_FOUND);
    app.sql("delete from account where email = 'ann@example.com'").await;
    assert!(!admin.text("/admin/models").await.contains("figures"));
}
