//! Measures the pages of a release build: how many landing pages per second it serves over connections that are kept alive, and how long
//! the HTML of a chat takes at fifty requests per second, each timed from when it was due, so that a slow response delays no other one.
//! Prints each figure with its goal, and fails if one is missed.
//!
//! Run it with `./dev bench pages`. It requires `DATABASE_URL` and `REDIS_URL`, creates its own database, and starts
//! `target/release/quotient` as a separate process. Server and client share this machine's cores.

use anyhow::{Context as _, ensure};
use bench::process::{Database, Process};
use bench::user::{self, User, Users};
use bench::{ms, percentile, print_result};
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

const CONNECTIONS: usize = 32;
const WARM_UP: Duration = Duration::from_secs(2);
const MEASURED: Duration = Duration::from_secs(10);
/// Pages without an account, each with the number of pages per second that is wanted.
const SITE: [(&str, Option<f64>); 3] = [("/", Some(5_000.0)), ("/pricing", None), ("/sign-in", None)];

const USERS: usize = 8;
/// Number of turns in each user's conversation.
const TURNS: usize = 8;
/// A message whose response has 120 words.
const MESSAGE: &str = "{{words:120}} How does a lease end, and what do I have to do?";
const CHAT_PERIOD: Duration = Duration::from_millis(20);
const CHAT_REQUESTS: usize = 1_500;
/// The wanted 95th percentile.
const CHAT_GOAL: Duration = Duration::from_millis(20);

#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn main() -> anyhow::Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let provider = Process::fakes()?;
    let db = Database::fresh().await?;
    let server = Process::quotient(&db.url, &provider.url)?;
    db.no_limits().await?;
    let mut missed = Vec::new();
    for (path, goal) in SITE {
        let rate = measure_site(&server, path, goal).await?;
        if goal.is_some_and(|goal| rate < goal) {
            missed.push(path);
        }
    }
    let users = Users::sign_up(db.pool(), &server.url, USERS).await?;
    let mut chats = Vec::with_capacity(USERS);
    for n in 0..USERS {
        let user = users.one(n);
        let path = write_conversation(&user).await?;
        chats.push((user, path));
    }
    if measure_chat(&server, &chats).await? > CHAT_GOAL {
        missed.push("/chat");
    }
    server.stop()?;
    db.drop().await?;
    ensure!(missed.is_empty(), "goals missed: {}", missed.join(", "));
    Ok(())
}

/// Prints how many pages per second the server sends, and returns that number.
async fn measure_site(server: &Process, path: &'static str, goal: Option<f64>) -> anyhow::Result<f64> {
    let address = server.url.strip_prefix("http://").context("no address")?;
    let from = Instant::now() + WARM_UP;
    let until = from + MEASURED;
    let workers = (0..CONNECTIONS).map(|_| tokio::spawn(request_repeatedly(address.to_owned(), path, from, until)));
    let workers: Vec<_> = workers.collect();
    tokio::time::sleep_until(from.into()).await;
    let before = server.cpu()?;
    tokio::time::sleep_until(until.into()).await;
    let busy = server.cpu()? - before;
    let (mut times, mut size) = (Vec::new(), 0);
    for worker in workers {
        let (taken, bytes) = worker.await??;
        times.extend(taken);
        size = bytes;
    }
    let rate = times.len() as f64 / MEASURED.as_secs_f64();
    let each = busy / u32::try_from(times.len().max(1))?;
    let (p50, p99) = (percentile(&mut times, 50), percentile(&mut times, 99));
    let wanted = goal.map_or_else(String::new, |goal| format!("  goal {goal:.0}/s: {}", verdict(rate >= goal)));
    let line =
        format!("{rate:.0}/s  p50 {}  p99 {}  CPU {} each  {} KiB{wanted}", ms(p50), ms(p99), ms(each), size / 1_024);
    print_result(&format!("GET {path}, {CONNECTIONS} connections"), &line)?;
    Ok(rate)
}

/// Requests a page over one connection until an instant. Returns how long each request took that began at or after `from`, and the size of
/// the page in bytes.
async fn request_repeatedly(
    address: String,
    path: &'static str,
    from: Instant,
    until: Instant,
) -> anyhow::Result<(Vec<Duration>, usize)> {
    let stream = TcpStream::connect(&address).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let (mut times, mut size) = (Vec::new(), 0);
    loop {
        let began = Instant::now();
        if began >= until {
            break;
        }
        sender.ready().await?;
        let request = Request::get(path).header("host", address.as_str()).body(Empty::<Bytes>::new())?;
        let mut response = sender.send_request(request).await?;
        ensure!(response.status() == 200, "{path} returned {}", response.status());
        size = 0;
        while let Some(frame) = response.frame().await {
            size += frame?.data_ref().map_or(0, Bytes::len);
        }
        if began >= from {
            times.push(began.elapsed());
        }
    }
    connection.abort();
    Ok((times, size))
}

/// Writes a conversation of several turns. Returns the path of its page.
async fn write_conversation(user: &User) -> anyhow::Result<String> {
    user::time_to_first_token(user, MESSAGE).await?;
    let page = user::html(user, "/chat").await?;
    let ids = page.split("href=\"/chat/").skip(1).filter_map(|rest| rest.get(..36));
    let id = ids.into_iter().find(|id| uuid::Uuid::parse_str(id).is_ok()).context("no link to the conversation")?;
    for _ in 1..TURNS {
        let body = json!({"model": "claude-haiku-5-5", "text": MESSAGE, "conversation_id": id});
        let response = user::post(user, &body).await?;
        ensure!(response.status() == 200, "a turn was refused with {}", response.status());
        response.text().await?;
    }
    Ok(format!("/chat/{id}"))
}

/// Requests pages of conversations at a fixed rate, whether or not earlier ones have arrived. Prints and returns the 95th percentile of the
/// time from when each was due to its last byte.
async fn measure_chat(server: &Process, chats: &[(User, String)]) -> anyhow::Result<Duration> {
    let mut size = 0;
    for (user, path) in chats.iter().cycle().take(20 * USERS) {
        size = user::page(user, path).await?.1;
    }
    let before = server.cpu()?;
    let mut every = tokio::time::interval(CHAT_PERIOD);
    let mut requests = Vec::with_capacity(CHAT_REQUESTS);
    for (user, path) in chats.iter().cycle().take(CHAT_REQUESTS) {
        let (user, path) = (user.clone(), path.clone());
        let due = every.tick().await;
        requests.push(tokio::spawn(async move {
            user::page(&user, &path).await?;
            anyhow::Ok(due.elapsed())
        }));
    }
    let mut times = Vec::with_capacity(CHAT_REQUESTS);
    for request in requests {
        times.push(request.await??);
    }
    let each = (server.cpu()? - before) / u32::try_from(CHAT_REQUESTS)?;
    let [p50, p95, p99] = [50, 95, 99].map(|share| percentile(&mut times, share));
    let line = format!(
        "p50 {}  p95 {}  p99 {}  CPU {} each  {} KiB  goal p95 {}: {}",
        ms(p50),
        ms(p95),
        ms(p99),
        ms(each),
        size / 1_024,
        ms(CHAT_GOAL),
        verdict(p95 <= CHAT_GOAL)
    );
    let rate = 1_000 / CHAT_PERIOD.as_millis();
    print_result(&format!("GET /chat/…, {TURNS} turns, at {rate}/s"), &line)?;
    Ok(p95)
}

const fn verdict(is_met: bool) -> &'static str {
    if is_met { "met" } else { "missed" }
}
