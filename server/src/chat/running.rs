//! A turn that runs: relay, close, record, settle, finish. It belongs to the server, and a closed tab changes nothing.

use super::opening::OtherCall;
use super::overrun::Overrun;
use crate::AppState;
use crate::error::internal;
use crate::meters::{Reservation, Spent};
use crate::provider::broken_problem;
use app::api::context::quota_of;
use domain::{
    ConversationId, Model, Outcome, Picos, PriceList, Problem, Tokens, TurnEvent, TurnId, Usage, UsageSource, Viewer,
};
use futures::{StreamExt as _, stream};
use limits::Snapshot;
use providers::{Chunk, Chunks, End, ProviderError, estimate};
use relay::Writer;
use std::time::Duration;
use store::turn::{PendingCall, Record};
use tokio::time::Instant;

/// How often a running turn says that it is alive.
pub(crate) const BEAT: Duration = Duration::from_secs(10);
/// When it says so first: an unconfirmed hold lapses after ten seconds.
pub(crate) const FIRST_BEAT: Duration = Duration::from_secs(3);
/// More tokens than any model counts: what a provider tells beyond is no count.
const MOST: Tokens = Tokens(1 << 24);
/// How often a record is tried that Postgres didn't take; the reaper ends what is left then.
const RECORD_TRIES: u32 = 6;
/// How many pieces that have arrived already are taken at once: they go on as one event and one write.
const AT_ONCE: usize = 64;

/// Everything a running turn owns.
pub(crate) struct Running {
    pub viewer: Viewer,
    pub turn_id: TurnId,
    pub conversation_id: ConversationId,
    pub call: PendingCall,
    pub model: Model,
    /// The call of a hedged turn that was given up.
    pub other: Option<OtherCall>,
    /// The part of the reservation that is for that call.
    pub beside: Tokens,
    pub price: PriceList,
    pub estimated: Tokens,
    /// The longest answer.
    pub most: Tokens,
    pub reservation: Reservation,
    /// When the provider was asked.
    pub sent: Instant,
    pub chunks: Chunks,
    pub log: Writer,
}

/// An answer as far as it came.
#[derive(Default)]
struct Answer {
    text: String,
    reasoning: String,
    /// The provider's latest count.
    usage: Option<Usage>,
    /// The provider's name for the call.
    request_id: Option<String>,
    /// Milliseconds from sending the request to the first text or reasoning.
    ttft_ms: Option<i32>,
    /// How it ended; none while it runs.
    ending: Option<Ending>,
}

/// How an answer ended.
enum Ending {
    /// The provider's own end came, so its latest count is complete.
    Ended(Outcome),
    /// The user stopped it.
    Stopped,
    /// It was cut at the length that was granted.
    Cut,
    /// The provider broke off.
    Broke(ProviderError),
    /// This server ended it, or another server took it for dead.
    Ours(Problem),
}

impl Answer {
    /// Takes one piece in. Text and reasoning are appended to `events`; pieces that arrived together become one event.
    fn absorb(&mut self, chunk: Result<Chunk, ProviderError>, events: &mut Vec<TurnEvent>) {
        match chunk {
            Ok(Chunk::Id(id)) => self.request_id = Some(id),
            Ok(Chunk::Usage(usage)) => self.usage = Some(clamped(usage)),
            Ok(Chunk::Text(text)) => {
                let text = storable(text);
                self.text.push_str(&text);
                join(events, TurnEvent::Delta { text });
            }
            Ok(Chunk::Reasoning(text)) => {
                let text = storable(text);
                self.reasoning.push_str(&text);
                join(events, TurnEvent::Reasoning { text });
            }
            Ok(Chunk::End(End::Done)) => self.ending = Some(Ending::Ended(Outcome::Finished)),
            Ok(Chunk::End(End::Length)) => self.ending = Some(Ending::Ended(Outcome::Truncated)),
            Err(error) => self.ending = Some(Ending::Broke(error)),
        }
    }

    fn outcome(&self) -> Outcome {
        match &self.ending {
            Some(Ending::Ended(outcome)) => *outcome,
            Some(Ending::Stopped) => Outcome::Stopped,
            Some(Ending::Cut) => Outcome::Truncated,
            Some(Ending::Broke(_) | Ending::Ours(_)) | None => Outcome::Failed,
        }
    }

    fn provider_failed(&self) -> bool {
        matches!(self.ending, Some(Ending::Broke(_)))
    }

    /// The problem shown to the user; none if it is no failure.
    fn problem(&self) -> Option<Problem> {
        match &self.ending {
            Some(Ending::Broke(error)) => Some(broken_problem(error, !self.text.is_empty())),
            Some(Ending::Ours(problem)) => Some(problem.clone()),
            None => Some(Problem::model_failed()),
            Some(_) => None,
        }
    }
}

