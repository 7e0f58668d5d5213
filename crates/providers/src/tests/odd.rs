//! Odd responses from public reports, one file each: `fixtures/odd/NN-name.http`, where NN is a number in `docs/failure-modes.md`.

use super::{Close, Summary, decode, fixtures};
use crate::ProviderError;
use crate::error::{ErrorBody, Failure, retry_after};
use reqwest::header::{HeaderMap, HeaderName};
use std::{collections::BTreeSet, fs};
use time::OffsetDateTime;

const U: &str = "9 0 0 0 2 0";
const QUOTA: &str = "refused: OutOfCredit { status: 429 }";

/// File, reasoning, text, usage, and the end or the error. "refused" is an error before the head is sent.
const CASES: [(&str, &str, &str, &str, &str); 90] = [
    ("43-both-names", "", "", "", "refused: Refused { status: 400, kind: \"BadRequest\" }"),
    ("43-extra-forbidden", "", "", "", "refused: Refused { status: 422, kind: \"invalid_request_error\" }"),
    ("44-adds-up-to-nothing", "", "42", "9 0 0 0 4 0 ~", "Complete"),
    ("44-anthropic-no-final-usage", "", "42", "9 0 0 0 1 0 ~", "Complete"),
    ("44-cache-writes", "", "42", "100 600 500 0 5 0", "Complete"),
    ("44-cached-beside", "", "42", "30 1000 0 0 5 0", "Complete"),
    ("44-hidden-reasoning", "", "42", "7 0 0 0 200 0", "Complete"),
    ("44-late-zeros", "", "42", U, "Complete"),
    ("44-reasoning-beside", "", "42", "26 6 0 0 103 94", "Complete"),
    ("44-reasoning-inside", "", "42", "500 0 0 0 500 200", "Complete"),
    ("44-usage-in-choice", "", "42", U, "Complete"),
    ("45-anthropic-nulls", "", "42", U, "Complete"),
    ("45-empty-reason", "", "42", U, "Complete"),
    ("45-nulls", "", "42", U, "Complete"),
    ("45-stop-with-every-event", "Six by seven.", "42", U, "Complete"),
    ("45-wrong-types", "", "42", U, "Complete"),
    ("46-anthropic-keepalives", "", "42", U, "Complete"),
    ("46-keepalives", "", "42", U, "Complete"),
    ("47-parts", "Six by seven.", "42", U, "Complete"),
    ("47-reasoning-details", "Six by seven.", "42", U, "Complete"),
    ("48-anthropic-no-message-stop", "", "42", U, "Complete"),
    ("48-interrupted", "", "42", "", "interrupted"),
    ("48-no-finish-reason", "", "42", U, "Complete"),
    ("48-no-finish-reason-and-no-done", "", "42", U, "Complete"),
    ("48-no-words", "", "", U, "StreamFailed(\"empty response\")"),
    ("48-unterminated", "", "42", U, "Complete"),
    ("48-unterminated-done", "", "42", U, "Complete"),
    ("49-anthropic-late-null-reason", "", "42", U, "Length"),
    ("49-anthropic-late-zeros", "", "42", "21 1000 300 0 15 0", "Complete"),
    ("50-blank-answer", "", "\n\n", U, "Complete"),
    ("51-anthropic-refusal", "", "I can't ", U, "Refused"),
    ("51-anthropic-refusal-without-text", "", "", U, "Refused"),
    ("51-anthropic-tool-use", "", "One moment.", U, "ToolCall"),
    ("51-content-filter", "", "Once ", U, "Filtered"),
    ("51-content-filter-without-text", "", "", U, "Filtered"),
    ("51-error-reason", "", "4", "", "StreamFailed(\"error\")"),
    ("51-refusal-text", "", "I can't help.", U, "Refused"),
    ("51-tool-calls", "", "", U, "ToolCall"),
    ("51-tool-calls-that-say-stop", "", "", U, "ToolCall"),
    ("52-anthropic-error-event", "", "", "", "refused: Busy { status: 529, retry_after_ms: None }"),
    ("52-anthropic-whole", "Six by seven.", "42", U, "Complete"),
    ("52-cut-json", "", "", "", "refused: NotAResponse(\"unexpected JSON\")"),
    ("52-done-only", "", "", "", "refused: NotAResponse(\"empty response\")"),
    ("52-empty", "", "", "", "refused: NotAResponse(\"empty response\")"),
    ("52-error-event", "", "", "", "refused: NotAResponse(\"upstream_error\")"),
    ("52-error-event-with-choice", "", "", "", "refused: Busy { status: 502, retry_after_ms: None }"),
    ("52-error-json", "", "", "", "refused: NotAResponse(\"upstream_error\")"),
    ("52-error-list", "", "", "", "refused: Busy { status: 503, retry_after_ms: None }"),
    ("52-error-out-of-credit", "", "", "", "refused: OutOfCredit { status: 402 }"),
    ("52-error-with-status", "", "", "", "refused: Busy { status: 429, retry_after_ms: None }"),
    ("52-html", "", "", "", "refused: NotAResponse(\"a web page\")"),
    ("52-keepalives-only", "", "", "", "refused: NotAResponse(\"empty response\")"),
    ("52-other-json", "", "", "", "refused: NotAResponse(\"JSON that is no completion\")"),
    ("52-text", "", "", "", "refused: NotAResponse(\"text that is no stream of events\")"),
    ("52-whole", "Six by seven.", "42", U, "Complete"),
    ("52-whole-after-whitespace", "", "42", U, "Length"),
    ("52-whole-in-one-event", "", "42", U, "Complete"),
    ("53-anthropic-done", "", "42", U, "Complete"),
    ("53-anthropic-done-first", "", "42", U, "Complete"),
    ("53-anthropic-words-then-error", "", "42", "9 0 0 0 1 0 ~", "StreamFailed(\"overloaded_error\")"),
    ("53-words-and-error-in-one-event", "", "42", "", "StreamFailed(\"server_error\")"),
    ("53-words-then-error", "", "42", "", "StreamFailed(\"upstream_error\")"),
    ("53-words-then-garbage", "", "42", "", "StreamFailed(\"unexpected JSON\")"),
    ("54-anthropic-text-in-block-start", "", "Hello", U, "Complete"),
    ("54-anthropic-thinking-in-block-start", "Six by seven.", "42", U, "Complete"),
    ("55-anthropic-cache-lifetimes", "", "42", "21 0 300 200 2 0", "Complete"),
    ("56-think", "**First**, add.\n", "It is **4**.", U, "Complete"),
    ("56-think-beside-reasoning", "First, add.", "It is **4**.", U, "Complete"),
    ("56-think-closing-only", "", "First, add.\n\n\nIt is **4**.", U, "Complete"),
    ("57-role-first", "", "42", U, "Complete"),
    ("58-anthropic-low-balance", "", "", "", "refused: OutOfCredit { status: 400 }"),
    ("58-busy-for-a-fraction", "", "", "", "refused: Busy { status: 429, retry_after_ms: Some(1500) }"),
    ("58-busy-until-a-date", "", "", "", "refused: Busy { status: 503, retry_after_ms: Some(7000) }"),
    ("58-gateway-timeout", "", "", "", "refused: TimedOut"),
    ("58-insufficient-quota", "", "", "", QUOTA),
    ("58-payment-required", "", "", "", "refused: OutOfCredit { status: 402 }"),
    (
        "59-anthropic-prompt-too-long",
        "",
        "",
        "",
        "refused: TooLong { status: 400, tokens: Some(205351), max: Some(200000) }",
    ),
    ("59-anthropic-wrong-key", "", "", "", "refused: KeyRejected { status: 401 }"),
    ("59-context-length", "", "", "", "refused: TooLong { status: 400, tokens: Some(9000), max: Some(8192) }"),
    ("59-context-size", "", "", "", "refused: TooLong { status: 400, tokens: Some(5000), max: Some(4096) }"),
    ("59-moderated", "", "", "", "refused: Refused { status: 403, kind: \"403\" }"),
    ("59-no-permission", "", "", "", "refused: KeyRejected { status: 403 }"),
    ("59-other", "", "", "", "refused: Refused { status: 400, kind: \"invalid_request_error\" }"),
    ("59-request-too-large", "", "", "", "refused: TooLong { status: 413, tokens: None, max: None }"),
    ("59-unknown-model", "", "", "", "refused: UnknownModel { status: 404 }"),
    ("59-unknown-model-as-bad-request", "", "", "", "refused: UnknownModel { status: 400 }"),
    ("59-wrong-key", "", "", "", "refused: KeyRejected { status: 401 }"),
    ("59-wrong-key-as-bad-request", "", "", "", "refused: KeyRejected { status: 400 }"),
    ("60-anthropic-length-in-thinking", "Six by seven", "", "9 0 0 0 16 0", "Length"),
    ("60-length-in-reasoning", "Six by seven", "", "9 0 0 0 16 16", "Length"),
];

