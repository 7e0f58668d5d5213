//! Summarizes a conversation's oldest turns: a small turn of its own with its own ledger row, which is admitted, recorded and settled like
//! any call. It never fails the turn that needs it: without a summary the old messages are left out.

use super::admit::caps;
use super::answer::Answer;
use super::close::{Grant, Uncounted, close};
use super::drain;
use super::open::open;
use super::persist::{admitted_at, confirm};
use super::prompt::{Prompt, count};
use super::record::{record, settle};
use super::state::{ActiveTurn, OpenedTurn, PendingTurn, RunningTurn};
use super::stream::stream;
use super::summary_prompt::{self, MAX_BYTES};
use super::turn_request::max_cost;
use super::undo::release;
use crate::AppState;
use crate::failure::{Failure, internal};
use domain::{
    ConversationId, MessageId, Model, Outcome, PriceList, PromptMessage, Quota, Tokens, TurnId, Viewer, WireFormat,
};
use providers::estimate::Estimate;
use quota::{Demand, Reservation, Verdict};
use relay::{Relay, Writer};
use std::time::Duration;
use store::turn::{AvailableModel, NewSummaryCall, TurnContext};
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
    let Some(call) = choose(app, task, &context).await? else { return Ok(None) };
    let quota = app.quotas.quota(task.viewer).await?;
    if !leaves_room(&quota, call.demand, task.needed_next) {
        return Ok(None);
    }
    let caps = caps(app, &context, [&call.model.name]);
    let max_cost = max_cost(&call.model, &call.price, call.demand.input, call.demand.output_max);
    let admitted = app.quotas.admit(task.viewer, turn_id, call.demand, max_cost, &caps).await?;
    let reservation = match admitted {
        Verdict::Granted(reservation) => reservation,
        Verdict::Running => return wait_for_duplicate(app, task).await,
        Verdict::Refused(refused) => {
            tracing::info!(?refused, turn = %task.turn_id, "summary refused");
            return Ok(None);
        }
    };
    let pending = write_pending(app, task, turn_id, call, reservation).await?;
    let Some(text) = run(app, pending).await? else { return Ok(None) };
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

/// A call that is ready to be admitted.
struct SummaryCall {
    model: Model,
    price: PriceList,
    messages: Vec<PromptMessage>,
    counted: Estimate,
    demand: Demand,
}

/// Chooses the cheapest model that the user's plan allows and that holds what is to be summarized. While that one can't be reached there is
/// no summary: a dearer model doesn't take its place.
async fn choose(app: &AppState, task: &Task<'_>, context: &TurnContext) -> Result<Option<SummaryCall>, Failure> {
    let is_offered = |model: &Model| task.viewer.plan.allows(&model.name) && app.providers.offers(model);
    let mut candidates: Vec<(&Model, &PriceList)> = context
        .offers
        .iter()
        .filter(|AvailableModel { model, .. }| is_offered(model))
        .filter_map(|AvailableModel { model, price, .. }| Some((model, price.as_ref()?)))
        .collect();
    candidates
        .sort_by_key(|(model, price)| (model.provider.wire_format == WireFormat::Demo, price.tier(Tokens(0)).input));
    let Some(largest) = candidates.iter().map(|(model, _)| model.context.0).max() else { return Ok(None) };
    // At two bytes per token, ordinary text leaves room for the summary.
    let max_bytes = usize::try_from(largest.saturating_mul(2)).unwrap_or(usize::MAX).min(MAX_BYTES);
    let messages = vec![summary_prompt::message(task.earlier, task.messages, max_bytes, task.max_output)];
    for (model, price) in candidates {
        let counted = count(app, task.viewer.user_id, model, &messages).await?;
        let output_max = task.max_output.min(model.max_output);
        if output_max >= MIN_OUTPUT && counted.estimated + output_max <= model.context {
            if app.providers.open_for_ms(model).is_some() {
                return Ok(None);
            }
            let demand = Demand { input: counted.estimated.0, output_min: MIN_OUTPUT.0, output_max: output_max.0 };
            return Ok(Some(SummaryCall { model: model.clone(), price: price.clone(), messages, counted, demand }));
        }
    }
    Ok(None)
}

