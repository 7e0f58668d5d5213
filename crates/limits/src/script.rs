//! The text of the Lua scripts, their arguments and their replies, packed as `lua/meter.lua` describes.

use crate::protocol::{
    Allowance, Demand, End, MAX_EXACT, SAME_CALL_MS, SETTLE_GRACE_MS, Snapshot, Step, StepOutcome, Usage,
};
use crate::window::{Amounts, Unit, Window, with_amount_indexes};
use redis_link::redis::Script;
use std::collections::BTreeSet;

/// Minimum time that meters are kept, because a hold can outlive short windows.
const MIN_KEPT_MS: u64 = 90_000_000;

/// The scripts for one run of the Redis process. Their text contains the run id, so their hashes exist only in that process: after a
/// restart, or a failover to a replica, the first call fails with NOSCRIPT and the new run id is fetched. Requires Redis 7, which
/// doesn't store scripts in its snapshots.
pub(crate) struct ScriptSet {
    admit: CompiledScript,
    confirm: CompiledScript,
    end: CompiledScript,
    peek: CompiledScript,
    seed: CompiledScript,
}

impl ScriptSet {
    /// Builds the scripts. `run_id` is a Lua expression for the run id of the Redis process.
    ///
    /// # Panics
    /// Panics if a marker is missing from the Lua files or has no value there. The files are part of this crate, so a process either
    /// panics when it creates its first store or never.
    pub fn new(run_id: &str) -> Self {
        let own = [
            include_str!("lua/admit.lua"),
            include_str!("lua/confirm.lua"),
            include_str!("lua/end.lua"),
            include_str!("lua/peek.lua"),
            include_str!("lua/seed.lua"),
        ];
        let [admit, confirm, end, peek, seed] = match script_texts(SHARED, own, run_id) {
            Ok(texts) => texts.map(|text| CompiledScript { hash: Script::new(&text).get_hash().to_owned(), text }),
            Err(error) => panic!("the Lua scripts: {error}"),
        };
        Self { admit, confirm, end, peek, seed }
    }

    /// Returns the script that runs a step.
    pub fn script_for<A>(&self, step: &Step<'_, A>) -> &CompiledScript {
        match step {
            Step::Admit { .. } => &self.admit,
            Step::Confirm { .. } => &self.confirm,
            Step::End { .. } => &self.end,
            Step::Peek => &self.peek,
            Step::Seed { .. } => &self.seed,
        }
    }
}

/// A script's text, and the hash that `EVALSHA` calls it by.
pub(crate) struct CompiledScript {
    pub text: String,
    pub hash: String,
}

/// The text that all scripts begin with.
const SHARED: &str = include_str!("lua/meter.lua");

/// Encloses the name of a marker in the Lua files, as in `@@RUN_ID@@`. Lua has no such token.
const DELIMITER: &str = "@@";

/// Returns the values of the markers in the Lua files. `run_id` is a Lua expression for the run id of the Redis process.
fn markers(run_id: &str) -> [(&'static str, String); 15] {
    [
        // Formats of the head, of a window over calls or an amount in the head, of a hold, and of one of its amounts: bytes per integer.
        ("HEAD_FORMAT", "'<I4I3I6I6'".to_owned()),
        ("CALLS_WINDOW_FORMAT", "'<I7I6I6'".to_owned()),
        ("AMOUNT_WINDOW_FORMAT", "'<I7I6I6I7'".to_owned()),
        ("HOLD_FORMAT", "'<I6I6B'".to_owned()),
        ("AMOUNT_FORMAT", "'<I7'".to_owned()),
        ("BUCKETS_PER_FIELD", "8".to_owned()),
        ("BUCKET_BYTES", "7".to_owned()),
        // States of a hold: not confirmed yet; confirmed and kept until it is ended; lapsed, which holds nothing but can still be
        // ended.
        ("PENDING", "1".to_owned()),
        ("CONFIRMED", "2".to_owned()),
        ("LAPSED", "3".to_owned()),
        ("NEVER", ((1_u64 << 48) - 1).to_string()),
        // Additional lifetime of the key, so that it isn't renewed on every write.
        ("SLACK_MS", "3600000".to_owned()),
        ("SETTLE_GRACE_MS", SETTLE_GRACE_MS.to_string()),
        ("SAME_CALL_MS", SAME_CALL_MS.to_string()),
        ("RUN_ID", run_id.to_owned()),
    ]
}

/// A Lua file and the list of markers don't match: a bug in this crate.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum MarkerError {
    #[error("marker {0} has no value")]
    Unknown(String),
    #[error("marker {0} is missing")]
    Missing(String),
    #[error("marker {0} isn't closed")]
    Unclosed(String),
}

