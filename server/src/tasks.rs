//! What the process does beside answering: ends turns of dead processes, writes refusals, sweeps, makes partitions.

use crate::House;
use crate::error::internal;
use domain::{Outcome, TurnEvent, Usage, UsageSource};
use futures::StreamExt as _;
use limits::End;
use std::time::Duration;
use store::turn::{Dead, Record};
use tokio::task::JoinSet;

/// Starts them; they end with the set.
pub(crate) fn spawn(house: &House) -> JoinSet<()> {
    let mut set = JoinSet::new();
    every(&mut set, house, Duration::from_secs(15), reap);
    every(&mut set, house, Duration::from_secs(5), |house| async move {
        house.flush_refusals().await
    });
    every(&mut set, house, Duration::from_secs(3_600), |house| async move {
        if let Err(error) = store::session::sweep(&house.db, House::now()).await {
            internal(&error);
        }
        if let Err(error) = store::usage::cover(&house.db, House::now()).await {
            internal(&error);
        }
    });
    set
}

fn every<F, Fut>(set: &mut JoinSet<()>, house: &House, period: Duration, work: F)
where
    F: Fn(House) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send,
{
    let house = house.clone();
    set.spawn(async move {
        let mut tick = tokio::time::interval(period);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            work(house.clone()).await;
        }
    });
}

/// Ends turns whose process has given no sign: with what their log shows was streamed, and never as complete.
pub(crate) async fn reap(house: House) {
    match store::turn::dead(&house.db, House::now()).await {
        Ok(dead) => {
            for turn in dead {
                if let Err(error) = bury(&house, &turn).await {
                    internal(&error);
                }
            }
        }
        Err(error) => {
            internal(&error);
        }
    }
}

async fn bury(house: &House, turn: &Dead) -> anyhow::Result<()> {
    let text = streamed(house, turn).await;
    let usage = Usage {
        input: turn.estimated,
        output: providers::estimate::text(&text),
        ..Usage::default()
    };
    let prices = store::model::price(&house.db, &turn.model, turn.call.created_at).await?;
    let (price_id, cost) = prices.map_or((turn.price_id, domain::Picos::ZERO), |prices| {
        prices.price(&usage)
    });
    let recorded = store::turn::record(
        &house.db,
        &Record {
            turn_id: turn.turn_id,
            // A conversation that is gone takes no message.
            conversation_id: turn.conversation_id.unwrap_or_else(|| uuid::Uuid::nil().into()),
            call: turn.call,
            model: &turn.model,
            text: &text,
            outcome: Outcome::Lost,
            usage: &usage,
            source: UsageSource::Estimated,
            price_id,
            cost,
            provider_request_id: None,
            now: House::now(),
        },
    )
    .await?;
    if recorded {
        tracing::warn!(turn = %turn.turn_id, "lost turn ended");
        metrics::counter!("quotient_turns_total", "outcome" => "lost").increment(1);
        let at_ms = u64::try_from(turn.call.created_at.unix_timestamp_nanos() / 1_000_000).unwrap_or(0);
        house
            .limits
            .end(
                &turn.subject,
                &turn.turn_id.to_string(),
                at_ms,
                End::Settle(usage.counted().0),
            )
            .await?;
    }
    Ok(())
}

/// What a dead turn's log shows, as far as it can be read in a moment.
async fn streamed(house: &House, turn: &Dead) -> String {
    let Ok(Some(mut tail)) = house.relay.tail(turn.turn_id, 0).await else {
        return String::new();
    };
    let mut text = String::new();
    // The log of a dead turn has no end: it is over when nothing more comes.
    while let Ok(Some(entry)) = tokio::time::timeout(Duration::from_millis(500), tail.next()).await {
        if let TurnEvent::Delta { text: piece } = entry.event {
            text.push_str(&piece);
        }
    }
    text
}
