//! Requests that servers accept: one name for the output limit, no blank messages, nothing that a model refused before.

use super::{Expected, HAIKU, MINI, app, ask, ask_in, assert_row, finish, rows, tokens};
use crate::app::TestApp;
use uuid::Uuid;

/// Returns the messages of the newest call, each as its author and text.
fn last_sent(app: &TestApp) -> Vec<(String, String)> {
    let served = app.provider.served_calls().pop().unwrap();
    served.sent.into_iter().map(|sent| (sent.role, sent.text)).collect()
}

fn sent(messages: &[(&str, &str)]) -> Vec<(String, String)> {
    messages.iter().map(|(role, text)| ((*role).to_owned(), (*text).to_owned())).collect()
}

/// Field note 43: a request has one name for the output limit. When a server rejects it, the call is repeated with the other name within the
/// same ledger row, and the name is kept for all later calls.
#[tokio::test]
async fn the_name_of_the_output_limit_is_learned_once() {
    for (known, rejected, accepted) in [
        ("'max_completion_tokens'", "max_completion_tokens", "max_tokens"),
        ("'max_tokens'", "max_tokens", "max_completion_tokens"),
        // A server that isn't known to accept either is asked with the older name first.
        ("null", "max_tokens", "max_completion_tokens"),
    ] {
        let app = app().await;
        let ann = app.user("ann@example.com").await;
        let sql = format!("update model set output_limit = {known} where model = 'gpt-5-mini'");
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&app.db).await.unwrap();
        let text = format!("{{{{words:4}}}}{{{{rejects:{rejected}}}}} first");
        let answer = ask(&ann, MINI, &text).await;
        assert_eq!(
            (answer.text.as_str(), app.provider.call_count(&text)),
            ("word1 word2 word3 word4 ", 2),
            "{rejected}"
        );
        let served = app.provider.served_calls();
        assert_eq!((served.len(), served[0].limit_name.as_str(), served[0].max_output), (1, accepted, 4_096));
        let usage = tokens(served[0].input, 0, 0, 0, 8, 0);
        assert_row(&app, &answer, Expected { request_id: Some("chatcmpl-fake"), ..Expected::exact(MINI, usage) }).await;
        app.until(match accepted {
            "max_tokens" => "select coalesce(output_limit = 'max_tokens', false) from model where model = 'gpt-5-mini'",
            _ => "select coalesce(output_limit = 'max_completion_tokens', false) from model where model = 'gpt-5-mini'",
        })
        .await;
        // From now on the first attempt is accepted, on every server.
        let (url, _stop) = app.start_second().await;
        let there = crate::visitor::TestClient { url, ..ann.clone() };
        for (n, client) in [&ann, &there].into_iter().enumerate() {
            let text = format!("{text} again {n}");
            ask(client, MINI, &text).await;
            assert_eq!(app.provider.call_count(&text), 1, "{rejected}");
        }
        assert_eq!(ask(&ann, HAIKU, "{{words:1}}").await.text, "word1 ");
        assert!(app.provider.violations().is_empty(), "{:?}", app.provider.violations());
    }
}

/// Field note 43: the refusals of other servers are understood as well.
#[tokio::test]
async fn rejections_of_the_output_limit_are_understood() {
    let app = app().await;
    let ann = app.user("ann@example.com").await;
    for (fixture, known) in [("43-both-names", "max_tokens"), ("43-extra-forbidden", "max_completion_tokens")] {
        let sql = "update model set output_limit = $1 where model = 'gpt-5-mini'";
        sqlx::query(sql).bind(known).execute(&app.db).await.unwrap();
        let text = format!("{{{{fixture:{fixture}}}}}{{{{times:1}}}}{{{{words:2}}}}");
        assert_eq!(ask(&ann, MINI, &text).await.text, "word1 word2 ", "{fixture}");
        assert_eq!(app.provider.call_count(&text), 2, "{fixture}");
        assert_ne!(app.provider.served_calls().pop().unwrap().limit_name, known);
    }
}

