//! Users who chat over HTTP, and timing of their requests.

use anyhow::{Context as _, ensure};
use domain::brand;
use reqwest::{Client, Response};
use serde_json::json;
use sqlx::PgPool;
use std::time::{Duration, Instant};

/// Creates a client that keeps its connections and follows no redirects.
pub fn client() -> anyhow::Result<Client> {
    Ok(Client::builder().redirect(reqwest::redirect::Policy::none()).tcp_nodelay(true).build()?)
}

/// A signed-in user with their own connections.
#[derive(Clone)]
pub struct User {
    client: Client,
    url: String,
    cookie: String,
}

/// A group of signed-in users.
pub struct Users(Vec<User>);

impl Users {
    /// Signs up `many` users and verifies their addresses in the server's database.
    ///
    /// # Errors
    /// Returns an error if a sign-up is refused or the query fails.
    pub async fn sign_up(db: &PgPool, url: &str, many: usize) -> anyhow::Result<Self> {
        let mut users = Vec::new();
        for _ in 0..many {
            let client = client()?;
            let email = format!("{}@example.com", uuid::Uuid::now_v7().simple());
            let form = format!("email={email}&password=correct+horse+battery&terms={}", brand::TERMS_VERSION);
            let request =
                client.post(format!("{url}/sign-up")).header("content-type", "application/x-www-form-urlencoded");
            // Each from its own address: sign-ups from one address are limited.
            let address = format!("10.{}.{}.{}", rand_byte(), rand_byte(), users.len() % 250);
            let response = request.header("x-forwarded-for", address).body(form).send().await?;
            ensure!(response.status() == 303, "sign-up returned {}", response.status());
            let cookie = response.headers().get("set-cookie").context("no cookie")?.to_str()?;
            let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
            users.push(User { client, url: url.to_owned(), cookie });
        }
        sqlx::raw_sql("update account set email_verified_at = now() where email_verified_at is null")
            .execute(db)
            .await?;
        Ok(Self(users))
    }

    /// Returns the user at index `n`, modulo the number of users.
    pub fn one(&self, n: usize) -> User {
        self.0[n % self.0.len()].clone()
    }
}

fn rand_byte() -> u8 {
    uuid::Uuid::new_v4().as_bytes()[0]
}

/// Reads a response until it contains `marker`. Returns how long that took, and the rest of the response.
async fn first_token(mut response: Response, marker: &str) -> anyhow::Result<(Duration, Response)> {
    let began = Instant::now();
    let mut seen = String::new();
    while let Some(bytes) = response.chunk().await? {
        seen.push_str(&String::from_utf8_lossy(&bytes));
        if seen.contains(marker) {
            return Ok((began.elapsed(), response));
        }
    }
    anyhow::bail!("no first token: {seen}")
}

/// Sends a message to `path` and requires status 200.
async fn send(user: &User, path: &str, text: &str) -> anyhow::Result<Response> {
    let body = json!({"model": "claude-haiku-5-5", "text": text}).to_string();
    let request = user.client.post(format!("{}{path}", user.url)).header("content-type", "application/json");
    let response = request.header("cookie", &user.cookie).body(body).send().await?;
    ensure!(response.status() == 200, "{}", response.text().await?);
    Ok(response)
}

/// Enters a wrong password for an unknown address, from a network address of its own. Returns the status of the response.
///
/// # Errors
/// Returns an error if the connection breaks.
pub async fn guess(client: &Client, url: &str, n: u32) -> anyhow::Result<u16> {
    Ok(guess_at(client, url, &format!("nobody{n}@example.com"), n).await?.0)
}

/// Enters a wrong password for an address, from the nth network address. Returns the status and the page of the response.
///
/// # Errors
/// Returns an error if the connection breaks.
pub async fn guess_at(client: &Client, url: &str, email: &str, n: u32) -> anyhow::Result<(u16, String)> {
    let request = client.post(format!("{url}/sign-in")).header("content-type", "application/x-www-form-urlencoded");
    let [_, a, b, c] = n.to_be_bytes();
    let form = format!("email={email}&password=wrong+password");
    let response = request.header("x-forwarded-for", format!("10.{a}.{b}.{c}")).body(form).send().await?;
    Ok((response.status().as_u16(), response.text().await?))
}

