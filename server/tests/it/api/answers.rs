//! Answers in each format, whole and streamed, by models of each provider format, and their ledger rows.

use super::{
    CHAT, FORMATS, HAIKU, MESSAGES, MINI, Program, app, body, events_of, rows, streamed_text, text_of, usage_of,
};
use crate::turns::assert_all_settled;
use http::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

/// Field note 32: API calls take the same path as the chat. Each has a ledger row that equals what its provider served, in the response's usage
/// too, and the user's meter counts it.
#[tokio::test]
async fn every_format_answers_with_every_model_and_is_booked_exactly() {
    let app = app().await;
    let ann = app.user("ann@example.com").await;
    let program = Program::of(&app, "ann@example.com").await;
    for path in FORMATS {
        for model in [HAIKU, MINI] {
            for stream in [false, true] {
                let name = format!("{path} {model} {stream}");
                let text = format!("{{{{words:7}}}} for {name}");
                let response = program.post(path, &body(path, model, &text, stream)).await;
                assert_eq!(response.status(), StatusCode::OK, "{name}");
                assert_eq!(response.headers()["x-model"], model, "{name}");
                let sent = response.text().await.unwrap();
                let served = app.provider.served_calls().pop().unwrap();
                let (found, usage) = match stream {
                    false => {
                        let whole: Value = serde_json::from_str(&sent).unwrap();
                        assert_eq!(whole["model"], model, "{name}");
                        (text_of(path, &whole), usage_of(path, &whole["usage"]))
                    }
                    true => {
                        let events = events_of(&sent);
                        (streamed_text(path, &events), last_usage(path, &events))
                    }
                };
                assert_eq!(found, served.text, "{name}");
                let row = rows(&app).await.pop().unwrap();
                let input = (served.input + served.cache_read + served.cache_write).cast_signed();
                assert_eq!((row.input, row.output), (input, served.output.cast_signed()), "{name}");
                assert_eq!((usage.0, usage.1), (row.input, row.output), "{name}");
                assert_eq!((row.status.as_str(), row.usage_source.as_deref()), ("finished", Some("exact")), "{name}");
                assert_eq!((row.purpose.as_str(), row.model.as_str()), ("api", model), "{name}");
                assert_eq!(row.api_key_id, Some(Uuid::from(program.id)), "{name}");
            }
        }
    }
    ann.send_and_read("{{words:3}}").await;
    let purposes: Vec<String> = rows(&app).await.into_iter().map(|row| row.purpose).collect();
    assert_eq!(purposes.iter().filter(|purpose| *purpose == "api").count(), 12);
    assert_eq!(purposes.last().map(String::as_str), Some("chat"));
    assert_all_settled(&app, &ann).await;
    assert_eq!(app.one::<i64>("select count(*) from message").await, 2, "nothing is kept of the text of the calls");
    assert_eq!(app.provider.violations(), Vec::<String>::new());
}

/// Returns the usage at the end of a stream.
pub(super) fn last_usage(path: &str, events: &[Value]) -> (i64, i64) {
    match path {
        CHAT => usage_of(path, &events.iter().rfind(|event| event["usage"].is_object()).unwrap()["usage"]),
        MESSAGES => {
            let start = usage_of(path, &events[0]["message"]["usage"]);
            let end = events.iter().rfind(|event| event["type"] == "message_delta").unwrap();
            let end = usage_of(path, &end["usage"]);
            (if end.0 > 0 { end.0 } else { start.0 }, end.1)
        }
        _ => usage_of(path, &events.last().unwrap()["response"]["usage"]),
    }
}

