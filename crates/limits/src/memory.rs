//! The same meters in memory: for one process without Redis, and for tests. What the scripts do, in Rust.

use crate::admission::{Allowance, End, Need, PastCall, Picture, REMEMBER_MS, Usage};
use crate::store::Answer;
use crate::window::{Ring, Unit, Window};
use std::collections::HashMap;

#[derive(Clone, Debug)]
struct Hold {
    amount: u64,
    at_ms: u64,
    /// None once confirmed.
    lapses_ms: Option<u64>,
}

/// One subject's meters.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meter {
    rings: Vec<Ring>,
    holds: HashMap<String, Hold>,
    held: u64,
    /// Ended calls, and until when that is remembered.
    ended: HashMap<String, u64>,
}

impl Meter {
    /// Builds a meter from what happened.
    pub fn seeded(windows: &[Window], past: &[PastCall], now_ms: u64) -> Self {
        let mut meter = Self { rings: vec![Ring::default(); windows.len()], ..Self::default() };
        for call in past {
            for (ring, window) in meter.rings.iter_mut().zip(windows) {
                match window.unit {
                    Unit::Calls => ring.add(window, now_ms, call.at_ms, 1),
                    Unit::Amount if !call.running => ring.add(window, now_ms, call.at_ms, call.amount),
                    Unit::Amount => {}
                }
            }
            if call.running {
                let hold = Hold { amount: call.amount, at_ms: call.at_ms, lapses_ms: None };
                meter.held += call.amount;
                meter.holds.insert(call.call.clone(), hold);
            } else if call.at_ms + REMEMBER_MS >= now_ms {
                meter.ended.insert(call.call.clone(), now_ms + REMEMBER_MS);
            }
        }
        meter
    }

    /// Lets go of what nobody confirmed in time, and of what needn't be remembered any more.
    fn lapse(&mut self, windows: &[Window], now_ms: u64) {
        let lapsed: Vec<String> = self
            .holds
            .iter()
            .filter(|(_, hold)| hold.lapses_ms.is_some_and(|at| at <= now_ms))
            .map(|(call, _)| call.clone())
            .collect();
        for call in lapsed {
            if let Some(hold) = self.holds.remove(&call) {
                self.held -= hold.amount;
                self.give_back(windows, now_ms, hold.at_ms);
            }
        }
        self.ended.retain(|_, until| *until > now_ms);
    }

    fn give_back(&mut self, windows: &[Window], now_ms: u64, at_ms: u64) {
        for (ring, window) in self.rings.iter_mut().zip(windows).filter(|(_, window)| window.unit == Unit::Calls) {
            ring.take_back(window, now_ms, at_ms);
        }
    }

    pub fn picture(&self, windows: &[Window], now_ms: u64) -> Picture {
        let usage = |(ring, window): (&Ring, &Window)| {
            let (next_free_ms, reset_ms) = ring.frees(window, now_ms);
            let reserved = if window.unit == Unit::Amount { self.held } else { 0 };
            Usage { used: ring.used(window, now_ms), reserved, reset_ms, next_free_ms }
        };
        Picture { in_flight: self.holds.len() as u64, windows: self.rings.iter().zip(windows).map(usage).collect() }
    }

    pub fn admit(
        &mut self,
        windows: &[Window],
        now_ms: u64,
        call: &str,
        need: Need,
        lapse_ms: u64,
        Allowance { limits, in_flight }: Allowance<'_>,
    ) -> Answer {
        self.lapse(windows, now_ms);
        if self.ended.contains_key(call) || self.holds.contains_key(call) {
            return Answer::Running;
        }
        let is_full = in_flight.is_some_and(|limit| self.holds.len() as u64 + 1 > limit);
        let mut waits = vec![(!is_full).then_some(0)];
        let mut output = need.output_max;
        for ((ring, window), limit) in self.rings.iter().zip(windows).zip(limits) {
            let (held, wanted) = match window.unit {
                Unit::Calls => (0, 1),
                Unit::Amount => (self.held, need.input + need.output_min),
            };
            let used = ring.used(window, now_ms) + held;
            waits.push(ring.frees_in(window, now_ms, (used + wanted).saturating_sub(*limit)));
            if window.unit == Unit::Amount {
                output = output.min(limit.saturating_sub(used + need.input));
            }
        }
        if waits.iter().any(|wait| *wait != Some(0)) {
            return Answer::Denied { picture: self.picture(windows, now_ms), waits };
        }
        let amount = need.input + output;
        self.holds.insert(call.to_owned(), Hold { amount, at_ms: now_ms, lapses_ms: Some(now_ms + lapse_ms) });
        self.held += amount;
        for (ring, window) in self.rings.iter_mut().zip(windows).filter(|(_, window)| window.unit == Unit::Calls) {
            ring.add(window, now_ms, now_ms, 1);
        }
        Answer::Granted { output, at_ms: now_ms, picture: self.picture(windows, now_ms) }
    }

    pub fn confirm(&mut self, call: &str, now_ms: u64) -> bool {
        match self.holds.get_mut(call) {
            Some(hold) if hold.lapses_ms.is_none_or(|at| at > now_ms) => {
                hold.lapses_ms = None;
                true
            }
            _ => false,
        }
    }

    pub fn end(&mut self, windows: &[Window], now_ms: u64, call: &str, at_ms: u64, end: End) -> Picture {
        self.lapse(windows, now_ms);
        if !self.ended.contains_key(call) {
            let hold = self.holds.remove(call);
            self.held -= hold.as_ref().map_or(0, |hold| hold.amount);
            let at_ms = hold.as_ref().map_or(at_ms, |hold| hold.at_ms);
            // Without a hold it is one that lapsed, or was settled so long ago that nobody remembers: only the former, and
            // soon, counts.
            let is_late = hold.is_none() && now_ms.saturating_sub(at_ms) >= REMEMBER_MS;
            match (end, hold.is_some()) {
                (End::Settle(_), _) if is_late => {}
                (End::Settle(amount), _) | (End::Heal(amount), true) => {
                    for (ring, window) in self.rings.iter_mut().zip(windows).filter(|(_, w)| w.unit == Unit::Amount) {
                        ring.add(window, now_ms, at_ms, amount);
                    }
                    self.ended.insert(call.to_owned(), now_ms + REMEMBER_MS);
                }
                (End::Release, true) => self.give_back(windows, now_ms, at_ms),
                (End::Heal(_) | End::Release, false) => {}
            }
        }
        self.picture(windows, now_ms)
    }

    pub fn peek(&mut self, windows: &[Window], now_ms: u64) -> Picture {
        self.lapse(windows, now_ms);
        self.picture(windows, now_ms)
    }
}
