//! The simulated life cycle of subscriptions: renewals, payments, retries.

use super::State;
use super::object::{self, Bill};
use serde_json::{Value, json};
use time::{Duration, Month, OffsetDateTime};

const DAY: i64 = 86_400;

/// Days between payment attempts of an open invoice. After the last attempt fails, the subscription ends.
const RETRIES: [i64; 3] = [3, 5, 7];

/// Adds `count` intervals to a timestamp; a day past the end of a shorter month becomes its last day.
pub(super) fn later(from: i64, interval: &str, count: i64) -> i64 {
    let months = match interval {
        "day" => return from + count * DAY,
        "week" => return from + count * 7 * DAY,
        "year" => count * 12,
        _ => count,
    };
    let Ok(start) = OffsetDateTime::from_unix_timestamp(from) else { return from };
    let index = i64::from(start.year()) * 12 + i64::from(u8::from(start.month())) - 1 + months;
    let year = i32::try_from(index.div_euclid(12)).unwrap_or(9999);
    let month = u8::try_from(index.rem_euclid(12) + 1).ok().and_then(|n| Month::try_from(n).ok());
    let Some(month) = month else { return from };
    let day = start.day().min(month.length(year));
    let date = time::Date::from_calendar_date(year, month, day);
    date.map_or(from, |date| start.replace_date(date).unix_timestamp())
}

fn period(subscription: &Value) -> (i64, i64, String, i64) {
    let item = &subscription["items"]["data"][0];
    let recurring = &item["price"]["recurring"];
    (
        item["current_period_start"].as_i64().unwrap_or(0),
        item["current_period_end"].as_i64().unwrap_or(0),
        recurring["interval"].as_str().unwrap_or("month").to_owned(),
        recurring["interval_count"].as_i64().unwrap_or(1),
    )
}

fn set_period(subscription: &mut Value, from: i64, to: i64) {
    subscription["items"]["data"][0]["current_period_start"] = json!(from);
    subscription["items"]["data"][0]["current_period_end"] = json!(to);
}

/// Sets whether a subscription ends with its current period.
pub(super) fn set_cancels(subscription: &mut Value, cancels: bool, now: i64) {
    let end = subscription["items"]["data"][0]["current_period_end"].clone();
    subscription["cancel_at_period_end"] = json!(cancels);
    subscription["cancel_at"] = if cancels { end } else { Value::Null };
    subscription["canceled_at"] = if cancels { json!(now) } else { Value::Null };
}

impl State {
    /// Records an event with the current state of an object. It is sent once the change is complete.
    pub(super) fn emit(&mut self, kind: &str, object: &Value) {
        let id = self.id("evt");
        let now = self.now(object["customer"].as_str());
        self.put(json!({"id": id, "object": "event", "api_version": "2026-09-30.endive", "created": now, "data": {"object": object}, "livemode": false,
            "pending_webhooks": 1, "request": {"id": null, "idempotency_key": null}, "type": kind}));
    }

    fn card_pays(&self, customer: &str) -> bool {
        self.cards.get(customer).is_some_and(|card| !card.ends_with("0341") && !card.ends_with("0002"))
    }

    /// Creates a subscription and its first invoice. It stays `incomplete` if the first payment fails.
    pub(super) fn subscribe(&mut self, customer_id: &str, price: &Value, trial_days: i64, url: &str) -> Value {
        let now = self.now(Some(customer_id));
        let customer = self.get(customer_id).cloned().unwrap_or_default();
        let (id, item_id) = (self.id("sub"), self.id("si"));
        let recurring = &price["recurring"];
        let trial_end = (trial_days > 0).then_some(now + trial_days * DAY);
        let to = trial_end.unwrap_or_else(|| {
            later(
                now,
                recurring["interval"].as_str().unwrap_or("month"),
                recurring["interval_count"].as_i64().unwrap_or(1),
            )
        });
        let item = object::item(&item_id, &id, price, now, to);
        let status = if trial_end.is_some() { "trialing" } else { "incomplete" };
        let subscription = self.put(object::subscription(&id, &customer, &item, status, trial_end));
        self.emit("customer.subscription.created", &subscription);
        let amount = if trial_end.is_some() { 0 } else { price["unit_amount"].as_i64().unwrap_or(0) };
        self.bill(&id, amount, "subscription_create", url, now);
        self.get(&id).cloned().unwrap_or_default()
    }