/// Sends a chat request with this body.
///
/// # Errors
/// Returns an error if the connection breaks.
pub async fn post(user: &User, body: &serde_json::Value) -> anyhow::Result<Response> {
    let request = user.client.post(format!("{}/api/chat", user.url)).header("content-type", "application/json");
    Ok(request.header("cookie", &user.cookie).body(body.to_string()).send().await?)
}

/// Stops a turn, if it is still running.
///
/// # Errors
/// Returns an error if the connection breaks.
pub async fn stop(user: &User, turn: &str) -> anyhow::Result<()> {
    let request = user.client.post(format!("{}/api/turns/{turn}/stop", user.url));
    request.header("cookie", &user.cookie).send().await?;
    Ok(())
}

impl User {
    /// Returns the same user connected to another server.
    #[must_use]
    pub fn at(&self, url: &str) -> Self {
        Self { url: url.to_owned(), ..self.clone() }
    }
}

/// Sends a message and reads the response to the end, whatever its status. Returns the status, whether `Retry-After` is set, and whether
/// the stream had a `finish` event.
///
/// # Errors
/// Returns an error if the connection breaks.
pub async fn ask_anything(user: &User, text: &str) -> anyhow::Result<(u16, bool, bool)> {
    let body = json!({"model": "claude-haiku-5-5", "text": text}).to_string();
    let request = user.client.post(format!("{}/api/chat", user.url)).header("content-type", "application/json");
    let response = request.header("cookie", &user.cookie).timeout(Duration::from_secs(90)).body(body).send().await?;
    let (status, has_time) = (response.status().as_u16(), response.headers().contains_key("retry-after"));
    Ok((status, has_time, response.text().await?.contains("event: finish")))
}

/// Measures the time to first token of a short response.
///
/// # Errors
/// Returns an error if the request fails or the stream has no token.
pub async fn first_token_time(user: &User) -> anyhow::Result<Duration> {
    time_to_first_token(user, "{{words:2}} first").await
}

/// Requests the token estimate of a text of `bytes` bytes. Returns the status of the response.
///
/// # Errors
/// Returns an error if the connection breaks.
pub async fn estimate(user: &User, bytes: usize) -> anyhow::Result<u16> {
    let body = json!({"text": "word ".repeat(bytes / 5)}).to_string();
    let request = user.client.post(format!("{}/api/estimate", user.url)).header("content-type", "application/json");
    Ok(request.header("cookie", &user.cookie).body(body).send().await?.status().as_u16())
}

/// Loads a page. Returns how long that took, and its size in bytes.
///
/// # Errors
/// Returns an error if the connection breaks or the status isn't 200.
pub async fn page(user: &User, path: &str) -> anyhow::Result<(Duration, usize)> {
    let began = Instant::now();
    let response = user.client.get(format!("{}{path}", user.url)).header("cookie", &user.cookie).send().await?;
    ensure!(response.status() == 200, "{path} returned {}", response.status());
    let size = response.bytes().await?.len();
    Ok((began.elapsed(), size))
}

/// Loads a page and returns its HTML.
///
/// # Errors
/// Returns an error if the connection breaks or the status isn't 200.
pub async fn html(user: &User, path: &str) -> anyhow::Result<String> {
    let response = user.client.get(format!("{}{path}", user.url)).header("cookie", &user.cookie).send().await?;
    ensure!(response.status() == 200, "{path} returned {}", response.status());
    Ok(response.text().await?)
}

/// Loads the user's quota from the API.
///
/// # Errors
/// Returns an error if the connection breaks or the response isn't JSON.
pub async fn quota(user: &User) -> anyhow::Result<serde_json::Value> {
    let request = user.client.get(format!("{}/api/quota", user.url)).header("cookie", &user.cookie);
    Ok(serde_json::from_str(&request.send().await?.text().await?)?)
}

