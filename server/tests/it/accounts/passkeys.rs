//! Passkeys, with a software authenticator.

use super::authenticator::SoftPasskey;
use super::{factors, is_signed_in, letter, redirect, shows};
use crate::app::{PASSWORD, TestApp};
use crate::visitor::{TestClient, problem};
use http::{StatusCode, header};
use reqwest::Response;
use serde_json::{Value, json};
use uuid::Uuid;

pub(super) const ORIGIN: &str = "http://localhost:3000";
const ANN: &str = "ann@example.com";
const WRONG: StatusCode = StatusCode::UNPROCESSABLE_ENTITY;

async fn start() -> TestApp {
    TestApp::with(&[("PUBLIC_URL", ORIGIN)]).await
}

/// Sends JSON and stores the session cookie of the response.
pub(super) async fn post(client: &mut TestClient, path: &str, body: &Value) -> Response {
    let response = client.request("POST", path).json(body).send().await.unwrap();
    for cookie in response.headers().get_all(header::SET_COOKIE) {
        let pair = cookie.to_str().unwrap().split(';').next().unwrap();
        if pair.contains("session=") {
            client.cookie = Some(pair.to_owned());
        }
    }
    response
}

/// Begins a ceremony. Returns its id and options.
pub(super) async fn begin(client: &mut TestClient, ceremony: &str) -> (Value, Value) {
    let response = post(client, &format!("{ceremony}/begin"), &json!({})).await;
    assert_eq!(response.status(), StatusCode::OK, "{ceremony}");
    let mut begun: Value = response.json().await.unwrap();
    (begun["challenge_id"].take(), begun["options"].take())
}

pub(super) async fn finish(client: &mut TestClient, ceremony: &str, id: &Value, credential: &Value) -> Response {
    let body = json!({ "challenge_id": id, "credential": credential, "next": "/usage", "name": "Laptop" });
    post(client, &format!("{ceremony}/finish"), &body).await
}

/// Adds a passkey to the account of a signed-in user.
pub(super) async fn add(user: &mut TestClient) -> SoftPasskey {
    let (id, options) = begin(user, "/settings/passkeys").await;
    let (passkey, credential) = SoftPasskey::create(&options, ORIGIN);
    let done = finish(user, "/settings/passkeys", &id, &credential).await;
    assert_eq!(leads_to(done).await, "/settings/security?saved=passkey");
    passkey
}

async fn leads_to(response: Response) -> Value {
    let status = response.status();
    let mut body: Value = response.json().await.unwrap();
    assert_eq!(status, StatusCode::OK, "{body}");
    body["next"].take()
}

/// Asserts that a ceremony was refused.
async fn is_refused(response: Response, sentence: &str) {
    assert_eq!(response.status(), WRONG);
    let problem = problem(response).await;
    assert!(problem["message"].as_str().unwrap().contains(sentence), "{problem}");
}

#[tokio::test]
async fn a_passkey_signs_in_and_is_two_factors() {
    let app = start().await;
    let mut ann = app.user(ANN).await;
    factors::set_up(&mut ann).await;
    let before = ann.clone();
    let mut passkey = add(&mut ann).await;
    assert!(is_signed_in(&ann).await && !is_signed_in(&before).await, "a new factor begins a new token");
    letter(&app, ANN, "A sign-in method was added", 2).await;
    assert!(ann.text("/settings/security").await.contains("Laptop"));

    let mut phone = app.visitor();
    let (id, options) = begin(&mut phone, "/sign-in/passkey").await;
    assert_eq!(options["publicKey"]["allowCredentials"], json!([]), "no address is entered");
    let signed = passkey.sign(&options);
    let done = finish(&mut phone, "/sign-in/passkey", &id, &signed).await;
    assert_eq!(leads_to(done).await, "/usage", "no code is asked for");
    assert!(is_signed_in(&phone).await);
    let two = "select bool_and(is_two_factor) from session where user_id is not null";
    assert!(app.one::<bool>(two).await);
    assert!(app.one::<bool>("select last_used_at is not null from passkey").await);
    // Neither a ceremony nor a challenge works twice.
    is_refused(finish(&mut phone, "/sign-in/passkey", &id, &signed).await, "took too long").await;
    let (id, _) = begin(&mut phone, "/sign-in/passkey").await;
    is_refused(finish(&mut phone, "/sign-in/passkey", &id, &signed).await, "wasn't accepted").await;
    // A foreign path is not followed.
    let (id, options) = begin(&mut phone, "/sign-in/passkey").await;
    let body = json!({ "challenge_id": id, "credential": passkey.sign(&options), "next": "//evil.example" });
    assert_eq!(leads_to(post(&mut phone, "/sign-in/passkey/finish", &body).await).await, "/chat");
}

