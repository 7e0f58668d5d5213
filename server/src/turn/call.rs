//! One API call. It is admitted, written, opened, recorded and settled by the same steps as a turn, and has a ledger row of its own. Nothing
//! is kept of its text, except the answer to a request with an `Idempotency-Key`.
//!
//! The end of the connection stops a call, as a user stops a turn: its provider is canceled, and what it may bill is recorded. With an
//! `Idempotency-Key` the call continues, because the same request can still get its answer.

use super::admit::{caps, check_switches, refusal_problem};
use super::answer::Answer;
use super::call_request::{CallRequest, PreparedCall, prepare};
use super::close::{Grant, Uncounted, close, close_ended};
use super::drain;
use super::lease::{FIRST_BEAT, renew_lease};
use super::loops::LoopTrip;
use super::open::open;
use super::persist::{AdmittedCall, persist_call};
use super::record::{Retries, record, settle};
use super::reply::{NewReply, Piece, Reply};
use super::state::{ActiveTurn, OpenedTurn, RunningTurn};
use super::stream::stream;
use crate::AppState;
use crate::failure::{Failure, internal};
use domain::{ModelName, Outcome, Picos, Problem, ProblemKind, Quota, Tokens, Usage, UsageSource};
use quota::{Budget, Caps, KeyCaps, KeyQuota, Refused, Reservation, Verdict, key_quota_of, quota_of};
use relay::{Relay, Writer};
use std::sync::Arc;
use store::api_call::{Claim, StoredAnswer};
use store::turn::{CallOwner, TurnContext};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;

/// When a request may be sent again whose first one is being answered, in milliseconds.
const RUNNING_RETRY_MS: u64 = 2_000;

/// What answers a request.
pub(crate) enum Begun {
    /// A call that has begun.
    Started(StartedCall),
    /// The stored answer of an earlier call.
    Replayed(StoredAnswer),
}

/// A call that its provider has accepted.
pub(crate) struct StartedCall {
    /// The model that answers.
    pub model: ModelName,
    /// What is left of the user's limits.
    pub quota: Quota,
    /// What is left of the key's caps.
    pub key: KeyQuota,
    /// The reply. Dropping it stops the call, unless the request has an `Idempotency-Key`.
    pub pieces: UnboundedReceiver<Piece>,
}

/// The result of beginning a call, without its reply.
type Head = Result<Accepted, Failure>;

enum Accepted {
    Started { model: ModelName, quota: Quota, key: KeyQuota },
    Replayed(StoredAnswer),
}

/// Begins a call and returns once its response has begun.
pub(crate) async fn begin(app: &AppState, call: CallRequest) -> Result<Begun, Failure> {
    let (head, accepted) = oneshot::channel();
    let (sender, pieces) = mpsc::unbounded_channel();
    app.turns.spawn(run(app.clone(), call, head, sender));
    Ok(match accepted.await.map_err(|_| internal(&"a call's task ended without a result"))?? {
        Accepted::Started { model, quota, key } => Begun::Started(StartedCall { model, quota, key, pieces }),
        Accepted::Replayed(answer) => Begun::Replayed(answer),
    })
}

/// Runs a call from its preparation to its end, and stops it when its client disconnects.
async fn run(app: AppState, call: CallRequest, head: oneshot::Sender<Head>, pieces: UnboundedSender<Piece>) {
    let (relay, turn_id) = (Relay::memory(), call.turn_id);
    let log = relay.open(turn_id);
    let stops = call.idempotency_hash.is_none();
    let gone = pieces.clone();
    let watch = async {
        gone.closed().await;
        if let Err(error) = relay.stop(turn_id).await {
            internal(&error);
        }
        std::future::pending().await
    };
    tokio::select! {
        () = answer(&app, call, log, head, pieces) => {}
        () = watch, if stops => {}
    }
}

/// Claims the request, and answers it.
async fn answer(
    app: &AppState,
    call: CallRequest,
    log: Writer,
    head: oneshot::Sender<Head>,
    pieces: UnboundedSender<Piece>,
) {
    match claim(app, &call).await {
        Ok(None) => {}
        Ok(Some(stored)) => return drop(head.send(Ok(Accepted::Replayed(stored)))),
        Err(failure) => return drop(head.send(Err(failure))),
    }
    // Boxed, because what starting needs is dropped before the answer runs.
    match Box::pin(start(app, &call, log, pieces)).await {
        Ok((running, accepted)) => {
            let _ = head.send(Ok(accepted));
            finish(app, &call, running).await;
        }
        Err(failure) => {
            release_claim(app, &call).await;
            drop(head.send(Err(failure)));
        }
    }
}