/// Runs a turn to its end.
pub(crate) async fn run(app: AppState, mut turn: Running) {
    // 9 relay
    let answer = relay(&app, &mut turn).await;
    crate::fault::point("done-unrecorded");
    // 10 close
    let (usage, source) = close(&turn, &answer);
    let (price_id, cost) = turn.price.price(&usage);
    // 11 record: Postgres is the truth
    let end = Record {
        turn_id: turn.turn_id,
        conversation_id: Some(turn.conversation_id),
        call: turn.call,
        model: &turn.model.name,
        text: &answer.text,
        outcome: answer.outcome(),
        usage: &usage,
        source,
        price_id,
        cost,
        provider_request_id: answer.request_id.as_deref(),
        provider_failed: answer.provider_failed(),
        ttft_ms: answer.ttft_ms,
        other_failed: turn.other.as_ref().is_some_and(|other| other.has_failed),
        now: AppState::now(),
    };
    let recorded = record(&app, &end).await;
    crate::fault::point("recorded-unsettled");
    metrics::counter!("quotient_turns_total", "outcome" => answer.outcome().as_str()).increment(1);
    let last = match recorded {
        Ok(()) => {
            // 12 settle: the meter follows
            let before = turn.reservation.permit.snapshot().clone();
            let spent = Spent::on(usage.counted(), turn.model.name, cost).and(turn.other);
            let total = spent.costs.iter().fold(Picos::ZERO, |sum, (_, cost)| sum.plus(*cost));
            let snapshot = settle(&app, turn.turn_id, turn.reservation, &spent).await.unwrap_or(before);
            // 13 finish
            final_event(&turn.viewer, &answer, usage, source, total, &snapshot)
        }
        // The ledger will call this turn lost, so the client isn't told that it finished.
        Err(problem) => TurnEvent::Failed { problem },
    };
    turn.log.append(&[last]).await;
}

/// Settles the meter; what fails is tried again by the reaper.
async fn settle(app: &AppState, turn_id: TurnId, reservation: Reservation, spent: &Spent) -> Option<Snapshot> {
    let settled = app.meters.settle(reservation, spent).await;
    let snapshot = settled.inspect_err(|error| tracing::warn!(%error, turn = %turn_id, "not settled yet")).ok()?;
    app.note_settled(turn_id);
    Some(snapshot)
}

/// Passes chunks on until the answer ends, is stopped, is cut, or breaks.
async fn relay(app: &AppState, turn: &mut Running) -> Answer {
    let mut answer = Answer::default();
    let mut overrun = Overrun::new(turn.most);
    pass_on(app, turn, &mut answer, &mut overrun).await;
    if answer.provider_failed() {
        app.providers.broke(&turn.model);
    }
    show_or_cut(turn, &mut answer, overrun.withheld).await;
    answer
}

async fn pass_on(app: &AppState, turn: &mut Running, answer: &mut Answer, overrun: &mut Overrun) {
    // Dropped with this function, which cancels the call.
    let mut chunks = std::mem::replace(&mut turn.chunks, stream::empty().boxed()).ready_chunks(AT_ONCE);
    let stopped = turn.log.stopped();
    // Beside the stream, which must not wait for Postgres.
    let lease = renew_lease(app, turn.turn_id, &turn.reservation, FIRST_BEAT);
    tokio::pin!(stopped, lease);
    while answer.ending.is_none() {
        let arrived = tokio::select! {
            arrived = chunks.next() => arrived,
            () = &mut stopped => {
                answer.ending = Some(Ending::Stopped);
                return;
            }
            () = app.cut.cancelled() => {
                answer.ending = Some(Ending::Ours(Problem::cut_by_restart()));
                return;
            }
            // Postgres was away for so long that another server ended this turn: nobody would pay for more.
            () = &mut lease => {
                answer.ending = Some(Ending::Ours(Problem::lost()));
                return;
            }
        };
        let mut events = Vec::new();
        for chunk in arrived.unwrap_or_else(|| vec![Err(ProviderError::Broke("no end".into()))]) {
            answer.absorb(chunk, &mut events);
        }
        if !events.is_empty() && answer.ttft_ms.is_none() {
            answer.ttft_ms = i32::try_from(turn.sent.elapsed().as_millis()).ok();
        }
        let events = overrun.filter(events, &answer.text, &answer.reasoning);
        turn.log.append(&events).await;
        if !events.is_empty() {
            crate::fault::point("mid-stream");
        }
        if answer.ending.is_none() && overrun.counted > overrun.read_until {
            answer.ending = Some(Ending::Cut);
        }
    }
}

/// Shows withheld text where the provider's count proves that the answer stayed within its grant, else takes it away.
async fn show_or_cut(turn: &mut Running, answer: &mut Answer, withheld: Vec<TurnEvent>) {
    if withheld.is_empty() {
        return;
    }
    let is_within = matches!(answer.ending, Some(Ending::Ended(_)))
        && answer.usage.is_some_and(|usage| usage.output > Tokens(0) && usage.output <= turn.most);
    if is_within {
        turn.log.append(&withheld).await;
        return;
    }
    // From the end, so that each is the end of what it was appended to.
    for event in withheld.into_iter().rev() {
        let (from, text) = match &event {
            TurnEvent::Delta { text } => (&mut answer.text, text),
            TurnEvent::Reasoning { text } => (&mut answer.reasoning, text),
            _ => continue,
        };
        from.truncate(from.len() - text.len());
    }
    if matches!(answer.ending, Some(Ending::Ended(Outcome::Finished))) {
        answer.ending = Some(Ending::Ended(Outcome::Truncated));
    }
}

