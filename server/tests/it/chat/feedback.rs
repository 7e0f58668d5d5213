//! Users' ratings of responses.

use crate::app::TestApp;
use crate::visitor::{TestClient, problem};
use domain::TurnEvent;
use http::StatusCode;
use serde_json::{Value, json};

async fn rate(user: &TestClient, turn: &str, body: Value) -> StatusCode {
    let request = user.request("POST", &format!("/api/turns/{turn}/feedback")).json(&body);
    request.send().await.unwrap().status()
}

async fn turn(user: &TestClient) -> String {
    let all = user.send_and_read("{{words:2}}").await;
    let TurnEvent::Turn { turn_id, .. } = &all[0].1 else { panic!() };
    turn_id.to_string()
}

const RATINGS: &str =
    "select coalesce(string_agg(model || ' ' || is_good, ', ' order by created_at), 'none') from feedback";

#[tokio::test]
async fn a_rating_is_stored_replaced_and_removed_by_its_user_only() {
    let app = TestApp::new().await;
    let (ann, eve) = (app.user("ann@example.com").await, app.user("eve@example.com").await);
    let turn = turn(&ann).await;
    assert_eq!(rate(&eve, &turn, json!({"good": true})).await, StatusCode::NOT_FOUND);
    for (body, stored) in [
        (json!({"good": true}), "claude-haiku-4-5 true"),
        (json!({"good": false}), "claude-haiku-4-5 false"),
        (json!({"good": null}), "none"),
        (json!({"good": null}), "none"),
        (json!({"good": true}), "claude-haiku-4-5 true"),
    ] {
        assert_eq!(rate(&ann, &turn, body).await, StatusCode::NO_CONTENT);
        assert_eq!(app.one::<String>(RATINGS).await, stored);
    }
    assert_eq!(rate(&eve, &turn, json!({"good": null})).await, StatusCode::NOT_FOUND);
    assert_eq!(rate(&app.visitor(), &turn, json!({"good": false})).await, StatusCode::UNAUTHORIZED);
    assert_eq!(rate(&ann, &uuid::Uuid::now_v7().to_string(), json!({"good": true})).await, StatusCode::NOT_FOUND);
    let request = ann.request("POST", &format!("/api/turns/{turn}/feedback")).json(&json!({"good": "yes"}));
    assert_eq!(problem(request.send().await.unwrap()).await["field"], "good");
    assert_eq!(app.one::<String>(RATINGS).await, "claude-haiku-4-5 true");
}

/// The owner sees the share of good responses of each model. Ratings outlive conversations and are deleted with their user.
#[tokio::test]
async fn the_owner_sees_ratings_by_model() {
    let app = TestApp::new().await;
    let (ann, admin) = (app.user("ann@example.com").await, app.user("admin@example.com").await);
    for good in [true, true, false] {
        assert_eq!(rate(&ann, &turn(&ann).await, json!({ "good": good })).await, StatusCode::NO_CONTENT);
    }
    app.sql("delete from conversation").await;
    assert_eq!(rate(&admin, &turn(&admin).await, json!({"good": false})).await, StatusCode::NO_CONTENT);
    let page = admin.text("/admin/models").await;
    assert!(page.contains("Good answers") && page.contains("50 % of 4"), "{page}");
    app.sql("delete from account where email = 'ann@example.com'").await;
    let page = admin.text("/admin/models").await;
    assert!(page.contains("0 % of 1"), "{page}");
}
