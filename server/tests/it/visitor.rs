//! A user's browser without a screen, and the events of a response.

use domain::TurnEvent;
use domain::sse::SseParser;
use http::StatusCode;
use reqwest::{Client, RequestBuilder, Response, header};
use serde_json::{Value, json};

/// A browser without a screen: keeps its cookie, follows no redirects.
#[derive(Clone)]
pub struct Visitor {
    pub url: String,
    pub client: Client,
    pub cookie: Option<String>,
}

impl Visitor {
    /// A request with the cookie.
    pub fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let request = self.client.request(method.parse().unwrap(), format!("{}{path}", self.url));
        match &self.cookie {
            Some(cookie) => request.header(header::COOKIE, cookie),
            None => request,
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

    /// Sends a form, and takes the cookie that comes back.
    pub async fn form(&mut self, path: &str, fields: &[(&str, &str)]) -> Response {
        let response = self.request("POST", path).form(fields).send().await.unwrap();
        for cookie in response.headers().get_all(header::SET_COOKIE) {
            self.cookie = Some(cookie.to_str().unwrap().split(';').next().unwrap().to_owned());
        }
        response
    }

    pub async fn quota(&self) -> Value {
        self.get("/api/quota").await.json().await.unwrap()
    }

    /// Sends a chat request as it is.
    pub async fn post(&self, body: &Value) -> Response {
        self.request("POST", "/api/chat").json(body).send().await.unwrap()
    }

    /// The same, for requests that are made at once.
    pub async fn post_owned(self, body: Value) -> Response {
        self.post(&body).await
    }

    /// Asks in a new conversation, of the cheapest model of each provider.
    pub async fn ask(&self, text: &str) -> Response {
        self.post(&json!({"model": "claude-haiku-4-5", "text": text})).await
    }

    /// Asks, and reads the answer to its end.
    pub async fn answer(&self, text: &str) -> Vec<(u64, TurnEvent)> {
        let response = self.ask(text).await;
        assert_eq!(response.status(), StatusCode::OK);
        events(response).await
    }
}

/// All events of an answer, read to the end.
pub async fn events(response: Response) -> Vec<(u64, TurnEvent)> {
    let mut reading = Reading::new(response);
    let mut all = Vec::new();
    while let Some(event) = reading.next().await {
        all.push(event);
    }
    all
}

/// An answer that is read event by event.
pub struct Reading {
    response: Response,
    parser: SseParser,
    ready: std::collections::VecDeque<(u64, TurnEvent)>,
    /// Comment lines seen: heartbeats.
    pub comments: usize,
}

impl Reading {
    pub fn new(response: Response) -> Self {
        Self { response, parser: SseParser::new(), ready: Default::default(), comments: 0 }
    }

    /// Reads one chunk of bytes; false at the end.
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

/// The words of an answer.
pub fn words(events: &[(u64, TurnEvent)]) -> String {
    events
        .iter()
        .filter_map(|(_, event)| if let TurnEvent::Delta { text } = event { Some(text.as_str()) } else { None })
        .collect()
}

/// The problem of a refusal.
pub async fn problem(response: Response) -> Value {
    response.json::<Value>().await.unwrap()["problem"].take()
}
