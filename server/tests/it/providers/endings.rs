//! How an answer ends in the fake provider's own responses: refusals, and reasoning that used up the output limit.

use super::{Expected, HAIKU, MINI, REFUSED, USED_UP, app, ask, assert_row, finish, reload, tokens};
use domain::UsageSource;

/// Field note 51: a refusal of Anthropic's is an outcome of its own, with exact usage.
#[tokio::test]
async fn a_refusal_has_its_own_outcome() {
    let app = app().await;
    let ann = app.user("ann@example.com").await;
    let answer = ask(&ann, HAIKU, "{{refuse}}{{words:2}}").await;
    let served = app.provider.served_calls().pop().unwrap();
    let usage = tokens(served.input, 0, 0, 0, 4, 0);
    assert_eq!(finish(&answer), ("refused", usage, UsageSource::Exact));
    let expected = Expected { status: "refused", request_id: Some("msg_fake"), ..Expected::exact(HAIKU, usage) };
    assert_row(&app, &answer, expected).await;
    let page = reload(&ann, &answer).await;
    assert!(page.contains(REFUSED) && page.contains("word1 word2"));
}

/// Field note 60: reasoning that used up the output limit is stored and shown, with what to do about it.
#[tokio::test]
async fn reasoning_without_an_answer_is_kept_and_explained() {
    let app = app().await;
    let ann = app.user("ann@example.com").await;
    app.sql("update model set max_output = 20").await;
    for model in [MINI, HAIKU] {
        let answer = ask(&ann, model, "{{words:3}}{{reasoning:50}}").await;
        let (outcome, usage, source) = finish(&answer);
        assert_eq!((outcome, source, answer.text.as_str()), ("truncated", UsageSource::Exact, ""), "{model}");
        assert_eq!((usage.output.0, answer.reasoning.split_whitespace().count()), (20, 20), "{model}");
        let stored: String =
            sqlx::query_scalar("select reasoning from message where turn_id = $1 and role = 'assistant'")
                .bind(answer.turn)
                .fetch_one(&app.db)
                .await
                .unwrap();
        assert_eq!(stored, answer.reasoning, "{model}");
        let page = reload(&ann, &answer).await;
        assert!(page.contains(USED_UP) && page.contains("<details class=\"reasoning\"") && page.contains("thought19"));
        // With an answer there is nothing to explain, and the reasoning is shown all the same.
        let answer = ask(&ann, model, "{{words:2}}{{reasoning:3}}").await;
        let page = reload(&ann, &answer).await;
        assert!(page.contains("thought0 thought1 thought2") && !page.contains(USED_UP), "{model}");
    }
}
