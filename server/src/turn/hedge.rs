//! Hedging: if a model stays silent, its fallback is called as well, and the first response is used. The other call is canceled and charged
//! its estimated input, since its provider may bill it; the turn's reservation covers both.

use super::attempt::{Failed, attempt, interrupted};
use super::prompt::Fallback;
use super::providers::NotOpened;
use super::state::{OtherCall, PendingTurn};
use crate::AppState;
use crate::failure::internal;
use domain::{AiUsageId, Model, Tokens};
use providers::{Chunks, ProviderError};
use relay::Writer;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use store::turn::{HedgeCall, PendingCall};
use tokio::time::Instant;

/// The instant a call was sent, and its opened stream.
type Answer = (Instant, Chunks);

/// Two concurrent calls of one turn: index 0 is the requested model's, index 1 the fallback's.
#[derive(Default)]
struct Race {
    /// The fallback's ledger row; `None` while only the first call was sent.
    second: Option<PendingCall>,
    /// The failure of each call; `None` while it is pending.
    failed: [Option<NotOpened>; 2],
    /// The call that responded, or the reason neither may continue.
    ended: Option<Result<(usize, Answer), Failed>>,
}

impl Race {
    fn is_over(&self) -> bool {
        self.ended.is_some() || self.failed[0].is_some() && (self.second.is_none() || self.failed[1].is_some())
    }

    fn note(&mut self, index: usize, sent: Instant, opened: Result<Chunks, NotOpened>) {
        match opened {
            Ok(chunks) => self.ended = Some(Ok((index, (sent, chunks)))),
            Err(error) => self.failed[index] = Some(error),
        }
    }

    /// Returns whether a call without a response may be billed: its request was sent and its provider didn't refuse it.
    fn may_be_billed(&self, index: usize, outstanding: &[AtomicBool; 2]) -> bool {
        self.failed[index].as_ref().map_or_else(|| outstanding[index].load(Ordering::Relaxed), NotOpened::may_be_billed)
    }

    /// Returns the response, or the reason there is none: the failure of the call at `index`, or the interruption.
    fn outcome(
        mut self,
        ended: Option<Result<(usize, Answer), Failed>>,
        index: usize,
        is_billed: bool,
    ) -> Result<Answer, Failed> {
        match ended {
            Some(Ok((_, answer))) => Ok(answer),
            Some(Err(Failed::Interrupted(problem, _))) => Err(Failed::Interrupted(problem, is_billed)),
            Some(Err(failed)) => Err(failed),
            None => {
                let error = self.failed[index].take();
                Err(Failed::Provider(error.unwrap_or(NotOpened::Provider(ProviderError::TimedOut))))
            }
        }
    }
}

/// Calls the turn's model and, once that has been silent for `after`, its fallback as well. If the first call fails before the fallback is
/// called, the fallback stays available.
pub(super) async fn open(
    app: &AppState,
    pending: &mut PendingTurn,
    after: Duration,
    log: &Writer,
) -> Result<Answer, Failed> {
    let Some(fallback) = pending.fallback.take() else {
        let sent = Instant::now();
        return attempt(app, pending, log).await.map(|chunks| (sent, chunks));
    };
    let outstanding = [AtomicBool::default(), AtomicBool::default()];
    let mut race = race(app, pending, &fallback, after, log, &outstanding).await;
    let ended = race.ended.take();
    let Some(second) = race.second else {
        pending.fallback = Some(fallback);
        let is_billed = race.may_be_billed(0, &outstanding);
        return race.outcome(ended, 0, is_billed);
    };
    let winner = ended.as_ref().and_then(|ended| ended.as_ref().ok()).map(|(winner, _)| *winner);
    let has_failed = [0, 1].map(|index| race.failed[index].as_ref().is_some_and(NotOpened::was_called));
    let mut is_billed = [0, 1].map(|index| winner == Some(index) || race.may_be_billed(index, &outstanding));
    for (index, call) in [pending.turn.call, second].into_iter().enumerate() {
        if !is_billed[index] {
            // If the row can't be closed now, it is closed and charged when the turn ends.
            let closed = store::turn::close_unbilled(&app.db, call, has_failed[index], AppState::now()).await;
            is_billed[index] = closed.inspect_err(|error| drop(internal(error))).is_err();
        }
    }
    let main = winner.unwrap_or_else(|| usize::from(!is_billed[0] && is_billed[1]));
    if main == 1 {
        // Silence counts as a failure if the fallback responded instead, so that an outage opens the circuit.
        if winner == Some(1) && !has_failed[0] && is_billed[0] {
            app.providers.record_stream_failure(&pending.turn.model);
        }
        let first = OtherCall::of(&pending.turn.model, &pending.turn.price, pending.turn.estimated, has_failed[0]);
        pending.turn.switch_to_fallback(fallback, second, first.estimated);
        pending.turn.other = is_billed[0].then_some(first);
    } else if is_billed[1] {
        pending.turn.other = Some(OtherCall::of(&fallback.model, &fallback.price, fallback.estimated, has_failed[1]));
        if let Err(error) = store::turn::demote_hedge_call(&app.db, second).await {
            internal(&error);
        }
    }
    race.outcome(ended, main, is_billed[main])
}

