//! Decides which of a conversation's oldest turns a model no longer reads because the prompt would not fit. Pure: it only compares token
//! counts.

/// Maximum output of the call that writes a summary.
const MAX_SUMMARY_OUTPUT: u64 = 1_024;
/// Number of turns before the question that are kept as they are if they fit at all.
const KEPT_TURNS: usize = 2;

/// The room for a prompt, in tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    /// Maximum size of a prompt. Up to it nothing is cut.
    pub limit: u64,
    /// Size to which a larger prompt is cut. It leaves room for a response of some length and for the next turns, so that not every turn
    /// needs a new summary.
    target: u64,
    /// Maximum output of the call that writes a summary.
    pub summary_output: u64,
}

impl Room {
    pub fn new(limit: u64) -> Self {
        Self { limit, target: limit - limit / 4, summary_output: MAX_SUMMARY_OUTPUT.min(limit / 8) }
    }

    /// Tokens set aside for a summary that isn't written yet. The model that reads it may count up to twice the tokens of the model that
    /// writes it.
    fn summary(self) -> u64 {
        self.summary_output.saturating_mul(2)
    }
}

/// A stored summary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StoredSize {
    /// How many of the oldest turns it replaces.
    pub turns: usize,
    /// Its size in tokens.
    pub tokens: u64,
}

/// Sizes of a conversation's parts in tokens, as one model counts them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sizes {
    /// The system prompt and the question, which are always sent.
    fixed: u64,
    /// The turns before the question, newest first. The oldest are missing if the others exceed the limit without them.
    newest: Vec<u64>,
    /// Number of turns before the question.
    turns: usize,
    stored: Option<StoredSize>,
}

impl Sizes {
    /// Takes the sizes of the `turns` turns before the question from `newest_first` until they exceed the limit, so that the cost of
    /// counting is bounded by the limit and not by the length of the conversation.
    pub fn new(
        fixed: u64,
        turns: usize,
        newest_first: impl IntoIterator<Item = u64>,
        stored: Option<StoredSize>,
        limit: u64,
    ) -> Self {
        let (mut total, mut newest) = (fixed, Vec::new());
        let mut newest_first = newest_first.into_iter().take(turns);
        while total <= limit
            && let Some(size) = newest_first.next()
        {
            total = total.saturating_add(size);
            newest.push(size);
        }
        Self { fixed, newest, turns, stored }
    }

    /// Replaces the stored summary.
    pub fn set_stored(&mut self, stored: StoredSize) {
        self.stored = Some(stored);
    }

    /// Returns the size of a prompt that keeps this many turns next to a summary of this size; `None` if it exceeds every limit.
    fn total(&self, kept: usize, summary: u64) -> Option<u64> {
        let kept = self.newest.get(..kept)?;
        Some(kept.iter().fold(self.fixed.saturating_add(summary), |sum, size| sum.saturating_add(*size)))
    }

    fn fits(&self, kept: usize, summary: u64, max: u64) -> bool {
        self.total(kept, summary).is_some_and(|total| total <= max)
    }

    /// Returns which turns to cut: none if everything fits; those of the stored summary if the rest fits next to it; otherwise as many of
    /// the oldest as it takes to reach the target, but not the last two turns if they fit. Turns that the stored summary replaces stay cut,
    /// so that each turn is summarized once.
    pub fn cut(&self, room: Room) -> Cut {
        if self.fits(self.turns, 0, room.limit) {
            return self.keep(self.turns, Replacement::Nothing, 0);
        }
        let covered = self.stored.map_or(0, |stored| stored.turns.min(self.turns));
        let uncovered = self.turns - covered;
        if let Some(stored) = self.stored
            && self.fits(uncovered, stored.tokens, room.limit)
        {
            return self.keep(uncovered, Replacement::Stored, stored.tokens);
        }
        let summary = room.summary();
        let at_least = KEPT_TURNS.min(uncovered);
        let most = uncovered.min(self.newest.len());
        if let Some(kept) = (at_least..=most).rev().find(|kept| self.fits(*kept, summary, room.target)) {
            return self.keep(kept, Replacement::New, summary);
        }
        for kept in (0..=at_least).rev() {
            for (replacement, tokens) in [(Replacement::New, summary), (Replacement::Nothing, 0)] {
                if self.fits(kept, tokens, room.limit) {
                    return self.keep(kept, replacement, tokens);
                }
            }
        }
        // The question doesn't fit by itself; the turn is refused later, with the question's size.
        self.keep(0, Replacement::Nothing, 0)
    }

    fn keep(&self, kept: usize, replacement: Replacement, summary: u64) -> Cut {
        let total = self.total(kept, summary).unwrap_or(u64::MAX);
        Cut { turns: self.turns - kept, replacement, total }
    }
}

/// What a model reads in place of the turns that are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Replacement {
    /// Nothing.
    Nothing,
    /// The stored summary.
    Stored,
    /// A summary that is still to be written. Its maximum size is part of the total.
    New,
}

