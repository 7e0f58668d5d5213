//! Attached files: what is accepted, what models read of them, what they cost, and to whom they belong.

use crate::app::TestApp;
use crate::visitor::{TestClient, events, problem};
use domain::{TurnEvent, UsageSource};
use futures::future::join_all;
use http::StatusCode;
use reqwest::Response;
use resvg::tiny_skia::{Color, Pixmap};
use serde_json::{Value, json};

/// Returns a PNG of one color.
pub fn png(width: u32, height: u32) -> Vec<u8> {
    let mut pixels = Pixmap::new(width, height).unwrap();
    pixels.fill(Color::from_rgba8(200, 30, 30, 255));
    pixels.encode_png().unwrap()
}

/// Returns a PDF with one line of text and further entries of its catalog.
pub fn pdf(text: &str, catalog: &str) -> Vec<u8> {
    let content = format!("BT /F1 12 Tf 72 720 Td ({text}) Tj ET");
    let objects = [
        format!("<< /Type /Catalog /Pages 2 0 R {catalog} >>"),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>".to_owned(),
        format!("<< /Length {} >>\nstream\n{content}\nendstream", content.len()),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>".to_owned(),
    ];
    let (mut out, mut offsets) = ("%PDF-1.4\n".to_owned(), Vec::new());
    for (index, object) in objects.iter().enumerate() {
        offsets.push(out.len());
        out.push_str(&format!("{} 0 obj\n{object}\nendobj\n", index + 1));
    }
    let start = out.len();
    out.push_str("xref\n0 6\n0000000000 65535 f \n");
    offsets.iter().for_each(|offset| out.push_str(&format!("{offset:010} 00000 n \n")));
    out.push_str(&format!("trailer\n<< /Size 6 /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n"));
    out.into_bytes()
}

async fn upload(user: &TestClient, name: &str, bytes: Vec<u8>) -> Response {
    let name: String = form_urlencoded::byte_serialize(name.as_bytes()).collect();
    user.request("POST", &format!("/api/attachments?name={name}")).body(bytes).send().await.unwrap()
}

/// Uploads a file that is accepted.
pub async fn uploaded(user: &TestClient, name: &str, bytes: Vec<u8>) -> Value {
    let response = upload(user, name, bytes).await;
    let status = response.status();
    let answer: Value = response.json().await.unwrap();
    assert_eq!(status, StatusCode::OK, "{name}: {answer}");
    answer
}