/// Waits until one of the two calls has responded or both have failed.
async fn race(
    app: &AppState,
    pending: &PendingTurn,
    fallback: &Fallback,
    after: Duration,
    log: &Writer,
    outstanding: &[AtomicBool; 2],
) -> Race {
    let mut race = Race::default();
    let (first, interrupted) = (
        send(app, pending, &pending.turn.model, pending.turn.max_output, &outstanding[0]),
        interrupted(app, pending, log),
    );
    let first_sent = Instant::now();
    tokio::pin!(first, interrupted);
    tokio::select! {
        opened = &mut first => race.note(0, first_sent, opened),
        problem = &mut interrupted => race.ended = Some(Err(Failed::Interrupted(problem, false))),
        () = tokio::time::sleep(after) => {}
    }
    if race.is_over() {
        return race;
    }
    race.second = add_call(app, pending, fallback).await;
    let max_output = pending.turn.max_output_beside(fallback, pending.turn.estimated);
    let second = send(app, pending, &fallback.model, max_output, &outstanding[1]);
    let second_sent = Instant::now();
    tokio::pin!(second);
    while !race.is_over() {
        tokio::select! {
            // Polled in this order, so that the second call isn't sent if the first has responded meanwhile.
            biased;
            problem = &mut interrupted => race.ended = Some(Err(Failed::Interrupted(problem, false))),
            opened = &mut first, if race.failed[0].is_none() => race.note(0, first_sent, opened),
            opened = &mut second, if race.second.is_some() && race.failed[1].is_none() => race.note(1, second_sent, opened),
        }
    }
    race
}

async fn send(
    app: &AppState,
    pending: &PendingTurn,
    model: &Model,
    max_output: Tokens,
    outstanding: &AtomicBool,
) -> Result<Chunks, NotOpened> {
    app.providers.open(&pending.turn.reservation.permit, model, &pending.prompt.messages, max_output, outstanding).await
}

/// Writes the fallback's pending ledger row. Returns `None` if it can't be pending; the first call then continues alone.
async fn add_call(app: &AppState, pending: &PendingTurn, fallback: &Fallback) -> Option<PendingCall> {
    let hedge = HedgeCall {
        turn_id: pending.turn.turn_id,
        first: pending.turn.call,
        call: PendingCall { id: AiUsageId::at(AppState::now()), created_at: pending.turn.call.created_at },
        model: &fallback.model.name,
        price_id: fallback.price.tier(fallback.estimated).id,
        estimated: fallback.estimated,
    };
    match store::turn::add_hedge_call(&app.db, &hedge).await {
        Ok(true) => {}
        Ok(false) => return None,
        Err(error) => {
            internal(&error);
            // The row may have been pending despite the error; the call isn't sent.
            let closed = store::turn::close_unbilled(&app.db, hedge.call, false, AppState::now()).await;
            drop(closed.inspect_err(|error| drop(internal(error))));
            return None;
        }
    }
    tracing::warn!(model = %pending.turn.model.name, fallback = %fallback.model.name, "model silent, calling fallback");
    metrics::counter!("quotient_hedges_total").increment(1);
    Some(hedge.call)
}