/// Claims a request with an `Idempotency-Key`. Returns its answer if it has one.
async fn claim(app: &AppState, call: &CallRequest) -> Result<Option<StoredAnswer>, Failure> {
    let Some(new) = call.claim() else { return Ok(None) };
    match store::api_call::claim(&app.db, &new, AppState::now()).await? {
        Claim::New => Ok(None),
        Claim::Answered(answer) => Ok(Some(answer)),
        Claim::Running => {
            let message = "This request is being answered. Send it again in a moment to get its answer.";
            let problem = Problem::new(ProblemKind::Conflict, message);
            Err(Problem { retry_after_ms: Some(RUNNING_RETRY_MS), ..problem }.into())
        }
        Claim::OtherRequest => {
            let message =
                "This `Idempotency-Key` was used for another request within the last 24 hours. Use a new one.";
            Err(Problem::new(ProblemKind::Conflict, message).into())
        }
    }
}

/// Releases the claim of a request that has no complete answer.
async fn release_claim(app: &AppState, call: &CallRequest) {
    if let Some(claim) = call.claim()
        && let Err(error) = store::api_call::release(&app.db, &claim).await
    {
        // The claim expires a minute after the turn.
        internal(&error);
    }
}

/// Prepares, admits, writes and opens a call.
async fn start(
    app: &AppState,
    call: &CallRequest,
    log: Writer,
    pieces: UnboundedSender<Piece>,
) -> Result<(RunningTurn, Accepted), Failure> {
    let now = AppState::now();
    // Not before the claim: an API client that waits for a running answer, or gets it again, is no loop.
    app.loops.check(call.key.id, &call.hash, now).await.map_err(LoopTrip::problem)?;
    let context = store::turn::load_turn_context(&app.db, call.turn_id, Some(call.request.model()), now).await?;
    check_switches(app, &call.viewer, &context)?;
    let mut prepared = prepare(app, call, &context).await?;
    let reservation = admit(app, call, &context, &mut prepared).await?;
    let pending = persist_call(app, admitted(call, prepared, reservation)).await?;
    let OpenedTurn { turn, sent, chunks } = open(app, pending, &log).await?;
    let caps = KeyCaps::from(&call.key);
    let snapshot = turn.reservation.key_snapshot();
    let accepted = Accepted::Started {
        model: turn.model.name.clone(),
        quota: quota_of(&turn.viewer.plan, turn.reservation.permit.snapshot()),
        key: snapshot.map_or(KeyQuota { requests: None, tokens: None, monthly: None }, |key| key_quota_of(&caps, key)),
    };
    let reply = Reply::new(NewReply {
        request: &call.request,
        model: &turn.model,
        id: &turn.turn_id.to_string().replace('-', ""),
        created_unix: now.unix_timestamp(),
        is_kept: call.idempotency_hash.is_some(),
        pieces,
    });
    Ok((RunningTurn { turn, sent, chunks, log, untitled: None, reply: Some(reply) }, accepted))
}

/// Returns what is written of an admitted call.
fn admitted(call: &CallRequest, prepared: PreparedCall, reservation: Reservation) -> AdmittedCall {
    let PreparedCall { model, price, fallback, counted, cache_marks, .. } = prepared;
    let (user_id, api_key_id, request_hash) = (call.viewer.user_id, call.key.id, call.hash);
    AdmittedCall {
        owner: CallOwner::Program { user_id, api_key_id, request_hash },
        viewer: call.viewer.clone(),
        turn_id: call.turn_id,
        model,
        price,
        counted,
        cache_marks,
        messages: Vec::new(),
        api: Some(Arc::clone(&call.request)),
        fallback,
        reservation,
    }
}

/// Reserves the call's maximum usage in the meters of its key and its user, and in the spend budgets.
async fn admit(
    app: &AppState,
    call: &CallRequest,
    context: &TurnContext,
    prepared: &mut PreparedCall,
) -> Result<Reservation, Failure> {
    let key = Some(KeyCaps::from(&call.key));
    loop {
        let caps = Caps { key, ..caps(app, context, prepared.models()) };
        let (demand, max_cost) = (prepared.demand, prepared.max_cost());
        match app.quotas.admit(&call.viewer, call.turn_id, demand, max_cost, &caps).await? {
            Verdict::Granted(reservation) => return Ok(reservation),
            // Its id is new, so this is no repeated request.
            Verdict::Running => return Err(Problem::overloaded().into()),
            // If only the fallback has reached its spend cap, the call is made without a fallback.
            Verdict::Refused(Refused::SpendCap { budget: Budget::Model(model), .. })
                if prepared.fallback.as_ref().is_some_and(|fallback| fallback.model.name == model) =>
            {
                prepared.fallback = None;
            }
            Verdict::Refused(refused) => return Err(refusal(app, call, prepared, refused).await?.into()),
        }
    }
}

