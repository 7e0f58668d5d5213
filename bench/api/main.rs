//! Measures the cost of an API call against a minimal axum and reqwest pass-through to the same fake provider: the latency of streamed and
//! whole calls, CPU time per stream of twenty deltas, and whole calls per second, with the ledger checked afterwards. With `--litellm PROGRAM`,
//! LiteLLM's proxy is measured in the same run.
//!
//! Run it with `./dev bench api`. It requires `DATABASE_URL` and `REDIS_URL`, creates its own database, and starts
//! `target/release/quotient` as a separate process. Everything runs on this machine and is stopped at the end.

use anyhow::{Context as _, ensure};
use bench::process::{Database, Process, free_port};
use bench::user::{self, Users};
use bench::{ms, pass_through, percentile, print_result};
use serde_json::json;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const ROUNDS: usize = 1_000;
/// Calls before those that are measured.
const WARM_UP: usize = 100;
const SECONDS: u64 = 10;
const CONNECTIONS: usize = 32;
const MODEL: &str = "claude-haiku-5-5";
/// Makes each request differ from others, which would look like a loop.
static NEXT: AtomicU64 = AtomicU64::new(0);

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match args.next().as_deref() {
        Some("pass-through") => runtime.block_on(pass_through::serve(
            &args.next().context("no provider URL")?,
            &args.next().context("no listen address")?,
        )),
        Some("--litellm") => runtime.block_on(bench(Some(args.next().context("no program of LiteLLM")?))),
        _ => runtime.block_on(bench(None)),
    }
}

/// A program that calls an endpoint in Anthropic's format.
#[derive(Clone)]
struct Program {
    client: reqwest::Client,
    url: String,
    key: String,
    /// Sent only to our server: it distinguishes its calls in the provider's journal.
    system: Option<&'static str>,
}

impl Program {
    fn new(base: &str, key: &str, system: Option<&'static str>) -> anyhow::Result<Self> {
        Ok(Self { client: user::client()?, url: format!("{base}/v1/messages"), key: key.to_owned(), system })
    }

    /// Makes a call that is answered with twenty deltas, and reads it to its end. Returns the time to the first token of a stream, or to the end
    /// of a whole response.
    async fn call(&self, stream: bool) -> anyhow::Result<Duration> {
        let text = format!("{{{{words:20}}}} {}", NEXT.fetch_add(1, Ordering::Relaxed));
        let mut body = json!({
            "model": MODEL, "max_tokens": 4_096, "stream": stream, "messages": [{"role": "user", "content": text}],
        });
        if let Some(system) = self.system {
            body["system"] = system.into();
        }
        let request = self.client.post(&self.url).header("content-type", "application/json");
        let request = request.header("x-api-key", &self.key).header("anthropic-version", "2023-06-01");
        let began = Instant::now();
        let mut response = request.body(body.to_string()).send().await?;
        ensure!(response.status() == 200, "{}", response.text().await?);
        let (mut seen, mut first) = (String::new(), None);
        while let Some(bytes) = response.chunk().await? {
            if stream && first.is_none() {
                seen.push_str(&String::from_utf8_lossy(&bytes));
                first = seen.contains("text_delta").then(|| began.elapsed());
            }
        }
        ensure!(!stream || first.is_some(), "no first token: {seen}");
        Ok(first.unwrap_or_else(|| began.elapsed()))
    }
}

/// Latencies and CPU time of calls one after another.
struct Measured {
    p50: Duration,
    p99: Duration,
    cpu: Duration,
}

async fn one_by_one(process: &Process, program: &Program, stream: bool, rounds: usize) -> anyhow::Result<Measured> {
    for _ in 0..WARM_UP {
        program.call(stream).await?;
    }
    let before = process.cpu()?;
    let mut times = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        times.push(program.call(stream).await?);
    }
    let cpu = (process.cpu()? - before) / u32::try_from(rounds)?;
    Ok(Measured { p50: percentile(&mut times, 50), p99: percentile(&mut times, 99), cpu })
}

fn print_latency(name: &str, measured: &Measured) -> anyhow::Result<()> {
    print_result(name, &format!("p50 {}  p99 {}", ms(measured.p50), ms(measured.p99)))
}

/// Makes whole calls over many connections, and returns how many per second and the CPU time of each.
async fn at_once(process: &Process, programs: &[Program]) -> anyhow::Result<(f64, Duration)> {
    let (before, began) = (process.cpu()?, Instant::now());
    let workers = programs.iter().cloned().map(|program| {
        tokio::spawn(async move {
            let mut done = 0_u32;
            while began.elapsed() < Duration::from_secs(SECONDS) {
                program.call(false).await?;
                done += 1;
            }
            anyhow::Ok(done)
        })
    });
    let mut calls = 0;
    for worker in workers.collect::<Vec<_>>() {
        calls += worker.await??;
    }
    let took = began.elapsed();
    Ok((f64::from(calls) / took.as_secs_f64(), (process.cpu()? - before) / calls.max(1)))
}

