//! Admit, confirm, settle, release, peek.

use crate::scripts::{Answer, Scripts, read};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Script, Value};
use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

/// How long a hold stands that nobody has confirmed: Redis may have granted what timed out on our side.
const LAPSE_MS: u64 = 10_000;
/// How long a settled turn is remembered, so that settling it again does nothing.
const REMEMBER_MS: u64 = 3_600_000;
/// The whole of one decision, whatever Redis does.
const DECISION: Duration = Duration::from_millis(300);

/// What the plan allows; an argument of each call, so that a new plan counts at once and never refills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// In any 60 seconds.
    pub requests_per_minute: u64,
    /// In any 24 hours.
    pub tokens_per_day: u64,
    /// At once.
    pub in_flight: u64,
}

/// What a call may use at most. Unsigned, so that nobody can mint quota with a negative need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// Input tokens, estimated high.
    pub input: u64,
    /// Output tokens below which the call isn't worth making.
    pub output_min: u64,
    /// Output tokens it may have where there is room.
    pub output_max: u64,
}

/// One of a subject's windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// Requests per minute.
    Requests,
    /// Tokens per day.
    Tokens,
    /// Turns at once.
    InFlight,
}

/// What is used and held; all `*_ms` are durations from the answer, none where nothing is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Requests in the trailing minute.
    pub requests: u64,
    /// Until no request counts any more.
    pub reset_ms: Option<u64>,
    /// Tokens spent in the trailing day.
    pub tokens_used: u64,
    /// Tokens held for running turns.
    pub tokens_reserved: u64,
    /// Until the oldest spent tokens return.
    pub next_free_ms: Option<u64>,
    /// Turns running.
    pub in_flight: u64,
}

/// Leave to make one call. Consumed by [`Limits::settle`] or [`Limits::release`]; one that is dropped unconfirmed
/// lapses after ten seconds.
#[must_use = "an admitted call is settled or released"]
#[derive(Debug)]
pub struct Permit {
    subject: String,
    turn: String,
    at_ms: u64,
    input: u64,
    output: u64,
    picture: Picture,
}

impl Permit {
    /// Output tokens granted: the call's `max_tokens`.
    #[must_use]
    pub fn output(&self) -> u64 {
        self.output
    }

    /// All tokens held.
    #[must_use]
    pub fn reserved(&self) -> u64 {
        self.input + self.output
    }

    /// When it was granted, by Redis' clock, in milliseconds since 1970: the instant its usage counts at.
    #[must_use]
    pub fn at_ms(&self) -> u64 {
        self.at_ms
    }

    /// The meters with this permit in them.
    #[must_use]
    pub fn picture(&self) -> &Picture {
        &self.picture
    }
}

/// A refusal; nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The window that takes longest to make room.
    pub window: Window,
    /// When this very need would fit, if nothing else happens.
    pub retry_after_ms: u64,
    /// The meters as they are.
    pub picture: Picture,
}

/// The answer to [`Limits::admit`].
#[derive(Debug)]
pub enum Admission {
    /// Make the call.
    Granted(Permit),
    /// Not now.
    Denied(Denial),
    /// Never, under this allowance: more than `max` input tokens can't fit a day.
    TooLarge {
        /// The largest input that could.
        max: u64,
    },
    /// This turn was admitted before.
    Running,
}

/// How a hold ends by id, for a process that has no permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// So many tokens were used.
    Settle(u64),
    /// As settle where a hold still stands; nothing where none does, since the ledger has rebuilt the meters then.
    Heal(u64),
    /// Nothing was, and the request goes back.
    Release,
}

/// The meters can't be read or written. Paid calls must not be made then.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    /// Redis refused, broke off or was too slow.
    #[error("redis: {0}")]
    Redis(#[from] redis::RedisError),
    /// No decision within the bounded time.
    #[error("no decision within {} ms", DECISION.as_millis())]
    Slow,
    /// An answer that no script of ours gives.
    #[error("an unexpected answer")]
    Protocol,
    /// The history that would rebuild cold meters can't be had.
    #[error("history: {0}")]
    History(String),
}

