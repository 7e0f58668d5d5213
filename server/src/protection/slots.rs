//! Limits how many operations of one kind, such as uploads, each user runs at once.

use domain::UserId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The slots that are taken, by user.
#[derive(Debug, Default)]
pub(crate) struct UserSlots {
    taken: Mutex<HashMap<UserId, u64>>,
}

/// One of a user's slots. Released on drop.
#[derive(Debug)]
pub(crate) struct UserSlot {
    slots: Arc<UserSlots>,
    user: UserId,
}

impl UserSlots {
    /// Takes a slot of a user who may have `max`. Returns `None` if all of them are taken.
    pub(crate) fn take(self: &Arc<Self>, user: UserId, max: u64) -> Option<UserSlot> {
        let mut taken = self.lock();
        if taken.get(&user).copied().unwrap_or_default() >= max {
            return None;
        }
        *taken.entry(user).or_default() += 1;
        Some(UserSlot { slots: Arc::clone(self), user })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<UserId, u64>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for UserSlot {
    fn drop(&mut self) {
        let mut taken = self.slots.lock();
        if let Some(n) = taken.get_mut(&self.user) {
            *n -= 1;
            if *n == 0 {
                taken.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn slots_are_limited_per_user_and_released_on_drop() {
        let slots = Arc::new(UserSlots::default());
        let (ann, bob) = (UserId::from(Uuid::from_u128(1)), UserId::from(Uuid::from_u128(2)));
        let taken: Vec<_> = (0..3).map(|_| slots.take(ann, 3).expect("a free slot")).collect();
        assert!(slots.take(ann, 3).is_none() && slots.take(ann, 4).is_some() && slots.take(bob, 1).is_some());
        drop(taken);
        assert!(slots.take(ann, 1).is_some());
        assert!(slots.take(bob, 0).is_none());
        assert!(slots.lock().is_empty(), "nothing is kept of a user without slots");
    }
}
