//! The text of the Lua scripts, their arguments and their replies, packed as `lua/meter.lua` describes.

use crate::protocol::{Allowance, Answer, End, LATE_MS, MOST, SAME_MS, Snapshot, Step, Usage};
use crate::window::{Unit, Window};
use redis_link::redis::Script;

/// Minimum time that meters are kept, because a hold can outlive short windows.
const RUNNING_MS: u64 = 90_000_000;

/// The scripts for one run of the Redis process. Their text contains the run id, so only that process knows their hashes: after a
/// restart, or a failover to a replica, the first call fails with NOSCRIPT and the new run id is fetched. Requires Redis 7, which
/// doesn't store scripts in its snapshots.
pub(crate) struct Codes {
    admit: Code,
    confirm: Code,
    end: Code,
    peek: Code,
    seed: Code,
}

impl Codes {
    pub fn new(boot: &str) -> Self {
        let code = |own: &str| {
            let text = written(own, boot);
            Code { hash: Script::new(&text).get_hash().to_owned(), text }
        };
        Self {
            admit: code(include_str!("lua/admit.lua")),
            confirm: code(include_str!("lua/confirm.lua")),
            end: code(include_str!("lua/end.lua")),
            peek: code(include_str!("lua/peek.lua")),
            seed: code(include_str!("lua/seed.lua")),
        }
    }