/// One turn of the trailing day, as the owner of the truth knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastTurn {
    /// Its id.
    pub turn: String,
    /// When it was admitted, in milliseconds since 1970.
    pub at_ms: u64,
    /// What it used, or holds while it runs.
    pub tokens: u64,
    /// Whether it still runs.
    pub running: bool,
}

/// Answers what a subject did in the trailing day: from where lost meters are rebuilt.
pub type History =
    Arc<dyn Fn(String) -> Pin<Box<dyn Future<Output = Result<Vec<PastTurn>, String>> + Send>> + Send + Sync>;

/// The meters of all subjects.
#[derive(Clone)]
pub struct Limits {
    redis: ConnectionManager,
    scripts: Arc<Scripts>,
    history: History,
    /// Milliseconds since 1970 instead of Redis' clock; tests only.
    now_ms: Option<u64>,
}

impl Limits {
    /// Connects lazily: a Redis that is away makes calls answer [`Unavailable`], and comes back by itself.
    ///
    /// # Errors
    /// When the URL can't be read.
    pub fn new(redis_url: &str, history: History) -> Result<Self, Unavailable> {
        let config = ConnectionManagerConfig::new()
            .set_response_timeout(Some(Duration::from_millis(200)))
            .set_connection_timeout(Some(Duration::from_millis(250)))
            .set_number_of_retries(1)
            .set_max_delay(Duration::from_millis(50));
        let redis = ConnectionManager::new_lazy_with_config(redis::Client::open(redis_url)?, config)?;
        Ok(Self { redis, scripts: Arc::new(Scripts::new()), history, now_ms: None })
    }

    /// The same meters, read at a fixed instant: how tests move time.
    #[must_use]
    pub fn at(&self, now_ms: u64) -> Self {
        Self { now_ms: Some(now_ms), ..self.clone() }
    }

    /// Reserves what a call may use, in all windows or in none.
    ///
    /// # Errors
    /// [`Unavailable`] within 300 ms of trying; the call must not be made.
    pub async fn admit(
        &self,
        subject: &str,
        turn: &str,
        allowance: Allowance,
        need: Need,
    ) -> Result<Admission, Unavailable> {
        let max = allowance.tokens_per_day.saturating_sub(need.output_min);
        if need.input > max {
            return Ok(Admission::TooLarge { max });
        }
        let numbers = [
            allowance.requests_per_minute,
            allowance.tokens_per_day,
            allowance.in_flight,
            need.input,
            need.output_min,
            need.output_max.max(need.output_min),
            LAPSE_MS,
        ];
        let args = [vec![self.now(), turn.to_owned()], numbers.iter().map(u64::to_string).collect()].concat();
        Ok(match self.warm(subject, &self.scripts.admit, &args).await? {
            Answer::Granted { output, at_ms, picture } => Admission::Granted(Permit {
                subject: subject.to_owned(),
                turn: turn.to_owned(),
                at_ms,
                input: need.input,
                output,
                picture,
            }),
            Answer::Denied { window, retry_after_ms, picture } => {
                Admission::Denied(Denial { window, retry_after_ms, picture })
            }
            Answer::Running => Admission::Running,
            Answer::Cold | Answer::Done(_) => return Err(Unavailable::Protocol),
        })
    }

    /// Says that the call is written down where it survives us: the hold then stays at its ceiling until it is settled.
    /// False where it had lapsed already.
    ///
    /// # Errors
    /// [`Unavailable`] when Redis can't be asked.
    pub async fn confirm(&self, permit: &Permit) -> Result<bool, Unavailable> {
        let value = self.run(&permit.subject, &self.scripts.confirm, std::slice::from_ref(&permit.turn)).await?;
        Ok(value == Value::Int(1))
    }