/// A turn with an image, a PDF and a text file, with both wire formats: models read them, the estimate covers the bill, the ledger equals it,
/// and the next turn sends the image again.
#[tokio::test]
async fn files_are_read_by_models_and_priced_like_text() {
    for model in ["claude-haiku-4-5", "gpt-5-mini"] {
        let app = TestApp::new().await;
        let ann = app.user("ann@example.com").await;
        let image = uploaded(&ann, "photo.png", png(900, 700)).await;
        assert_eq!((&image["kind"], &image["width"], &image["height"]), (&json!("image"), &json!(900), &json!(700)));
        let document = uploaded(&ann, "lease.pdf", pdf("The notice period is three months", "")).await;
        let text = uploaded(&ann, "../notes.md", b"# Notes\r\nRent: 900".to_vec()).await;
        assert_eq!(
            (&document["kind"], &text["kind"], &text["name"]),
            (&json!("pdf"), &json!("text"), &json!("notes.md"))
        );
        let ids = json!([image["attachment_id"], document["attachment_id"], text["attachment_id"]]);
        let draft = json!({"model": model, "text": "{{words:3}} What is in these files?", "attachments": ids});
        let estimate = ann.request("POST", "/api/estimate").json(&draft).send().await.unwrap();
        let estimate: Value = estimate.json().await.unwrap();
        let answer = events(ann.post(&draft).await).await;
        let Some((_, TurnEvent::Finish { usage, usage_source, .. })) = answer.last() else { panic!("{answer:?}") };
        let served = app.provider.served_calls().remove(0);
        assert!(app.provider.violations().is_empty(), "{:?}", app.provider.violations());
        assert_eq!((served.total(), *usage_source), (usage.counted().0, UsageSource::Exact));
        assert!(estimate["input_tokens"].as_u64().unwrap() >= served.input, "{estimate} for {served:?}");
        assert!(image["tokens"][model].as_u64().unwrap() > 500);
        let question = served.sent.last().unwrap();
        assert_eq!(question.images, ["image/png"]);
        for part in ["What is in these files?", "\"lease.pdf\"", "three months", "\"notes.md\"", "Rent: 900"] {
            assert!(question.text.contains(part), "{part} in {}", question.text);
        }
        let stored: String = app.one("select body from message where role = 'user'").await;
        assert!(!stored.contains("Rent: 900"), "the message itself is what the user wrote");
        let conversation: uuid::Uuid = app.one("select conversation_id from conversation").await;
        let page = ann.text(&format!("/chat/{conversation}")).await;
        assert!(
            page.contains(&format!("/attachments/{}", image["attachment_id"].as_str().unwrap()))
                && page.contains("lease.pdf")
        );
        let next = json!({"model": model, "text": "{{words:2}} And now?", "conversation_id": conversation});
        events(ann.post(&next).await).await;
        let again = app.provider.served_calls().remove(1);
        assert_eq!(
            (again.sent[0].images.as_slice(), again.sent[0].text.contains("three months")),
            (question.images.as_slice(), true)
        );
        let (sum, bill): (i64, u64) = (
            app.one("select sum(input_tokens + cache_read_tokens + cache_write_tokens + output_tokens)::bigint from ai_usage").await,
            app.provider.served_calls().iter().map(fakes::Served::total).sum(),
        );
        assert_eq!(u64::try_from(sum).unwrap(), bill);
        let mut ann = ann;
        ann.form(&format!("/chat/{conversation}/delete"), &[]).await;
        let path = format!("/attachments/{}", image["attachment_id"].as_str().unwrap());
        assert_eq!(ann.get(&path).await.status(), StatusCode::NOT_FOUND, "hidden with the conversation");
        app.sql("delete from conversation where deleted_at is not null").await;
        assert_eq!(app.one::<i64>("select count(*) from attachment_data").await, 0, "erased with the conversation");
    }
}

