//! Subscriptions that began in the past, for demo data: what would have happened to a customer if the simulator had been running since
//! then, without waiting for it.

use super::form::number;
use super::{State, cycle};
use serde_json::{Value, json};

/// A card whose payments succeed, and one whose payments fail.
const GOOD: &str = "4242424242424242";
const FAILS: &str = "4000000000000341";

/// An action of a customer at a time of their history.
#[derive(Clone, Copy)]
enum Step {
    /// Cancels at the end of the paid period.
    Cancel,
    /// Their card stops paying.
    CardFails,
}

impl State {
    /// Subscribes a customer to `price` at `begins_at` and applies everything that has become due since: renewals, payments, retries, the
    /// end. At `cancels_at` the customer cancels, at `card_fails_at` their card stops paying. The events of the past are neither kept nor
    /// sent. Returns `None` without a change if the customer or the price doesn't exist, or the form has no start.
    pub(super) fn write_history(&mut self, customer: &str, form: &Value, url: &str) -> Option<()> {
        self.get(customer)?;
        let price = form["price"].as_str().and_then(|id| self.get(id)).cloned()?;
        let begins_at = number(&form["begins_at"])?;
        let (before, now) = (self.serial, self.now(None));
        // A clock of the customer's own, as Stripe has it, which runs ahead to the present.
        let clock = self.id("clock");
        self.put(json!({"id": clock, "object": "test_helpers.test_clock", "frozen_time": begins_at}));
        self.edit(customer, |customer| {
            customer["test_clock"] = json!(clock);
            customer["created"] = json!(begins_at);
        });
        self.cards.insert(customer.to_owned(), GOOD.to_owned());
        let subscription = self.subscribe(customer, &price, number(&form["trial_days"]).unwrap_or(0), url);
        let id = subscription["id"].as_str().unwrap_or_default().to_owned();
        let mut steps: Vec<(i64, Step)> = [("cancels_at", Step::Cancel), ("card_fails_at", Step::CardFails)]
            .into_iter()
            .filter_map(|(name, step)| Some((number(&form[name]).filter(|at| *at <= now)?, step)))
            .collect();
        steps.sort_by_key(|(at, _)| *at);
        for (at, step) in steps {
            self.run_until(&clock, at, url);
            match step {
                Step::Cancel => drop(self.edit(&id, |subscription| cycle::set_cancels(subscription, true, at))),
                Step::CardFails => drop(self.cards.insert(customer.to_owned(), FAILS.to_owned())),
            }
        }
        self.run_until(&clock, now, url);
        self.remove_clock(&clock);
        self.objects.retain(|_, (serial, object)| *serial <= before || object["object"] != "event");
        Some(())
    }

    fn run_until(&mut self, clock: &str, at: i64, url: &str) {
        self.edit(clock, |clock| clock["frozen_time"] = json!(at));
        self.catch_up(Some(clock), url);
    }

    /// Removes a clock. The objects that belonged to it follow the simulator's own from now on.
    fn remove_clock(&mut self, clock: &str) {
        self.objects.remove(clock);
        for (_, object) in self.objects.values_mut().filter(|(_, object)| object["test_clock"] == clock) {
            object["test_clock"] = Value::Null;
        }
    }
}
