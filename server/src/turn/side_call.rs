//! A side call: a small turn, separate from those of the conversation, with its own ledger row, which is admitted, recorded and settled like
//! any call.

use super::admit::caps;
use super::close::close_ended;
use super::drain;
use super::open::open;
use super::persist::{PromptCall, persist_call};
use super::record::record_call;
use super::state::{OpenedTurn, PendingTurn, RunningTurn};
use super::stream::stream;
use crate::AppState;
use crate::failure::{Failure, internal};
use domain::{ConversationId, Model, Outcome, PriceList, Tokens, TurnId, Viewer, WireFormat};
use quota::{Refused, Verdict};
use relay::{Relay, Writer};
use std::time::Duration;
use store::turn::{AvailableModel, CallOwner, SidePurpose, TurnContext};

/// A side call that is ready to be admitted.
pub(super) struct SideCall<'a> {
    pub purpose: SidePurpose,
    pub viewer: &'a Viewer,
    /// Its own turn.
    pub turn_id: TurnId,
    pub conversation_id: ConversationId,
    pub call: PromptCall,
    /// Maximum time. After that the call is stopped as a user would stop it.
    pub max_time: Duration,
}

/// The result of a side call.
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
pub(super) async fn run(app: &AppState, context: &TurnContext, side: SideCall<'_>) -> Result<SideResult, Failure> {
    let SideCall { purpose, viewer, turn_id, conversation_id, call, max_time } = side;
    let caps = caps(app, context, [&call.model.name]);
    let reservation = match app.quotas.admit(viewer, turn_id, call.demand, call.max_cost(), &caps).await? {
        Verdict::Granted(reservation) => reservation,
        Verdict::Running => return Ok(SideResult::Running),
        Verdict::Refused(refused) => return Ok(SideResult::Refused(refused)),
    };
    let owner = CallOwner::Conversation { user_id: viewer.user_id, conversation_id, purpose };
    let pending = persist_call(app, call.admitted(owner, viewer.clone(), turn_id, reservation)).await?;
    Ok(within(app, pending, max_time).await?.map_or(SideResult::Nothing, SideResult::Text))
}

/// Calls the model, and stops the call once it takes too long. What the call may have used is recorded and settled in each case.
async fn within(app: &AppState, pending: PendingTurn, max_time: Duration) -> Result<Option<String>, Failure> {
    // A log without readers, which only this function can stop.
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
        // The caller continues without a response while the rest of this call is read.
        let own = app.clone();
        app.turns.spawn(async move {
            drain::read(&own, &turn, chunks, &mut answer.receipt).await;
            let usage = close_ended(&turn, &answer);
            // A problem is logged; the reaper then ends this turn as lost.
            drop(record_call(&own, turn, &answer, usage).await);
        });
        return Ok(None);
    }
    // Dropping the chunks cancels the call.
    drop(chunks);
    let usage = close_ended(&turn, &answer);
    record_call(app, turn, &answer, usage).await?;
    let is_usable = matches!(answer.outcome(), Outcome::Finished | Outcome::Truncated);
    let text = answer.text.trim();
    Ok((is_usable && !text.is_empty()).then(|| text.to_owned()))
}
