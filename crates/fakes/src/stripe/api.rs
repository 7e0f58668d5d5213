//! The part of the API under `/v1` that subscriptions need: <https://docs.stripe.com/api>.

use super::form::{flag, list, number, read};
use super::{Shared, State, cycle, object};
use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{RawQuery, State as Extract};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

/// An error response: HTTP status, error code and parameter.
struct Error(u16, &'static str, &'static str);

type Answer = Result<Value, Error>;

pub(super) fn router() -> Router<Shared> {
    Router::new().route("/v1/{*path}", any(answer))
}

async fn answer(
    Extract(shared): Extract<Shared>,
    method: Method,
    uri: Uri,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    shared.requests.fetch_add(1, Ordering::Relaxed);
    if shared.down.load(Ordering::Relaxed) {
        return refusal(&Error(503, "api_error", ""));
    }
    if !uri.path().starts_with("/v1/customers") && *shared.is_stalled.borrow() {
        shared.stalled_requests.fetch_add(1, Ordering::Relaxed);
        let _ = shared.is_stalled.subscribe().wait_for(|is_stalled| !is_stalled).await;
        shared.stalled_requests.fetch_sub(1, Ordering::Relaxed);
    }
    let is_ours = headers.get("authorization").and_then(|value| value.to_str().ok());
    if !is_ours.is_some_and(|value| value.starts_with("Bearer sk_test_") || value.starts_with("Basic ")) {
        return refusal(&Error(401, "invalid_api_key", ""));
    }
    let body = String::from_utf8_lossy(&body).into_owned();
    let form = read(if method == Method::GET { query.as_deref().unwrap_or("") } else { &body });
    let path = uri.path().trim_start_matches("/v1/").to_owned();
    let key = headers.get("idempotency-key").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let request = format!("{path}?{body}");
    let url = shared.url.clone();
    let (status, answer) = shared.change(|state| {
        if method == Method::POST {
            *state.posts.entry(path.clone()).or_default() += 1;
        }
        if let Some((before, status, answer)) = key.as_ref().and_then(|key| state.keys.get(key)) {
            if *before == request {
                return (*status, answer.clone());
            }
            return (400, error(&Error(400, "idempotency_key_in_use", "")));
        }
        let (status, answer) = match state.route(&method, &path, &form, &url) {
            Ok(answer) => (200, answer),
            Err(cause) => (cause.0, error(&cause)),
        };
        if let Some(key) = key {
            state.keys.insert(key, (request, status, answer.clone()));
        }
        (status, answer)
    });
    (StatusCode::from_u16(status).unwrap_or(StatusCode::OK), Json(answer)).into_response()
}

fn error(cause: &Error) -> Value {
    let Error(status, code, param) = *cause;
    let kind = match status {
        401 => "invalid_request_error",
        402 => "card_error",
        400 if code == "idempotency_key_in_use" => "idempotency_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    };
    let param = if param.is_empty() { Value::Null } else { json!(param) };
    if code == COMBINES_CURRENCIES {
        let message = "You cannot combine currencies on a single customer. This customer has an invoice item with another currency.";
        return json!({"error": {"type": kind, "message": message, "param": param}});
    }
    json!({"error": {"type": kind, "code": code, "message": format!("Simulated error: {code}."), "param": param}})
}

fn refusal(cause: &Error) -> Response {
    (StatusCode::from_u16(cause.0).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), Json(error(cause))).into_response()
}

/// Represents the refusal of a second currency, which has no code.
const COMBINES_CURRENCIES: &str = "combines_currencies";
const MISSING: Error = Error(404, "resource_missing", "id");

/// Returns a page of a list, filtered by the given fields of the form.
fn paged(all: Vec<Value>, form: &Value, filters: &[&str], path: &str) -> Value {
    let mut found: Vec<Value> = all
        .into_iter()
        .filter(|object| {
            filters.iter().all(|name| form[*name].as_str().is_none_or(|wanted| object[*name].as_str() == Some(wanted)))
        })
        .collect();
    if let Some(after) = form["starting_after"].as_str() {
        let start = found.iter().position(|object| object["id"] == after).map_or(found.len(), |index| index + 1);
        found.drain(..start);
    }
    let limit = number(&form["limit"]).and_then(|limit| usize::try_from(limit).ok()).unwrap_or(10).clamp(1, 100);
    let has_more = found.len() > limit;
    found.truncate(limit);
    object::page(found, has_more, &format!("/v1/{path}"))
}

