//! A running turn: relay, close, record, settle, finish. It belongs to the server, so a closed tab doesn't affect it.

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

/// Interval of a running turn's heartbeat.
pub(crate) const BEAT: Duration = Duration::from_secs(10);
/// Delay of the first heartbeat. An unconfirmed hold lapses after ten seconds.
pub(crate) const FIRST_BEAT: Duration = Duration::from_secs(3);
/// Upper bound of a plausible token count. Larger counts from a provider are clamped to it.
const MAX_TOKENS: Tokens = Tokens(1 << 24);
/// Maximum number of attempts to record a turn in Postgres. After that the reaper ends it.
const RECORD_TRIES: u32 = 6;
/// Maximum number of received chunks processed at once. They are combined into one event and one write.
const AT_ONCE: usize = 64;

/// The state of a running turn.
pub(crate) struct Running {
    pub viewer: Viewer,
    pub turn_id: TurnId,
    pub conversation_id: ConversationId,
    pub call: PendingCall,
    pub model: Model,
    /// The abandoned call of a hedged turn.
    pub other: Option<OtherCall>,
    /// The part of the reservation that covers the abandoned call.
    pub beside: Tokens,
    pub price: PriceList,
    pub estimated: Tokens,
    /// Maximum output.
    pub most: Tokens,
    pub reservation: Reservation,
    /// When the request was sent.
    pub sent: Instant,
    pub chunks: Chunks,
    pub log: Writer,
}

/// The response received so far.
#[derive(Default)]
struct Answer {
    text: String,
    reasoning: String,
    /// The provider's latest token counts.
    usage: Option<Usage>,
    /// The provider's id of the call.
    request_id: Option<String>,
    /// Milliseconds from sending the request to the first text or reasoning.
    ttft_ms: Option<i32>,
    /// How the response ended; `None` while it is in progress.
    ending: Option<Ending>,
}

/// How a response ended.
enum Ending {
    /// The provider completed it, so its latest token counts are final.
    Ended(Outcome),
    /// The user stopped it.
    Stopped,
    /// It was cut off at the granted length.
    Cut,
    /// The provider's stream broke off.
    Broke(ProviderError),
    /// This server canceled it, or another server considered it dead and ended it.
    Ours(Problem),
}

impl Answer {
    /// Processes one chunk. Text and reasoning are appended to `events`; chunks that arrived together are combined into one event.
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

    /// Returns the problem shown to the user, or `None` if the response didn't fail.
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
    // Relay.
    let answer = relay(&app, &mut turn).await;
    crate::fault::point("done-unrecorded");
    // Close.
    let (usage, source) = close(&turn, &answer);
    let (price_id, cost) = turn.price.price(&usage);
    // Record: Postgres is the source of truth.
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
            // Settle the meters.
            let before = turn.reservation.permit.snapshot().clone();
            let spent = Spent::on(usage.counted(), turn.model.name, cost).and(turn.other);
            let total = spent.costs.iter().fold(Picos::ZERO, |sum, (_, cost)| sum.plus(*cost));
            let snapshot = settle(&app, turn.turn_id, turn.reservation, &spent).await.unwrap_or(before);
            // Finish.
            final_event(&turn.viewer, &answer, usage, source, total, &snapshot)
        }
        // The reaper will end this turn as lost, so the client must not see it as finished.
        Err(problem) => TurnEvent::Failed { problem },
    };
    turn.log.append(&[last]).await;
}

/// Settles the meters. If this fails, the reaper settles them later.
async fn settle(app: &AppState, turn_id: TurnId, reservation: Reservation, spent: &Spent) -> Option<Snapshot> {
    let settled = app.meters.settle(reservation, spent).await;
    let snapshot = settled.inspect_err(|error| tracing::warn!(%error, turn = %turn_id, "not settled yet")).ok()?;
    app.note_settled(turn_id);
    Some(snapshot)
}

