//! The remaining quota on the page: the ring beside Send with its panel, and the notices when it is nearly used up.

use crate::browser::clock;
use crate::browser::dom::PageElement;
use crate::browser::json::Json;
use crate::components::duration::wait;
use domain::money::count;
use domain::quota::{InFlight, Requests, TokensLeft};
use domain::{Quota, Tokens};

/// Shares of the day's tokens, in percent, at which a toast appears.
const LEVELS: [u64; 2] = [80, 95];

/// Reads a quota that the server sent.
pub(super) fn read(quota: &Json) -> Option<Quota> {
    let (requests, tokens, in_flight) = (quota.field("requests"), quota.field("tokens"), quota.field("in_flight"));
    Some(Quota {
        plan: String::new(),
        requests: Requests {
            limit: requests.number("limit")?,
            remaining: requests.number("remaining")?,
            reset_ms: requests.number("reset_ms"),
        },
        tokens: TokensLeft {
            limit: tokens.number("limit")?,
            used: tokens.number("used")?,
            reserved: tokens.number("reserved")?,
            remaining: tokens.number("remaining")?,
            next_free_ms: tokens.number("next_free_ms"),
        },
        in_flight: InFlight { limit: in_flight.number("limit")?, now: in_flight.number("now")? },
    })
}

/// Reads the quota that the server rendered.
pub(super) fn rendered(meter: &PageElement) -> Option<Quota> {
    Some(Quota {
        plan: String::new(),
        requests: Requests {
            limit: meter.number("data-requests-limit")?,
            remaining: meter.number("data-requests-remaining")?,
            reset_ms: meter.number("data-requests-reset-ms"),
        },
        tokens: TokensLeft {
            limit: meter.number("data-limit")?,
            used: meter.number("data-used")?,
            reserved: meter.number("data-reserved")?,
            remaining: meter.number("data-remaining")?,
            next_free_ms: meter.number("data-next-free-ms"),
        },
        in_flight: InFlight { limit: meter.number("data-in-flight-limit")?, now: meter.number("data-in-flight-now")? },
    })
}

/// Shows a quota.
pub(super) fn show(meter: &PageElement, quota: &Quota) {
    let (tokens, requests) = (&quota.tokens, &quota.requests);
    for (name, value) in [
        ("data-limit", tokens.limit),
        ("data-used", tokens.used),
        ("data-reserved", tokens.reserved),
        ("data-remaining", tokens.remaining),
        ("data-requests-limit", requests.limit),
        ("data-requests-remaining", requests.remaining),
        ("data-in-flight-limit", quota.in_flight.limit),
        ("data-in-flight-now", quota.in_flight.now),
    ] {
        meter.set(name, &value.to_string());
    }
    let ms = |ms: Option<u64>| ms.map(|ms| ms.to_string());
    meter.set_option("data-next-free-ms", ms(tokens.next_free_ms).as_deref());
    meter.set_option("data-requests-reset-ms", ms(requests.reset_ms).as_deref());
    meter.mark("data-low", quota.is_low());
    let (used, held) = shares(tokens.used, tokens.reserved, tokens.limit);
    if let Some(circle) = meter.find("circle.used") {
        circle.set("stroke-dasharray", &format!("{used} 1000"));
    }
    if let Some(circle) = meter.find("circle.held") {
        circle.set("stroke-dasharray", &format!("{held} 1000"));
        circle.set("stroke-dashoffset", &format!("-{used}"));
    }
    if let Some(left) = meter.find("#meter-left") {
        left.set_text(&left_text(tokens.remaining));
    }
    let track = Track { used: tokens.used, held: tokens.reserved, remaining: tokens.remaining, limit: tokens.limit };
    track.show(meter.find("#meter-tokens").as_ref(), "today", quota.tokens_low());
    let used = requests.limit.saturating_sub(requests.remaining);
    let track = Track { used, held: 0, remaining: requests.remaining, limit: requests.limit };
    track.show(meter.find("#meter-requests").as_ref(), "this minute", quota.requests_low());
    if let Some(back) = meter.find("#meter-back") {
        let next = tokens.next_free_ms.filter(|_| quota.tokens_low());
        back.show(next.is_some());
        back.set_text(&next.map(|ms| format!("more {}", clock::moment_in(ms))).unwrap_or_default());
    }
}

struct Track {
    used: u64,
    held: u64,
    remaining: u64,
    limit: u64,
}

impl Track {
    fn show(&self, element: Option<&PageElement>, unit: &str, is_low: bool) {
        let Some(element) = element else { return };
        let exact = exact(self, unit);
        element.set_class("low", is_low);
        element.set("aria-valuemax", &self.limit.to_string());
        element.set("aria-valuenow", &self.remaining.to_string());
        element.set("aria-valuetext", &exact);
        if let Some(left) = element.find(".left") {
            left.set_text(&left_text(self.remaining));
        }
        if let Some(sentence) = element.find(".exact") {
            sentence.set_text(&exact);
        }
        let (used, held) = shares(self.used, self.held, self.limit);
        if let Some(bar) = element.find("rect.used") {
            bar.set("width", &used.to_string());
        }
        if let Some(line) = element.find("line.held") {
            line.set("x1", &used.to_string());
            line.set("x2", &(used + held).to_string());
        }
    }
}