/// Loads the journal of all calls that the fake provider served.
///
/// # Errors
/// Returns an error if the provider doesn't respond with JSON.
pub async fn served(provider: &str) -> anyhow::Result<Vec<serde_json::Value>> {
    Ok(serde_json::from_str(&client()?.get(format!("{provider}/journal")).send().await?.text().await?)?)
}

/// Sends a message and reads the response to the end. Returns the time to first token.
pub async fn time_to_first_token(user: &User, text: &str) -> anyhow::Result<Duration> {
    time_to_first(user, "/api/chat", text, "event: delta").await
}

/// Like [`time_to_first_token`], for the HTML view that the chat page reads. Returns the time to the first block.
///
/// # Errors
/// Returns an error if the request fails or the stream has no block.
pub async fn time_to_first_block(user: &User, text: &str) -> anyhow::Result<Duration> {
    time_to_first(user, "/api/chat?view=html", text, "event: block").await
}

async fn time_to_first(user: &User, path: &str, text: &str, marker: &str) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let (after, mut rest) = {
        let response = send(user, path, text).await?;
        let sent = began.elapsed();
        let (first, rest) = first_token(response, marker).await?;
        (sent + first, rest)
    };
    while rest.chunk().await?.is_some() {}
    Ok(after)
}

/// Sends a message to the pass-through.
async fn send_through(client: &Client, url: &str, text: &str) -> anyhow::Result<Response> {
    let body = json!({"model": "claude-haiku-5-5", "max_tokens": 4_096, "stream": true, "messages": [{"role": "user", "content": text}]});
    Ok(client.post(url).header("content-type", "application/json").body(body.to_string()).send().await?)
}

/// Like [`time_to_first_token`], through the pass-through.
pub async fn pass(client: &Client, url: &str, text: &str) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let response = send_through(client, url, text).await?;
    let sent = began.elapsed();
    let (first, mut rest) = first_token(response, "text_delta").await?;
    while rest.chunk().await?.is_some() {}
    Ok(sent + first)
}

/// Sends a message to the pass-through and reads until the first token.
pub async fn open_through(client: &Client, url: &str, text: &str) -> anyhow::Result<Response> {
    Ok(first_token(send_through(client, url, text).await?, "text_delta").await?.1)
}

/// Sends a message and reads until the first token. Returns the open response and the turn's id.
pub async fn open(user: &User, text: &str) -> anyhow::Result<(Response, String)> {
    let turn = uuid::Uuid::now_v7().to_string();
    let body = json!({"model": "claude-haiku-5-5", "text": text, "turn_id": turn}).to_string();
    let request = user.client.post(format!("{}/api/chat", user.url)).header("content-type", "application/json");
    let response = request.header("cookie", &user.cookie).body(body).send().await?;
    ensure!(response.status() == 200, "{}", response.text().await?);
    Ok((first_token(response, "event: delta").await?.1, turn))
}

/// Opens the event stream of a running turn and reads until the first token.
pub async fn follow(user: &User, turn: &str) -> anyhow::Result<Response> {
    let request = user.client.get(format!("{}/api/turns/{turn}/events", user.url));
    let response = request.header("cookie", &user.cookie).send().await?;
    ensure!(response.status() == 200, "{}", response.text().await?);
    Ok(first_token(response, "event: delta").await?.1)
}

/// Reads a response to the end, failing after `max_silence` without data. Returns whether it finished, and its longest silence.
pub async fn drain(mut response: Response, max_silence: Duration) -> anyhow::Result<(bool, Duration)> {
    let (mut longest, mut tail) = (Duration::ZERO, String::new());
    loop {
        let began = Instant::now();
        let Some(bytes) = tokio::time::timeout(max_silence, response.chunk()).await.context("stalled")?? else { break };
        longest = longest.max(began.elapsed());
        tail.push_str(&String::from_utf8_lossy(&bytes));
        let keep = tail.len().saturating_sub(4_096);
        if keep > 0 && tail.is_char_boundary(keep) {
            tail.drain(..keep);
        }
    }
    Ok((tail.contains("\"outcome\":\"finished\""), longest))
}

/// Releases the responses that the fake provider holds.
pub async fn release(provider: &str) -> anyhow::Result<()> {
    client()?.post(format!("{provider}/release")).send().await?;
    Ok(())
}
