//! The quota meter: two thin tracks. Used, reserved and remaining differ by shape, not only by color.

use super::duration::wait;
use domain::{Quota, Tokens};
use leptos::prelude::*;

/// Shows the request and token quotas with their exact numbers.
#[component]
pub fn Meter(
    /// The remaining quota; `None` if it can't be loaded.
    #[prop(into)]
    quota: Signal<Option<Quota>>,
    /// Local time at which the next tokens become available; empty if unknown, in which case the wait is shown instead.
    #[prop(into, optional)]
    back_at: Signal<String>,
) -> impl IntoView {
    move || {
        let Some(quota) = quota.get() else {
            return view! { <p class="meter unknown">"Your limits can't be loaded right now."</p> }.into_any();
        };
        let requests = Track {
            name: "Requests",
            unit: "this minute",
            limit: quota.requests.limit,
            used: quota.requests.limit.saturating_sub(quota.requests.remaining),
            held: 0,
            remaining: quota.requests.remaining,
            low: quota.requests_low(),
        };
        let tokens = Track {
            name: "Tokens",
            unit: "today",
            limit: quota.tokens.limit,
            used: quota.tokens.used,
            held: quota.tokens.reserved,
            remaining: quota.tokens.remaining,
            low: quota.tokens_low(),
        };
        let back = quota.tokens_low().then_some(quota.tokens.next_free_ms).flatten().map(|ms| {
            let at = back_at.get();
            if at.is_empty() { format!("more in {}", wait(ms)) } else { format!("more at {at}") }
        });
        view! {
            <div class="meter" role="group" aria-label="Remaining quota">
                {requests.draw()} {tokens.draw()}
                {back.map(|text| view! { <span class="back">{text}</span> })}
            </div>
        }
        .into_any()
    }
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
    /// Returns `part` as thousandths of the limit, which is the unit of the SVG's width.
    fn share(&self, part: u64) -> u64 {
        u64::try_from(u128::from(part.min(self.limit)) * 1000 / u128::from(self.limit.max(1))).unwrap_or(1000)
    }

    fn draw(&self) -> impl IntoView + use<> {
        let (used, held) = (self.share(self.used), self.share(self.held));
        let held = held.min(1000 - used);
        let exact = format!(
            "{} used{}, {} of {} left {}",
            Tokens(self.used),
            if self.held > 0 {
                format!(", {} reserved for responses in progress", Tokens(self.held))
            } else {
                String::new()
            },
            Tokens(self.remaining),
            Tokens(self.limit),
            self.unit,
        );
        let left = format!("{} left", Tokens(self.remaining));
        view! {
            <div class="track" class:low=self.low tabindex="0" role="meter" aria-label=self.name
                aria-valuemin="0" aria-valuemax=self.limit.to_string() aria-valuenow=self.remaining.to_string() aria-valuetext=exact.clone()>
                <span class="label"><span class="name">{self.name}</span> <span class="left">{left}</span></span>
                <svg viewBox="0 0 1000 10" preserveAspectRatio="none" aria-hidden="true">
                    <rect class="rest" x="0" y="0" width="1000" height="10"></rect>
                    <rect class="used" x="0" y="0" width=used.to_string() height="10"></rect>
                    <line class="held" x1=used.to_string() y1="5" x2=(used + held).to_string() y2="5"></line>
                </svg>
                <span class="exact" aria-hidden="true">{exact.clone()}</span>
            </div>
        }
    }
}
