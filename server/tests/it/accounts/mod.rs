//! Accounts and what protects them: sign-in with other services, second factors, verification, reset, changes, sessions, attempt limits,
//! headers. Links and codes are read from the mails that `/dev/outbox` shows.

mod attempts;
mod audit;
mod authenticator;
mod breached_passwords;
mod captcha;
mod changes;
mod ended;
mod export;
mod external;
mod external_links;
mod factors;
mod first_proof;
mod flood;
mod mails;
mod passkeys;
mod protection;
mod races;
mod refusals;
mod reset;
mod risk;
mod role;
mod second_factor_guard;
mod sessions;
mod sign_up;
mod step_up;
mod subjects;
mod time_zone;
mod verify;
mod walk;

use crate::app::{HTTP, TestApp};
use crate::visitor::TestClient;
use http::{StatusCode, header};
use reqwest::Response;
use std::time::Duration;

/// A password that no user of these tests begins with.
const NEW_PASSWORD: &str = "battery staple";

/// A mail as `/dev/outbox` shows it.
#[derive(Debug)]
struct Letter {
    to: String,
    subject: String,
    text: String,
    /// Path and query of its link; empty if it has none.
    path: String,
}

impl Letter {
    /// Returns the token of the link.
    fn token(&self) -> &str {
        self.path.split_once("?token=").unwrap_or_else(|| panic!("no token in {self:?}")).1
    }

    /// Returns the code.
    fn code(&self) -> &str {
        let is_code = |line: &&str| line.len() == 6 && line.bytes().all(|byte| byte.is_ascii_digit());
        self.text.lines().find(is_code).unwrap_or_else(|| panic!("no code in {self:?}"))
    }
}

/// Returns the queued mails to an address, newest first.
async fn letters(app: &TestApp, to: &str) -> Vec<Letter> {
    let page = HTTP.get(format!("{}/dev/outbox", app.url)).send().await.unwrap().text().await.unwrap();
    let part = |text: &str, from: &str, to: &str| {
        let (_, rest) = text.split_once(from).unwrap_or_else(|| panic!("no {from} in {text}"));
        rest.split_once(to).unwrap().0.to_owned()
    };
    let letter = |article: &str| {
        let text = part(article, "<pre>", "</pre>");
        let link = text.split_whitespace().find_map(|word| word.strip_prefix(app.config.public_url.as_str()));
        Letter {
            to: part(article, "<p>To ", "</p>"),
            subject: part(article, "<h2>", "</h2>"),
            path: link.unwrap_or_default().to_owned(),
            text,
        }
    };
    page.split("<article>").skip(1).map(letter).filter(|letter| letter.to == to).collect()
}

/// Waits until `count` mails whose subject begins so are queued to an address, and returns the newest.
async fn letter(app: &TestApp, to: &str, subject: &str, count: usize) -> Letter {
    let waiting = async {
        loop {
            let mut found = letters(app, to).await;
            found.retain(|letter| letter.subject.starts_with(subject));
            if found.len() >= count {
                return found.swap_remove(0);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let found = tokio::time::timeout(Duration::from_secs(120), waiting).await;
    found.unwrap_or_else(|_| panic!("no {count} mails {subject:?} to {to} after 120 s"))
}

/// Returns the target of a redirect.
fn redirect(response: &Response) -> String {
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    response.headers()[header::LOCATION].to_str().unwrap().to_owned()
}

/// Asserts a response's status, and that its page shows a sentence. Returns the page.
async fn shows(response: Response, status: StatusCode, sentence: &str) -> String {
    let found = response.status();
    let page = response.text().await.unwrap();
    assert!(found == status && page.contains(sentence), "{status} {sentence:?}, found {found} {page}");
    page
}

/// Asserts that a form was refused because of too many attempts, and says when to try again.
async fn is_limited(response: Response) {
    let seconds: u64 = response.headers()[header::RETRY_AFTER].to_str().unwrap().parse().unwrap();
    assert!((1..=915).contains(&seconds), "{seconds}");
    shows(response, StatusCode::TOO_MANY_REQUESTS, "It works again in").await;
}

/// Signs in with a new browser.
async fn sign_in(app: &TestApp, email: &str, password: &str) -> TestClient {
    let mut visitor = app.visitor();
    let response = visitor.form("/sign-in", &[("email", email), ("password", password)]).await;
    assert_eq!(redirect(&response), "/chat", "{email}");
    visitor.keep_browser(&response);
    visitor
}

/// Returns whether a client's session is alive.
async fn is_signed_in(client: &TestClient) -> bool {
    match client.get("/api/quota").await.status() {
        StatusCode::OK => true,
        StatusCode::UNAUTHORIZED => false,
        other => panic!("{other}"),
    }
}

/// Whether a statement of the test's database waits for a lock.
const WAITS_FOR_A_LOCK: &str = "select exists (select from pg_locks l join pg_stat_activity a using (pid)
                                               where not l.granted and a.datname = current_database())";

/// Returns whether an account's address is verified.
async fn is_verified(app: &TestApp, email: &str) -> bool {
    let sql = "select email_verified_at is not null from account where email = $1";
    sqlx::query_scalar(sql).bind(email).fetch_one(&app.db).await.unwrap()
}

/// Returns a page without its nonces, which differ in every response.
fn without_nonces(page: &str) -> String {
    let mut parts = page.split("nonce=\"");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once('"').map_or("", |(_, rest)| rest))
}
