//! `/status`: the parts of the service and the model providers' last hours.

use crate::app::TestApp;
use http::StatusCode;

/// The page needs no account, and names neither users nor amounts.
#[tokio::test]
async fn a_working_service_is_available() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    ann.send_and_read("{{words:3}}").await;
    let page = app.visitor().text("/status").await;
    for part in
        ["Everything works.", "Website", "Conversations", "Usage limits", "Anthropic", "OpenAI", "Claude Haiku 4.5"]
    {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(page.contains("No errors in 24 hours.") && page.contains("No calls in 24 hours."), "{page}");
    assert!(page.contains("No incidents have been reported."), "{page}");
    for secret in ["ann@example.com", "test-key", "API_KEY", "127.0.0.1:", "$0"] {
        let main = page.split("<main").nth(1).unwrap();
        assert!(!main.contains(secret), "{secret}: {main}");
    }
}

#[tokio::test]
async fn a_failing_provider_is_shown_and_the_result_kept_for_a_while() {
    let app = TestApp::new().await;
    app.limits("free", 100, 10_000_000, 4).await;
    let ann = app.user("ann@example.com").await;
    // Each is tried three times; five failures open the circuit.
    for n in 0..2 {
        ann.send_message(&format!("{{{{status:500}}}}{{{{after:0}}}} {n}")).await;
    }
    let page = app.visitor().text("/status").await;
    assert!(page.contains("A part of the service is unavailable.") && page.contains("Unavailable"), "{page}");
    assert!(page.contains("Errors in the hours from"), "{page}");
    // Half a minute long, visitors cause no queries.
    app.sql("delete from usage_delta; delete from usage_total").await;
    let again = app.visitor().text("/status").await;
    assert!(again.contains("Errors in the hours from"), "{again}");
    let data = app.visitor().request("POST", "/fn/status").send().await.unwrap();
    assert_eq!(data.status(), StatusCode::OK);
    let text = data.text().await.unwrap();
    assert!(text.contains("unavailable") && !text.contains("cost") && !text.contains("failed\":"), "{text}");
}

/// Without models that can be used there are only our own parts.
#[tokio::test]
async fn providers_without_usable_models_are_left_out() {
    let app = TestApp::with(&[("OPENAI_API_KEY", "")]).await;
    let page = app.visitor().text("/status").await;
    assert!(page.contains("Anthropic") && !page.contains("OpenAI"), "{page}");
}
