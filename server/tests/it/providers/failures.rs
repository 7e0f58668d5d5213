//! Recorded responses that break off, and answers that end in an unusable way: what was received is kept, and at least that is booked.

use super::{Expected, HAIKU, MINI, TOOL_CALL, app, ask, assert_row, reload, rows, tokens};
use domain::{ProblemKind, TurnEvent};

/// Field notes 48, 51 and 53: words before a failure are kept, the page says that the response was interrupted, and the row is an estimate
/// that isn't below what was streamed.
#[tokio::test]
async fn interrupted_responses_keep_their_words() {
    // File, text, the provider's count of the prompt, and the number of pieces in which the text came.
    for (fixture, text, input, pieces) in [
        ("48-interrupted", "42", None, 1),
        ("48-no-words", "", Some(9), 0),
        ("51-error-reason", "4", None, 1),
        ("53-anthropic-words-then-error", "42", Some(9), 1),
        ("53-words-and-error-in-one-event", "42", None, 2),
        ("53-words-then-error", "42", None, 2),
        ("53-words-then-garbage", "42", None, 1),
    ] {
        let app = app().await;
        let ann = app.user("ann@example.com").await;
        let (model, id) = if fixture.contains("anthropic") { (HAIKU, "msg_odd") } else { (MINI, "chatcmpl-odd") };
        for bytes in ["", "{{bytes}}"] {
            let answer = ask(&ann, model, &format!("{{{{fixture:{fixture}}}}}{bytes}")).await;
            assert_eq!(answer.text, text, "{fixture}");
            let TurnEvent::Failed { problem } = &answer.last else { panic!("{answer:?}") };
            assert_eq!(problem.kind, ProblemKind::ModelFailed);
            assert_eq!(problem.message.contains("What it wrote is saved"), !text.is_empty(), "{fixture}: {problem:?}");
            let row = rows(&app, answer.turn).await.remove(0);
            assert!(row.output_tokens >= pieces, "{fixture}: {row:?}");
            let input = input.unwrap_or(row.estimated_tokens.cast_unsigned());
            let usage = tokens(input, 0, 0, 0, row.output_tokens.cast_unsigned(), 0);
            let (request_id, has_words) = (Some(id), !text.is_empty());
            assert_row(&app, &answer, Expected { request_id, has_words, ..Expected::broken(model, usage) }).await;
            let stored: (String, String) =
                sqlx::query_as("select body, status from message where turn_id = $1 and role = 'assistant'")
                    .bind(answer.turn)
                    .fetch_one(&app.db)
                    .await
                    .unwrap();
            assert_eq!(stored, (text.to_owned(), "failed".to_owned()), "{fixture}");
            assert!(reload(&ann, &answer).await.contains("Response interrupted"), "{fixture}");
        }
    }
}

/// Field note 51: a call of a tool that was never offered fails with its own sentence, live and after a reload. Its usage is exact, and the
/// provider isn't blamed.
#[tokio::test]
async fn a_tool_call_has_its_own_sentence() {
    let app = app().await;
    let ann = app.user("ann@example.com").await;
    for (text, model, received) in [
        ("{{fixture:51-tool-calls}}", MINI, ""),
        ("{{fixture:51-tool-calls-that-say-stop}}", MINI, ""),
        ("{{fixture:51-anthropic-tool-use}}", HAIKU, "One moment."),
        ("{{toolcall}}{{words:2}}", MINI, "word1 word2 "),
        ("{{toolcall}}{{words:2}}", HAIKU, "word1 word2 "),
    ] {
        let answer = ask(&ann, model, text).await;
        assert_eq!(answer.text, received, "{text}");
        let TurnEvent::Failed { problem } = &answer.last else { panic!("{answer:?}") };
        assert_eq!((problem.kind, problem.message.as_str()), (ProblemKind::ModelFailed, TOOL_CALL), "{text}");
        let (usage, id) = match (app.provider.served_calls().pop().unwrap(), model) {
            (served, MINI) if served.ended => (tokens(served.input, 0, 0, 0, 4, 0), "chatcmpl-fake"),
            (served, _) if served.ended => (tokens(served.input, 0, 0, 0, 4, 0), "msg_fake"),
            (_, MINI) => (tokens(9, 0, 0, 0, 2, 0), "chatcmpl-odd"),
            _ => (tokens(9, 0, 0, 0, 2, 0), "msg_odd"),
        };
        let has_words = !received.is_empty();
        let expected = Expected { status: "failed", request_id: Some(id), has_words, ..Expected::exact(model, usage) };
        assert_row(&app, &answer, expected).await;
        assert!(reload(&ann, &answer).await.contains(TOOL_CALL), "{text}");
    }
}