/// What a hostile file gets is a sentence, and nothing of it is stored.
#[tokio::test]
async fn hostile_files_are_refused_in_words() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    let mut huge = png(1, 1);
    huge[16..24].copy_from_slice(&[0, 0, 0xc3, 0x50, 0, 0, 0xc3, 0x50]);
    let script = "/OpenAction << /S /JavaScript /JS (app.alert\\(1\\)) >>";
    for (name, bytes, status, sentence) in [
        ("bomb.png", huge, StatusCode::UNPROCESSABLE_ENTITY, "image"),
        ("script.pdf", pdf("text", script), StatusCode::UNPROCESSABLE_ENTITY, "scripts"),
        ("scan.pdf", pdf(" ", ""), StatusCode::UNPROCESSABLE_ENTITY, "no text"),
        ("broken.pdf", b"%PDF-1.7 nothing".to_vec(), StatusCode::UNPROCESSABLE_ENTITY, "damaged"),
        (
            "a.svg",
            b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>".to_vec(),
            StatusCode::UNPROCESSABLE_ENTITY,
            "SVG",
        ),
        ("a.txt", b"PK\x03\x04\0\0\0\0".to_vec(), StatusCode::UNPROCESSABLE_ENTITY, "supported"),
        ("empty.txt", Vec::new(), StatusCode::UNPROCESSABLE_ENTITY, "empty"),
        ("large.txt", vec![b'a'; 20_000_001], StatusCode::PAYLOAD_TOO_LARGE, "20 MB"),
        ("words.txt", vec![b'a'; 2_000_001], StatusCode::UNPROCESSABLE_ENTITY, "2 MB of text"),
    ] {
        let response = upload(&ann, name, bytes).await;
        assert_eq!(response.status(), status, "{name}");
        let message = problem(response).await["message"].as_str().unwrap().to_owned();
        assert!(message.contains(sentence), "{name}: {message}");
    }
    assert_eq!(app.one::<i64>("select count(*) from attachment").await, 0);
    // A picture with another file behind it is stored without that.
    let polyglot = [png(8, 8).as_slice(), b"<script>alert(1)</script>"].concat();
    let file = uploaded(&ann, "..\\<b>.html", polyglot).await;
    assert_eq!(file["name"], "b.html");
    let shown = ann.get(&format!("/attachments/{}", file["attachment_id"].as_str().unwrap())).await;
    let header = |name: &str| shown.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(
        (header("content-type"), header("x-content-type-options")),
        ("image/png".to_owned(), "nosniff".to_owned())
    );
    assert!(
        header("content-security-policy").contains("sandbox") && header("content-disposition").starts_with("inline")
    );
    assert!(!shown.bytes().await.unwrap().windows(8).any(|part| part == b"<script>"));
    let page = uploaded(&ann, "page.html", b"<!doctype html><script>alert(1)</script>".to_vec()).await;
    let shown = ann.get(&format!("/attachments/{}", page["attachment_id"].as_str().unwrap())).await;
    assert_eq!(shown.headers()["content-type"], "text/plain; charset=utf-8");
    assert!(shown.headers()["content-disposition"].to_str().unwrap().starts_with("attachment"));
}

/// The plan's storage holds however many uploads arrive at once.
#[tokio::test]
async fn storage_is_limited_under_parallel_uploads() {
    let app = TestApp::new().await;
    let mut ann = app.user("ann@example.com").await;
    app.sql("update plan set storage_bytes = 1050").await;
    let all = join_all((0..64).map(|n| upload(&ann, "a.txt", format!("{n:0100}").into_bytes()))).await;
    let accepted = all.iter().filter(|response| response.status() == StatusCode::OK).count();
    let refused = all.iter().filter(|response| response.status() == StatusCode::PAYLOAD_TOO_LARGE).count();
    assert_eq!((accepted, refused), (10, 54));
    assert_eq!(app.one::<i64>("select sum(bytes)::bigint from attachment").await, 1_000);
    let response = upload(&ann, "b.txt", vec![b'b'; 51]).await;
    let refusal = problem(response).await;
    assert!(
        refusal["kind"] == "too_large" && refusal["message"].as_str().unwrap().contains("storage is full"),
        "{refusal}"
    );
    assert!(ann.text("/settings/data").await.contains("1 kB of 1.1 kB used"));
    let id: uuid::Uuid = app.one("select attachment_id from attachment limit 1").await;
    let deleted = ann.request("DELETE", &format!("/api/attachments/{id}")).send().await.unwrap();
    assert_eq!(deleted.status(), StatusCode::NO_CONTENT);
    uploaded(&ann, "b.txt", vec![b'b'; 51]).await;
    // Files that were never sent are deleted after a day.
    app.sql("update attachment set created_at = now() - interval '25 hours'").await;
    store::attachment::sweep(&app.store, time::OffsetDateTime::now_utc() - time::Duration::DAY).await.unwrap();
    assert_eq!(app.one::<i64>("select count(*) from attachment").await, 0);
    uploaded(&ann, "c.txt", b"kept with the account".to_vec()).await;
    ann.form("/settings/delete", &[("password", crate::app::PASSWORD)]).await;
    assert_eq!(
        app.one::<i64>("select (select count(*) from attachment) + (select count(*) from attachment_data)").await,
        0
    );
}