#[tokio::test]
async fn copied_foreign_and_expired_passkeys_are_refused() {
    let app = start().await;
    let (mut ann, mut eve) = (app.user(ANN).await, app.user("eve@example.com").await);
    let (mut passkey, _) = (add(&mut ann).await, add(&mut eve).await);
    let mut phone = app.visitor();
    // A copy of the device has an older counter.
    passkey.counter = 5;
    let (id, options) = begin(&mut phone, "/sign-in/passkey").await;
    assert_eq!(leads_to(finish(&mut phone, "/sign-in/passkey", &id, &passkey.sign(&options)).await).await, "/usage");
    passkey.counter = 4;
    let (id, options) = begin(&mut phone, "/sign-in/passkey").await;
    is_refused(finish(&mut phone, "/sign-in/passkey", &id, &passkey.sign(&options)).await, "wasn't accepted").await;
    // A device that doesn't verify its user, and a page of another origin.
    passkey.counter = 10;
    passkey.verifies = false;
    let (id, options) = begin(&mut phone, "/sign-in/passkey").await;
    is_refused(finish(&mut phone, "/sign-in/passkey", &id, &passkey.sign(&options)).await, "wasn't accepted").await;
    passkey.verifies = true;
    passkey.origin = "http://localhost:3001".to_owned();
    let (id, options) = begin(&mut phone, "/sign-in/passkey").await;
    is_refused(finish(&mut phone, "/sign-in/passkey", &id, &passkey.sign(&options)).await, "wasn't accepted").await;
    passkey.origin = ORIGIN.to_owned();
    // A ceremony of another user, of another kind, and one that has expired.
    let (id, options) = begin(&mut ann, "/settings/passkeys").await;
    let (_, made) = SoftPasskey::create(&options, ORIGIN);
    is_refused(finish(&mut eve, "/settings/passkeys", &id, &made).await, "took too long").await;
    let (id, options) = begin(&mut ann, "/sign-in/confirm/passkey").await;
    is_refused(finish(&mut phone, "/sign-in/passkey", &id, &passkey.sign(&options)).await, "took too long").await;
    let (id, options) = begin(&mut phone, "/sign-in/passkey").await;
    app.sql("update factor_challenge set expires_at = now() - interval '1 second'").await;
    is_refused(finish(&mut phone, "/sign-in/passkey", &id, &passkey.sign(&options)).await, "took too long").await;
    let garbage = post(&mut phone, "/sign-in/passkey/finish", &json!({ "challenge_id": id })).await;
    is_refused(garbage, "couldn't be read").await;
}

#[tokio::test]
async fn a_passkey_confirms_and_is_renamed_and_removed() {
    let app = start().await;
    let mut ann = app.user(ANN).await;
    let mut passkey = add(&mut ann).await;
    let id: Uuid = app.one("select passkey_id from passkey").await;
    let (rename, remove) = (format!("/settings/passkeys/{id}/rename"), format!("/settings/passkeys/{id}/remove"));
    app.sql("update session set authenticated_at = now() - interval '11 minutes'").await;
    assert_eq!(redirect(&ann.form(&remove, &[]).await), "/sign-in/confirm");
    assert_eq!(redirect(&ann.form("/settings/passkeys/begin", &[]).await), "/sign-in/confirm");
    let (challenge, options) = begin(&mut ann, "/sign-in/confirm/passkey").await;
    assert_eq!(options["publicKey"]["allowCredentials"].as_array().unwrap().len(), 1);
    let done = finish(&mut ann, "/sign-in/confirm/passkey", &challenge, &passkey.sign(&options)).await;
    assert_eq!(leads_to(done).await, "/usage");

    assert_eq!(
        redirect(&ann.form(&rename, &[("name", " My <b>key</b> ")]).await),
        "/settings/security?saved=passkey-name"
    );
    assert!(ann.text("/settings/security").await.contains("My &lt;b&gt;key&lt;/b&gt;"));
    shows(ann.form(&rename, &[("name", " ")]).await, WRONG, "Enter a name").await;
    // Without a password the passkey is the only way in, and stays.
    assert_eq!(
        redirect(&ann.form("/settings/password/remove", &[("password_to_remove", PASSWORD)]).await),
        "/settings/security?saved=password-removed"
    );
    shows(ann.form(&remove, &[]).await, WRONG, "your only way to sign in").await;
    let old = app.visitor().form("/sign-in", &[("email", ANN), ("password", PASSWORD)]).await;
    shows(old, WRONG, "Incorrect email or password").await;
    assert!(!ann.text("/sign-in/confirm").await.contains("name=\"password\""));
    add(&mut ann).await;
    assert_eq!(redirect(&ann.form(&remove, &[]).await), "/settings/security?saved=passkey-removed");
    letter(&app, ANN, "A sign-in method was removed", 2).await;
    assert_eq!(ann.form(&remove, &[]).await.status(), StatusCode::NOT_FOUND);
    let mut phone = app.visitor();
    let (challenge, options) = begin(&mut phone, "/sign-in/passkey").await;
    let done = finish(&mut phone, "/sign-in/passkey", &challenge, &passkey.sign(&options)).await;
    is_refused(done, "isn't registered here").await;
}

/// Field note 17: ceremonies are attempts, those of signed-in users as well. A deployment whose URL has no domain name has no passkeys.
#[tokio::test]
async fn ceremonies_are_limited_and_need_a_domain_name() {
    let app = start().await;
    let (mut ann, mut phone) = (app.user(ANN).await, app.visitor());
    add(&mut ann).await;
    begin(&mut ann, "/sign-in/confirm/passkey").await;
    for _ in 0..58 {
        begin(&mut phone, "/sign-in/passkey").await;
    }
    for ceremony in ["/sign-in/passkey", "/settings/passkeys", "/sign-in/confirm/passkey"] {
        let limited = post(&mut ann, &format!("{ceremony}/begin"), &json!({})).await;
        assert_eq!(limited.status(), StatusCode::TOO_MANY_REQUESTS, "{ceremony}");
        assert_eq!(problem(limited).await["kind"], "attempts_limit", "{ceremony}");
    }
    assert!(app.visitor().text("/sign-in").await.contains("data-passkey=\"/sign-in/passkey\""));
    let plain = TestApp::new().await;
    assert!(!plain.visitor().text("/sign-in").await.contains("data-passkey"));
    let missing = post(&mut plain.visitor(), "/sign-in/passkey/begin", &json!({})).await;
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);
}
