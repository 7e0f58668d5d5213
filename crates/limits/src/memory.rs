//! Meters in memory, for a single process without Redis and for tests. Behaves like the Lua scripts.

use crate::protocol::{
    Allowance, Demand, End, PastCall, SAME_CALL_MS, SETTLE_GRACE_MS, Snapshot, Step, StepOutcome, Usage,
};
use crate::window::{Amounts, Ring, Unit, Window, with_amount_indexes};
use std::collections::HashMap;

/// How often idle meters are removed.
const SWEEP_MS: u64 = 60_000;
/// Minimum time that meters are kept after the last access.
const IDLE_MS: u64 = 3_600_000;

/// The meters of all subjects in this process.
#[derive(Default)]
pub(crate) struct Meters {
    meters: HashMap<String, Meter>,
    swept_ms: u64,
    /// Number of times meters were lost. A history that was read before the latest loss is rejected.
    losses: u64,
}

impl Meters {
    pub fn discard(&mut self, key: &str) {
        self.meters.remove(key);
        self.losses += 1;
    }

    pub fn step<A: Amounts>(&mut self, key: &str, windows: &[Window], now_ms: u64, step: &Step<'_, A>) -> StepOutcome {
        self.sweep(now_ms);
        if let Step::Seed { past, rebuild_epoch } = step {
            if !self.meters.contains_key(key) && *rebuild_epoch != self.losses.to_string() {
                return StepOutcome::Seeded;
            }
            self.meters.entry(key.to_owned()).or_insert_with(|| Meter::seeded(windows, past, now_ms));
            return StepOutcome::Seeded;
        }
        let Some(meter) = self.meters.get_mut(key) else {
            return if matches!(step, Step::Confirm { .. }) {
                StepOutcome::Confirmed(false)
            } else {
                StepOutcome::Cold(self.losses.to_string())
            };
        };
        meter.lapse(windows, now_ms);
        meter.expires_at_ms =
            meter.expires_at_ms.max(now_ms + windows.iter().map(Window::kept_ms).max().unwrap_or(0).max(IDLE_MS));
        match step {
            Step::Admit { call, demand, lapse_ms, allowance } => {
                meter.admit(windows, now_ms, call, *demand, *lapse_ms, *allowance)
            }
            Step::Confirm { call, at_ms } => StepOutcome::Confirmed(meter.confirm(call, *at_ms)),
            Step::End { call, at_ms, end } => {
                let held = meter.end(windows, now_ms, call, *at_ms, *end);
                StepOutcome::Done(meter.snapshot(windows, now_ms), held)
            }
            Step::Peek | Step::Seed { .. } => StepOutcome::Done(meter.snapshot(windows, now_ms), false),
        }
    }

    /// Removes meters that have been idle for so long that no usage counts any more. They are then cold, as in Redis.
    fn sweep(&mut self, now_ms: u64) {
        if now_ms.saturating_sub(self.swept_ms) >= SWEEP_MS {
            self.swept_ms = now_ms;
            self.meters.retain(|_, meter| meter.expires_at_ms > now_ms || meter.in_flight > 0);
            self.losses += 1;
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Not confirmed yet; lapses at `until_ms`.
    Pending { until_ms: u64 },
    /// Confirmed; kept until it is ended.
    Confirmed,
    /// Holds nothing, but can still be settled until `until_ms`.
    Lapsed { until_ms: u64 },
}

#[derive(Clone, Debug)]
struct Hold {
    /// One amount per window over an amount, in the windows' order.
    reserved: Vec<u64>,
    at_ms: u64,
    state: State,
}

/// The usage of one window, and the amount that running calls hold in it.
#[derive(Clone, Debug, Default)]
struct WindowMeter {
    ring: Ring,
    held: u64,
}

/// The meters of one subject.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meter {
    /// One per window, in the windows' order.
    windows: Vec<WindowMeter>,
    holds: HashMap<String, Hold>,
    in_flight: u64,
    expires_at_ms: u64,
}

impl Meter {
    /// Builds meters from a history.
    pub fn seeded<A: Amounts>(windows: &[Window], past: &[PastCall<A>], now_ms: u64) -> Self {
        let mut meter = Self { windows: vec![WindowMeter::default(); windows.len()], ..Self::default() };
        for call in past {
            let mut reserved = Vec::new();
            for (own, (window, index)) in meter.windows.iter_mut().zip(with_amount_indexes(windows)) {
                match index.map(|index| call.amount.get(index)) {
                    None => own.ring.add(window, now_ms, call.at_ms, 1),
                    Some(amount) if call.running => {
                        own.held += amount;
                        reserved.push(amount);
                    }
                    Some(amount) => own.ring.add(window, now_ms, call.at_ms, amount),
                }
            }
            if call.running {
                meter.in_flight += 1;
                meter.holds.insert(call.call.clone(), Hold { reserved, at_ms: call.at_ms, state: State::Confirmed });
            }
        }
        meter
    }

