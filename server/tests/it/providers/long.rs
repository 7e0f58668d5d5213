//! Conversations that outgrow their model: the oldest messages are summarized or left out, and the transcript says so.

use super::{Answer, HAIKU, app, ask_in, finish, reload, rows};
use crate::app::TestApp;
use crate::turns::assert_all_settled;
use crate::visitor::TestClient;
use domain::{HistoryCut, TurnEvent};
use fakes::Served;
use uuid::Uuid;

/// The cheapest model of the free plan, which writes the summaries.
const CHEAPEST: &str = "gpt-4o-mini";
const SUMMARIZED: &str = "Earlier messages no longer fit and were summarized for the model.";
const DROPPED: &str = "Earlier messages no longer fit and were left out.";

/// Starts a deployment whose default model reads only 2 500 tokens.
async fn app_with_short_context() -> TestApp {
    let app = app().await;
    app.sql("update model set context = 2500, max_output = 300 where model = 'claude-haiku-4-5'").await;
    app
}

fn cut_of(answer: &Answer) -> Option<HistoryCut> {
    match &answer.first {
        TurnEvent::Turn { history_cut, .. } => *history_cut,
        other => panic!("{other:?}"),
    }
}

/// Sends thirty messages in one conversation and returns the answers.
async fn thirty_turns(ann: &TestClient) -> Vec<Answer> {
    let mut answers: Vec<Answer> = Vec::new();
    for n in 0..30 {
        let conversation: Option<Uuid> = answers.last().map(|answer| answer.conversation);
        let text = format!("{{{{words:40}}}} question {n} about the lease, its end and its costs");
        let answer = ask_in(ann, conversation, HAIKU, &text).await;
        assert_eq!((finish(&answer).0, answer.text.split_whitespace().count()), ("finished", 40), "turn {n}");
        answers.push(answer);
    }
    answers
}

/// Returns the calls that the default model served, each with at most what it can read.
fn calls_within_the_context(app: &TestApp) -> Vec<Served> {
    let served: Vec<Served> = app.provider.served_calls().into_iter().filter(|call| call.model == HAIKU).collect();
    for call in &served {
        assert!(call.input + call.cache_read + call.cache_write + call.max_output <= 2_500, "{call:?}");
    }
    served
}

/// The thirtieth turn of a long conversation still answers. The oldest messages are summarized by the cheapest model, in calls that are
/// admitted and booked like any other.
#[tokio::test]
async fn the_oldest_messages_are_summarized() {
    let app = app_with_short_context().await;
    let ann = app.user("ann@example.com").await;
    let answers = thirty_turns(&ann).await;
    assert_eq!((cut_of(&answers[0]), cut_of(&answers[29])), (None, Some(HistoryCut::Summarized)));
    assert_all_settled(&app, &ann).await;
    // Each summary has its own row, as exact as any.
    let served = app.provider.served_calls();
    let summaries: Vec<&Served> = served.iter().filter(|call| call.model == CHEAPEST).collect();
    let (count, total): (i64, i64) = sqlx::query_as(
        "select count(*), sum(input_tokens + cache_read_tokens + cache_write_tokens + output_tokens)::bigint from ai_usage
         where purpose = 'summary' and model = 'gpt-4o-mini' and status = 'finished' and usage_source = 'exact' and cost_usd > 0
           and call_no = 1 and not provider_failed and user_id is not null",
    )
    .fetch_one(&app.db)
    .await
    .unwrap();
    assert_eq!(count.cast_unsigned(), summaries.len() as u64);
    assert_eq!(total.cast_unsigned(), summaries.iter().map(|call| call.total()).sum::<u64>());
    assert!(!summaries.is_empty() && summaries.len() < 20, "a summary is used for several turns: {}", summaries.len());
    assert!(summaries.iter().all(|call| call.max_output <= 1_024));
    assert_eq!(app.one::<i64>("select count(*) from ai_usage where purpose = 'summary'").await, count);
    assert_eq!(app.one::<i64>("select count(*) from ai_usage where purpose = 'chat'").await, 30);
    // The model reads the summary, the newest turns and the question.
    let last = calls_within_the_context(&app).pop().unwrap();
    let read: String = last.sent.iter().map(|sent| sent.text.as_str()).collect::<Vec<_>>().join("\n");
    assert!(read.contains("question 29") && read.contains("question 28") && read.contains("question 27"), "{read}");
    assert!(!read.contains("question 0 "), "{read}");
    let page = reload(&ann, &answers[29]).await;
    assert!(page.contains(SUMMARIZED) && page.contains("question 29"));
    let earlier = page.split_once("data-fragment=\"").and_then(|(_, rest)| rest.split_once('"')).unwrap().0;
    assert!(ann.text(earlier).await.contains("question 0 "), "the transcript keeps all messages");
    let cuts = "select count(*) filter (where history_cut = 'summarized'), count(*) filter (where history_cut = 'dropped') from turn";
    let cuts: (i64, i64) = sqlx::query_as(cuts).fetch_one(&app.db).await.unwrap();
    assert!(cuts.0 > 5 && cuts.1 == 0, "{cuts:?}");
    assert!(app.provider.violations().is_empty(), "{:?}", app.provider.violations());
}

/// If no summary can be made, the oldest messages are left out, and the transcript says so.
#[tokio::test]
async fn without_a_summary_the_oldest_messages_are_left_out() {
    let app = app_with_short_context().await;
    app.cut_off(CHEAPEST).await;
    let ann = app.user("ann@example.com").await;
    let answers = thirty_turns(&ann).await;
    assert_eq!((cut_of(&answers[0]), cut_of(&answers[29])), (None, Some(HistoryCut::Dropped)));
    assert_all_settled(&app, &ann).await;
    let last = calls_within_the_context(&app).pop().unwrap();
    assert!(last.sent.len() >= 5 && last.sent.iter().all(|sent| !sent.text.contains("question 0 ")), "{:?}", last.sent);
    assert!(reload(&ann, &answers[29]).await.contains(DROPPED));
    // The failed summaries cost nothing.
    let free =
        "select coalesce(bool_and(cost_usd = 0 and status = 'failed'), true) from ai_usage where purpose = 'summary'";
    assert!(app.one::<bool>(free).await);
    assert_eq!(
        app.one::<i64>("select count(*) from ai_usage where purpose = 'chat' and status = 'finished'").await,
        30
    );
    assert_eq!(rows(&app, answers[29].turn).await.len(), 1);
    assert!(app.provider.violations().is_empty(), "{:?}", app.provider.violations());
}

/// A question that doesn't fit even alone is refused with the numbers, as before.
#[tokio::test]
async fn a_question_that_does_not_fit_alone_is_413() {
    let app = app_with_short_context().await;
    let ann = app.user("ann@example.com").await;
    let (status, problem) = super::refused(&ann, HAIKU, &"word ".repeat(4_000)).await;
    assert_eq!((status.as_u16(), problem["kind"].as_str()), (413, Some("too_large")));
    assert!(app.provider.served_calls().is_empty());
}
