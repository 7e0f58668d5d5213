//! The directives in a message that control the fake provider.

use crate::bill::Bill;

/// The directives of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    /// Number of words in the response; `None` sends a short Markdown text.
    pub words: Option<usize>,
    /// Pause between words, in milliseconds.
    pub pace_ms: u64,
    /// Pause between the response head and the first word, in milliseconds.
    pub head_ms: u64,
    /// Number of words after which to wait until released; `usize::MAX` waits halfway.
    pub holds: Option<usize>,
    /// How to refuse the request.
    pub refusal: Option<Refusal>,
    /// The recorded response to serve instead, a file of `crates/providers/fixtures/odd`.
    pub fixture: Option<String>,
    /// The only model that refuses or serves the recorded response; every model if `None`.
    pub only: Option<String>,
    /// Maximum number of refusals or recorded responses; unlimited if `None`.
    pub refusals: Option<u64>,
    /// `Retry-After` of a refusal.
    pub retry_after: String,
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
    /// Input tokens to report as written to the cache.
    pub cache_write: u64,
    /// Input tokens to report as written to the cache with the longer lifetime.
    pub cache_write_long: u64,
    /// Number of tokens of reasoning that are billed but not sent, before the response.
    pub thinks: usize,
    /// Number of words of reasoning before the response.
    pub reasoning: usize,
    /// The whole bill, in place of what was counted.
    pub bill: Option<Bill>,
    /// How the numbers of a bill are reported.
    pub shape: Shape,
    /// How the response ends if it isn't cut off.
    pub ending: Ending,
    /// The tools to call, as far as the request offers them.
    pub tools: Vec<String>,
    /// Omit the final usage.
    pub no_usage: bool,
    /// Ignore the output limit.
    pub endless: bool,
    /// Append a NUL character to each word.
    pub nul: bool,
}

/// How a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// With this status and no further meaning.
    Status(u16),
    /// The account has no credit left.
    Credit,
    /// The API key is wrong.
    Key,
    /// The model is unknown.
    Unknown,
    /// The prompt is longer than this many tokens.
    TooLong(u64),
    /// The request has a field of this name.
    Rejects(String),
}

/// How OpenAI-compatible servers report a bill.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// `completion_tokens` excludes reasoning tokens.
    pub reasoning_beside: bool,
    /// `prompt_tokens` excludes cached tokens.
    pub cached_beside: bool,
    /// `total_tokens` is missing.
    pub no_total: bool,
}

/// The reason that a complete response reports for its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ending {
    /// The model has finished.
    #[default]
    Complete,
    /// The model declined to answer.
    Refused,
    /// The content filter stopped it.
    Filtered,
    /// The model calls a tool.
    ToolCall,
    /// No reason.
    None,
}

impl Script {
    /// Parses the directives of a message; `pace_ms` is the default pause.
    #[must_use]
    pub fn read(message: &str, pace_ms: u64) -> Self {
        let mut script = Self { pace_ms, retry_after: "3".to_owned(), ..Self::default() };
        for part in message.split("{{").skip(1) {
            let Some((directive, _)) = part.split_once("}}") else {
                continue;
            };
            let (name, value) = directive.split_once(':').unwrap_or((directive, ""));
            script.apply(name, value);
        }
        script
    }

