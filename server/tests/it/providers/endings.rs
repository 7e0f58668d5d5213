//! How an answer ends: each way has its own outcome and its own sentence, live and after a reload.

use super::{Expected, HAIKU, MINI, app, ask, assert_row, finish, reload, rows};
use crate::turns::assert_all_settled;
use domain::{TurnEvent, UsageSource};

const REFUSED: &str =
    "The model declined to answer. Rephrase your message; this exchange isn't sent along with the next one.";
const FILTERED: &str = "The provider's content filter withheld this response. Rephrase your message; this exchange isn't sent along with the next one.";
const TOOL_CALL: &str = "The model tried to use a tool that isn't available here. Try again, or rephrase your message.";
const USED_UP: &str = "The model used up the output limit while reasoning. Ask for a shorter answer, or choose a model or plan with a higher limit.";

/// Field note 51: a refusal and a content filter are outcomes of their own, with exact usage.
#[tokio::test]
async fn refusals_and_filters_have_their_own_outcome() {
    let app = app().await;
    let ann = app.user("ann@example.com").await;
    for (text, model, outcome, sentence) in [
        ("{{fixture:51-refusal-anthropic}}", HAIKU, "refused", REFUSED),
        ("{{refuse}}{{words:2}}", HAIKU, "refused", REFUSED),
        ("{{fixture:51-content-filter}}", MINI, "filtered", FILTERED),
        ("{{filter}}{{words:0}}{{reasoning:1}}", MINI, "filtered", FILTERED),
    ] {
        let answer = ask(&ann, model, text).await;
        let (found, usage, source) = finish(&answer);
        assert_eq!((found, source), (outcome, UsageSource::Exact), "{text}");
        let id = rows(&app, answer.turn).await[0].provider_request_id.clone().unwrap();
        let expected = Expected {
            status: outcome,
            request_id: Some(id.leak()),
            has_words: !(answer.text.is_empty() && answer.reasoning.is_empty()),
            ..Expected::exact(model, usage)
        };
        assert_row(&app, &answer, expected).await;
        assert!(reload(&ann, &answer).await.contains(sentence), "{text}");
        let kept: String = sqlx::query_scalar("select status from message where turn_id = $1 and role = 'assistant'")
            .bind(answer.turn)
            .fetch_one(&app.db)
            .await
            .unwrap();
        assert_eq!(kept, outcome, "{text}");
    }
    assert_all_settled(&app, &ann).await;
}

/// Field note 51: a call of a tool that was never offered fails with its own sentence. Its usage is exact, and the provider isn't blamed.
#[tokio::test]
async fn a_tool_call_has_its_own_sentence() {
    let app = app().await;
    let ann = app.user("ann@example.com").await;
    for (text, model) in
        [("{{fixture:51-tool-calls}}", MINI), ("{{toolcall}}{{words:2}}", MINI), ("{{toolcall}}{{words:2}}", HAIKU)]
    {
        let answer = ask(&ann, model, text).await;
        let TurnEvent::Failed { problem } = &answer.last else { panic!("{answer:?}") };
        assert_eq!((problem.kind, problem.message.as_str()), (domain::ProblemKind::ModelFailed, TOOL_CALL), "{text}");
        let row = rows(&app, answer.turn).await.remove(0);
        assert_eq!(
            (row.status.as_str(), row.usage_source.as_deref(), row.provider_failed),
            ("failed", Some("exact"), false),
            "{text}"
        );
        assert!(row.output_tokens > 0, "{row:?}");
        assert!(reload(&ann, &answer).await.contains(TOOL_CALL), "{text}");
    }
}

/// Field note 51: `finish_reason: error` is a failure of the provider.
#[tokio::test]
async fn an_error_as_finish_reason_is_a_failure() {
    let app = app().await;
    let ann = app.user("ann@example.com").await;
    let answer = ask(&ann, MINI, "{{fixture:51-error-reason}}").await;
    assert!(matches!(answer.last, TurnEvent::Failed { .. }), "{answer:?}");
    let row = rows(&app, answer.turn).await.remove(0);
    assert_eq!(
        (row.status.as_str(), row.usage_source.as_deref(), row.provider_failed),
        ("failed", Some("estimated"), true)
    );
    assert!(reload(&ann, &answer).await.contains("Response interrupted"));
}

/// Field note 56: reasoning in tags is shown apart from the answer, which has no tags, however the tags are split.
#[tokio::test]
async fn reasoning_in_tags_is_kept_apart() {
    let app = app().await;
    let ann = app.user("ann@example.com").await;
    for bytes in ["", "{{bytes}}"] {
        let answer = ask(&ann, MINI, &format!("{{{{fixture:56-think-split}}}}{bytes}")).await;
        assert_eq!((answer.reasoning.trim(), answer.text.trim()), ("**First**, add.", "It is **4**."));
        let (body, reasoning): (String, String) =
            sqlx::query_as("select body, reasoning from message where turn_id = $1 and role = 'assistant'")
                .bind(answer.turn)
                .fetch_one(&app.db)
                .await
                .unwrap();
        assert_eq!((body.trim(), reasoning.trim()), ("It is **4**.", "**First**, add."));
        let page = reload(&ann, &answer).await;
        assert!(page.contains("<strong>4</strong>") && page.contains("**First**, add.") && !page.contains("think&gt;"));
        let answer = ask(&ann, MINI, &format!("{{{{fixture:56-closing-only}}}}{bytes}")).await;
        assert!(!answer.text.contains("think>") && answer.text.trim().ends_with("It is **4**."), "{answer:?}");
        assert_eq!(finish(&answer).0, "finished");
    }
}

/// Field note 60: reasoning that used up the output limit is stored and shown, with what to do about it.
#[tokio::test]
async fn reasoning_without_an_answer_is_kept_and_explained() {
    let app = app().await;
    let ann = app.user("ann@example.com").await;
    for (text, model) in [
        ("{{fixture:60-reasoning-length}}", MINI),
        ("{{words:3}}{{reasoning:50}}", MINI),
        ("{{words:3}}{{reasoning:50}}", HAIKU),
    ] {
        if text.contains("words") {
            app.sql("update model set max_output = 20").await;
        }
        let answer = ask(&ann, model, text).await;
        let (outcome, usage, source) = finish(&answer);
        assert_eq!((outcome, source, answer.text.as_str()), ("truncated", UsageSource::Exact, ""), "{text}");
        assert!(!answer.reasoning.is_empty() && usage.output.0 > 0, "{text}");
        let stored: String =
            sqlx::query_scalar("select reasoning from message where turn_id = $1 and role = 'assistant'")
                .bind(answer.turn)
                .fetch_one(&app.db)
                .await
                .unwrap();
        assert_eq!(stored, answer.reasoning, "{text}");
        let page = reload(&ann, &answer).await;
        let first = answer.reasoning.split_whitespace().next().unwrap();
        assert!(page.contains(USED_UP) && page.contains("<details") && page.contains(first), "{text}");
        let row = rows(&app, answer.turn).await.remove(0);
        assert_eq!((row.status.as_str(), row.output_tokens), ("truncated", usage.output.to_db()), "{text}");
    }
    let answer = ask(&ann, HAIKU, "{{words:2}}{{reasoning:3}}").await;
    let page = reload(&ann, &answer).await;
    assert!(
        page.contains("thought0 thought1 thought2") && !page.contains(USED_UP),
        "reasoning is shown after a reload"
    );
}