/// Replaces each marker in a text by its value. Returns the names of the markers that it contained as well.
fn replace_markers<'a>(text: &'a str, values: &[(&str, String)]) -> Result<(String, BTreeSet<&'a str>), MarkerError> {
    let (mut replaced, mut names) = (String::with_capacity(text.len()), BTreeSet::new());
    let mut parts = text.split(DELIMITER);
    replaced.extend(parts.next());
    while let Some(name) = parts.next() {
        let after = parts.next().ok_or_else(|| MarkerError::Unclosed(name.to_owned()))?;
        let value = values.iter().find(|(known, _)| *known == name);
        let (_, value) = value.ok_or_else(|| MarkerError::Unknown(name.to_owned()))?;
        replaced.extend([value.as_str(), after]);
        names.insert(name);
    }
    Ok((replaced, names))
}

/// Builds the scripts' texts from the text that they share and their own. Each text must contain `RUN_ID`, and each of the other markers
/// must be in at least one text.
fn script_texts<const N: usize>(shared: &str, own: [&str; N], run_id: &str) -> Result<[String; N], MarkerError> {
    let values = markers(run_id);
    let (shared, shared_names) = replace_markers(shared, &values)?;
    let mut names = shared_names.clone();
    let mut texts = [const { String::new() }; N];
    for (text, own) in texts.iter_mut().zip(own) {
        let (own, own_names) = replace_markers(own, &values)?;
        *text = [shared.as_str(), &own].concat();
        names.extend(own_names);
    }
    if !shared_names.contains("RUN_ID") {
        return Err(MarkerError::Missing("RUN_ID".to_owned()));
    }
    match values.iter().find(|(name, _)| !names.contains(name)) {
        Some((name, _)) => Err(MarkerError::Missing((*name).to_owned())),
        None => Ok(texts),
    }
}

/// Arguments of a script, apart from its key and the windows' shape.
#[derive(Default)]
pub(crate) struct Arguments {
    /// The field of the hold that the script acts on; `rebuild_epoch` when seeding.
    pub hold: String,
    /// All numbers as 8-byte doubles, which Lua reads without parsing.
    pub numbers: Vec<u8>,
    /// The fields of past calls' holds.
    pub past: Vec<String>,
}

impl Arguments {
    /// Appends a number as a double, Lua's only number type, which is exact up to [`MAX_EXACT`].
    #[allow(clippy::cast_precision_loss, reason = "integers below 2^53")]
    pub fn number(&mut self, n: u64) -> &mut Self {
        self.numbers.extend((n.min(MAX_EXACT) as f64).to_le_bytes());
        self
    }

    /// Appends one amount per window over an amount.
    fn amounts(&mut self, windows: &[Window], amounts: &impl Amounts) -> &mut Self {
        let indexes = with_amount_indexes(windows).filter_map(|(_, index)| index);
        indexes.fold(self, |args, index| args.number(amounts.get(index)))
    }
}

/// The field of a call's hold.
fn hold_field(call: &str) -> String {
    format!("h:{call}")
}

/// Packs the arguments of a step.
pub(crate) fn pack_arguments<A: Amounts>(windows: &[Window], now_ms: Option<u64>, step: &Step<'_, A>) -> Arguments {
    let kept_ms = windows.iter().map(Window::kept_ms).max().unwrap_or(0).max(MIN_KEPT_MS);
    let mut args = Arguments::default();
    args.number(now_ms.unwrap_or(0)).number(kept_ms).number(windows.len() as u64);
    for window in windows {
        args.number(u64::from(window.unit == Unit::Calls)).number(window.span_ms).number(window.width_ms);
    }
    match step {
        Step::Admit { call, demand, lapse_ms, allowance: Allowance { limits, in_flight } } => {
            args.hold = hold_field(call);
            args.number(*lapse_ms).number(in_flight.unwrap_or(MAX_EXACT));
            for ((_, index), limit) in with_amount_indexes(windows).zip(*limits) {
                let Demand { input, output_min, output_max } = demand.in_window(index);
                args.number(*limit).number(input).number(output_min).number(output_max);
            }
        }
        Step::Confirm { call, at_ms } => {
            args.hold = hold_field(call);
            args.number(*at_ms);
        }
        Step::End { call, at_ms, end } => {
            args.hold = hold_field(call);
            args.number(*at_ms);
            match end {
                End::Settle(used) => args.number(1).amounts(windows, used),
                End::Release => args.number(0),
            };
        }
        Step::Peek => {}
        Step::Seed { past, rebuild_epoch } => {
            args.hold = (*rebuild_epoch).to_owned();
            for past in *past {
                args.number(past.at_ms).number(u64::from(past.running)).amounts(windows, &past.amount);
                args.past.push(hold_field(&past.call));
            }
        }
    }
    args
}

/// A script's packed reply, read from the front.
struct Packed<'a>(&'a [u8]);

