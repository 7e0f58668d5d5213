//! One chat turn as a straight line. Each step returns what the next one needs, so that steps can't run out of order.

mod admit;
mod answer;
mod attach;
mod attached;
mod attempt;
pub(crate) mod call;
pub(crate) mod call_problem;
pub(crate) mod call_request;
pub(crate) mod circuit;
mod close;
pub(crate) mod counting;
mod cut;
pub(crate) mod demo;
mod drain;
mod endpoint;
mod finish;
mod follow;
mod hedge;
pub(crate) mod history;
pub(crate) mod html;
pub(crate) mod image_memory;
mod lease;
pub(crate) mod loops;
mod not_opened;
mod open;
mod overrun;
pub(crate) mod path;
mod persist;
pub(crate) mod probe;
pub(crate) mod prompt;
pub(crate) mod providers;
mod receipt;
mod record;
pub(crate) mod reply;
mod request;
pub(crate) mod settings;
mod side_call;
mod state;
mod stream;
mod summary;
mod summary_prompt;
mod system_prompt;
#[cfg(test)]
mod testing;
mod title;
mod turn_request;
mod undo;

pub(crate) use admit::caps;
pub(crate) use attach::attach;
pub(crate) use follow::tail;
pub(crate) use request::ChatRequest;

use crate::AppState;
use crate::failure::{Failure, internal};
use admit::{admit, check_circuit, check_switches, check_verified};
use domain::{Problem, Quota, TurnEvent, Viewer};
use finish::run;
use follow::{follow, is_same};
use html::{Presentation, html_or_text, place_of, render_message};
use open::open;
use persist::persist;
use prompt::{check_size, fallback, max_token_request, pick};
use quota::quota_of;
use relay::{Tail, Writer};
use settings::{TurnSettings, load_context};
use state::{OpenedTurn, RunningTurn};
use std::time::Duration;
use store::turn::{AvailableModel, TurnContext};
use title::untitled;
use tokio::sync::oneshot;
use turn_request::TurnRequest;

/// A turn that has begun.
pub(crate) struct StartedTurn {
    /// Its events from the first one.
    pub tail: Tail,
    /// The remaining quota; `None` if the turn was already running.
    pub quota: Option<Quota>,
    /// What the HTML view shows in addition to its events; `None` if the turn was already running.
    pub presentation: Option<Presentation>,
}

/// Begins a turn for a parsed request and returns once its response has begun.
pub(crate) async fn begin(app: &AppState, viewer: Viewer, chat_request: ChatRequest) -> Result<StartedTurn, Failure> {
    // Known: a repeated request follows the existing turn and never runs twice.
    let context = load_context(app, &viewer, &chat_request).await?;
    if is_same(context.known.as_ref(), &viewer, &chat_request)? {
        return followed(app, &viewer, &chat_request).await;
    }
    check_switches(app, &viewer, &context)?;
    // The rest runs in a server task, so a closed tab doesn't affect it.
    let (head, started) = oneshot::channel();
    app.turns.spawn(run_turn(app.clone(), viewer.clone(), chat_request.clone(), context, head));
    match started.await.map_err(|_| internal(&"a turn's task ended without a result"))?? {
        Some(started) => Ok(started),
        None => followed(app, &viewer, &chat_request).await,
    }
}

/// Follows a turn that is already running.
async fn followed(app: &AppState, viewer: &Viewer, chat_request: &ChatRequest) -> Result<StartedTurn, Failure> {
    Ok(StartedTurn { tail: follow(app, viewer, chat_request).await?, quota: None, presentation: None })
}

/// The result of starting a turn; `None` if it was already running.
type Head = Result<Option<StartedTurn>, Failure>;

/// Runs a turn from its preparation to its end. `head` is sent once the provider has accepted the call.
async fn run_turn(
    app: AppState,
    viewer: Viewer,
    chat_request: ChatRequest,
    context: TurnContext,
    head: oneshot::Sender<Head>,
) {
    // The turn continues even if the receiver of `head` was dropped. Boxed, because what starting needs is dropped before the response runs.
    match Box::pin(start(&app, viewer, chat_request, context)).await {
        Ok(Some((running, started))) => {
            let _ = head.send(Ok(Some(started)));
            run(app, running).await;
        }
        Ok(None) => drop(head.send(Ok(None))),
        Err(failure) => drop(head.send(Err(failure))),
    }
}

