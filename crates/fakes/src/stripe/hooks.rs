//! Webhooks, signed like Stripe's (<https://docs.stripe.com/webhooks/signature>) and retried until accepted. On request, events are
//! duplicated, held back or reordered.

use super::form::{flag, number, read};
use super::{Shared, cycle, object, unix_now};
use axum::Router;
use axum::extract::{Path, RawForm, State};
use axum::http::StatusCode;
use axum::routing::post;
use hmac::{Hmac, KeyInit as _, Mac as _};
use rand::seq::SliceRandom as _;
use serde_json::{Value, json};
use sha2::Sha256;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

/// Maximum attempts per delivery. The pauses start at 100 ms and double up to 25.6 s.
const MAX_ATTEMPTS: u32 = 12;

#[derive(Default)]
struct Inner {
    url: Option<String>,
    secrets: Vec<String>,
    copies: usize,
    holds: bool,
    held: Vec<Value>,
}

#[derive(Default)]
pub(super) struct Hooks {
    inner: Mutex<Inner>,
    /// Number of deliveries that were begun and have neither succeeded nor been given up.
    undelivered: Arc<AtomicUsize>,
}

impl Hooks {
    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_webhook(&self, url: &str, secrets: &[String]) {
        let mut inner = self.lock();
        inner.url = Some(url.to_owned());
        inner.secrets = secrets.to_vec();
    }

    pub(super) fn hold(&self) {
        self.lock().holds = true;
    }

    pub(super) fn take_held_events(&self) -> Vec<Value> {
        std::mem::take(&mut self.lock().held)
    }

    pub(super) fn undelivered(&self) -> usize {
        self.undelivered.load(Ordering::Relaxed)
    }

    /// Delivers an event in the background, or keeps it while events are held.
    pub(super) fn send(&self, event: Value) {
        let mut inner = self.lock();
        if inner.holds {
            inner.held.push(event);
            return;
        }
        let Some(url) = inner.url.clone() else { return };
        for _ in 0..=inner.copies {
            self.undelivered.fetch_add(1, Ordering::Relaxed);
            let undelivered = Arc::clone(&self.undelivered);
            let delivery = deliver(url.clone(), inner.secrets.clone(), event.to_string());
            tokio::spawn(async move {
                delivery.await;
                undelivered.fetch_sub(1, Ordering::Relaxed);
            });
        }
    }
}

/// Shared client without idle connections, which would belong to the runtime of the first test that used them.
static CLIENT: LazyLock<reqwest::Client> =
    LazyLock::new(|| reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap_or_default());

async fn deliver(url: String, secrets: Vec<String>, body: String) {
    for attempt in 0..MAX_ATTEMPTS {
        let now = unix_now();
        let request = CLIENT
            .post(&url)
            .header("content-type", "application/json; charset=utf-8")
            .header("stripe-signature", signature(&secrets, now, &body))
            .timeout(Duration::from_secs(10))
            .body(body.clone());
        if request.send().await.is_ok_and(|response| response.status().is_success()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100 << attempt.min(8))).await;
    }
}

/// Builds the `Stripe-Signature` header of a body, with a `v1` for each secret.
pub(super) fn signature(secrets: &[String], now: u64, body: &str) -> String {
    let mut header = format!("t={now}");
    for secret in secrets {
        if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) {
            mac.update(format!("{now}.{body}").as_bytes());
            header.push_str(&format!(",v1={}", hex::encode(mac.finalize().into_bytes())));
        }
    }
    header
}

/// Routes under `/_control`, which simulate actions in Stripe's dashboard, disputes, outages and the passing of time.
pub(super) fn router() -> Router<Shared> {
    Router::new()
        .route("/_control/watch", post(set_webhook))
        .route("/_control/hooks", post(hooks))
        .route("/_control/clock", post(clock))
        .route("/_control/card/{customer}", post(card))
        .route("/_control/currency/{customer}", post(currency))
        .route("/_control/discount/{customer}", post(discount))
        .route("/_control/dispute/{charge}", post(dispute))
        .route("/_control/item/{subscription}", post(add_item))
        .route("/_control/history/{customer}", post(history))
        .route("/_control/down", post(down))
}

async fn set_webhook(State(shared): State<Shared>, RawForm(body): RawForm) {
    let form = read(&String::from_utf8_lossy(&body));
    let secret = form["secret"].as_str().unwrap_or("whsec_fake").to_owned();
    shared.hooks.set_webhook(form["url"].as_str().unwrap_or_default(), &[secret]);
}

