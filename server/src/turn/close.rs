//! The usage that a call is charged: the provider's counts, or an estimate.

use super::answer::Answer;
use super::state::ActiveTurn;
use domain::{CacheMarks, Model, Thinking, Tokens, Usage, UsageSource};
use providers::estimate;

/// What a turn was granted.
#[derive(Clone, Copy)]
pub(super) struct Grant<'a> {
    pub model: &'a Model,
    /// Estimated input.
    pub estimated: Tokens,
    /// How the request marks its prompt to be cached.
    pub cache_marks: CacheMarks,
    /// Maximum output.
    pub max_output: Tokens,
    /// All tokens reserved for the turn.
    pub reserved: Tokens,
    /// The part of `reserved` that covers the other call of a hedged turn.
    pub other_input: Tokens,
}

impl<'a> Grant<'a> {
    pub fn of(turn: &'a ActiveTurn) -> Self {
        Self {
            model: &turn.model,
            estimated: turn.estimated,
            cache_marks: turn.cache_marks,
            max_output: turn.max_output,
            reserved: Tokens(turn.reservation.permit.reserved()),
            other_input: turn.other_input,
        }
    }
}

/// What is assumed of output that the provider didn't count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Uncounted {
    /// It is what was streamed.
    Streamed,
    /// Some of it may be reasoning that isn't streamed but billed, so it is all that was granted.
    Granted,
}

impl Uncounted {
    /// Returns what applies once no more of a response can be read.
    pub fn after(model: &Model, answer: &Answer) -> Self {
        if model.thinking == Thinking::None || answer.is_complete() { Self::Streamed } else { Self::Granted }
    }
}

/// Returns the provider's token counts if it completed the response and they agree with each other, otherwise an estimate of what was sent
/// and streamed (field notes 20 to 22). An estimate is never below what was streamed, nor above what the turn had reserved (field note
/// 102).
pub(super) fn close(grant: Grant<'_>, answer: &Answer, uncounted: Uncounted) -> (Usage, UsageSource) {
    let receipt = &answer.receipt;
    let reported = receipt.reported.unwrap_or_default();
    let mut usage = reported.usage;
    if receipt.is_complete && reported.is_consistent && usage.output > Tokens(0) {
        return (usage, UsageSource::Exact);
    }
    // Some providers report no input tokens, or zero, before the end.
    if usage.prompt() == Tokens(0) {
        let prompt = Usage::of_uncounted_prompt(grant.estimated, grant.cache_marks);
        usage = Usage { output: usage.output, reasoning: usage.reasoning, ..prompt };
    }
    let reasoning = estimate::answer(grant.model, &answer.reasoning, receipt.reasoning_chunks);
    let text = estimate::answer(grant.model, &answer.text, receipt.text_chunks);
    let mut output = usage.output.max(text + reasoning);
    if uncounted == Uncounted::Granted && !receipt.counts_all_output() {
        output = output.max(grant.max_output);
    }
    let taken = usage.prompt() + grant.other_input;
    usage.output = output.min(Tokens(grant.reserved.0.saturating_sub(taken.0)));
    usage.reasoning = usage.reasoning.max(reasoning).min(usage.output);
    (usage, UsageSource::Estimated)
}

