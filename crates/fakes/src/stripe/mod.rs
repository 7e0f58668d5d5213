//! Stripe simulator on a real socket, for development and tests: customers, products, prices, the hosted checkout, subscriptions that
//! renew and lapse, invoices, the customer portal, test clocks, refunds, disputes, and signed webhooks that are retried. No money moves,
//! and each of its pages says so.
//!
//! Objects have the fields of Stripe's public OpenAPI fixtures that async-stripe requires. Test cards are Stripe's: 4242 4242 4242 4242
//! succeeds, 4000 0000 0000 0341 succeeds at first and fails later, 4000 0000 0000 0002 is declined.
//!
//! Routes under `/_control` replace Stripe's dashboard: `watch` sets the webhook URL, `clock` advances time, `hooks` duplicates, holds and
//! reorders events, `card` changes a customer's card, `discount` gives them a coupon, `dispute` disputes a charge, `history` writes a
//! subscription that began in the past, and `down` makes the API respond with 503.

mod api;
mod cycle;
mod form;
mod history;
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

/// The simulator's persistent state.
#[derive(Default, Serialize, Deserialize)]
struct State {
    /// Number of writes so far, which orders the objects.
    serial: u64,
    /// Seconds by which the simulator's clock is ahead of the machine's.
    ahead: i64,
    /// All objects by id, each with the serial number of its creation.
    objects: BTreeMap<String, (u64, Value)>,
    /// Card number by customer.
    cards: BTreeMap<String, String>,
    /// Request, status and response by idempotency key.
    keys: BTreeMap<String, (String, u16, Value)>,
    /// Number of POST requests by path, for tests.
    posts: BTreeMap<String, u64>,
}

#[derive(Clone)]
struct Shared {
    state: Arc<Mutex<State>>,
    hooks: Arc<Hooks>,
    url: Arc<str>,
    file: Option<Arc<PathBuf>>,
    down: Arc<AtomicBool>,
    requests: Arc<AtomicU64>,
    is_stalled: tokio::sync::watch::Sender<bool>,
    stalled_requests: Arc<AtomicU64>,
}

/// A running Stripe simulator.
pub struct FakeStripe {
    shared: Shared,
}

impl FakeStripe {
    /// Starts a simulator on an address; port 0 selects a free port. With a file, the state is loaded from it and
    /// saved after each change.
    ///
    /// # Errors
    /// Returns an error if the address is in use or the file can't be read.
    pub async fn start(addr: SocketAddr, file: Option<PathBuf>) -> anyhow::Result<Self> {
        // Fails if a provider is already installed, which is fine.
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
            requests: Arc::default(),
            is_stalled: tokio::sync::watch::Sender::new(false),
            stalled_requests: Arc::default(),
        };
        let router =
            Router::new().merge(api::router()).merge(pages::router()).merge(hooks::router()).with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { shared })
    }

    /// Returns its URL, the value for `STRIPE_BASE_URL`.
    #[must_use]
    pub fn url(&self) -> String {
        self.shared.url.to_string()
    }

    /// Sends all future events to a URL, signed with a secret.
    pub fn set_webhook(&self, url: &str, secret: &str) {
        self.shared.hooks.set_webhook(url, &[secret.to_owned()]);
    }

    /// Sends all future events to a URL, signed with each of these secrets, as while a secret is being rolled.
    pub fn set_webhook_with_secrets(&self, url: &str, secrets: &[String]) {
        self.shared.hooks.set_webhook(url, secrets);
    }

    /// Holds events back until they are released.
    pub fn hold(&self) {
        self.shared.hooks.hold();
    }

    /// Takes the events that were held back, oldest first; they won't be sent.
    #[must_use]
    pub fn take_held_events(&self) -> Vec<Value> {
        self.shared.hooks.take_held_events()
    }

    /// Returns the number of events whose delivery has begun and neither succeeded nor been given up.
    #[must_use]
    pub fn undelivered_events(&self) -> usize {
        self.shared.hooks.undelivered()
    }

    /// Returns the current state of an object.
    #[must_use]
    pub fn object(&self, id: &str) -> Option<Value> {
        self.shared.lock().objects.get(id).map(|(_, object)| object.clone())
    }

    /// Returns all objects of a kind (`subscription`, `customer`), oldest first.
    #[must_use]
    pub fn all(&self, kind: &str) -> Vec<Value> {
        self.shared.lock().list(kind).into_iter().rev().collect()
    }

    /// Sets whether the API responds to every request with 503.
    pub fn set_down(&self, is_down: bool) {
        self.shared.down.store(is_down, Ordering::Relaxed);
    }

    /// Sets whether API requests wait, except those to `/v1/customers`. `false` releases the waiting ones.
    pub fn set_stalled(&self, is_stalled: bool) {
        self.shared.is_stalled.send_replace(is_stalled);
    }

    /// Returns the number of requests waiting because of [`set_stalled`](Self::set_stalled).
    #[must_use]
    pub fn stalled_requests(&self) -> u64 {
        self.shared.stalled_requests.load(Ordering::Relaxed)
    }

    /// Inserts an object, or replaces the one with its id, without sending an event.
    pub fn insert_object(&self, object: Value) {
        self.shared.lock().put(object);
    }

    /// Returns the number of API requests received.
    #[must_use]
    pub fn request_count(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies a change to the state, saves the state to the file, and sends the events that were created.
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
    /// Returns the time in Unix seconds on the customer's test clock, or on the simulator's clock if there is none.
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

    /// Generates a random id, so that ids of different runs never collide.
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

    /// Returns all objects of a kind, newest first, which is the order of lists in Stripe.
    fn list(&self, kind: &str) -> Vec<Value> {
        let mut found: Vec<_> = self.objects.values().filter(|(_, object)| object["object"] == kind).collect();
        found.sort_by_key(|(serial, _)| std::cmp::Reverse(*serial));
        found.into_iter().map(|(_, object)| object.clone()).collect()
    }
}

/// Returns the machine's time in Unix seconds. The fakes are a separate service, so they read the clock themselves.
fn unix_now() -> u64 {
    #[allow(clippy::disallowed_methods, reason = "the fake is a service with its own clock")]
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
