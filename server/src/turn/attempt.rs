//! One attempt to open a provider's stream.

use super::lease::{FIRST_BEAT, renew_lease};
use super::not_opened::NotOpened;
use super::providers::{Call, CallInput};
use super::state::PendingTurn;
use crate::AppState;
use crate::failure::internal;
use domain::{Model, ModelName, Problem, Thinking, Tokens};
use providers::{Chunks, Opened};
use relay::Writer;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

/// The reason an attempt failed.
pub(super) enum Failed {
    /// The provider failed or refused the call.
    Provider(NotOpened),
    /// The turn was stopped or may not continue.
    Interrupted(Interruption),
}

/// Why a turn may not wait for its response any longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The user stopped it.
    Stopped,
    /// This server shuts down.
    Restarting,
    /// Another server found its lease expired and ended it.
    Lost,
}

impl Cause {
    /// Returns the problem shown to the user.
    pub fn problem(self) -> Problem {
        match self {
            Self::Stopped => Problem::stopped(),
            Self::Restarting => Problem::restarting(),
            Self::Lost => Problem::lost(),
        }
    }
}

/// A turn that was interrupted before its response began.
pub(super) struct Interruption {
    pub cause: Cause,
    /// Whether its request may be billed.
    pub may_be_billed: bool,
    /// The call, if it is to be read to its end: its model may be thinking, so that its provider may bill more than the prompt.
    pub opening: Option<Opening>,
}

impl Interruption {
    /// Decides whether the call to `model` is read to its end.
    pub fn of(cause: Cause, model: &Model, may_be_billed: bool, opening: Option<Opening>) -> Self {
        let is_read_on =
            |opening: &Opening| cause != Cause::Lost && model.thinking != Thinking::None && opening.is_outstanding();
        let opening = opening.filter(is_read_on).inspect(Opening::prevent_retries);
        Self { cause, may_be_billed, opening }
    }
}

/// A call whose response hasn't begun. It owns what it needs, so it can outlive the request that made it.
pub(super) struct Opening {
    opened: Pin<Box<dyn Future<Output = Result<Opened, NotOpened>> + Send>>,
    flags: Arc<Flags>,
}

#[derive(Default)]
struct Flags {
    outstanding: AtomicBool,
    is_abandoned: AtomicBool,
}

impl Opening {
    /// Prepares the call; it is sent when the opening is first polled.
    pub fn new(call: Call) -> Self {
        let flags = Arc::<Flags>::default();
        let own = Arc::clone(&flags);
        let opened = Box::pin(async move { call.open(&own.outstanding, &own.is_abandoned).await });
        Self { opened, flags }
    }

    /// Returns whether a request is in flight that the provider may bill.
    pub fn is_outstanding(&self) -> bool {
        self.flags.outstanding.load(Ordering::Relaxed)
    }

    /// Prevents any retry.
    fn prevent_retries(&self) {
        self.flags.is_abandoned.store(true, Ordering::Relaxed);
    }
}

impl Future for Opening {
    type Output = Result<Opened, NotOpened>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.opened.as_mut().poll(context)
    }
}

/// Prepares the call of a model for a turn.
pub(super) fn prepare(
    app: &AppState,
    pending: &PendingTurn,
    model: &Model,
    estimated: Tokens,
    max_output: Tokens,
) -> Opening {
    let input = CallInput {
        model,
        system: &pending.prompt.system,
        messages: &pending.prompt.messages,
        api: pending.api.as_deref(),
        api_user: pending.api.as_ref().map(|_| pending.turn.viewer.user_id),
        max_output,
        effort: pending.effort.as_deref(),
        estimated,
    };
    Opening::new(app.providers.call(&pending.turn.reservation.permit, input))
}

/// Calls the turn's current model. Until its response begins, renews the turn's lease and listens for a stop.
pub(super) async fn attempt(app: &AppState, pending: &PendingTurn, log: &Writer) -> Result<Chunks, Failed> {
    let turn = &pending.turn;
    let mut opening = prepare(app, pending, &turn.model, turn.estimated, turn.max_output);
    tokio::select! {
        opened = &mut opening => {
            crate::fault::point("sent");
            Ok(store_learned_limit(app, &turn.model.name, opened.map_err(Failed::Provider)?).await)
        }
        cause = interrupted(app, pending, log) => {
            let may_be_billed = opening.is_outstanding();
            Err(Failed::Interrupted(Interruption::of(cause, &turn.model, may_be_billed, Some(opening))))
        }
    }
}

/// Stores the request field for the output limit if this call had to find it out, and returns its response.
pub(super) async fn store_learned_limit(app: &AppState, model: &ModelName, opened: Opened) -> Chunks {
    if let Some(limit) = opened.learned
        && let Err(error) = store::model::set_output_limit(&app.db, model, limit).await
    {
        // The next call finds it out again.
        internal(&error);
    }
    opened.chunks
}

/// Renews the turn's lease. Returns once the turn is stopped or may not continue.
pub(super) async fn interrupted(app: &AppState, pending: &PendingTurn, log: &Writer) -> Cause {
    tokio::select! {
        () = log.stopped() => Cause::Stopped,
        () = app.cancel_turns.cancelled() => Cause::Restarting,
        // A provider may take longer to begin than a lease lasts. Another server then found the lease expired and ended the turn.
        () = renew_lease(app, pending.turn.turn_id, &pending.turn.reservation, FIRST_BEAT) => Cause::Lost,
    }
}
