//! How the limits of a plan work, in one picture: the same day three times, as a message is sent and answered.

use leptos::prelude::*;

/// A step of a request: the used and the reserved share of the day's tokens in percent, a title, and a description.
type Moment = (u8, u8, &'static str, &'static str);

/// The moments of a message.
const MOMENTS: [Moment; 3] = [
    (
        40,
        0,
        "Before you send",
        "You always see how many tokens you have left today. If a message doesn't fit, you see when it will, and your draft is kept.",
    ),
    (
        40,
        18,
        "While the answer is being written",
        "Tokens for the answer are reserved, so messages that you send at the same time never exceed your plan.",
    ),
    (
        45,
        0,
        "When it is complete",
        "Only what was used counts. The rest of the reservation is available again at once.",
    ),
];

/// Renders the picture.
#[component]
pub(super) fn Limits() -> impl IntoView {
    view! {
        <section class="section">
            <h2>"Limits that you can see"</h2>
            <p class="lead">"A plan has a number of tokens for any 24 hours; a token is about four characters. What you use comes back 24 hours later, without waiting for midnight."</p>
            <ol class="moments">{MOMENTS.map(moment).into_iter().collect_view()}</ol>
            <ul class="legend" aria-label="Legend">
                <li><Sample part="used"/>"Used"</li>
                <li><Sample part="held"/>"Reserved"</li>
                <li><Sample part="rest"/>"Left"</li>
            </ul>
        </section>
    }
}

fn moment((used, held, title, text): Moment) -> impl IntoView {
    let left = 100 - used - held;
    let label = match held {
        0 => format!("{used} % used, {left} % left"),
        _ => format!("{used} % used, {held} % reserved, {left} % left"),
    };
    let (from, to) = (format!("{used}%"), format!("{}%", used + held));
    view! {
        <li>
            <h3>{title}</h3>
            <svg class="day" width="100%" height="16" role="img" aria-label=label>
                <rect class="rest" x="0" y="1" width="100%" height="14"></rect>
                <rect class="used" x="0" y="1" width=from.clone() height="14"></rect>
                <line class="held" x1=from y1="8" x2=to y2="8"></line>
            </svg>
            <p>{text}</p>
        </li>
    }
}

/// A sample of a part of the picture.
#[component]
fn Sample(part: &'static str) -> impl IntoView {
    view! {
        <svg class="day sample" width="24" height="16" aria-hidden="true">
            {if part == "held" {
                view! { <line class=part x1="0" y1="8" x2="24" y2="8"></line> }.into_any()
            } else {
                view! { <rect class=part x="0" y="1" width="24" height="14"></rect> }.into_any()
            }}
        </svg>
    }
}
