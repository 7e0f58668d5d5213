//! A Stripe on a real socket, for development and tests: customers, products, prices, the hosted checkout, subscriptions
//! that renew and lapse, invoices, the customer portal, test clocks, refunds, disputes, and signed webhooks that are
//! tried again. No money moves, and every page of it says so.
//!
//! Objects have the fields of Stripe's public OpenAPI fixtures that async-stripe insists on. Cards as at Stripe:
//! 4242 4242 4242 4242 pays, 4000 0000 0000 0341 is taken and then fails, 4000 0000 0000 0002 is declined.
//!
//! Under `/_control` it does what Stripe's dashboard would: `clock` moves time on, `hooks` makes copies of events, holds
//! them back and mixes their order, `card` and `dispute` make trouble, `down` stops answering.

mod api;
mod cycle;
mod form;
mod hooks;
mod object;
mod pages;

use axum::Router;
use hooks::Hooks;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::net::TcpListener;

/// Everything it remembers.
#[derive(Default, Serialize, Deserialize)]
struct State {
    /// Counts what was made, for order.
    serial: u64,
    /// How far its clock is ahead of the machine's, in seconds.
    ahead: i64,
    /// All objects by id, each with its place in time.
    objects: BTreeMap<String, (u64, Value)>,
    /// The card of each customer.
    cards: BTreeMap<String, String>,
    /// Answers by idempotency key, with what was asked.
    keys: BTreeMap<String, (String, u16, Value)>,
    /// How often each path was asked to change something, for tests.
    posts: BTreeMap<String, u64>,
}

#[derive(Clone)]
struct Shared {
    state: Arc<Mutex<State>>,
    hooks: Arc<Hooks>,
    url: Arc<str>,
    file: Option<Arc<PathBuf>>,
    down: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
    stall: tokio::sync::watch::Sender<bool>,
    stalled: Arc<AtomicU64>,
}

/// A running Stripe simulator.
pub struct FakeStripe {
    shared: Shared,
}

impl FakeStripe {
    /// Starts on an address; port 0 takes a free one. With a file it remembers what was before.
    ///
    /// # Errors
    /// Returns an error if the address is in use or the file can't be read.
    pub async fn start(addr: SocketAddr, file: Option<PathBuf>) -> anyhow::Result<Self> {
        // A second time changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind(addr).await?;
        let state = match &file {
            Some(path) if path.exists() => serde_json::from_slice(&std::fs::read(path)?)?,
            _ => State::default(),
        };
        let shared = Shared {
            state: Arc::new(Mutex::new(state)),
            hooks: Arc::default(),
            url: format!("http://{}", listener.local_addr()?).into(),
            file: file.map(Arc::new),
            down: Arc::default(),
            asked: Arc::default(),
            stall: tokio::sync::watch::Sender::new(false),
            stalled: Arc::default(),
        };
        let router =
            Router::new().merge(api::router()).merge(pages::router()).merge(hooks::router()).with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { shared })
    }

    /// Where it listens: what `STRIPE_BASE_URL` is set to.
    #[must_use]
    pub fn url(&self) -> String {
        self.shared.url.to_string()
    }

    /// Sends all events to an address from now on, signed with a secret.
    pub fn watch(&self, url: &str, secret: &str) {
        self.shared.hooks.watch(url, &[secret.to_owned()]);
    }

    /// Signs with these secrets at once, as while one is rolled.
    pub fn watch_rolling(&self, url: &str, secrets: &[String]) {
        self.shared.hooks.watch(url, secrets);
    }

    /// Keeps events back until they are released.
    pub fn hold(&self) {
        self.shared.hooks.hold();
    }

    /// The events that were kept back, in the order they happened; they are forgotten here.
    #[must_use]
    pub fn held(&self) -> Vec<Value> {
        self.shared.hooks.take_held()
    }

    /// An object as it is now.
    #[must_use]
    pub fn object(&self, id: &str) -> Option<Value> {
        self.shared.lock().objects.get(id).map(|(_, object)| object.clone())
    }

    /// All objects of a kind (`subscription`, `customer`), the oldest first.
    #[must_use]
    pub fn all(&self, kind: &str) -> Vec<Value> {
        self.shared.lock().list(kind).into_iter().rev().collect()
    }

    /// Answers nothing but 503 while true.
    pub fn set_down(&self, is_down: bool) {
        self.shared.down.store(is_down, Ordering::Relaxed);
    }

    /// Holds back answers to everything but a customer's own record until it is let go.
    pub fn stall(&self, stalls: bool) {
        self.shared.stall.send_replace(stalls);
    }

    /// How many requests wait because of that.
    #[must_use]
    pub fn stalled(&self) -> u64 {
        self.shared.stalled.load(Ordering::Relaxed)
    }

    /// Puts an object in place of the one with its id, or anew, without an event.
    pub fn plant(&self, object: Value) {
        self.shared.lock().put(object);
    }

    /// How many API requests came.
    #[must_use]
    pub fn asked(&self) -> u64 {
        self.shared.asked.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something to the state; the events it made are sent, and all is written to the file.
    fn change<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        let (answer, events) = {
            let mut state = self.lock();
            let before = state.serial;
            let answer = work(&mut state);
            let mut events: Vec<(u64, Value)> = state
                .objects
                .values()
                .filter(|(serial, object)| *serial > before && object["object"] == "event")
                .cloned()
                .collect();
            events.sort_by_key(|(serial, _)| *serial);
            if let Some(path) = &self.file
                && let Ok(bytes) = serde_json::to_vec(&*state)
            {
                let _ = std::fs::write(path.as_ref(), bytes);
            }
            (answer, events)
        };
        for (_, event) in events {
            self.hooks.send(event);
        }
        answer
    }
}

