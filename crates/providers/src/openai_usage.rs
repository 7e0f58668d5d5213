//! Reads the token counts of the OpenAI format. Servers differ in whether `prompt_tokens` includes cached tokens, and whether
//! `completion_tokens` includes reasoning tokens; `total_tokens` decides.

use crate::{ReportedUsage, lenient};
use domain::{Tokens, Usage};
use serde_json::Value;

/// Where the counts are within an event.
const USAGE: [&str; 4] = ["/usage", "/choices/0/usage", "/x_groq/usage", "/choices/0/delta/usage"];

/// Counts as reported. They are cumulative; a count that is missing, null or zero never replaces one that is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    prompt: Option<u64>,
    completion: Option<u64>,
    total: Option<u64>,
    cached: Option<u64>,
    reasoning: Option<u64>,
    written: Option<u64>,
    written_long: Option<u64>,
}

impl Counts {
    /// Adds the counts of an event. Returns whether there are any above zero.
    pub fn add(&mut self, event: &Value) -> bool {
        let mut has_counts = false;
        for usage in USAGE.iter().filter_map(|pointer| event.pointer(pointer)) {
            for (known, pointers) in self.fields() {
                let count = lenient::count(usage, pointers).filter(|count| *count > 0);
                has_counts |= count.is_some();
                *known = count.or(*known);
            }
        }
        has_counts
    }

    /// Lists each count with the names in use for it.
    fn fields(&mut self) -> [(&mut Option<u64>, &'static [&'static str]); 7] {
        [
            (&mut self.prompt, &["/prompt_tokens", "/input_tokens"]),
            (&mut self.completion, &["/completion_tokens", "/output_tokens"]),
            (&mut self.total, &["/total_tokens"]),
            (
                &mut self.cached,
                &[
                    "/prompt_tokens_details/cached_tokens",
                    "/input_tokens_details/cached_tokens",
                    "/prompt_cache_hit_tokens",
                    "/cache_read_input_tokens",
                    "/cached_tokens",
                ],
            ),
            (
                &mut self.reasoning,
                &[
                    "/completion_tokens_details/reasoning_tokens",
                    "/output_tokens_details/reasoning_tokens",
                    "/reasoning_tokens",
                ],
            ),
            (
                &mut self.written,
                &[
                    "/prompt_tokens_details/cache_write_tokens",
                    "/prompt_tokens_details/cache_creation_tokens",
                    "/cache_write_tokens",
                    "/cache_creation_tokens",
                    "/cache_creation_input_tokens",
                ],
            ),
            (&mut self.written_long, &["/cache_creation/ephemeral_1h_input_tokens"]),
        ]
    }

    /// Interprets the counts.
    pub fn reported(&self) -> ReportedUsage {
        let completion = self.completion.unwrap_or(0);
        let total = self.total;
        let prompt = self.prompt.unwrap_or_else(|| total.unwrap_or(0).saturating_sub(completion));
        let cached = self.cached.unwrap_or(0);
        let reasoning = self.reasoning.unwrap_or(0);
        let written = self.written.unwrap_or(0);
        let fits = prompt >= cached.saturating_add(written);
        let reading = Reading {
            prompt,
            cached,
            written,
            written_long: self.written_long.unwrap_or(0).min(written),
            reasoning,
            cached_is_inside: fits,
            output: completion.max(reasoning),
            is_consistent: false,
        };
        let sum = prompt.saturating_add(completion);
        let Some(total) = total else {
            // Without a total, only a part that is larger than the whole is known not to be included in it.
            let output = if reasoning > completion { sum_of(completion, reasoning) } else { completion };
            let is_consistent = fits || (cached > prompt && written <= prompt);
            return Reading { output, is_consistent, ..reading }.reported();
        };
        let readings = [
            (sum, fits && reasoning <= completion, true, completion),
            (sum_of(sum, reasoning), fits, true, sum_of(completion, reasoning)),
            (sum_of(sum, cached), written <= prompt && reasoning <= completion, false, completion),
            (sum_of(sum_of(sum, cached), reasoning), written <= prompt, false, sum_of(completion, reasoning)),
        ];
        if let Some((_, _, cached_is_inside, output)) =
            readings.into_iter().find(|(adds_up_to, is_possible, ..)| *adds_up_to == total && *is_possible)
        {
            return Reading { cached_is_inside, output, is_consistent: true, ..reading }.reported();
        }
        let rest = total.saturating_sub(if fits { prompt } else { sum_of(prompt, cached) });
        // Reasoning that is only part of the total.
        let is_hidden_reasoning = total > sum && reasoning == 0 && fits;
        Reading { output: reading.output.max(rest), is_consistent: is_hidden_reasoning, ..reading }.reported()
    }
}

fn sum_of(a: u64, b: u64) -> u64 {
    a.saturating_add(b)
}

/// One interpretation of the counts.
struct Reading {
    prompt: u64,
    cached: u64,
    written: u64,
    written_long: u64,
    reasoning: u64,
    /// Whether `prompt` includes `cached`. It always includes `written`.
    cached_is_inside: bool,
    /// All output, including reasoning.
    output: u64,
    is_consistent: bool,
}