    fn apply(&mut self, name: &str, value: &str) {
        let number = value.parse::<usize>().ok();
        let count = value.parse::<u64>().unwrap_or(0);
        match name {
            "words" => self.words = number,
            "pace" => self.pace_ms = count,
            "head" => self.head_ms = count,
            "hold" => self.holds = number.or(Some(usize::MAX)),
            "status" => self.refusal = value.parse().ok().map(Refusal::Status),
            "credit" => self.refusal = Some(Refusal::Credit),
            "key" => self.refusal = Some(Refusal::Key),
            "unknown" => self.refusal = Some(Refusal::Unknown),
            "toolong" => self.refusal = Some(Refusal::TooLong(count)),
            "rejects" => self.refusal = Some(Refusal::Rejects(value.to_owned())),
            "fixture" => self.fixture = Some(value.to_owned()),
            "only" => self.only = Some(value.to_owned()),
            "times" => self.refusals = value.parse().ok(),
            "after" => value.clone_into(&mut self.retry_after),
            "mute" => self.mute = Some(value.to_owned()),
            "late" => self.late = Some(value.to_owned()),
            "silent" => self.silent_after = number,
            "garbage" => self.garbage_after = number,
            "cut" => self.cut_after = number,
            "bytes" => self.by_bytes = true,
            "break" => self.break_after = number,
            "error" => self.error_after = number,
            "cached" => self.cached = count,
            "cachewrite" => self.cache_write = count,
            "cachewrite1h" => self.cache_write_long = count,
            "think" => self.thinks = number.unwrap_or(0),
            "reasoning" => self.reasoning = number.unwrap_or(0),
            "bill" => self.bill = Bill::parse(value),
            "beside" => self.shape.reasoning_beside = true,
            "cachedbeside" => self.shape.cached_beside = true,
            "nototal" => self.shape.no_total = true,
            "refuse" => self.ending = Ending::Refused,
            "filter" => self.ending = Ending::Filtered,
            "toolcall" => self.ending = Ending::ToolCall,
            "tool" => self.tools.push(value.to_owned()),
            "nofinish" => self.ending = Ending::None,
            "nousage" => self.no_usage = true,
            "endless" => self.endless = true,
            "nul" => self.nul = true,
            _ => {}
        }
    }

    /// Whether a call by `model`, the `times`th with its message, is refused or answered with a recorded response.
    pub(crate) fn applies_to(&self, model: &str, times: u64) -> bool {
        self.only.as_ref().is_none_or(|only| only == model) && self.refusals.is_none_or(|max| times <= max)
    }
}

/// Response to a message that sets no number of words.
pub(crate) const MARKDOWN: &str = "A lease usually ends in one of three ways, and each has its own clock:\n\n| Way | Notice | Counts from |\n|---|---|--:|\n| The agreed date | none | signing |\n| Notice by you | three months | month's end |\n| Both agree | none | any day |\n\n- Send notice **in writing**, and keep the receipt.\n- Read the clause on repairs before you hand over the keys.\n\nAs a formula, if you like code:\n\n```rust\nfn last_day(notice: Date) -> Date {\n    notice.end_of_month() + Months(3)\n}\n```\n\nTell me the date on your letter and I will work it out.";

/// Response that is written byte by byte: characters of two, three and four bytes, and graphemes of several characters.
pub(crate) const SCRIPTS: [&str; 6] = ["Grüße, ", "世界が ", "мир ", "🦀 ", "👨‍👩‍👧‍👦 ", "é\u{301}né "];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_are_read_in_any_order_and_unknown_ones_are_ignored() {
        let script = Script::read(
            "Hi {{bill:1,2,3,1,5,4}}{{beside}} {{nonsense:7}}{{toolong:90}}{{only:a}}{{times:2}} {{words:",
            9,
        );
        let bill = Bill { input: 1, cache_read: 2, cache_write: 3, cache_write_long: 1, output: 5, reasoning: 4 };
        let expected = Script {
            pace_ms: 9,
            retry_after: "3".to_owned(),
            bill: Some(bill),
            shape: Shape { reasoning_beside: true, ..Shape::default() },
            refusal: Some(Refusal::TooLong(90)),
            only: Some("a".to_owned()),
            refusals: Some(2),
            ..Script::default()
        };
        assert_eq!(script, expected);
        assert!(script.applies_to("a", 2) && !script.applies_to("a", 3) && !script.applies_to("b", 1));
        assert_eq!(Bill::parse("1,2,3"), None);
    }
}