impl State {
    /// The clock's time in seconds, of a customer or of the deployment.
    fn now(&self, customer: Option<&str>) -> i64 {
        let clock = customer
            .and_then(|id| self.objects.get(id))
            .and_then(|(_, customer)| customer["test_clock"].as_str())
            .and_then(|id| self.objects.get(id))
            .and_then(|(_, clock)| clock["frozen_time"].as_i64());
        clock.unwrap_or_else(|| {
            let real = unix_now();
            i64::try_from(real).unwrap_or(0) + self.ahead
        })
    }

    /// A new id; random, so that one start's ids are never another's.
    fn id(&mut self, prefix: &str) -> String {
        format!("{prefix}_fake{:016x}", rand::random::<u64>())
    }

    fn put(&mut self, object: Value) -> Value {
        self.serial += 1;
        let id = object["id"].as_str().unwrap_or_default().to_owned();
        let serial = self.objects.get(&id).map_or(self.serial, |(serial, _)| *serial);
        self.objects.insert(id, (serial, object.clone()));
        object
    }

    fn get(&self, id: &str) -> Option<&Value> {
        self.objects.get(id).map(|(_, object)| object)
    }

    fn edit(&mut self, id: &str, edit: impl FnOnce(&mut Value)) -> Value {
        match self.objects.get_mut(id) {
            Some((_, object)) => {
                edit(object);
                object.clone()
            }
            None => Value::Null,
        }
    }

    /// All of a kind, the newest first, as Stripe lists.
    fn list(&self, kind: &str) -> Vec<Value> {
        let mut found: Vec<_> = self.objects.values().filter(|(_, object)| object["object"] == kind).collect();
        found.sort_by_key(|(serial, _)| std::cmp::Reverse(*serial));
        found.into_iter().map(|(_, object)| object.clone()).collect()
    }
}

/// The machine's clock: this crate is an edge of its own.
fn unix_now() -> u64 {
    #[allow(clippy::disallowed_methods, reason = "the fake is a service with its own clock")]
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