/// The turns to cut from a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    /// How many of the oldest turns are cut.
    pub turns: usize,
    pub replacement: Replacement,
    /// Size of the remaining prompt in tokens.
    pub total: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::cell::Cell;

    fn sizes(fixed: u64, oldest_first: &[u64], stored: Option<StoredSize>, room: Room) -> Sizes {
        Sizes::new(fixed, oldest_first.len(), oldest_first.iter().rev().copied(), stored, room.limit)
    }

    #[test]
    fn the_oldest_turns_are_cut_to_the_target() {
        let (turns, room) = ([1_000; 10], Room::new(8_000));
        assert_eq!((room.target, room.summary_output, room.summary()), (6_000, 1_000, 2_000));
        let cut = sizes(500, &turns, None, room).cut(room);
        assert_eq!(cut, Cut { turns: 7, replacement: Replacement::New, total: 5_500 });
        // Once it is summarized, the summary serves the next turns until they no longer fit next to it.
        let stored = Some(StoredSize { turns: 7, tokens: 900 });
        for (later, expected) in [(0, Replacement::Stored), (3, Replacement::Stored), (4, Replacement::New)] {
            let cut = sizes(500, &vec![1_000; 10 + later], stored, room).cut(room);
            assert_eq!(cut.replacement, expected, "{later} turns later");
            assert!(if expected == Replacement::Stored { cut.turns == 7 } else { cut.turns > 7 }, "{cut:?}");
        }
    }

    #[test]
    fn the_last_two_turns_stay_as_long_as_they_fit() {
        let room = Room::new(8_000);
        for (last, expected) in [
            // Above the target but within the limit.
            ([2_500, 2_500], Cut { turns: 1, replacement: Replacement::New, total: 7_500 }),
            // There is no room for a summary next to them.
            ([3_500, 3_500], Cut { turns: 1, replacement: Replacement::Nothing, total: 7_500 }),
            ([7_000, 3_500], Cut { turns: 2, replacement: Replacement::New, total: 6_000 }),
            ([1_000, 7_900], Cut { turns: 3, replacement: Replacement::New, total: 2_500 }),
        ] {
            let cut = sizes(500, &[4_000, last[0], last[1]], None, room).cut(room);
            assert_eq!(cut, expected, "{last:?}");
        }
        let too_large = sizes(8_001, &[10, 10], None, room).cut(room);
        assert_eq!(too_large, Cut { turns: 2, replacement: Replacement::Nothing, total: 8_001 });
    }

    proptest! {
        #[test]
        fn a_cut_fits_and_keeps_what_it_can(
            fixed in 0_u64..3_000,
            turns in vec(1_u64..3_000, 0..40),
            covered in 0_usize..40,
            tokens in 1_u64..4_000,
            limit in 0_u64..30_000,
        ) {
            let room = Room::new(limit);
            let covered = covered.min(turns.len());
            let stored = (covered > 0).then_some(StoredSize { turns: covered, tokens });
            let calls = Cell::new(0_usize);
            let newest = turns.iter().rev().map(|size| {
                calls.set(calls.get() + 1);
                *size
            });
            let sizes = Sizes::new(fixed, turns.len(), newest, stored, limit);
            let cut = sizes.cut(room);
            prop_assert_eq!(cut, sizes.cut(room), "deterministic");

            // Each turn is counted once at most, and none after the limit is exceeded.
            let counted: u64 = turns.iter().rev().take(calls.get().saturating_sub(1)).sum();
            prop_assert!(calls.get() <= turns.len() && (calls.get() == 0 || fixed + counted <= limit));

            let kept: u64 = turns[cut.turns..].iter().sum();
            let summary = match cut.replacement {
                Replacement::Nothing => 0,
                Replacement::Stored => tokens,
                Replacement::New => room.summary(),
            };
            prop_assert_eq!(cut.total, fixed + summary + kept);
            prop_assert!(cut.total <= limit || (fixed > limit && cut.turns == turns.len()), "fits unless the question doesn't");

            let uncovered: u64 = turns[covered..].iter().sum();
            let is_whole = fixed + turns.iter().sum::<u64>() <= limit;
            let is_covered = !is_whole && covered > 0 && fixed + tokens + uncovered <= limit;
            prop_assert_eq!(cut.turns == 0 && cut.replacement == Replacement::Nothing, is_whole || turns.is_empty());
            prop_assert_eq!(cut.replacement == Replacement::Stored, is_covered);
            if is_whole || fixed > limit {
                return Ok(());
            }
            prop_assert!(cut.turns >= covered, "a summarized turn stays cut");
            if is_covered {
                prop_assert_eq!(cut.turns, covered);
                return Ok(());
            }
            // One turn more would exceed the target, and if it is one of the last two, the limit as well.
            if cut.turns > covered {
                let more = fixed + kept + turns[cut.turns - 1];
                prop_assert!(more + room.summary() > room.target);
                prop_assert!(turns.len() - cut.turns >= KEPT_TURNS || more > limit);
            }
        }
    }
}
