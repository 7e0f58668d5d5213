//! Data of the providers page, of a model's test, and of a price import.

use super::share::CreatedShare;
use domain::catalogue::Difference;
use domain::{ModelName, Picos, Provider, Usage, UsageSource};
use serde::{Deserialize, Serialize};
use time::Date;

/// A provider with what depends on this server: its key and its circuit. Never contains the key itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderRow {
    /// The provider.
    pub provider: Provider,
    /// Whether the environment has the key that it names; `None` if it names none.
    pub has_key: Option<bool>,
    /// The environment variable whose base URL overrides that of the provider, and this URL; `None` if there is none.
    pub env_base_url: Option<(String, String)>,
    /// Its models: name, display name, and whether they are enabled.
    pub models: Vec<(ModelName, String, bool)>,
    /// Milliseconds until its open circuit allows a retry; `None` while the circuit is closed.
    pub open_ms: Option<u64>,
}

/// The result of a form that changes nothing, or that is answered with a question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FormResult {
    /// A test call of a model.
    Test(ModelTest),
    /// Differences from a price catalogue.
    Import(ImportView),
    /// A link that was created, which only this response shows.
    Share(CreatedShare),
}

/// A test call of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelTest {
    /// The model that was called.
    pub model: ModelName,
    /// Its response, or why there is none.
    pub response: Result<TestResponse, String>,
}

/// The response to a test call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestResponse {
    /// The response's text, shortened.
    pub text: String,
    /// Milliseconds from sending the request to the first token; `None` if the response has none.
    pub ttft_ms: Option<u64>,
    /// Milliseconds from sending the request to the end of the response.
    pub total_ms: u64,
    /// The usage.
    pub usage: Usage,
    /// Whether the provider reported the usage.
    pub source: UsageSource,
    /// The cost, which isn't in the ledger; `None` if the model has no price in force.
    pub cost: Option<Picos>,
}

/// Differences between a price catalogue and the models in the database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportView {
    /// Number of models in the catalogue.
    pub models: usize,
    /// The differences, in the order of the model picker, each with its text for the form.
    pub differences: Vec<(Difference, String)>,
    /// The first day on which chosen prices may apply.
    pub today: Date,
}

/// Number of days before a model's announced end from which it is shown as a warning.
pub const END_WARNING_DAYS: i64 = 30;

/// Returns whether a model ends soon enough for a warning, or has ended.
#[must_use]
pub fn ends_soon(ends_at: Option<Date>, today: Date) -> bool {
    ends_at.is_some_and(|day| (day - today).whole_days() <= END_WARNING_DAYS)
}

/// Encodes a name as one segment of a URL path. Names of models may contain slashes.
#[must_use]
pub fn path_segment(name: &str) -> String {
    name.bytes().fold(String::with_capacity(name.len()), |mut path, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte) {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("%{byte:02X}"));
        }
        path
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::date;

    #[test]
    fn names_are_one_path_segment() {
        for (name, path) in [
            ("claude-haiku-5-5", "claude-haiku-5-5"),
            ("gpt-6.1-sol", "gpt-6.1-sol"),
            ("meta-llama/llama-3.2:free", "meta-llama%2Fllama-3.2:free"),
            ("a b?c#d%", "a%20b%3Fc%23d%25"),
            ("é", "%C3%A9"),
        ] {
            assert_eq!(path_segment(name), path);
        }
    }

    /// Field note 62: announced ends are shown thirty days ahead, and after they have passed.
    #[test]
    fn ends_are_warned_of_thirty_days_ahead() {
        let today = date!(2026 - 11 - 27);
        let soon = |day| ends_soon(Some(day), today);
        assert!(soon(date!(2026 - 12 - 11)) && soon(date!(2026 - 12 - 27)) && soon(date!(2026 - 11 - 01)));
        assert!(!soon(date!(2026 - 12 - 28)) && !ends_soon(None, today));
    }
}