    /// Creates an invoice and attempts to collect it.
    pub(super) fn bill(&mut self, subscription_id: &str, amount: i64, reason: &str, url: &str, now: i64) {
        let Some(subscription) = self.get(subscription_id).cloned() else { return };
        let customer_id = subscription["customer"].as_str().unwrap_or_default().to_owned();
        let customer = self.get(&customer_id).cloned().unwrap_or_default();
        let id = self.id("in");
        let number = self.list("invoice").len() as u64 + 1;
        let discount = amount * customer["fake_percent_off"].as_i64().unwrap_or(0) / 100;
        let bill = Bill {
            id: &id,
            customer: &customer,
            subscription: &subscription,
            amount,
            discount,
            reason,
            number,
            url,
            now,
        };
        let invoice = self.put(object::invoice(&bill));
        self.edit(subscription_id, |subscription| subscription["latest_invoice"] = json!(id));
        self.emit("invoice.created", &invoice);
        self.emit("invoice.finalized", &invoice);
        self.pay(&id, now);
    }

    /// Attempts to collect an open invoice and updates its subscription's status. Returns whether the invoice is paid.
    pub(super) fn pay(&mut self, invoice_id: &str, now: i64) -> bool {
        let Some(invoice) = self.get(invoice_id).cloned() else { return false };
        if invoice["status"] != "open" {
            return invoice["status"] == "paid";
        }
        let customer = invoice["customer"].as_str().unwrap_or_default().to_owned();
        let subscription_id =
            invoice["parent"]["subscription_details"]["subscription"].as_str().unwrap_or_default().to_owned();
        let amount = invoice["amount_due"].as_i64().unwrap_or(0);
        let attempts = invoice["attempt_count"].as_i64().unwrap_or(0) + 1;
        let is_paid = amount <= 0 || self.card_pays(&customer);
        if is_paid {
            if amount > 0 {
                let id = self.id("ch");
                self.put(object::charge(&id, &invoice, now));
            }
            let paid = self.edit(invoice_id, |invoice| {
                invoice["status"] = json!("paid");
                invoice["amount_paid"] = invoice["amount_due"].clone();
                invoice["amount_remaining"] = json!(0);
                invoice["attempt_count"] = json!(attempts);
                invoice["attempted"] = json!(true);
                invoice["next_payment_attempt"] = Value::Null;
                invoice["status_transitions"]["paid_at"] = json!(now);
            });
            self.emit("invoice.paid", &paid);
            self.emit("invoice.payment_succeeded", &paid);
        } else {
            let next = RETRIES.get(usize::try_from(attempts - 1).unwrap_or(usize::MAX)).map(|days| now + days * DAY);
            let failed = self.edit(invoice_id, |invoice| {
                invoice["attempt_count"] = json!(attempts);
                invoice["attempted"] = json!(true);
                invoice["next_payment_attempt"] = json!(next);
                invoice["fake_failed_at"] = json!(now);
            });
            self.emit("invoice.payment_failed", &failed);
        }
        let Some(subscription) = self.get(&subscription_id) else { return is_paid };
        let before = subscription["status"].as_str().unwrap_or_default().to_owned();
        let after = match (before.as_str(), is_paid) {
            ("incomplete" | "past_due", true) => "active",
            ("active", false) => "past_due",
            (same, _) => same,
        }
        .to_owned();
        if after != before {
            let subscription = self.edit(&subscription_id, |subscription| subscription["status"] = json!(after));
            self.emit("customer.subscription.updated", &subscription);
        }
        is_paid
    }

    /// Ends a subscription immediately.
    pub(super) fn end(&mut self, id: &str, reason: &str, now: i64) -> Value {
        if self.get(id).is_none_or(|subscription| subscription["status"] == "canceled") {
            return self.get(id).cloned().unwrap_or_default();
        }
        let subscription = self.edit(id, |subscription| {
            subscription["status"] = json!("canceled");
            subscription["ended_at"] = json!(now);
            if subscription["canceled_at"].is_null() {
                subscription["canceled_at"] = json!(now);
            }
            subscription["cancellation_details"]["reason"] = json!(reason);
        });
        self.emit("customer.subscription.deleted", &subscription);
        subscription
    }

    /// Switches to another price immediately and bills the prorated difference for the rest of the period.
    pub(super) fn switch(&mut self, id: &str, price: &Value, url: &str) -> Value {
        let Some(subscription) = self.get(id).cloned() else { return Value::Null };
        let now = self.now(subscription["customer"].as_str());
        let (from, to, interval, count) = period(&subscription);
        let old = subscription["items"]["data"][0]["price"].clone();
        let recurring = &price["recurring"];
        let same_rhythm = recurring["interval"] == interval && recurring["interval_count"] == count;
        let amount = |price: &Value| price["unit_amount"].as_i64().unwrap_or(0);
        let left = if to > from { (to - now).clamp(0, to - from) } else { 0 };
        let unused = if subscription["status"] == "active" { amount(&old) * left / (to - from).max(1) } else { 0 };
        let due = if same_rhythm { amount(price) * left / (to - from).max(1) - unused } else { amount(price) - unused };
        let end = later(
            now,
            recurring["interval"].as_str().unwrap_or("month"),
            recurring["interval_count"].as_i64().unwrap_or(1),
        );
        let subscription = self.edit(id, |subscription| {
            let (item_from, item_to) = if same_rhythm { (from, to) } else { (now, end) };
            let item = subscription["items"]["data"][0]["id"].as_str().unwrap_or_default().to_owned();
            subscription["items"]["data"][0] = object::item(&item, id, price, item_from, item_to);
            if subscription["status"] == "trialing" {
                subscription["status"] = json!("active");
                subscription["trial_end"] = json!(now);
            }
        });
        self.emit("customer.subscription.updated", &subscription);
        self.bill(id, due.max(0), "subscription_update", url, now);
        self.get(id).cloned().unwrap_or_default()
    }

