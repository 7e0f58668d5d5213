//! The directives in a message that control the fake provider.

/// The directives of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    /// Number of words in the response; `None` sends a short Markdown text.
    pub words: Option<usize>,
    /// Pause between words, in milliseconds.
    pub pace_ms: u64,
    /// Number of words after which to wait until released; `usize::MAX` waits halfway.
    pub holds: Option<usize>,
    /// HTTP status to refuse with.
    pub status: Option<u16>,
    /// The only model that refuses; every model if `None`.
    pub only: Option<String>,
    /// Maximum number of refusals; unlimited if `None`.
    pub refusals: Option<u64>,
    /// `Retry-After` of a refusal, in seconds.
    pub retry_after: u64,
    /// The model that accepts the request but never starts to respond; every model if empty.
    pub mute: Option<String>,
    /// The model that starts to respond only once released; every model if empty.
    pub late: Option<String>,
    /// Number of words after which to stop sending for good.
    pub silent_after: Option<usize>,
    /// Number of words after which to send invalid JSON.
    pub garbage_after: Option<usize>,
    /// Number of words after which to end the body cleanly, without the provider's end event.
    pub cut_after: Option<usize>,
    /// Write one byte at a time, using text in several scripts.
    pub by_bytes: bool,
    /// Number of words after which to drop the connection.
    pub break_after: Option<usize>,
    /// Number of words after which to send an error event.
    pub error_after: Option<usize>,
    /// Input tokens to report as read from cache.
    pub cached: u64,
    /// Number of words of reasoning before the response.
    pub reasoning: usize,
    /// Omit the final usage.
    pub no_usage: bool,
    /// Ignore the output limit.
    pub endless: bool,
    /// Append a NUL character to each word.
    pub nul: bool,
}

impl Script {
    /// Parses the directives of a message; `pace_ms` is the default pause.
    #[must_use]
    pub fn read(message: &str, pace_ms: u64) -> Self {
        let mut script = Self { pace_ms, retry_after: 3, ..Self::default() };
        for part in message.split("{{").skip(1) {
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

/// Response to a message that sets no number of words.
pub(crate) const MARKDOWN: &str = "A lease usually ends in one of three ways, and each has its own clock:\n\n| Way | Notice | Counts from |\n|---|---|--:|\n| The agreed date | none | signing |\n| Notice by you | three months | month's end |\n| Both agree | none | any day |\n\n- Send notice **in writing**, and keep the receipt.\n- Read the clause on repairs before you hand over the keys.\n\nAs a formula, if you like code:\n\n```rust\nfn last_day(notice: Date) -> Date {\n    notice.end_of_month() + Months(3)\n}\n```\n\nTell me the date on your letter and I will work it out.";

/// Response that is written byte by byte: characters of two, three and four bytes, and graphemes of several characters.
pub(crate) const SCRIPTS: [&str; 6] = ["Grüße, ", "世界が ", "мир ", "🦀 ", "👨‍👩‍👧‍👦 ", "é\u{301}né "];