/// Another user's file doesn't exist, and no file is sent twice.
#[tokio::test]
async fn files_belong_to_one_user_and_one_message() {
    let app = TestApp::new().await;
    let (ann, bob) = (app.user("ann@example.com").await, app.user("bob@example.com").await);
    let file = uploaded(&ann, "a.txt", b"secret".to_vec()).await;
    let id = file["attachment_id"].as_str().unwrap();
    assert_eq!(bob.get(&format!("/attachments/{id}")).await.status(), StatusCode::NOT_FOUND);
    // A large file is sent in pieces.
    let long = "A line of a long file.\n".repeat(30_000).into_bytes();
    let large = uploaded(&ann, "long.txt", long.clone()).await;
    let shown = ann.get(&format!("/attachments/{}", large["attachment_id"].as_str().unwrap())).await;
    assert_eq!(shown.headers()["content-length"], long.len().to_string().as_str());
    assert!(shown.bytes().await.unwrap() == long);
    let deleted = bob.request("DELETE", &format!("/api/attachments/{id}")).send().await.unwrap();
    assert_eq!(deleted.status(), StatusCode::NOT_FOUND);
    let message = json!({"model": "claude-haiku-4-5", "text": "{{words:2}}", "attachments": [id]});
    assert_eq!(bob.post(&message).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(app.one::<i64>("select count(*) from message").await, 0);
    assert_eq!(app.visitor().post(&message).await.status(), StatusCode::UNAUTHORIZED);
    for (attachments, status) in [
        (json!([id, id]), StatusCode::UNPROCESSABLE_ENTITY),
        (json!(vec![id; 11]), StatusCode::UNPROCESSABLE_ENTITY),
        (json!([uuid::Uuid::now_v7()]), StatusCode::NOT_FOUND),
    ] {
        let mut bad = message.clone();
        bad["attachments"] = attachments;
        assert_eq!(ann.post(&bad).await.status(), status, "{bad}");
    }
    // Two messages with the same file at once: one of them is sent.
    let sent = join_all((0..2).map(|_| ann.post(&message))).await;
    let mut statuses: Vec<u16> = sent.iter().map(|response| response.status().as_u16()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 404]);
    join_all(sent.into_iter().filter(|response| response.status() == StatusCode::OK).map(events)).await;
    let deleted = ann.request("DELETE", &format!("/api/attachments/{id}")).send().await.unwrap();
    assert_eq!(deleted.status(), StatusCode::NOT_FOUND, "a sent file is deleted with its conversation");
}

/// Nothing is lost when a message isn't accepted, and a model that reads no images says so before anything is written.
#[tokio::test]
async fn files_of_a_refused_message_can_be_sent_again() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    let file = uploaded(&ann, "a.png", png(40, 30)).await;
    let message =
        |model: &str, text: &str| json!({"model": model, "text": text, "attachments": [file["attachment_id"]]});
    app.sql("update model set takes_images = false where model = 'gpt-5-mini'").await;
    let refused = problem(ann.post(&message("gpt-5-mini", "hi")).await).await;
    assert_eq!((&refused["kind"], &refused["field"]), (&json!("invalid"), &json!("attachments")));
    assert!(refused["message"].as_str().unwrap().contains("doesn't read images"), "{refused}");
    assert_eq!(ann.post(&message("claude-haiku-4-5", "{{status:400}}")).await.status(), StatusCode::BAD_GATEWAY);
    app.until("select count(*) = 1 from attachment where message_id is null").await;
    let answer = events(ann.post(&message("claude-haiku-4-5", "{{words:2}}")).await).await;
    assert!(matches!(answer.last(), Some((_, TurnEvent::Finish { .. }))), "{answer:?}");
    // A model that reads no images is sent the names of earlier ones.
    let conversation: uuid::Uuid = app.one("select conversation_id from conversation").await;
    let next = json!({"model": "gpt-5-mini", "text": "{{words:2}}", "conversation_id": conversation});
    events(ann.post(&next).await).await;
    let sent = app.provider.served_calls().pop().unwrap().sent;
    assert!(sent[0].images.is_empty() && sent[0].text.contains("\"a.png\""), "{sent:?}");
}

