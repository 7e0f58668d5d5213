//! Writes the message and its pending ledger row, then opens the provider's stream. If no provider accepts the call, both are undone.

use super::prompt::{Fallback, Prompt};
use super::running::{FIRST_BEAT, Running, renew_lease};
use super::turn::Asking;
use crate::AppState;
use crate::error::{Refused, internal};
use crate::meters::{Reservation, Spent};
use domain::{ConversationId, Model, ModelName, Picos, PriceList, Problem, ProblemKind, Tokens, TurnId, Usage, Viewer};
use providers::Chunks;
use relay::Writer;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use store::turn::{FallbackCall, InsertOutcome, NewTurn, PendingCall};
use time::OffsetDateTime;
use tokio::time::Instant;

/// A turn that is written but has no stream yet.
pub(crate) struct Written {
    pub viewer: Viewer,
    pub turn_id: TurnId,
    pub conversation_id: ConversationId,
    /// Whether the turn started its conversation.
    pub began: bool,
    pub prompt: Prompt,
    pub call: PendingCall,
    pub model: Model,
    pub price: PriceList,
    pub fallback: Option<Fallback>,
    /// Silence after which the fallback is called as well.
    pub hedge_after: Option<Duration>,
    /// The abandoned call of a hedged turn.
    pub other: Option<OtherCall>,
    /// The part of the reservation that covers the other call of a hedged turn.
    pub beside: Tokens,
    /// The requested model, if the fallback answers in its place.
    pub fallback_for: Option<ModelName>,
    /// Estimated input.
    pub estimated: Tokens,
    /// Maximum output.
    pub most: Tokens,
    pub reservation: Reservation,
}

impl Written {
    /// Returns the fallback's maximum output next to another call whose input is `beside`.
    pub(super) fn room_beside(&self, fallback: &Fallback, beside: Tokens) -> Tokens {
        // The grant may be smaller than the request if little of the limit was left.
        let reserved = self.reservation.permit.reserved();
        fallback.most.min(Tokens(reserved.saturating_sub(fallback.estimated.0).saturating_sub(beside.0)))
    }

    /// Continues with the fallback's call. `beside` is the input of the first call if that may be billed.
    pub(super) fn answer_with(&mut self, fallback: Fallback, call: PendingCall, beside: Tokens) {
        self.most = self.room_beside(&fallback, beside);
        self.beside = beside;
        self.fallback_for = Some(std::mem::replace(&mut self.model, fallback.model).name);
        (self.call, self.price, self.estimated) = (call, fallback.price, fallback.estimated);
    }
}

/// The abandoned call of a hedged turn. Its ledger row stays pending until the turn ends, and is then charged its estimated input.
pub(crate) struct OtherCall {
    pub model: ModelName,
    pub estimated: Tokens,
    pub cost: Picos,
    /// Whether its provider failed, as opposed to being slower than the other one.
    pub has_failed: bool,
}

impl Spent {
    /// Adds the abandoned call.
    pub(super) fn and(mut self, other: Option<OtherCall>) -> Self {
        if let Some(OtherCall { model, estimated, cost, .. }) = other {
            self.tokens = self.tokens + estimated;
            self.costs.push((model, cost));
        }
        self
    }
}

impl OtherCall {
    pub(super) fn of(model: &Model, price: &PriceList, estimated: Tokens, has_failed: bool) -> Self {
        let usage = Usage { input: estimated, ..Usage::default() };
        Self { model: model.name.clone(), estimated, cost: price.price(&usage).1, has_failed }
    }
}

/// A turn whose call a provider has accepted.
pub(crate) struct Opened {
    pub viewer: Viewer,
    pub turn_id: TurnId,
    pub conversation_id: ConversationId,
    pub call: PendingCall,
    pub model: Model,
    pub fallback_for: Option<ModelName>,
    pub other: Option<OtherCall>,
    pub beside: Tokens,
    pub price: PriceList,
    pub estimated: Tokens,
    pub most: Tokens,
    pub reservation: Reservation,
    /// When the request was sent.
    pub sent: Instant,
    pub chunks: Chunks,
}

impl Opened {
    pub(crate) fn into_running(self, log: Writer) -> Running {
        let Self {
            viewer,
            turn_id,
            conversation_id,
            call,
            model,
            other,
            beside,
            price,
            estimated,
            most,
            reservation,
            sent,
            chunks,
            ..
        } = self;
        Running {
            viewer,
            turn_id,
            conversation_id,
            call,
            model,
            other,
            beside,
            price,
            estimated,
            most,
            reservation,
            sent,
            chunks,
            log,
        }
    }
}

