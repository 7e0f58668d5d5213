//! The oracle of turns with files: whatever is attached, edited, regenerated or continued, the ledger equals the provider's bill.

use crate::api::bills::{bills, ledger};
use crate::app::TestApp;
use crate::attachments::{pdf, png, uploaded};
use crate::settings::is_long;
use crate::visitor::{TestClient, events};
use domain::TurnEvent;
use futures::future::join_all;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use uuid::Uuid;

/// Number of users whose turns run at once.
const USERS: usize = 8;
const MODELS: [&str; 2] = ["claude-haiku-4-5", "gpt-5-mini"];

/// A user with files that haven't been sent.
struct Sender {
    client: TestClient,
    files: Vec<Uuid>,
    /// The conversation to continue, and its last turn.
    last: Option<(Uuid, Uuid)>,
}

impl Sender {
    /// Uploads an image, a PDF and a text file, and makes `count` copies of them, because reading files isn't what is tested.
    async fn new(app: &TestApp, n: usize, count: usize) -> Self {
        let client = app.user(&format!("user{n}@example.com")).await;
        let width = 40 + 90 * u32::try_from(n).unwrap();
        let text = "word ".repeat(200 * (n + 1)).into_bytes();
        for (name, bytes) in
            [("a.png", png(width, 700)), ("b.pdf", pdf("The notice period is three months", "")), ("c.txt", text)]
        {
            uploaded(&client, name, bytes).await;
        }
        let user = "select user_id from account where email = $1";
        let copies = format!(
            "insert into attachment (attachment_id, user_id, name, kind, media_type, bytes, width, height, text, tokens, sha256, created_at)
             select gen_random_uuid(), user_id, name, kind, media_type, bytes, width, height, text, tokens, sha256, now()
             from attachment, generate_series(2, $2) where user_id = ({user})"
        );
        let email = format!("user{n}@example.com");
        let rows = i32::try_from(count).unwrap();
        sqlx::query(sqlx::AssertSqlSafe(copies)).bind(&email).bind(rows).execute(&app.db).await.unwrap();
        let data = format!(
            "insert into attachment_data (attachment_id, data)
             select copy.attachment_id, d.data from attachment copy
             join attachment original on original.sha256 = copy.sha256 and original.user_id = copy.user_id
             join attachment_data d on d.attachment_id = original.attachment_id
             where copy.user_id = ({user}) on conflict do nothing"
        );
        sqlx::query(sqlx::AssertSqlSafe(data)).bind(&email).execute(&app.db).await.unwrap();
        let ids = format!("select attachment_id from attachment where user_id = ({user}) order by attachment_id");
        let files = sqlx::query_scalar(sqlx::AssertSqlSafe(ids)).bind(&email).fetch_all(&app.db).await.unwrap();
        Self { client, files, last: None }
    }

    /// Returns a random request: a new conversation, a message in the last one, or the last response again.
    fn request(&mut self, rng: &mut StdRng, n: usize) -> Value {
        let model = MODELS.choose(rng).unwrap();
        let conversation = self.last.filter(|_| rng.random_range(0..6) > 0);
        if let Some((_, turn)) = conversation.filter(|_| rng.random_range(0..5) == 0) {
            return json!({"model": model, "retry_of": turn});
        }
        let words = 1 + rng.random_range(0..20);
        let cached = if rng.random_range(0..3) == 0 { "{{cached:1}}" } else { "" };
        let files = rng.random_range(0..3_usize).min(self.files.len());
        let attachments = self.files.split_off(self.files.len() - files);
        let text = format!("{{{{words:{words}}}}}{cached} question {n}");
        let mut body = json!({"model": model, "text": text, "attachments": attachments});
        if let Some((id, _)) = conversation {
            body["conversation_id"] = json!(id);
        }
        body
    }

    /// Runs random turns one after another.
    async fn run(&mut self, mut rng: StdRng, count: usize) {
        for n in 0..count {
            let body = self.request(&mut rng, n);
            let answer = events(self.client.post(&body).await).await;
            let (Some((_, TurnEvent::Turn { turn_id, conversation_id, .. })), Some((_, TurnEvent::Finish { .. }))) =
                (answer.first(), answer.last())
            else {
                panic!("{body}: {answer:?}");
            };
            self.last = Some(((*conversation_id).into(), (*turn_id).into()));
        }
    }
}

/// Random turns with images, PDFs and texts, ten thousand of them in long runs: every column of the ledger equals the bill, what was reserved
/// covers it, and none is an estimate.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_turns_with_files_are_booked_as_they_are_billed() {
    let each = if is_long() { 10_000 } else { 80 } / USERS;
    let app = TestApp::new().await;
    app.limits("free", 1_000_000, 1_000_000_000_000, 1_000).await;
    let seed: u64 = rand::random();
    let mut rng = StdRng::seed_from_u64(seed);
    let mut senders = join_all((0..USERS).map(|n| Sender::new(&app, n, each))).await;
    let rngs: Vec<StdRng> = (0..USERS).map(|_| StdRng::seed_from_u64(rng.random())).collect();
    join_all(senders.iter_mut().zip(rngs).map(|(sender, rng)| sender.run(rng, each))).await;

    let ledger = ledger(&app).await;
    assert!(ledger.len() >= each * USERS, "seed {seed}");
    assert_eq!(ledger, bills(&app), "seed {seed}");
    let served = app.provider.served_calls();
    let with_images = served.iter().filter(|call| call.sent.iter().any(|message| !message.images.is_empty())).count();
    assert!(with_images * 5 > served.len(), "seed {seed}: {with_images} of {} with images", served.len());
    let is_covered = "select bool_and(status = 'finished' and usage_source = 'exact' and reserved_tokens >=
            input_tokens + cache_read_tokens + cache_write_tokens + output_tokens) from ai_usage";
    assert!(app.one::<bool>(is_covered).await, "seed {seed}");
    assert_eq!(app.provider.violations(), Vec::<String>::new(), "seed {seed}");
}
