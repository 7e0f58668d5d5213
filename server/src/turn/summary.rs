//! Summarizes a conversation's oldest turns in a side call. It never fails the turn that needs it: without a summary the old messages are left out.

use super::persist::PromptCall;
use super::prompt::count;
use super::side_call::{self, SideCall, SideResult, cheapest_first};
use super::summary_prompt::{self, MAX_BYTES};
use crate::AppState;
use crate::failure::{Failure, internal};
use domain::{ConversationId, MessageId, Quota, Tokens, TurnId, Viewer};
use quota::Demand;
use std::time::Duration;
use store::turn::{SidePurpose, TurnContext};
use tokio::time::Instant;
use uuid::Uuid;

/// Maximum time for a summary. After that its call is stopped as a user would stop it.
const MAX_TIME: Duration = Duration::from_secs(20);
/// Maximum time to wait for the summary that a duplicate of this request makes: its own time and that of its database calls.
const MAX_WAIT: Duration = Duration::from_secs(25);
/// How often the wait for a duplicate looks for its summary.
const POLL: Duration = Duration::from_millis(250);
/// Minimum output that is worth a call.
const MIN_OUTPUT: Tokens = Tokens(64);

/// What to summarize, and for which turn.
pub(super) struct Task<'a> {
    pub viewer: &'a Viewer,
    /// The turn that needs the summary.
    pub turn_id: TurnId,
    pub conversation_id: ConversationId,
    /// The summary of what comes before `messages`.
    pub earlier: Option<&'a str>,
    pub messages: &'a [store::message::PromptMessage],
    /// The last message that the summary replaces.
    pub until: MessageId,
    pub max_output: Tokens,
    /// What the turn itself needs at least.
    pub needed_next: Tokens,
}

/// Makes and stores a summary. Returns `None` if it is refused, fails or takes too long.
pub(super) async fn summarize(app: &AppState, task: Task<'_>) -> Option<String> {
    let summarized = try_to_summarize(app, &task).await;
    let text = summarized.unwrap_or_else(|Failure(problem)| {
        tracing::info!(turn = %task.turn_id, problem = %problem.message, "no summary");
        None
    });
    let result = if text.is_some() { "made" } else { "missing" };
    metrics::counter!("quotient_summaries_total", "result" => result).increment(1);
    text
}

async fn try_to_summarize(app: &AppState, task: &Task<'_>) -> Result<Option<String>, Failure> {
    // All models, because the cheapest one needn't be the requested one.
    let turn_id = summary_turn_id(task.turn_id);
    let context = store::turn::load_turn_context(&app.db, turn_id, None, AppState::now()).await?;
    match &context.known {
        None => {}
        // A duplicate of this request is making the summary.
        Some(known) if !known.ended => return wait_for_duplicate(app, task).await,
        // It was tried for this request before.
        Some(_) => return Ok(None),
    }
    let Some(side) = choose(app, task, turn_id, &context).await? else { return Ok(None) };
    let quota = app.quotas.quota(task.viewer).await?;
    if !leaves_room(&quota, side.call.demand, task.needed_next) {
        return Ok(None);
    }
    let text = match side_call::run(app, &context, side).await? {
        SideResult::Text(text) => text,
        SideResult::Nothing => return Ok(None),
        SideResult::Running => return wait_for_duplicate(app, task).await,
        SideResult::Refused(refused) => {
            tracing::info!(?refused, turn = %task.turn_id, "summary refused");
            return Ok(None);
        }
    };
    if let Err(error) = store::summary::save(&app.db, task.conversation_id, task.until, &text, AppState::now()).await {
        // This turn uses it; the next one makes another.
        internal(&error);
    }
    Ok(Some(text))
}

/// Returns the id of the turn that summarizes for another one. A duplicate of a request gets the same id, so that it is admitted once.
fn summary_turn_id(turn_id: TurnId) -> TurnId {
    Uuid::from_u128(Uuid::from(turn_id).as_u128() ^ 1).into()
}

