//! The oracle: whatever is called in whichever format, every column of the ledger equals what the provider bills.

use super::answers::last_usage;
use super::{CHAT, FORMATS, HAIKU, MINI, Program, RESPONSES, app, body, events_of, rows, usage_of};
use crate::app::TestApp;
use crate::settings::is_long;
use futures::{StreamExt as _, stream};
use http::StatusCode;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};

/// A PNG image of one pixel.
const PIXEL: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

/// A random request: its path and its body.
fn random_call(rng: &mut StdRng, n: usize) -> (&'static str, Value) {
    let mut below = |max: usize| rng.random_range(0..max);
    let (path, model) = (FORMATS[below(3)], [HAIKU, MINI][below(2)]);
    let (words, stream) = (1 + below(30), below(2) == 0);
    let script = match below(6) {
        // Anthropic's format doesn't report reasoning by itself.
        0 if model == MINI => format!("{{{{words:{words}}}}}{{{{reasoning:{}}}}}", 1 + below(9)),
        1 => format!("{{{{words:{words}}}}}{{{{cached:{}}}}}", 1 + below(2)),
        2 => {
            // Of the writes, only Anthropic's format reports the long-lived part.
            let (write, output) = (below(900), 1 + below(4_000));
            let long = if model == HAIKU { below(write + 1) } else { 0 };
            let reasoning = if model == MINI { below(output + 1) } else { 0 };
            let (input, read) = (1 + below(9_000), below(5_000));
            format!("{{{{words:1}}}}{{{{bill:{input},{read},{write},{long},{output},{reasoning}}}}}")
        }
        3 => format!("{{{{words:{words}}}}}{{{{tool:look_up}}}}"),
        _ => format!("{{{{words:{words}}}}}"),
    };
    let mut call = body(path, model, &format!("{script} question {n}"), stream);
    if script.contains("tool:") {
        call["tools"] = tools(path);
    } else if below(4) == 0 {
        add_image(path, &mut call);
    }
    if below(3) == 0 {
        add_system_prompt(path, &mut call);
    }
    (path, call)
}

/// Returns a tool as a format defines it.
fn tools(path: &str) -> Value {
    let schema = json!({"type": "object", "properties": {"place": {"type": "string"}, "days": {"type": "integer"}}});
    match path {
        CHAT => json!([{"type": "function", "function": {"name": "look_up", "parameters": schema}}]),
        RESPONSES => json!([{"type": "function", "name": "look_up", "parameters": schema}]),
        _ => json!([{"name": "look_up", "input_schema": schema}]),
    }
}

