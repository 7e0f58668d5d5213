//! Finds the prompt's tokens and the maximum in a provider's message about a prompt that is too long.

/// A whole number in a message, with its position in bytes.
struct Number {
    value: u64,
    start: usize,
    end: usize,
}

/// Words that precede the maximum, if the message doesn't contain "maximum".
const LIMITS: [&str; 6] = [">", "limit", "context size", "context length", "context window", "at most"];
/// Words that follow the prompt's tokens.
const PROMPT: [&str; 5] =
    ["input tokens", "prompt tokens", "in the messages", "in the prompt", "tokens from the input messages"];

/// Returns the prompt's tokens and the maximum that a message in lower case names, if it does.
pub(super) fn numbers(message: &str) -> (Option<u64>, Option<u64>) {
    let all = numbers_in(message);
    let follows = |number: &Number, words: &str| message[number.end..].trim_start().starts_with(words);
    let after = |word: &str| {
        let position = message.find(word)?;
        all.iter().position(|number| number.start > position)
    };
    let max = all.iter().position(|number| follows(number, "maximum")).or_else(|| after("maximum"));
    let max = max.or_else(|| LIMITS.iter().find_map(|word| after(word)));
    let limit = max.and_then(|index| all.get(index)).map(|number| number.value);
    let others = || all.iter().enumerate().filter(move |(index, _)| Some(*index) != max).map(|(_, number)| number);
    let named = others().find(|number| PROMPT.iter().any(|words| follows(number, words)));
    let tokens = named.map(|number| number.value).or_else(|| others().map(|number| number.value).max());
    // A prompt below the maximum was too long together with the requested output.
    (tokens.filter(|tokens| limit.is_none_or(|limit| *tokens > limit)), limit)
}

fn numbers_in(message: &str) -> Vec<Number> {
    let bytes = message.as_bytes();
    let is_digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let is_name = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte));
    let (mut found, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let start = at;
        while is_digit(at) || (at > start && bytes[at..].starts_with(b",") && is_digit(at + 1)) {
            at += 1;
        }
        if at == start {
            at += 1;
            continue;
        }
        // Numbers within the names of models and fields are none.
        let is_part = is_name(start.checked_sub(1).and_then(|before| bytes.get(before)))
            || bytes.get(at).is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
            || (bytes[at..].starts_with(b".") && is_digit(at + 1));
        if let Some(value) = message[start..at].replace(',', "").parse().ok().filter(|_| !is_part) {
            found.push(Number { value, start, end: at });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Field note 59: the numbers of messages as providers write them.
    #[test]
    fn prompt_and_maximum_are_found() {
        for (message, tokens, max) in [
            ("prompt is too long: 205351 tokens > 200000 maximum", Some(205_351), Some(200_000)),
            (
                "this model's maximum context length is 8192 tokens. however, your messages resulted in 9,000 tokens.",
                Some(9_000),
                Some(8_192),
            ),
            (
                "this model's maximum context length is 4096 tokens. however, you requested 5000 tokens (1000 in the messages, 4000 in the completion).",
                None,
                Some(4_096),
            ),
            (
                "'max_tokens' is too large: 5000. this model's maximum context length is 4096 tokens and your request has 200 input tokens (5000 > 4096 - 200).",
                None,
                Some(4_096),
            ),
            (
                "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000, decrease input",
                None,
                Some(200_000),
            ),
            (
                "the input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
                Some(1_200_000),
                Some(1_048_576),
            ),
            (
                "prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length",
                Some(40_000),
                Some(32_768),
            ),
            (
                "request (5000 tokens) exceeds the available context size (4096 tokens), try increasing it",
                Some(5_000),
                Some(4_096),
            ),
            ("request too large for model llama-3.1-8b-instant: limit 6000, requested 8000", Some(8_000), Some(6_000)),
            ("please reduce the length of the messages for gpt-4-32k", None, None),
        ] {
            assert_eq!(numbers(message), (tokens, max), "{message}");
        }
    }
}