    pub fn of(&self, step: &Step<'_>) -> &Code {
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
pub(crate) struct Code {
    pub text: String,
    pub hash: String,
}

/// Returns a script's text with its constants (words in capitals) substituted. A name that contains another one comes before it.
fn written(own: &str, boot: &str) -> String {
    let constants = [
        // Formats of the head, of a window in the head, and of a hold: bytes per integer.
        ("HEAD", "'<I7I4I3I6I6'".to_owned()),
        ("SPAN", "'<I7I6I6'".to_owned()),
        ("HOLD", "'<I7I6I6B'".to_owned()),
        // Buckets per field, and bytes per bucket.
        ("SLOTS", "8".to_owned()),
        ("SLOT", "7".to_owned()),
        // States of a hold: waiting for its confirmation; confirmed and kept until it is ended; lapsed, which holds nothing but can still
        // be ended.
        ("WAITS", "1".to_owned()),
        ("STANDS", "2".to_owned()),
        ("LAPSED", "3".to_owned()),
        ("NEVER", ((1_u64 << 48) - 1).to_string()),
        // Additional lifetime of the key, so that it isn't renewed on every write.
        ("SLACK_MS", "3600000".to_owned()),
        ("LATE_MS", LATE_MS.to_string()),
        ("SAME_MS", SAME_MS.to_string()),
        // A Lua expression for the run id of the Redis process.
        ("BOOT", boot.to_owned()),
    ];
    let text = [include_str!("lua/meter.lua"), own].concat();
    constants.iter().fold(text, |text, (word, value)| text.replace(word, value))
}

/// Arguments of a script, apart from its key and the windows' shape.
#[derive(Default)]
pub(crate) struct Args {
    /// The field of the hold that the script acts on; the ticket when seeding.
    pub hold: String,
    /// All numbers as 8-byte doubles, which Lua reads without parsing.
    pub numbers: Vec<u8>,
    /// The fields of past calls' holds.
    pub past: Vec<String>,
}

impl Args {
    /// Appends a number as a double, Lua's only number type, which is exact up to [`MOST`].
    #[allow(clippy::cast_precision_loss, reason = "integers below 2^53")]
    pub fn number(&mut self, n: u64) -> &mut Self {
        self.numbers.extend((n.min(MOST) as f64).to_le_bytes());
        self
    }
}

/// The field of a call's hold.
fn hold(call: &str) -> String {
    format!("h:{call}")
}

/// Packs the arguments of a step.
pub(crate) fn arguments(windows: &[Window], now_ms: Option<u64>, step: &Step<'_>) -> Args {
    let kept_ms = windows.iter().map(Window::kept_ms).max().unwrap_or(0).max(RUNNING_MS);
    let mut args = Args::default();
    args.number(now_ms.unwrap_or(0)).number(kept_ms).number(windows.len() as u64);
    for window in windows {
        args.number(u64::from(window.unit == Unit::Calls)).number(window.span_ms).number(window.width_ms);
    }
    match step {
        Step::Admit { call, demand, lapse_ms, allowance: Allowance { limits, in_flight } } => {
            args.hold = hold(call);
            args.number(demand.input).number(demand.output_min).number(demand.output_max).number(*lapse_ms);
            args.number(in_flight.unwrap_or(MOST));
            limits.iter().fold(&mut args, |args, limit| args.number(*limit));
        }
        Step::Confirm { call, at_ms } => {
            args.hold = hold(call);
            args.number(*at_ms);
        }
        Step::End { call, at_ms, end } => {
            args.hold = hold(call);
            match end {
                End::Settle(amount) => args.number(*at_ms).number(1).number(*amount),
                End::Release => args.number(*at_ms).number(0).number(0),
            };
        }
        Step::Peek => {}
        Step::Seed { past, ticket } => {
            args.hold = (*ticket).to_owned();
            for past in *past {
                args.number(past.at_ms).number(past.amount).number(u64::from(past.running));
                args.past.push(hold(&past.call));
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
    fn double(&mut self) -> Option<Option<u64>> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        let n = f64::from_le_bytes(*bytes);
        Some((n >= 0.0).then_some(n as u64))
    }

    /// Reads a little-endian integer of `bytes` bytes.
    fn whole(&mut self, bytes: usize) -> Option<u64> {
        let (number, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(number.iter().rev().fold(0, |n, byte| n << 8 | u64::from(*byte)))
    }

    /// Reads the meters, as `meters` in `meter.lua` packs them.
    fn snapshot(&mut self, windows: &[Window], now_ms: u64) -> Option<Snapshot> {
        let (held, in_flight) = (self.whole(7)?, self.whole(4)?);
        // The number of loose holds, when the first of them is due, and when the key expires.
        let _ = (self.whole(3)?, self.whole(6)?, self.whole(6)?);
        let mut usage = |window: &Window| {
            let (used, first, last) = (self.whole(7)?, self.whole(6)?, self.whole(6)?);
            let leaves = |bucket| (used > 0).then(|| window.leaves(bucket).saturating_sub(now_ms));
            let reserved = if window.unit == Unit::Amount { held } else { 0 };
            Some(Usage { used, reserved, reset_ms: leaves(last), next_free_ms: leaves(first) })
        };
        let windows = windows.iter().map(&mut usage).collect::<Option<Vec<_>>>()?;
        Some(Snapshot { in_flight, windows })
    }
}

/// Parses a script's reply: a letter, usually the current time, and packed values. Returns `None` if it is malformed.
pub(crate) fn read(answer: &[u8], windows: &[Window]) -> Option<Answer> {
    let (letter, packed) = answer.split_first()?;
    let mut packed = Packed(packed);
    match (letter, packed.0.is_empty()) {
        (b'r', true) => return Some(Answer::Running),
        (b'c', false) => return Some(Answer::Cold(String::from_utf8(packed.0.to_vec()).ok()?)),
        (b'y', true) => return Some(Answer::Said(true)),
        (b'n', true) => return Some(Answer::Said(false)),
        _ => {}
    }
    let now_ms = packed.double()??;
    Some(match letter {
        b'g' => {
            let output = packed.double()??;
            Answer::Granted { output, at_ms: now_ms, snapshot: packed.snapshot(windows, now_ms)? }
        }
        b'd' => {
            let waits = (0..=windows.len()).map(|_| packed.double()).collect::<Option<Vec<_>>>()?;
            Answer::Denied { waits, snapshot: packed.snapshot(windows, now_ms)? }
        }
        b'e' => Answer::Done(packed.snapshot(windows, now_ms)?, true),
        b'n' => Answer::Done(packed.snapshot(windows, now_ms)?, false),
        _ => return None,
    })
}
