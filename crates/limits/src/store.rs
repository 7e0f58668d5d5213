//! Where meters live: Redis, for many servers, or this process's memory, for one. The same answers either way.

use crate::admission::{Allowance, End, Need, PastCall, Picture, REMEMBER_MS, Unavailable, Usage};
use crate::memory::Meter;
use crate::window::{Unit, Window};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Script, Value};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The whole of one decision, whatever Redis does: 300 ms, less what a busy machine may add.
pub(crate) const DECISION: Duration = Duration::from_millis(250);

/// Meters of any number of kinds; cheap to clone.
#[derive(Clone)]
pub struct Store(Kind);

#[derive(Clone)]
enum Kind {
    Redis { connection: ConnectionManager, scripts: Arc<Scripts> },
    Memory(Arc<Mutex<HashMap<String, Meter>>>),
}

struct Scripts {
    admit: Script,
    confirm: Script,
    end: Script,
    peek: Script,
    seed: Script,
}

/// What can be asked of one subject's meters.
pub(crate) enum Step<'a> {
    Admit { call: &'a str, need: Need, lapse_ms: u64, allowance: Allowance<'a> },
    Confirm { call: &'a str },
    End { call: &'a str, at_ms: u64, end: End },
    Peek,
    Seed { past: &'a [PastCall] },
}

/// What the meters answered.
#[derive(Debug)]
pub(crate) enum Answer {
    Granted {
        output: u64,
        at_ms: u64,
        picture: Picture,
    },
    /// Calls at once first, then one per window: zero where it fits, none where only the end of a running call makes room.
    Denied {
        picture: Picture,
        waits: Vec<Option<u64>>,
    },
    Running,
    Cold,
    Done(Picture),
    Said(bool),
}

impl Store {
    /// Redis, connected lazily: while it is away calls answer [`Unavailable`], and it comes back by itself.
    ///
    /// # Errors
    /// When the URL can't be read.
    pub fn redis(url: &str) -> Result<Self, Unavailable> {
        let config = ConnectionManagerConfig::new()
            .set_response_timeout(Some(Duration::from_millis(200)))
            .set_connection_timeout(Some(Duration::from_millis(250)))
            .set_number_of_retries(1)
            .set_max_delay(Duration::from_millis(50));
        let connection = ConnectionManager::new_lazy_with_config(redis::Client::open(url)?, config)?;
        let script = |code: &str| Script::new(&[include_str!("lua/meter.lua"), code].concat());
        let scripts = Scripts {
            admit: script(include_str!("lua/admit.lua")),
            confirm: script(include_str!("lua/confirm.lua")),
            end: script(include_str!("lua/end.lua")),
            peek: script(include_str!("lua/peek.lua")),
            seed: script(include_str!("lua/seed.lua")),
        };
        Ok(Self(Kind::Redis { connection, scripts: Arc::new(scripts) }))
    }

    /// This process's memory: for a single process without Redis, and for tests. Never a fallback: two processes would
    /// each grant the whole of a limit.
    #[must_use]
    pub fn memory() -> Self {
        Self(Kind::Memory(Arc::default()))
    }

    /// Whether the meters answer.
    ///
    /// # Errors
    /// When they don't, within 300 ms.
    pub async fn ping(&self) -> Result<(), Unavailable> {
        if let Kind::Redis { connection, .. } = &self.0 {
            let mut redis = connection.clone();
            let ping = async move { redis::cmd("PING").query_async::<Value>(&mut redis).await };
            tokio::time::timeout(DECISION, ping).await.map_err(|_| Unavailable::Slow)??;
        }
        Ok(())
    }

    /// Makes a subject's meters cold: the next touch builds them from the history.
    pub(crate) async fn forget(&self, key: &str) -> Result<(), Unavailable> {
        match &self.0 {
            Kind::Redis { connection, .. } => {
                let mut redis = connection.clone();
                let name = name(key);
                let del = async move { redis::cmd("DEL").arg(name).query_async::<Value>(&mut redis).await };
                tokio::time::timeout(DECISION, del).await.map_err(|_| Unavailable::Slow)??;
            }
            Kind::Memory(meters) => drop(meters.lock().unwrap_or_else(PoisonError::into_inner).remove(key)),
        }
        Ok(())
    }

    /// Does one step within a time, at Redis' own instant unless a test names one.
    pub(crate) async fn step(
        &self,
        key: &str,
        windows: &[Window],
        now_ms: Option<u64>,
        within: Duration,
        step: &Step<'_>,
    ) -> Result<Answer, Unavailable> {
        match &self.0 {
            Kind::Redis { connection, scripts } => {
                let mut redis = connection.clone();
                let (script, args) = scripts.pick(step);
                let mut call = script.key(name(key));
                call.arg(now_ms.map(|ms| ms.to_string()).unwrap_or_default()).arg(windows.len());
                for window in windows {
                    let unit = if window.unit == Unit::Calls { "c" } else { "a" };
                    call.arg(window.name).arg(unit).arg(window.span_ms).arg(window.width_ms);
                }
                for arg in &args {
                    call.arg(arg);
                }
                let run = tokio::time::timeout(within, call.invoke_async::<Value>(&mut redis));
                read(&run.await.map_err(|_| Unavailable::Slow)??, windows.len()).ok_or(Unavailable::Protocol)
            }
            Kind::Memory(meters) => {
                let mut meters = meters.lock().unwrap_or_else(PoisonError::into_inner);
                Ok(in_memory(&mut meters, key, windows, now_ms.unwrap_or_else(clock), step))
            }
        }
    }
}

/// A subject's key: the braces put everything of theirs into one slot of a cluster.
fn name(key: &str) -> String {
    format!("meter:{{{key}}}")
}

/// This machine's clock, in milliseconds since 1970.
pub(crate) fn clock() -> u64 {
    #[allow(clippy::disallowed_methods, reason = "without Redis the clock is this machine's")]
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    u64::try_from(now.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

fn in_memory(
    meters: &mut HashMap<String, Meter>,
    key: &str,
    windows: &[Window],
    now_ms: u64,
    step: &Step<'_>,
) -> Answer {
    if let Step::Seed { past } = step {
        meters.entry(key.to_owned()).or_insert_with(|| Meter::seeded(windows, past, now_ms));
        return Answer::Said(true);
    }
    let Some(meter) = meters.get_mut(key) else {
        return if matches!(step, Step::Confirm { .. }) { Answer::Said(false) } else { Answer::Cold };
    };
    match step {
        Step::Admit { call, need, lapse_ms, allowance } => {
            meter.admit(windows, now_ms, call, *need, *lapse_ms, *allowance)
        }
        Step::Confirm { call } => Answer::Said(meter.confirm(call, now_ms)),
        Step::End { call, at_ms, end } => Answer::Done(meter.end(windows, now_ms, call, *at_ms, *end)),
        Step::Peek | Step::Seed { .. } => Answer::Done(meter.peek(windows, now_ms)),
    }
}

impl Scripts {
    /// The script of a step, and what follows the windows in its arguments.
    fn pick(&self, step: &Step<'_>) -> (&Script, Vec<String>) {
        match step {
            Step::Admit { call, need, lapse_ms, allowance: Allowance { limits, in_flight } } => {
                let flight = in_flight.map_or_else(|| "-1".to_owned(), |limit| limit.to_string());
                let numbers = [need.input, need.output_min, need.output_max, *lapse_ms].map(|n| n.to_string());
                let mut args = vec![(*call).to_owned()];
                args.extend(numbers);
                args.push(flight);
                args.extend(limits.iter().map(u64::to_string));
                (&self.admit, args)
            }
            Step::Confirm { call } => (&self.confirm, vec![(*call).to_owned()]),
            Step::End { call, at_ms, end } => {
                let (mode, amount) = match end {
                    End::Settle(amount) => ("settle", *amount),
                    End::Heal(amount) => ("heal", *amount),
                    End::Release => ("release", 0),
                };
                let args = [
                    (*call).to_owned(),
                    at_ms.to_string(),
                    mode.to_owned(),
                    amount.to_string(),
                    REMEMBER_MS.to_string(),
                ];
                (&self.end, args.to_vec())
            }
            Step::Peek => (&self.peek, Vec::new()),
            Step::Seed { past } => {
                let calls = past.iter().flat_map(|past| {
                    let runs = if past.running { "1" } else { "0" };
                    [past.call.clone(), past.at_ms.to_string(), past.amount.to_string(), runs.to_owned()]
                });
                (&self.seed, [REMEMBER_MS.to_string()].into_iter().chain(calls).collect())
            }
        }
    }
}

fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Int(n) => u64::try_from(*n).ok(),
        _ => None,
    }
}

fn picture_of(value: &Value, windows: usize) -> Option<Picture> {
    let Value::Array(items) = value else { return None };
    let (flight, rest) = items.split_first()?;
    let usages = rest.chunks(4).map(|chunk| {
        let [used, reserved, reset, next] = chunk else { return None };
        // -1 where nothing is used
        Some(Usage {
            used: number(used)?,
            reserved: number(reserved)?,
            reset_ms: number(reset),
            next_free_ms: number(next),
        })
    });
    let usages = usages.collect::<Option<Vec<_>>>()?;
    (usages.len() == windows).then_some(Picture { in_flight: number(flight)?, windows: usages })
}

/// Reads what a script answered: a word and what follows it, or a number.
fn read(value: &Value, windows: usize) -> Option<Answer> {
    let items = match value {
        Value::Int(n) => return Some(Answer::Said(*n == 1)),
        Value::Array(items) => items,
        _ => return None,
    };
    let (word, rest) = items.split_first()?;
    let word: &[u8] = match word {
        Value::BulkString(bytes) => bytes,
        Value::SimpleString(text) => text.as_bytes(),
        _ => return None,
    };
    Some(match (word, rest) {
        (b"granted", [output, at, picture]) => {
            Answer::Granted { output: number(output)?, at_ms: number(at)?, picture: picture_of(picture, windows)? }
        }
        (b"denied", [picture, waits @ ..]) if waits.len() == windows + 1 => {
            Answer::Denied { picture: picture_of(picture, windows)?, waits: waits.iter().map(number).collect() }
        }
        (b"running", []) => Answer::Running,
        (b"cold", []) => Answer::Cold,
        (b"done", [picture]) => Answer::Done(picture_of(picture, windows)?),
        _ => return None,
    })
}