    /// Lapses holds that were not confirmed in time, and removes lapsed ones that can no longer be settled.
    fn lapse(&mut self, windows: &[Window], now_ms: u64) {
        let mut lapsed = Vec::new();
        self.holds.retain(|_, hold| {
            if let State::Pending { until_ms } = hold.state
                && until_ms <= now_ms
            {
                lapsed.push((hold.reserved.clone(), hold.at_ms));
                hold.state = State::Lapsed { until_ms: until_ms + SETTLE_GRACE_MS };
            }
            !matches!(hold.state, State::Lapsed { until_ms } if until_ms <= now_ms)
        });
        for (reserved, at_ms) in lapsed {
            self.subtract_hold(windows, &reserved);
            self.refund_call(windows, now_ms, at_ms);
        }
    }

    /// Subtracts an active hold from what running calls hold.
    fn subtract_hold(&mut self, windows: &[Window], reserved: &[u64]) {
        self.in_flight -= 1;
        let amounts = self.windows.iter_mut().zip(windows).filter(|(_, window)| window.unit == Unit::Amount);
        amounts.zip(reserved).for_each(|((own, _), amount)| own.held -= amount);
    }

    fn refund_call(&mut self, windows: &[Window], now_ms: u64, at_ms: u64) {
        for (own, window) in self.windows.iter_mut().zip(windows).filter(|(_, window)| window.unit == Unit::Calls) {
            own.ring.subtract_call(window, now_ms, at_ms);
        }
    }

    pub fn snapshot(&self, windows: &[Window], now_ms: u64) -> Snapshot {
        let usage = |(own, window): (&WindowMeter, &Window)| {
            let (next_free_ms, reset_ms) = own.ring.expiry_range_ms(window, now_ms);
            Usage { used: own.ring.used(window, now_ms), reserved: own.held, reset_ms, next_free_ms }
        };
        Snapshot { in_flight: self.in_flight, windows: self.windows.iter().zip(windows).map(usage).collect() }
    }

    fn admit<A: Amounts>(
        &mut self,
        windows: &[Window],
        now_ms: u64,
        call: &str,
        demand: Demand<A>,
        lapse_ms: u64,
        Allowance { limits, in_flight }: Allowance<'_>,
    ) -> StepOutcome {
        if self.holds.get(call).is_some_and(|hold| !matches!(hold.state, State::Lapsed { .. })) {
            return StepOutcome::Running;
        }
        let is_full = in_flight.is_some_and(|limit| self.in_flight + 1 > limit);
        let mut waits = vec![(!is_full).then_some(0)];
        let mut grants = Vec::with_capacity(windows.len());
        for ((own, (window, index)), limit) in self.windows.iter().zip(with_amount_indexes(windows)).zip(limits) {
            let Demand { input, output_min, output_max } = demand.in_window(index);
            let used = own.ring.used(window, now_ms) + own.held;
            waits.push(own.ring.ms_until_freed(window, now_ms, (used + input + output_min).saturating_sub(*limit)));
            grants.push(input + output_max.min(limit.saturating_sub(used + input)));
        }
        if waits.iter().any(|wait| *wait != Some(0)) {
            return StepOutcome::Denied { snapshot: self.snapshot(windows, now_ms), waits };
        }
        self.in_flight += 1;
        let mut reserved = Vec::with_capacity(windows.len());
        for ((own, window), grant) in self.windows.iter_mut().zip(windows).zip(grants) {
            match window.unit {
                Unit::Calls => own.ring.add(window, now_ms, now_ms, 1),
                Unit::Amount => {
                    own.held += grant;
                    reserved.push(grant);
                }
            }
        }
        let state = State::Pending { until_ms: now_ms + lapse_ms };
        self.holds.insert(call.to_owned(), Hold { reserved: reserved.clone(), at_ms: now_ms, state });
        StepOutcome::Granted { reserved, at_ms: now_ms, snapshot: self.snapshot(windows, now_ms) }
    }

    fn confirm(&mut self, call: &str, at_ms: u64) -> bool {
        match self.holds.get_mut(call) {
            Some(hold) if hold.at_ms.abs_diff(at_ms) <= SAME_CALL_MS && !matches!(hold.state, State::Lapsed { .. }) => {
                hold.state = State::Confirmed;
                true
            }
            _ => false,
        }
    }

    fn end<A: Amounts>(&mut self, windows: &[Window], now_ms: u64, call: &str, at_ms: u64, end: End<A>) -> bool {
        // The same id admitted at another time is a different hold. One call admitted for several subjects is admitted in each
        // within moments.
        let is_held = self.holds.get(call).is_some_and(|hold| hold.at_ms.abs_diff(at_ms) <= SAME_CALL_MS);
        if is_held && let Some(hold) = self.holds.remove(call) {
            let is_active = !matches!(hold.state, State::Lapsed { .. });
            if is_active {
                self.subtract_hold(windows, &hold.reserved);
            }
            match end {
                End::Settle(used) => {
                    for (own, (window, index)) in self.windows.iter_mut().zip(with_amount_indexes(windows)) {
                        if let Some(index) = index {
                            own.ring.add(window, now_ms, hold.at_ms, used.get(index));
                        }
                    }
                }
                End::Release if is_active => self.refund_call(windows, now_ms, hold.at_ms),
                End::Release => {}
            }
        }
        is_held
    }
}
