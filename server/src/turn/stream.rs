//! Passes a provider's stream on to the turn's event log, or to the API client.

use super::answer::{Answer, Ending};
use super::lease::{FIRST_BEAT, renew_lease};
use super::overrun::Overrun;
use super::state::RunningTurn;
use crate::AppState;
use domain::{Outcome, Problem, Tokens, TurnEvent};
use futures::StreamExt as _;
use providers::ProviderError;

/// Maximum number of received chunks processed at once. They are combined into one event and one write.
const AT_ONCE: usize = 64;

/// Passes chunks on until the response ends, is stopped or cut off, or breaks off. What is left of it stays in `running.chunks`.
pub(super) async fn stream(app: &AppState, running: &mut RunningTurn) -> Answer {
    let mut answer = Answer::default();
    let mut overrun = Overrun::new(running.turn.max_output);
    pass_on(app, running, &mut answer, &mut overrun).await;
    running.log.flush().await;
    if let Some(Ending::Broke(error)) = &answer.ending {
        let api_user = running.reply.as_ref().map(|_| running.turn.viewer.user_id);
        app.providers.record_stream_failure(&running.turn.model, error, api_user);
    }
    show_or_cut(running, &mut answer, overrun.withheld).await;
    answer
}

async fn pass_on(app: &AppState, running: &mut RunningTurn, answer: &mut Answer, overrun: &mut Overrun) {
    let RunningTurn { turn, sent, chunks, log, reply, .. } = running;
    let mut chunks = chunks.ready_chunks(AT_ONCE);
    let stopped = log.stopped();
    // Runs concurrently with the stream, which must not wait for Postgres.
    let lease = renew_lease(app, turn.turn_id, &turn.reservation, FIRST_BEAT);
    tokio::pin!(stopped, lease);
    while answer.ending.is_none() {
        let arrived = tokio::select! {
            arrived = chunks.next() => arrived,
            // What has arrived is appended while more is read.
            () = log.flush(), if log.has_queued() => {
                crate::fault::point("mid-stream");
                continue;
            }
            () = &mut stopped => {
                answer.ending = Some(Ending::Stopped);
                return;
            }
            () = app.cancel_turns.cancelled() => {
                answer.ending = Some(Ending::Canceled(Problem::cut_by_restart()));
                return;
            }
            // Postgres was unavailable for so long that another server ended this turn. Further output would not be charged.
            () = &mut lease => {
                answer.ending = Some(Ending::Canceled(Problem::lost()));
                return;
            }
        };
        let mut events = Vec::new();
        for chunk in arrived.unwrap_or_else(|| vec![Err(ProviderError::StreamFailed("no end".into()))]) {
            let chunk = match reply {
                Some(reply) => reply.take(chunk),
                None => Some(chunk),
            };
            if let Some(chunk) = chunk {
                answer.apply_chunk(chunk, &mut events);
            }
        }
        if !events.is_empty() && answer.ttft_ms.is_none() {
            answer.ttft_ms = i32::try_from(sent.elapsed().as_millis()).ok();
        }
        let events = overrun.filter(events, &answer.text, &answer.reasoning);
        match reply {
            Some(reply) if overrun.withheld.is_empty() => {
                reply.pass_on();
                if !events.is_empty() {
                    crate::fault::point("mid-stream");
                }
            }
            Some(_) => {}
            None => log.push(events),
        }
        if answer.ending.is_none() && overrun.counted > overrun.read_until {
            answer.ending = Some(Ending::Cut);
        }
    }
}

/// Passes withheld text on if the provider's count proves that the response stayed within its grant, otherwise removes it.
async fn show_or_cut(running: &mut RunningTurn, answer: &mut Answer, withheld: Vec<TurnEvent>) {
    if withheld.is_empty() {
        return;
    }
    let is_within = matches!(answer.ending, Some(Ending::Ended(_)))
        && answer.receipt.reported.is_some_and(|reported| {
            reported.usage.output > Tokens(0) && reported.usage.output <= running.turn.max_output
        });
    if is_within {
        match &mut running.reply {
            Some(reply) => reply.pass_on(),
            None => running.log.append(&withheld).await,
        }
        return;
    }
    if let Some(reply) = &mut running.reply {
        reply.cut();
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
