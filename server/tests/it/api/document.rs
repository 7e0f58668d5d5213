//! The OpenAPI document is true: its paths are those of the router, and its examples are answered as it says.

use super::Program;
use crate::app::TestApp;
use http::{StatusCode, header};
use serde_json::Value;
use std::collections::BTreeSet;

/// Returns the methods and paths that the router offers beneath `/v1`, as `server/src/http/v1/mod.rs` has them.
fn routes() -> BTreeSet<(String, String)> {
    let source = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/http/v1/mod.rs")).unwrap();
    let mut routes = BTreeSet::new();
    for part in source.split(".route(\"").skip(1) {
        let (path, handlers) = part.split_once('"').unwrap();
        let handlers = handlers.split(".route(").next().unwrap();
        for method in ["get", "post", "put", "patch", "delete"] {
            if handlers.contains(&format!(" {method}(")) {
                routes.insert((method.to_owned(), path.replace("{*", "{")));
            }
        }
    }
    routes
}

/// Asserts that a value has everything that an example has, of the same types.
fn assert_like(value: &Value, example: &Value, at: &str) {
    match (value, example) {
        (Value::Object(fields), Value::Object(expected)) => {
            for (name, example) in expected {
                let field = fields.get(name).unwrap_or_else(|| panic!("{at} has no {name}: {value}"));
                assert_like(field, example, &format!("{at}.{name}"));
            }
        }
        (Value::Array(items), Value::Array(expected)) => {
            for (item, example) in items.iter().zip(expected) {
                assert_like(item, example, at);
            }
            assert_eq!(items.is_empty(), expected.is_empty(), "{at}: {value}");
        }
        _ => assert_eq!(std::mem::discriminant(value), std::mem::discriminant(example), "{at}: {value}"),
    }
}

#[tokio::test]
async fn the_document_describes_the_router_and_its_examples_are_answered() {
    let app = TestApp::seeded().await;
    app.limits("free", 1_000_000, 1_000_000_000, 1_000).await;
    app.user("ann@example.com").await;
    let program = Program::of(&app, "ann@example.com").await;
    let response = app.visitor().get("/openapi.json").await;
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
    let document: Value = response.json().await.unwrap();
    assert_eq!(document["servers"][0]["url"], app.config.public_url.as_str());

    let mut described = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            described.insert((method.clone(), path.clone()));
            let answer = &operation["responses"]["200"]["content"]["application/json"]["example"];
            let parameter = operation["parameters"].as_array().into_iter().flatten().find(|of| of["in"] == "path");
            let path = match parameter {
                Some(parameter) => path.replace("{model}", parameter["example"].as_str().unwrap()),
                None => path.clone(),
            };
            let request = program.request(&method.to_uppercase(), &path);
            let body = &operation["requestBody"]["content"]["application/json"]["example"];
            let request = if body.is_null() { request } else { request.json(body) };
            let response = request.send().await.unwrap();
            let (status, body) = (response.status(), response.text().await.unwrap());
            assert_eq!(status, StatusCode::OK, "{method} {path}: {body}");
            assert_like(&serde_json::from_str(&body).unwrap(), answer, &path);
        }
    }
    assert_eq!(described, routes());
    assert_eq!(app.provider.violations(), Vec::<String>::new());

    // Errors as the document shows them.
    for (path, name) in [("/v1/chat/completions", "OpenAiError"), ("/v1/messages", "AnthropicError")] {
        let refused = program.post(path, &super::body(path, "gpt-0", "hi", false)).await;
        assert_eq!(refused.status(), StatusCode::NOT_FOUND);
        let example = &document["components"]["responses"][name]["content"]["application/json"]["example"];
        assert_like(&refused.json().await.unwrap(), example, name);
    }
    // The page has each endpoint, with examples that need no script.
    let page = app.visitor().text("/docs/api").await;
    for (_, path) in described {
        assert!(page.contains(&path), "{path}");
    }
    for part in ["base_url", "baseURL", "curl", "x-ratelimit-remaining-tokens", "Idempotency-Key"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(!page.contains("src=\"http"), "nothing is loaded from elsewhere: {page}");
}
