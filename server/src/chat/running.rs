//! A turn that runs: relay, close, record, settle, finish. It belongs to the server, and a closed tab changes nothing.

use crate::House;
use crate::error::internal;
use crate::meters::Leave;
use crate::vendor::told;
use app::api::context::quota_of;
use domain::{
    ConversationId, Model, ModelName, Outcome, Picos, PriceList, Problem, Tokens, TurnEvent, TurnId, Usage,
    UsageSource, Viewer,
};
use futures::{StreamExt as _, stream};
use limits::Picture;
use providers::{Chunk, Chunks, End, VendorError, estimate};
use relay::Writer;
use std::time::Duration;
use store::turn::{PendingCall, Record};
use tokio::time::Instant;

/// How often a running turn says that it is alive.
pub(crate) const BEAT: Duration = Duration::from_secs(10);
/// When it says so first: an unconfirmed hold lapses after ten seconds.
pub(crate) const FIRST_BEAT: Duration = Duration::from_secs(3);
/// More tokens than any model counts: what a vendor tells beyond is no count.
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
    pub price: PriceList,
    pub estimated: Tokens,
    /// The longest answer.
    pub most: Tokens,
    pub leave: Leave,
    /// When the vendor was asked.
    pub sent: Instant,
    pub chunks: Chunks,
    pub log: Writer,
}

/// What came of it.
struct Answer {
    text: String,
    reasoning: String,
    /// The vendor's last word on usage.
    usage: Option<Usage>,
    /// The vendor's name for the call.
    request_id: Option<String>,
    /// From asking to the first words, in milliseconds.
    first_ms: Option<i32>,
    outcome: Outcome,
    /// Whether the vendor's own end came: then its last word on usage is the whole truth.
    vendor_ended: bool,
    /// Whether it was the vendor who didn't answer to the end.
    vendor_failed: bool,
    /// What a person is told of a failure.
    problem: Option<Problem>,
}

/// Runs a turn to its end.
pub(crate) async fn run(house: House, mut turn: Running) {
    // 9 relay
    let answer = relay(&house, &mut turn).await;
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
        outcome: answer.outcome,
        usage: &usage,
        source,
        price_id,
        cost,
        provider_request_id: answer.request_id.as_deref(),
        vendor_failed: answer.vendor_failed,
        first_ms: answer.first_ms,
        now: House::now(),
    };
    let recorded = record(&house, &end).await;
    crate::fault::point("recorded-unsettled");
    // 12 settle: the meter follows
    let before = turn.leave.permit.picture().clone();
    let picture = match recorded {
        true => {
            settle(&house, turn.turn_id, turn.leave, (usage.counted(), &turn.model.name, cost)).await.unwrap_or(before)
        }
        false => before,
    };
    // 13 finish
    metrics::counter!("quotient_turns_total", "outcome" => answer.outcome.as_str()).increment(1);
    turn.log.append(&[last_word(&turn.viewer, answer, usage, source, cost, &picture)]).await;
}

/// Settles the meter; what fails is tried again by the reaper.
async fn settle(
    house: &House,
    turn_id: TurnId,
    leave: Leave,
    (used, answered, cost): (Tokens, &ModelName, Picos),
) -> Option<Picture> {
    let settled = house.meters.settle(leave, used, answered, cost).await;
    let picture = settled.inspect_err(|error| tracing::warn!(%error, turn = %turn_id, "not settled yet")).ok()?;
    house.note_settled(turn_id);
    Some(picture)
}

/// Passes chunks on until the answer ends, is stopped, is cut, or breaks.
async fn relay(house: &House, turn: &mut Running) -> Answer {
    let mut answer = Answer {
        text: String::new(),
        reasoning: String::new(),
        usage: None,
        request_id: None,
        first_ms: None,
        outcome: Outcome::Failed,
        vendor_ended: false,
        vendor_failed: false,
        problem: None,
    };
    // Our vocabulary isn't the vendor's: an eighth and a little more, so that nobody who keeps to the limit is cut.
    let granted = turn.most.0;
    let ceiling = Tokens(granted + granted / 8 + 16);
    let mut said = Tokens(0);
    // Dropped with this function, which cancels the call.
    let mut chunks = std::mem::replace(&mut turn.chunks, stream::empty().boxed()).ready_chunks(AT_ONCE);
    let stopped = turn.log.stopped();
    tokio::pin!(stopped);
    let mut beat = tokio::time::interval_at(Instant::now() + FIRST_BEAT, BEAT);
    loop {
        let arrived = tokio::select! {
            arrived = chunks.next() => arrived,
            () = &mut stopped => {
                answer.outcome = Outcome::Stopped;
                return answer;
            }
            () = house.cut.cancelled() => {
                answer.problem = Some(Problem::model_failed());
                return answer;
            }
            _ = beat.tick() => {
                if alive(house, turn.turn_id, &turn.leave).await {
                    continue;
                }
                // Postgres was away for so long that another server ended this turn: nobody would pay for more.
                answer.problem = Some(Problem::model_failed());
                return answer;
            }
        };
        let Some(arrived) = arrived else {
            house.vendors.broke(&turn.model);
            answer.vendor_failed = true;
            answer.problem = Some(told(&VendorError::Broke("no end".into())));
            return answer;
        };
        let (mut events, mut is_over) = (Vec::new(), false);
        for chunk in arrived {
            match chunk {
                Ok(Chunk::Id(id)) => answer.request_id = Some(id),
                Ok(Chunk::Usage(usage)) => answer.usage = Some(sane(usage)),
                Ok(Chunk::Text(text)) => say(&mut events, TurnEvent::Delta { text: storable(text) }),
                Ok(Chunk::Reasoning(text)) => say(&mut events, TurnEvent::Reasoning { text: storable(text) }),
                Ok(Chunk::End(end)) => {
                    answer.vendor_ended = true;
                    answer.outcome = match end {
                        End::Done => Outcome::Finished,
                        End::Length => Outcome::Truncated,
                    };
                    is_over = true;
                }
                Err(error) => {
                    house.vendors.broke(&turn.model);
                    answer.vendor_failed = true;
                    answer.problem = Some(told(&error));
                    is_over = true;
                }
            }
        }
        for event in &events {
            match event {
                TurnEvent::Delta { text } => {
                    said = said + estimate::text(text);
                    answer.text.push_str(text);
                }
                TurnEvent::Reasoning { text } => {
                    said = said + estimate::text(text);
                    answer.reasoning.push_str(text);
                }
                _ => {}
            }
        }
        if !events.is_empty() && answer.first_ms.is_none() {
            answer.first_ms = i32::try_from(turn.sent.elapsed().as_millis()).ok();
        }
        turn.log.append(&events).await;
        if !events.is_empty() {
            crate::fault::point("mid-stream");
        }
        if is_over {
            return answer;
        }
        // A server that ignores `max_tokens` is cut: nothing runs beyond its permit (field note 18). Pieces counted one
        // by one come to more than the whole, so the whole is counted before that is done.
        if said > ceiling {
            said = estimate::text(&answer.text) + estimate::text(&answer.reasoning);
            if said > ceiling {
                answer.outcome = Outcome::Truncated;
                return answer;
            }
        }
    }
}

