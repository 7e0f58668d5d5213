//! Reads stopped calls to models that think on in the background. A provider bills reasoning that it doesn't stream, so what a stopped call
//! has used is only known from the provider's own count (field note 61). Meanwhile the hold stays and the lease is renewed. Without that
//! count, all of the granted output is charged.

use super::answer::{Answer, Ending};
use super::attempt::{Opening, store_learned_limit};
use super::close::{Grant, Uncounted, close};
use super::lease::{FIRST_BEAT, renew_lease};
use super::not_opened::NotOpened;
use super::receipt::Receipt;
use super::record::{Retries, record};
use super::state::{ActiveTurn, PendingTurn, with_other_call};
use super::undo::{Bill, undo};
use crate::AppState;
use crate::failure::internal;
use domain::{Model, Thinking};
use futures::StreamExt as _;
use providers::Chunks;
use quota::Spent;
use std::time::Duration;
use store::turn::WithdrawnTurn;
use tokio_util::sync::CancellationToken;

/// Returns whether the rest of a response is read although the user doesn't see it. A stream that broke off has no rest, and after a
/// shutdown or the loss of the turn's lease there is no time for it.
pub(super) fn is_due(model: &Model, answer: &Answer) -> bool {
    model.thinking != Thinking::None && matches!(answer.ending, Some(Ending::Stopped | Ending::Cut))
}

/// Reads the rest of a response, as long as that is allowed to take.
pub(super) async fn read(app: &AppState, turn: &ActiveTurn, rest: Chunks, receipt: &mut Receipt) {
    within_bounds(app, turn, read_to_end(rest, receipt)).await;
    count(receipt);
}

/// Withdraws a turn that was stopped before its response began, and reads its call to the end in a task of its own. The user's message is
/// back in the message box when this returns.
pub(super) async fn withdraw(app: &AppState, pending: PendingTurn, opening: Opening) {
    let is_withdrawn = remove_messages(app, &pending).await;
    app.turns.spawn(read_withdrawn(app.clone(), pending, opening, is_withdrawn));
}

/// Reads the call of a withdrawn turn, then records and settles it.
async fn read_withdrawn(app: AppState, pending: PendingTurn, opening: Opening, is_withdrawn: bool) {
    let mut receipt = Receipt::default();
    let reading = async {
        let opened = opening.await?;
        let chunks = store_learned_limit(&app, &pending.turn.model.name, opened).await;
        read_to_end(chunks, &mut receipt).await;
        Ok::<(), NotOpened>(())
    };
    let read = within_bounds(&app, &pending.turn, reading).await;
    if let Some(Err(error)) = &read
        && !error.may_be_billed()
    {
        undo(&app, pending, Bill::Request, error.is_failure()).await;
        return;
    }
    count(&receipt);
    if !is_withdrawn && !remove_messages(&app, &pending).await {
        // The turn stays pending; the reaper ends it.
        return;
    }
    let answer = Answer { receipt, ending: Some(Ending::Stopped), ..Answer::default() };
    let turn = pending.turn;
    let (usage, source) = close(Grant::of(&turn), &answer, Uncounted::Granted);
    let Ok(cost) = record(&app, &turn, None, &answer, (usage, source), Retries::Waited).await else { return };
    let ActiveTurn { turn_id, model, other, reservation, .. } = turn;
    let spent = with_other_call(Spent::on(usage.counted(), model.name, cost), other);
    // Otherwise the ended turn is kept, and the reaper settles its hold.
    if app.quotas.settle(reservation, &spent).await.is_ok()
        && let Err(error) = store::turn::delete_undone(&app.db, turn_id).await
    {
        internal(&error);
    }
}

/// Removes the user's message of a turn whose call is still running. Returns whether that worked.
async fn remove_messages(app: &AppState, pending: &PendingTurn) -> bool {
    let withdrawn = WithdrawnTurn {
        turn_id: pending.turn.turn_id,
        conversation_id: pending.turn.conversation_id,
        started_conversation: pending.started_conversation,
    };
    store::turn::withdraw(&app.db, &withdrawn).await.inspect_err(|error| drop(internal(error))).is_ok()
}

/// Reads until the provider has completed its response, or the stream breaks off.
async fn read_to_end(mut chunks: Chunks, receipt: &mut Receipt) {
    while let Some(Ok(chunk)) = chunks.next().await {
        receipt.note(&chunk);
        if receipt.is_complete {
            return;
        }
    }
}

