//! Floods of connections and of large bodies.

use crate::app::TestApp;
use crate::visitor::{events, problem};
use futures::future::join_all;
use http::StatusCode;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Opens a connection, requests `/healthz` and returns the raw response.
async fn healthz(address: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// Field note 103: silent connections use up the connection cap. A new connection gets 503, and is accepted once a slot is free. The long
/// run waits until the server closes the silent connections.
#[tokio::test]
async fn silent_connections_are_capped_and_closed() {
    let app = TestApp::new().await;
    let (url, stop) = app.start_second_with(|config| config.max_connections = Some(8)).await;
    let address = url.strip_prefix("http://").unwrap();
    let mut silent = Vec::new();
    while silent.len() < 8 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let refused = healthz(address).await;
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("retry-after: 5"), "{refused}");
    if !crate::settings::is_long() {
        drop(silent.split_off(4));
    }
    let waiting = async { while !healthz(address).await.starts_with("HTTP/1.1 200 ") {} };
    tokio::time::timeout(std::time::Duration::from_secs(120), waiting).await.expect("a connection slot becomes free");
    stop.cancel();
}

/// Field notes 66 and 106: a free account that floods the token estimate with megabytes is refused with `Retry-After` once its budget is used,
/// before its texts are read or counted. Other users are unaffected.
#[tokio::test]
async fn large_texts_have_a_budget_per_user() {
    let app = TestApp::new().await;
    let (ann, bob) = (app.user("ann@example.com").await, app.user("bob@example.com").await);
    let body = json!({"text": "word ".repeat(300_000)}).to_string();
    let estimate =
        || ann.request("POST", "/api/estimate").header("content-type", "application/json").body(body.clone()).send();
    let answers: Vec<_> = join_all((0..24).map(|_| estimate())).await.into_iter().map(Result::unwrap).collect();
    let (refused, counted): (Vec<_>, Vec<_>) =
        answers.into_iter().partition(|answer| answer.status() == StatusCode::TOO_MANY_REQUESTS);
    // The budget holds one of them. Another fits after each quarter of a minute.
    assert!((1..=4).contains(&counted.len()), "{} were counted", counted.len());
    for answer in refused {
        assert!(answer.headers().contains_key("retry-after"));
        assert_eq!(problem(answer).await["kind"], "attempts_limit");
    }
    events(bob.send_message("{{words:2}}").await).await;
    // A text larger than any prompt of the plan is refused for its size.
    let huge = json!({"text": "x".repeat(3 << 20)}).to_string();
    let answer = ann.request("POST", "/api/estimate").body(huge).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

/// A refused estimate that isn't large keeps its connection: a new one would cost more than reading the body.
#[tokio::test]
async fn refused_estimates_keep_their_connection() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    let body = json!({"text": "word ".repeat(20_000)}).to_string();
    let request = format!(
        "POST /api/estimate HTTP/1.1\r\nhost: x\r\ncookie: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        ann.cookie.as_deref().unwrap(),
        body.len()
    );
    let estimate =
        || ann.request("POST", "/api/estimate").header("content-type", "application/json").body(body.clone()).send();
    while estimate().await.unwrap().status() != StatusCode::TOO_MANY_REQUESTS {}
    let mut stream = TcpStream::connect(app.url.strip_prefix("http://").unwrap()).await.unwrap();
    let (mut refused, mut piece) = (0, vec![0; 64 * 1024]);
    for n in 0..40 {
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        // The end of both responses: of a problem, and of an estimate, one of which fits from time to time.
        while !answer.ends_with("}}") {
            let length = stream.read(&mut piece).await.unwrap();
            assert!(length > 0, "the connection was closed after {n} requests: {answer}");
            answer.push_str(&String::from_utf8_lossy(&piece[..length]));
        }
        refused += usize::from(answer.starts_with("HTTP/1.1 429 ") && answer.contains("attempts_limit"));
    }
    assert!(refused > 0);
}