/// Passes chunks on until the response ends, is stopped or cut off, or breaks off.
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
    // Dropped when this function returns, which cancels the call.
    let mut chunks = std::mem::replace(&mut turn.chunks, stream::empty().boxed()).ready_chunks(AT_ONCE);
    let stopped = turn.log.stopped();
    // Runs concurrently with the stream, which must not wait for Postgres.
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
            // Postgres was unavailable for so long that another server ended this turn. Further output would not be charged.
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

/// Passes withheld text on if the provider's count proves that the response stayed within its grant, otherwise removes it.
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
    // From the end, because each event is the end of the text it was appended to.
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

/// Appends an event, or its text to a preceding event of the same kind.
fn join(events: &mut Vec<TurnEvent>, event: TurnEvent) {
    match (events.last_mut(), event) {
        (Some(TurnEvent::Delta { text }), TurnEvent::Delta { text: more })
        | (Some(TurnEvent::Reasoning { text }), TurnEvent::Reasoning { text: more }) => text.push_str(&more),
        (_, event) => events.push(event),
    }
}

/// Renews a turn's lease and confirms its holds, first after `first`, then every ten seconds. Returns only once another server has ended
/// the turn.
pub(crate) async fn renew_lease(app: &AppState, turn_id: TurnId, reservation: &Reservation, first: Duration) {
    let mut beat = tokio::time::interval_at(Instant::now() + first, BEAT);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        beat.tick().await;
        if !heartbeat(app, turn_id, reservation).await {
            return;
        }
    }
}

/// Renews the lease and confirms the holds. Returns `false` if the turn was ended by another server. Missing holds are rebuilt from the
/// ledger: Redis was flushed, or unavailable for so long that they lapsed.
async fn heartbeat(app: &AppState, turn_id: TurnId, reservation: &Reservation) -> bool {
    let confirmed = match app.meters.confirm(reservation).await {
        Ok(false) => app.meters.rebuild(reservation).await,
        result => result.map(drop),
    };
    if let Err(error) = confirmed {
        tracing::warn!(%error, turn = %turn_id, "failed to confirm holds");
    }
    store::turn::beat(&app.db, turn_id).await.unwrap_or_else(|error| {
        tracing::warn!(%error, turn = %turn_id, "failed to renew the lease");
        true
    })
}

/// Clamps a provider's token counts to plausible values.
fn clamped(usage: Usage) -> Usage {
    Usage {
        input: usage.input.min(MAX_TOKENS),
        cache_read: usage.cache_read.min(MAX_TOKENS),
        cache_write: usage.cache_write.min(MAX_TOKENS),
        output: usage.output.min(MAX_TOKENS),
        reasoning: usage.reasoning.min(usage.output).min(MAX_TOKENS),
    }
}

/// Removes NUL characters, which Postgres can't store.
fn storable(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "") } else { text }
}

/// Returns the provider's token counts if it completed the response, otherwise an estimate of what was sent and streamed (field notes 20 to
/// 22). An estimate is never below what was streamed, nor above what the turn had reserved (field note 102).
fn close(turn: &Running, answer: &Answer) -> (Usage, UsageSource) {
    let ended = matches!(answer.ending, Some(Ending::Ended(_)));
    if let Some(usage) = answer.usage.filter(|usage| ended && usage.output > Tokens(0)) {
        return (usage, UsageSource::Exact);
    }
    let mut usage = answer.usage.unwrap_or_default();
    // Some providers report no input tokens, or zero, before the end.
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

/// Records the end of a turn, retrying while Postgres is unavailable. Returns the problem shown to the user if it can't be recorded, or if
/// another server considered this turn dead and ended it.
async fn record(app: &AppState, end: &Record<'_>) -> Result<(), Problem> {
    let mut problem = Problem::overloaded();
    for tried in 0..RECORD_TRIES {
        match store::turn::record(&app.db, end).await {
            Ok(true) => return Ok(()),
            Ok(false) => return Err(Problem::lost()),
            Err(error) => problem = internal(&error),
        }
        // During shutdown there is no time to wait; another server's reaper ends the turn.
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
