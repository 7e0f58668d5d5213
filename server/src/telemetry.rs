//! Logs and metrics. Neither contains secrets or user text.

use crate::Config;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tracing::callsite::Identifier;
use tracing::{Level, Metadata};
use tracing_subscriber::layer::{Context, Filter, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

/// Maximum number of warnings per callsite that are logged per minute. Further ones are only counted (field note 107).
const WARNINGS: u32 = 20;
const MINUTE: Duration = Duration::from_secs(60);

/// Starts logging: text on a terminal, JSON otherwise. Calling it again has no effect.
pub fn log(config: &Config) {
    let filter = EnvFilter::try_new(&config.log_filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let layer = if std::io::stderr().is_terminal() { layer.boxed() } else { layer.json().boxed() };
    let _ = tracing_subscriber::registry().with(layer.with_filter(Repeats::default())).with(filter).try_init();
}

/// Logs at most 20 warnings a minute per callsite and counts the rest, so that malformed requests (such as invalid cookies) can't fill the
/// disk. Only warnings are limited: errors are failures of the server and are always logged.
#[derive(Default)]
struct Repeats {
    seen: Mutex<HashMap<Identifier, Repeated>>,
}

struct Repeated {
    since: Instant,
    n: u32,
}

impl Repeats {
    /// Returns whether a warning is logged at `now`, and how many were withheld in the previous minute.
    fn admit(&self, from: Identifier, now: Instant) -> (bool, u32) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = seen.entry(from).or_insert(Repeated { since: now, n: 0 });
        let mut withheld = 0;
        if now.duration_since(entry.since) >= MINUTE {
            withheld = entry.n.saturating_sub(WARNINGS);
            *entry = Repeated { since: now, n: 0 };
        }
        entry.n = entry.n.saturating_add(1);
        (entry.n <= WARNINGS, withheld)
    }
}

impl<S> Filter<S> for Repeats {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &tracing::Event<'_>, _: &Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if *metadata.level() != Level::WARN || metadata.target() == SUMMARY {
            return true;
        }
        let (is_logged, withheld) = self.admit(metadata.callsite(), Instant::now());
        if withheld > 0 {
            metrics::counter!("quotient_warnings_withheld_total").increment(u64::from(withheld));
            let (target, line) = (metadata.target(), metadata.line());
            tracing::warn!(target: SUMMARY, withheld, from = target, line, "more warnings like the next one were not logged");
        }
        is_logged
    }
}

/// Target of the summaries, which are never withheld.
const SUMMARY: &str = "quotient::repeated";

/// Installs ring as the TLS provider. Must run before TLS is first used. Calling it again has no effect.
pub fn tls() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Returns the process-wide recorder behind `/metrics`.
pub fn metrics() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        let _ = metrics::set_global_recorder(recorder);
        handle
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Callsite as _;

    /// Field note 107: half a million warnings about malformed cookies in an hour produce 1,200 log lines.
    #[test]
    fn repeated_warnings_are_counted_instead_of_logged() {
        let (repeats, began) = (Repeats::default(), Instant::now());
        let callsite = tracing::callsite!(name: "cookie", kind: tracing::metadata::Kind::EVENT, fields: message);
        let from = callsite.metadata().callsite();
        let (mut logged, mut withheld) = (0, 0);
        for second in 0..3_600 {
            for _ in 0..140 {
                let (is_logged, before) = repeats.admit(from.clone(), began + Duration::from_secs(second));
                logged += u32::from(is_logged);
                withheld += before;
            }
        }
        assert_eq!(logged, 60 * WARNINGS);
        assert_eq!(withheld, 59 * (140 * 60 - WARNINGS), "withheld warnings of every full minute are reported");
    }
}
