//! API keys: the settings page, the owner's page, authentication, caps, and the loop breaker.

mod caller;
mod caps;
mod settings;

use crate::app::TestApp;
use crate::visitor::TestClient;
use http::StatusCode;
use uuid::Uuid;

/// Creates a key on the settings page with further fields. Returns its id and its secret.
async fn create(app: &TestApp, user: &mut TestClient, name: &str, more: &[(&str, &str)]) -> (Uuid, String) {
    let fields: Vec<(&str, &str)> = [("name", name)].iter().chain(more).copied().collect();
    let response = user.form("/settings/keys", &fields).await;
    assert_eq!(response.status(), StatusCode::OK);
    let page = response.text().await.unwrap();
    let (_, rest) = page.split_once("id=\"new-key\" class=\"key\">").unwrap_or_else(|| panic!("no secret in {page}"));
    let secret = rest.split_once('<').unwrap().0.to_owned();
    let id = sqlx::query_scalar("select api_key_id from api_key where name = $1 order by created_at desc limit 1");
    (id.bind(name).fetch_one(&app.db).await.unwrap(), secret)
}
