//! Errors in the brand file.

/// Why `brand.toml` can't be used: one sentence that names the file and the key.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BrandError(String);

impl BrandError {
    /// Creates an error from a complete sentence.
    pub(crate) fn new(sentence: String) -> Self {
        Self(sentence)
    }

    /// Creates an error about a key. `problem` continues the sentence that begins with the key.
    pub(crate) fn of(key: &str, problem: &str) -> Self {
        Self(format!("brand.toml: {key} {problem}."))
    }
}
