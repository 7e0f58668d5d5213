//! Recorded responses that are complete, each read as an answer: the events, the stored message, the page after a reload, and every column
//! of the ledger row.

use super::{Expected, FILTERED, HAIKU, MINI, REFUSED, USED_UP, app, ask, assert_row, finish, reload, tokens};
use crate::app::TestApp;
use crate::turns::assert_all_settled;
use crate::visitor::TestClient;
use domain::{Usage, UsageSource};

/// Input, cache reads, cache writes, the long-lived part of these, output, the reasoning part of that.
type Numbers = [u64; 6];

/// The usage of most recorded responses.
const U: Numbers = [9, 0, 0, 0, 2, 0];
const SIX: &str = "Six by seven.";

/// File, reasoning, text, outcome, usage. The file's name says its wire format.
const ANSWERS: [(&str, &str, &str, &str, Numbers); 50] = [
    ("44-cache-writes", "", "42", "finished", [100, 600, 500, 0, 5, 0]),
    ("44-cached-beside", "", "42", "finished", [30, 1_000, 0, 0, 5, 0]),
    ("44-hidden-reasoning", "", "42", "finished", [7, 0, 0, 0, 200, 0]),
    ("44-late-zeros", "", "42", "finished", U),
    ("44-reasoning-beside", "", "42", "finished", [26, 6, 0, 0, 103, 94]),
    ("44-reasoning-inside", "", "42", "finished", [500, 0, 0, 0, 500, 200]),
    ("44-usage-in-choice", "", "42", "finished", U),
    ("45-anthropic-nulls", "", "42", "finished", U),
    ("45-empty-reason", "", "42", "finished", U),
    ("45-nulls", "", "42", "finished", U),
    ("45-stop-with-every-event", SIX, "42", "finished", U),
    ("45-wrong-types", "", "42", "finished", U),
    ("46-anthropic-keepalives", "", "42", "finished", U),
    ("46-keepalives", "", "42", "finished", U),
    ("47-parts", SIX, "42", "finished", U),
    ("47-reasoning-details", SIX, "42", "finished", U),
    ("48-anthropic-no-message-stop", "", "42", "finished", U),
    ("48-no-finish-reason", "", "42", "finished", U),
    ("48-no-finish-reason-and-no-done", "", "42", "finished", U),
    ("48-unterminated", "", "42", "finished", U),
    ("48-unterminated-done", "", "42", "finished", U),
    ("49-anthropic-late-null-reason", "", "42", "truncated", U),
    ("49-anthropic-late-zeros", "", "42", "finished", [21, 1_000, 300, 0, 15, 0]),
    ("50-blank-answer", "", "\n\n", "finished", U),
    ("51-anthropic-refusal", "", "I can't ", "refused", U),
    ("51-anthropic-refusal-without-text", "", "", "refused", U),
    ("51-content-filter", "", "Once ", "filtered", U),
    ("51-content-filter-without-text", "", "", "filtered", U),
    ("51-refusal-text", "", "I can't help.", "refused", U),
    ("52-anthropic-whole", SIX, "42", "finished", U),
    ("52-whole", SIX, "42", "finished", U),
    ("52-whole-after-whitespace", "", "42", "truncated", U),
    ("52-whole-in-one-event", "", "42", "finished", U),
    ("53-anthropic-done", "", "42", "finished", U),
    ("53-anthropic-done-first", "", "42", "finished", U),
    ("54-anthropic-text-in-block-start", "", "Hello", "finished", U),
    ("54-anthropic-thinking-in-block-start", SIX, "42", "finished", U),
    ("55-anthropic-cache-lifetimes", "", "42", "finished", [21, 0, 300, 200, 2, 0]),
    ("56-think", "**First**, add.\n", "It is **4**.", "finished", U),
    ("56-think-beside-reasoning", "First, add.", "It is **4**.", "finished", U),
    ("56-think-closing-only", "", "First, add.\n\n\nIt is **4**.", "finished", U),
    ("57-role-first", "", "42", "finished", U),
    ("60-anthropic-length-in-thinking", "Six by seven", "", "truncated", [9, 0, 0, 0, 16, 0]),
    ("60-length-in-reasoning", "Six by seven", "", "truncated", [9, 0, 0, 0, 16, 16]),
    // The fake provider's own responses, the last six.
    ("{{words:2}}{{nofinish}}", "", "word1 word2 ", "finished", [0, 0, 0, 0, 4, 0]),
    ("{{refuse}}{{words:2}}", "", "word1 word2 I can't help with that.", "refused", [0, 0, 0, 0, 4, 0]),
    ("{{filter}}{{words:2}}", "", "word1 word2 ", "filtered", [0, 0, 0, 0, 4, 0]),
    ("{{cached:3}}{{cachewrite:8}}{{words:2}}", "", "word1 word2 ", "finished", [0, 3, 8, 0, 4, 0]),
    (
        "{{beside}}{{cached:2}}{{reasoning:2}}{{words:2}}",
        "thought0 thought1 ",
        "word1 word2 ",
        "finished",
        [0, 2, 0, 0, 6, 2],
    ),
    ("{{think:9}}{{words:2}}{{nototal}}", "", "word1 word2 ", "finished", [0, 0, 0, 0, 13, 9]),
];