/// Adds an image before the text of a call.
fn add_image(path: &str, call: &mut Value) {
    let url = format!("data:image/png;base64,{PIXEL}");
    match path {
        CHAT => {
            let text = call["messages"][0]["content"].take();
            call["messages"][0]["content"] =
                json!([{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": text}]);
        }
        RESPONSES => {
            let text = call["input"].take();
            let content = json!([{"type": "input_image", "image_url": url}, {"type": "input_text", "text": text}]);
            call["input"] = json!([{"role": "user", "content": content}]);
        }
        _ => {
            let text = call["messages"][0]["content"].take();
            let source = json!({"type": "base64", "media_type": "image/png", "data": PIXEL});
            call["messages"][0]["content"] =
                json!([{"type": "image", "source": source}, {"type": "text", "text": text}]);
        }
    }
}

fn add_system_prompt(path: &str, call: &mut Value) {
    let text = "Answer in one sentence, with names and numbers.";
    match path {
        CHAT => {
            let question = call["messages"][0].take();
            call["messages"] = json!([{"role": "system", "content": text}, question]);
        }
        RESPONSES => call["instructions"] = text.into(),
        _ => call["system"] = text.into(),
    }
}

/// Makes a call. Returns the input and output that its response reports.
async fn make(program: &Program, path: &'static str, call: Value) -> (i64, i64) {
    let response = program.post(path, &call).await;
    let (status, text) = (response.status(), response.text().await.unwrap());
    assert_eq!(status, StatusCode::OK, "{path} {call}: {text}");
    match call["stream"] == true {
        true => last_usage(path, &events_of(&text)),
        false => usage_of(path, &serde_json::from_str::<Value>(&text).unwrap()["usage"]),
    }
}

/// Model, input, cache reads, cache writes, the long-lived part of these, output, the reasoning part of that.
pub type Billed = (String, i64, i64, i64, i64, i64, i64);

/// Returns what the ledger has, in order.
pub async fn ledger(app: &TestApp) -> Vec<Billed> {
    rows(app).await;
    let sql = "select model, input_tokens, cache_read_tokens, cache_write_tokens, cache_write_long_tokens, output_tokens, reasoning_tokens
               from ai_usage order by 1, 2, 3, 4, 5, 6, 7";
    sqlx::query_as(sql).fetch_all(&app.db).await.unwrap()
}

/// Returns what the provider billed, in order.
pub fn bills(app: &TestApp) -> Vec<Billed> {
    let n = u64::cast_signed;
    let bill = |call: fakes::Served| {
        (
            call.model,
            n(call.input),
            n(call.cache_read),
            n(call.cache_write),
            n(call.cache_write_long),
            n(call.output),
            n(call.reasoning),
        )
    };
    let mut bills: Vec<Billed> = app.provider.served_calls().into_iter().map(bill).collect();
    bills.sort();
    bills
}

/// Field notes 32, 44 and 55: random calls of all formats, with models of both, whole and streamed, with tools, images and reasoning, ten thousand
/// of them in long runs. The ledger equals the bill in every column, its cost is the bill's, and each response reports what its row has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_calls_are_booked_as_they_are_billed() {
    let count: usize = if is_long() { 10_000 } else { 200 };
    let app = app().await;
    app.limits("free", 1_000_000, 1_000_000_000_000, 1_000).await;
    app.user("ann@example.com").await;
    let program = Program::of(&app, "ann@example.com").await;
    let seed: u64 = rand::random();
    let mut rng = StdRng::seed_from_u64(seed);
    let calls: Vec<_> = (0..count).map(|n| random_call(&mut rng, n)).collect();
    let made = calls.into_iter().map(|(path, call)| make(&program, path, call));
    let mut reported: Vec<(i64, i64)> = stream::iter(made).buffer_unordered(32).collect().await;

    let ledger = ledger(&app).await;
    assert_eq!(ledger.len(), count, "seed {seed}");
    for (row, bill) in ledger.iter().zip(bills(&app)) {
        assert_eq!(*row, bill, "seed {seed}");
    }
    let mut booked: Vec<(i64, i64)> =
        ledger.iter().map(|(_, input, read, write, _, output, _)| (input + read + write, *output)).collect();
    booked.sort_unstable();
    reported.sort_unstable();
    assert_eq!(reported, booked, "seed {seed}");
    let is_priced = "select bool_and(u.status = 'finished' and u.usage_source = 'exact' and u.purpose = 'api' and u.api_key_id is not null
          and u.cost_usd * 1000000000000 = u.input_tokens::numeric * p.input_micros_per_million
            + u.cache_read_tokens * coalesce(p.cache_read_micros_per_million, p.input_micros_per_million)
            + (u.cache_write_tokens - u.cache_write_long_tokens) * coalesce(p.cache_write_micros_per_million, p.input_micros_per_million)
            + u.cache_write_long_tokens
              * coalesce(p.cache_write_long_micros_per_million, p.cache_write_micros_per_million, p.input_micros_per_million)
            + u.output_tokens * p.output_micros_per_million)
        from ai_usage u join model_price p using (model_price_id)";
    assert!(app.one::<bool>(is_priced).await, "seed {seed}");
    assert_eq!(app.provider.violations(), Vec::<String>::new(), "seed {seed}");
}