/// Adds an event, or its text to the event of the same kind before it.
fn join(events: &mut Vec<TurnEvent>, event: TurnEvent) {
    match (events.last_mut(), event) {
        (Some(TurnEvent::Delta { text }), TurnEvent::Delta { text: more })
        | (Some(TurnEvent::Reasoning { text }), TurnEvent::Reasoning { text: more }) => text.push_str(&more),
        (_, event) => events.push(event),
    }
}

/// Renews a turn's lease and confirms its holds, first after `first`, then every ten seconds. Ready only once another server has
/// ended the turn.
pub(crate) async fn renew_lease(app: &AppState, turn_id: TurnId, reservation: &Reservation, first: Duration) {
    let mut beat = tokio::time::interval_at(Instant::now() + first, BEAT);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        beat.tick().await;
        if !alive(app, turn_id, reservation).await {
            return;
        }
    }
}

/// Says that a turn is alive, and that its holds stand; false where it has been taken for dead. Holds that are missing are built from the
/// ledger again: Redis was flushed, or it was away for so long that they lapsed.
async fn alive(app: &AppState, turn_id: TurnId, reservation: &Reservation) -> bool {
    let confirmed = match app.meters.confirm(reservation).await {
        Ok(false) => app.meters.rebuild(reservation).await,
        told => told.map(drop),
    };
    if let Err(error) = confirmed {
        tracing::warn!(%error, turn = %turn_id, "hold not confirmed");
    }
    store::turn::beat(&app.db, turn_id).await.unwrap_or_else(|error| {
        tracing::warn!(%error, turn = %turn_id, "no sign of life written");
        true
    })
}

/// A provider's count within the bounds of what can be one.
fn clamped(usage: Usage) -> Usage {
    Usage {
        input: usage.input.min(MOST),
        cache_read: usage.cache_read.min(MOST),
        cache_write: usage.cache_write.min(MOST),
        output: usage.output.min(MOST),
        reasoning: usage.reasoning.min(usage.output).min(MOST),
    }
}

/// What Postgres can keep: any text but the NUL character.
fn storable(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "") } else { text }
}

/// The provider's count where it came to its own end, else an estimate of what was sent and streamed (field notes 20 to 22). An
/// estimate is never below what was streamed, nor above what the turn had reserved (field note 102).
fn close(turn: &Running, answer: &Answer) -> (Usage, UsageSource) {
    let ended = matches!(answer.ending, Some(Ending::Ended(_)));
    if let Some(usage) = answer.usage.filter(|usage| ended && usage.output > Tokens(0)) {
        return (usage, UsageSource::Exact);
    }
    let mut usage = answer.usage.unwrap_or_default();
    // Some providers count no input before the end, or zero.
    if usage.prompt() == Tokens(0) {
        usage.input = turn.estimated;
    }
    let reasoning = estimate::answer(turn.model.provider, &answer.reasoning);
    let streamed = estimate::answer(turn.model.provider, &answer.text) + reasoning;
    let taken = usage.prompt() + turn.beside;
    let reserved = Tokens(turn.reservation.permit.reserved().saturating_sub(taken.0));
    usage.output = usage.output.max(streamed.min(reserved));
    usage.reasoning = usage.reasoning.max(reasoning).min(usage.output);
    (usage, UsageSource::Estimated)
}

/// Writes the end, trying again while Postgres is away. Returns the user's problem if it can't be written, or where another
/// server took this turn for dead and has ended it.
async fn record(app: &AppState, end: &Record<'_>) -> Result<(), Problem> {
    let mut problem = Problem::overloaded();
    for tried in 0..RECORD_TRIES {
        match store::turn::record(&app.db, end).await {
            Ok(true) => return Ok(()),
            Ok(false) => return Err(Problem::lost()),
            Err(error) => problem = internal(&error),
        }
        // While this server ends there is no time to wait; the reaper of another one ends the turn.
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(250 << tried)) => {}
            () = app.cut.cancelled() => break,
        }
    }
    Err(Problem::not_recorded(problem.incident))
}

fn final_event(
    viewer: &Viewer,
    answer: &Answer,
    usage: Usage,
    source: UsageSource,
    cost: Picos,
    snapshot: &Snapshot,
) -> TurnEvent {
    if let Some(problem) = answer.problem() {
        return TurnEvent::Failed { problem };
    }
    TurnEvent::Finish {
        outcome: answer.outcome(),
        usage,
        usage_source: source,
        cost_usd: viewer.plan.shows_cost.then(|| cost.exact()),
        quota: quota_of(&viewer.plan, snapshot),
    }
}