/// A model that can't be reached is answered for by its fallback, which the response names.
#[tokio::test]
async fn a_fallback_answers_under_its_own_name() {
    let app = app().await;
    app.user("ann@example.com").await;
    let program = Program::of(&app, "ann@example.com").await;
    app.cut_off(HAIKU).await;
    app.sql("update model set fallback = 'gpt-5-mini' where model = 'claude-haiku-4-5'").await;
    let answer = program.ask(MESSAGES, HAIKU, "{{words:3}}").await;
    assert_eq!((answer["model"].as_str(), text_of(MESSAGES, &answer).as_str()), (Some(MINI), "word1 word2 word3 "));
    let found: Vec<_> = rows(&app).await.into_iter().map(|row| (row.status, row.model, row.api_key_id)).collect();
    let key = Some(Uuid::from(program.id));
    assert_eq!(found, [("failed".to_owned(), HAIKU.to_owned(), key), ("finished".to_owned(), MINI.to_owned(), key)]);
}

/// The output is bounded by the request, by the plan and by the model, and its end says so.
#[tokio::test]
async fn the_output_is_bounded() {
    let app = app().await;
    app.user("ann@example.com").await;
    let program = Program::of(&app, "ann@example.com").await;
    let mut request = body(MESSAGES, HAIKU, "{{words:900}}", false);
    request["max_tokens"] = json!(20);
    let answer: Value = program.post(MESSAGES, &request).await.json().await.unwrap();
    assert_eq!(answer["stop_reason"], "max_tokens");
    assert_eq!(app.provider.served_calls()[0].max_output, 20);
    app.sql("update plan set max_output = 300").await;
    let mut request = body(CHAT, MINI, "{{words:900}}", false);
    request["max_completion_tokens"] = json!(100_000);
    let answer: Value = program.post(CHAT, &request).await.json().await.unwrap();
    assert_eq!(answer["choices"][0]["finish_reason"], "length");
    assert_eq!(app.provider.served_calls()[1].max_output, 300);
    // Field note 18: a provider that ignores the limit is canceled.
    let answer = program.ask(CHAT, HAIKU, "{{words:2000}}{{endless}}").await;
    assert_eq!(answer["choices"][0]["finish_reason"], "length");
    let row = rows(&app).await.pop().unwrap();
    assert_eq!((row.status.as_str(), row.usage_source.as_deref()), ("truncated", Some("estimated")));
    assert!(row.output <= (300 + 300 / 8 + 20) * 7 / 5, "{row:?}");
}

/// The models of the plan and the key, in both shapes. Tokens are counted without a call.
#[tokio::test]
async fn models_and_tokens_can_be_asked_for() {
    let app = app().await;
    app.user("ann@example.com").await;
    let program = Program::of(&app, "ann@example.com").await;
    let list: Value = program.request("GET", "/v1/models").send().await.unwrap().json().await.unwrap();
    let names: Vec<&str> = list["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
    let plan: Vec<String> =
        sqlx::query_scalar("select model from plan_model where plan_id = 'free'").fetch_all(&app.db).await.unwrap();
    assert!(list["object"] == "list" && names.contains(&HAIKU) && !names.contains(&"demo"), "{names:?}");
    assert!(names.iter().all(|name| plan.iter().any(|model| model == name)), "{names:?}");
    let anthropic = program.request("GET", "/v1/models").header("anthropic-version", "2023-06-01");
    let list: Value = anthropic.send().await.unwrap().json().await.unwrap();
    assert_eq!((&list["has_more"], &list["data"][0]["type"]), (&json!(false), &json!("model")));
    let one: Value = program.request("GET", &format!("/v1/models/{HAIKU}")).send().await.unwrap().json().await.unwrap();
    assert_eq!((&one["id"], &one["object"]), (&json!(HAIKU), &json!("model")));
    assert_eq!(program.request("GET", "/v1/models/gpt-0").send().await.unwrap().status(), StatusCode::NOT_FOUND);
    let text = "How many tokens has this question?";
    let counted: Value = program
        .post("/v1/messages/count_tokens", &json!({"model": HAIKU, "messages": [{"role": "user", "content": text}]}))
        .await
        .json()
        .await
        .unwrap();
    program.ask(MESSAGES, HAIKU, text).await;
    let estimated = app.one::<i64>("select estimated_tokens from ai_usage").await;
    assert_eq!(counted["input_tokens"].as_i64(), Some(estimated));
}
