//! The usage that is reported for a call.

/// The tokens of one call, as the provider bills them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bill {
    /// Input tokens that were neither read from the cache nor written to it.
    pub input: u64,
    /// Input tokens read from the cache.
    pub cache_read: u64,
    /// Input tokens written to the cache, all lifetimes.
    pub cache_write: u64,
    /// The part of `cache_write` with the longer lifetime.
    pub cache_write_long: u64,
    /// Output tokens, reasoning included.
    pub output: u64,
    /// The part of `output` that was reasoning.
    pub reasoning: u64,
}

impl Bill {
    /// Parses the six numbers of `{{bill:…}}`, in the order of the fields.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let numbers: Option<Vec<u64>> = text.split(',').map(|number| number.trim().parse().ok()).collect();
        let numbers = numbers?;
        let [input, cache_read, cache_write, cache_write_long, output, reasoning] = numbers[..] else { return None };
        Some(Self { input, cache_read, cache_write, cache_write_long, output, reasoning })
    }
}