impl Reading {
    fn reported(self) -> ReportedUsage {
        let inside = if self.cached_is_inside { sum_of(self.cached, self.written) } else { self.written };
        let usage = Usage {
            input: Tokens(self.prompt.saturating_sub(inside)),
            cache_read: Tokens(self.cached),
            cache_write: Tokens(self.written),
            cache_write_long: Tokens(self.written_long),
            output: Tokens(self.output),
            reasoning: Tokens(self.reasoning.min(self.output)),
        };
        // Every prompt has tokens.
        ReportedUsage { usage, is_consistent: self.is_consistent && usage.prompt() > Tokens(0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn read(usage: &Value) -> ReportedUsage {
        let mut counts = Counts::default();
        counts.add(&json!({"usage": usage}));
        counts.reported()
    }

    fn usage(input: u64, cache_read: u64, output: u64, reasoning: u64) -> Usage {
        Usage {
            input: Tokens(input),
            cache_read: Tokens(cache_read),
            output: Tokens(output),
            reasoning: Tokens(reasoning),
            ..Usage::default()
        }
    }

    /// Field note 44: the total decides how the counts are read.
    #[test]
    fn total_decides_what_is_inside() {
        for (reported, expected, is_consistent) in [
            (
                json!({"prompt_tokens": 32, "completion_tokens": 9, "total_tokens": 135, "prompt_tokens_details": {"cached_tokens": 6}, "completion_tokens_details": {"reasoning_tokens": 94}}),
                usage(26, 6, 103, 94),
                true,
            ),
            (json!({"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 207}), usage(7, 0, 200, 0), true),
            (
                json!({"prompt_tokens": 500, "completion_tokens": 500, "total_tokens": 1000, "completion_tokens_details": {"reasoning_tokens": 200}}),
                usage(500, 0, 500, 200),
                true,
            ),
            // Without a total, only sizes decide.
            (
                json!({"prompt_tokens": 5, "completion_tokens": 2, "prompt_cache_hit_tokens": 8}),
                usage(5, 8, 2, 0),
                true,
            ),
            (json!({"prompt_tokens": 5, "completion_tokens": 2, "reasoning_tokens": 3}), usage(5, 0, 5, 3), true),
            // Nothing adds up: a lower bound.
            (json!({"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 10}), usage(9, 0, 4, 0), false),
            (
                json!({"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 30, "reasoning_tokens": 6}),
                usage(9, 0, 21, 6),
                false,
            ),
            (json!({"completion_tokens": 4}), usage(0, 0, 4, 0), false),
            (json!({"completion_tokens": 4, "total_tokens": 10}), usage(6, 0, 4, 0), true),
            (json!({"prompt_tokens": "9", "completion_tokens": 2.0, "total_tokens": null}), usage(9, 0, 2, 0), true),
        ] {
            assert_eq!(read(&reported), ReportedUsage { usage: expected, is_consistent }, "{reported}");
        }
    }

    #[test]
    fn cache_writes_are_a_part_of_the_prompt() {
        let reported = json!({"prompt_tokens": 1000, "completion_tokens": 5, "total_tokens": 1005, "prompt_tokens_details": {"cached_tokens": 600, "cache_write_tokens": 300}});
        let expected = Usage { cache_write: Tokens(300), ..usage(100, 600, 5, 0) };
        assert_eq!(read(&reported), ReportedUsage { usage: expected, is_consistent: true });
    }

    #[test]
    fn zeros_and_nulls_never_replace_counts() {
        let mut counts = Counts::default();
        assert!(counts.add(&json!({"choices": [{"usage": {"prompt_tokens": 9}}]})));
        assert!(counts.add(&json!({"x_groq": {"usage": {"completion_tokens": 2, "total_tokens": 11}}})));
        assert!(!counts.add(&json!({"usage": {"prompt_tokens": 0, "completion_tokens": null, "total_tokens": []}})));
        assert!(!counts.add(&json!({"usage": null, "choices": null})));
        assert_eq!(counts.reported(), ReportedUsage { usage: usage(9, 0, 2, 0), is_consistent: true });
    }

    proptest! {
        /// Field note 44: every shape is interpreted correctly, except where two shapes have the same numbers.
        #[test]
        fn every_shape_is_read_as_meant(
            input in 1_u64..2_000, cached in 0_u64..2_000, written in 0_u64..500, text in 1_u64..2_000, reasoning in 0_u64..2_000,
            cached_inside in any::<bool>(), reasoning_inside in any::<bool>(), has_total in any::<bool>(),
        ) {
            let prompt = input + written + if cached_inside { cached } else { 0 };
            let completion = text + if reasoning_inside { reasoning } else { 0 };
            let is_ambiguous = if has_total {
                // Extra cached tokens look the same as the same number of extra reasoning tokens.
                !cached_inside && reasoning_inside && cached == reasoning && cached + written <= prompt
            } else {
                (!cached_inside && cached + written <= prompt) || (!reasoning_inside && reasoning <= completion)
                    || (!cached_inside && cached <= prompt)
            };
            prop_assume!(!is_ambiguous || (cached == 0 && reasoning == 0));
            let mut reported = json!({
                "prompt_tokens": prompt, "completion_tokens": completion,
                "prompt_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written},
                "completion_tokens_details": {"reasoning_tokens": reasoning},
            });
            if has_total {
                reported["total_tokens"] = (input + written + cached + text + reasoning).into();
            }
            let expected = Usage { cache_write: Tokens(written), ..usage(input, cached, text + reasoning, reasoning) };
            prop_assert_eq!(read(&reported), ReportedUsage { usage: expected, is_consistent: true });
        }

        #[test]
        fn any_counts_are_read_without_overflow(counts in prop::collection::vec(prop::option::of(any::<u64>()), 5)) {
            let reported = json!({
                "prompt_tokens": counts[0], "completion_tokens": counts[1], "total_tokens": counts[2], "cached_tokens": counts[3],
                "reasoning_tokens": counts[4],
            });
            let read = read(&reported).usage;
            prop_assert!(read.reasoning <= read.output);
            prop_assert!(read.output.0 >= counts[1].unwrap_or(0));
        }
    }
}