/// Waits for what is still read of a turn. Returns `None` if that takes too long, if this server shuts down, or if another server has ended
/// the turn.
async fn within_bounds<T>(app: &AppState, turn: &ActiveTurn, reading: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        read = bounded(reading, app.config.drain_timeout, &app.cancel_turns) => read,
        () = renew_lease(app, turn.turn_id, &turn.reservation, FIRST_BEAT) => None,
    }
}

async fn bounded<T>(reading: impl Future<Output = T>, bound: Duration, cancel: &CancellationToken) -> Option<T> {
    tokio::select! {
        // What has already arrived is read even if the server shuts down.
        biased;
        read = tokio::time::timeout(bound, reading) => read.ok(),
        () = cancel.cancelled() => None,
    }
}

fn count(receipt: &Receipt) {
    let result = if receipt.is_complete { "complete" } else { "given up" };
    metrics::counter!("quotient_drains_total", "result" => result).increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::turn::testing::model;
    use domain::{Outcome, Problem, Tokens, Usage};
    use futures::stream;
    use providers::{Chunk, End, ProviderError, ReportedUsage};
    use tokio::time::Instant;

    const BOUND: Duration = Duration::from_secs(20);

    fn usage(output: u64) -> Chunk {
        let usage = Usage { input: Tokens(9), output: Tokens(output), ..Usage::default() };
        Chunk::Usage(ReportedUsage { usage, is_consistent: true })
    }

    /// Reads chunks that arrive a second apart. Returns what is known then and how long it took.
    async fn drained(
        chunks: Vec<Result<Chunk, ProviderError>>,
        ends: bool,
        cancel: &CancellationToken,
    ) -> (Receipt, Duration) {
        let paced = stream::iter(chunks).then(async |chunk| {
            tokio::time::sleep(Duration::from_secs(1)).await;
            chunk
        });
        let rest = if ends { paced.boxed() } else { paced.chain(stream::pending()).boxed() };
        let (mut receipt, began) = (Receipt::default(), Instant::now());
        bounded(read_to_end(rest, &mut receipt), BOUND, cancel).await;
        (receipt, began.elapsed())
    }

    /// Field note 61: the provider's count is waited for, but not for longer than the bound, nor during a shutdown.
    #[tokio::test(start_paused = true)]
    async fn a_drain_ends_with_the_response_or_at_its_bound() {
        let cancel = CancellationToken::new();
        let text = || Ok(Chunk::Text("a".into()));
        let (receipt, took) =
            drained(vec![text(), Ok(usage(1)), text(), Ok(usage(700)), Ok(Chunk::End(End::Complete))], false, &cancel)
                .await;
        assert!(receipt.is_complete && took < Duration::from_secs(6), "{took:?}");
        assert_eq!(receipt.reported.unwrap().usage.output, Tokens(700));
        let (receipt, took) = drained(vec![text()], false, &cancel).await;
        assert!(!receipt.is_complete && took >= BOUND && took < BOUND + Duration::from_secs(1), "{took:?}");
        let (receipt, took) = drained((0..60).map(|_| text()).collect(), true, &cancel).await;
        assert!(!receipt.is_complete && took < BOUND + Duration::from_secs(1), "output doesn't extend it: {took:?}");
        let broken = vec![text(), Err(ProviderError::StreamFailed("cut".into()))];
        let (receipt, took) = drained(broken, true, &cancel).await;
        assert!(!receipt.is_complete && took < Duration::from_secs(3), "{took:?}");
        cancel.cancel();
        let (_, took) = drained(vec![text(), text()], false, &cancel).await;
        assert_eq!(took, Duration::ZERO, "a shutdown ends it at once");
    }

    #[test]
    fn only_stopped_calls_of_models_that_think_are_drained() {
        for thinking in [Thinking::None, Thinking::Optional, Thinking::Always] {
            for (ending, expected) in [
                (Ending::Stopped, true),
                (Ending::Cut, true),
                (Ending::Ended(Outcome::Finished), false),
                (Ending::ToolCall, false),
                (Ending::Broke(ProviderError::TimedOut), false),
                (Ending::Canceled(Problem::lost()), false),
            ] {
                let answer = Answer { ending: Some(ending), ..Answer::default() };
                assert_eq!(is_due(&model(thinking), &answer), expected && thinking != Thinking::None, "{thinking:?}");
            }
        }
    }
}