impl Packed<'_> {
    /// Reads a double: an integer, or -1 for `None`.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "integers below 2^53, or -1")]
    fn read_double(&mut self) -> Option<Option<u64>> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        let n = f64::from_le_bytes(*bytes);
        Some((n >= 0.0).then_some(n as u64))
    }

    /// Reads a little-endian integer of `bytes` bytes.
    fn read_integer(&mut self, bytes: usize) -> Option<u64> {
        let (number, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(number.iter().rev().fold(0, |n, byte| n << 8 | u64::from(*byte)))
    }

    /// Reads the meters, as `meters` in `meter.lua` packs them.
    fn snapshot(&mut self, windows: &[Window], now_ms: u64) -> Option<Snapshot> {
        let in_flight = self.read_integer(4)?;
        // The number of unconfirmed holds, when the first of them expires, and when the key expires.
        let _ = (self.read_integer(3)?, self.read_integer(6)?, self.read_integer(6)?);
        let mut usage = |window: &Window| {
            let (used, first, last) = (self.read_integer(7)?, self.read_integer(6)?, self.read_integer(6)?);
            let remaining_ms = |bucket| (used > 0).then(|| window.expires_at_ms(bucket).saturating_sub(now_ms));
            let reserved = if window.unit == Unit::Amount { self.read_integer(7)? } else { 0 };
            Some(Usage { used, reserved, reset_ms: remaining_ms(last), next_free_ms: remaining_ms(first) })
        };
        let windows = windows.iter().map(&mut usage).collect::<Option<Vec<_>>>()?;
        Some(Snapshot { in_flight, windows })
    }
}

/// Parses a script's reply: a letter, usually the current time, and packed values. Returns `None` if it is malformed.
pub(crate) fn parse_reply(reply: &[u8], windows: &[Window]) -> Option<StepOutcome> {
    let (letter, packed) = reply.split_first()?;
    let mut packed = Packed(packed);
    match (letter, packed.0.is_empty()) {
        (b'r', true) => return Some(StepOutcome::Running),
        (b'c', false) => return Some(StepOutcome::Cold(String::from_utf8(packed.0.to_vec()).ok()?)),
        (b'y', true) => return Some(StepOutcome::Confirmed(true)),
        (b'n', true) => return Some(StepOutcome::Confirmed(false)),
        (b's', true) => return Some(StepOutcome::Seeded),
        _ => {}
    }
    let now_ms = packed.read_double()??;
    Some(match letter {
        b'g' => {
            let amounts = windows.iter().filter(|window| window.unit == Unit::Amount);
            let reserved = amounts.map(|_| packed.read_integer(7)).collect::<Option<Vec<_>>>()?;
            StepOutcome::Granted { reserved, at_ms: now_ms, snapshot: packed.snapshot(windows, now_ms)? }
        }
        b'd' => {
            let waits = (0..=windows.len()).map(|_| packed.read_double()).collect::<Option<Vec<_>>>()?;
            StepOutcome::Denied { waits, snapshot: packed.snapshot(windows, now_ms)? }
        }
        b'e' => StepOutcome::Done(packed.snapshot(windows, now_ms)?, true),
        b'n' => StepOutcome::Done(packed.snapshot(windows, now_ms)?, false),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_are_replaced_by_their_values() {
        let scripts = ScriptSet::new("'0123abcd'");
        for script in [&scripts.admit, &scripts.confirm, &scripts.end, &scripts.peek, &scripts.seed] {
            assert!(!script.text.contains(DELIMITER), "{}", script.text);
            assert!(script.text.contains("'0123abcd'"));
        }
    }

    #[test]
    fn words_outside_of_markers_are_kept() {
        let values = markers("''");
        let (text, names) = replace_markers("-- NEVER @@NEVER@@ RUN_ID\nlocal LAPSED = @@LAPSED@@", &values).unwrap();
        assert_eq!(text, "-- NEVER 281474976710655 RUN_ID\nlocal LAPSED = 3");
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["LAPSED", "NEVER"]);
    }

    /// Without the run id, meters from a stale snapshot would count as current.
    #[test]
    fn scripts_without_a_marker_are_refused() {
        let own = [include_str!("lua/confirm.lua"), include_str!("lua/admit.lua")];
        assert!(script_texts(SHARED, own, "''").is_ok());
        for (name, _) in markers("''") {
            let marker = format!("{DELIMITER}{name}{DELIMITER}");
            let own = own.map(|own| own.replace(&marker, "0"));
            let texts = script_texts(&SHARED.replace(&marker, "0"), own.each_ref().map(String::as_str), "''");
            assert_eq!(texts, Err(MarkerError::Missing(name.to_owned())));
        }
        let shared = SHARED.replace("@@RUN_ID@@", "''");
        assert_eq!(script_texts(&shared, ["@@RUN_ID@@"], "''"), Err(MarkerError::Missing("RUN_ID".to_owned())));
    }

    #[test]
    fn markers_without_a_value_are_refused() {
        assert_eq!(replace_markers("@@TYPO@@", &markers("''")), Err(MarkerError::Unknown("TYPO".to_owned())));
        assert_eq!(replace_markers("n = @@NEVER", &markers("''")), Err(MarkerError::Unclosed("NEVER".to_owned())));
    }
}