/// Writes the message and a pending ledger row, and confirms the hold. Returns `None` if the same turn was written before.
pub(crate) async fn ask(app: &AppState, asking: Asking, reservation: Reservation) -> Result<Option<Written>, Problem> {
    let Asking { viewer, chat_request, model, price, fallback, hedge_after, prompt, counted, .. } = asking;
    let permit = &reservation.permit;
    // The instant of admission by Redis' clock, so that meter and ledger count the usage at the same time.
    let now = i64::try_from(permit.at_ms())
        .ok()
        .and_then(|ms| OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000).ok());
    let now = now.unwrap_or_else(AppState::now);
    let conversation_id = prompt.conversation_id.unwrap_or_else(|| ConversationId::at(now));
    let began = prompt.conversation_id.is_none();
    let title: String = prompt.text.trim().lines().next().unwrap_or_default().chars().take(80).collect();
    let written = store::turn::write_pending(
        &app.db,
        &NewTurn {
            turn_id: chat_request.turn_id,
            user_id: viewer.user_id,
            subject: &viewer.subject,
            conversation_id,
            new_title: began.then_some(title.as_str()),
            retry_of: prompt.retry_of,
            text: &prompt.text,
            request_hash: &chat_request.hash,
            model: &model.name,
            price_id: price.tier(counted.estimated).id,
            counted: counted.counted,
            estimated: counted.estimated,
            reserved: Tokens(permit.reserved()),
            now,
        },
    )
    .await;
    let call = match written {
        Ok(InsertOutcome::New(call)) => call,
        Ok(InsertOutcome::Known) => {
            release(app, reservation).await;
            return Ok(None);
        }
        Ok(InsertOutcome::NoConversation) => {
            release(app, reservation).await;
            return Err(Problem::not_found("conversation"));
        }
        Ok(InsertOutcome::Superseded) => {
            release(app, reservation).await;
            // The response may have been superseded by a duplicate of this turn.
            return match store::turn::find(&app.db, chat_request.turn_id).await {
                Ok(Some(_)) => Ok(None),
                Ok(None) => Err(Problem::new(ProblemKind::Conflict, "This response is already being regenerated.")),
                Err(error) => Err(internal(&error)),
            };
        }
        Err(error) => {
            release(app, reservation).await;
            return Err(internal(&error));
        }
    };
    let written = Written {
        turn_id: chat_request.turn_id,
        fallback_for: None,
        beside: hedge_after.and(fallback.as_ref()).map(|fallback| fallback.estimated).unwrap_or_default(),
        hedge_after,
        other: None,
        estimated: counted.estimated,
        most: Tokens(permit.output()),
        viewer,
        conversation_id,
        began,
        prompt,
        call,
        model,
        price,
        fallback,
        reservation,
    };
    // The meters may have been lost between admission and the row, and granted again without this turn (field note 101): no provider is
    // called on an unconfirmed hold. From here on the row is part of every rebuild.
    let confirmed = app.meters.confirm(&written.reservation).await;
    match confirmed {
        Ok(true) => Ok(Some(written)),
        // The hold lapsed or was lost.
        Ok(false) => {
            undo(app, written, Bill::Nothing, false).await;
            Err(Problem::limits_unavailable())
        }
        Err(error) => {
            undo(app, written, Bill::Nothing, false).await;
            Err(Refused::from(error).0)
        }
    }
}

/// Opens the stream of the turn's model, or of its fallback.
pub(crate) async fn open(app: &AppState, mut written: Written, log: &Writer) -> Result<Opened, Problem> {
    let opening = if let Some(after) = written.hedge_after {
        super::hedge::open(app, &mut written, after, log).await
    } else {
        let sent = Instant::now();
        attempt(app, &written, log).await.map(|chunks| (sent, chunks))
    };
    let mut failed = match opening {
        Ok((sent, chunks)) => return Ok(opened(written, sent, chunks)),
        Err(failed) => failed,
    };
    if let Failed::Provider(error) = &failed
        && error.wants_fallback()
        && fall_back(app, &mut written, error.was_asked()).await
    {
        tracing::warn!(?error, model = %written.model.name, "fallback model is called");
        metrics::counter!("quotient_fallbacks_total").increment(1);
        let sent = Instant::now();
        failed = match attempt(app, &written, log).await {
            Ok(chunks) => return Ok(opened(written, sent, chunks)),
            Err(failed) => failed,
        };
    }
    let provider_failed = matches!(&failed, Failed::Provider(error) if error.was_asked());
    let (problem, bill) = match failed {
        Failed::Provider(error) if error.may_bill() => {
            let other = written.other.as_ref().map(|other| other.estimated).unwrap_or_default();
            (error.problem(written.estimated + other), Bill::Input)
        }
        Failed::Provider(error) if error.was_asked() => (error.problem(written.estimated), Bill::Request),
        Failed::Provider(error) => (error.problem(written.estimated), Bill::Nothing),
        Failed::Over(problem, true) => (problem, Bill::Input),
        Failed::Over(problem, false) => (problem, Bill::Request),
    };
    undo(app, written, bill, provider_failed).await;
    Err(problem)
}

