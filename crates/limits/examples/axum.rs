//! An axum server that limits calls to a model: `cargo run -p limits --example axum`, then
//! `curl -i -H 'x-user: ann' -d 'words' http://127.0.0.1:3030/ask` until it responds with 429 and `Retry-After`.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header::RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use axum::{Router, routing::post};
use limits::{Admission, Allowance, Demand, Limits, Store, Window, Windows};
use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

const WINDOWS: Windows =
    Windows::new(&[Window::calls("requests", 60_000, 60), Window::amount("tokens", 86_400_000, 96)]);

async fn ask(State(users): State<Limits>, headers: HeaderMap, question: String) -> Result<Response, StatusCode> {
    static CALL: AtomicU64 = AtomicU64::new(0);
    let call = CALL.fetch_add(1, Ordering::Relaxed).to_string();
    let user = headers.get("x-user").and_then(|name| name.to_str().ok()).ok_or(StatusCode::UNAUTHORIZED)?;
    // Replace these with your plan table and your model's tokenizer.
    let plan = Allowance { limits: &[3, 10_000], in_flight: Some(2) };
    let demand = Demand { input: question.len() as u64, output_min: 16, output_max: 1_000 };
    // Fail closed: without meters the model isn't called.
    let admission = users.admit(user, &call, plan, demand).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    Ok(match admission {
        Admission::Granted(permit) => {
            let (answer, used) = model(&question, permit.output());
            let left = users.settle(permit, used).await.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
            format!("{answer}\n{} tokens used\n", left.window(1).used).into_response()
        }
        Admission::Denied(denial) => {
            let seconds = denial.retry_after_ms.div_ceil(1_000).to_string();
            (StatusCode::TOO_MANY_REQUESTS, [(RETRY_AFTER, seconds)], "not now\n").into_response()
        }
        Admission::TooLarge { max } => {
            (StatusCode::PAYLOAD_TOO_LARGE, format!("at most {max} tokens\n")).into_response()
        }
        Admission::Running => StatusCode::CONFLICT.into_response(),
    })
}

/// Simulates a model. Returns at most `max_output` tokens, and the number of tokens used.
fn model(question: &str, max_output: u64) -> (String, u64) {
    let answer: String = question.chars().rev().take(usize::try_from(max_output).unwrap_or(usize::MAX)).collect();
    let used = question.len() + answer.len();
    (answer, used as u64)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3030".to_owned());
    // Several servers can share `Store::redis("redis://127.0.0.1")?`; memory serves a single process.
    let store = Store::memory();
    let users = Limits::without_history(&store, "user", &WINDOWS);
    let listener = tokio::net::TcpListener::bind(address).await?;
    writeln!(std::io::stdout(), "http://{}", listener.local_addr()?)?;
    axum::serve(listener, Router::new().route("/ask", post(ask)).with_state(users)).await?;
    Ok(())
}