/// Creates an API key of the only user.
async fn create_key(db: &Database) -> anyhow::Result<String> {
    let brand: String = domain::brand::NAME.chars().filter(char::is_ascii_alphanumeric).take(8).collect();
    let random = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
    // 43 characters of base64url for 32 bytes, the last two bits of which are zero.
    let secret = format!("sk-{}-{}A", brand.to_ascii_lowercase(), random.get(..42).context("no secret")?);
    let sql = "insert into api_key (api_key_id, user_id, name, prefix, secret_hash, created_at)
               select gen_random_uuid(), user_id, 'Benchmark', left($1, 12), sha256(convert_to($1, 'UTF8')), now() from account";
    sqlx::query(sql).bind(&secret).execute(db.pool()).await?;
    Ok(secret)
}

async fn bench(litellm: Option<String>) -> anyhow::Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let provider = Process::fakes()?;
    let through = Process::this(&["pass-through", &provider.url, &format!("127.0.0.1:{}", free_port()?)])?;
    let db = Database::fresh().await?;
    let server = Process::quotient(&db.url, &provider.url)?;
    db.no_limits().await?;
    Users::sign_up(db.pool(), &server.url, 1).await?;
    let key = create_key(&db).await?;
    let bare = Program::new(&through.url, "none", None)?;
    let ours = Program::new(&server.url, &key, Some("Answer briefly."))?;

    let mut commits = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let began = Instant::now();
        db.insert().await?;
        commits.push(began.elapsed());
    }
    let commit = (percentile(&mut commits, 50), percentile(&mut commits, 99));
    print_result("one insert and commit", &format!("p50 {}  p99 {}", ms(commit.0), ms(commit.1)))?;

    for (stream, what) in [(true, "time to first token"), (false, "time to a whole response")] {
        let theirs = one_by_one(&through, &bare, stream, ROUNDS).await?;
        let our = one_by_one(&server, &ours, stream, ROUNDS).await?;
        print_latency(&format!("{what}, pass-through"), &theirs)?;
        print_latency(&format!("{what}, ours"), &our)?;
        let added = |ours: Duration, theirs: Duration| ms(ours.saturating_sub(theirs));
        print_result(
            "  added",
            &format!("p50 {}  p99 {}  (goal 0.8 ms and 4 ms)", added(our.p50, theirs.p50), added(our.p99, theirs.p99)),
        )?;
        print_result(
            "  CPU time per call of 20 deltas",
            &format!("pass-through {}  ours {}  (goal 0.5 ms)", ms(theirs.cpu), ms(our.cpu)),
        )?;
    }

    let programs = (0..CONNECTIONS).map(|_| Program::new(&server.url, &key, ours.system));
    let (rate, each) = at_once(&server, &programs.collect::<anyhow::Result<Vec<_>>>()?).await?;
    print_result(
        &format!("whole calls, {CONNECTIONS} connections"),
        &format!("{rate:.0}/s, {} of server CPU time each  (goal 1000/s)", ms(each)),
    )?;
    print_result("ledger compared with the provider", &db.compare(&provider.url).await?)?;
    let programs = (0..CONNECTIONS).map(|_| Program::new(&through.url, "none", None));
    let (rate, each) = at_once(&through, &programs.collect::<anyhow::Result<Vec<_>>>()?).await?;
    print_result("  pass-through, same number of connections", &format!("{rate:.0}/s, {} each", ms(each)))?;

    if let Some(program) = litellm {
        compare_litellm(&program, &provider.url).await?;
    }
    server.stop()?;
    db.drop().await
}

/// Measures LiteLLM's proxy with one worker, without keys, limits or a database.
async fn compare_litellm(program: &str, provider: &str) -> anyhow::Result<()> {
    let port = free_port()?;
    let config = std::env::temp_dir().join(format!("bench-litellm-{port}.yaml"));
    std::fs::write(
        &config,
        format!(
            "model_list:\n  - model_name: {MODEL}\n    litellm_params: {{model: anthropic/{MODEL}, api_base: \"{provider}\", api_key: none}}\n"
        ),
    )?;
    let mut command = Command::new(program);
    command.arg("--config").arg(&config).args(["--host", "127.0.0.1", "--port", &port.to_string()]);
    // It would use our database.
    command.env_remove("DATABASE_URL").env("LITELLM_LOCAL_MODEL_COST_MAP", "True");
    let process = Process::other(command, &format!("127.0.0.1:{port}"))?;
    let program = Program::new(&process.url, "none", None)?;
    for (stream, what) in [(true, "time to first token"), (false, "time to a whole response")] {
        let measured = one_by_one(&process, &program, stream, ROUNDS / 5).await?;
        print_latency(&format!("{what}, LiteLLM"), &measured)?;
        print_result("  CPU time per call of 20 deltas", &ms(measured.cpu))?;
    }
    let programs = (0..CONNECTIONS).map(|_| Program::new(&process.url, "none", None));
    let (rate, each) = at_once(&process, &programs.collect::<anyhow::Result<Vec<_>>>()?).await?;
    print_result("  LiteLLM, same number of connections", &format!("{rate:.0}/s, {} each", ms(each)))?;
    std::fs::remove_file(config)?;
    Ok(())
}
