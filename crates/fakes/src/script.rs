//! The directives in a message that control the fake provider.

/// The directives of a question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    /// How many words to say; none says a short Markdown answer.
    pub words: Option<usize>,
    /// Between words, in milliseconds.
    pub pace_ms: u64,
    /// Wait until released after so many words; `usize::MAX` is halfway.
    pub holds: Option<usize>,
    /// Refuse with this status.
    pub status: Option<u16>,
    /// The one model that refuses; every model if none is named.
    pub only: Option<String>,
    /// Refuse so many times only.
    pub refusals: Option<u64>,
    /// What `Retry-After` says of a refusal, in seconds.
    pub retry_after: u64,
    /// The model that takes the question and never begins an answer; every model if empty.
    pub mute: Option<String>,
    /// The model that begins its answer only once released; every model if empty.
    pub late: Option<String>,
    /// Fall silent for ever after so many words.
    pub silent_after: Option<usize>,
    /// Send what is no event of ours after so many words.
    pub garbage_after: Option<usize>,
    /// End the bytes cleanly after so many words, without the provider's own end.
    pub cut_after: Option<usize>,
    /// Write one byte at a time, in other scripts.
    pub by_bytes: bool,
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
    /// Say a NUL character with each word.
    pub nul: bool,
}

impl Script {
    /// Reads the directives of a question; `pace_ms` holds where it names none.
    #[must_use]
    pub fn read(question: &str, pace_ms: u64) -> Self {
        let mut script = Self { pace_ms, retry_after: 3, ..Self::default() };
        for part in question.split("{{").skip(1) {
            let Some((directive, _)) = part.split_once("}}") else {
                continue;
            };
            let (name, value) = directive.split_once(':').unwrap_or((directive, ""));
            let number = value.parse::<usize>().ok();
            match name {
                "words" => script.words = number,
                "pace" => script.pace_ms = value.parse().unwrap_or(0),
                "hold" => script.holds = number.or(Some(usize::MAX)),
                "status" => script.status = value.parse().ok(),
                "only" => script.only = Some(value.to_owned()),
                "times" => script.refusals = value.parse().ok(),
                "after" => script.retry_after = value.parse().unwrap_or(0),
                "mute" => script.mute = Some(value.to_owned()),
                "late" => script.late = Some(value.to_owned()),
                "silent" => script.silent_after = number,
                "garbage" => script.garbage_after = number,
                "cut" => script.cut_after = number,
                "bytes" => script.by_bytes = true,
                "break" => script.break_after = number,
                "error" => script.error_after = number,
                "cached" => script.cached = value.parse().unwrap_or(0),
                "reasoning" => script.reasoning = number.unwrap_or(0),
                "nousage" => script.no_usage = true,
                "endless" => script.endless = true,
                "nul" => script.nul = true,
                _ => {}
            }
        }
        script
    }
}

/// What is said when a question gives no number of words.
pub(crate) const MARKDOWN: &str = "A lease usually ends in one of three ways, and each has its own clock:\n\n| Way | Notice | Counts from |\n|---|---|--:|\n| The agreed date | none | signing |\n| Notice by you | three months | month's end |\n| Both agree | none | any day |\n\n- Send notice **in writing**, and keep the receipt.\n- Read the clause on repairs before you hand over the keys.\n\nAs a formula, if you like code:\n\n```rust\nfn last_day(notice: Date) -> Date {\n    notice.end_of_month() + Months(3)\n}\n```\n\nTell me the date on your letter and I will work it out.";

/// What is said byte by byte: characters of two, three and four bytes, and some that are drawn as one and are several.
pub(crate) const SCRIPTS: [&str; 6] = ["Grüße, ", "世界が ", "мир ", "🦀 ", "👨‍👩‍👧‍👦 ", "é\u{301}né "];
