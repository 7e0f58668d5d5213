//! Runs the axum example and sends it requests.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

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
async fn axum_example_refuses_the_fourth_request_in_a_minute() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let source = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/axum.rs")).unwrap();
    assert!(source.lines().count() <= 60);
    // Cargo builds a package's examples together with its tests, in the directory next to theirs.
    let test = std::env::current_exe().unwrap();
    let example = test.parent().and_then(Path::parent).unwrap().join("examples/axum");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let _running = Running(Command::new(example).arg(format!("127.0.0.1:{port}")).spawn().unwrap());
    let client = reqwest::Client::new();
    let send = || client.post(format!("http://127.0.0.1:{port}/ask")).header("x-user", "ann").body("hello").send();
    let first = loop {
        if let Ok(response) = send().await {
            break response;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(first.text().await.unwrap(), "olleh\n10 tokens used\n");
    for _ in 0..2 {
        assert_eq!(send().await.unwrap().status(), 200);
    }
    let refused = send().await.unwrap();
    assert_eq!(refused.status(), 429);
    let seconds: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((59..=61).contains(&seconds), "{seconds}");
}
