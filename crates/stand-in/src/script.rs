//! What a question tells the stand-in to do.

/// The directives of a question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    /// How many words to say; none says a short Markdown answer.
    pub words: Option<usize>,
    /// Between words, in milliseconds.
    pub pace_ms: u64,
    /// Wait halfway until released.
    pub holds: bool,
    /// Refuse with this status.
    pub status: Option<u16>,
    /// Drop the connection after so many words.
    pub break_after: Option<usize>,
    /// Send an error event after so many words.
    pub error_after: Option<usize>,
    /// Input that came from cache.
    pub cached: u64,
    /// Words of reasoning ahead of the answer.
    pub reasoning: usize,
    /// Never say what was used.
    pub no_usage: bool,
    /// Ignore the length limit.
    pub endless: bool,
}

impl Script {
    /// Reads the directives of a question.
    #[must_use]
    pub fn read(question: &str) -> Self {
        let mut script = Self::default();
        for part in question.split("{{").skip(1) {
            let Some((directive, _)) = part.split_once("}}") else {
                continue;
            };
            let (name, value) = directive.split_once(':').unwrap_or((directive, ""));
            let number = value.parse::<usize>().ok();
            match name {
                "words" => script.words = number,
                "pace" => script.pace_ms = value.parse().unwrap_or(0),
                "hold" => script.holds = true,
                "status" => script.status = value.parse().ok(),
                "break" => script.break_after = number,
                "error" => script.error_after = number,
                "cached" => script.cached = value.parse().unwrap_or(0),
                "reasoning" => script.reasoning = number.unwrap_or(0),
                "nousage" => script.no_usage = true,
                "endless" => script.endless = true,
                _ => {}
            }
        }
        script
    }
}

/// What is said when a question gives no number of words.
pub(crate) const MARKDOWN: &str = "Here is a **short answer** from the test vendor.\n\n| Part | Count |\n|---|--:|\n| tables | 1 |\n| lists | 1 |\n\n- first point\n- second point\n\n```rust\nlet answer = 42;\n```\n\nThat is all.";
