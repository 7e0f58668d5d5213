//! Storage of meters: Redis for many servers, or memory for one process, with the same behavior.

use crate::memory::Meters;
use crate::protocol::{Step, StepOutcome, Unavailable};
use crate::script::{ScriptSet, pack_arguments, parse_reply};
use crate::window::{Amounts, Window, shape};
use redis_link::Link;
use redis_link::redis::{self, Value};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Deadline of one decision, across all its Redis calls. Measured by [`redis_link::within`].
pub(crate) const DECISION_DEADLINE: Duration = Duration::from_millis(250);

/// Stores meters of any number of kinds. Cheap to clone.
#[derive(Clone)]
pub struct Store(Kind);

#[derive(Clone)]
enum Kind {
    Redis(Arc<RedisStore>),
    Memory(Arc<Mutex<Meters>>),
}

struct RedisStore {
    link: Link,
    /// In a cluster each node has its own run id, so the scripts read it on each call.
    is_cluster: bool,
    scripts: RwLock<Arc<ScriptSet>>,
}

/// A Lua expression that reads the run id of the node that runs the script.
const NODE_RUN_ID: &str = "string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')";

impl Store {
    /// Creates a store in Redis. Connects lazily and reconnects automatically; while Redis is unreachable, calls return
    /// [`Unavailable`]. A comma-separated list of addresses names the nodes of one cluster.
    ///
    /// # Errors
    /// Returns an error if the URL can't be parsed.
    pub fn redis(url: &str) -> Result<Self, Unavailable> {
        let is_cluster = url.contains(',');
        // Placeholders until the run id is known: the first call gets NOSCRIPT and fetches it.
        let scripts = ScriptSet::new(if is_cluster { NODE_RUN_ID } else { "''" });
        let scripts = RwLock::new(Arc::new(scripts));
        Ok(Self(Kind::Redis(Arc::new(RedisStore { link: Link::new(url)?, is_cluster, scripts }))))
    }

    /// Creates a store in this process's memory, for a single process without Redis and for tests. Never use it as a fallback: two
    /// processes would each grant the full limit.
    #[must_use]
    pub fn memory() -> Self {
        Self(Kind::Memory(Arc::default()))
    }

    /// Checks that the meters are available.
    ///
    /// # Errors
    /// Returns [`Unavailable`] within 300 ms if they aren't.
    pub async fn ping(&self) -> Result<(), Unavailable> {
        match &self.0 {
            Kind::Redis(redis) => {
                Ok(redis.link.query::<Value>(&redis::cmd("PING"), &mut { DECISION_DEADLINE }).await.map(drop)?)
            }
            Kind::Memory(_) => Ok(()),
        }
    }

    /// Makes a subject's meters cold: the next access rebuilds them from the history.
    pub(crate) async fn discard(&self, key: &str) -> Result<(), Unavailable> {
        match &self.0 {
            Kind::Redis(redis) => Ok(redis
                .link
                .query::<Value>(redis::cmd("DEL").arg(redis_key(key)), &mut { DECISION_DEADLINE })
                .await
                .map(drop)?),
            Kind::Memory(meters) => {
                meters.lock().unwrap_or_else(PoisonError::into_inner).discard(key);
                Ok(())
            }
        }
    }

    /// Runs one step within the time left of its deadline, at the current time of Redis unless a test sets one.
    pub(crate) async fn step<A: Amounts>(
        &self,
        key: &str,
        windows: &[Window],
        now_ms: Option<u64>,
        left: &mut Duration,
        step: &Step<'_, A>,
    ) -> Result<StepOutcome, Unavailable> {
        match &self.0 {
            Kind::Redis(redis) => {
                let args = pack_arguments(windows, now_ms, step);
                let call = |command: &str, script: &str| {
                    let mut cmd = redis::cmd(command);
                    cmd.arg(script).arg(1).arg(redis_key(key)).arg(shape(windows)).arg(&args.hold).arg(&args.numbers);
                    cmd.arg(&args.past);
                    cmd
                };
                let scripts = redis.scripts();
                let value =
                    match redis.link.query::<Vec<u8>>(&call("EVALSHA", &scripts.script_for(step).hash), left).await {
                        // The first call, and the first after a restart of Redis, sends the script's text.
                        Err(error) if error.is_no_script() => {
                            let scripts = redis.renew_scripts(left).await?;
                            redis.link.query(&call("EVAL", &scripts.script_for(step).text), left).await
                        }
                        value => value,
                    };
                parse_reply(&value?, windows).ok_or(Unavailable::Protocol)
            }
            Kind::Memory(meters) => {
                let mut meters = meters.lock().unwrap_or_else(PoisonError::into_inner);
                Ok(meters.step(key, windows, now_ms.unwrap_or_else(clock), step))
            }
        }
    }
}

/// Returns a subject's key. The braces are a hash tag, which keeps all of a subject's data in one slot of a cluster.
fn redis_key(key: &str) -> String {
    format!("meter:{{{key}}}")
}

/// Returns this machine's time, in milliseconds since 1970. Never goes backward: if the clock is set back, the latest time is returned
/// until it has caught up, so that setting it back refunds no usage.
pub(crate) fn clock() -> u64 {
    static LATEST: AtomicU64 = AtomicU64::new(0);
    #[allow(clippy::disallowed_methods, reason = "without Redis, this machine's clock is used")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    LATEST.fetch_max(now, Ordering::Relaxed).max(now)
}

impl RedisStore {
    fn scripts(&self) -> Arc<ScriptSet> {
        Arc::clone(&self.scripts.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Fetches the run id of Redis and builds the scripts for it. A cluster keeps its scripts.
    async fn renew_scripts(&self, left: &mut Duration) -> Result<Arc<ScriptSet>, Unavailable> {
        if self.is_cluster {
            return Ok(self.scripts());
        }
        let info: String = self.link.query(redis::cmd("INFO").arg("server"), left).await?;
        let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let version = field("redis_version:").and_then(|version| version.split('.').next()?.parse::<u32>().ok());
        let run_id = field("run_id:").filter(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let (Some(7..), Some(run_id)) = (version, run_id) else { return Err(Unavailable::Protocol) };
        let scripts = Arc::new(ScriptSet::new(&format!("'{run_id}'")));
        *self.scripts.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&scripts);
        Ok(scripts)
    }
}
