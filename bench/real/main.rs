//! Compares the ledger with a third-party model server: 200 turns against llama.cpp, some of them stopped, cut off by a broken
//! connection, or left by their client. What the server itself streamed and reported is recorded by a proxy; prompt tokens of calls that
//! reported none are read from a repeated call without streaming.
//!
//! Run it with `LLAMA_URL=http://127.0.0.1:4177 ./dev bench real`; docs/real-model.md describes how to get such a server.

mod recorder;

use anyhow::{Context as _, ensure};
use bench::print_result;
use bench::process::{Database, Process, env, free_port, owner_url};
use bench::user::{User, Users, post, stop};
use recorder::{Call, Recorder};
use serde_json::json;
use std::time::{Duration, Instant};
use uuid::Uuid;

const TURNS: usize = 200;
const QUESTIONS: [&str; 8] = [
    "Write two sentences about the sea.",
    "What is a lease? Answer briefly.",
    "Name five fruits, one per line.",
    "Explain rain to a child.",
    "Say hello in German, French and Japanese.",
    "Write a short poem about bread 🍞.",
    "What is 17 plus 25?",
    "List three uses of a paper clip.",
];

/// Events that the server may have sent but that hadn't arrived when the call was closed.
const ON_THEIR_WAY: u64 = 2;

/// What happens to a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// It is read to its end.
    Complete,
    /// Its user stops it.
    Stopped,
    /// The connection to the model server breaks.
    Cut,
    /// Its client goes away, and the turn continues.
    Left,
}

const KINDS: [Kind; 4] = [Kind::Complete, Kind::Stopped, Kind::Cut, Kind::Left];

/// A final ledger row: source, all input, cached input, output, reserved.
type Row = (String, i64, i64, i64, i64);

/// The sums of one kind of turn.
#[derive(Default)]
struct Sums {
    turns: u64,
    exact: u64,
    ledger: (u64, u64),
    server: (u64, u64),
    wrong: Vec<String>,
}

fn kind_of(n: usize) -> Kind {
    match n % 10 {
        6 | 7 => Kind::Stopped,
        8 => Kind::Cut,
        9 => Kind::Left,
        _ => Kind::Complete,
    }
}

/// Adds the model server as a provider, with one model that everybody may use.
async fn add_model(db: &Database, base_url: &str) -> anyhow::Result<()> {
    sqlx::query(
        "insert into provider (provider, label, wire_format, base_url) values ('llama', 'llama.cpp', 'openai', $1)",
    )
    .bind(base_url)
    .execute(db.pool())
    .await?;
    db.run(
        "insert into model (model, label, provider, context, max_output, sort) values ('llama', 'llama.cpp', 'llama', 2048, 96, 0);
         insert into model_price (model_price_id, model, effective_at, input_micros_per_million, cache_read_micros_per_million, output_micros_per_million)
         values (gen_random_uuid(), 'llama', '2026-01-01', 1000000, 100000, 5000000);
         insert into plan_model (plan_id, model, sort) select plan_id, 'llama', 0 from plan",
    )
    .await
}

/// Runs one turn. Returns its id and its conversation.
async fn run(user: &User, recorder: &Recorder, n: usize, conversation: Option<Uuid>) -> anyhow::Result<(Uuid, Uuid)> {
    let (turn, kind, events) = (Uuid::now_v7(), kind_of(n), n / 10 % 7 + 1);
    if kind == Kind::Cut {
        recorder.cut_next(u64::try_from(events)?);
    }
    let text = format!("{} ({n})", QUESTIONS[n % QUESTIONS.len()]);
    let body = json!({"conversation_id": conversation, "model": "llama", "text": text, "turn_id": turn});
    let mut response = post(user, &body).await?;
    ensure!(response.status() == 200, "turn {n}: {}", response.text().await?);
    let (mut seen, mut is_stopped) = (String::new(), false);
    while let Some(bytes) = response.chunk().await? {
        seen.push_str(&String::from_utf8_lossy(&bytes));
        let deltas = seen.matches("event: delta").count();
        if kind == Kind::Left && deltas > 0 {
            break;
        }
        if kind == Kind::Stopped && deltas >= events && !is_stopped {
            is_stopped = true;
            stop(user, &turn.to_string()).await?;
        }
    }
    let id = seen.split_once("\"conversation_id\":\"").and_then(|(_, rest)| rest.get(..36)).context("no turn event")?;
    Ok((turn, id.parse()?))
}

