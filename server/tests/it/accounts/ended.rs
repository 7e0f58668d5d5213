//! Sessions that end while a request of theirs is under way stay ended, and such a request changes nothing.

use super::{NEW_PASSWORD, WAITS_FOR_A_LOCK, factors, is_signed_in, redirect, sign_in};
use crate::app::{PASSWORD, TestApp};
use crate::visitor::TestClient;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use uuid::Uuid;

const ANN: &str = "ann@example.com";
const NO_SESSION: &str = "select not exists (select from session where user_id is not null)";

/// A form whose body is held back.
struct HeldForm {
    stream: TcpStream,
    body: String,
}

impl HeldForm {
    /// Sends the head of a form in the only session that there is. Returns once the server has identified its user: then it has renewed the
    /// session, which wasn't used for hours. The form is sent in chunks, because the server waits longer for a body of unknown length.
    async fn begin(app: &TestApp, client: &TestClient, path: &str, fields: &[(&str, &str)]) -> Self {
        app.sql("update session set last_seen_at = now() - interval '2 hours'").await;
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let (address, cookie) = (client.url.strip_prefix("http://").unwrap(), client.cookie.as_deref().unwrap());
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {address}\r\ncookie: {cookie}\r\nconnection: close\r\n\
             content-type: application/x-www-form-urlencoded\r\ntransfer-encoding: chunked\r\n\r\n"
        );
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        app.until("select bool_and(last_seen_at > now() - interval '1 hour') from session").await;
        Self { stream, body }
    }

    /// Sends the body, and returns the response.
    async fn finish(mut self) -> String {
        let chunks = format!("{:x}\r\n{}\r\n0\r\n\r\n", self.body.len(), self.body);
        self.stream.write_all(chunks.as_bytes()).await.unwrap();
        let mut response = String::new();
        self.stream.read_to_string(&mut response).await.unwrap();
        response
    }
}

#[tokio::test]
async fn a_slow_form_does_not_bring_its_session_back() {
    let app = TestApp::new().await;
    app.user(ANN).await;
    for (path, fields) in [
        ("/sign-in/confirm", [("password", PASSWORD), ("next", "/usage")]),
        ("/settings/password", [("current", PASSWORD), ("password", NEW_PASSWORD)]),
    ] {
        app.sql("delete from session").await;
        let client = sign_in(&app, ANN, PASSWORD).await;
        let held = HeldForm::begin(&app, &client, path, &fields).await;
        app.sql("delete from session").await;
        let response = held.finish().await;
        assert!(response.starts_with("HTTP/1.1 401 "), "{path}: {response}");
        assert!(!response.contains(ANN), "the page shows nothing of the user: {response}");
        assert!(app.one::<bool>(NO_SESSION).await, "{path}");
    }
    // The password is still the same.
    sign_in(&app, ANN, PASSWORD).await;
}

/// A form that was begun before its session ended leaves nothing behind that outlives the session.
#[tokio::test]
async fn a_slow_form_of_an_ended_session_creates_no_key_and_changes_no_account() {
    let app = TestApp::new().await;
    app.user(ANN).await;
    for (path, fields) in [
        ("/settings/keys", [("name", "Editor"), ("expires", "30")]),
        ("/settings/email", [("email", "eve@example.com"), ("password", PASSWORD)]),
        ("/settings/delete", [("password", PASSWORD), ("next", "")]),
    ] {
        app.sql("delete from session").await;
        let client = sign_in(&app, ANN, PASSWORD).await;
        let held = HeldForm::begin(&app, &client, path, &fields).await;
        app.sql("delete from session").await;
        let response = held.finish().await;
        assert!(response.starts_with("HTTP/1.1 401 "), "{path}: {response}");
        let untouched = "select count(*) = 1 and not exists (select from api_key)
                           and not exists (select from account_token where kind = 'change_email') from account";
        assert!(app.one::<bool>(untouched).await, "{path}");
    }
}

#[tokio::test]
async fn a_session_that_has_ended_sets_up_no_app() {
    let app = TestApp::new().await;
    app.user(ANN).await;
    app.sql("delete from session").await;
    let client = sign_in(&app, ANN, PASSWORD).await;
    let key = factors::shown_key(&client.text("/settings/security/totp").await);
    // Another server, which hasn't renewed the session yet.
    let (url, _stop) = app.start_second().await;
    let code = factors::code(&factors::app_with(&key), 0);
    let elsewhere = TestClient { url, ..client };
    let held = HeldForm::begin(&app, &elsewhere, "/settings/security/totp", &[("code", code.as_str())]).await;
    app.sql("delete from session").await;
    let response = held.finish().await;
    assert!(response.starts_with("HTTP/1.1 401 "), "{response}");
    assert!(app.one::<bool>("select not exists (select from totp) and not exists (select from session)").await);
}

/// The session of a sign-in ends while its second factor is checked.
#[tokio::test]
async fn a_session_that_has_ended_is_not_completed_by_its_second_factor() {
    let app = TestApp::new().await;
    let mut ann = app.user(ANN).await;
    let (_, codes) = factors::set_up(&mut ann).await;
    let mut eve = factors::enter_password(&app, ANN, PASSWORD).await;
    let mut tx = app.db.begin().await.unwrap();
    sqlx::query("select user_id from recovery_code for update").execute(&mut *tx).await.unwrap();
    let ending = async {
        app.until(WAITS_FOR_A_LOCK).await;
        app.sql("delete from session").await;
        tx.commit().await.unwrap();
    };
    let fields = [("code", codes[0].as_str())];
    let (_, ()) = tokio::join!(eve.form("/sign-in/second", &fields), ending);
    assert!(app.one::<bool>(NO_SESSION).await);
    assert!(!is_signed_in(&eve).await);
}

#[tokio::test]
async fn signing_a_user_out_everywhere_also_ends_sessions_that_wait_for_a_second_factor() {
    let app = TestApp::new().await;
    let (mut admin, mut ann) = (app.user("admin@example.com").await, app.user(ANN).await);
    let (_, codes) = factors::set_up(&mut ann).await;
    let mut eve = factors::enter_password(&app, ANN, PASSWORD).await;
    let id: Uuid = app.one("select user_id from account where email = 'ann@example.com'").await;
    redirect(&admin.form(&format!("/admin/users/{id}/act"), &[("act", "sign_out"), ("why", "stolen")]).await);
    assert_eq!(redirect(&eve.form("/sign-in/second", &[("code", codes[0].as_str())]).await), "/sign-in");
    assert!(!is_signed_in(&eve).await && !is_signed_in(&ann).await && is_signed_in(&admin).await);
}
