//! Where meters live: Redis, for many servers, or this process's memory, for one. The same answers either way.

use crate::admission::{Allowance, End, Need, PastCall, Picture, Unavailable, Usage};
use crate::link::Link;
use crate::memory::Meters;
use crate::window::{Unit, Window, shape};
use redis::{Cmd, ErrorKind, FromRedisValue, RedisResult, Script, ServerErrorKind, Value};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The whole of one decision, whatever Redis does: 300 ms, less what a busy machine may add.
pub(crate) const DECISION: Duration = Duration::from_millis(250);

/// Meters of any number of kinds; cheap to clone.
#[derive(Clone)]
pub struct Store(Kind);

#[derive(Clone)]
enum Kind {
    Redis(Arc<Scripts>),
    Memory(Arc<Mutex<Meters>>),
}

struct Scripts {
    link: Link,
    admit: Code,
    confirm: Code,
    end: Code,
    peek: Code,
    seed: Code,
}

/// A script and its name in Redis.
struct Code {
    text: String,
    hash: String,
}

/// What can be asked of one subject's meters.
pub(crate) enum Step<'a> {
    Admit { call: &'a str, need: Need, lapse_ms: u64, allowance: Allowance<'a> },
    Confirm { call: &'a str, at_ms: u64 },
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
    /// The meters, and whether there was a hold to end.
    Done(Picture, bool),
    Said(bool),
}

impl Store {
    /// Redis, connected lazily: while it is away calls answer [`Unavailable`], and it comes back by itself. Addresses with commas
    /// between them are nodes of one cluster.
    ///
    /// # Errors
    /// When the URL can't be read.
    pub fn redis(url: &str) -> Result<Self, Unavailable> {
        let code = |own: &str| {
            let text = [include_str!("lua/meter.lua"), own].concat();
            Code { hash: Script::new(&text).get_hash().to_owned(), text }
        };
        Ok(Self(Kind::Redis(Arc::new(Scripts {
            link: Link::new(url)?,
            admit: code(include_str!("lua/admit.lua")),
            confirm: code(include_str!("lua/confirm.lua")),
            end: code(include_str!("lua/end.lua")),
            peek: code(include_str!("lua/peek.lua")),
            seed: code(include_str!("lua/seed.lua")),
        }))))
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
        match &self.0 {
            Kind::Redis(redis) => redis.run::<Value>(&redis::cmd("PING"), DECISION).await.map(drop),
            Kind::Memory(_) => Ok(()),
        }
    }

    /// Makes a subject's meters cold: the next touch builds them from the history.
    pub(crate) async fn forget(&self, key: &str) -> Result<(), Unavailable> {
        match &self.0 {
            Kind::Redis(redis) => redis.run::<Value>(redis::cmd("DEL").arg(name(key)), DECISION).await.map(drop),
            Kind::Memory(meters) => {
                meters.lock().unwrap_or_else(PoisonError::into_inner).forget(key);
                Ok(())
            }
        }
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
            Kind::Redis(redis) => {
                let (code, args) = redis.pick(step);
                let call = |how: &str, what: &str| {
                    let mut cmd = redis::cmd(how);
                    cmd.arg(what).arg(1).arg(name(key));
                    cmd.arg(now_ms.map(|ms| ms.to_string()).unwrap_or_default()).arg(shape(windows)).arg(windows.len());
                    for window in windows {
                        let unit = if window.unit == Unit::Calls { "c" } else { "a" };
                        cmd.arg(unit).arg(window.span_ms).arg(window.width_ms);
                    }
                    cmd.arg(&args);
                    cmd
                };
                let began = Instant::now();
                let value = match redis.run(&call("EVALSHA", &code.hash), within).await {
                    // The first call, or one after Redis came back empty, brings the script along.
                    Err(Unavailable::Redis(error)) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                        redis.run(&call("EVAL", &code.text), within.saturating_sub(began.elapsed())).await
                    }
                    value => value,
                };
                read(&value?, windows.len()).ok_or(Unavailable::Protocol)
            }
            Kind::Memory(meters) => {
                let mut meters = meters.lock().unwrap_or_else(PoisonError::into_inner);
                Ok(meters.step(key, windows, now_ms.unwrap_or_else(clock), step))
            }
        }
    }
}

/// A subject's key: the braces put everything of theirs into one slot of a cluster.
fn name(key: &str) -> String {
    format!("meter:{{{key}}}")
}

/// This machine's clock, in milliseconds since 1970. It only goes forward: one that is set back stands until it has caught up, so that
/// nothing that was used comes back by that.
pub(crate) fn clock() -> u64 {
    static LATEST: AtomicU64 = AtomicU64::new(0);
    #[allow(clippy::disallowed_methods, reason = "without Redis the clock is this machine's")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    LATEST.fetch_max(now, Ordering::Relaxed).max(now)
}

impl Scripts {
    /// One command within a time.
    async fn run<T: FromRedisValue>(&self, command: &Cmd, within: Duration) -> Result<T, Unavailable> {
        let (mut connection, made) = self.link.connection();
        let asked: Result<RedisResult<T>, _> = tokio::time::timeout(within, command.query_async(&mut connection)).await;
        match asked {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => {
                self.link.went(made, Some(&error));
                Err(error.into())
            }
            Err(_) => {
                self.link.went(made, None);
                Err(Unavailable::Slow)
            }
        }
    }

    /// The script of a step, and what follows the windows in its arguments.
    fn pick(&self, step: &Step<'_>) -> (&Code, Vec<String>) {
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
            Step::Confirm { call, at_ms } => (&self.confirm, vec![(*call).to_owned(), at_ms.to_string()]),
            Step::End { call, at_ms, end } => {
                let (mode, amount) = match end {
                    End::Settle(amount) => ("settle", *amount),
                    End::Release => ("release", 0),
                };
                let args = [(*call).to_owned(), at_ms.to_string(), mode.to_owned(), amount.to_string()];
                (&self.end, args.to_vec())
            }
            Step::Peek => (&self.peek, Vec::new()),
            Step::Seed { past } => {
                let calls = past.iter().flat_map(|past| {
                    let runs = if past.running { "1" } else { "0" };
                    [past.call.clone(), past.at_ms.to_string(), past.amount.to_string(), runs.to_owned()]
                });
                (&self.seed, calls.collect())
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
        (b"done", [picture, held]) => Answer::Done(picture_of(picture, windows)?, number(held)? == 1),
        _ => return None,
    })
}
