//! The built-in demo model, which needs no network and no key. It shows what a response looks like while no provider key is set; its
//! text explains that it is a demo.

use crate::{Chunk, End, ModelRequest, Opened, Provider, ProviderError, ReportedUsage, content, estimate};
use domain::{PromptMessage, Role, Tokens, Usage};
use futures::{StreamExt, stream};
use serde_json::Value;
use std::time::Duration;

/// Pause between words, about forty words a second.
const PACE: Duration = Duration::from_millis(24);

/// The built-in demo model.
#[derive(Default)]
pub struct Demo;

#[async_trait::async_trait]
impl Provider for Demo {
    async fn open(&self, request: &ModelRequest<'_>) -> Result<Opened, ProviderError> {
        let (system, messages) = match request.raw {
            Some(body) => prompt_of(body),
            None => (request.system.to_owned(), request.messages.to_vec()),
        };
        let question = messages.last().map_or("", |message| message.text.as_str());
        let turns = messages.len() / 2;
        let input = estimate::counted(&system, &messages);
        let whole = answer(question, turns);
        let pieces: Vec<String> = whole.split_inclusive([' ', '\n']).map(str::to_owned).collect();
        let (mut emitted, mut out, mut end) = (String::new(), Vec::new(), End::Complete);
        for piece in pieces {
            emitted.push_str(&piece);
            if estimate::text(&emitted) > request.max_output {
                emitted.truncate(emitted.len() - piece.len());
                end = End::Length;
                break;
            }
            out.push(Chunk::Text(piece));
        }
        let reported = |output| {
            let usage = Usage { input, output, ..Usage::default() };
            Chunk::Usage(ReportedUsage { usage, is_consistent: true })
        };
        out.extend([reported(estimate::text(&emitted)), Chunk::End(end)]);
        // Input tokens are reported before the first text, as real providers do.
        let first = reported(Tokens(0));
        let paced = stream::iter(out).then(async |chunk| {
            tokio::time::sleep(PACE).await;
            Ok(chunk)
        });
        Ok(Opened { chunks: stream::once(async { Ok(first) }).chain(paced).boxed(), learned: None })
    }
}

/// Returns the system prompt and the messages of a request in the OpenAI format. The model reads only text.
fn prompt_of(body: &Value) -> (String, Vec<PromptMessage>) {
    let (mut system, mut messages) = (String::new(), Vec::new());
    for message in body["messages"].as_array().into_iter().flatten() {
        let text = content::plain(&message["content"]);
        match message["role"].as_str() {
            Some("system") => system.push_str(&text),
            Some("assistant") => messages.push(PromptMessage::text(Role::Assistant, text)),
            _ => messages.push(PromptMessage::text(Role::User, text)),
        }
    }
    (system, messages)
}

/// Returns the message's first line, cut to 80 characters, for quoting.
fn quoted(question: &str) -> String {
    let line = question.trim().lines().next().unwrap_or("").trim();
    let short: String = line.chars().take(80).collect();
    // A backtick would end the inline code.
    let short = short.replace('`', "'");
    if short.chars().count() < line.chars().count() { format!("{short}…") } else { short }
}

fn answer(question: &str, turns: usize) -> String {
    let lowercase = question.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lowercase.contains(word));
    let body = if has(&["code", "rust", "function", "python", "sql", "bug"]) {
        CODE
    } else if has(&["table", "compare", "difference", "versus", " vs"]) {
        TABLE
    } else if has(&["plan", "steps", "list", "how do", "how to"]) {
        STEPS
    } else {
        [TOUR, CODE, TABLE, STEPS][turns % 4]
    };
    format!(
        "This is the built-in **demo model**. It needs no network and no API key. It can't answer `{}`, but it can show you what a response looks like.\n\n{body}",
        quoted(question)
    )
}

const TOUR: &str = "## What already works

- **Streaming.** This text arrives word by word, over the same connection as a real model's response.
- **Limits.** While this response runs, its tokens are reserved on the meter. The unused ones become available again when it ends.
- **Usage records.** The call is recorded in the ledger with its tokens and cost.

Ask for *code*, a *table* or *steps* to see an example of each. Press **Stop** to end a response early.

> To use a real model, the site owner sets `ANTHROPIC_API_KEY` or `OPENAI_API_KEY` and restarts the server.
";

const CODE: &str = "## A code example

Prices are whole micro-dollars per million tokens, so a price times a number of tokens is a whole number of picodollars:

```rust
/// Returns the cost of a number of tokens. It is exact because nothing is divided.
fn cost_picos(micros_per_million: i64, tokens: i64) -> i64 {
    micros_per_million * tokens
}

fn main() {
    let picos = cost_picos(3_000_000, 1_250);
    println!(\"{} picodollars\", picos); // 3750000000
}
```

The cost of the last day by model, in SQL:

```sql
select model, sum(cost_usd) as cost
from ai_usage
where created_at > now() - interval '1 day'
group by model
order by cost desc;
```

Use the **Copy** button to copy a block.
";

const TABLE: &str = "## Message sizes compared

| Message | Approximate tokens | Share of the daily limit on Free |
|---|--:|--:|
| A greeting | 10 | 0.02 % |
| One page of text | 600 | 1.2 % |
| A long article | 8,000 | 16 % |
| A short book | 90,000 | more than 100 % |

Two messages can differ in size by a factor of thousands. That is why plans limit **tokens per day** as well as requests per minute.
";

const STEPS: &str = "## How to write a good prompt

1. **Say what you want** in one sentence.
2. **Add the context**: the text, the numbers, the error message.
   - Leave out what isn't needed. It uses tokens with every message.
   - Start a new conversation for a new topic.
3. **Name the format**: a list, a table, two paragraphs.
4. **Stop early** once you have what you need. Text that isn't written uses no tokens.
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timeouts;
    use domain::ModelName;

    async fn respond(text: &str, max_output: u64) -> Vec<Chunk> {
        let (model, messages) = (ModelName("demo".into()), [PromptMessage::text(Role::User, text)]);
        let request = ModelRequest {
            model: &model,
            system: "Be brief.",
            messages: &messages,
            max_output: Tokens(max_output),
            output_limit: None,
            effort: None,
            caches: false,
            timeouts: Timeouts::default(),
            raw: None,
        };
        Demo.open(&request).await.unwrap().chunks.map(Result::unwrap).collect().await
    }

    #[tokio::test(start_paused = true)]
    async fn shows_each_kind_of_markdown_and_reports_output_tokens() {
        for (question, sign) in
            [("hello", "- **Streaming.**"), ("a table", "|---|"), ("code", "```rust"), ("steps", "1. **Say")]
        {
            let chunks = respond(question, 2_000).await;
            let text: String = chunks
                .iter()
                .filter_map(|c| match c {
                    Chunk::Text(t) => Some(t.as_str()),
                    _ => None,
                })
                .collect();
            assert!(text.contains(sign) && text.contains("demo model"), "{question}");
            let [.., Chunk::Usage(usage), Chunk::End(End::Complete)] = chunks.as_slice() else {
                panic!("the stream has no end")
            };
            assert_eq!(usage.usage.output, estimate::text(&text));
        }
    }

    /// Field note 18: a response never exceeds the output that was granted.
    #[tokio::test(start_paused = true)]
    async fn stops_at_max_output() {
        let chunks = respond("code", 20).await;
        let [.., Chunk::Usage(usage), Chunk::End(End::Length)] = chunks.as_slice() else {
            panic!("the stream has no end")
        };
        assert!(usage.usage.output <= Tokens(20));
    }
}
