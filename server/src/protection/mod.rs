//! Limits that one process keeps in memory, so that refusing costs neither a query nor a call to Redis.

pub(crate) mod api_limits;
pub(crate) mod busy_pages;
pub(crate) mod forwards;
pub(crate) mod local_attempts;
pub(crate) mod slots;
pub(crate) mod streams;
pub(crate) mod unknown_keys;

use api_limits::ApiLimits;
use busy_pages::BusyPages;
use forwards::IgnoredForwards;
use governor::NotUntil;
use governor::clock::{Clock, DefaultClock};
use local_attempts::LocalAttempts;
use slots::UserSlots;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use streams::OpenStreams;
use time::OffsetDateTime;
use tokio::sync::Semaphore;
use unknown_keys::UnknownKeys;

/// Maximum number of demos that this process runs at once.
const DEMOS: usize = 8;

/// The limits of this process.
pub(crate) struct Protection {
    /// Requests to `/api/`.
    pub api: ApiLimits,
    /// Attempts while Redis is unavailable.
    pub attempts: LocalAttempts,
    /// Pages for visitors who are refused because too many passwords wait.
    pub busy_pages: BusyPages,
    /// Forwarded addresses that were ignored.
    pub forwards: IgnoredForwards,
    /// Open streams.
    pub streams: Arc<OpenStreams>,
    /// Streams to API clients.
    pub replies: Arc<UserSlots>,
    /// Requests with unknown API keys.
    pub unknown_keys: UnknownKeys,
    /// Slots for demos that run at once.
    pub demos: Arc<Semaphore>,
    sign_up_refused_at: Mutex<Option<OffsetDateTime>>,
}

impl Protection {
    /// Creates the limits of a process that allows this many requests to `/api/` per session and minute.
    pub(crate) fn new(api_requests_per_minute: NonZeroU32) -> Self {
        Self {
            api: ApiLimits::new(api_requests_per_minute),
            attempts: LocalAttempts::new(),
            busy_pages: BusyPages::default(),
            forwards: IgnoredForwards::default(),
            streams: Arc::default(),
            replies: Arc::default(),
            unknown_keys: UnknownKeys::default(),
            demos: Arc::new(Semaphore::new(DEMOS)),
            sign_up_refused_at: Mutex::default(),
        }
    }

    /// Records that the cap on sign-ups refused one.
    pub(crate) fn note_refused_sign_up(&self, now: OffsetDateTime) {
        *self.sign_up_refused_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    /// Returns when the cap on sign-ups last refused one on this server.
    pub(crate) fn sign_up_refused_at(&self) -> Option<OffsetDateTime> {
        *self.sign_up_refused_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes what no longer limits anyone.
    pub(crate) fn sweep(&self) {
        self.api.sweep(Instant::now());
        self.attempts.sweep();
        self.unknown_keys.sweep(Instant::now());
    }
}

/// Returns the milliseconds until a rate limiter admits the refused request; at least one.
pub(crate) fn wait_ms(until: &NotUntil<<DefaultClock as Clock>::Instant>) -> u64 {
    let wait = until.wait_time_from(DefaultClock::default().now());
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1)
}
