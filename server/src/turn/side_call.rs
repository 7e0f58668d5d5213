//! A call beside the turns of a conversation: a small turn of its own with its own ledger row, which is admitted, recorded and settled like
//! any call.

use super::admit::caps;
use super::answer::Answer;
use super::close::{Grant, Uncounted, close};
use super::drain;
use super::open::open;
use super::persist::{admitted_at, confirm};
use super::prompt::Prompt;
use super::record::{Retries, record, settle};
use super::state::{ActiveTurn, OpenedTurn, PendingTurn, RunningTurn};
use super::stream::stream;
use super::turn_request::max_cost;
use super::undo::release;
use crate::AppState;
use crate::failure::{Failure, internal};
use domain::{
    CacheMarks, ConversationId, Model, Outcome, PriceList, PromptMessage, Tokens, TurnId, Viewer, WireFormat,
};
use providers::estimate::Estimate;
use quota::{Demand, Refused, Reservation, Verdict};
use relay::{Relay, Writer};
use std::time::Duration;
use store::turn::{AvailableModel, NewSideCall, SidePurpose, TurnContext};

/// A side call that is ready to be admitted.
pub(super) struct SideCall<'a> {
    pub purpose: SidePurpose,
    pub viewer: &'a Viewer,
    /// Its own turn.
    pub turn_id: TurnId,
    pub conversation_id: ConversationId,
    pub model: Model,
    pub price: PriceList,
    pub messages: Vec<PromptMessage>,
    pub counted: Estimate,
    pub demand: Demand,
    /// Maximum time. After that the call is stopped as a user would stop it.
    pub max_time: Duration,
}

/// What became of a side call.
pub(super) enum SideResult {
    /// Its response is complete, or was cut off at its maximum length.
    Text(String),
    /// It has no usable response.
    Nothing,
    /// It wasn't admitted.
    Refused(Refused),
    /// A duplicate of it is running.
    Running,
}

/// Returns the models that the user's plan allows and that have a price, the cheapest first. The demo model is the last.
pub(super) fn cheapest_first<'a>(
    app: &AppState,
    viewer: &Viewer,
    context: &'a TurnContext,
) -> Vec<(&'a Model, &'a PriceList)> {
    let is_offered = |model: &Model| viewer.plan.allows(&model.name) && app.providers.offers(model);
    let mut models: Vec<(&Model, &PriceList)> = context
        .offers
        .iter()
        .filter(|AvailableModel { model, .. }| is_offered(model))
        .filter_map(|AvailableModel { model, price, .. }| Some((model, price.as_ref()?)))
        .collect();
    models.sort_by_key(|(model, price)| (model.provider.wire_format == WireFormat::Demo, price.tier(Tokens(0)).input));
    models
}

/// Admits and makes a side call.
pub(super) async fn run(app: &AppState, context: &TurnContext, call: SideCall<'_>) -> Result<SideResult, Failure> {
    let caps = caps(app, context, [&call.model.name]);
    let max_cost = max_cost(&call.model, &call.price, call.demand.input, call.demand.output_max);
    let admitted = app.quotas.admit(call.viewer, call.turn_id, call.demand, max_cost, &caps).await?;
    let reservation = match admitted {
        Verdict::Granted(reservation) => reservation,
        Verdict::Running => return Ok(SideResult::Running),
        Verdict::Refused(refused) => return Ok(SideResult::Refused(refused)),
    };
    let max_time = call.max_time;
    let pending = write_pending(app, call, reservation).await?;
    Ok(within(app, pending, max_time).await?.map_or(SideResult::Nothing, SideResult::Text))
}

/// Writes the pending ledger row and confirms the hold.
async fn write_pending(app: &AppState, call: SideCall<'_>, reservation: Reservation) -> Result<PendingTurn, Failure> {
    let SideCall { purpose, viewer, turn_id, conversation_id, model, price, messages, counted, .. } = call;
    let new = NewSideCall {
        purpose,
        turn_id,
        user_id: viewer.user_id,
        subject: &viewer.subject,
        conversation_id,
        model: &model.name,
        price_id: price.tier(counted.estimated).id,
        counted: counted.counted,
        estimated: counted.estimated,
        reserved: Tokens(reservation.permit.reserved()),
        now: admitted_at(&reservation),
    };
    let written = store::turn::write_side_pending(&app.db, &new).await;
    let call = match written {
        Ok(call) => call,
        Err(error) => {
            release(app, reservation).await;
            return Err(error.into());
        }
    };
    let pending = PendingTurn {
        started_conversation: false,
        is_temporary: false,
        // The lowest effort: reasoning would take from the little output there is.
        effort: model.efforts.first().cloned(),
        turn: ActiveTurn {
            viewer: viewer.clone(),
            turn_id,
            conversation_id,
            call,
            model,
            price,
            fallback_for: None,
            other: None,
            other_input: Tokens(0),
            estimated: counted.estimated,
            cache_marks: CacheMarks::None,
            max_output: Tokens(reservation.permit.output()),
            reservation,
        },
        prompt: Prompt::of_side_call(Some(conversation_id), messages),
        api: None,
        fallback: None,
        hedge_after: None,
    };
    confirm(app, pending).await
}

/// Calls the model, and stops the call once it takes too long. What the call may have used is recorded and settled in each case.
async fn within(app: &AppState, pending: PendingTurn, max_time: Duration) -> Result<Option<String>, Failure> {
    // A log that only this function can stop. Nobody follows a side call.
    let (relay, turn_id) = (Relay::memory(), pending.turn.turn_id);
    let answer = answer(app, pending, relay.open(turn_id));
    tokio::pin!(answer);
    tokio::select! {
        answer = &mut answer => return answer,
        () = tokio::time::sleep(max_time) => {}
    }
    tracing::info!(turn = %turn_id, "side call takes too long");
    if let Err(error) = relay.stop(turn_id).await {
        internal(&error);
    }
    answer.await
}

/// Opens the call, reads its response, and records and settles it. Returns the response if it is complete, or was cut off at its maximum
/// length.
async fn answer(app: &AppState, pending: PendingTurn, log: Writer) -> Result<Option<String>, Failure> {
    let OpenedTurn { turn, sent, chunks } = open(app, pending, &log).await?;
    let mut running = RunningTurn { turn, sent, chunks, log, untitled: None, reply: None };
    let mut answer = stream(app, &mut running).await;
    let RunningTurn { turn, chunks, .. } = running;
    if drain::is_due(&turn.model, &answer) {
        // The caller goes on without a response while the rest of this call is read.
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

/// Records the call, without a message, and settles its meters.
async fn end(app: &AppState, turn: ActiveTurn, answer: &Answer) -> Result<(), Failure> {
    let (usage, source) = close(Grant::of(&turn), answer, Uncounted::after(&turn.model, answer));
    let cost = record(app, &turn, None, answer, (usage, source), Retries::Waited).await?;
    settle(app, turn, usage, cost).await;
    Ok(())
}
