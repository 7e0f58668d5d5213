//! Runs the example as a reader would.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::path::Path;
use std::process::{Child, Command};

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn the_axum_example_refuses_the_fourth_in_a_minute() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let source = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/axum.rs")).unwrap();
    assert!(source.lines().count() <= 60);
    // Cargo builds a package's examples with its tests, beside their folder.
    let test = std::env::current_exe().unwrap();
    let example = test.parent().and_then(Path::parent).unwrap().join("examples/axum");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let _running = Running(Command::new(example).arg(format!("127.0.0.1:{port}")).spawn().unwrap());
    let client = reqwest::Client::new();
    let ask = || client.post(format!("http://127.0.0.1:{port}/ask")).header("x-user", "ann").body("hello").send();
    let first = loop {
        if let Ok(answer) = ask().await {
            break answer;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(first.text().await.unwrap(), "olleh\n10 tokens used\n");
    for _ in 0..2 {
        assert_eq!(ask().await.unwrap().status(), 200);
    }
    let refused = ask().await.unwrap();
    assert_eq!(refused.status(), 429);
    let seconds: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((59..=61).contains(&seconds), "{seconds}");
}