/// Field note 50: an answer of blank lines isn't sent along with the next question, and the questions around it become one message.
#[tokio::test]
async fn blank_messages_are_never_sent() {
    let app = app().await;
    let ann = app.user("ann@example.com").await;
    for model in [HAIKU, MINI] {
        let first = ask(&ann, model, "{{words:1}} first").await;
        let sql = "update message set body = E'\\n\\n' where role = 'assistant' and conversation_id = $1";
        sqlx::query(sql).bind(first.conversation).execute(&app.db).await.unwrap();
        let second = ask_in(&ann, Some(first.conversation), model, "{{words:2}} second").await;
        assert_eq!(second.text, "word1 word2 ", "{model}");
        assert_eq!(last_sent(&app), sent(&[("user", "{{words:1}} first\n\n{{words:2}} second")]), "{model}");
        ask_in(&ann, Some(first.conversation), model, "third").await;
        let (questions, answer) = ("{{words:1}} first\n\n{{words:2}} second", "word1 word2 ");
        assert_eq!(last_sent(&app), sent(&[("user", questions), ("assistant", answer), ("user", "third")]), "{model}");
        let rows = rows(&app, second.turn).await;
        assert_eq!(
            (rows.len(), rows[0].status.as_str(), rows[0].usage_source.as_deref()),
            (1, "finished", Some("exact"))
        );
    }
    assert!(app.provider.violations().is_empty(), "{:?}", app.provider.violations());
}

/// Field note 50: a blank answer is stored as it came, and isn't sent along either.
#[tokio::test]
async fn a_blank_answer_is_not_sent_again() {
    let app = app().await;
    let ann = app.user("ann@example.com").await;
    let question = "{{fixture:50-blank-answer}}{{only:gpt-5-mini}}";
    let first = ask(&ann, MINI, question).await;
    assert_eq!(first.text, "\n\n");
    ask_in(&ann, Some(first.conversation), HAIKU, "{{words:1}} and now?").await;
    assert_eq!(last_sent(&app), sent(&[("user", &format!("{question}\n\n{{{{words:1}}}} and now?"))]));
}

/// Field note 51: a question that the model declined, or whose answer the filter withheld, isn't sent along with the next one.
#[tokio::test]
async fn refused_questions_are_not_sent_again() {
    let app = app().await;
    let ann = app.user("ann@example.com").await;
    for (model, directive, outcome) in [(HAIKU, "{{refuse}}", "refused"), (MINI, "{{filter}}", "filtered")] {
        let first = ask(&ann, model, "{{words:1}} first").await;
        let conversation: Option<Uuid> = Some(first.conversation);
        let declined = ask_in(&ann, conversation, model, &format!("{{{{words:2}}}}{directive} second")).await;
        assert_eq!(finish(&declined).0, outcome);
        ask_in(&ann, conversation, model, "{{words:1}} third").await;
        let expected = sent(&[("user", "{{words:1}} first"), ("assistant", "word1 "), ("user", "{{words:1}} third")]);
        assert_eq!(last_sent(&app), expected, "{model}");
    }
    assert!(app.provider.violations().is_empty(), "{:?}", app.provider.violations());
}

/// Field note 56: reasoning in tags is kept out of the answer, and isn't sent again.
#[tokio::test]
async fn reasoning_in_tags_is_not_sent_again() {
    let app = app().await;
    let ann = app.user("ann@example.com").await;
    let first = ask(&ann, MINI, "{{fixture:56-think}}").await;
    ask_in(&ann, Some(first.conversation), MINI, "{{words:1}} and now?").await;
    let last = last_sent(&app);
    assert_eq!(last.iter().map(|(role, _)| role.as_str()).collect::<Vec<_>>(), ["user", "assistant", "user"]);
    assert_eq!(last[1].1, "It is **4**.");
}

/// Requests carry no sampling parameters and no assistant's message at their end, whatever happened before.
#[tokio::test]
async fn every_request_is_one_that_providers_accept() {
    let app = app().await;
    let ann = app.user("ann@example.com").await;
    for model in [HAIKU, MINI] {
        let mut conversation = None;
        for text in [
            "{{words:3}}{{break:1}}",
            "{{words:3}}{{cut:0}}",
            "{{toolcall}}{{words:0}}",
            "{{words:2}}{{nofinish}}",
            "{{words:0}}{{reasoning:4}}",
            "{{words:1}}",
        ] {
            let answer = ask_in(&ann, conversation, model, &format!("{text} {model}")).await;
            conversation = Some(answer.conversation);
        }
        // Questions without an answer are sent along, as one message with the new one.
        let last = last_sent(&app);
        assert!(last.last().unwrap().1.ends_with(&format!("{{{{words:1}}}} {model}")), "{last:?}");
    }
    assert!(app.provider.violations().is_empty(), "{:?}", app.provider.violations());
}
