//! The HTML view of a turn's events, and the HTML that is stored.

use crate::app::TestApp;
use crate::visitor::{TestClient, events, problem, words};
use domain::TurnEvent;
use domain::sse::{SseEvent, SseParser};
use http::StatusCode;
use reqwest::Response;
use serde_json::{Value, json};

/// A message that is answered with a text that has a table, a list and code. The words arrive as slowly as the view sends its events, so that
/// there are dozens of them, and several even if Redis takes half a second for each append.
const QUESTION: &str = "How do I **end** a lease?\nIt's urgent. {{pace:40}}";

/// Reads a response to its end.
async fn read(mut response: Response) -> Vec<SseEvent> {
    assert_eq!(response.status(), StatusCode::OK);
    let (mut parser, mut all) = (SseParser::new(), Vec::new());
    while let Some(bytes) = response.chunk().await.unwrap() {
        all.extend(parser.feed(&bytes));
    }
    all
}

fn data(event: &SseEvent) -> Value {
    serde_json::from_str(&event.data).unwrap()
}

/// Applies an event to the HTML of a response's blocks.
fn apply(blocks: &mut Vec<String>, event: &SseEvent) {
    let data = data(event);
    for update in data["updates"].as_array().into_iter().flatten() {
        let block = usize::try_from(update["block"].as_u64().unwrap()).unwrap();
        let keep = usize::try_from(update["keep"].as_u64().unwrap_or(0)).unwrap();
        blocks.resize(blocks.len().max(block + 1), String::new());
        blocks[block].truncate(keep);
        blocks[block].push_str(update["html"].as_str().unwrap());
    }
}

fn html(events: &[SseEvent]) -> String {
    let mut blocks = Vec::new();
    events.iter().for_each(|event| apply(&mut blocks, event));
    blocks.concat()
}

async fn send_for_html(ann: &TestClient, text: &str) -> Vec<SseEvent> {
    let body = json!({"model": "claude-haiku-4-5", "text": text});
    read(ann.request("POST", "/api/chat?view=html").json(&body).send().await.unwrap()).await
}

/// Field note 76: what was streamed equals what a reload shows, and so does a stream that is resumed after any event, on any server.
#[tokio::test]
async fn html_view_resumes_anywhere_and_equals_the_page() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    let all = send_for_html(&ann, QUESTION).await;
    let turn = data(&all[0]);
    assert_eq!((all[0].name.as_str(), turn["label"].as_str()), ("turn", Some("Claude Haiku 4.5")));
    let user_html = turn["user_html"].as_str().unwrap();
    assert!(user_html.contains("How do I **end** a lease?"), "typed text stays as it is: {user_html}");
    assert!(all.iter().filter(|event| event.name == "block").count() > 5, "{} events", all.len());
    assert!(all.iter().all(|event| event.name != "delta") && all.last().unwrap().name == "finish");
    let response: uuid::Uuid = app.one("select message_id from message where role = 'assistant'").await;
    assert_eq!(data(all.last().unwrap())["message_id"].as_str(), Some(response.to_string().as_str()));
    let streamed = html(&all);
    let page = ann.text(&format!("/chat/{}", turn["conversation_id"].as_str().unwrap())).await;
    for part in ["<table", "<ul", "figure class=\"code\""] {
        assert!(streamed.contains(part), "{streamed}");
    }
    assert!(page.contains(&streamed) && page.contains(user_html), "{page}");
    assert_eq!(app.one::<String>("select html from message where role = 'assistant'").await, streamed);

    let (url, _stop) = app.start_second().await;
    let there = TestClient { url, ..ann.clone() };
    let path = format!("/api/turns/{}/events?view=html", turn["turn_id"].as_str().unwrap());
    let mut blocks = Vec::new();
    for (index, event) in all.iter().enumerate() {
        apply(&mut blocks, event);
        let reader = if index % 2 == 0 { &there } else { &ann };
        let rest = read(reader.get(&format!("{path}&after={}", event.id)).await).await;
        let mut resumed = blocks.clone();
        rest.iter().for_each(|event| apply(&mut resumed, event));
        assert_eq!(resumed.concat(), streamed, "after {}", event.id);
        assert!(event.name == "finish" || rest.last().unwrap().name == "finish");
    }
    let again = read(there.get(&path).await).await;
    assert_eq!(data(&again[0]), turn, "a replay has the same first event");
    assert_eq!(html(&again), streamed);
}

/// Clients that don't ask for HTML get the text, as ever.
#[tokio::test]
async fn text_view_is_unchanged() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    let all = ann.send_and_read("{{words:9}}").await;
    let TurnEvent::Turn { turn_id, .. } = &all[0].1 else { panic!() };
    let path = format!("/api/turns/{turn_id}/events");
    assert_eq!(words(&all), app.provider.served_calls()[0].text);
    assert_eq!(events(ann.get(&path).await).await, all);
    let raw = read(ann.get(&path).await).await;
    assert!(raw.iter().all(|event| event.name != "block") && data(&raw[0]).get("user_html").is_none());
    let refused = ann.get(&format!("{path}?view=pdf")).await;
    assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(problem(refused).await["field"], "view");
}

/// Reasoning, failures and stops are events of both views.
#[tokio::test]
async fn html_view_has_reasoning_and_failures() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    let all = send_for_html(&ann, "{{reasoning:4}}{{words:6}}{{break:3}}").await;
    let names: Vec<&str> = all.iter().map(|event| event.name.as_str()).collect();
    assert!(names.contains(&"reasoning") && names.contains(&"block"), "{names:?}");
    assert_eq!(names.last(), Some(&"failed"));
    assert!(data(all.last().unwrap())["problem"]["incident"].is_string());
    assert!(html(&all).contains("word1 word2 word3"), "{all:?}");
    let ids: Vec<u64> = all.iter().map(|event| event.id.parse().unwrap()).collect();
    assert!(ids.is_sorted(), "{ids:?}");
}

/// A stream that is open when text arrives shows it before the response ends.
#[tokio::test]
async fn html_arrives_while_the_response_is_running() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    let body = json!({"model": "claude-haiku-4-5", "text": "{{words:20}}{{hold:5}}"});
    let mut response = ann.request("POST", "/api/chat?view=html").json(&body).send().await.unwrap();
    let (mut parser, mut blocks) = (SseParser::new(), Vec::<String>::new());
    let waiting = async {
        while !blocks.concat().contains("word5") {
            let bytes = response.chunk().await.unwrap().expect("the response is held");
            parser.feed(&bytes).iter().for_each(|event| apply(&mut blocks, event));
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(120), waiting).await.expect("the words arrive");
    app.provider.release();
}

/// HTML of another version of the renderer, or none, is replaced when the conversation is opened.
#[tokio::test]
async fn old_html_is_rendered_again() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    let all = send_for_html(&ann, "Hello {{words:3}}").await;
    let conversation = data(&all[0])["conversation_id"].as_str().unwrap().to_owned();
    let stored = "select string_agg(html, '' order by role) from message";
    let version = "select min(html_version)::int from message";
    let (html, current): (String, i32) = (app.one(stored).await, app.one(version).await);
    for change in ["html = 'old', html_version = 0", "html = null, html_version = null"] {
        let sql = format!("update message set {change}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&app.db).await.unwrap();
        let page = ann.text(&format!("/chat/{conversation}")).await;
        assert!(page.contains("word1 word2 word3") && page.contains("Hello"), "{change}");
        assert_eq!(
            (app.one::<String>(stored).await, app.one::<i32>(version).await),
            (html.clone(), current),
            "{change}"
        );
    }
}
