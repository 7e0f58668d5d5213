//! Streams that differ from the documentation: keep-alives, parts, a missing end, several events in one write.

use super::{Expected, HAIKU, MINI, app, ask, assert_row, finish, reload, rows, tokens};
use domain::{TurnEvent, UsageSource};

/// Field notes 45 to 48, 53 and 54: each stream is a complete answer with exact usage, in one write or byte by byte.
#[tokio::test]
async fn odd_streams_are_complete_answers() {
    let app = app().await;
    let ann = app.user("ann@example.com").await;
    for (fixture, model, text, reasoning) in [
        ("45-nulls", MINI, "42", ""),
        ("46-keepalives-openai", MINI, "42", ""),
        ("46-keepalives-anthropic", HAIKU, "42", ""),
        ("47-parts", MINI, "42", "Six by seven."),
        ("48-no-finish", MINI, "42", ""),
        ("53-done-anthropic", HAIKU, "42", ""),
        ("54-start-text", HAIKU, "Hello", ""),
    ] {
        for bytes in ["", "{{bytes}}"] {
            let answer = ask(&ann, model, &format!("{{{{fixture:{fixture}}}}}{bytes}")).await;
            assert_eq!((answer.text.as_str(), answer.reasoning.as_str()), (text, reasoning), "{fixture}");
            let (outcome, usage, source) = finish(&answer);
            assert_eq!((outcome, source), ("finished", UsageSource::Exact), "{fixture}");
            let rows = rows(&app, answer.turn).await;
            let id = rows[0].provider_request_id.clone();
            assert!(id.is_some() && rows[0].total() == usage.counted().0, "{fixture} {rows:?}");
            let page = reload(&ann, &answer).await;
            assert!(page.contains(text) && page.contains(reasoning), "{fixture}");
        }
    }
    assert_eq!(app.one::<i64>("select count(*) from ai_usage where provider_failed").await, 0);
}

/// Field note 48: an end without any word is a failure, and is counted as one.
#[tokio::test]
async fn an_end_without_words_is_a_failure() {
    let app = app().await;
    let ann = app.user("ann@example.com").await;
    let answer = ask(&ann, MINI, "{{fixture:48-nothing}}").await;
    assert!(matches!(answer.last, TurnEvent::Failed { .. }), "{answer:?}");
    let row = rows(&app, answer.turn).await.remove(0);
    assert_eq!(
        (row.status.as_str(), row.usage_source.as_deref(), row.provider_failed),
        ("failed", Some("estimated"), true)
    );
    assert!(reload(&ann, &answer).await.contains("Response interrupted"));
}

/// Field note 53: words and an error in one write: all words are kept, then the response has failed.
#[tokio::test]
async fn words_before_an_error_are_kept() {
    let app = app().await;
    let ann = app.user("ann@example.com").await;
    for bytes in ["", "{{bytes}}"] {
        let answer = ask(&ann, MINI, &format!("{{{{fixture:53-words-and-error}}}}{bytes}")).await;
        assert_eq!(answer.text, "Hello wor");
        let TurnEvent::Failed { problem } = &answer.last else { panic!("{answer:?}") };
        assert!(problem.message.contains("What it wrote is saved"), "{problem:?}");
        let row = rows(&app, answer.turn).await.remove(0);
        let usage = tokens(row.estimated_tokens.cast_unsigned(), 0, 0, 0, row.output_tokens.cast_unsigned(), 0);
        assert!(row.output_tokens >= 2, "{row:?}");
        let expected = Expected { request_id: Some("chatcmpl-53"), ..Expected::broken(MINI, usage) };
        assert_row(&app, &answer, expected).await;
        let page = reload(&ann, &answer).await;
        assert!(page.contains("Hello wor") && page.contains("Response interrupted"));
    }
}