/// Reads a file whose body arrives in pieces of at most `size` bytes.
fn read(name: &str, size: usize) -> Summary {
    let text = fs::read_to_string(fixtures("odd").join(format!("{name}.http"))).unwrap();
    let (head, body) = text.split_once("\n\n").unwrap();
    let (status, headers) = head.split_once('\n').unwrap();
    let status: u16 = status.split(' ').nth(1).unwrap().parse().unwrap();
    if (200..300).contains(&status) {
        return Summary::new(decode(name, body.as_bytes().chunks(size), Close::Clean));
    }
    let mut map = HeaderMap::new();
    for (name, value) in headers.lines().map(|line| line.split_once(": ").unwrap()) {
        map.insert(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
    }
    let retry_after_ms = retry_after::read(&map, OffsetDateTime::UNIX_EPOCH);
    let failure = Failure { status, retry_after_ms, body: ErrorBody::from_text(body) };
    Summary::new(Err(failure.into_error()))
}

/// Field notes 43 to 60: each response is read as it should be, in pieces of any size.
#[test]
fn odd_responses_are_read() {
    for (name, reasoning, text, usage, last) in CASES {
        let expected =
            Summary { reasoning: reasoning.into(), text: text.into(), usage: usage.into(), last: last.into() };
        for size in [1, 2, 7, 64, usize::MAX] {
            assert_eq!(read(name, size), expected, "{name} in pieces of {size} bytes");
        }
    }
}

#[test]
fn each_odd_file_has_a_case() {
    let files: BTreeSet<String> = fs::read_dir(fixtures("odd"))
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    let cases: BTreeSet<String> = CASES.iter().map(|(name, ..)| (*name).to_owned()).collect();
    assert_eq!(files, cases);
}

/// Field note 59: the message of an error is never kept, because it may quote the prompt.
#[test]
fn messages_are_not_kept() {
    for name in ["59-other", "52-error-json", "53-words-then-error", "52-error-list"] {
        let last = read(name, usize::MAX).last;
        assert!(
            !last.contains("secret") && !last.contains("upstream failed") && !last.contains("overloaded"),
            "{last}"
        );
    }
}

/// Field note 58: after which errors another model is called, and which ones an owner must fix.
#[test]
fn errors_say_what_to_do() {
    for (error, allows_fallback, needs_owner, may_be_billed) in [
        (ProviderError::OutOfCredit { status: 402 }, true, true, false),
        (ProviderError::KeyRejected { status: 401 }, true, true, false),
        (ProviderError::UnknownModel { status: 404 }, true, false, false),
        (ProviderError::NotAResponse("a web page".into()), true, false, false),
        (ProviderError::TooLong { status: 413, tokens: None, max: None }, false, false, false),
        (ProviderError::TimedOut, false, false, true),
    ] {
        assert_eq!(
            (error.allows_fallback(), error.needs_owner(), error.may_be_billed()),
            (allows_fallback, needs_owner, may_be_billed),
            "{error}"
        );
    }
}
