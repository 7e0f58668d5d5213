//! Quota and trial belong to an address only once it is verified, and then to all its spellings.

use super::redirect;
use crate::app::{PASSWORD, TestApp};
use crate::visitor::{TestClient, problem};
use http::StatusCode;
use serde_json::{Value, json};
use server::cli::{Command, Plans};

const SETTLED: &str = "select bool_and(meter_settled_at is not null) from turn";

/// Returns the tokens that a user has used today.
async fn used(client: &TestClient) -> Value {
    client.quota().await["tokens"]["used"].take()
}

/// Field note 63, as reproduced: a stranger signs up with an alias of Ann's address. Nothing of hers is used or shown: no token, no request,
/// no trial.
#[tokio::test]
async fn an_unverified_alias_changes_nothing_of_the_address() {
    let app = TestApp::new().await;
    app.run(Command::Plans(Plans::Push)).await;
    let ann = app.user("ann@example.com").await;
    ann.send_and_read("{{words:87}}").await;
    app.until(SETTLED).await;
    let before = used(&ann).await;
    let mut eve = app.unverified_user("ann+x@example.com").await;
    let quota = eve.quota().await;
    assert_eq!((&quota["tokens"]["used"], &quota["requests"]["remaining"]), (&json!(0), &json!(10)));
    let tokens = format!(">{before}<");
    assert!(ann.text("/usage").await.contains(&tokens) && !eve.text("/usage").await.contains(&tokens));
    let refused = eve.send_message("{{words:500}}").await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    assert_eq!(problem(refused).await["kind"], "verify_email");
    let checkout = eve.form("/billing/checkout", &[("plan", "pro"), ("interval", "month")]).await;
    assert_eq!(checkout.status(), StatusCode::FORBIDDEN);
    assert!(app.one::<bool>("select not exists (select from trial)").await);
    assert_eq!(used(&ann).await, before);
    assert!(ann.text("/pricing").await.contains("free trial"));
    assert_eq!(app.subject("ann@example.com").await, app.subject_of("ann@example.com"));
    assert_ne!(app.subject("ann+x@example.com").await, app.subject("ann@example.com").await);
    // Whoever reads the mail of the alias also reads Ann's: it is the same mailbox.
    app.verify("ann+x@example.com").await;
    assert_eq!(used(&eve).await, before);
}

/// Deleting an account and signing up again refills nothing, and the new account spends nothing until its address is verified.
#[tokio::test]
async fn a_new_account_for_the_same_address_refills_nothing() {
    let app = TestApp::new().await;
    let mut ann = app.user("ann@example.com").await;
    ann.send_and_read("{{words:87}}").await;
    app.until(SETTLED).await;
    let before = used(&ann).await;
    assert_eq!(redirect(&ann.form("/settings/delete", &[("password", PASSWORD)]).await), "/");
    let again = app.unverified_user("ann@example.com").await;
    assert_eq!(again.send_message("{{words:1}}").await.status(), StatusCode::FORBIDDEN);
    assert_eq!(used(&again).await, 0);
    app.verify("ann@example.com").await;
    assert_eq!(used(&again).await, before);
    let alias = app.user("Ann+y@example.com").await;
    assert_eq!(used(&alias).await, before, "all spellings share one meter");
}

/// Field note 63: accounts from before addresses were verified are unverified, and get subjects of their own when the server starts.
#[tokio::test]
async fn earlier_accounts_get_subjects_of_their_own() {
    let app = TestApp::new().await;
    let ann = app.user("ann@example.com").await;
    ann.send_and_read("{{words:87}}").await;
    app.until(SETTLED).await;
    let (before, shared) = (used(&ann).await, app.subject("ann@example.com").await);
    // As the migration leaves them.
    app.sql("update account set email_verified_at = null").await;
    assert!(app.one::<bool>("select not subject_is_own from account").await);
    let (_, _stop) = app.start_second().await;
    assert!(app.one::<bool>("select subject_is_own and former_subject <> subject from account").await);
    assert_ne!(app.subject("ann@example.com").await, shared);
    assert_eq!(used(&ann).await, 0);
    assert_eq!(ann.send_message("{{words:1}}").await.status(), StatusCode::FORBIDDEN);
    let conversation: uuid::Uuid = app.one("select conversation_id from conversation").await;
    assert_eq!(ann.get(&format!("/chat/{conversation}")).await.status(), StatusCode::OK, "conversations are kept");
    app.verify("ann@example.com").await;
    assert_eq!((used(&ann).await, app.subject("ann@example.com").await), (before, shared));
}