fn opened(written: Written, sent: Instant, chunks: Chunks) -> Opened {
    let Written {
        viewer,
        turn_id,
        conversation_id,
        call,
        model,
        fallback_for,
        other,
        beside,
        price,
        estimated,
        most,
        reservation,
        ..
    } = written;
    Opened {
        viewer,
        turn_id,
        conversation_id,
        call,
        model,
        fallback_for,
        other,
        beside,
        price,
        estimated,
        most,
        reservation,
        sent,
        chunks,
    }
}

/// The reason an attempt failed.
pub(super) enum Failed {
    /// The provider failed or refused the call.
    Provider(crate::provider::NotOpened),
    /// The turn was stopped or may not continue. The flag tells whether its request is outstanding, so that it may be billed.
    Over(Problem, bool),
}

/// What a failed call may have cost.
enum Bill {
    /// The provider wasn't called.
    Nothing,
    /// The provider refused the call. It cost nothing but counts as a request, so that refusals don't bypass the limit (field note 100).
    Request,
    /// The call was sent and its provider may have begun: at least the input, estimated.
    Input,
}

/// Calls the turn's current model. Until its response begins, renews the turn's lease and listens for a stop.
pub(super) async fn attempt(app: &AppState, written: &Written, log: &Writer) -> Result<Chunks, Failed> {
    let outstanding = AtomicBool::default();
    let messages = &written.prompt.messages;
    let opening = app.providers.open(&written.reservation.permit, &written.model, messages, written.most, &outstanding);
    tokio::select! {
        opened = opening => {
            crate::fault::point("sent");
            opened.map_err(Failed::Provider)
        }
        problem = interrupted(app, written, log) => Err(Failed::Over(problem, outstanding.load(Ordering::Relaxed))),
    }
}

/// Renews the turn's lease. Returns the problem once the turn is stopped or may not continue.
pub(super) async fn interrupted(app: &AppState, written: &Written, log: &Writer) -> Problem {
    tokio::select! {
        () = log.stopped() => Problem::stopped(),
        () = app.cut.cancelled() => Problem::restarting(),
        // A provider may take longer to begin than a lease lasts. Another server then considered this turn dead and ended it.
        () = renew_lease(app, written.turn_id, &written.reservation, FIRST_BEAT) => Problem::lost(),
    }
}

/// Closes the failed call and writes one of the fallback's. Returns `false` if there is no fallback.
async fn fall_back(app: &AppState, written: &mut Written, provider_failed: bool) -> bool {
    let Some(fallback) = written.fallback.take() else { return false };
    let again = FallbackCall {
        turn_id: written.turn_id,
        failed: written.call,
        provider_failed,
        model: &fallback.model.name,
        price_id: fallback.price.tier(fallback.estimated).id,
        estimated: fallback.estimated,
        now: AppState::now(),
    };
    match store::turn::add_fallback_call(&app.db, &again).await {
        Ok(Some(call)) => {
            written.answer_with(fallback, call, Tokens(0));
            true
        }
        // The reaper has ended this turn.
        Ok(None) => false,
        Err(error) => {
            internal(&error);
            false
        }
    }
}

/// Undoes a written turn. What it may have cost is recorded as an estimate.
async fn undo(app: &AppState, written: Written, bill: Bill, provider_failed: bool) {
    let usage = match bill {
        Bill::Nothing | Bill::Request => None,
        Bill::Input => Some(Usage { input: written.estimated, ..Usage::default() }),
    };
    let cost = usage.map(|usage| written.price.price(&usage).1).unwrap_or_default();
    let refused = store::turn::Refused {
        turn_id: written.turn_id,
        conversation_id: written.conversation_id,
        began: written.began,
        call: written.call,
        provider_failed,
        usage,
        cost,
        now: AppState::now(),
    };
    if let Err(error) = store::turn::refused(&app.db, &refused).await {
        // The row stays pending, and so does its hold; the reaper ends both.
        internal(&error);
        return;
    }
    let done = match (bill, written.other) {
        (Bill::Nothing, None) => release(app, written.reservation).await,
        (_, other) => {
            let used = usage.map(|usage| usage.counted()).unwrap_or_default();
            let spent = Spent::on(used, written.model.name, cost).and(other);
            app.meters.settle(written.reservation, &spent).await.is_ok()
        }
    };
    // Otherwise the ended turn is kept, and the reaper settles its hold.
    if done && let Err(error) = store::turn::undone(&app.db, written.turn_id).await {
        internal(&error);
    }
}

async fn release(app: &AppState, reservation: Reservation) -> bool {
    app.meters.release(reservation).await.inspect_err(|error| tracing::warn!(%error, "hold not released")).is_ok()
}
