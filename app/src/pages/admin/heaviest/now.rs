//! What runs and is spent at this moment: the one thing on the owner's pages that moves.

use crate::api::admin::Moment;
use crate::browser::{api, page};
use domain::money::count;
use gloo_timers::future::TimeoutFuture;
use leptos::{prelude::*, task::spawn_local};

/// How long what is shown stays as it is, milliseconds.
const EVERY_MS: u32 = 5_000;

/// A line that is looked at again every few seconds, as long as somebody sees the page.
#[island]
pub(super) fn Now(
    /// What the server found when it drew the page.
    first: Moment,
) -> impl IntoView {
    let now = RwSignal::new(first);
    let is_old = RwSignal::new(false);
    Effect::new(move || {
        spawn_local(async move {
            loop {
                TimeoutFuture::new(EVERY_MS).await;
                if page::is_hidden() {
                    continue;
                }
                let found = api::admin_now().await;
                is_old.set(found.is_none());
                if let Some(found) = found {
                    now.set(found);
                }
            }
        });
    });
    view! {
        <p class="hint live">
            <strong>{move || if is_old.get() { "A while ago, nothing newer came: " } else { "Now: " }}</strong>
            {move || said(&now.read())}
        </p>
    }
}

fn said(now: &Moment) -> String {
    let of = now.cap.map_or_else(|| "no cap holds".to_owned(), |cap| format!("of {cap} that may be"));
    let running = count(now.running, "answer running", "answers running");
    format!("{running}, {} tokens held for them, at least {} spent in 24 hours, {of}.", now.reserved, now.spent)
}
