//! Hedging: while a model stays silent its fallback is asked as well, and the first to answer is used. The other call is cancelled and
//! charged its estimated input, since its provider may bill it; the turn's reservation covers both.

use super::opening::{Failed, OtherCall, Written, attempt, interrupted};
use super::prompt::Fallback;
use crate::AppState;
use crate::error::internal;
use crate::provider::NotOpened;
use domain::{Model, Tokens};
use providers::{Chunks, ProviderError};
use relay::Writer;
use std::time::Duration;
use store::turn::{HedgeCall, PendingCall};
use tokio::time::Instant;

/// A stream that was opened, and when its call was sent.
type Answer = (Instant, Chunks);

/// Two calls of one turn, numbered 0 and 1. The second one is the fallback's.
#[derive(Default)]
struct Race {
    /// The fallback's ledger row; none while only the first call was sent.
    second: Option<PendingCall>,
    /// Why a call failed; none while it waits.
    failed: [Option<NotOpened>; 2],
    /// Which call answered, or why neither may go on.
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

    /// Why there is no answer: the failure of the call at `index`.
    fn failure(&mut self, index: usize) -> Failed {
        Failed::Provider(self.failed[index].take().unwrap_or(NotOpened::Provider(ProviderError::Silent)))
    }
}

/// Opens the turn's model and, once that has been silent for `after`, its fallback beside it. If the first call fails alone, the
/// fallback stays available.
pub(super) async fn open(
    app: &AppState,
    written: &mut Written,
    after: Duration,
    log: &Writer,
) -> Result<Answer, Failed> {
    let Some(fallback) = written.fallback.take() else {
        let sent = Instant::now();
        return attempt(app, written, log).await.map(|chunks| (sent, chunks));
    };
    let mut race = race(app, written, &fallback, after, log).await;
    let ended = race.ended.take();
    let Some(second) = race.second else {
        written.fallback = Some(fallback);
        return ended.unwrap_or_else(|| Err(race.failure(0))).map(|(_, answer)| answer);
    };
    let is_billed = [
        close_refused(app, race.failed[0].as_ref(), written.call).await,
        close_refused(app, race.failed[1].as_ref(), second).await,
    ];
    let main = match &ended {
        Some(Ok((winner, _))) => *winner,
        _ => usize::from(!is_billed[0] && is_billed[1]),
    };
    if main == 1 {
        let first = OtherCall::of(&written.model, &written.price, written.estimated);
        written.answer_with(fallback, second, first.estimated);
        written.other = is_billed[0].then_some(first);
    } else if is_billed[1] {
        written.other = Some(OtherCall::of(&fallback.model, &fallback.price, fallback.estimated));
        if let Err(error) = store::turn::demote_hedge_call(&app.db, second).await {
            internal(&error);
        }
    }
    ended.unwrap_or_else(|| Err(race.failure(main))).map(|(_, answer)| answer)
}

/// Waits until one of the two calls has answered or none can.
async fn race(app: &AppState, written: &Written, fallback: &Fallback, after: Duration, log: &Writer) -> Race {
    let mut race = Race::default();
    let (first, interrupted) = (send(app, written, &written.model, written.most), interrupted(app, written, log));
    let first_sent = Instant::now();
    tokio::pin!(first, interrupted);
    tokio::select! {
        opened = &mut first => race.note(0, first_sent, opened),
        problem = &mut interrupted => race.ended = Some(Err(Failed::Over(problem))),
        () = tokio::time::sleep(after) => {}
    }
    if race.is_over() {
        return race;
    }
    race.second = add_call(app, written, fallback).await;
    let second = send(app, written, &fallback.model, written.room_beside(fallback, written.estimated));
    let second_sent = Instant::now();
    tokio::pin!(second);
    while !race.is_over() {
        tokio::select! {
            opened = &mut first, if race.failed[0].is_none() => race.note(0, first_sent, opened),
            opened = &mut second, if race.second.is_some() && race.failed[1].is_none() => race.note(1, second_sent, opened),
            problem = &mut interrupted => race.ended = Some(Err(Failed::Over(problem))),
        }
    }
    race
}

async fn send(app: &AppState, written: &Written, model: &Model, max_output: Tokens) -> Result<Chunks, NotOpened> {
    app.providers.open(&written.reservation.permit, model, &written.prompt.messages, max_output).await
}

/// Writes the fallback's pending ledger row. Returns none if it can't be written; then the first call goes on alone.
async fn add_call(app: &AppState, written: &Written, fallback: &Fallback) -> Option<PendingCall> {
    let hedge = HedgeCall {
        turn_id: written.turn_id,
        first: written.call,
        model: &fallback.model.name,
        price_id: fallback.price.tier(fallback.estimated).id,
        estimated: fallback.estimated,
        now: AppState::now(),
    };
    let call = store::turn::add_hedge_call(&app.db, &hedge).await.inspect_err(|error| drop(internal(error))).ok()??;
    tracing::warn!(model = %written.model.name, fallback = %fallback.model.name, "silent model hedged");
    metrics::counter!("quotient_hedges_total").increment(1);
    Some(call)
}

/// Closes the ledger row of a call that was refused, at no cost. Returns whether the call may be billed instead.
async fn close_refused(app: &AppState, failed: Option<&NotOpened>, call: PendingCall) -> bool {
    let Some(error) = failed.filter(|error| !error.may_bill()) else { return true };
    let closed = store::turn::close_unbilled(&app.db, call, error.was_asked(), AppState::now()).await;
    closed.inspect_err(|error| drop(internal(error))).is_err()
}