impl State {
    fn route(&mut self, method: &Method, path: &str, form: &Value, url: &str) -> Answer {
        let parts: Vec<&str> = path.split('/').collect();
        let is_post = method == Method::POST;
        match (parts.as_slice(), is_post, method == Method::DELETE) {
            (["customers"], true, _) => {
                self.make("cus", "customer.created", |id, now| object::customer(id, form, now), form)
            }
            (["customers"], ..) => Ok(paged(self.list("customer"), form, &["email"], path)),
            (["customers", "search"], false, false) => {
                // The only query that is understood: metadata['user_id']:'…'.
                let query = form["query"].as_str().unwrap_or_default();
                let wanted = query.strip_prefix("metadata['user_id']:'").and_then(|rest| rest.strip_suffix('\''));
                let wanted = wanted.ok_or(Error(400, "parameter_invalid", "query"))?.to_owned();
                let all = self.list("customer").into_iter();
                Ok(paged(all.filter(|found| found["metadata"]["user_id"] == wanted).collect(), form, &[], path))
            }
            (["customers", id], true, _) => {
                self.update(id, form, &["email", "name", "description"], Some("customer.updated"))
            }
            (["customers", id], _, true) => self.delete_customer(id),
            (["products"], true, _) => {
                let wanted = form["id"].as_str().map(str::to_owned);
                if wanted.as_ref().is_some_and(|id| self.get(id).is_some()) {
                    return Err(Error(400, "resource_already_exists", "id"));
                }
                let id = wanted.unwrap_or_else(|| self.id("prod"));
                let product = object::product(&id, form, self.now(None));
                let product = self.put(product);
                self.emit("product.created", &product);
                Ok(product)
            }
            (["products"], ..) => Ok(paged(self.list("product"), form, &[], path)),
            (["products", id], true, _) => self.update(id, form, &["name", "description"], Some("product.updated")),
            (["prices"], true, _) => self.make_price(form),
            (["prices"], ..) => {
                let keys: Vec<&str> = list(&form["lookup_keys"]).into_iter().filter_map(Value::as_str).collect();
                let all = self.list("price").into_iter().filter(|price| {
                    (keys.is_empty() || price["lookup_key"].as_str().is_some_and(|key| keys.contains(&key)))
                        && flag(&form["active"]).is_none_or(|wanted| price["active"] == wanted)
                });
                Ok(paged(all.collect(), form, &["product"], path))
            }
            (["prices", id], true, _) => self.update(id, form, &["nickname", "lookup_key"], Some("price.updated")),
            (["checkout", "sessions"], true, _) => {
                let customer = form["customer"].as_str().unwrap_or_default();
                if self.get(customer).is_none_or(|customer| customer["deleted"] == true) {
                    return Err(Error(400, "resource_missing", "customer"));
                }
                if form["line_items"]["0"]["price"].as_str().is_none_or(|price| self.get(price).is_none()) {
                    return Err(Error(400, "resource_missing", "line_items[0][price]"));
                }
                let currency = self.get(customer).and_then(|customer| customer["currency"].as_str());
                let price = form["line_items"]["0"]["price"].as_str().and_then(|price| self.get(price));
                if currency.is_some_and(|currency| price.is_some_and(|price| price["currency"] != currency)) {
                    return Err(Error(400, COMBINES_CURRENCIES, ""));
                }
                let (id, now) = (self.id("cs_test"), self.now(form["customer"].as_str()));
                Ok(self.put(object::session(&id, form, now, url)))
            }
            (["checkout", "sessions"], ..) => {
                Ok(paged(self.list("checkout.session"), form, &["customer", "status"], path))
            }
            (["checkout", "sessions", id, "expire"], true, _) => {
                if self.get(id).ok_or(MISSING)?["status"] != "open" {
                    return Err(Error(400, "checkout_session_not_open", ""));
                }
                let session = self.edit(id, |session| {
                    session["status"] = json!("expired");
                    session["url"] = Value::Null;
                });
                self.emit("checkout.session.expired", &session);
                Ok(session)
            }
            (["subscriptions"], true, _) => {
                let customer = form["customer"].as_str().unwrap_or_default().to_owned();
                self.get(&customer).ok_or(Error(400, "resource_missing", "customer"))?;
                let price = form["items"]["0"]["price"].as_str().and_then(|id| self.get(id)).cloned();
                let price = price.ok_or(Error(400, "resource_missing", "items[0][price]"))?;
                Ok(self.subscribe(&customer, &price, number(&form["trial_period_days"]).unwrap_or(0), url))
            }
            (["subscriptions"], ..) => {
                let wanted = form["status"].as_str().unwrap_or("live").to_owned();
                let all = self.list("subscription").into_iter().filter(|subscription| match wanted.as_str() {
                    "all" => true,
                    "live" => subscription["status"] != "canceled",
                    "ended" => subscription["status"] == "canceled",
                    status => subscription["status"] == status,
                });
                Ok(paged(all.collect(), form, &["customer"], path))
            }
            (["subscriptions", id], _, true) => {
                let now = self.now(self.get(id).ok_or(MISSING)?["customer"].as_str());
                Ok(self.end(id, "cancellation_requested", now))
            }
            (["subscriptions", id], true, _) => self.change_subscription(id, form, url),
            (["invoices"], ..) => {
                let wanted = form["subscription"].as_str().map(str::to_owned);
                let all = self.list("invoice").into_iter().filter(|invoice| {
                    wanted.is_none()
                        || invoice["parent"]["subscription_details"]["subscription"].as_str() == wanted.as_deref()
                });
                Ok(paged(all.collect(), form, &["customer", "status"], path))
            }
            (["invoices", id, "pay"], true, _) => {
                let now = self.now(self.get(id).ok_or(MISSING)?["customer"].as_str());
                if self.pay(id, now) {
                    self.get(id).cloned().ok_or(MISSING)
                } else {
                    Err(Error(402, "card_declined", ""))
                }
            }
            (["refunds"], true, _) => self.refund(form),
            (["charges"], ..) => Ok(paged(self.list("charge"), form, &["customer"], path)),
            (["events"], ..) => Ok(paged(self.list("event"), form, &["type"], path)),
            (["billing_portal", "configurations"], true, _) => {
                let (id, now) = (self.id("bpc"), self.now(None));
                Ok(self.put(object::configuration(&id, form, now)))
            }
            (["billing_portal", "configurations", id], ..) => self.get(id).cloned().ok_or(MISSING),
            (["billing_portal", "sessions"], true, _) => {
                let customer = form["customer"].as_str().unwrap_or_default();
                if self.get(customer).is_none_or(|customer| customer["deleted"] == true) {
                    return Err(Error(400, "resource_missing", "customer"));
                }
                let configuration = match form["configuration"].as_str() {
                    Some(id) => self.get(id).map(|found| found["id"].clone()).ok_or(Error(
                        400,
                        "resource_missing",
                        "configuration",
                    ))?,
                    None => json!("bpc_default"),
                };
                let (id, now) = (self.id("bps"), self.now(None));
                Ok(self.put(object::portal(&id, form, &configuration, now, url)))
            }
            (["test_helpers", "test_clocks"], true, _) => {
                let id = self.id("clock");
                let now = self.now(None);
                let frozen = number(&form["frozen_time"]).unwrap_or(now);
                Ok(self.put(json!({"id": id, "object": "test_helpers.test_clock", "created": now, "deletes_after": now + 30 * 86_400, "frozen_time": frozen,
                    "livemode": false, "name": form["name"], "status": "ready", "status_details": {}})))
            }
            (["test_helpers", "test_clocks", id, "advance"], true, _) => {
                let to = number(&form["frozen_time"]).ok_or(Error(400, "parameter_missing", "frozen_time"))?;
                self.get(id).ok_or(MISSING)?;
                let clock = self.edit(id, |clock| clock["frozen_time"] = json!(to));
                self.catch_up(Some(id), url);
                Ok(clock)
            }
            ([.., id], false, false) => self.get(id).cloned().ok_or(MISSING),
            _ => Err(Error(404, "url_unknown", "")),
        }
    }

