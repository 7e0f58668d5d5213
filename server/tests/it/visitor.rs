//! An HTTP client with a session cookie, and parsing of a response's events.

use domain::sse::SseParser;
use domain::{TurnEvent, brand};
use http::StatusCode;
use reqwest::{Client, RequestBuilder, Response, header};
use serde_json::{Value, json};
use std::time::Duration;

/// An HTTP client that keeps its cookies and follows no redirects.
#[derive(Clone)]
pub struct TestClient {
    pub url: String,
    pub client: Client,
    /// The session's cookie.
    pub cookie: Option<String>,
    /// The cookie by which the server recognizes the browser.
    pub browser: Option<String>,
}

impl TestClient {
    /// Builds a request with the cookies.
    pub fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let request = self.client.request(method.parse().unwrap(), format!("{}{path}", self.url));
        let cookies: Vec<&str> = [&self.cookie, &self.browser].into_iter().flatten().map(String::as_str).collect();
        match cookies.is_empty() {
            true => request,
            false => request.header(header::COOKIE, cookies.join("; ")),
        }
    }

    /// Stores the browser cookie of a response.
    pub fn keep_browser(&mut self, response: &Response) {
        for cookie in response.headers().get_all(header::SET_COOKIE) {
            let pair = cookie.to_str().unwrap().split(';').next().unwrap();
            if pair.contains("browser=") {
                self.browser = Some(pair.to_owned());
            }
        }
    }

    pub async fn get(&self, path: &str) -> Response {
        self.request("GET", path).send().await.unwrap()
    }

    pub async fn text(&self, path: &str) -> String {
        let response = self.get(path).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.text().await.unwrap()
    }

    /// Submits a form and stores the session cookie of the response. The form of the sign-up has the current version of the terms, unless
    /// `fields` has another.
    pub async fn form(&mut self, path: &str, fields: &[(&str, &str)]) -> Response {
        let mut fields = fields.to_vec();
        if path == "/sign-up" && !fields.iter().any(|(name, _)| *name == "terms") {
            fields.push(("terms", brand::TERMS_VERSION));
        }
        let response = self.request("POST", path).form(&fields).send().await.unwrap();
        for cookie in response.headers().get_all(header::SET_COOKIE) {
            let pair = cookie.to_str().unwrap().split(';').next().unwrap();
            if pair.contains("session=") {
                self.cookie = Some(pair.to_owned());
            }
        }
        response
    }

    pub async fn quota(&self) -> Value {
        self.get("/api/quota").await.json().await.unwrap()
    }

    /// Sends a chat request with this body.
    pub async fn post(&self, body: &Value) -> Response {
        self.request("POST", "/api/chat").json(body).send().await.unwrap()
    }

    /// Sends a chat request with a turn id until the meters have decided on it, and returns that response. On a busy machine they may take longer
    /// than a decision may. The refusal then says when to send the request again, and so does that of a repetition while what an earlier one has
    /// reserved hasn't lapsed. Panics after 120 s.
    pub async fn post_until_decided(&self, body: &Value) -> Response {
        let sending = async {
            loop {
                let response = self.post(body).await;
                if response.status() != StatusCode::SERVICE_UNAVAILABLE {
                    return response;
                }
                let headers = response.headers().clone();
                let bytes = response.bytes().await.unwrap();
                let refusal: Value = serde_json::from_slice(&bytes).unwrap_or_default();
                let problem = &refusal["problem"];
                let is_decided = !matches!(
                    problem["kind"].as_str(),
                    Some("limits_unavailable" | "model_unavailable" | "overloaded")
                );
                if is_decided {
                    let mut same = http::Response::new(bytes);
                    *same.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                    *same.headers_mut() = headers;
                    return same.into();
                }
                let pause = problem["retry_after_ms"].as_u64().expect("a time to send it again");
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(120), sending).await.expect("the meters decide within 120 s")
    }

    /// Like [`Self::post`], with owned arguments for concurrent requests.
    pub async fn post_owned(self, body: Value) -> Response {
        self.post(&body).await
    }

    /// Sends a message to Claude Haiku 4.5 in a new conversation.
    pub async fn send_message(&self, text: &str) -> Response {
        self.post(&json!({"model": "claude-haiku-4-5", "text": text})).await
    }

    /// Sends a message and returns all events of the response.
    pub async fn send_and_read(&self, text: &str) -> Vec<(u64, TurnEvent)> {
        let response = self.send_message(text).await;
        assert_eq!(response.status(), StatusCode::OK);
        events(response).await
    }
}

/// Reads a response to the end and returns its events.
pub async fn events(response: Response) -> Vec<(u64, TurnEvent)> {
    let mut reading = EventReader::new(response);
    let mut all = Vec::new();
    while let Some(event) = reading.next().await {
        all.push(event);
    }
    all
}

/// A response that is read event by event.
pub struct EventReader {
    response: Response,
    parser: SseParser,
    ready: std::collections::VecDeque<(u64, TurnEvent)>,
    /// Number of comment lines received, which are heartbeats.
    pub comments: usize,
}

impl EventReader {
    pub fn new(response: Response) -> Self {
        Self { response, parser: SseParser::new(), ready: Default::default(), comments: 0 }
    }

    /// Reads one chunk of bytes. Returns false at the end of the response.
    pub async fn more(&mut self) -> bool {
        let Ok(Some(bytes)) = self.response.chunk().await else {
            return false;
        };
        self.comments += bytes.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b":")).count();
        for event in self.parser.feed(&bytes) {
            let data: Value = serde_json::from_str(&event.data).unwrap();
            let parsed = serde_json::from_value(json!({"event": event.name, "data": data})).unwrap();
            self.ready.push_back((event.id.parse().unwrap(), parsed));
        }
        true
    }

    pub async fn next(&mut self) -> Option<(u64, TurnEvent)> {
        while self.ready.is_empty() {
            if !self.more().await {
                return None;
            }
        }
        self.ready.pop_front()
    }
}

/// Concatenates the text of a response's deltas.
pub fn words(events: &[(u64, TurnEvent)]) -> String {
    events
        .iter()
        .filter_map(|(_, event)| if let TurnEvent::Delta { text } = event { Some(text.as_str()) } else { None })
        .collect()
}

/// Parses the problem of a refused request.
pub async fn problem(response: Response) -> Value {
    response.json::<Value>().await.unwrap()["problem"].take()
}