/// Waits until a turn's ledger row is final.
async fn row(db: &Database, turn: Uuid) -> anyhow::Result<Row> {
    let began = Instant::now();
    loop {
        let row: Option<Row> = sqlx::query_as(
            "select usage_source, input_tokens + cache_read_tokens, cache_read_tokens, output_tokens, reserved_tokens
             from ai_usage where turn_id = $1 and status <> 'pending'",
        )
        .bind(turn)
        .fetch_optional(db.pool())
        .await?;
        if let Some(row) = row {
            return Ok(row);
        }
        ensure!(began.elapsed() < Duration::from_secs(60), "turn {turn} isn't recorded after 60 s");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Compares a row with what the server reported: an exact row equals it, and an estimate isn't below what arrived, nor above what was
/// reserved.
async fn compare(sums: &mut Sums, row: Row, call: &Call, recorder: &Recorder, what: &str) -> anyhow::Result<()> {
    let (source, input, cached, output, reserved) = row;
    let [input, cached, output, reserved] = [input, cached, output, reserved].map(i64::cast_unsigned);
    let is_exact = source == "exact";
    let (prompt, streamed) = match call.usage {
        Some((prompt, _, completion)) => (prompt, completion.max(call.chunks)),
        None => (recorder.prompt_tokens(call).await?, call.chunks),
    };
    let is_right = match call.usage {
        Some(usage) if is_exact => (input, cached, output) == usage,
        _ => !is_exact && input >= prompt && output + ON_THEIR_WAY >= streamed && input + output <= reserved,
    };
    if !is_right {
        let server = format!("prompt {prompt}, {} chunks, usage {:?}", call.chunks, call.usage);
        sums.wrong
            .push(format!("{what}: {source}, input {input} ({cached} cached), output {output}; the server: {server}"));
    }
    sums.turns += 1;
    sums.exact += u64::from(is_exact);
    sums.ledger = (sums.ledger.0 + input, sums.ledger.1 + output);
    sums.server = (sums.server.0 + prompt, sums.server.1 + streamed);
    Ok(())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let llama = env("LLAMA_URL")?;
    let (recorder, base_url) = Recorder::start(llama.trim_end_matches('/')).await?;
    let db = Database::fresh().await?;
    let url = format!("http://127.0.0.1:{}", free_port()?);
    let settings = [
        ("DATABASE_URL", db.url.clone()),
        ("MIGRATE_DATABASE_URL", owner_url(&db.url)?),
        ("REDIS_URL", env("REDIS_URL")?),
        ("SECRET_KEY", format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())),
        ("TRUSTED_PROXIES", "127.0.0.1".to_owned()),
        ("GLOBAL_DAILY_SPEND_USD", "none".to_owned()),
        ("TITLES", "text".to_owned()),
        ("RUST_LOG", "error".to_owned()),
    ];
    let server = Process::with_settings(&url, &settings, &[])?;
    db.no_limits().await?;
    add_model(&db, &base_url).await?;
    let user = Users::sign_up(db.pool(), &url, 1).await?.one(0);

    let began = Instant::now();
    let mut all: [Sums; 4] = Default::default();
    let mut conversation = None;
    for n in 0..TURNS {
        // Every third turn continues the conversation, so that the server's own prompt cache is used too.
        let before = recorder.calls().len();
        let (turn, id) = run(&user, &recorder, n, conversation.filter(|_| n % 3 > 0)).await?;
        conversation = Some(id);
        let row = row(&db, turn).await?;
        let calls = recorder.calls().split_off(before);
        let call = calls.last().context("the model server wasn't called")?;
        let index = KINDS.iter().position(|kind| *kind == kind_of(n)).unwrap_or(0);
        compare(&mut all[index], row, call, &recorder, &format!("turn {n}, {:?}", kind_of(n))).await?;
    }
    print_result(&format!("{TURNS} turns with {llama}"), &format!("{:.0?}", began.elapsed()))?;
    for (kind, sums) in KINDS.iter().zip(&all) {
        let what = format!(
            "{} turns, {} exact; input {} (server {}), output {} (server {}); {} wrong",
            sums.turns,
            sums.exact,
            sums.ledger.0,
            sums.server.0,
            sums.ledger.1,
            sums.server.1,
            sums.wrong.len()
        );
        print_result(&format!("  {kind:?}"), &what)?;
    }
    let wrong: Vec<&String> = all.iter().flat_map(|sums| &sums.wrong).collect();
    for line in &wrong {
        print_result("  wrong", line)?;
    }
    let learned: Option<String> = db.one("select output_limit from model where model = 'llama'").await?;
    print_result("name of the output limit", learned.as_deref().unwrap_or("accepted as sent"))?;
    server.stop()?;
    db.drop().await?;
    ensure!(wrong.is_empty(), "{} of {TURNS} turns differ from the server", wrong.len());
    Ok(())
}