/// Returns the usage of a turn of whose response no more can be read, as [`close`] does.
pub(super) fn close_ended(turn: &ActiveTurn, answer: &Answer) -> (Usage, UsageSource) {
    close(Grant::of(turn), answer, Uncounted::after(&turn.model, answer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::turn::receipt::Receipt;
    use crate::turn::testing::model;
    use providers::{Chunk, End, ReportedUsage};

    fn counts(input: u64, output: u64, is_consistent: bool) -> Chunk {
        let usage = Usage { input: Tokens(input), output: Tokens(output), ..Usage::default() };
        Chunk::Usage(ReportedUsage { usage, is_consistent })
    }

    fn answer(chunks: Vec<Chunk>) -> Answer {
        let mut answer = Answer::default();
        chunks.into_iter().for_each(|chunk| answer.apply_chunk(Ok(chunk), &mut Vec::new()));
        answer
    }

    /// Field notes 20 to 22, 44, 61 and 102: exact only if complete and consistent; else at least what was streamed, one token per chunk,
    /// and at most what was reserved.
    #[test]
    fn usage_is_exact_or_an_estimate_within_the_reservation() {
        use Uncounted::{Granted, Streamed};
        use UsageSource::{Estimated, Exact};
        let model = model(Thinking::Optional);
        let (max_output, reserved) = (Tokens(400), Tokens(500));
        let (estimated, other_input, cache_marks) = (Tokens(100), Tokens(0), CacheMarks::None);
        let grant = Grant { model: &model, estimated, cache_marks, max_output, reserved, other_input };
        let text = || Chunk::Text("a".into());
        let end = || Chunk::End(End::Complete);
        for (name, chunks, uncounted, source, input, output) in [
            ("complete", vec![text(), counts(90, 7, true), end()], Streamed, Exact, 90, 7..=7),
            ("complete, drained", vec![text(), counts(90, 7, true), end()], Granted, Exact, 90, 7..=7),
            ("more than granted", vec![text(), counts(90, 450, true), end()], Streamed, Exact, 90, 450..=450),
            ("inconsistent", vec![text(), counts(90, 7, false), end()], Streamed, Estimated, 90, 7..=7),
            ("inconsistent, drained", vec![text(), counts(90, 7, false), end()], Granted, Estimated, 90, 400..=400),
            ("zero output", vec![text(), counts(90, 0, true), end()], Streamed, Estimated, 90, 1..=4),
            ("nothing reported", vec![text(), text(), text(), end()], Streamed, Estimated, 100, 3..=9),
            ("stopped", vec![counts(90, 1, true), text(), text()], Streamed, Estimated, 90, 2..=9),
            ("stopped, drained in vain", vec![counts(90, 1, true), text()], Granted, Estimated, 90, 400..=400),
            ("stopped before the first token", vec![], Granted, Estimated, 100, 400..=400),
            ("all output was counted", vec![text(), counts(90, 5, true)], Granted, Estimated, 90, 5..=5),
            ("a longer prompt than estimated", vec![text(), counts(300, 0, true)], Granted, Estimated, 300, 200..=200),
            ("an impossible prompt", vec![text(), counts(900, 9, true)], Granted, Estimated, 900, 0..=0),
        ] {
            let (usage, found) = close(grant, &answer(chunks), uncounted);
            assert_eq!((found, usage.input), (source, Tokens(input)), "{name}");
            assert!(output.contains(&usage.output.0), "{name}: {usage:?}");
        }
    }

    /// The provider may bill any part of a marked prompt as a write to its cache. Its own count applies if it has sent one.
    #[test]
    fn a_marked_prompt_without_a_count_was_written_to_the_cache() {
        let model = model(Thinking::None);
        let (max_output, reserved) = (Tokens(400), Tokens(500));
        let (estimated, other_input) = (Tokens(100), Tokens(0));
        for (cache_marks, write, long) in [(CacheMarks::Short, 100, 0), (CacheMarks::Long, 100, 100)] {
            let grant = Grant { model: &model, estimated, cache_marks, max_output, reserved, other_input };
            let text = || Chunk::Text("a".into());
            let (usage, source) = close(grant, &answer(vec![text(), Chunk::End(End::Complete)]), Uncounted::Streamed);
            assert_eq!((source, usage.input, usage.prompt()), (UsageSource::Estimated, Tokens(0), Tokens(100)));
            assert_eq!((usage.cache_write, usage.cache_write_long), (Tokens(write), Tokens(long)));
            let (counted, _) = close(grant, &answer(vec![counts(90, 0, true), text()]), Uncounted::Streamed);
            assert_eq!((counted.input, counted.cache_write), (Tokens(90), Tokens(0)));
        }
    }

    #[test]
    fn the_other_call_of_a_hedged_turn_has_its_own_part() {
        let model = model(Thinking::Always);
        let grant = Grant {
            model: &model,
            estimated: Tokens(100),
            cache_marks: CacheMarks::None,
            max_output: Tokens(300),
            reserved: Tokens(500),
            other_input: Tokens(150),
        };
        let (usage, _) = close(grant, &Answer::default(), Uncounted::Granted);
        assert_eq!((usage.input, usage.output), (Tokens(100), Tokens(250)));
    }

    /// Field note 61: only what can't be read on is charged as granted, and only for models that may think.
    #[test]
    fn only_unfinished_responses_of_models_that_think_are_charged_as_granted() {
        let (complete, broken) = (answer(vec![Chunk::End(End::Length)]), Answer::default());
        for thinking in [Thinking::None, Thinking::Optional, Thinking::Always] {
            let model = model(thinking);
            assert_eq!(Uncounted::after(&model, &complete), Uncounted::Streamed);
            let expected = if thinking == Thinking::None { Uncounted::Streamed } else { Uncounted::Granted };
            assert_eq!(Uncounted::after(&model, &broken), expected);
        }
        assert!(!Receipt::default().counts_all_output());
    }
}
