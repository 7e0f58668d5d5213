//! The open streams of this process: how many each user has, and which sessions they belong to, so that those of a session that has ended
//! are closed.

use super::slots::{UserSlot, UserSlots};
use crate::failure::internal;
use domain::UserId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;

/// Hash of a session's token.
pub(crate) type TokenHash = [u8; 32];

/// All open streams.
#[derive(Debug, Default)]
pub(crate) struct OpenStreams {
    slots: Arc<UserSlots>,
    sessions: Mutex<HashMap<TokenHash, SessionStreams>>,
}

/// The open streams of one session.
#[derive(Debug)]
struct SessionStreams {
    ended: CancellationToken,
    streams: usize,
}

/// An open stream. Closed on drop.
#[derive(Debug)]
pub(crate) struct OpenStream {
    streams: Arc<OpenStreams>,
    session: TokenHash,
    ended: CancellationToken,
    _slot: UserSlot,
}

impl OpenStream {
    /// Returns a token that is canceled once the stream's session has ended.
    pub(crate) fn ended(&self) -> CancellationToken {
        self.ended.clone()
    }
}

impl OpenStreams {
    /// Opens a stream of a user who may have `max` at once. Returns `None` if that limit is reached.
    pub(crate) fn open(self: &Arc<Self>, user: UserId, session: TokenHash, max: u64) -> Option<OpenStream> {
        let slot = self.slots.take(user, max)?;
        let mut sessions = self.lock();
        let watched =
            sessions.entry(session).or_insert_with(|| SessionStreams { ended: CancellationToken::new(), streams: 0 });
        watched.streams += 1;
        Some(OpenStream { streams: Arc::clone(self), session, ended: watched.ended.clone(), _slot: slot })
    }

    /// Closes the streams of sessions that have ended: signed out, ended by their user or an admin, or expired. One query for all of them.
    pub(crate) async fn close_ended(&self, db: &store::Db) {
        let sessions: Vec<TokenHash> = self.lock().keys().copied().collect();
        if sessions.is_empty() {
            return;
        }
        match store::session::is_alive(db, &sessions).await {
            Ok(alive) => {
                sessions.iter().zip(alive).filter(|(_, is_alive)| !is_alive).for_each(|(ended, _)| self.end(ended))
            }
            // Checked again in a moment. While Postgres is unavailable, streams go on.
            Err(error) => drop(internal(&error)),
        }
    }

    fn end(&self, session: &TokenHash) {
        if let Some(watched) = self.lock().get(session) {
            watched.ended.cancel();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TokenHash, SessionStreams>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let mut sessions = self.streams.lock();
        if let Some(watched) = sessions.get_mut(&self.session) {
            watched.streams -= 1;
            if watched.streams == 0 {
                sessions.remove(&self.session);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn streams_are_limited_per_user_and_end_with_their_session() {
        let streams = Arc::new(OpenStreams::default());
        let (ann, bob) = (UserId::from(Uuid::from_u128(1)), UserId::from(Uuid::from_u128(2)));
        let (phone, laptop, other) = ([1; 32], [2; 32], [3; 32]);
        let on_phone = streams.open(ann, phone, 2).expect("a free slot");
        let on_laptop = streams.open(ann, laptop, 2).expect("a free slot");
        assert!(streams.open(ann, phone, 2).is_none(), "the sessions of a user share their slots");
        let of_bob = streams.open(bob, other, 2).expect("a free slot");
        streams.end(&phone);
        let ended = [&on_phone, &on_laptop, &of_bob].map(|stream| stream.ended().is_cancelled());
        assert_eq!(ended, [true, false, false]);
        drop((on_phone, on_laptop, of_bob));
        assert!(streams.lock().is_empty(), "nothing is kept of a session without streams");
    }
}