fn left_text(remaining: u64) -> String {
    format!("{} left", Tokens(remaining))
}

fn exact(track: &Track, unit: &str) -> String {
    let held = match track.held {
        0 => String::new(),
        held => format!(", {} reserved for responses in progress", Tokens(held)),
    };
    let (used, remaining, limit) = (Tokens(track.used), Tokens(track.remaining), Tokens(track.limit));
    format!("{used} used{held}, {remaining} of {limit} left {unit}")
}

/// Returns the used and the reserved part in thousandths of the limit; together at most 1000.
fn shares(used: u64, held: u64, limit: u64) -> (u64, u64) {
    let share = |part: u64| part.min(limit).saturating_mul(1000) / limit.max(1);
    let used = share(used);
    (used, share(held).min(1000 - used.min(1000)))
}

/// Returns the highest level that the used tokens have reached, in percent; 0 below the first.
pub(super) fn level(quota: &Quota) -> u64 {
    let used = quota.tokens.limit.saturating_sub(quota.tokens.remaining).saturating_mul(100);
    let is_reached = |level: &u64| used >= quota.tokens.limit.saturating_mul(*level);
    LEVELS.into_iter().rev().find(is_reached).unwrap_or(0)
}

/// Returns the notice to show after a turn, if any: the tokens have reached a level above `before`, or few requests are left. The tokens come
/// first: each level is named once, and requests are available again within a minute.
pub(super) fn warning(quota: &Quota, before: u64) -> Option<String> {
    let level = level(quota);
    if level > before {
        let back = quota.tokens.next_free_ms.map(|ms| format!("; more available {}", clock::moment_in(ms)));
        let back = back.unwrap_or_default();
        return Some(match quota.tokens.remaining {
            0 => format!("No tokens left today{back}."),
            left => format!("{level} % of today's tokens used, {} tokens left{back}.", Tokens(left)),
        });
    }
    quota.requests_low().then(|| {
        let back = quota.requests.reset_ms.map(|ms| format!("; all available again in {}", wait(ms.min(60_000))));
        let back = back.unwrap_or_default();
        match quota.requests.remaining {
            0 => format!("No requests left this minute{back}."),
            n => format!("{} left this minute{back}.", count(n, "request", "requests")),
        }
    })
}

/// Formats a number of tokens in about three characters: "950", "3.1k", "12k", "1.2M".
pub(super) fn compact(tokens: u64) -> String {
    let (unit, name) = match tokens {
        0..1_000 => return tokens.to_string(),
        1_000..1_000_000 => (1_000, "k"),
        _ => (1_000_000, "M"),
    };
    match (tokens / unit, tokens % unit / (unit / 10)) {
        (whole @ 0..10, tenths @ 1..) => format!("{whole}.{tenths}{name}"),
        (whole, _) => format!("{whole}{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota(requests: u64, tokens: u64) -> Quota {
        Quota {
            plan: String::new(),
            requests: Requests { limit: 10, remaining: requests, reset_ms: Some(45_000) },
            tokens: TokensLeft {
                limit: 1_000,
                used: 1_000 - tokens,
                reserved: 0,
                remaining: tokens,
                next_free_ms: None,
            },
            in_flight: InFlight { limit: 2, now: 0 },
        }
    }

    #[test]
    fn few_requests_are_named_after_every_turn() {
        assert_eq!(warning(&quota(4, 1_000), 0).unwrap(), "4 requests left this minute; all available again in 45 s.");
        assert_eq!(warning(&quota(0, 10), 95).unwrap(), "No requests left this minute; all available again in 45 s.");
        assert_eq!(warning(&quota(5, 1_000), 0), None);
    }

    #[test]
    fn each_level_of_tokens_is_named_once() {
        assert_eq!([1_000, 201, 200, 51, 50, 0].map(|tokens| level(&quota(9, tokens))), [0, 0, 80, 80, 95, 95]);
        assert_eq!(warning(&quota(9, 200), 0).unwrap(), "80 % of today's tokens used, 200 tokens left.");
        assert_eq!(warning(&quota(9, 190), 80), None);
        assert_eq!(warning(&quota(9, 40), 80).unwrap(), "95 % of today's tokens used, 40 tokens left.");
        assert_eq!(warning(&quota(9, 0), 80).unwrap(), "No tokens left today.");
        // Few requests don't hide a level, which would then never be named.
        assert_eq!(warning(&quota(3, 40), 80).unwrap(), "95 % of today's tokens used, 40 tokens left.");
    }

    #[test]
    fn compact_numbers_are_rounded_down() {
        let texts = [0, 999, 1_000, 3_199, 12_900, 999_999, 1_250_000].map(compact);
        assert_eq!(texts, ["0", "999", "1k", "3.1k", "12k", "999k", "1.2M"]);
    }

    #[test]
    fn shares_fill_at_most_the_ring() {
        assert_eq!([shares(1, 1, 3), shares(900, 200, 1_000), shares(5, 5, 0)], [(333, 333), (900, 100), (0, 0)]);
    }
}