/// Returns whether the turn itself can still be admitted after the summary, so that a summary never uses up what the answer needs.
fn leaves_room(quota: &Quota, summary: Demand, needed_next: Tokens) -> bool {
    let tokens = summary.input.saturating_add(summary.output_max).saturating_add(needed_next.0);
    quota.requests.remaining >= 2 && quota.tokens.remaining >= tokens
}

/// Writes the pending ledger row and confirms the hold.
async fn write_pending(
    app: &AppState,
    task: &Task<'_>,
    turn_id: TurnId,
    call: SummaryCall,
    reservation: Reservation,
) -> Result<PendingTurn, Failure> {
    let SummaryCall { model, price, messages, counted, .. } = call;
    let new = NewSummaryCall {
        turn_id,
        user_id: task.viewer.user_id,
        subject: &task.viewer.subject,
        conversation_id: task.conversation_id,
        model: &model.name,
        price_id: price.tier(counted.estimated).id,
        counted: counted.counted,
        estimated: counted.estimated,
        reserved: Tokens(reservation.permit.reserved()),
        now: admitted_at(&reservation),
    };
    let written = store::turn::write_summary_pending(&app.db, &new).await;
    let call = match written {
        Ok(call) => call,
        Err(error) => {
            release(app, reservation).await;
            return Err(error.into());
        }
    };
    let pending = PendingTurn {
        started_conversation: false,
        // The lowest effort: reasoning would take from the little output there is.
        effort: model.efforts.first().cloned(),
        turn: ActiveTurn {
            viewer: task.viewer.clone(),
            turn_id,
            conversation_id: task.conversation_id,
            call,
            model,
            price,
            fallback_for: None,
            other: None,
            other_input: Tokens(0),
            estimated: counted.estimated,
            max_output: Tokens(reservation.permit.output()),
            reservation,
        },
        prompt: Prompt {
            conversation_id: Some(task.conversation_id),
            retry_of: None,
            text: String::new(),
            messages,
            history_cut: None,
        },
        api: None,
        fallback: None,
        hedge_after: None,
    };
    confirm(app, pending).await
}

/// Calls the model, and stops the call once it takes too long. What the call may have used is recorded and settled in each case.
async fn run(app: &AppState, pending: PendingTurn) -> Result<Option<String>, Failure> {
    // A log that only this function can stop. Nobody follows a summary.
    let (relay, turn_id) = (Relay::memory(), pending.turn.turn_id);
    let answer = answer(app, pending, relay.open(turn_id));
    tokio::pin!(answer);
    tokio::select! {
        answer = &mut answer => return answer,
        () = tokio::time::sleep(MAX_TIME) => {}
    }
    tracing::info!(turn = %turn_id, "summary takes too long");
    if let Err(error) = relay.stop(turn_id).await {
        internal(&error);
    }
    answer.await
}

/// Opens the call, reads its response, and records and settles it. Returns the response if it is complete, or was cut off at its maximum
/// length.
async fn answer(app: &AppState, pending: PendingTurn, log: Writer) -> Result<Option<String>, Failure> {
    let OpenedTurn { turn, sent, chunks } = open(app, pending, &log).await?;
    let mut running = RunningTurn { turn, sent, chunks, log, reply: None };
    let mut answer = stream(app, &mut running).await;
    let RunningTurn { turn, chunks, .. } = running;
    if drain::is_due(&turn.model, &answer) {
        // The turn goes on without a summary while the rest of this call is read.
        let own = app.clone();
        app.turns.spawn(async move {
            drain::read(&own, &turn, chunks, &mut answer.receipt).await;
            drop(end(&own, turn, &answer).await);
        });
        return Ok(None);
    }
    // Dropping the chunks cancels the call.
    drop(chunks);
    end(app, turn, &answer).await?;
    let is_usable = matches!(answer.outcome(), Outcome::Finished | Outcome::Truncated);
    let text = answer.text.trim();
    Ok((is_usable && !text.is_empty()).then(|| text.to_owned()))
}

/// Records a summary's call, without a message, and settles its meters.
async fn end(app: &AppState, turn: ActiveTurn, answer: &Answer) -> Result<(), Failure> {
    let (usage, source) = close(Grant::of(&turn), answer, Uncounted::after(&turn.model, answer));
    let cost = record(app, &turn, None, answer, (usage, source)).await?;
    settle(app, turn, usage, cost).await;
    Ok(())
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