/// Returns the problem of a refusal, with the smallest plan that would have admitted the call.
async fn refusal(
    app: &AppState,
    call: &CallRequest,
    prepared: &PreparedCall,
    refused: Refused,
) -> Result<Problem, Failure> {
    let message = match &refused {
        Refused::TooLarge { max } => Some(format!(
            "The request has about {} tokens. Your plan allows {} in a day.",
            Tokens(prepared.demand.input),
            Tokens(*max)
        )),
        _ => None,
    };
    let problem = refusal_problem(app, &call.viewer.plan, &prepared.model, prepared.demand, refused).await?;
    Ok(match message {
        Some(message) => Problem { message, ..problem },
        None => problem,
    })
}

/// Passes the response on, records and settles the call, and ends the reply.
async fn finish(app: &AppState, call: &CallRequest, mut running: RunningTurn) {
    let mut answer = stream(app, &mut running).await;
    let RunningTurn { turn, chunks, reply, .. } = running;
    let Some(reply) = reply else { return };
    if !drain::is_due(&turn.model, &answer) {
        // Cancels the call.
        drop(chunks);
    } else if call.idempotency_hash.is_some() {
        // The stored answer has the usage of the ledger, which isn't known before.
        drain::read(app, &turn, chunks, &mut answer.receipt).await;
    } else {
        // The API client doesn't wait while the rest of the call is read.
        let (so_far, _) = close(Grant::of(&turn), &answer, Uncounted::Streamed);
        reply.complete(&so_far).send();
        drain::read(app, &turn, chunks, &mut answer.receipt).await;
        let usage = close_ended(&turn, &answer);
        return record_and_settle(app, turn, &answer, usage).await;
    }
    let usage = close_ended(&turn, &answer);
    if let Some(problem) = answer.problem() {
        release_claim(app, call).await;
        return record_and_end(app, turn, &answer, usage, || reply.fail(problem)).await;
    }
    // Stored before the turn ends: a repeated request then finds either a running turn or the answer.
    let mut complete = reply.complete(&usage.0);
    let kept = complete.answer.take();
    let is_stored = store_answer(app, call, &answer, kept.as_ref()).await;
    record_and_end(app, turn, &answer, usage, || complete.send()).await;
    if !is_stored {
        // Postgres was unavailable, and is back if the call is recorded.
        store_answer(app, call, &answer, kept.as_ref()).await;
    }
}

/// Records and settles a call, and then ends its reply with `end`. If Postgres is unavailable, the API client doesn't wait for it: the reply ends,
/// and recording is retried.
async fn record_and_end(
    app: &AppState,
    turn: ActiveTurn,
    answer: &Answer,
    usage: (Usage, UsageSource),
    end: impl FnOnce(),
) {
    match record(app, &turn, None, answer, usage, Retries::None).await {
        Ok(cost) => {
            settle(app, turn, usage.0, cost).await;
            end();
        }
        Err(_) => {
            end();
            record_and_settle(app, turn, answer, usage).await;
        }
    }
}

/// Records and settles a call for which no API client waits. Until it is recorded, its hold and its lease are renewed. If that fails for too long, or
/// this server stops, the reaper ends the call and charges what was reserved: what it has used is only known here.
async fn record_and_settle(app: &AppState, turn: ActiveTurn, answer: &Answer, usage: (Usage, UsageSource)) {
    if let Ok(cost) = record_held(app, &turn, answer, usage).await {
        settle(app, turn, usage.0, cost).await;
    }
}

/// Records a call, and renews its hold and its lease until then, or until it has ended: recorded by a statement whose reply was lost, or by the
/// reaper, which also settles it. Recording continues in that case too, because it corrects what the reaper has charged.
async fn record_held(
    app: &AppState,
    turn: &ActiveTurn,
    answer: &Answer,
    usage: (Usage, UsageSource),
) -> Result<Picos, Problem> {
    let recording = record(app, turn, None, answer, usage, Retries::Background);
    tokio::pin!(recording);
    tokio::select! {
        recorded = &mut recording => recorded,
        () = renew_lease(app, turn.turn_id, &turn.reservation, FIRST_BEAT) => recording.await,
    }
}

/// Stores the answer to a request with an `Idempotency-Key`. A call that was stopped has none. Returns false if that failed.
async fn store_answer(app: &AppState, call: &CallRequest, answer: &Answer, stored: Option<&StoredAnswer>) -> bool {
    let (Some(claim), Some(stored)) = (call.claim(), stored) else { return true };
    if answer.outcome() == Outcome::Stopped {
        release_claim(app, call).await;
        return true;
    }
    let saved = store::api_call::save_answer(&app.db, &claim, stored).await;
    saved.inspect_err(|error| drop(internal(error))).is_ok()
}
