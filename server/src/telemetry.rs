//! Logs and metrics. Neither contains secrets or text written by users.

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

/// How many warnings of one place in the code are logged per minute; the rest is counted (field note 107).
const WARNINGS: u32 = 20;
const MINUTE: Duration = Duration::from_secs(60);

/// Starts logging: text on a terminal, JSON elsewhere. A second call changes nothing.
pub fn log(config: &Config) {
    let filter = EnvFilter::try_new(&config.log_filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let layer = if std::io::stderr().is_terminal() { layer.boxed() } else { layer.json().boxed() };
    let _ = tracing_subscriber::registry().with(layer.with_filter(Repeats::default())).with(filter).try_init();
}

/// Lets each place in the code log twenty warnings a minute and counts the others, so that what strangers send (malformed cookies,
/// broken requests) can't fill a disk. Errors are failures of ours and always logged; what isn't a warning isn't touched.
#[derive(Default)]
struct Repeats {
    seen: Mutex<HashMap<Identifier, Repeated>>,
}

struct Repeated {
    since: Instant,
    n: u32,
}

impl Repeats {
    /// Whether a warning is logged at an instant, and how many of the minute before weren't.
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

/// The target of summaries, which are never withheld.
const SUMMARY: &str = "quotient::repeated";

/// Chooses ring as the one TLS provider, before anything asks for it. A second call changes nothing.
pub fn tls() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// The recorder behind `/metrics`; one per process.
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

    /// Field note 107: half a million malformed cookies in an hour are some hundred lines.
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
        assert_eq!(withheld, 59 * (140 * 60 - WARNINGS), "every full minute is summed up");
    }
}
