//! Starts and follows turns through gaps in the connection, so that no response is lost and none is paid for twice.

use super::api::{self, Failure, Refusal, TurnState};
use super::clock;
use super::stream::{self, Event, Events};
use super::wake::pause;

/// How an attempt to start a turn ended.
#[derive(Debug)]
pub enum Start {
    /// It has started; these are its events.
    Streaming(Events),
    /// The server has received it. Its events must be loaded.
    Received,
    /// The server refused it.
    Refused(Refusal),
    /// The server has never received it.
    NotSent,
}

/// How following a turn ended.
#[derive(Debug)]
pub enum End {
    /// With its last event.
    LastEvent,
    /// It ended earlier and its events are gone, so its message is in the transcript.
    Ended,
    /// The server has never received it.
    Unknown,
    /// The server refuses to show it, for example because the user has signed out.
    Refused(Refusal),
}

/// A turn id is refused ten minutes after its creation. From then on the page only checks whether the server has received the turn.
const REPEATABLE_MS: u64 = 9 * 60 * 1000;

/// Returns the pause before a retry: half a second, doubled each time up to 15 seconds.
fn pause_ms(tries: u32) -> u32 {
    (500_u32 << tries.min(5)).min(15_000)
}

/// Sends a turn until the server has it. Without a response it is unknown whether the request arrived; repeating it is safe, because the
/// turn id in the body is its idempotency key. `is_stopped` returns whether the user has pressed Stop; `connected` is called when the
/// connection is lost or restored.
pub async fn start(turn: &str, body: &str, is_stopped: impl Fn() -> bool, connected: impl Fn(bool)) -> Start {
    let began_ms = clock::now_ms();
    for tries in 0_u32.. {
        if tries > 0 && (is_stopped() || clock::now_ms().saturating_sub(began_ms) > REPEATABLE_MS) {
            match api::turn_status(turn).await.map(|status| status.state) {
                Some(TurnState::Unknown) => return Start::NotSent,
                Some(_) => return Start::Received,
                None => {}
            }
        } else {
            match stream::start_turn(body).await {
                Ok(events) => {
                    connected(true);
                    return Start::Streaming(events);
                }
                Err(Failure::Refused(refusal)) => {
                    connected(true);
                    return Start::Refused(refusal);
                }
                Err(Failure::Offline) => {}
            }
        }
        connected(false);
        pause(pause_ms(tries)).await;
    }
    Start::NotSent
}

/// Applies a turn's events until the last one. After every gap the turn is resumed, for as long as it may live. `events` are those of the
/// first connection, if there is one.
pub async fn follow(
    turn: &str,
    events: Option<Events>,
    connected: impl Fn(bool),
    mut on_event: impl FnMut(Event),
) -> End {
    let (mut events, mut last, mut tries) = (events, 0, 0_u32);
    loop {
        while let Some((id, event)) = next(&mut events).await {
            (last, tries) = (id, 0);
            let is_last = event.is_last();
            on_event(event);
            if is_last {
                return End::LastEvent;
            }
        }
        // The first attempt is made at once.
        if tries > 0 {
            connected(false);
            pause(pause_ms(tries - 1)).await;
        }
        tries += 1;
        match stream::resume(turn, last).await {
            Ok(resumed) => {
                connected(true);
                events = Some(resumed);
            }
            Err(Failure::Refused(refusal)) => {
                if let Some(end) = end_of(turn, refusal).await {
                    connected(true);
                    return end;
                }
            }
            Err(Failure::Offline) => {}
        }
    }
}

async fn next(events: &mut Option<Events>) -> Option<(u64, Event)> {
    let next = events.as_mut()?.next().await;
    if next.is_none() {
        *events = None;
    }
    next
}

/// Returns how a turn ended whose events the server doesn't send; `None` if it may still run.
async fn end_of(turn: &str, refusal: Refusal) -> Option<End> {
    if matches!(refusal.status, 401 | 403) {
        return Some(End::Refused(refusal));
    }
    match api::turn_status(turn).await?.state {
        TurnState::Ended => Some(End::Ended),
        TurnState::Unknown if refusal.status == 404 => Some(End::Unknown),
        _ => None,
    }
}