/// An edited message keeps the files of its first version, for the model, the page and an export, without another copy of them.
#[tokio::test]
async fn an_edited_message_keeps_its_files() {
    let app = TestApp::new().await;
    app.limits("free", 1_000, 10_000_000, 10).await;
    let (ann, eve) = (app.user("ann@example.com").await, app.user("eve@example.com").await);
    let image = uploaded(&ann, "a.png", png(40, 30)).await;
    let notes = uploaded(&ann, "notes.txt", b"Rent: 900".to_vec()).await;
    let ids = json!([image["attachment_id"], notes["attachment_id"]]);
    let model = "claude-haiku-4-5";
    events(ann.post(&json!({"model": model, "text": "{{words:1}} first", "attachments": ids})).await).await;
    let chat: uuid::Uuid = app.one("select conversation_id from conversation").await;
    for text in ["second", "third"] {
        // The version that is shown is edited.
        let shown: uuid::Uuid =
            app.one("select message_id from message where role = 'user' order by message_id desc limit 1").await;
        let edit = json!({"model": model, "text": format!("{{{{words:1}}}} {text}"), "conversation_id": chat, "parent_id": "root", "edit_of": shown});
        events(ann.post(&edit).await).await;
        let sent = app.provider.served_calls().pop().unwrap().sent;
        assert_eq!((sent.len(), sent[0].images.as_slice()), (1, ["image/png".to_owned()].as_slice()));
        assert!(sent[0].text.contains(text) && sent[0].text.contains("Rent: 900"), "{sent:?}");
        let page = ann.text(&format!("/chat/{chat}/messages")).await;
        assert!(page.contains(text) && page.contains("notes.txt"), "{page}");
    }
    events(ann.post(&json!({"model": model, "text": "{{words:1}} next", "conversation_id": chat})).await).await;
    assert_eq!(app.provider.served_calls().pop().unwrap().sent[0].images, ["image/png"]);
    assert!(ann.text(&format!("/chat/{chat}/export?format=md")).await.contains("File: notes.txt"));
    assert_eq!(app.one::<i64>("select count(*) from attachment").await, 2);
    // Only a version of a question of the same conversation has its files.
    let answer: uuid::Uuid = app.one("select message_id from message where role = 'assistant' limit 1").await;
    let first: uuid::Uuid =
        app.one("select message_id from message where role = 'user' order by message_id limit 1").await;
    events(eve.post(&json!({"model": model, "text": "{{words:1}}"})).await).await;
    let hers: uuid::Uuid = app
        .one("select conversation_id from conversation join account using (user_id) where email = 'eve@example.com'")
        .await;
    let body = |chat: uuid::Uuid, parent: Value, edited: uuid::Uuid| json!({"model": model, "text": "hi", "conversation_id": chat, "parent_id": parent, "edit_of": edited});
    assert_eq!(eve.post(&body(hers, json!("root"), first)).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(ann.post(&body(chat, json!("root"), answer)).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(ann.post(&body(chat, json!(answer), first)).await.status(), StatusCode::CONFLICT);
}

/// With an object store, the bytes are there and nowhere else, and they are deleted with their conversation.
#[tokio::test]
async fn files_are_kept_in_an_object_store() {
    let objects = fakes::FakeObjects::start(([127, 0, 0, 1], 0).into()).await.unwrap();
    let url = objects.url();
    let app = TestApp::with(&[("OBJECT_STORE_URL", url.as_str())]).await;
    let mut ann = app.user("ann@example.com").await;
    let file = uploaded(&ann, "a.png", png(40, 30)).await;
    let id = file["attachment_id"].as_str().unwrap();
    assert_eq!(objects.keys(), [format!("bucket/chat/{id}")]);
    assert_eq!(app.one::<i64>("select count(*) from attachment_data").await, 0);
    let shown = ann.get(&format!("/attachments/{id}")).await.bytes().await.unwrap();
    assert_eq!(shown.len() as u64, file["bytes"].as_u64().unwrap());
    let message = json!({"model": "claude-haiku-4-5", "text": "{{words:2}}", "attachments": [id]});
    events(ann.post(&message).await).await;
    assert_eq!(app.provider.served_calls()[0].sent[0].images, ["image/png"]);
    let conversation: uuid::Uuid = app.one("select conversation_id from conversation").await;
    ann.form(&format!("/chat/{conversation}/delete"), &[]).await;
    app.sql("delete from conversation where deleted_at is not null").await;
    assert_eq!(app.one::<i64>("select count(*) from deleted_object").await, 1);
    // Every server sweeps when it starts.
    app.start_second().await;
    app.until("select count(*) = 0 from deleted_object").await;
    assert!(objects.keys().is_empty());
}

/// An object that can't be deleted doesn't block the others, and is tried again later.
#[tokio::test]
async fn an_object_that_cannot_be_deleted_is_skipped() {
    let objects = fakes::FakeObjects::start(([127, 0, 0, 1], 0).into()).await.unwrap();
    let url = objects.url();
    let app = TestApp::with(&[("OBJECT_STORE_URL", url.as_str())]).await;
    let ann = app.user("ann@example.com").await;
    for name in ["a.png", "b.png", "c.png"] {
        uploaded(&ann, name, png(8, 8)).await;
    }
    let locked = objects.keys().remove(0);
    objects.refuse_to_delete(Some(&locked));
    app.sql("delete from attachment").await;
    app.start_second().await;
    app.until("select count(*) = 1 and bool_and(attempts = 1 and retry_at > now()) from deleted_object").await;
    assert_eq!(objects.keys(), [locked]);
    objects.refuse_to_delete(None);
    app.sql("update deleted_object set retry_at = now()").await;
    app.start_second().await;
    app.until("select count(*) = 0 from deleted_object").await;
    assert!(objects.keys().is_empty());
}

/// The images of running turns have a bound over all users. A turn beyond it is refused before anything is reserved.
#[tokio::test]
async fn images_of_running_turns_are_bounded() {
    let app = TestApp::with(&[("IMAGE_MEMORY_MIB", "20")]).await;
    app.limits("free", 1_000, 10_000_000, 10).await;
    let (ann, bob) = (app.user("ann@example.com").await, app.user("bob@example.com").await);
    let (hers, his) = (uploaded(&ann, "a.png", png(8, 8)).await, uploaded(&bob, "b.png", png(8, 8)).await);
    app.sql("update attachment set bytes = 15000000").await;
    let message = |text: &str, file: &Value| json!({"model": "claude-haiku-4-5", "text": text, "attachments": [file["attachment_id"]]});
    let running = tokio::spawn(ann.clone().post_owned(message("{{late}}{{words:2}}", &hers)));
    app.until("select count(*) = 1 from ai_usage where status = 'pending'").await;
    let response = bob.post(&message("{{words:1}}", &his)).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(response.headers().contains_key("retry-after"));
    assert_eq!(problem(response).await["kind"], "overloaded");
    assert_eq!(app.one::<i64>("select count(*) from ai_usage").await, 1);
    assert_eq!(bob.quota().await["in_flight"]["now"], 0);
    events(bob.post(&json!({"model": "claude-haiku-4-5", "text": "{{words:1}} without"})).await).await;
    app.provider.release();
    let answer = events(running.await.unwrap()).await;
    assert!(matches!(answer.last(), Some((_, TurnEvent::Finish { .. }))), "{answer:?}");
    let answer = events(bob.post(&message("{{words:1}}", &his)).await).await;
    assert!(matches!(answer.last(), Some((_, TurnEvent::Finish { .. }))), "{answer:?}");
}
