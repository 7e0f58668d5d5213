//! What the ledger books equals what the provider bills, for random usages in every shape in which servers report them.

use super::{Expected, HAIKU, MINI, app, ask, assert_row};
use crate::settings::is_long;
use domain::{MicrosPerMillion, ModelName, Price, PriceList, PromptMessage, Role, Tokens, Usage};
use fakes::{Bill, FakeProvider};
use futures::{StreamExt as _, stream};
use providers::{Anthropic, Chunk, End, ModelRequest, OpenAi, Provider, ReportedUsage, Timeouts};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::time::Duration;
use uuid::Uuid;

/// A random bill, and the directives that report it in one of the shapes. Each can be read in one way only.
fn random_bill(rng: &mut StdRng, is_anthropic: bool) -> (Bill, &'static str) {
    let mut below = |max: u64| if rng.random_range(0..4) == 0 { 0 } else { rng.random_range(0..max) };
    let mut bill = Bill {
        input: 1 + below(200_000),
        cache_read: below(100_000),
        cache_write: below(50_000),
        cache_write_long: 0,
        output: 1 + below(60_000),
        reasoning: 0,
    };
    if is_anthropic {
        bill.cache_write_long = below(bill.cache_write + 1);
        return (bill, "");
    }
    bill.reasoning = below(bill.output + 1);
    let shape = ["", "{{nototal}}", "{{beside}}", "{{cachedbeside}}", "{{beside}}{{cachedbeside}}"][below(5) as usize];
    if shape.contains("cachedbeside") {
        // Writes are a part of the input. Equal numbers of cached and reasoning tokens don't tell which of them stand beside.
        bill.cache_write = 0;
        bill.cache_read += u64::from(bill.cache_read == bill.reasoning);
    }
    (bill, shape)
}

/// Returns the text that requests a bill from the fake provider.
fn text_of(bill: &Bill, shape: &str) -> String {
    let Bill { input, cache_read, cache_write, cache_write_long, output, reasoning } = bill;
    format!(
        "{{{{words:1}}}}{{{{bill:{input},{cache_read},{cache_write},{cache_write_long},{output},{reasoning}}}}}{shape}"
    )
}

fn usage_of(bill: &Bill) -> Usage {
    super::tokens(bill.input, bill.cache_read, bill.cache_write, bill.cache_write_long, bill.output, bill.reasoning)
}

/// Calls a provider and returns the last usage it reported, and how its response ended.
async fn call(provider: &dyn Provider, text: String) -> (Option<ReportedUsage>, Option<End>) {
    let (seconds, model) = (Duration::from_secs, ModelName("m".to_owned()));
    let request = ModelRequest {
        model: &model,
        system: "",
        messages: &[PromptMessage::text(Role::User, text)],
        max_output: Tokens(100),
        output_limit: None,
        effort: None,
        caches: false,
        timeouts: Timeouts { connect: seconds(60), first_byte: seconds(60), idle: seconds(60) },
        raw: None,
    };
    let mut chunks = provider.open(&request).await.unwrap().chunks;
    let (mut usage, mut end) = (None, None);
    while let Some(chunk) = chunks.next().await {
        match chunk.unwrap() {
            Chunk::Usage(reported) => usage = Some(reported),
            Chunk::End(reason) => end = Some(reason),
            _ => {}
        }
    }
    (usage, end)
}

/// Field notes 44 and 55: random bills, ten thousand in long runs, are read as they are, and priced as the provider prices them. None is an
/// estimate.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_random_bills_are_read_exactly() {
    let count: usize = if is_long() { 10_000 } else { 1_000 };
    server::telemetry::tls();
    let fake = FakeProvider::start(([127, 0, 0, 1], 0).into()).await.unwrap();
    let connect = Duration::from_secs(60);
    let anthropic = Anthropic::new(Some(&fake.url()), Some("key".into()), connect).unwrap();
    let openai = OpenAi::new(Some(&format!("{}/v1", fake.url())), None, connect).unwrap();
    let seed: u64 = rand::random();
    let mut rng = StdRng::seed_from_u64(seed);
    let [input, read, write, long, output] = std::array::from_fn(|_| rng.random_range(0..75_000_000_i64));
    let price = PriceList::new(vec![Price {
        id: Uuid::now_v7().into(),
        above: Tokens(0),
        input: MicrosPerMillion(input),
        cache_read: Some(MicrosPerMillion(read)),
        cache_write: Some(MicrosPerMillion(write)),
        cache_write_long: Some(MicrosPerMillion(long)),
        output: MicrosPerMillion(output),
    }])
    .unwrap();
    let bills: Vec<_> = (0..count).map(|n| (n % 4 == 0, random_bill(&mut rng, n % 4 == 0))).collect();
    let calls = bills.iter().map(|(is_anthropic, (bill, shape))| {
        let provider: &dyn Provider = if *is_anthropic { &anthropic } else { &openai };
        let text = text_of(bill, shape);
        async move { (call(provider, text).await, bill, shape) }
    });
    let (mut all, mut costs) = (stream::iter(calls).buffer_unordered(32), 0_i128);
    while let Some(((reported, end), bill, shape)) = all.next().await {
        let reported = reported.unwrap();
        let expected = ReportedUsage { usage: usage_of(bill), is_consistent: true };
        assert_eq!((reported, end), (expected, Some(End::Complete)), "seed {seed}: {bill:?} {shape}");
        costs += i128::from(price.price(&reported.usage).1.0);
    }
    let amount = |tokens: u64, price: i64| i128::from(tokens) * i128::from(price);
    let served = fake.served_calls();
    let billed: i128 = served
        .iter()
        .map(|call| {
            amount(call.input, input)
                + amount(call.cache_read, read)
                + amount(call.cache_write - call.cache_write_long, write)
                + amount(call.cache_write_long, long)
                + amount(call.output, output)
        })
        .sum();
    assert_eq!((served.len(), costs), (count, billed), "seed {seed}");
}

/// Field notes 44 and 55: the same over HTTP, down to every column of the ledger.
#[tokio::test]
async fn random_bills_are_booked_exactly() {
    let app = app().await;
    let ann = app.user("ann@example.com").await;
    let seed: u64 = rand::random();
    let mut rng = StdRng::seed_from_u64(seed);
    for n in 0..80 {
        let is_anthropic = n % 4 == 0;
        let (bill, shape) = random_bill(&mut rng, is_anthropic);
        let (model, id) = if is_anthropic { (HAIKU, "msg_fake") } else { (MINI, "chatcmpl-fake") };
        let answer = ask(&ann, model, &text_of(&bill, shape)).await;
        let expected = Expected { request_id: Some(id), ..Expected::exact(model, usage_of(&bill)) };
        assert_row(&app, &answer, expected).await;
    }
    assert_eq!(app.one::<i64>("select count(*) from ai_usage where usage_source <> 'exact'").await, 0, "seed {seed}");
}