/// Checks a response's events, stored message, page and ledger row.
async fn check(app: &TestApp, ann: &TestClient, case: (&str, &str, &str, &str, Numbers), bytes: &str) {
    let (name, reasoning, text, outcome, numbers) = case;
    let is_recorded = !name.starts_with('{');
    let model = if name.contains("anthropic") { HAIKU } else { MINI };
    let question = if is_recorded { format!("{{{{fixture:{name}}}}}{bytes}") } else { format!("{name}{bytes}") };
    let answer = ask(ann, model, &question).await;
    let [mut input, read, write, long, output, thoughts] = numbers;
    if !is_recorded {
        input = app.provider.served_calls().pop().unwrap().input;
    }
    let usage: Usage = tokens(input, read, write, long, output, thoughts);
    assert_eq!((answer.reasoning.as_str(), answer.text.as_str()), (reasoning, text), "{question}");
    assert_eq!(finish(&answer), (outcome_name(outcome), usage, UsageSource::Exact), "{question}");
    let request_id = match (is_recorded, model) {
        _ if name == "52-whole-after-whitespace" => None,
        (true, HAIKU) => Some("msg_odd"),
        (true, _) => Some("chatcmpl-odd"),
        (false, _) => Some("chatcmpl-fake"),
    };
    let has_words = !(text.is_empty() && reasoning.is_empty());
    let status = outcome_name(outcome);
    assert_row(app, &answer, Expected { status, request_id, has_words, ..Expected::exact(model, usage) }).await;
    let stored: (String, String, String) =
        sqlx::query_as("select body, reasoning, status from message where turn_id = $1 and role = 'assistant'")
            .bind(answer.turn)
            .fetch_one(&app.db)
            .await
            .unwrap();
    assert_eq!(stored, (text.to_owned(), reasoning.to_owned(), outcome.to_owned()), "{question}");
    let page = reload(ann, &answer).await;
    let sentence = match outcome {
        "refused" => Some(REFUSED),
        "filtered" => Some(FILTERED),
        "truncated" if text.is_empty() => Some(USED_UP),
        "truncated" => Some("Response cut off at the length limit"),
        _ => None,
    };
    assert!(sentence.is_none_or(|sentence| page.contains(sentence)), "{question}: {page}");
    assert_eq!(page.contains("class=\"reasoning\""), !reasoning.is_empty(), "{question}");
    assert!(page.contains(reasoning.trim()) && !page.contains("think&gt;"), "{question}");
    assert_eq!(text.contains("**4**"), page.contains("<strong>4</strong>"), "{question}");
}

fn outcome_name(name: &str) -> &'static str {
    ["finished", "truncated", "refused", "filtered"].into_iter().find(|known| *known == name).unwrap()
}

/// Field notes 44 to 57 and 60: each recorded response is an answer, whole and byte by byte.
#[tokio::test]
async fn odd_responses_are_complete_answers() {
    let app = app().await;
    let ann = app.user("ann@example.com").await;
    for case in ANSWERS {
        check(&app, &ann, case, "").await;
        if !case.0.starts_with('{') {
            check(&app, &ann, case, "{{bytes}}").await;
        }
    }
    assert_eq!(app.one::<i64>("select count(*) from ai_usage where provider_failed").await, 0, "no provider is blamed");
    assert_all_settled(&app, &ann).await;
    assert!(app.provider.violations().is_empty(), "{:?}", app.provider.violations());
}

/// Every recorded response is served by a test over HTTP, so that the next report is one more file and one more line.
#[test]
fn every_recorded_response_is_used() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/providers");
    let tests: String =
        std::fs::read_dir(folder).unwrap().map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/providers/fixtures/odd")).unwrap();
    let names = files.map(|file| file.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned());
    let unused: Vec<String> = names
        .filter(|name| !tests.contains(&format!("\"{name}\"")) && !tests.contains(&format!("fixture:{name}}}")))
        .collect();
    assert!(unused.is_empty(), "{unused:?}");
}
