//! Changes of how a user signs in that happen at the same time.

use super::{WAITS_FOR_A_LOCK, shows};
use crate::app::{PASSWORD, TestApp};
use argon2::password_hash::PasswordHasher as _;
use argon2::{Algorithm, Argon2, Params, Version};
use domain::UserId;
use http::StatusCode;
use store::account_token::{self, NewToken, TokenKind};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

const ANN: &str = "ann@example.com";
const CHANGED: &str = "Your account was changed in the meantime.";

/// Signs in with the old password while a new one is being written: it was right when it was checked.
async fn is_refused_while_the_password_changes(app: &TestApp) {
    app.sql("delete from session").await;
    let mut tx = app.db.begin().await.unwrap();
    sqlx::query("update account set password_hash = 'another'").execute(&mut *tx).await.unwrap();
    let changing = async {
        app.until(WAITS_FOR_A_LOCK).await;
        tx.commit().await.unwrap();
    };
    let (mut eve, fields) = (app.visitor(), [("email", ANN), ("password", PASSWORD)]);
    let (response, ()) = tokio::join!(eve.form("/sign-in", &fields), changing);
    shows(response, StatusCode::UNPROCESSABLE_ENTITY, CHANGED).await;
    assert!(app.one::<bool>("select not exists (select from session)").await);
}

#[tokio::test]
async fn a_sign_in_with_the_old_password_does_not_outlive_its_change() {
    let app = TestApp::new().await;
    app.user(ANN).await;
    is_refused_while_the_password_changes(&app).await;
}

/// A hash with weaker parameters is replaced at a sign-in, but never the hash of another password.
#[tokio::test]
async fn hashing_anew_does_not_bring_an_old_password_back() {
    let app = TestApp::new().await;
    app.user(ANN).await;
    let weak = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(8 * 1024, 1, 1, None).unwrap());
    let hash = weak.hash_password(PASSWORD.as_bytes()).unwrap().to_string();
    sqlx::query("update account set password_hash = $1").bind(&hash).execute(&app.db).await.unwrap();
    is_refused_while_the_password_changes(&app).await;
    assert_eq!(app.one::<String>("select password_hash from account").await, "another");
    let user_id: UserId = app.one::<Uuid>("select user_id from account").await.into();
    assert!(!store::account::replace_password_hash(&app.store, user_id, &hash, "older").await.unwrap());
    assert_eq!(app.one::<String>("select password_hash from account").await, "another");
}

/// A link is requested while an earlier one is used, which ends other links: both lock the account first, so that neither waits for the other.
#[tokio::test]
async fn links_are_requested_and_used_at_once() {
    let app = TestApp::new().await;
    app.user(ANN).await;
    let (user_id, now): (UserId, _) =
        (app.one::<Uuid>("select user_id from account").await.into(), OffsetDateTime::now_utc());
    let link = |kind: TokenKind, byte: u8| NewToken {
        token_hash: [byte; 32],
        user_id,
        kind,
        code_hash: None,
        email: ANN,
        expires_at: now + Duration::HOUR,
        now,
    };
    let kind = TokenKind::ResetPassword;
    let mut tx = store::begin(&app.store).await.unwrap();
    account_token::create(&mut tx, &link(kind, 1)).await.unwrap();
    tx.commit().await.unwrap();
    let mut using = store::begin(&app.store).await.unwrap();
    assert!(account_token::take(&mut using, kind, &[1; 32], now).await.unwrap().is_some());
    let requesting = async {
        let mut tx = store::begin(&app.store).await.unwrap();
        account_token::create(&mut tx, &link(kind, 2)).await.unwrap();
        tx.commit().await.unwrap();
    };
    let finishing = async {
        app.until(WAITS_FOR_A_LOCK).await;
        let subject = app.subject_of(ANN);
        store::account::mark_verified(&mut using, user_id, ANN, &subject, now).await.unwrap();
        account_token::create(&mut using, &link(TokenKind::ChangeEmail, 3)).await.unwrap();
        using.commit().await.unwrap();
    };
    let ((), ()) = tokio::join!(requesting, finishing);
    let left = "select count(*) from account_token where used_at is null and kind <> 'verify_email'";
    assert_eq!(app.one::<i64>(left).await, 2);
}
