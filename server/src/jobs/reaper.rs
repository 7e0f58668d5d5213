//! Ends expired turns, whose server has crashed or was stopped, and settles recorded turns that are not settled yet.

use super::meters::all_caps;
use crate::AppState;
use crate::failure::internal;
use crate::turn::html::render_answer;
use crate::turn::providers::own_cache_marks;
use domain::{CacheMarks, MessageStatus, Outcome, Picos, Problem, Tokens, TurnEvent, Usage, UsageSource};
use providers::estimate;
use quota::{Caps, KeyCaps, Spent};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use store::model_rule::ModelSettings;
use store::turn::{ExpiredTurn, Record, Unsettled};

/// How long no turn is ended after Postgres was unavailable, which is the length of a lease. Servers that still run couldn't renew their leases
/// meanwhile, and now renew them or record their turns exactly.
const GRACE: Duration = Duration::from_secs(30);

/// Ends turns whose lease has expired.
#[derive(Default)]
pub(super) struct Reaper {
    /// When Postgres was last unavailable.
    failed_at: Mutex<Option<Instant>>,
}

impl Reaper {
    /// Ends turns whose lease has expired, with the text from their event log and always as incomplete. Works in batches until none is left.
    pub(super) async fn reap(&self, app: &AppState) {
        loop {
            match self.reap_some(app).await {
                Ok(done) if done > 0 => {}
                Ok(_) => return,
                Err(error) => {
                    internal(&error);
                    return;
                }
            }
        }
    }

    /// Ends one batch. Returns how many turns were ended or settled.
    async fn reap_some(&self, app: &AppState) -> anyhow::Result<usize> {
        // If one of the two lists can't be read, the other is still processed.
        let expired = self.list_expired(app).await;
        let unsettled = store::turn::list_unsettled(&app.db, None).await.inspect_err(|error| drop(internal(error)));
        let unsettled = unsettled.unwrap_or_default();
        if expired.is_empty() && unsettled.is_empty() {
            return Ok(0);
        }
        let context = store::turn::load_turn_context(&app.db, uuid::Uuid::nil().into(), None, AppState::now()).await?;
        let caps = all_caps(app, &context);
        // All models, because a turn may have called one that was switched off since.
        let models = match expired.is_empty() {
            true => Vec::new(),
            false => store::model_rule::list(&app.db, AppState::now()).await?,
        };
        let mut done = 0;
        for turn in expired {
            match end_expired(app, &caps, &models, &turn).await {
                Ok(()) => done += 1,
                Err(error) => drop(internal(&format!("{error:#}"))),
            }
        }
        // These turns were recorded, but the process or Redis failed before their meters were settled.
        for turn in unsettled {
            match settle(app, turn, &caps).await {
                Ok(()) => done += 1,
                Err(error) => drop(internal(&format!("{error:#}"))),
            }
        }
        Ok(done)
    }

    /// Lists expired turns; none during the grace after a failure.
    async fn list_expired(&self, app: &AppState) -> Vec<ExpiredTurn> {
        let listed = store::turn::list_expired(&app.db).await.inspect_err(|error| drop(internal(error)));
        let is_due = self.is_due(listed.is_err(), Instant::now());
        listed.ok().filter(|_| is_due).unwrap_or_default()
    }

    /// Notes whether Postgres has failed now. Returns whether turns may be ended.
    fn is_due(&self, has_failed: bool, now: Instant) -> bool {
        let mut failed_at = self.failed_at.lock().unwrap_or_else(PoisonError::into_inner);
        if has_failed {
            *failed_at = Some(now);
        }
        failed_at.is_none_or(|at| now.saturating_duration_since(at) >= GRACE)
    }
}

