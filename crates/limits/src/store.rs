//! Storage of meters: Redis for many servers, or memory for one process, with equal behaviour.

use crate::admission::{Allowance, Demand, End, MOST, PastCall, Snapshot, Unavailable};
use crate::memory::Meters;
use crate::script::{Args, hold, read, written};
use crate::window::{Unit, Window, shape};
use redis_link::Link;
use redis_link::redis::{self, Script, Value};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The deadline of one decision, whatever Redis does; counted as [`redis_link::within`] does.
pub(crate) const DECISION: Duration = Duration::from_millis(250);

/// How long meters are kept at least: a hold outlives short windows.
const RUNNING_MS: u64 = 90_000_000;

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
    /// Of a cluster each node has a run id of its own, which its scripts ask for at each call.
    is_cluster: bool,
    codes: RwLock<Arc<Codes>>,
}

/// The scripts for one run of Redis. A script's text holds the run id, so that its hash is known to that process alone: after a
/// restart, or a failover to a replica, the first call answers NOSCRIPT, and the new run id is asked for. That needs Redis 7, which
/// keeps no scripts in its snapshots.
struct Codes {
    admit: Code,
    confirm: Code,
    end: Code,
    peek: Code,
    seed: Code,
}

impl Codes {
    fn new(boot: &str) -> Self {
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

    fn of(&self, step: &Step<'_>) -> &Code {
        match step {
            Step::Admit { .. } => &self.admit,
            Step::Confirm { .. } => &self.confirm,
            Step::End { .. } => &self.end,
            Step::Peek => &self.peek,
            Step::Seed { .. } => &self.seed,
        }
    }
}

/// What a script says where its node tells it the run id.
const NODE_RUN_ID: &str = "string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')";

/// A script and its name in Redis.
struct Code {
    text: String,
    hash: String,
}

/// What can be asked of one subject's meters.
pub(crate) enum Step<'a> {
    Admit {
        call: &'a str,
        demand: Demand,
        lapse_ms: u64,
        allowance: Allowance<'a>,
    },
    Confirm {
        call: &'a str,
        at_ms: u64,
    },
    End {
        call: &'a str,
        at_ms: u64,
        end: End,
    },
    Peek,
    /// The ticket is what [`Answer::Cold`] gave before the history was read.
    Seed {
        past: &'a [PastCall],
        ticket: &'a str,
    },
}

/// What the meters answered.
#[derive(Debug)]
pub(crate) enum Answer {
    Granted {
        output: u64,
        at_ms: u64,
        snapshot: Snapshot,
    },
    /// Calls at once first, then one per window: zero where it fits, none where only the end of a running call makes room.
    Denied {
        snapshot: Snapshot,
        waits: Vec<Option<u64>>,
    },
    Running,
    /// With a ticket: seeding with it does nothing where the meters were lost once more since.
    Cold(String),
    /// The meters, and whether there was a hold to end.
    Done(Snapshot, bool),
    Said(bool),
}

impl Store {
    /// Redis, connected lazily: while it is away calls answer [`Unavailable`], and it comes back by itself. Addresses with commas
    /// between them are nodes of one cluster.
    ///
    /// # Errors
    /// Returns an error if the URL can't be parsed.
    pub fn redis(url: &str) -> Result<Self, Unavailable> {
        let is_cluster = url.contains(',');
        // Until the run id is known no text is right, and none is sent.
        let codes = Codes::new(if is_cluster { NODE_RUN_ID } else { "''" });
        let codes = RwLock::new(Arc::new(codes));
        Ok(Self(Kind::Redis(Arc::new(Scripts { link: Link::new(url)?, is_cluster, codes }))))
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
            Kind::Redis(redis) => {
                Ok(redis.link.query::<Value>(&redis::cmd("PING"), &mut { DECISION }).await.map(drop)?)
            }
            Kind::Memory(_) => Ok(()),
        }
    }

    /// Makes a subject's meters cold: the next touch builds them from the history.
    pub(crate) async fn forget(&self, key: &str) -> Result<(), Unavailable> {
        match &self.0 {
            Kind::Redis(redis) => {
                Ok(redis.link.query::<Value>(redis::cmd("DEL").arg(name(key)), &mut { DECISION }).await.map(drop)?)
            }
            Kind::Memory(meters) => {
                meters.lock().unwrap_or_else(PoisonError::into_inner).forget(key);
                Ok(())
            }
        }
    }

    /// Does one step in as much time as is left of its deadline, at Redis' own instant unless a test names one.
    pub(crate) async fn step(
        &self,
        key: &str,
        windows: &[Window],
        now_ms: Option<u64>,
        left: &mut Duration,
        step: &Step<'_>,
    ) -> Result<Answer, Unavailable> {
        match &self.0 {
            Kind::Redis(redis) => {
                let args = arguments(windows, now_ms, step);
                let call = |how: &str, what: &str| {
                    let mut cmd = redis::cmd(how);
                    cmd.arg(what).arg(1).arg(name(key)).arg(shape(windows)).arg(&args.hold).arg(&args.numbers);
                    cmd.arg(&args.past);
                    cmd
                };
                let codes = redis.codes();
                let value = match redis.link.query::<Vec<u8>>(&call("EVALSHA", &codes.of(step).hash), left).await {
                    // The first call, or one after Redis came back, brings the script along.
                    Err(error) if error.is_no_script() => {
                        let codes = redis.renew_codes(left).await?;
                        redis.link.query(&call("EVAL", &codes.of(step).text), left).await
                    }
                    value => value,
                };
                read(&value?, windows).ok_or(Unavailable::Protocol)
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
    fn codes(&self) -> Arc<Codes> {
        Arc::clone(&self.codes.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Asks Redis for its run id and writes the scripts for it.
    async fn renew_codes(&self, left: &mut Duration) -> Result<Arc<Codes>, Unavailable> {
        if self.is_cluster {
            return Ok(self.codes());
        }
        let info: String = self.link.query(redis::cmd("INFO").arg("server"), left).await?;
        let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let version = field("redis_version:").and_then(|version| version.split('.').next()?.parse::<u32>().ok());
        let run_id = field("run_id:").filter(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let (Some(7..), Some(run_id)) = (version, run_id) else { return Err(Unavailable::Protocol) };
        let codes = Arc::new(Codes::new(&format!("'{run_id}'")));
        *self.codes.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&codes);
        Ok(codes)
    }
}

/// A step's arguments.
fn arguments(windows: &[Window], now_ms: Option<u64>, step: &Step<'_>) -> Args {
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
