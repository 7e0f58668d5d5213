//! The quota meters: thin tracks on pages, and a ring beside the Send button. Used, reserved and remaining differ by shape, not only by
//! color.

use super::duration::wait;
use domain::{Quota, Tokens};
use leptos::prelude::*;

/// Shows the request and token quotas with their exact numbers.
#[component]
pub fn Meter(
    /// The remaining quota; `None` if it can't be loaded.
    quota: Option<Quota>,
) -> impl IntoView {
    let Some(quota) = quota else {
        return view! { <p class="meter unknown">"Your limits can't be loaded right now."</p> }.into_any();
    };
    view! {
        <div class="meter" role="group" aria-label="Remaining quota" translate="no">
            {Track::of_requests(&quota).draw(None)} {Track::of_tokens(&quota).draw(None)}
            {back(&quota).map(|text| view! { <span class="back">{text}</span> })}
        </div>
    }
    .into_any()
}

/// The meter of the composer: a ring with the day's tokens. Hovering or focusing it shows the tracks of [`Meter`]. The island reads the
/// quota from its `data-` attributes and updates it.
#[component]
pub fn Ring(
    /// The remaining quota; `None` if it can't be loaded.
    quota: Option<Quota>,
) -> impl IntoView {
    let Some(quota) = quota else {
        return view! { <p id="meter-unknown" class="hint">"Your limits can't be loaded right now."</p> }.into_any();
    };
    let (requests, tokens) = (Track::of_requests(&quota), Track::of_tokens(&quota));
    let (used, held) = tokens.shares();
    let (left, back) = (tokens.left(), back(&quota));
    let is_enough = back.is_none();
    let text = |number: u64| number.to_string();
    view! {
        <div id="meter" class="ring" role="group" aria-label="Remaining quota" tabindex="0" translate="no" data-low=quota.is_low()
            data-limit=text(quota.tokens.limit) data-used=text(quota.tokens.used) data-reserved=text(quota.tokens.reserved)
            data-remaining=text(quota.tokens.remaining) data-next-free-ms=quota.tokens.next_free_ms.map(text)
            data-requests-limit=text(quota.requests.limit) data-requests-remaining=text(quota.requests.remaining)
            data-requests-reset-ms=quota.requests.reset_ms.map(text)
            data-in-flight-limit=text(quota.in_flight.limit) data-in-flight-now=text(quota.in_flight.now)>
            <svg viewBox="0 0 36 36" width="24" height="24" aria-hidden="true">
                <g transform="rotate(-90 18 18)">
                    <circle class="rest" cx="18" cy="18" r="14"></circle>
                    <circle class="used" cx="18" cy="18" r="14" pathLength="1000" stroke-dasharray=format!("{used} 1000")></circle>
                    <circle class="held" cx="18" cy="18" r="14" pathLength="1000" stroke-dasharray=format!("{held} 1000") stroke-dashoffset=format!("-{used}")></circle>
                </g>
            </svg>
            <span id="meter-left" class="ring-left" aria-hidden="true">{left}</span>
            <div class="ring-panel meter">
                {tokens.draw(Some("meter-tokens"))} {requests.draw(Some("meter-requests"))}
                <p id="meter-back" class="back" hidden=is_enough>{back}</p>
            </div>
        </div>
    }
    .into_any()
}

/// Returns when more tokens become available, if few are left.
fn back(quota: &Quota) -> Option<String> {
    quota.tokens_low().then_some(quota.tokens.next_free_ms).flatten().map(|ms| format!("more in {}", wait(ms)))
}

struct Track {
    name: &'static str,
    unit: &'static str,
    limit: u64,
    used: u64,
    held: u64,
    remaining: u64,
    low: bool,
}

impl Track {
    fn of_requests(quota: &Quota) -> Self {
        Self {
            name: "Requests",
            unit: "this minute",
            limit: quota.requests.limit,
            used: quota.requests.limit.saturating_sub(quota.requests.remaining),
            held: 0,
            remaining: quota.requests.remaining,
            low: quota.requests_low(),
        }
    }

    fn of_tokens(quota: &Quota) -> Self {
        Self {
            name: "Tokens",
            unit: "today",
            limit: quota.tokens.limit,
            used: quota.tokens.used,
            held: quota.tokens.reserved,
            remaining: quota.tokens.remaining,
            low: quota.tokens_low(),
        }
    }

    /// Returns what is used and what is reserved as thousandths of the limit, which is the unit of the drawings. Their sum is at most 1000.
    fn shares(&self) -> (u64, u64) {
        let share = |part: u64| {
            u64::try_from(u128::from(part.min(self.limit)) * 1000 / u128::from(self.limit.max(1))).unwrap_or(1000)
        };
        let used = share(self.used);
        (used, share(self.held).min(1000 - used))
    }

    fn left(&self) -> String {
        format!("{} left", Tokens(self.remaining))
    }

    /// Returns the exact numbers in a sentence.
    fn exact(&self) -> String {
        let reserved = match self.held {
            0 => String::new(),
            held => format!(", {} reserved for responses in progress", Tokens(held)),
        };
        let (used, remaining, limit) = (Tokens(self.used), Tokens(self.remaining), Tokens(self.limit));
        format!("{used} used{reserved}, {remaining} of {limit} left {}", self.unit)
    }

    /// Draws the track. One with an id is inside of a group that can be focused, so it can't be focused itself.
    fn draw(&self, id: Option<&'static str>) -> impl IntoView + use<> {
        let (used, held) = self.shares();
        let (exact, left, name) = (self.exact(), self.left(), format!("{} {}", self.name, self.unit));
        let spoken = exact.clone();
        let tabindex = id.is_none().then_some("0");
        view! {
            <div id=id class="track" class:low=self.low tabindex=tabindex role="meter" aria-label=self.name
                aria-valuemin="0" aria-valuemax=self.limit.to_string() aria-valuenow=self.remaining.to_string() aria-valuetext=spoken>
                <span class="label"><span class="name">{name}</span> <span class="left">{left}</span></span>
                <svg viewBox="0 0 1000 10" preserveAspectRatio="none" aria-hidden="true">
                    <rect class="rest" x="0" y="0" width="1000" height="10"></rect>
                    <rect class="used" x="0" y="0" width=used.to_string() height="10"></rect>
                    <line class="held" x1=used.to_string() y1="5" x2=(used + held).to_string() y2="5"></line>
                </svg>
                <span class="exact" aria-hidden="true">{exact}</span>
            </div>
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Track;

    fn track(limit: u64, used: u64, held: u64) -> Track {
        let remaining = limit.saturating_sub(used + held);
        Track { name: "Tokens", unit: "today", limit, used, held, remaining, low: false }
    }

    #[test]
    fn shares_never_exceed_the_whole() {
        for (limit, used, held, shares) in [
            (50_000, 12_500, 5_000, (250, 100)),
            (50_000, 60_000, 5_000, (1000, 0)),
            (50_000, 45_000, 9_000, (900, 100)),
            (0, 0, 0, (0, 0)),
            (u64::MAX, u64::MAX / 2, 0, (499, 0)),
        ] {
            assert_eq!(track(limit, used, held).shares(), shares, "{used} and {held} of {limit}");
        }
    }

    #[test]
    fn reserved_tokens_are_named_while_there_are_any() {
        assert_eq!(track(50_000, 12_500, 0).exact(), "12,500 used, 37,500 of 50,000 left today");
        assert_eq!(
            track(50_000, 12_500, 4_096).exact(),
            "12,500 used, 4,096 reserved for responses in progress, 33,404 of 50,000 left today"
        );
    }
}
