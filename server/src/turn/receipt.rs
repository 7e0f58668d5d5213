//! What a provider has reported about a call, and how much it has sent.

use domain::{Tokens, Usage};
use providers::{Chunk, ReportedUsage};

/// Upper bound of a plausible token count. Larger counts from a provider are clamped to it.
const MAX_TOKENS: Tokens = Tokens(1 << 24);

/// What is known about a call so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Receipt {
    /// The provider's id of the call.
    pub request_id: Option<String>,
    /// The provider's latest token counts.
    pub reported: Option<ReportedUsage>,
    /// Number of chunks of text and of tool calls. Each is at least one token.
    pub text_chunks: u64,
    /// Number of chunks of reasoning. Each is at least one token.
    pub reasoning_chunks: u64,
    /// Whether the provider has completed the response, so that its latest token counts are final.
    pub is_complete: bool,
    /// Number of chunks received before the latest count of output.
    chunks_reported: u64,
}

impl Receipt {
    /// Records a chunk.
    pub fn note(&mut self, chunk: &Chunk) {
        match chunk {
            Chunk::Id(id) => self.request_id = Some(id.clone()),
            Chunk::Text(text) => self.text_chunks += u64::from(!text.is_empty()),
            Chunk::ToolCall { .. } | Chunk::ToolArguments { .. } => self.text_chunks += 1,
            Chunk::Reasoning(text) => self.reasoning_chunks += u64::from(!text.is_empty()),
            Chunk::Usage(reported) => {
                if reported.usage.output > Tokens(0) {
                    self.chunks_reported = self.chunks();
                }
                self.reported = Some(merged(self.reported.unwrap_or_default(), *reported));
            }
            Chunk::End(_) => self.is_complete = true,
            Chunk::Event(_) => {}
        }
    }

    fn chunks(&self) -> u64 {
        self.text_chunks + self.reasoning_chunks
    }

    /// Returns whether the provider has counted all output that it sent. A count before the first output, as Anthropic sends it, doesn't
    /// include any.
    pub fn counts_all_output(&self) -> bool {
        self.reported.is_some_and(|reported| reported.is_consistent)
            && self.chunks_reported > 0
            && self.chunks_reported == self.chunks()
    }
}

/// Merges a later report into an earlier one. A later zero doesn't replace a count (field note 49).
fn merged(earlier: ReportedUsage, later: ReportedUsage) -> ReportedUsage {
    let (before, after) = (earlier.usage, clamped(later.usage));
    let prompt = if after.prompt() > Tokens(0) { after } else { before };
    let output = if after.output > Tokens(0) { after.output } else { before.output };
    let reasoning = if after.reasoning > Tokens(0) { after.reasoning } else { before.reasoning };
    let usage = Usage { output, reasoning: reasoning.min(output), ..prompt };
    ReportedUsage { usage, is_consistent: later.is_consistent }
}

/// Clamps a provider's token counts to plausible values.
fn clamped(usage: Usage) -> Usage {
    let cache_write = usage.cache_write.min(MAX_TOKENS);
    let output = usage.output.min(MAX_TOKENS);
    Usage {
        input: usage.input.min(MAX_TOKENS),
        cache_read: usage.cache_read.min(MAX_TOKENS),
        cache_write,
        cache_write_long: usage.cache_write_long.min(cache_write),
        output,
        reasoning: usage.reasoning.min(output),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use providers::End;

    fn usage(input: u64, cache_read: u64, cache_write: u64, output: u64) -> Chunk {
        let [input, cache_read, cache_write, output] = [input, cache_read, cache_write, output].map(Tokens);
        let usage = Usage { input, cache_read, cache_write, output, ..Usage::default() };
        Chunk::Usage(ReportedUsage { usage, is_consistent: true })
    }

    fn receipt(chunks: &[Chunk]) -> Receipt {
        let mut receipt = Receipt::default();
        chunks.iter().for_each(|chunk| receipt.note(chunk));
        receipt
    }

    /// Field note 49: a provider that repeats its prompt as zero has still counted it.
    #[test]
    fn a_later_zero_replaces_no_count() {
        let repeated = receipt(&[usage(21, 1_000, 300, 1), usage(0, 0, 0, 15), usage(0, 0, 0, 0)]);
        let found = repeated.reported.unwrap().usage;
        assert_eq!(
            (found.input, found.cache_read, found.cache_write, found.output),
            (Tokens(21), Tokens(1_000), Tokens(300), Tokens(15))
        );
        // A report of the whole prompt replaces an earlier one as a whole: here all of it was read from the cache.
        let cached = receipt(&[usage(1_000, 0, 0, 1), usage(0, 1_000, 0, 2)]);
        assert_eq!(cached.reported.unwrap().usage.prompt(), Tokens(1_000));
    }

    #[test]
    fn only_a_count_after_the_last_output_counts_all_of_it() {
        let text = || Chunk::Text("a".into());
        for (chunks, expected) in [
            (vec![], false),
            (vec![usage(9, 0, 0, 1)], false),
            (vec![usage(9, 0, 0, 1), text()], false),
            (vec![usage(9, 0, 0, 1), text(), usage(0, 0, 0, 2)], true),
            (vec![text(), usage(9, 0, 0, 2), text()], false),
            (vec![text(), usage(9, 0, 0, 0)], false),
            (vec![Chunk::Reasoning("a".into()), usage(9, 0, 0, 2), Chunk::End(End::Complete)], true),
        ] {
            assert_eq!(receipt(&chunks).counts_all_output(), expected, "{chunks:?}");
        }
    }
}