/// Prepares, admits, writes and opens a turn. Returns once its first event is in the log.
async fn start(
    app: &AppState,
    viewer: Viewer,
    chat_request: ChatRequest,
    context: TurnContext,
) -> Result<Option<(RunningTurn, StartedTurn)>, Failure> {
    let mut request = prepare(app, viewer, chat_request, &context).await?;
    let (history_cut, branch) = (request.prompt.history_cut, request.prompt.branch);
    // Rendered before anything is reserved, because a hold that isn't confirmed soon lapses.
    let html = render_message(app, &request.prompt.text).await;
    let text = if html.is_none() { request.prompt.text.clone() } else { String::new() };
    // Admit.
    let caps = caps(app, &context, request.models());
    let Some(reservation) = admit(app, &mut request, caps).await? else { return Ok(None) };
    crate::fault::point("reserved");
    let mut log: Writer = app.relay.open(request.chat_request.turn_id);
    // Persist: durable before any money is spent.
    let Some((pending, question)) = persist(app, request, reservation, html.as_ref()).await? else { return Ok(None) };
    crate::fault::point("pending");
    let untitled = untitled(app, &pending);
    // Open.
    let OpenedTurn { turn, sent, chunks } = open(app, pending, &log).await?;
    // Stream: from here on a failure is an event.
    let quota = quota_of(&turn.viewer.plan, turn.reservation.permit.snapshot());
    log.begin(&TurnEvent::Turn {
        turn_id: turn.turn_id,
        conversation_id: turn.conversation_id,
        model: turn.model.name.clone(),
        fallback_for: turn.fallback_for.clone(),
        history_cut,
        quota: quota.clone(),
    });
    let question = place_of(app, &turn.viewer, turn.turn_id, (branch, question)).await;
    let presentation = Presentation { label: turn.model.label.clone(), user_html: html_or_text(html, &text), question };
    let started = StartedTurn { tail: log.tail(), quota: Some(quota), presentation: Some(presentation) };
    Ok(Some((RunningTurn { turn, sent, chunks, log, untitled, reply: None }, started)))
}

/// Chooses the model, fits the prompt to it and computes the maximum usage, all before the turn is admitted.
async fn prepare(
    app: &AppState,
    viewer: Viewer,
    chat_request: ChatRequest,
    context: &TurnContext,
) -> Result<TurnRequest, Failure> {
    // Plan.
    let settings = TurnSettings::new(context, &chat_request);
    let named = settings.model(app, &viewer, context, &chat_request);
    let AvailableModel { model, price, .. } = pick(app, &viewer, context, named).await?;
    check_verified(&viewer, &model)?;
    chat_request.check_effort(&model)?;
    let (effort, written) = (settings.effort(&chat_request, &model), settings.to_write(&chat_request));
    let max_output = settings.max_output(&model);
    let price = price.ok_or_else(|| Problem::model_unavailable(60_000))?;
    // History: loaded from Postgres, never taken from the client.
    let full = path::load(app, &viewer, &chat_request, settings.system).await?;
    let full = attach(app, &viewer, &model, &chat_request.attachments, full, true).await?;
    check_size(&viewer.plan, full.question_bytes())?;
    let (prompt, counted) = history::fit(app, &viewer, chat_request.turn_id, &model, full).await?;
    // Estimate: the maximum usage, and the price that applies to it.
    let demand = max_token_request(&viewer.plan, &model, counted, max_output)?;
    let fallback = fallback(app, &viewer, context, &model, &prompt, demand).await?;
    check_circuit(app, &model, fallback.as_ref())?;
    let hedge_after = model.hedge_after_ms.filter(|_| fallback.is_some()).map(|ms| Duration::from_millis(ms.into()));
    let settings = written;
    Ok(TurnRequest {
        viewer,
        chat_request,
        model,
        price,
        effort,
        settings,
        fallback,
        hedge_after,
        prompt,
        counted,
        demand,
    })
}