/// Waits for the summary that a duplicate of this request makes.
async fn wait_for_duplicate(app: &AppState, task: &Task<'_>) -> Result<Option<String>, Failure> {
    let began = Instant::now();
    while began.elapsed() < MAX_WAIT && !app.cancel_turns.is_cancelled() {
        tokio::time::sleep(POLL).await;
        let stored = store::summary::load(&app.db, task.conversation_id).await?;
        if let Some(summary) = stored.filter(|summary| summary.until == task.until) {
            return Ok(Some(summary.text));
        }
    }
    Ok(None)
}

/// Chooses the cheapest model that the user's plan allows and that holds what is to be summarized. While that one can't be reached there is
/// no summary: a dearer model doesn't take its place.
async fn choose<'a>(
    app: &AppState,
    task: &Task<'a>,
    turn_id: TurnId,
    context: &TurnContext,
) -> Result<Option<SideCall<'a>>, Failure> {
    let candidates = cheapest_first(app, task.viewer, context);
    let Some(largest) = candidates.iter().map(|(model, _)| model.context.0).max() else { return Ok(None) };
    // At two bytes per token, ordinary text leaves room for the summary.
    let max_bytes = usize::try_from(largest.saturating_mul(2)).unwrap_or(usize::MAX).min(MAX_BYTES);
    let messages = vec![summary_prompt::message(task.earlier, task.messages, max_bytes, task.max_output)];
    for (model, price) in candidates {
        let counted = count(app, task.viewer.user_id, model, domain::brand::SYSTEM_PROMPT, &messages).await?;
        let output_max = task.max_output.min(model.max_output);
        if output_max >= MIN_OUTPUT && counted.estimated + output_max <= model.context {
            if app.providers.open_for_ms(model).is_some() {
                return Ok(None);
            }
            let demand = Demand { input: counted.estimated.0, output_min: MIN_OUTPUT.0, output_max: output_max.0 };
            return Ok(Some(SideCall {
                purpose: SidePurpose::Summary,
                viewer: task.viewer,
                turn_id,
                conversation_id: task.conversation_id,
                call: PromptCall { model: model.clone(), price: price.clone(), messages, counted, demand },
                max_time: MAX_TIME,
            }));
        }
    }
    Ok(None)
}

/// Returns whether the turn itself can still be admitted after the summary, so that a summary never uses up what the answer needs.
fn leaves_room(quota: &Quota, summary: Demand, needed_next: Tokens) -> bool {
    let tokens = summary.input.saturating_add(summary.output_max).saturating_add(needed_next.0);
    quota.requests.remaining >= 2 && quota.tokens.remaining >= tokens
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::quota::{InFlight, Requests, TokensLeft};

    #[test]
    fn a_summary_leaves_room_for_the_answer() {
        let quota = |requests: u64, tokens: u64| Quota {
            plan: "free".into(),
            requests: Requests { limit: 10, remaining: requests, reset_ms: None },
            tokens: TokensLeft { limit: 50_000, used: 0, reserved: 0, remaining: tokens, next_free_ms: None },
            in_flight: InFlight { limit: 2, now: 0 },
        };
        let summary = Demand { input: 3_000, output_min: 64, output_max: 1_000 };
        for (requests, tokens, expected) in [(2, 10_000, true), (1, 10_000, false), (2, 9_999, false)] {
            let found = leaves_room(&quota(requests, tokens), summary, Tokens(6_000));
            assert_eq!(found, expected, "{requests} requests, {tokens} tokens");
        }
    }

    #[test]
    fn a_duplicate_has_the_same_summary_turn() {
        let turn_id = TurnId::at(time::macros::datetime!(2026-11-27 12:00 UTC));
        let summary = summary_turn_id(turn_id);
        assert!(summary != turn_id && summary == summary_turn_id(turn_id));
        assert_eq!(summary.made_at(), turn_id.made_at());
    }
}
