//! Runs the axum example and sends it requests.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn axum_example_refuses_the_fourth_request_in_a_minute() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let source = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/axum.rs")).unwrap();
    assert!(source.lines().count() <= 60);
    // Cargo builds a package's examples together with its tests, in the directory next to theirs.
    let test = std::env::current_exe().unwrap();
    let example = test.parent().and_then(Path::parent).unwrap().join("examples/axum");
    let mut running = Running(Command::new(example).arg("127.0.0.1:0").stdout(Stdio::piped()).spawn().unwrap());
    // It prints its address once it listens.
    let mut url = String::new();
    BufReader::new(running.0.stdout.take().unwrap()).read_line(&mut url).unwrap();
    let client = reqwest::Client::new();
    let send = || client.post(format!("{}/ask", url.trim())).header("x-user", "ann").body("hello").send();
    let began = Instant::now();
    assert_eq!(send().await.unwrap().text().await.unwrap(), "olleh\n10 tokens used\n");
    for _ in 0..2 {
        assert_eq!(send().await.unwrap().status(), 200);
    }
    let refused = send().await.unwrap();
    assert_eq!(refused.status(), 429);
    let seconds: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    // A minute after the first request, which was at most so long ago.
    let since = began.elapsed().as_secs();
    assert!((59_u64.saturating_sub(since)..=61).contains(&seconds), "{seconds} after {since}");
}