    /// Counts what the call used, also past the limit, and gives the rest of the hold back. Again does nothing.
    ///
    /// # Errors
    /// [`Unavailable`]; the ledger, which was written first, heals the meter then.
    pub async fn settle(&self, permit: Permit, tokens: u64) -> Result<Picture, Unavailable> {
        self.end(&permit.subject, &permit.turn, permit.at_ms, End::Settle(tokens)).await
    }

    /// Gives everything back, the request too: the call was not made.
    ///
    /// # Errors
    /// [`Unavailable`]; an unconfirmed hold then lapses by itself.
    pub async fn release(&self, permit: Permit) -> Result<Picture, Unavailable> {
        self.end(&permit.subject, &permit.turn, permit.at_ms, End::Release).await
    }

    /// Ends the hold of a process that is gone. `at_ms` is when the turn was admitted.
    ///
    /// # Errors
    /// [`Unavailable`] when Redis can't be asked.
    pub async fn end(&self, subject: &str, turn: &str, at_ms: u64, end: End) -> Result<Picture, Unavailable> {
        let (mode, tokens) = match end {
            End::Settle(tokens) => ("settle", tokens),
            End::Heal(tokens) => ("heal", tokens),
            End::Release => ("release", 0),
        };
        let args = [
            self.now(),
            turn.to_owned(),
            at_ms.to_string(),
            mode.to_owned(),
            tokens.to_string(),
            REMEMBER_MS.to_string(),
        ];
        match self.warm(subject, &self.scripts.end, &args).await? {
            Answer::Done(picture) => Ok(picture),
            _ => Err(Unavailable::Protocol),
        }
    }

    /// What is left, without touching it.
    ///
    /// # Errors
    /// [`Unavailable`] when Redis can't be asked.
    pub async fn peek(&self, subject: &str) -> Result<Picture, Unavailable> {
        match self.warm(subject, &self.scripts.peek, &[self.now()]).await? {
            Answer::Done(picture) => Ok(picture),
            _ => Err(Unavailable::Protocol),
        }
    }

    /// Whether Redis answers.
    ///
    /// # Errors
    /// When it doesn't, within 300 ms.
    pub async fn ping(&self) -> Result<(), Unavailable> {
        let mut redis = self.redis.clone();
        let ping = async move { redis::cmd("PING").query_async::<Value>(&mut redis).await };
        tokio::time::timeout(DECISION, ping).await.map_err(|_| Unavailable::Slow)??;
        Ok(())
    }

    fn now(&self) -> String {
        self.now_ms.map(|ms| ms.to_string()).unwrap_or_default()
    }

    /// Runs a script; where the meters are cold, builds them from the history and runs it once more.
    async fn warm(&self, subject: &str, script: &Script, args: &[String]) -> Result<Answer, Unavailable> {
        match read(&self.run(subject, script, args).await?)? {
            Answer::Cold => {
                let past = (self.history)(subject.to_owned()).await.map_err(Unavailable::History)?;
                let turns = past.into_iter().flat_map(|turn| {
                    let running = if turn.running { "1" } else { "0" };
                    [turn.turn, turn.at_ms.to_string(), turn.tokens.to_string(), running.to_owned()]
                });
                let seed: Vec<String> = [self.now(), REMEMBER_MS.to_string()].into_iter().chain(turns).collect();
                self.run(subject, &self.scripts.seed, &seed).await?;
                read(&self.run(subject, script, args).await?)
            }
            answer => Ok(answer),
        }
    }

    async fn run(&self, subject: &str, script: &Script, args: &[String]) -> Result<Value, Unavailable> {
        let mut redis = self.redis.clone();
        let mut call = script.key(format!("meter:{{{subject}}}"));
        for arg in args {
            call.arg(arg);
        }
        Ok(tokio::time::timeout(DECISION, call.invoke_async(&mut redis)).await.map_err(|_| Unavailable::Slow)??)
    }
}