    /// Applies everything that is due, for all customers of a test clock, or for those without one.
    pub(super) fn catch_up(&mut self, clock: Option<&str>, url: &str) {
        loop {
            let due = self.list("subscription").into_iter().filter(|subscription| {
                subscription["test_clock"].as_str() == clock && subscription["status"] != "canceled"
            });
            // The earliest step of all subscriptions comes first, as it would in real time.
            let next = due.filter_map(|subscription| self.next_step(&subscription)).min_by_key(|(at, ..)| *at);
            match next {
                Some((at, id, step)) => self.take(&id, step, at, url),
                None => return,
            }
        }
    }

    fn next_step(&self, subscription: &Value) -> Option<(i64, String, Step)> {
        let now = self.now(subscription["customer"].as_str());
        let id = subscription["id"].as_str()?.to_owned();
        let (_, to, ..) = period(subscription);
        let mut steps = Vec::new();
        if subscription["status"] == "trialing" && subscription["fake_warned"] != true {
            steps.push((subscription["trial_end"].as_i64()? - 3 * DAY, Step::Warn));
        }
        if subscription["cancel_at_period_end"] == true {
            steps.push((to, Step::End));
        } else {
            steps.push((to, Step::Renew));
        }
        if subscription["status"] == "past_due" {
            let invoice = subscription["latest_invoice"].as_str().and_then(|id| self.get(id))?;
            match invoice["next_payment_attempt"].as_i64() {
                Some(at) => steps.push((at, Step::Retry)),
                None => steps.push((invoice["fake_failed_at"].as_i64().unwrap_or(now), Step::GiveUp)),
            }
        }
        let (at, step) = steps.into_iter().min_by_key(|(at, _)| *at)?;
        (at <= now).then_some((at, id, step))
    }

    fn take(&mut self, id: &str, step: Step, at: i64, url: &str) {
        let Some(subscription) = self.get(id).cloned() else { return };
        match step {
            Step::Warn => {
                let subscription = self.edit(id, |subscription| subscription["fake_warned"] = json!(true));
                self.emit("customer.subscription.trial_will_end", &subscription);
            }
            Step::End => {
                self.end(id, "cancellation_requested", at);
            }
            Step::GiveUp => {
                self.end(id, "payment_failed", at);
            }
            Step::Retry => {
                if let Some(invoice) = subscription["latest_invoice"].as_str() {
                    self.pay(invoice, at);
                }
            }
            Step::Renew => {
                let (_, to, interval, count) = period(&subscription);
                let was_trial = subscription["status"] == "trialing";
                let subscription = self.edit(id, |subscription| {
                    set_period(subscription, to, later(to, &interval, count));
                    if was_trial {
                        subscription["status"] = json!("active");
                    }
                });
                self.emit("customer.subscription.updated", &subscription);
                let amount = subscription["items"]["data"][0]["price"]["unit_amount"].as_i64().unwrap_or(0);
                self.bill(id, amount, "subscription_cycle", url, at);
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Step {
    Warn,
    Renew,
    End,
    Retry,
    GiveUp,
}

/// Reads a duration from a form (`days=32`, `seconds=5`), in seconds.
pub(super) fn seconds(form: &Value) -> i64 {
    let days = super::form::number(&form["days"]).unwrap_or(0);
    Duration::days(days).whole_seconds() + super::form::number(&form["seconds"]).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::later;

    #[test]
    fn later_clamps_to_the_last_day_of_a_shorter_month() {
        let at = |text: &str| {
            time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).unwrap().unix_timestamp()
        };
        assert_eq!(later(at("2026-01-31T10:00:00Z"), "month", 1), at("2026-02-28T10:00:00Z"));
        assert_eq!(later(at("2026-12-15T10:00:00Z"), "month", 1), at("2027-01-15T10:00:00Z"));
        assert_eq!(later(at("2024-02-29T10:00:00Z"), "year", 1), at("2025-02-28T10:00:00Z"));
    }
}
