//! Hedging: if a model stays silent, its fallback is called as well, and the first response is used. The other call is canceled and charged
//! its estimated input, since its provider may bill it; the turn's reservation covers both.

use super::attempt::{Cause, Failed, Interruption, Opening, attempt, interrupted, prepare, store_learned_limit};
use super::not_opened::NotOpened;
use super::prompt::Fallback;
use super::providers::own_cache_marks;
use super::state::{OtherCall, PendingTurn};
use crate::AppState;
use crate::failure::internal;
use domain::AiUsageId;
use providers::{Chunks, Opened, ProviderError};
use relay::Writer;
use std::time::Duration;
use store::turn::{HedgeCall, PendingCall};
use tokio::time::Instant;

/// The instant a call was sent, and its opened stream.
type Answer = (Instant, Chunks);

/// Two concurrent calls of one turn: index 0 is the requested model's, index 1 the fallback's.
struct Race {
    /// The calls that haven't ended; only the first one while the fallback isn't called.
    openings: [Option<Opening>; 2],
    /// The fallback's ledger row; `None` while only the first call was sent.
    second: Option<PendingCall>,
    /// The failure of each call; `None` while it is pending.
    failed: [Option<NotOpened>; 2],
    /// The call that responded, with the instant it was sent, or the reason neither may continue.
    ended: Option<Result<(usize, Instant, Opened), Cause>>,
}

impl Race {
    fn is_over(&self) -> bool {
        self.ended.is_some() || self.failed[0].is_some() && (self.second.is_none() || self.failed[1].is_some())
    }

    fn note(&mut self, index: usize, sent: Instant, opened: Result<Opened, NotOpened>) {
        self.openings[index] = None;
        match opened {
            Ok(opened) => self.ended = Some(Ok((index, sent, opened))),
            Err(error) => self.failed[index] = Some(error),
        }
    }

    /// Waits until a call ends; never returns if it has ended or was never made.
    async fn next(opening: &mut Option<Opening>) -> Result<Opened, NotOpened> {
        match opening {
            Some(opening) => opening.await,
            None => std::future::pending().await,
        }
    }

    /// Returns whether a call without a response may be billed: its request was sent and its provider didn't refuse it.
    fn may_be_billed(&self, index: usize) -> bool {
        match (&self.failed[index], &self.openings[index]) {
            (Some(error), _) => error.may_be_billed(),
            (None, opening) => opening.as_ref().is_some_and(Opening::is_outstanding),
        }
    }

    /// Returns the response, or the reason there is none: the failure of the turn's call, which has this index, or the interruption.
    async fn outcome(
        mut self,
        app: &AppState,
        pending: &PendingTurn,
        index: usize,
        is_billed: bool,
    ) -> Result<Answer, Failed> {
        let model = &pending.turn.model;
        match self.ended {
            Some(Ok((_, sent, opened))) => Ok((sent, store_learned_limit(app, &model.name, opened).await)),
            Some(Err(cause)) => {
                let opening = self.openings[index].take();
                Err(Failed::Interrupted(Interruption::of(cause, model, is_billed, opening)))
            }
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
    let mut race = race(app, pending, &fallback, after, log).await;
    let Some(second) = race.second else {
        pending.fallback = Some(fallback);
        let is_billed = race.may_be_billed(0);
        return race.outcome(app, pending, 0, is_billed).await;
    };
    let winner = race.ended.as_ref().and_then(|ended| ended.as_ref().ok()).map(|(winner, ..)| *winner);
    let has_failed = [0, 1].map(|index| race.failed[index].as_ref().is_some_and(NotOpened::was_called));
    let mut is_billed = [0, 1].map(|index| winner == Some(index) || race.may_be_billed(index));
    if winner.is_some() {
        // Cancels the other call.
        race.openings = [None, None];
    }
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
            app.providers.record_stream_failure(&pending.turn.model, &ProviderError::TimedOut, None);
        }
        let first = OtherCall::of(&pending.turn.model, &pending.turn.price, pending.turn.estimated, has_failed[0]);
        pending.switch_to_fallback(fallback, second, first.estimated);
        pending.turn.other = is_billed[0].then_some(first);
        if let Err(error) = store::turn::promote_hedge_call(&app.db, second).await {
            internal(&error);
        }
    } else if is_billed[1] {
        pending.turn.other = Some(OtherCall::of(&fallback.model, &fallback.price, fallback.estimated, has_failed[1]));
    }
    race.outcome(app, pending, main, is_billed[main]).await
}

/// Waits until one of the two calls has responded or both have failed.
async fn race(app: &AppState, pending: &PendingTurn, fallback: &Fallback, after: Duration, log: &Writer) -> Race {
    let turn = &pending.turn;
    let first = prepare(app, pending, &turn.model, turn.estimated, turn.max_output);
    let mut race = Race { openings: [Some(first), None], second: None, failed: [None, None], ended: None };
    let interrupted = interrupted(app, pending, log);
    let first_sent = Instant::now();
    tokio::pin!(interrupted);
    tokio::select! {
        opened = Race::next(&mut race.openings[0]) => race.note(0, first_sent, opened),
        cause = &mut interrupted => race.ended = Some(Err(cause)),
        () = tokio::time::sleep(after) => {}
    }
    if race.is_over() {
        return race;
    }
    race.second = add_call(app, pending, fallback).await;
    if race.second.is_some() {
        let max_output = turn.max_output_beside(fallback, turn.estimated);
        race.openings[1] = Some(prepare(app, pending, &fallback.model, fallback.estimated, max_output));
    }
    let second_sent = Instant::now();
    while !race.is_over() {
        let [first, second] = &mut race.openings;
        tokio::select! {
            // Polled in this order, so that the second call isn't sent if the first has responded meanwhile.
            biased;
            cause = &mut interrupted => race.ended = Some(Err(cause)),
            opened = Race::next(first) => race.note(0, first_sent, opened),
            opened = Race::next(second) => race.note(1, second_sent, opened),
        }
    }
    race
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
        cache_marks: own_cache_marks(&fallback.model, &fallback.price, fallback.estimated),
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