/// Adds what was said to what has just been said before it: what arrived together is one event.
fn say(events: &mut Vec<TurnEvent>, event: TurnEvent) {
    match (events.last_mut(), event) {
        (Some(TurnEvent::Delta { text }), TurnEvent::Delta { text: more })
        | (Some(TurnEvent::Reasoning { text }), TurnEvent::Reasoning { text: more }) => text.push_str(&more),
        (_, event) => events.push(event),
    }
}

/// Says that a turn is alive, and that its holds stand; false where it has been taken for dead. Holds that are missing are built from the
/// ledger again: Redis was flushed, or it was away for so long that they lapsed.
pub(crate) async fn alive(house: &House, turn_id: TurnId, leave: &Leave) -> bool {
    let confirmed = match house.meters.confirm(leave).await {
        Ok(false) => house.meters.rebuild(leave).await,
        told => told.map(drop),
    };
    if let Err(error) = confirmed {
        tracing::warn!(%error, turn = %turn_id, "hold not confirmed");
    }
    store::turn::beat(&house.db, turn_id, House::now()).await.unwrap_or_else(|error| {
        tracing::warn!(%error, turn = %turn_id, "no sign of life written");
        true
    })
}

/// A vendor's count, as far as it can be one.
fn sane(told: Usage) -> Usage {
    Usage {
        input: told.input.min(MOST),
        cache_read: told.cache_read.min(MOST),
        cache_write: told.cache_write.min(MOST),
        output: told.output.min(MOST),
        reasoning: told.reasoning.min(told.output).min(MOST),
    }
}

/// What Postgres can keep: any text but the NUL character.
fn storable(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "") } else { text }
}

/// The vendor's word where it came to its own end, else what was sent and streamed, never less (field notes 20 to 22).
fn close(turn: &Running, answer: &Answer) -> (Usage, UsageSource) {
    match answer.usage {
        Some(usage) if answer.vendor_ended && usage.output > Tokens(0) => (usage, UsageSource::Exact),
        told => {
            let mut usage = told.unwrap_or_default();
            // Some tell nothing of the input before the end, or nought.
            if usage.prompt() == Tokens(0) {
                usage.input = turn.estimated;
            }
            let reasoning = estimate::answer(turn.model.vendor, &answer.reasoning);
            let streamed = estimate::answer(turn.model.vendor, &answer.text) + reasoning;
            usage.output = usage.output.max(streamed);
            usage.reasoning = usage.reasoning.max(reasoning).min(usage.output);
            (usage, UsageSource::Estimated)
        }
    }
}

/// Writes the end, trying again while Postgres is away.
async fn record(house: &House, end: &Record<'_>) -> bool {
    for tried in 0..RECORD_TRIES {
        match store::turn::record(&house.db, end).await {
            Ok(true) => return true,
            // The reaper took us for dead and ended the row; it has settled too.
            Ok(false) => return false,
            Err(error) => {
                internal(&error);
                tokio::time::sleep(Duration::from_millis(250 << tried)).await;
            }
        }
    }
    false
}

fn last_word(
    viewer: &Viewer,
    answer: Answer,
    usage: Usage,
    source: UsageSource,
    cost: Picos,
    picture: &Picture,
) -> TurnEvent {
    match answer.outcome {
        Outcome::Failed | Outcome::Lost => {
            TurnEvent::Failed { problem: answer.problem.unwrap_or_else(Problem::model_failed) }
        }
        outcome => TurnEvent::Finish {
            outcome,
            usage,
            usage_source: source,
            cost_usd: viewer.plan.shows_cost.then(|| cost.exact()),
            quota: quota_of(&viewer.plan, picture),
        },
    }
}