    fn make(&mut self, prefix: &str, event: &str, shape: impl FnOnce(&str, i64) -> Value, form: &Value) -> Answer {
        let id = self.id(prefix);
        let now = form["test_clock"].as_str().and_then(|clock| self.get(clock)?["frozen_time"].as_i64());
        let object = shape(&id, now.unwrap_or_else(|| self.now(None)));
        let object = self.put(object);
        self.emit(event, &object);
        Ok(object)
    }

    fn update(&mut self, id: &str, form: &Value, fields: &[&str], event: Option<&str>) -> Answer {
        self.get(id).ok_or(MISSING)?;
        let object = self.edit(id, |object| {
            for name in fields {
                if form[*name].is_string() {
                    object[*name] = form[*name].clone();
                }
            }
            if let Some(active) = flag(&form["active"]) {
                object["active"] = json!(active);
            }
            if let (Some(given), Some(kept)) = (form["metadata"].as_object(), object["metadata"].as_object_mut()) {
                kept.extend(given.clone());
            }
        });
        if let Some(event) = event {
            self.emit(event, &object);
        }
        Ok(object)
    }

    fn make_price(&mut self, form: &Value) -> Answer {
        if form["product"].as_str().is_none_or(|product| self.get(product).is_none()) {
            return Err(Error(400, "resource_missing", "product"));
        }
        if let Some(key) = form["lookup_key"].as_str() {
            let holders: Vec<String> = self
                .list("price")
                .into_iter()
                .filter(|price| price["lookup_key"] == key)
                .filter_map(|price| price["id"].as_str().map(str::to_owned))
                .collect();
            if !holders.is_empty() && flag(&form["transfer_lookup_key"]) != Some(true) {
                return Err(Error(400, "lookup_key_in_use", "lookup_key"));
            }
            for holder in holders {
                self.edit(&holder, |price| price["lookup_key"] = Value::Null);
            }
        }
        self.make("price", "price.created", |id, now| object::price(id, form, now), form)
    }