/// Records an expired turn with estimated usage, and settles it. Reasoning that wasn't streamed isn't counted: no user can cause this. What a
/// demo, a call by API, a summary or a title received was only in the memory of its server, so all the output that was reserved for it is counted.
async fn end_expired(app: &AppState, caps: &Caps, models: &[ModelSettings], turn: &ExpiredTurn) -> anyhow::Result<()> {
    // Without the event log it is unknown what was streamed, so the turn is retried in the next round.
    let streamed = streamed(app, turn).await?;
    let model = models.iter().find(|row| row.model.name == turn.model);
    let count = |text: &str, events: u64| match model {
        Some(row) => estimate::answer(&row.model, text, events),
        None => estimate::text(text).max(Tokens(events)),
    };
    let reasoning = count(&streamed.reasoning, streamed.reasoning_events);
    let output = turn.unlogged_output.unwrap_or_else(|| count(&streamed.text, streamed.text_events) + reasoning);
    let prices = store::model::price(&app.db, &turn.model, turn.call.created_at).await?;
    // The row of a turn of the chat that an earlier release has written doesn't have its marks.
    let own_marks = match (model, &prices, turn.unlogged_output) {
        (Some(row), Some(prices), None) => own_cache_marks(&row.model, prices, turn.estimated),
        _ => CacheMarks::None,
    };
    let marks = turn.cache_marks.max(own_marks);
    let usage = Usage { output, reasoning, ..Usage::of_uncounted_prompt(turn.estimated, marks) };
    let (price_id, cost) = prices.map_or((turn.price_id, Picos::ZERO), |prices| prices.price(&usage));
    let html = render_answer(app, &streamed.text, turn.turn_id).await;
    let recorded = store::turn::record(
        &app.db,
        &Record {
            turn_id: turn.turn_id,
            // Without a conversation no message is written.
            conversation_id: turn.conversation_id,
            call: turn.call,
            model: &turn.model,
            text: &streamed.text,
            html: html.as_ref(),
            reasoning: &streamed.reasoning,
            message_status: MessageStatus::Failed,
            outcome: Outcome::Lost,
            usage: &usage,
            source: UsageSource::Estimated,
            price_id,
            cost,
            provider_request_id: None,
            provider_failed: false,
            ttft_ms: None,
            other_failed: false,
            now: AppState::now(),
        },
    )
    .await?;
    if recorded {
        tracing::warn!(turn = %turn.turn_id, "lost turn ended");
        metrics::counter!("quotient_turns_total", "outcome" => "lost").increment(1);
        app.relay.end(turn.turn_id, &TurnEvent::Failed { problem: Problem::lost() }).await?;
        // Read from the ledger, because a hedged turn has two calls.
        for turn in store::turn::list_unsettled(&app.db, Some(turn.turn_id)).await? {
            settle(app, turn, caps).await?;
        }
    }
    Ok(())
}

/// Settles a turn with its usage and cost from the ledger. Idempotent.
async fn settle(app: &AppState, turn: Unsettled, caps: &Caps) -> anyhow::Result<()> {
    let spent = Spent { tokens: turn.used, costs: turn.costs };
    let caps = Caps {
        demo: turn.is_demo.then_some(app.config.demo_daily_spend),
        // Settling needs no cap.
        key: turn.api_key_id.map(KeyCaps::without_caps),
        ..caps.clone()
    };
    app.quotas.settle_by_id(&turn.subject, turn.turn_id, turn.at, &spent, &caps).await?;
    Ok(store::turn::mark_settled(&app.db, &[turn.turn_id]).await?)
}

/// The text and reasoning that a turn streamed, and the number of their events. Each event is at least one token.
#[derive(Default)]
struct Streamed {
    text: String,
    reasoning: String,
    text_events: u64,
    reasoning_events: u64,
}

/// Reads the text of an expired turn from its event log.
async fn streamed(app: &AppState, turn: &ExpiredTurn) -> anyhow::Result<Streamed> {
    let mut streamed = Streamed::default();
    for entry in app.relay.so_far(turn.turn_id).await? {
        match entry.event() {
            Some(TurnEvent::Delta { text }) => {
                streamed.text.push_str(&text);
                streamed.text_events += 1;
            }
            Some(TurnEvent::Reasoning { text }) => {
                streamed.reasoning.push_str(&text);
                streamed.reasoning_events += 1;
            }
            _ => {}
        }
    }
    Ok(streamed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Servers that still run have the length of a lease to record or renew their turns once Postgres is back.
    #[test]
    fn no_turn_is_ended_right_after_an_outage_of_postgres() {
        let (reaper, start) = (Reaper::default(), Instant::now());
        assert!(reaper.is_due(false, start));
        assert!(!reaper.is_due(true, start + Duration::from_secs(15)));
        assert!(!reaper.is_due(false, start + Duration::from_secs(44)));
        assert!(reaper.is_due(false, start + Duration::from_secs(45)));
    }
}