/// `copies=2` sends each event three times; `hold=true` holds events back; `hold=false` releases them, with `shuffle=true` in random order.
async fn hooks(State(shared): State<Shared>, RawForm(body): RawForm) {
    let form = read(&String::from_utf8_lossy(&body));
    let released = {
        let mut inner = shared.hooks.lock();
        if let Some(copies) = number(&form["copies"]).and_then(|copies| usize::try_from(copies).ok()) {
            inner.copies = copies;
        }
        match flag(&form["hold"]) {
            Some(true) => inner.holds = true,
            Some(false) => inner.holds = false,
            None => {}
        }
        if inner.holds { Vec::new() } else { std::mem::take(&mut inner.held) }
    };
    let mut released = released;
    if flag(&form["shuffle"]) == Some(true) {
        released.shuffle(&mut rand::rng());
    }
    for event in released {
        shared.hooks.send(event);
    }
}

/// `days=32`, `seconds=5`: advances the simulator's clock and applies everything that is due.
async fn clock(State(shared): State<Shared>, RawForm(body): RawForm) {
    let by = cycle::seconds(&read(&String::from_utf8_lossy(&body)));
    let url = shared.url.clone();
    shared.change(|state| {
        state.ahead += by;
        state.catch_up(None, &url);
    });
}

async fn card(State(shared): State<Shared>, Path(customer): Path<String>, RawForm(body): RawForm) {
    let form = read(&String::from_utf8_lossy(&body));
    shared.change(|state| state.cards.insert(customer, form["number"].as_str().unwrap_or_default().to_owned()));
}

/// `currency=eur`: gives a customer the currency of an earlier payment.
async fn currency(State(shared): State<Shared>, Path(customer): Path<String>, RawForm(body): RawForm) {
    let form = read(&String::from_utf8_lossy(&body));
    shared.change(|state| state.edit(&customer, |customer| customer["currency"] = form["currency"].clone()));
}

/// `percent_off=50`: gives a customer a coupon for all later invoices; `percent_off=0` removes it.
async fn discount(State(shared): State<Shared>, Path(customer): Path<String>, RawForm(body): RawForm) -> StatusCode {
    let form = read(&String::from_utf8_lossy(&body));
    let Some(percent) = number(&form["percent_off"]).filter(|percent| (0..=100).contains(percent)) else {
        return StatusCode::BAD_REQUEST;
    };
    let changed =
        shared.change(|state| state.edit(&customer, |customer| customer["fake_percent_off"] = json!(percent)));
    if changed.is_null() { StatusCode::NOT_FOUND } else { StatusCode::OK }
}

async fn dispute(State(shared): State<Shared>, Path(charge): Path<String>) -> StatusCode {
    shared.change(|state| {
        let Some(found) = state.get(&charge).cloned() else { return StatusCode::NOT_FOUND };
        let id = state.id("du");
        let now = state.now(found["customer"].as_str());
        let dispute = state.put(json!({"id": id, "object": "dispute", "amount": found["amount"], "charge": charge, "created": now,
            "currency": found["currency"], "livemode": false, "metadata": {}, "reason": "fraudulent", "status": "needs_response"}));
        state.emit("charge.dispute.created", &dispute);
        StatusCode::OK
    })
}

/// `price=price_1`: adds an item to a subscription, before its others.
async fn add_item(
    State(shared): State<Shared>,
    Path(subscription): Path<String>,
    RawForm(body): RawForm,
) -> StatusCode {
    let form = read(&String::from_utf8_lossy(&body));
    shared.change(|state| {
        let price = form["price"].as_str().and_then(|price| state.get(price)).cloned();
        let (Some(price), Some(found)) = (price, state.get(&subscription).cloned()) else {
            return StatusCode::NOT_FOUND;
        };
        let period = |end: &str| found["items"]["data"][0][end].as_i64().unwrap_or(0);
        let id = state.id("si");
        let item =
            object::item(&id, &subscription, &price, period("current_period_start"), period("current_period_end"));
        let changed = state.edit(&subscription, |subscription| {
            if let Some(items) = subscription["items"]["data"].as_array_mut() {
                items.insert(0, item);
            }
        });
        state.emit("customer.subscription.updated", &changed);
        StatusCode::OK
    })
}

/// `price=price_1&begins_at=1790000000`, optionally `trial_days`, `cancels_at` and `card_fails_at`: gives a customer a subscription that began
/// in the past, with its invoices up to now.
async fn history(State(shared): State<Shared>, Path(customer): Path<String>, RawForm(body): RawForm) -> StatusCode {
    let form = read(&String::from_utf8_lossy(&body));
    let url = shared.url.clone();
    let written = shared.change(|state| state.write_history(&customer, &form, &url));
    written.map_or(StatusCode::NOT_FOUND, |()| StatusCode::OK)
}

async fn down(State(shared): State<Shared>, RawForm(body): RawForm) {
    let form = read(&String::from_utf8_lossy(&body));
    shared.down.store(flag(&form["down"]).unwrap_or(true), Ordering::Relaxed);
}