    fn change_subscription(&mut self, id: &str, form: &Value, url: &str) -> Answer {
        let subscription = self.get(id).ok_or(MISSING)?;
        if subscription["status"] == "canceled" {
            return Err(Error(400, "resource_missing", "id"));
        }
        if let Some(price) = form["items"]["0"]["price"].as_str() {
            let price = self.get(price).cloned().ok_or(Error(400, "resource_missing", "items[0][price]"))?;
            return Ok(self.switch(id, &price, url));
        }
        let cancels = flag(&form["cancel_at_period_end"]);
        let now = self.now(subscription["customer"].as_str());
        let subscription = self.edit(id, |subscription| {
            if let Some(cancels) = cancels {
                cycle::set_cancels(subscription, cancels, now);
            }
            if let (Some(given), Some(kept)) = (form["metadata"].as_object(), subscription["metadata"].as_object_mut())
            {
                kept.extend(given.clone());
            }
        });
        self.emit("customer.subscription.updated", &subscription);
        Ok(subscription)
    }

    fn delete_customer(&mut self, id: &str) -> Answer {
        if self.get(id).is_none_or(|customer| customer["deleted"] == true) {
            return Err(MISSING);
        }
        let now = self.now(Some(id));
        let theirs: Vec<String> = self
            .list("subscription")
            .into_iter()
            .filter(|subscription| subscription["customer"] == id)
            .filter_map(|subscription| subscription["id"].as_str().map(str::to_owned))
            .collect();
        for subscription in theirs {
            self.end(&subscription, "cancellation_requested", now);
        }
        let customer = self.get(id).cloned().unwrap_or_default();
        self.emit("customer.deleted", &customer);
        self.edit(id, |customer| *customer = json!({"id": id, "object": "customer", "deleted": true}));
        Ok(json!({"id": id, "object": "customer", "deleted": true}))
    }

    fn refund(&mut self, form: &Value) -> Answer {
        let charge = form["charge"].as_str().ok_or(Error(400, "parameter_missing", "charge"))?.to_owned();
        let found = self.get(&charge).cloned().ok_or(MISSING)?;
        let amount = number(&form["amount"]).unwrap_or_else(|| found["amount"].as_i64().unwrap_or(0));
        let charge = self.edit(&charge, |charge| {
            let before = charge["amount_refunded"].as_i64().unwrap_or(0);
            charge["amount_refunded"] = json!(before + amount);
            charge["refunded"] = json!(before + amount >= charge["amount"].as_i64().unwrap_or(0));
        });
        self.emit("charge.refunded", &charge);
        let (id, now) = (self.id("re"), self.now(charge["customer"].as_str()));
        Ok(self.put(json!({"id": id, "object": "refund", "amount": amount, "charge": charge["id"], "created": now, "currency": charge["currency"],
            "metadata": {}, "status": "succeeded"})))
    }
}
